"""Whether ldconfig would change anything is told from names and from its cache."""

import struct
import unittest

from topcoat.synthesis import Node, Tree
from topcoat.synthesis.libraries import unchanged

FOLDER, FILE = Node("d", 0o755, 0, 0, 0), Node("f", 0o755, 0, 0, 0)
LDCONFIG = "usr/sbin/ldconfig"


def cache(*paths: str, magic: bytes = b"glibc-ld.so.cache1.1", flags: int = 2) -> bytes:
    """What ldconfig writes for these libraries."""
    texts, entries, at = b"", b"", 48 + 24 * len(paths)
    for path in paths:
        name = path.rpartition("/")[2]
        entries += struct.pack("<iIIIQ", 0x303, at + len(texts), at + len(texts) + len(name) + 1, 0, 0)
        texts += f"{name}\0{path}\0".encode()
    return magic + struct.pack("<IIB3xI12x", len(paths), len(texts), flags, 0) + entries + texts


def tree(*paths: str, links: dict[str, str] | None = None, contents: dict[str, bytes] | None = None, named: tuple[str, ...] | None = None) -> Tree:
    """A tree of these files, whose cache names the link of one library unless ``named`` says otherwise."""
    files = ("usr/lib64/liba.so.1.2", "etc/ld.so.conf", LDCONFIG, *paths)
    nodes = dict.fromkeys(("usr", "usr/lib64", "usr/lib", "etc", "etc/ld.so.conf.d", "usr/sbin"), FOLDER) | dict.fromkeys(files, FILE)
    linked = {"lib64": "usr/lib64", "usr/lib64/liba.so.1": "liba.so.1.2", **(links or {})}
    nodes |= {path: Node("l", 0o777, 0, 0, 0, target) for path, target in linked.items()}
    nodes["etc/ld.so.cache"] = Node("f", 0o644, 0, 0, 0)
    known = {"etc/ld.so.conf": b"include ld.so.conf.d/*.conf\n", "etc/ld.so.cache": cache(*(named or ("/lib64/liba.so.1",))), **(contents or {})}
    for path in known:
        nodes.setdefault(path, FILE)
    return Tree(nodes, known)


class Unchanged(unittest.TestCase):
    def is_unchanged(self, found: Tree, *moved: str) -> bool:
        return unchanged(found, moved, LDCONFIG)

    def test_a_current_cache_and_files_that_do_not_matter(self) -> None:
        self.assertTrue(self.is_unchanged(tree(), "usr/lib/python3/site/libx.so", "usr/lib64", "usr/lib64/x.so.1", "opt/liba.so.1"))
        self.assertTrue(self.is_unchanged(tree(links={"usr/lib64/liba.so": "liba.so.1"})), "a link for compilers")
        self.assertTrue(self.is_unchanged(tree(links={"usr/lib64/libb.so": "libb.so.1"})), "a link that leads nowhere")

    def test_what_ldconfig_reads_or_writes_moves(self) -> None:
        for path in (
            "usr/lib64/liba.so.1.2",
            "lib64/libnew.so.1",
            "usr/lib/ld-linux.so.2",
            "usr/lib64/sse2/liba.so.1",
            "usr/lib64/glibc-hwcaps/v4/liba.so.1",
            "etc/ld.so.conf",
            "etc/ld.so.conf.d/new.conf",
            "etc/ld.so.cache",
            LDCONFIG,
            "libx32",
        ):
            with self.subTest(path):
                self.assertFalse(self.is_unchanged(tree(), path))

    def test_folders_of_the_settings_count(self) -> None:
        own = {"etc/ld.so.conf.d/own.conf": b"/opt/own # ours\n"}
        self.assertFalse(self.is_unchanged(tree(contents=own), "opt/own/libx.so.1"))
        self.assertTrue(self.is_unchanged(tree(contents=own), "opt/other/libx.so.1"))
        self.assertFalse(self.is_unchanged(tree("opt/own/libx.so.1", contents=own)), "the cache lacks it")

    def test_a_cache_that_may_not_be_current(self) -> None:
        cases = {
            "a library more": tree("usr/lib64/libb.so.1"),
            "a library less": tree(named=("/lib64/liba.so.1", "/lib64/libgone.so.1")),
            "a folder that is not looked at": tree("opt/libc.so.1", named=("/lib64/liba.so.1", "/opt/libc.so.1")),
            "a link to elsewhere": tree("opt/b", links={"usr/lib64/libb.so.1": "/opt/b"}, named=("/lib64/liba.so.1", "/lib64/libb.so.1")),
            "another form": tree(contents={"etc/ld.so.cache": cache("/lib64/liba.so.1", magic=b"ld.so-1.7.0\0\0\0\0\0\0\0\0\0")}),
            "another byte order": tree(contents={"etc/ld.so.cache": cache("/lib64/liba.so.1", flags=3)}),
            "cut off": tree(contents={"etc/ld.so.cache": cache("/lib64/liba.so.1")[:60]}),
            "settings of another kind": tree(contents={"etc/ld.so.conf": b"include /opt/*.conf\n"}),
            "settings behind a link": tree(links={"etc/ld.so.conf.d/a.conf": "/opt/a.conf"}),
        }
        for what, found in cases.items():
            with self.subTest(what):
                self.assertFalse(self.is_unchanged(found))
        for node in (Node("f", 0o600, 0, 0, 0), Node("f", 0o644, 1, 0, 0), Node("l", 0o644, 0, 0, 0, "x"), None):
            with self.subTest(node):
                found = tree()
                found.nodes.pop("etc/ld.so.cache")
                if node:
                    found.nodes["etc/ld.so.cache"] = node
                self.assertFalse(self.is_unchanged(found))


if __name__ == "__main__":
    unittest.main()
