"""The pages for those who come from kolla or tcib: their first hour is true, and every word of ours in their tables is one."""

from __future__ import annotations

import re
import tempfile
import unittest
from pathlib import Path

import click

from tests.sessions import ROOT, replay, session
from topcoat.cli import root
from topcoat.recipes import load_tree

PAGES = ("from-kolla.rst", "from-tcib.rst")


def text(page: str) -> str:
    """The page."""
    return (ROOT / "doc/source/user" / page).read_text(encoding="utf-8")


def options() -> set[str]:
    """Every option of every command, and the global ones."""
    context = click.Context(root)
    commands = [root, *(root.get_command(context, name) for name in root.list_commands(context))]
    return {word for command in commands for parameter in command.params for word in parameter.opts if word.startswith("--")}


class OtherWords(unittest.TestCase):
    def test_the_first_hour_is_true(self) -> None:
        for page in PAGES:
            steps = session(text(page).partition("The first hour\n")[2])
            self.assertGreater(len(steps), 6, page)
            with self.subTest(page), tempfile.TemporaryDirectory() as folder:
                replay(self, steps, Path(folder), timeout=300)

    def test_options_on_our_side_exist(self) -> None:
        known = options()
        for page in PAGES:
            ours = re.findall(r"(?m)^ {5}- (.*(?:\n {7}.*)*)$", text(page))
            self.assertGreater(len(ours), 50, page)
            # The second cell of a row; those of three columns hold no options.
            for cell in ours:
                for word in re.findall(r"(?<![\w-])--[a-z-]+", cell):
                    self.assertIn(word, known, f"{page}: {cell}")

    def test_names_of_images_on_our_side_exist(self) -> None:
        names = set(load_tree(ROOT / "container-images"))
        self.assertEqual(len(names), 104, "the pages say so")
        for name in ("mariadb", "redis", "rsyslog", "keystone", "neutron-metadata-agent-ovn"):
            self.assertIn(name, names)


if __name__ == "__main__":
    unittest.main()
