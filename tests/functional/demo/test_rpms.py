"""What the RPM builder writes, judged by rpm and dnf themselves."""

import os
import subprocess
import tempfile
import unittest
from pathlib import Path

from tests.needs import needs
from topcoat_demo.rpms import File, RpmSpec, Trigger, config, directory, make_repository, script, symlink, write_rpm

LIBRARY = RpmSpec("library", "1.0", epoch=2, files=(File("/usr/share/library/data", "one\n"), config("/etc/library.conf", "packaged\n")))
MODULES = """---
document: modulemd
version: 2
data:
  name: stream
  stream: "{stream}"
  version: 1
  context: c0ffee00
  arch: x86_64
  summary: A module
  description: A module
  license: {{module: [MIT]}}
  profiles: {{common: {{rpms: [streamed]}}}}
  artifacts: {{rpms: ["streamed-0:{stream}-1.el9.noarch"]}}
...
"""


@needs("rpm", "dnf")
class RealRpm(unittest.TestCase):
    def setUp(self) -> None:
        holder = tempfile.TemporaryDirectory(prefix="demo-rpms-")
        self.addCleanup(holder.cleanup)
        self.folder = Path(holder.name)
        self.root = self.folder / "root"
        self.root.mkdir()
        home = self.folder / "home"
        home.mkdir()
        (home / ".rpmmacros").write_text("%_dbpath /var/lib/rpm\n")
        self.environment = {**os.environ, "HOME": str(home), "LC_ALL": "C.UTF-8"}
        # Scriptlets run inside the root, so it needs a shell.
        self.shell = RpmSpec("shell", "1", arch="x86_64", provides=("/bin/sh",), files=tuple(self.busybox()))

    def busybox(self) -> list[File]:
        from topcoat_demo import base

        cache = self.folder / "unpacked"
        cache.mkdir()
        rpm = next(path for path in base.tiny(base_cache()) if path.name.startswith("busybox"))
        subprocess.run(f"rpm2cpio {rpm} | cpio -id --quiet", shell=True, cwd=cache, check=True)
        return [File("/usr/bin/busybox", cache / "usr/bin/busybox", 0o755), symlink("/bin", "usr/bin"), symlink("/usr/bin/sh", "busybox")]

    def rpm(self, *words: str, check: bool = True) -> str:
        command = ["rpm", "--root", str(self.root), "--dbpath", "/var/lib/rpm", "--nosignature", *words]
        done = subprocess.run(command, capture_output=True, text=True, env=self.environment, timeout=60, check=False)
        if check:
            self.assertEqual(done.returncode, 0, done.stderr)
        return done.stdout

    def dnf(self, repository: Path, *words: str) -> str:
        options = ["-y", f"--installroot={self.root}", "--releasever=9", "--setopt=reposdir=/nonexistent", f"--repofrompath=test,file://{repository}"]
        options += [f"--setopt=cachedir={self.folder / 'cache'}", "--setopt=module_platform_id=platform:el9", "--nogpgcheck"]
        done = subprocess.run(["dnf", *options, *words], capture_output=True, text=True, env=self.environment, timeout=120, check=False)
        self.assertEqual(done.returncode, 0, done.stdout + done.stderr)
        return done.stdout

    def write(self, spec: RpmSpec) -> str:
        return str(write_rpm(spec, self.folder / "pool"))

    def test_digests_and_names_are_those_rpm_expects(self) -> None:
        path = self.write(LIBRARY.bump(source="library-suite"))
        self.assertEqual(
            self.rpm("-qp", "--qf", "%{NEVRA} %{SOURCERPM} %{BUILDTIME}", path),
            "library-2:1.0-1.el9.noarch library-suite-1.0-1.el9.src.rpm 1735689600",
        )
        checked = self.rpm("-Kv", path)
        self.assertNotIn("BAD", checked)
        self.assertEqual(checked.count(": OK"), 4)
        broken = self.folder / "broken.rpm"
        data = bytearray(Path(path).read_bytes())
        data[-20] ^= 0xFF
        broken.write_bytes(data)
        self.assertIn("BAD", self.rpm("-Kv", str(broken), check=False))

    def test_epoch_decides_before_version(self) -> None:
        self.rpm("-i", self.write(LIBRARY))
        refused = self.rpm("-U", self.write(LIBRARY.bump(version="9.0", epoch=0)), check=False)
        self.assertEqual(refused, "")
        self.assertEqual(self.rpm("-q", "--qf", "%{EPOCH}:%{VERSION}", "library"), "2:1.0")

    def test_changed_configuration_is_kept_when_noreplace(self) -> None:
        self.rpm("-i", self.write(LIBRARY))
        (self.root / "etc/library.conf").write_text("ours\n")
        self.assertEqual(self.rpm("-V", "library", check=False).split(), ["S.5....T.", "c", "/etc/library.conf"])
        newer = LIBRARY.bump(
            version="2.0", files=(config("/etc/library.conf", "packaged again\n"), config("/etc/other.conf", "x\n", noreplace=False))
        )
        self.rpm("-U", self.write(newer))
        self.assertEqual((self.root / "etc/library.conf").read_text(), "ours\n")
        self.assertEqual((self.root / "etc/library.conf.rpmnew").read_text(), "packaged again\n")
        self.assertFalse((self.root / "usr/share/library/data").exists(), "a file that the new package does not have is gone")

    def test_capabilities_hardlinks_and_owners(self) -> None:
        files = (
            File("/usr/bin/ping", "ping\n", 0o755, caps="cap_net_raw=ep"),
            File("/usr/bin/git", "git\n", 0o755, hardlink="git"),
            File("/usr/libexec/git", "git\n", 0o755, hardlink="git"),
            directory("/var/lib/owned", mode=0o750),
        )
        self.rpm("-i", self.write(RpmSpec("special", "1", files=files)))
        self.assertIn("security.capability", os.listxattr(self.root / "usr/bin/ping"))
        self.assertTrue((self.root / "usr/bin/git").samefile(self.root / "usr/libexec/git"))
        self.assertEqual((self.root / "var/lib/owned").stat().st_mode & 0o777, 0o750)
        self.assertEqual(self.rpm("-V", "special"), "")

    def test_scriptlets_and_triggers_run_in_order(self) -> None:
        self.rpm("-i", self.write(self.shell))
        note = "echo {} >> /log"
        watcher = RpmSpec("watcher", "1", triggers=(Trigger("triggerin", "noisy >= 1", note.format("triggerin")),))
        scriptlets = {name: note.format(name) for name in ("pretrans", "pre", "post", "preun", "postun", "posttrans")}
        noisy = RpmSpec("noisy", "1", **scriptlets)
        self.rpm("-i", self.write(watcher))
        self.rpm("-i", self.write(noisy))
        self.rpm("-e", "noisy")
        self.assertEqual((self.root / "log").read_text().split(), ["pretrans", "pre", "post", "triggerin", "posttrans", "preun", "postun"])

    def test_dnf_reads_the_repository_obsoletes_and_new_requirements(self) -> None:
        old = RpmSpec("old-name", "1")
        new = RpmSpec("new-name", "2", obsoletes=("old-name < 2",), requires=("extra >= 1",))
        self.dnf(make_repository(self.folder / "one", [old]), "install", "old-name")
        self.dnf(make_repository(self.folder / "two", [old, new, RpmSpec("extra", "1")]), "upgrade")
        self.assertEqual(sorted(self.rpm("-qa", "--qf", "%{NAME}\n").split()), ["extra", "new-name"])

    def test_module_stream_hides_the_other_stream(self) -> None:
        streamed = [RpmSpec("streamed", "1"), RpmSpec("streamed", "2")]
        repository = make_repository(self.folder / "modular", streamed, modules=MODULES.format(stream=1) + MODULES.format(stream=2))
        self.dnf(repository, "module", "enable", "stream:1")
        self.dnf(repository, "install", "streamed")
        self.assertEqual(self.rpm("-q", "--qf", "%{VERSION}", "streamed"), "1")

    def test_weak_dependencies_and_rich_dependencies(self) -> None:
        main = RpmSpec("main", "1", recommends=("nice",), requires=("(one or two)",))
        repository = make_repository(self.folder / "weak", [main, RpmSpec("nice", "1"), RpmSpec("one", "1")])
        self.dnf(repository, "--setopt=install_weak_deps=False", "install", "main")
        self.assertEqual(sorted(self.rpm("-qa", "--qf", "%{NAME}\n").split()), ["main", "one"])
        self.assertTrue(script("/usr/bin/x", "true").content.startswith("#!/bin/sh"))


def base_cache() -> Path:
    from topcoat_demo.distribution import default_cache

    return default_cache()


if __name__ == "__main__":
    unittest.main()
