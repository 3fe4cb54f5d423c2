"""Debian packages into RPMs: versions, relations, merged paths, configuration, compiled modules; on packages made here, without any registry."""

import io
import marshal
import sys
import tarfile
import tempfile
import unittest
from dataclasses import replace
from pathlib import Path

from topcoat.errors import ContentError
from topcoat_demo import debian
from topcoat_demo.convert import Rules, convert, evr, merged, requires_of, specification
from topcoat_demo.debian import Index, Relation

AVAILABLE = """Package: alpha
Version: 1:2.0-3
Architecture: amd64
Depends: libone (>= 1.5), gone | two, virtual, helper:any (>> 1.0), plumbing | virtual
Provides: alpha-api (= 2)
Source: alphas (1.9)
SHA256: 00
Description: first

Package: libone
Version: 1.6-1
Architecture: amd64
Pre-Depends: two

Package: two
Version: 3
Architecture: all

Package: real-virtual
Version: 1-1
Architecture: all
Provides: virtual

Package: other-virtual
Version: 1-1
Architecture: all
Provides: virtual

Package: helper
Version: 1.1-1
Architecture: all

Package: plumbing
Version: 1
Architecture: all
"""


def tar(entries: list[tuple[str, object]]) -> bytes:
    stream = io.BytesIO()
    with tarfile.open(fileobj=stream, mode="w:xz") as archive:
        for name, content in entries:
            info = tarfile.TarInfo(name)
            if content is None:
                info.type, info.mode = tarfile.DIRTYPE, 0o755
                archive.addfile(info)
            elif isinstance(content, str):
                info.type, info.linkname = tarfile.SYMTYPE, content
                archive.addfile(info)
            else:
                info.size, info.mode = len(content), 0o755 if "bin/" in name else 0o644
                archive.addfile(info, io.BytesIO(content))
    return stream.getvalue()


def deb(folder: Path, entries: list[tuple[str, object]], conffiles: str = "") -> Path:
    parts = [("debian-binary", b"2.0\n"), ("control.tar.xz", tar([("./conffiles", conffiles.encode())])), ("data.tar.xz", tar(entries))]
    data = b"!<arch>\n"
    for name, content in parts:
        data += f"{name:<16}{0:<12}{0:<6}{0:<6}{'100644':<8}{len(content):<10}`\n".encode() + content + b"\n" * (len(content) % 2)
    path = folder / "alpha_1%3a2.0-3_amd64.deb"
    path.write_bytes(data)
    return path


class Versions(unittest.TestCase):
    def test_epoch_version_and_release(self) -> None:
        for text, expected in {
            "1:2.0-3+b1": (1, "2.0", "3+b1"),
            "2.0": (0, "2.0", "0"),
            "1.2-rc1-4": (0, "1.2.rc1", "4"),
            "5:7.0~deb12u1": (5, "7.0~deb12u1", "0"),
        }.items():
            self.assertEqual(evr(text), expected, text)

    def test_paths_follow_the_merged_usr(self) -> None:
        for path, expected in {
            "./bin/sh": "/usr/bin/sh",
            "./lib64/ld.so": "/usr/lib64/ld.so",
            "./etc/x": "/etc/x",
            "./library/x": "/library/x",
        }.items():
            self.assertEqual(merged(path), expected)


class Closure(unittest.TestCase):
    def setUp(self) -> None:
        self.index = Index(AVAILABLE)

    def test_first_alternative_that_exists_and_first_provider(self) -> None:
        self.assertEqual(list(self.index.closure(["alpha"])), ["alpha", "helper", "libone", "other-virtual", "plumbing", "two"])

    def test_what_is_left_out_drops_the_whole_dependency(self) -> None:
        chosen = self.index.closure(["alpha"], ["plumbing"])
        self.assertNotIn("plumbing", chosen)
        needs = requires_of(chosen["alpha"], lambda group: self.index.satisfy(group, chosen, {"plumbing"}.__contains__))
        self.assertEqual(needs, ("libone >= 1.5", "two", "virtual", "helper >= 1.0"))

    def test_later_than_a_version_without_revision_accepts_its_revisions(self) -> None:
        """RPM compares no releases where one side has none: `> 1.0` would refuse 1.0-1, which Debian accepts."""
        chosen = self.index.closure(["alpha"])
        self.assertIn("helper >= 1.0", requires_of(chosen["alpha"], lambda group: self.index.satisfy(group, chosen, lambda _: False)))

    def test_earlier_than_all_that_follows_a_version_accepts_its_revisions(self) -> None:
        """Debian's dot sorts after every revision, RPM's before: `< 2.0-.` would refuse 2.0-3."""
        deb = replace(self.index.get("alpha"), depends=((Relation("libone", "<<", "1:1.6-."),),))
        self.assertEqual(requires_of(deb, lambda group: group[0]), ("libone <= 1:1.6",))

    def test_unknown_names_are_errors(self) -> None:
        with self.assertRaisesRegex(ContentError, "no package nothing"):
            self.index.closure(["nothing"])
        with self.assertRaisesRegex(ContentError, "no package for missing"):
            self.index.satisfy((Relation("missing"),), {}, lambda _: False)


class Specification(unittest.TestCase):
    def setUp(self) -> None:
        holder = tempfile.TemporaryDirectory(prefix="demo-convert-")
        self.addCleanup(holder.cleanup)
        self.folder = Path(holder.name)
        self.deb = Index(AVAILABLE).get("alpha")

    def convert(self, entries: list[tuple[str, object]], conffiles: str = "", rules: Rules | None = None) -> dict[str, object]:
        self.spec = specification(self.deb, deb(self.folder, entries, conffiles), ("two",), rules or Rules())
        return {item.path: item for item in self.spec.files}

    def test_files_configuration_and_what_is_dropped(self) -> None:
        files = self.convert(
            [
                ("./bin/tool", b"#!/bin/sh\n"),
                ("./lib/x/link", "../../etc/alpha/main.conf"),
                ("./usr/bin/other", "/bin/tool"),
                ("./etc/alpha/main.conf", b"x\n"),
                ("./usr/share/doc/alpha/copyright", b"c"),
                ("./usr/share/man/man1/tool.1", b"m"),
                ("./usr/lib/python3/dist-packages/alpha/tests/test_x.py", b"x = 1\n"),
            ],
            "/etc/alpha/main.conf\n",
        )
        self.assertEqual(sorted(files), ["/etc/alpha/main.conf", "/usr/bin/other", "/usr/bin/tool", "/usr/lib/x/link"])
        self.assertTrue(files["/etc/alpha/main.conf"].config and files["/etc/alpha/main.conf"].noreplace)
        self.assertEqual(files["/usr/bin/tool"].mode, 0o755)
        self.assertEqual(files["/usr/bin/other"].target, "/usr/bin/tool")
        self.assertEqual(files["/usr/lib/x/link"].target, "/etc/alpha/main.conf", "a relative link of a moved path keeps its meaning")
        self.assertEqual((self.spec.nevra, self.spec.source_rpm), ("alpha-1:2.0-3.x86_64", "alphas-2.0-3.src.rpm"))

    def test_what_the_filesystem_package_owns_is_not_brought_again(self) -> None:
        files = self.convert([("./etc/login.defs", b"UID_MIN 1000\n"), ("./etc/alpha.conf", b"x\n")], "/etc/login.defs\n")
        self.assertEqual(sorted(files), ["/etc/alpha.conf"], "two packages with one path cannot be installed together")

    def test_modules_are_compiled_without_time_and_without_back_references(self) -> None:
        source = b'NAME = "alpha"\n'
        files = self.convert([("./usr/lib/python3/dist-packages/alpha.py", source)])
        compiled = files[f"/usr/lib/python3/dist-packages/__pycache__/alpha.{sys.implementation.cache_tag}.pyc"].content
        self.assertEqual(compiled[4:8], b"\x01\0\0\0", "hash-based, not checked (PEP 552)")
        self.assertEqual(compiled[16] & 0x80, 0, "no reference flag: those depend on the process")
        self.assertEqual(marshal.loads(compiled[16:]).co_consts[0], "alpha")

    def test_a_whole_package_leaves_directories_to_the_package_that_owns_them(self) -> None:
        """RPM refuses two packages that disagree about a directory; Debian's archives hold every directory on the way to a file."""
        archive = deb(self.folder, [("./etc/alpha", None), ("./etc/alpha/x.conf", b"x\n"), ("./var/lib/alpha", None)], "")
        spec, _ = convert(self.deb, archive, (), Rules(), whole=True, elsewhere={"/etc/alpha", "/etc/alpha/x.conf"})
        self.assertEqual([item.path for item in spec.files], ["/etc/alpha/x.conf", "/var/lib/alpha"])

    def test_rules(self) -> None:
        rules = Rules(
            rename="beta", provides=("extra",), requires=("more",), own=(("/etc/alpha", "alpha"),), edit=(("/etc/alpha/main.conf", "x", "y"),)
        )
        files = self.convert([("./etc/alpha/main.conf", b"x\n"), ("./etc/alphabet", b"z")], "/etc/alpha/main.conf\n", rules)
        self.assertEqual(self.spec.name, "beta")
        self.assertIn("alpha = 1:2.0-3", self.spec.provides)
        self.assertEqual(self.spec.requires, ("two", "more"))
        self.assertEqual((files["/etc/alpha/main.conf"].user, files["/etc/alphabet"].user), ("alpha", "root"))
        self.assertEqual(files["/etc/alpha/main.conf"].content, "y\n")

    def test_not_a_debian_package(self) -> None:
        path = self.folder / "x.deb"
        path.write_bytes(b"nonsense")
        with self.assertRaisesRegex(ContentError, "not a Debian package"):
            list(debian.members(path))


if __name__ == "__main__":
    unittest.main()
