"""Examples of the pages: each is shown by a page and tried by a test, and every command line that a page shows is one that the command takes."""

from __future__ import annotations

import base64
import json
import re
import shlex
import tempfile
import unittest
from collections.abc import Iterator
from pathlib import Path

import click
import jinja2
import yaml

from topcoat.cli import root
from topcoat.registry.auth import Credentials

ROOT = Path(__file__).parents[3]
DOCS = ROOT / "doc/source"
EXAMPLES = DOCS / "zuul/examples"
PAGES = (*sorted(DOCS.glob("**/*.rst")), *sorted(ROOT.glob("*.rst")))
COMMAND = re.compile(r"(?m)^\s*(?:\$ |# )?(?:tox -e (?:plan|build|update) -- )?(topcoat [^\n]*(?:\\\n[^\n]*)*)$")
# What stands for words of the reader.
STAND_INS = re.compile(r"\.\.\.|…|\b[A-Z]{3,}\b \||<[a-z]")


def lines() -> Iterator[tuple[str, str]]:
    """(page, command line) of every literal block of the pages."""
    for page in PAGES:
        for block in re.findall(r"(?m)(?:^\.\. code-block:: console$|::$)\n((?:\n|[ \t]+[^\n]*\n)+)", page.read_text(encoding="utf-8")):
            for line in COMMAND.findall(block):
                yield str(page.relative_to(ROOT)), line.replace("\\\n", " ")


def refused(words: list[str]) -> str:
    """Why the command would not take these words, or nothing; it is parsed and not run."""
    try:
        with root.make_context("topcoat", words, resilient_parsing=False) as context:
            _, command, rest = root.resolve_command(context, [*context._protected_args, *context.args])
            command.make_context(command.name, rest, parent=context)
    except click.exceptions.Exit:
        return ""
    except click.UsageError as error:
        # A file of the reader is not here; everything else is a word that the command does not know.
        return "" if re.search(r"does not exist|No such file", error.format_message()) else error.format_message()
    return ""


class Examples(unittest.TestCase):
    def test_each_is_shown_and_tried(self) -> None:
        shown = "".join(page.read_text(encoding="utf-8") for page in PAGES)
        tests = "".join(path.read_text(encoding="utf-8") for path in (ROOT / "tests").rglob("test_*.py"))
        for path in sorted(EXAMPLES.iterdir()):
            self.assertRegex(shown, rf"literalinclude:: (/zuul/)?examples/{re.escape(path.name)}\n")
            self.assertTrue(f'"{path.name}"' in tests, f"no test reads {path.name}")

    def test_a_robot_is_found_by_its_path(self) -> None:
        """The role's own expression makes the auth file of the example's secret; our client finds the login for its namespace and for no other."""
        expression = yaml.safe_load((ROOT / "roles/use-ci-registry/vars/main.yaml").read_text())["_use_ci_registry_auths"]
        environment = jinja2.Environment(autoescape=False)
        environment.filters["b64encode"] = lambda text: base64.b64encode(text.encode()).decode()
        secrets = {
            entry["secret"]["name"]: entry["secret"]["data"]
            for entry in yaml.safe_load((EXAMPLES / "site-robots.yaml").read_text())
            if "secret" in entry
        }
        for name, data in secrets.items():
            more = {**data, "quay.io": {"username": "somebody", "password": "else"}}
            made = environment.from_string(expression).render(container_registry_credentials=more)
            with tempfile.TemporaryDirectory() as folder:
                file = Path(folder) / "auth.json"
                file.write_text(json.dumps({"auths": yaml.safe_load(made)}))
                file.chmod(0o600)
                logins = Credentials.from_authfile(file)
            self.assertEqual(logins.find("quay.io", "example/openstack-nova-api").user, name.replace("site-robot-", "example+"))
            self.assertEqual(logins.find("quay.io", "other/openstack-nova-api").user, "somebody")


class Commands(unittest.TestCase):
    def test_every_command_line_of_the_pages_is_one(self) -> None:
        seen = 0
        for page, line in lines():
            words = re.split(r"\s+#\s|\s[|>;]\s|\s&&\s", line)[0]
            if STAND_INS.search(words) or page.endswith("user/cli.rst"):
                continue
            seen += 1
            with self.subTest(page=page, line=words):
                self.assertEqual(refused(shlex.split(words)[1:]), "")
        self.assertGreater(seen, 60)


if __name__ == "__main__":
    unittest.main()
