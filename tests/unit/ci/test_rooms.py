"""The checker of the house: each rule finds its breach, and the house as it stands has none."""

import importlib.util
import sys
import tempfile
import unittest
from pathlib import Path

TOOL = Path(__file__).parents[3] / "tools/check_rooms.py"
SPEC = importlib.util.spec_from_file_location("check_rooms_tool", TOOL)
tool = importlib.util.module_from_spec(SPEC)
sys.modules[SPEC.name] = tool
SPEC.loader.exec_module(tool)


class Breaches(unittest.TestCase):
    def found(self, path: str, text: str) -> list[str]:
        package = Path(self.enterContext(tempfile.TemporaryDirectory()))
        file = package / path
        file.parent.mkdir(parents=True)
        file.write_text(text)
        return [line.removeprefix(f"{file}:") for line in tool.problems(package)]

    def test_the_house_keeps_its_plan(self) -> None:
        self.assertEqual([], tool.problems())

    def test_each_rule_finds_its_breach(self) -> None:
        cases = (
            ("attic/a.py", "", ["1: room 'attic' is not in the plan of the house"]),
            ("rpm/a.py", "x = 1\nfrom topcoat.runs import claims\n", ["2: rpm (floor 2) imports runs (floor 6)"]),
            ("rpm/a.py", "from topcoat.planner import decide\n", ["1: rpm (floor 2) imports planner (floor 2)"]),
            ("planner/a.py", "import os\n", ["1: the pure room 'planner' imports os"]),
            (
                "runs/a.py",
                'LABEL = "io.topcoat.new"\n',
                ["1: the word 'io.topcoat.' stands in 'model' only: names of labels and annotations are constants of topcoat.model.labels"],
            ),
            (
                "report/a.py",
                'def f(image):\n    return image.status in ("done", "partial")\n',
                ["2: compares a status with 'done', 'partial': compare with the members of topcoat.model.Status"],
            ),
            ("report/a.py", "def f(image):\n    return image.status is Status.DONE\n", []),
            (
                "cli/a.py",
                "def command():\n    from topcoat.lists import x\n    from topcoat.report import y\n    from topcoat.zuul import z\n",
                ["4: the command uses lists, zuul: one room does the work, beside documents, errors, model, process, report"],
            ),
            ("cli/a.py", "if TYPE_CHECKING:\n    from topcoat.lists import x\nfrom topcoat.zuul import z\n", []),
            ("model/labels.py", 'OWN = "io.topcoat."\n', []),
        )
        for path, text, expected in cases:
            with self.subTest(path=path, text=text):
                self.assertEqual(expected, self.found(path, text))
