"""Options out of a file: what a role writes is what a person would type, and a wrong name is one clear line."""

from __future__ import annotations

import contextlib
import tempfile
import unittest
from pathlib import Path

import click
from click.testing import CliRunner

from topcoat.cli import Commands, root
from topcoat.errors import UsageError


@click.command()
@click.argument("names", nargs=-1)
@click.option("--tag", "-t")
@click.option("--label", "labels", multiple=True)
@click.option("--pull/--no-pull", default=True)
@click.option("--quiet", is_flag=True)
@click.option("--jobs", type=int, default=1)
def say(**values: object) -> None:
    click.echo(sorted(values.items()))


class Small(Commands):
    """Commands of a test, which are no modules."""

    def list_commands(self, context: click.Context) -> list[str]:
        return ["other", "say", "set"]

    def get_command(self, context: click.Context, name: str) -> click.Command | None:
        return say if name in self.list_commands(context) else None


@click.group(cls=Small)
@click.option("--options", expose_value=False)
@click.option("--keep-options", expose_value=False)
@click.option("--set", "settings", multiple=True)
@click.option("--registry", envvar="TOPCOAT_TEST_REGISTRY")
def small(settings: tuple[str, ...], registry: str | None) -> None:
    click.echo([settings, registry])


class OptionsFile(unittest.TestCase):
    def setUp(self) -> None:
        folder = tempfile.TemporaryDirectory()
        self.addCleanup(folder.cleanup)
        self.file = Path(folder.name) / "options.yaml"

    def call(self, text: str, *words: str, environment: dict[str, str] | None = None) -> list[str]:
        """What the call says, or the error it raises."""
        self.file.write_text(text, encoding="utf-8")
        done = CliRunner().invoke(small, ["--options", str(self.file), *words], env=environment)
        if done.exception and not isinstance(done.exception, SystemExit):
            raise done.exception
        self.assertEqual(done.exit_code, 0, done.output)
        return done.output.splitlines()

    def refused(self, text: str, *words: str) -> str:
        with self.assertRaises(UsageError) as caught:
            self.call(text, *words)
        return str(caught.exception)

    def test_values_of_every_kind(self) -> None:
        text = "set: {a: 1, b: x=y}\nsay: {tag: -dash, label: [one, two], pull: false, quiet: 'true', jobs: '3', names: [-a, b]}\n"
        self.assertEqual(
            self.call(text, "say"),
            [
                "[('a=1', 'b=x=y'), None]",
                "[('jobs', 3), ('labels', ('one', 'two')), ('names', ('-a', 'b')), ('pull', False), ('quiet', True), ('tag', '-dash')]",
            ],
        )

    def test_nothing_is_nothing(self) -> None:
        text = "set: {}\nregistry: ''\nsay: {tag: '', label: [], pull: null, quiet: false, names: []}\n"
        defaults = "[('jobs', 1), ('labels', ()), ('names', ()), ('pull', True), ('quiet', False), ('tag', None)]"
        self.assertEqual(self.call(text, "say"), ["[(), None]", defaults])

    def test_the_file_beats_the_environment_and_the_call_beats_the_file(self) -> None:
        text = "registry: file\nsay: {tag: file, jobs: 2, names: [x]}\n"
        found = self.call(text, "say", "-t", "call", "y", environment={"TOPCOAT_TEST_REGISTRY": "environment"})
        self.assertEqual(found[0], "[(), 'file']")
        self.assertIn("('jobs', 2), ('labels', ()), ('names', ('y', 'x'))", found[1])
        self.assertIn("('tag', 'call')", found[1])
        self.assertEqual(self.call(text, "--registry", "call", "say")[0], "[(), 'call']")

    def test_only_the_section_of_the_command_counts(self) -> None:
        self.assertIn("('tag', None)", self.call("other: {tag: x}\n", "say")[1])

    def test_an_option_of_every_command_is_none_of_a_command_of_its_name(self) -> None:
        self.assertEqual(self.call("set: {a: b}\n", "say")[0], "[('a=b',), None]")
        self.assertEqual(self.call("set: {a: b}\n", "set", "one")[0], "[('a=b',), None]")

    def test_an_unknown_name_is_told_with_its_place(self) -> None:
        self.assertIn("options.yaml, say: there is no option 'tga' -> did you mean 'tag'?", self.refused("say: {tga: x}\n", "say"))
        self.assertIn("there is no option 'regsitry' -> did you mean 'registry'?", self.refused("regsitry: x\n", "say"))
        self.assertIn("there is no option 'options'", self.refused("options: other.yaml\n", "say"))
        self.assertIn("there is no option '7'", self.refused("7: x\n", "say"))

    def test_a_value_of_another_kind_is_told(self) -> None:
        for text, words in (
            ("say: {tag: [a, b]}", "tag is not one value"),
            ("say: {tag: {a: b}}", "tag is not one value"),
            ("say: {quiet: maybe}", "quiet is not true or false"),
            ("say: {quiet: [true]}", "quiet is not true or false"),
            ("say: {label: [[a]]}", "label is not a text or a number"),
            ("say: [tag]", "say is not an object"),
            ("- say", "it is not an object"),
            ("say: {", "the file of options"),
        ):
            with self.subTest(text):
                self.assertIn(words, self.refused(text, "say"))

    def test_standard_input_is_read_and_kept_and_the_kept_file_says_the_same(self) -> None:
        text = "registry: kept\nsay: {tag: \u00e9}\n"
        kept = self.file.parent / "below" / "options-say.yaml"
        done = CliRunner().invoke(small, ["--options", "-", "--keep-options", str(kept), "say"], input=text.encode())
        self.assertEqual(done.exit_code, 0, done.output)
        self.assertEqual(done.output.splitlines(), self.call(kept.read_text(encoding="utf-8"), "say"))
        self.assertEqual(kept.read_bytes(), text.encode())

    def test_what_comes_over_standard_input_is_judged_as_a_file_is(self) -> None:
        for content, words in (
            (b"say: {tga: x}", "standard input, say: there is no option 'tga' -> did you mean 'tag'?"),
            (b" \n", "standard input: no options came"),
            (b"\xff", "standard input"),
            (b"keep-options: x", "there is no option 'keep-options'"),
        ):
            with self.subTest(content):
                done = CliRunner().invoke(small, ["--options=-", "say"], input=content)
                self.assertIsInstance(done.exception, UsageError)
                self.assertIn(words, str(done.exception))

    def test_a_file_of_that_name_is_a_file(self) -> None:
        with contextlib.chdir(self.file.parent):
            Path("-").write_text("registry: of the file\n", encoding="utf-8")
            done = CliRunner().invoke(small, ["--options", "./-", "say"], input=b"registry: of the input")
        self.assertIn("of the file", done.output)

    def test_what_cannot_be_kept_is_told(self) -> None:
        self.file.write_text("in the way", encoding="utf-8")
        for words, what in (
            (["--options", "-", "--keep-options", str(self.file / "options.yaml"), "say"], "the options cannot be kept"),
            (["--keep-options", str(self.file), "say"], "there are no options to keep"),
        ):
            done = CliRunner().invoke(small, words, input="say: {}")
            self.assertIsInstance(done.exception, UsageError)
            self.assertIn(what, str(done.exception))
        self.assertEqual(self.file.read_text(encoding="utf-8"), "in the way")

    def test_the_real_commands_take_it(self) -> None:
        self.file.write_text("profile: demo\nrecipes: container-images\nlist: {family: [placement], format: json}\n", encoding="utf-8")
        done = CliRunner().invoke(root, ["--options", str(self.file), "--recipes", str(Path(__file__).parents[3] / "container-images"), "list"])
        self.assertEqual(done.exit_code, 0, done.output)
        self.assertIn("placement-api", done.output)
