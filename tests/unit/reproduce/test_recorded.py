"""A merge commit is found again from what it is made of."""

from __future__ import annotations

import hashlib
import subprocess
import tempfile
import unittest

from topcoat.reproduce.recorded import Committer, commit_body, search

ZUUL = Committer("Zuul", "zuul@ci.example.org")
TREE, PARENTS = "1" * 40, ("2" * 40, "3" * 40)


def object_hash(body: bytes) -> str:
    return hashlib.sha1(b"commit %d\0" % len(body) + body, usedforsecurity=False).hexdigest()


class Commits(unittest.TestCase):
    def test_the_hash_is_gits(self):
        with tempfile.TemporaryDirectory() as folder:
            subprocess.run(["git", "init", "--quiet", folder], check=True)
            body = commit_body(TREE, PARENTS, ZUUL, 1795000000, "Merge 'refs/changes/05/205/1'")
            made = subprocess.run(
                ["git", "-C", folder, "hash-object", "-t", "commit", "--literally", "--stdin"], input=body, capture_output=True, check=True
            )
            self.assertEqual(made.stdout.decode().strip(), object_hash(body))

    def test_search(self):
        body = commit_body(TREE, PARENTS, ZUUL, 1795000777, "Merge 'x'")
        self.assertEqual(body, search(object_hash(body), TREE, PARENTS, ZUUL, range(1795000000, 1795001000), "Merge 'x'"))
        self.assertIsNone(search(object_hash(body), TREE, PARENTS, ZUUL, range(1795000000, 1795000777), "Merge 'x'"))
        self.assertIsNone(search(object_hash(body), TREE, PARENTS, Committer("Other", "o@x"), [1795000777], "Merge 'x'"))
        early = commit_body(TREE, PARENTS, ZUUL, 999, "Merge 'x'")
        self.assertEqual(early, search(object_hash(early), TREE, PARENTS, ZUUL, range(990, 1010), "Merge 'x'"))

    def test_a_commit_that_the_merger_of_zuul_14_made(self):
        tree, parents = (
            "982f60fbdd39f76a126e182c171b54934ab1d2d4",
            ("1288529b5381c61155d059b2020d62012a903978", "59cfe0600911ab6b7296f0c119e4c3d60d2483ae"),
        )
        body = search("9abd8794389d9a7e68e8cdb998617f92b343ca4c", tree, parents, ZUUL, range(1795000000, 1795002000), "Merge 'refs/changes/05/205/1'")
        self.assertIn(b"author Zuul <zuul@ci.example.org> 1795000900 +0000", body)

    def test_identities(self):
        self.assertEqual(ZUUL, Committer.parse("Zuul <zuul@ci.example.org>"))
        for text in ("Zuul", "zuul@ci", "Zuul <zuul"):
            self.assertIsNone(Committer.parse(text))
