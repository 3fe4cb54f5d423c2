"""The jail of a transaction, tried from inside system call by system call."""

import json
import os
import socket
import subprocess
import tempfile
import unittest
from pathlib import Path

from topcoat.transactions import SystemPython
from topcoat.transactions.system_python import JAIL, NAMESPACES, WORKER

TINY = {"bin", "dev", "etc", "lib", "lib32", "lib64", "libx32", "proc", "sbin", "tmp", "usr", "var"}
KEPT = "00000000880400fb"  # CHOWN DAC_OVERRIDE FOWNER FSETID KILL SETGID SETUID SYS_CHROOT MKNOD SETFCAP
DENIED, HIDDEN, FIXED = "Operation not permitted", "No such file or directory", "Read-only file system"


class Jail(unittest.TestCase):
    found: dict

    @classmethod
    def setUpClass(cls) -> None:
        holder = tempfile.TemporaryDirectory(dir="/var/tmp", prefix="topcoat-jail-")
        cls.addClassCleanup(holder.cleanup)
        folders = [Path(holder.name, name) for name in ("place", "readable", "writable")]
        for folder in folders:
            folder.mkdir()
        secret = Path(holder.name) / "auth.json"
        secret.write_text("password")
        outsider = subprocess.Popen(["sleep", "300"])
        cls.addClassCleanup(outsider.wait)
        cls.addClassCleanup(outsider.kill)
        abstract = socket.socket(socket.AF_UNIX)
        cls.addClassCleanup(abstract.close)
        name = f"topcoat-test-{os.getpid()}"
        abstract.bind(f"\0{name}")
        abstract.listen()
        tcp = socket.create_server(("127.0.0.1", 0))
        cls.addClassCleanup(tcp.close)
        port = tcp.getsockname()[1]
        # What is refused inside is there outside:
        for family, address in ((socket.AF_UNIX, f"\0{name}"), (socket.AF_INET, ("127.0.0.1", port))):
            with socket.socket(family) as client:
                client.connect(address)
        program = Path(__file__).with_name("attempts.py")
        words = [*NAMESPACES, SystemPython().find(), "-I", program, WORKER, JAIL, *folders, secret, outsider.pid, name, port]
        caller, ours = os.pipe()  # an input that stays open: a worker ends with its caller
        done = subprocess.run(list(map(str, words)), stdin=caller, capture_output=True, text=True, check=False, timeout=120)
        os.close(caller)
        os.close(ours)
        if done.returncode:
            raise AssertionError(f"{done.returncode}: {done.stdout}{done.stderr}")
        cls.found = json.loads(done.stdout)
        cls.writable = folders[2]
        cls.outsider = outsider

    def test_the_machine_s_files_are_not_there(self) -> None:
        self.assertEqual(self.found["secret"], HIDDEN)
        self.assertLessEqual(set(self.found["top"]), TINY)
        self.assertFalse(self.found["double chroot"]["secret"])
        self.assertLessEqual(set(self.found["double chroot"]["top"]), TINY)

    def test_no_device_can_be_opened(self) -> None:
        for name in ("disk in the work folder", "disk in /tmp", "memory device"):
            self.assertEqual(self.found[name], "Permission denied", name)
        self.assertEqual(self.found["disk in /dev"], FIXED)

    def test_other_processes_cannot_be_seen_read_or_signalled(self) -> None:
        self.assertTrue(self.found["processes"])
        self.assertEqual(self.found["signal"], "No such process")
        self.assertIsNone(self.outsider.poll())
        for name in ("root of process 1", "memory of process 1", "descriptors of process 1"):
            self.assertIn(self.found[name], ("Permission denied", DENIED), name)
        for name in ("ptrace", "process_vm_readv", "pidfd_getfd"):
            self.assertEqual(self.found[name], DENIED, name)

    def test_nothing_outside_can_be_connected(self) -> None:
        self.assertEqual(self.found["abstract socket"], "Connection refused")
        self.assertEqual(self.found["loopback"], "Network is unreachable")
        self.assertEqual(self.found["vsock"], DENIED)

    def test_no_mounts_and_no_namespaces(self) -> None:
        for name in ("mount", "remount /usr", "user namespace", "mount namespace", "clone into a user namespace", "setns", "fsopen"):
            self.assertEqual(self.found[name], DENIED, name)
        self.assertEqual(self.found["clone3"], "Function not implemented")

    def test_the_kernel_is_out_of_reach(self) -> None:
        for name in ("keyctl", "bpf", "io_uring_setup", "perf_event_open", "open_by_handle_at", "reboot", "userfaultfd", "init_module", "kexec_load"):
            self.assertEqual(self.found[name], DENIED, name)
        for name in ("core pattern", "sysrq"):
            self.assertIn(self.found[name], (FIXED, HIDDEN), name)
        self.assertIn(self.found["kernel memory"], (DENIED, HIDDEN))
        self.assertEqual(self.found["host name"], DENIED)

    def test_nothing_but_its_own_folder_can_be_written(self) -> None:
        for name in ("system", "settings", "root directory", "repository"):
            self.assertEqual(self.found[name], FIXED, name)

    def test_the_rights_are_the_listed_ones_also_in_programs_that_it_starts(self) -> None:
        self.assertEqual(self.found["capabilities"], KEPT)
        self.assertEqual(self.found["bounding"], KEPT)
        self.assertEqual(self.found["setuid program"].split(), ["CapEff:", KEPT, "CapBnd:", KEPT])

    def test_what_packages_need_works(self) -> None:
        self.assertEqual(self.found["needed"], ["done"] * 7)
        self.assertEqual((self.writable / "file").stat().st_uid, 1234)
