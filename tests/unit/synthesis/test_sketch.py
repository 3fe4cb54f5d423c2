"""The document of an image's files: with the packages it is the whole tree, and without them, or with others, it is nothing."""

import gzip
import hashlib
import json
import unittest
from unittest import mock

from hypothesis import given
from hypothesis import strategies as st

from tests.unit.synthesis.test_rules import NANO, package
from topcoat.errors import ContentError
from topcoat.synthesis import Node, Package, Tree, draw, restore, sketch
from topcoat_demo.rpms import EPOCH, File, directory, ghost, symlink

PASSWD = b"nova:x:42:43::/:"
PACKAGES = (
    package("a", directory("/opt"), File("/opt/a", "one", user="nova"), symlink("/opt/link", "a"), ghost("/opt/ghost")),
    package("b", File("/opt/b", "two")),
)


def sha256(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()


def tree(**other: Node | None) -> Tree:
    """What both packages brought, an account file, and what else is said; ``__`` in names is a slash, None takes away."""
    nodes: dict[str, Node | None] = {
        "opt": Node("d", 0o755, 0, 0, 9 * NANO),
        "opt/a": Node("f", 0o644, 42, 0, EPOCH * NANO, "", sha256("one")),
        "opt/link": Node("l", 0o777, 0, 0, EPOCH * NANO, "a"),
        "opt/b": Node("f", 0o644, 0, 0, EPOCH * NANO, "", sha256("two")),
        "etc": Node("d", 0o755, 0, 0, 9 * NANO),
        "etc/passwd": Node("f", 0o644, 0, 0, 9 * NANO, "", hashlib.sha256(PASSWD).hexdigest()),
    }
    nodes |= {path.replace("__", "/"): node for path, node in other.items()}
    return Tree({path: node for path, node in nodes.items() if node is not None}, {"etc/passwd": PASSWD})


def drawn(found: Tree, packages: tuple[Package, ...] = PACKAGES) -> bytes:
    document = draw(found, packages)
    assert document is not None
    return document


def head(document: bytes) -> dict:
    return json.loads(gzip.decompress(document).partition(b"\n")[0])


def packed(document: dict, rest: bytes = PASSWD) -> bytes:
    return gzip.compress(json.dumps(document).encode() + b"\n" + rest)


class Sketch(unittest.TestCase):
    def assert_comes_again(self, found: Tree, packages: tuple[Package, ...] = PACKAGES) -> None:
        again = restore(drawn(found, packages), packages)
        self.assertEqual((again.nodes, again.contents, again.odd), (found.nodes, found.contents, found.odd))
        self.assertEqual({path: again.children(path) for path in ("", "opt")}, {path: found.children(path) for path in ("", "opt")})

    def test_what_lies_there_as_it_was_brought_is_not_said(self) -> None:
        found = tree()
        self.assert_comes_again(found)
        self.assertEqual([entry[0] for entry in head(drawn(found))["other"]], ["etc", "etc/passwd", "opt"], "times of directories are the image's")
        self.assertEqual(head(drawn(found))["absent"], [])

    def test_what_is_otherwise_is_said(self) -> None:
        edited = Node("f", 0o600, 7, 8, -5, "", sha256("edited"), True)
        self.assert_comes_again(tree(opt__a=edited, opt__b=None, opt__ümläut=edited, dev=Node("o", 0o600, 0, 0, 0)))
        self.assertEqual(head(drawn(tree(opt__b=None)))["absent"], ["opt/b"])
        odd = tree()
        odd.odd = "its package database is not SQLite"
        self.assert_comes_again(odd)

    @given(
        st.dictionaries(
            st.sampled_from(["opt/a", "opt/b", "opt/c", "x", "y"]), st.sampled_from([None, Node("f", 1, 2, 3, 4), Node("l", 0, 0, 0, 1, "t")])
        )
    )
    def test_whatever_is_otherwise(self, other: dict[str, Node | None]) -> None:
        self.assert_comes_again(tree(**other))

    def test_the_same_tree_gives_the_same_bytes(self) -> None:
        one, two = tree(), tree()
        two.nodes = dict(reversed(two.nodes.items()))
        self.assertEqual(drawn(one), drawn(two))

    def test_another_database_is_another_image(self) -> None:
        document = drawn(tree())
        for packages in (PACKAGES[:1], (), (*PACKAGES, package("c", File("/opt/c", "3")))):
            with self.assertRaisesRegex(ContentError, "not that of its packages"):
                restore(document, packages)

    def test_what_no_document_can_say(self) -> None:
        self.assertIsNone(draw(tree(opt__c__d=Node("f", 0, 0, 0, 0)), PACKAGES), "a directory that no layer names")
        broken = tree()
        broken.nodes["opt/\udcff"] = Node("f", 0, 0, 0, 0)
        self.assertIsNone(draw(broken, PACKAGES))

    def test_no_path_leads_out_and_no_content_is_written_anywhere(self) -> None:
        good = head(drawn(tree()))
        node = ["f", 0o644, 0, 0, 0, "", "", False]
        lies = {
            "out of the image": {"other": [*good["other"], ["../etc/x", *node]]},
            "absolute": {"other": [*good["other"], ["/etc/x", *node]]},
            "a number for a name": {"other": [*good["other"], [5, *node]]},
            "a kind that is none": {"other": [*good["other"], ["opt/x", "z", *node[1:]]]},
            "content out of the image": {"contents": [["../../etc/passwd", len(PASSWD)]]},
            "content of any file": {"contents": [["opt/a", len(PASSWD)]]},
            "content of another length": {"contents": [["etc/passwd", 5]]},
            "a file in a file": {"other": [*good["other"], ["opt/a/x", *node]]},
            "another tree": {"tree": "0" * 64},
            "another version": {"version": 0},
        }
        self.assertEqual(restore(packed(good), PACKAGES).nodes, tree().nodes)
        for what, lie in lies.items():
            with self.subTest(what), mock.patch.object(sketch, "_digest", lambda _: good["tree"]), self.assertRaises(ContentError):
                restore(packed(good | lie), PACKAGES)  # whoever lies gets the digest right
        with self.assertRaises(ContentError):
            restore(drawn(tree())[:-9], PACKAGES)


if __name__ == "__main__":
    unittest.main()
