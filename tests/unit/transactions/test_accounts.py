"""Whose files a step of a recipe makes: numbers out of tables that anything in an image may have written."""

from __future__ import annotations

import json
import subprocess
import sys
import tempfile
import unittest
from pathlib import Path

from topcoat import transactions

WORKER = Path(transactions.__file__).parent / "worker"
# The worker is a program of the host's Python, with its own folder as its path.
ASK = """
import json, pathlib, sys
sys.path.insert(0, sys.argv[1])
import files, protocol
found = []
for owner, passwd in json.load(sys.stdin):
    pathlib.Path(sys.argv[2], "etc/passwd").write_text(passwd, encoding="utf-8")
    try:
        found.append(files.owner(sys.argv[2], owner))
    except protocol.Refused as error:
        found.append(error.kind)
print(json.dumps(found))
"""


class Accounts(unittest.TestCase):
    def owners(self, *cases: tuple[str, str]) -> list[object]:
        """[uid, gid] each, or the kind of the refusal."""
        with tempfile.TemporaryDirectory() as root:
            (Path(root) / "etc").mkdir()
            (Path(root) / "etc/group").write_text("nova:x:7:\n", encoding="utf-8")
            argv = [sys.executable, "-I", "-c", ASK, str(WORKER), root]
            done = subprocess.run(argv, input=json.dumps(cases), capture_output=True, text=True, check=True)
        return json.loads(done.stdout)  # type: ignore[no-any-return]

    def test_numbers_of_the_image(self) -> None:
        right = "nova:x:42:43::/:/bin/sh\n"
        self.assertEqual([[42, 43], [42, 7], [5, 0]], self.owners(("nova", right), ("nova:nova", right), ("5", "")))

    def test_what_is_no_number_is_no_account(self) -> None:
        lines = ("nova:x:-1:43", "nova:x:abc:43", "nova:x", "nova", "nova:x:4294967295:43", "nova:x:²:43", "nova:x:42:-1", "nova:x:42")
        self.assertEqual(["content"] * len(lines), self.owners(*(("nova", f"{line}\n") for line in lines)))


if __name__ == "__main__":
    unittest.main()
