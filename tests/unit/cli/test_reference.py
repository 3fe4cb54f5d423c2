"""The command reference is what the commands say, and every command says enough."""

from __future__ import annotations

import unittest
from pathlib import Path

import click
from click.testing import CliRunner

from topcoat.cli import GROUPS, root
from topcoat.cli._reference import reference

PAGE = Path(__file__).parents[3] / "doc" / "source" / "user" / "cli.rst"


class Reference(unittest.TestCase):
    def commands(self):
        context = click.Context(root, info_name="topcoat")
        return {name: root.get_command(context, name) for name in root.list_commands(context)}

    def test_the_page_is_up_to_date(self):
        self.assertEqual(PAGE.read_text(), reference(), "write it anew: python -m topcoat.cli._reference > doc/source/user/cli.rst")

    def test_every_command_and_option_explains_itself(self):
        for name, command in self.commands().items():
            self.assertTrue(command.help, name)
            for parameter in command.params:
                if isinstance(parameter, click.Option) and parameter.name != "help":
                    self.assertTrue(
                        parameter.help and parameter.help.endswith((".", "]", "repeated.", ")")), f"{name} {parameter.opts}: {parameter.help}"
                    )

    def test_help_lists_every_command_under_one_task(self):
        named = [name for names in GROUPS.values() for name in names]
        self.assertEqual(sorted(self.commands()), sorted(named), "give it a line in GROUPS of topcoat/cli/__init__.py")
        text = CliRunner().invoke(root, ["--help"]).output
        for title, names in GROUPS.items():
            self.assertIn(f"{title}:", text)
            for name in names:
                self.assertRegex(text, rf"(?m)^  {name} +\S")

    def test_completion_scripts(self):
        for shell in ("bash", "zsh", "fish"):
            result = CliRunner().invoke(root, ["completion", shell])
            self.assertEqual(0, result.exit_code, result.output)
            self.assertIn("_TOPCOAT_COMPLETE", result.output)

    def test_completion_knows_commands_and_options(self):
        from click.shell_completion import ShellComplete

        completer = ShellComplete(root, {}, "topcoat", "_TOPCOAT_COMPLETE")
        self.assertIn("explain", [item.value for item in completer.get_completions([], "ex")])
        self.assertIn("--gating-repo", [item.value for item in completer.get_completions(["plan"], "--ga")])
