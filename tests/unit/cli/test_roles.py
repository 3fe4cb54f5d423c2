"""What roles hand to commands: names that the commands know, as values and never as a command line put together."""

from __future__ import annotations

import re
import unittest
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import click
import yaml

from topcoat.cli import root
from topcoat.cli._options_file import options_of

ROLES = Path(__file__).parents[3] / "roles"


def calls() -> Iterator[tuple[str, dict[str, Any]]]:
    """(place, variables) of each call of topcoat by a role."""
    for path in sorted(ROLES.glob("*/tasks/*.yaml")):
        for task in yaml.safe_load(path.read_text(encoding="utf-8")) or []:
            include = task.get("ansible.builtin.include_role", {})
            if include.get("name") == "use-topcoat" and include.get("tasks_from") == "run.yaml":
                yield path.relative_to(ROLES).as_posix(), task["vars"]


def mappings(variables: dict[str, Any]) -> list[dict[str, Any]]:
    """The mappings that the options of a call are made of."""
    own = variables["topcoat_run_options"]
    return [own] if isinstance(own, dict) else [value for name, value in variables.items() if name.startswith("_") and isinstance(value, dict)]


class Roles(unittest.TestCase):
    def test_each_name_is_one_of_the_command(self) -> None:
        found = list(calls())
        self.assertGreater(len(found), 15)
        for place, variables in found:
            command = root.get_command(click.Context(root), variables["topcoat_run"])
            self.assertIsNotNone(command, place)
            known = set(options_of(command))
            for options in mappings(variables):
                self.assertEqual(set(options) - known, set(), f"{place}: topcoat {variables['topcoat_run']} does not know these")

    def test_what_a_plan_is_made_with_a_build_takes(self) -> None:
        tasks = yaml.safe_load((ROLES / "plan-images/tasks/main.yaml").read_text(encoding="utf-8"))
        options = next(task["ansible.builtin.set_fact"] for task in tasks if "ansible.builtin.set_fact" in task)["plan_images_options"]
        for name in ("plan", "build"):
            self.assertEqual(set(options) - set(options_of(root.get_command(click.Context(root), name))), set(), name)

    def test_the_global_options_exist(self) -> None:
        defaults = yaml.safe_load((ROLES / "use-topcoat/defaults/main.yaml").read_text(encoding="utf-8"))
        self.assertEqual(set(defaults["topcoat_options"]) - set(options_of(root)), set())

    def test_no_role_puts_a_command_line_together(self) -> None:
        for path in sorted(ROLES.glob("*/tasks/*.yaml")):
            text = path.read_text(encoding="utf-8")
            if "topcoat_run" in text and path.parent.parent.name != "use-topcoat":
                self.assertIsNone(re.search(r"'--|\[--|=' ~", text), path)

    def test_a_file_that_two_roles_share_has_its_name_in_one_place(self) -> None:
        shared = yaml.safe_load((ROLES / "use-topcoat/defaults/main.yaml").read_text(encoding="utf-8"))["topcoat_files"]
        names = {value.rpartition("/")[2] for value in shared.values()}
        for path in sorted(ROLES.glob("*/*/main.yaml")):
            if path.parent.parent.name == "use-topcoat":
                continue
            for name in names:
                self.assertNotIn(f'topcoat_work_dir }}}}/{name}"', path.read_text(encoding="utf-8"), path)
