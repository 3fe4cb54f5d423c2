"""What an image's files tell dnf, and how they are found in an overlay that nobody mounted and in layers."""

from __future__ import annotations

import io
import json
import tarfile
import tempfile
import unittest
from pathlib import Path

from topcoat.errors import ContentError
from topcoat.rpm import inventory, layerdb, settings, settingsfiles
from topcoat.rpm.settings import DEFAULT, ModuleState, Settings

STATE = b"[nodejs]\nname=nodejs\nstream=16\nprofiles=common, development\nstate=enabled\n"


def configured(text: str) -> Settings:
    return settings.read({"etc/dnf/dnf.conf": text.encode()})


class Files(unittest.TestCase):
    def test_an_image_that_says_nothing(self) -> None:
        self.assertEqual(settings.read({}), DEFAULT)
        self.assertEqual(DEFAULT.digest, "")

    def test_configuration(self) -> None:
        text = """# comment
[main]
exclude=a,b
excludepkgs = c
  d*
installonly_limit=2
installonlypkgs=tool
obsoletes=0
allow_vendor_change=False
[other]
exclude=never
"""
        found = configured(text)
        self.assertEqual(found.excludes, ("a", "b", "c", "d*"))
        self.assertEqual((found.install_only_limit, found.obsoletes, found.vendor_change), (2, False, False))
        self.assertEqual(found.install_only, (*DEFAULT.install_only, "tool"))
        self.assertEqual(configured("[main]\ninstallonlypkgs=,tool\n").install_only, ("tool",), "a comma in front: instead of dnf's own list")

    def test_limits_that_dnf_does_not_take(self) -> None:
        for text, expected in (("0", 0), ("<off>", 0), ("1", 3), ("-1", 3), ("many", 3), ("5", 5)):
            with self.subTest(text):
                self.assertEqual(configured(f"[main]\ninstallonly_limit={text}\n").install_only_limit, expected)

    def test_no_configuration_file(self) -> None:
        with self.assertRaisesRegex(ContentError, "dnf.conf"):
            configured("[main\nexclude=a\n")

    def test_protected(self) -> None:
        files = {"etc/dnf/protected.d/systemd.conf": b"# why\nsystemd\nsystemd-udev\n", "etc/yum/protected.d/sudo.conf": b"sudo\n"}
        self.assertEqual(settings.read(files).protected, ("dnf", "sudo", "systemd", "systemd-udev"))
        own = files | {"etc/dnf/dnf.conf": b"[main]\nprotected_packages=only, glob:/etc/yum/protected.d/*.conf\n"}
        self.assertEqual(settings.read(own).protected, ("only", "sudo"))
        self.assertEqual(settings.read(files | {"etc/dnf/dnf.conf": b"[main]\nprotected_packages=\n"}).protected, ())

    def test_module_state(self) -> None:
        found = settings.read({"etc/dnf/modules.d/nodejs.module": STATE, "etc/dnf/modules.d/odd.module": b"[odd]\nstream=1\n"})
        self.assertEqual(found.modules, (ModuleState("nodejs", "16", "enabled", ("common", "development")),))

    def test_fail_safe_data_only_of_enabled_streams(self) -> None:
        kept = {f"var/lib/dnf/modulefailsafe/{name}:x86_64.yaml": b"---" for name in ("nodejs:16", "nodejs:18", "perl:5")}
        found = settings.read(kept | {"etc/dnf/modules.d/nodejs.module": STATE})
        self.assertEqual([name for name, _ in found.fail_safe], ["nodejs:16:x86_64.yaml"])

    def test_platform(self) -> None:
        release = {"etc/os-release": b'NAME=x\nPLATFORM_ID="platform:el9"\n'}
        self.assertEqual(settings.read(release).platform, "platform:el9")
        self.assertEqual(settings.read(release, ["platform:el8"]).platform, "platform:el8")
        fixed = settings.read(release | {"etc/dnf/dnf.conf": b"[main]\nmodule_platform_id=platform:x\n"}, ["platform:el8"])
        self.assertEqual((fixed.platform, fixed.fixed_platform), ("platform:x", True))

    def test_as_data_and_back(self) -> None:
        found = settings.read({"etc/dnf/modules.d/nodejs.module": STATE, "etc/dnf/dnf.conf": b"[main]\nexclude=a\nobsoletes=0\n"})
        self.assertEqual(Settings.from_data(json.loads(json.dumps(found.to_data()))), found)
        self.assertNotEqual(found.digest, DEFAULT.digest)
        with self.assertRaises(ValueError):
            Settings.from_data({"unknown": 1})


class Keys(unittest.TestCase):
    def test_settings_are_part_of_the_key(self) -> None:
        plain, held = (inventory.assemble((), b"", "/var/lib/rpm/rpmdb.sqlite", found) for found in (DEFAULT, Settings(excludes=("a",))))
        self.assertNotEqual(plain.key, held.key)
        self.assertEqual(inventory.from_files(held.to_files()), held)

    def test_an_inventory_of_before_is_not_believed(self) -> None:
        files = inventory.assemble((), b"", "/x").to_files()
        document = json.loads(files[inventory.FILE_PACKAGES])
        document["schema"] = document["schema"].replace("/2", "/1")
        for damaged in (document, {key: value for key, value in document.items() if key != "settings"}):
            with self.assertRaises(ContentError):
                inventory.from_files(files | {inventory.FILE_PACKAGES: json.dumps(damaged).encode()})


class Stacks(unittest.TestCase):
    def setUp(self) -> None:
        holder = tempfile.TemporaryDirectory()
        self.addCleanup(holder.cleanup)
        self.folder = Path(holder.name)

    def write(self, layer: str, path: str, text: str) -> Path:
        target = self.folder / layer / path
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_text(text)
        return self.folder / layer

    def test_the_upper_file_counts(self) -> None:
        lower = self.write("lower", "etc/dnf/dnf.conf", "old")
        self.write("lower", "etc/dnf/modules.d/a.module", "a")
        upper = self.write("upper", "etc/dnf/dnf.conf", "new")
        self.write("upper", "etc/dnf/modules.d/b.module", "b")
        found = settingsfiles.read_stack((upper, lower))
        self.assertEqual(found, {"etc/dnf/dnf.conf": b"new", "etc/dnf/modules.d/a.module": b"a", "etc/dnf/modules.d/b.module": b"b"})

    def test_links_are_no_files_and_hide(self) -> None:
        lower = self.write("lower", "etc/dnf/dnf.conf", "old")
        (self.folder / "upper/etc/dnf").mkdir(parents=True)
        (self.folder / "upper/etc/dnf/dnf.conf").symlink_to("/etc/passwd")
        self.assertEqual(settingsfiles.read_stack((self.folder / "upper", lower)), {})
        (self.folder / "linked").mkdir()
        (self.folder / "linked/etc").symlink_to("/etc")
        self.assertEqual(settingsfiles.read_stack((self.folder / "linked", lower)), {})


class Layers(unittest.TestCase):
    def read(self, *layers: dict[str, bytes | None]) -> dict[str, bytes]:
        """Newest first; None: an opaque mark."""

        def opened(files: dict[str, bytes | None]) -> io.BytesIO:
            sink = io.BytesIO()
            with tarfile.open(fileobj=sink, mode="w") as archive:
                for name, content in files.items():
                    member = tarfile.TarInfo(name)
                    member.size = len(content or b"")
                    archive.addfile(member, io.BytesIO(content or b""))
            return io.BytesIO(sink.getvalue())

        database = {"var/lib/rpm/rpmdb.sqlite": b"db"}
        return layerdb.read_layers_with_settings([lambda files=files: opened(files) for files in (*layers, database)])[1]

    def test_all_layers_are_read(self) -> None:
        newer, older = {"etc/dnf/modules.d/a.module": b"a2"}, {"./etc/dnf/modules.d/a.module": b"a1", "etc/dnf/dnf.conf": b"c", "etc/other": b"x"}
        self.assertEqual(self.read(newer, older), {"etc/dnf/modules.d/a.module": b"a2", "etc/dnf/dnf.conf": b"c"})

    def test_whiteouts(self) -> None:
        older = {"etc/dnf/modules.d/a.module": b"a", "etc/dnf/dnf.conf": b"c"}
        self.assertEqual(self.read({"etc/dnf/modules.d/.wh.a.module": b""}, older), {"etc/dnf/dnf.conf": b"c"})
        self.assertEqual(self.read({"etc/dnf/.wh..wh..opq": None}, older), {})
        self.assertEqual(self.read({"etc/.wh.dnf": b""}, older), {})


if __name__ == "__main__":
    unittest.main()
