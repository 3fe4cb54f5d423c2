"""The RPM builder: same specification, same bytes; what a test asks for is in the header. rpm itself judges in the functional tests."""

import tempfile
import unittest
from pathlib import Path

import createrepo_c as cr
import rpm_rs

from topcoat_demo.rpms import File, RpmSpec, Trigger, build_rpm, config, directory, ghost, make_repository, script, symlink, write_rpm

NOVA = RpmSpec(
    "python3-nova",
    "28.0.0",
    "0.1.el9",
    epoch=1,
    source="openstack-nova",
    requires=("python3-oslo-config >= 2:9.0", "bash", "(a or b)"),
    obsoletes=("python3-nova-old < 28",),
    files=(
        script("/usr/bin/nova", "echo hello", caps="cap_net_raw=ep"),
        config("/etc/nova/nova.conf", "[DEFAULT]\n"),
        directory("/var/lib/nova", user="nova"),
        symlink("/usr/bin/n", "nova"),
        ghost("/var/log/x"),
        File("/usr/share/a", "x", hardlink="g"),
        File("/usr/share/b", "x", hardlink="g"),
    ),
    post="echo installed",
    triggers=(Trigger("triggerin", "bash >= 5", "echo bash came"),),
)

MODULES = """---
document: modulemd
version: 2
data:
  name: demo
  stream: "1"
  version: 1
  context: c0ffee00
  arch: x86_64
  summary: A module
  description: A module
  license: {module: [MIT]}
  artifacts: {rpms: [python3-nova-1:28.0.0-0.1.el9.noarch]}
...
"""


def tree(folder: Path) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in sorted(folder.rglob("*")) if path.is_file()}


class RpmBuilder(unittest.TestCase):
    def setUp(self) -> None:
        holder = tempfile.TemporaryDirectory(prefix="demo-rpms-")
        self.addCleanup(holder.cleanup)
        self.folder = Path(holder.name)

    def test_same_specification_same_bytes(self) -> None:
        self.assertEqual(build_rpm(NOVA), build_rpm(NOVA))

    def test_header_carries_what_was_asked_for(self) -> None:
        package = rpm_rs.Package.open(str(write_rpm(NOVA, self.folder)))
        data = package.metadata
        self.assertEqual(data.source_rpm, "openstack-nova-28.0.0-0.1.el9.src.rpm")
        self.assertEqual(data.epoch, 1)
        self.assertEqual([(item.name, item.version) for item in data.obsoletes()], [("python3-nova-old", "28")])
        self.assertIn(("python3-oslo-config", "2:9.0"), [(item.name, item.version) for item in data.requires()])
        self.assertEqual(data.post_install_script().script, "echo installed")
        self.assertEqual([condition.name for trigger in data.triggers() for condition in trigger.conditions], ["bash"])
        package.verify_digests()

    def test_digests_are_those_of_the_changed_header(self) -> None:
        broken = bytearray(build_rpm(NOVA))
        broken[broken.index(b"openstack-nova-28")] ^= 1
        with self.assertRaises(Exception):
            rpm_rs.Package.from_bytes(bytes(broken)).verify_digests()

    def test_nevra_and_filename(self) -> None:
        self.assertEqual(NOVA.nevra, "python3-nova-1:28.0.0-0.1.el9.noarch")
        self.assertEqual(NOVA.filename, "python3-nova-28.0.0-0.1.el9.noarch.rpm")

    def test_malformed_dependency_is_refused(self) -> None:
        with self.assertRaisesRegex(ValueError, "a b c"):
            build_rpm(NOVA.bump(requires=("a b c",)))

    def test_malformed_trigger_is_refused(self) -> None:
        with self.assertRaisesRegex(ValueError, "trigger kind"):
            build_rpm(NOVA.bump(triggers=(Trigger("on-sunday", "bash", "true"),)))

    def test_repository_is_deterministic_and_complete(self) -> None:
        for name in ("one", "two"):
            make_repository(self.folder / name, [NOVA, NOVA.bump(release="0.2.el9")], modules=MODULES)
        self.assertEqual(tree(self.folder / "one"), tree(self.folder / "two"))
        names: list[str] = []
        for record in cr.Repomd(str(self.folder / "one/repodata/repomd.xml")).records:
            if record.type == "primary":
                reader = cr.RepositoryReader.from_path(str(self.folder / "one"))
                names = [package.nevra() for package in reader.iter_packages()]
        self.assertEqual(sorted(names), ["python3-nova-1:28.0.0-0.1.el9.noarch", "python3-nova-1:28.0.0-0.2.el9.noarch"])

    def test_repository_again_forgets_a_removed_package_and_keeps_no_stale_metadata(self) -> None:
        repo = make_repository(self.folder / "repo", [NOVA, NOVA.bump(release="0.2.el9")])
        (repo / NOVA.filename).unlink()
        make_repository(repo)
        fresh = make_repository(self.folder / "fresh", [NOVA.bump(release="0.2.el9")])
        self.assertEqual(tree(repo), tree(fresh))

    def test_repository_adopts_finished_packages(self) -> None:
        path = write_rpm(NOVA, self.folder / "pool")
        repo = make_repository(self.folder / "repo", [path])
        self.assertEqual((repo / path.name).read_bytes(), path.read_bytes())


if __name__ == "__main__":
    unittest.main()
