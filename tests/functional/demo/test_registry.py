"""The registry of the demo: really TLS, really a password, on loopback only, and nothing left behind."""

import json
import os
import stat
import subprocess
import tempfile
import unittest
from pathlib import Path

from tests.functional.demo.layouts import small_layout
from tests.needs import needs
from topcoat_demo.registry import RegistryServer, push_layout


@needs("docker-registry", "skopeo")
class Registry(unittest.TestCase):
    def setUp(self) -> None:
        holder = tempfile.TemporaryDirectory(prefix="demo-registry-")
        self.addCleanup(holder.cleanup)
        self.folder = Path(holder.name)

    def inspect(self, server: RegistryServer, *options: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            ["skopeo", "inspect", *options, f"docker://{server.host}/demo/base:current"], capture_output=True, text=True, timeout=60, check=False
        )

    def test_push_and_pull_need_ca_and_password(self) -> None:
        digest = small_layout(self.folder / "layout")
        with RegistryServer(self.folder / "registry") as server:
            self.assertEqual(push_layout(server, self.folder / "layout", "demo/base", "current"), digest)
            good = self.inspect(server, f"--authfile={server.authfile}", f"--cert-dir={server.certificates}")
            self.assertEqual(json.loads(good.stdout)["Digest"], digest)
            empty = self.folder / "empty.json"
            empty.write_text('{"auths": {}}')
            self.assertIn("authentication required", self.inspect(server, f"--authfile={empty}", f"--cert-dir={server.certificates}").stderr)
            self.assertIn("certificate", self.inspect(server, f"--authfile={server.authfile}").stderr)

    def test_comes_back_on_the_same_port_with_its_images(self) -> None:
        digest = small_layout(self.folder / "layout")
        with RegistryServer(self.folder / "registry") as server:
            push_layout(server, self.folder / "layout", "demo/base", "current")
            host, password, pid = server.host, server.password, server.pid
        self.assertFalse(Path(f"/proc/{pid}").exists())
        with RegistryServer(self.folder / "registry") as server:
            self.assertEqual((server.host, server.password), (host, password))
            again = self.inspect(server, f"--authfile={server.authfile}", f"--cert-dir={server.certificates}")
            self.assertEqual(json.loads(again.stdout)["Digest"], digest)

    def test_password_is_in_no_argument_list_and_in_no_readable_file(self) -> None:
        with RegistryServer(self.folder / "registry") as server:
            self.assertNotIn(server.password.encode(), Path(f"/proc/{server.pid}/cmdline").read_bytes())
            for path in self.folder.rglob("*"):
                if path.is_file() and server.password.encode() in path.read_bytes():
                    self.assertEqual(stat.S_IMODE(path.stat().st_mode), 0o600, path)
            self.assertEqual(stat.S_IMODE(server.authfile.stat().st_mode), 0o600)
            self.assertEqual(stat.S_IMODE((server.directory / "server.key").stat().st_mode), 0o600)

    def test_plain_http_without_password(self) -> None:
        digest = small_layout(self.folder / "layout")
        with RegistryServer(self.folder / "registry", tls=False, password=False) as server:
            self.assertEqual(push_layout(server, self.folder / "layout", "demo/base", "current"), digest)
            self.assertIsNone(server.ca_file)

    def test_starting_twice_is_one_server_and_a_foreign_process_is_never_ended(self) -> None:
        with RegistryServer(self.folder / "registry") as server:
            self.assertEqual(RegistryServer(self.folder / "registry").start().pid, server.pid)
        (self.folder / "registry" / "state.json").write_text(json.dumps({"port": server.port, "pid": os.getpid()}))
        RegistryServer(self.folder / "registry").stop()

    def test_two_servers_at_once(self) -> None:
        with RegistryServer(self.folder / "one") as one, RegistryServer(self.folder / "two") as two:
            self.assertNotEqual(one.port, two.port)
            self.assertEqual((one.ping(), two.ping()), (200, 200))


if __name__ == "__main__":
    unittest.main()
