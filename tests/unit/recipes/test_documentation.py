"""The documentation names every key there is."""

from __future__ import annotations

import shutil
import tempfile
import textwrap
import unittest
from pathlib import Path

from topcoat.inspection.contract import check
from topcoat.lists import lint
from topcoat.recipes import profiles
from topcoat.recipes.reading import CONDITION_KEYS
from topcoat.recipes.schema import RECIPE_KEYS

DOCUMENTS = Path(__file__).parents[3] / "doc" / "source" / "recipes"


class Documentation(unittest.TestCase):
    def names(self, page: str, words: tuple[str, ...]) -> None:
        text = (DOCUMENTS / page).read_text(encoding="utf-8")
        self.assertEqual([word for word in words if f"``{word}``" not in text], [])

    def test_recipes(self) -> None:
        self.names("reference.rst", (*RECIPE_KEYS, *CONDITION_KEYS, "gid", "home", "shell"))

    def test_profiles(self) -> None:
        self.names("profiles.rst", (*profiles._KEYS, *profiles._REPOSITORY_KEYS))

    def test_lists(self) -> None:
        self.names(
            "lists.rst",
            ("description", "variables", "images", "external", "aliases", "when", "parameters", "services", "source", "reference", "until"),
        )

    def test_the_contract(self) -> None:
        import inspect

        module = inspect.getsource(inspect.getmodule(check))  # type: ignore[arg-type]
        codes = tuple(sorted({part.split('"')[1] for part in module.split("Problem(")[1:] if part.startswith('"')}))
        self.names("contract.rst", codes)

    def test_the_five_lines_work_as_the_page_says(self) -> None:
        page = (DOCUMENTS / "add-an-image.rst").read_text(encoding="utf-8")
        block = page.split(".. code-block:: yaml\n\n")[1].split("\n\n")[0]
        recipe = textwrap.dedent(block) + "\n"
        self.assertEqual(len(recipe.strip().splitlines()), 5)
        with tempfile.TemporaryDirectory() as folder:
            tree = Path(folder) / "container-images"
            shutil.copytree(DOCUMENTS.parents[2] / "container-images", tree)
            with (tree / "openstack/nova.yaml").open("a") as stream:
                stream.write("\n" + recipe)
            problems = [problem.what for problem in lint(tree, variables={}).found]
            self.assertEqual(len(problems), 1)
            self.assertIn("'nova-manage' is not in the list", problems[0])
            listed = (tree / "lists/deploy.yaml").read_text().replace("\nexternal:", "  - image: nova-manage\n\nexternal:")
            (tree / "lists/deploy.yaml").write_text(listed)
            self.assertEqual([str(problem) for problem in lint(tree, variables={}).found], [])
