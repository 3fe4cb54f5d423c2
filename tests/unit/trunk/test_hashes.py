"""Trunk hashes as DLRN writes them."""

from __future__ import annotations

import hashlib
import tempfile
import unittest
from pathlib import Path

from topcoat.errors import ContentError, UsageError
from topcoat.trunk import TrunkHash, from_commit_yaml, from_repo_file, read_trunk

COMMIT = "a1" * 20
DISTRO = "b2" * 20
LONG = "c3" * 20 + "_" + "d4" * 20


class Hashes(unittest.TestCase):
    def test_tags(self) -> None:
        for extended, ending in (("", ""), ("c3" * 20, "_c3c3c3c3"), (LONG, "_c3c3c3c3_d4d4d4d4"), ("20260101", "_20260101")):
            with self.subTest(extended=extended):
                trunk = TrunkHash(COMMIT, DISTRO, extended)
                self.assertEqual(f"{COMMIT}_b2b2b2b2{ending}", trunk.tag)
                self.assertEqual(trunk.tag, TrunkHash.parse(trunk.tag).tag)
                self.assertEqual(f"a1/a1/{trunk.tag}", trunk.directory)
                self.assertTrue(trunk.matches(TrunkHash.parse(trunk.tag)))

    def test_an_aggregate_is_its_own_tag(self) -> None:
        trunk = TrunkHash.parse("0123456789abcdef0123456789abcdef")
        self.assertEqual("0123456789abcdef0123456789abcdef", trunk.tag)
        self.assertEqual("01/23/0123456789abcdef0123456789abcdef", trunk.directory)

    def test_what_is_no_hash(self) -> None:
        for text in ("current", "", "abc_def", COMMIT, f"{COMMIT}_b2", f"{COMMIT}_../../x", "g" * 32):
            with self.subTest(text=text), self.assertRaises(UsageError):
                TrunkHash.parse(text)

    def test_only_whole_hashes_are_whole(self) -> None:
        self.assertTrue(TrunkHash(COMMIT, DISTRO).whole)
        self.assertFalse(TrunkHash.parse(f"{COMMIT}_b2b2b2b2").whole)


class Repositories(unittest.TestCase):
    def setUp(self) -> None:
        self.root = Path(self.enterContext(tempfile.TemporaryDirectory()))

    def test_one_repository(self) -> None:
        text = f"[delorean]\nname=x\nbaseurl=https://trunk.example.org/a1/a1/{COMMIT}_b2b2b2b2\n"
        self.assertEqual(f"{COMMIT}_b2b2b2b2", from_repo_file(text).tag)

    def test_several_components_are_an_aggregate(self) -> None:
        text = "".join(f"[delorean-component-{name}]\nbaseurl=https://t.example.org/component/{name}/x\n\n" for name in ("a", "b"))
        self.assertEqual(hashlib.md5(text.encode()).hexdigest(), from_repo_file(text).tag)

    def test_a_moving_link_in_the_baseurl_is_refused(self) -> None:
        with self.assertRaises(ContentError):
            from_repo_file("[delorean]\nbaseurl=https://trunk.example.org/current\n")
        with self.assertRaises(ContentError):
            from_repo_file("no section")
        with self.assertRaises(ContentError):
            from_repo_file("")

    def test_commit_yaml_keeps_the_whole_hashes(self) -> None:
        trunk = from_commit_yaml(f"commits:\n- commit_hash: {COMMIT}\n  distro_hash: {DISTRO}\n  extended_hash: None\n  component: compute\n")
        self.assertTrue(trunk.whole)
        self.assertEqual("compute", trunk.component)
        for text in ("", "commits: []", "commits:\n- {}", "a: [", "- 1"):
            with self.subTest(text=text), self.assertRaises(ContentError):
                from_commit_yaml(text)

    def test_a_link_on_disk(self) -> None:
        (self.root / "a1/a1" / f"{COMMIT}_b2b2b2b2").mkdir(parents=True)
        (self.root / "current").symlink_to(f"a1/a1/{COMMIT}_b2b2b2b2")
        trunk = read_trunk(str(self.root / "current"))
        self.assertEqual((f"{COMMIT}_b2b2b2b2", "current"), (trunk.hash.tag, trunk.name))
        self.assertEqual(trunk.hash, read_trunk(f"file://{self.root}/current/").hash)

    def test_the_aggregate_file_wins(self) -> None:
        (self.root / "delorean.repo.md5").write_text("0123456789abcdef0123456789abcdef")
        (self.root / "delorean.repo").write_text("[x]\nbaseurl=y")
        self.assertEqual("0123456789abcdef0123456789abcdef", read_trunk(str(self.root)).hash.tag)

    def test_nothing_there_is_an_error(self) -> None:
        for name in ("", "missing"):
            with self.assertRaises(ContentError):
                read_trunk(str(self.root / name))
