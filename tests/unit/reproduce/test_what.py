"""What a caller can name, and what is refused."""

from __future__ import annotations

import tempfile
import unittest
from pathlib import Path

from topcoat.errors import UsageError
from topcoat.reproduce.node import Node
from topcoat.reproduce.request import BuildUrl, ChangeUrl, recognise

BUILD = "0123456789abcdef" * 2


class Recognise(unittest.TestCase):
    def test_builds(self):
        cases = {
            f"https://zuul.example.org/t/openstack/build/{BUILD}": f"https://zuul.example.org/api/tenant/openstack/build/{BUILD}",
            f"https://zuul.example.org/t/openstack/build/{BUILD}/logs": None,
            f"https://zuul.example.org/t/openstack/build/{BUILD}/?x=1#frag": f"https://zuul.example.org/api/tenant/openstack/build/{BUILD}",
            f"https://zuul.example.org/build/{BUILD}": f"https://zuul.example.org/api/build/{BUILD}",
            f"https://example.org/zuul/t/a/build/{BUILD}/": f"https://example.org/zuul/api/tenant/a/build/{BUILD}",
            f"https://zuul.example.org/api/tenant/openstack/build/{BUILD}": f"https://zuul.example.org/api/tenant/openstack/build/{BUILD}",
        }
        for text, api in cases.items():
            found = BuildUrl.parse(text)
            self.assertEqual(api, found.api if found else None, text)

    def test_changes(self):
        cases = {
            "https://review.example.org/c/openstack/nova/+/905678": ("https://review.example.org", "905678", None),
            "https://review.example.org/c/openstack/nova/+/905678/3": ("https://review.example.org", "905678", "3"),
            "https://review.example.org/c/openstack/nova/+/905678/": ("https://review.example.org", "905678", None),
            "https://review.example.org/905678": ("https://review.example.org", "905678", None),
            "https://review.example.org/#/c/905678/2": ("https://review.example.org", "905678", "2"),
            "https://example.org/r/c/nova/+/7": ("https://example.org/r", "7", None),
            "http://127.0.0.1:8080/c/nova/+/7": ("http://127.0.0.1:8080", "7", None),
        }
        for text, (base, number, patchset) in cases.items():
            self.assertEqual(ChangeUrl(base, number, patchset), ChangeUrl.parse(text), text)
        self.assertEqual("127.0.0.1", ChangeUrl.parse("http://127.0.0.1:8080/c/nova/+/7").host)
        for text in ("905678", "https://review.example.org/c/nova", f"https://zuul.example.org/t/a/build/{'1' * 32}", "file:///c/nova/+/7"):
            self.assertIsNone(ChangeUrl.parse(text), text)

    def test_kinds(self):
        with tempfile.NamedTemporaryFile(suffix=".yaml") as file:
            self.assertEqual(Path(file.name), recognise([file.name]))
        self.assertEqual("https://logs.example.org/1/zuul-info/inventory.yaml", recognise(["https://logs.example.org/1/zuul-info/inventory.yaml"]))
        self.assertEqual(2, len(recognise(["https://review.example.org/1", "https://review.example.org/2"])))

    def test_refusals_say_what_to_name(self):
        build = f"https://zuul.example.org/t/a/build/{BUILD}"
        for words in (["missing.yaml"], ["https://example.org/page.html"], [build, build], ["https://review.example.org/1", build]):
            with self.assertRaises(UsageError) as caught:
                recognise(words)
            self.assertIn("inventory.yaml", caught.exception.next_step)


class Nodes(unittest.TestCase):
    def test_kinds(self):

        self.assertFalse(Node.parse("local").remote)
        node = Node.parse("ssh://zuul@192.0.2.7:2222/srv/try")
        self.assertEqual(("192.0.2.7", 2222, "zuul", "/srv/try"), (node.host, node.port, node.user, node.folder))
        self.assertEqual(
            ("host", 22, "", "/var/tmp/topcoat-reproduce"),
            tuple(getattr(Node.parse("ssh://host"), name) for name in ("host", "port", "user", "folder")),
        )
        node = Node.parse("container:try_1.a/srv/try")
        self.assertEqual((True, "try_1.a", "/srv/try", True), (node.remote, node.host, node.folder, node.container))
        self.assertEqual("topcoat_container", node.inventory()["ansible_connection"])
        for text in (
            "",
            "host",
            "container:",
            "container:-x",
            "container:a/../etc",
            "http://host",
            "ssh://",
            "ssh://u:secret@host",
            "ssh://host:99999",
            "ssh://host/a b",
            "ssh://host/../etc",
            "ssh://host/{{x}}",
        ):
            with self.assertRaises(UsageError, msg=text):
                Node.parse(text)
