"""The check of the documentation notices what is missing."""

from __future__ import annotations

import importlib.util
import shutil
import tempfile
import unittest
from pathlib import Path

ROOT = Path(__file__).resolve().parents[3]
_spec = importlib.util.spec_from_file_location("check_documented", ROOT / "tools" / "check_documented.py")
assert _spec and _spec.loader
check = importlib.util.module_from_spec(_spec)
_spec.loader.exec_module(check)


class Documented(unittest.TestCase):
    def setUp(self) -> None:
        self.root = Path(tempfile.mkdtemp(prefix="topcoat-documented-"))
        self.addCleanup(shutil.rmtree, self.root)
        for name in ("zuul.d", "roles", "doc/source/zuul"):
            shutil.copytree(ROOT / name, self.root / name)

    def change(self, path: str, old: str, new: str) -> None:
        """Replace text in a file of the copy."""
        file = self.root / path
        text = file.read_text()
        self.assertIn(old, text)
        file.write_text(text.replace(old, new))

    def complaint(self, expected: str) -> None:
        """Exactly what is expected is complained about."""
        self.assertIn(expected, "\n".join(check.problems(self.root)))

    def test_this_repository(self) -> None:
        self.assertEqual(check.problems(), [])

    def test_a_default_without_documentation(self) -> None:
        with (self.root / "roles/plan-images/defaults/main.yaml").open("a") as file:
            file.write("plan_images_new: 1\n")
        self.complaint("roles/plan-images: plan_images_new is not in README.rst")

    def test_a_documented_variable_that_does_not_exist(self) -> None:
        self.change("roles/plan-images/README.rst", "rolevar:: plan_images_full", "rolevar:: plan_images_fully")
        self.complaint("README.rst names plan_images_fully, argument_specs.yaml does not")
        self.complaint("plan_images_full is not in README.rst")

    def test_a_variable_of_another_name(self) -> None:
        self.change("roles/plan-images/meta/argument_specs.yaml", "plan_images_full:", "full:")
        self.complaint("roles/plan-images: full does not begin with plan_images_")

    def test_a_variable_without_a_value(self) -> None:
        self.change("roles/plan-images/defaults/main.yaml", "plan_images_full: false\n", "")
        self.complaint("plan_images_full has neither a default nor is it required")

    def test_an_undocumented_fact(self) -> None:
        self.change("roles/plan-images/README.rst", "rolevar:: plan_images_options", "rolevar:: plan_images_other")
        self.complaint("returns the fact plan_images_options, README.rst does not say so")

    def test_a_role_a_job_and_a_template_that_no_page_lists(self) -> None:
        shutil.copytree(self.root / "roles/plan-images", self.root / "roles/new-role")
        with (self.root / "zuul.d/new.yaml").open("w") as file:
            file.write("- job: {name: new-job, description: no sentence, vars: {unknown: 1}}\n- project-template: {name: new-template}\n")
        for expected in (
            "role new-role: is not in doc/source/zuul",
            "job new-job: is not in doc/source/zuul",
            "job new-job: its description must begin with a sentence",
            "job new-job: no role documents unknown",
            "project-template new-template: has no description",
        ):
            self.complaint(expected)

    def test_marks_in_a_default(self) -> None:
        self.change("roles/plan-images/README.rst", ":default: false", ":default: ``false``")
        self.complaint("roles/plan-images/README.rst: write the default ``false`` without marks")

    def test_references_that_lead_nowhere(self) -> None:
        self.change("doc/source/zuul/debug.rst", ":doc:`publish`", ":zuul:job:`no-such-job`")
        self.complaint("doc/source/zuul/debug.rst: :zuul:job:`no-such-job` leads nowhere")

    def test_a_page_that_names_what_is_gone(self) -> None:
        shutil.rmtree(self.root / "roles/plan-images")
        self.complaint("doc/source/zuul: role plan-images does not exist")


if __name__ == "__main__":
    unittest.main()
