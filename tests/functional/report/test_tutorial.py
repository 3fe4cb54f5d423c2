"""The first hour, as written: every command of the tutorial is typed into one shell, and its output is what the page shows."""

from __future__ import annotations

import os
import re
import subprocess
import sys
import tempfile
import unittest
from pathlib import Path

from tests.needs import needs

ROOT = Path(__file__).parents[3]
PAGE = ROOT / "doc" / "source" / "user" / "first-hour.rst"
TOOLS = ("docker-registry", "buildah", "dnf", "createrepo_c", "rpmdb2solv")
MARK = "@@@ end of command "


def session(text):
    """(command, shown output lines) of every console block after the set-up."""
    steps = []
    body = text[text.index("A world to work in") :]
    for block in re.findall(r"\.\. code-block:: console\n\n((?:   .*\n|\n)+)", body):
        for line in block.splitlines():
            line = line[3:]
            if line.startswith("$ "):
                steps.append((line[2:], []))
            elif steps and line:
                steps[-1][1].append(line)
    return steps


def matches(shown, real):
    """Whether the shown lines appear in the real ones, in order; a line of ``…`` alone stands for any lines, ``…`` inside one for any text."""
    position = 0
    for line in shown:
        if line.strip() == "…":
            continue
        pattern = re.compile(".*".join(re.escape(part) for part in line.split("…")))
        while position < len(real) and not pattern.fullmatch(real[position].rstrip()):
            position += 1
        if position == len(real):
            return line
        position += 1
    return None


class Matching(unittest.TestCase):
    def test_it_can_fail(self):
        self.assertIsNone(matches(["a", "…", "c…e"], ["a", "b", "c d e"]))
        self.assertEqual("x", matches(["a", "x"], ["a", "b"]))
        self.assertEqual("a", matches(["b", "a"], ["a", "b"]))


@needs(*TOOLS, root=True)
class Tutorial(unittest.TestCase):
    def test_it_is_true(self):
        steps = session(PAGE.read_text())
        self.assertGreater(len(steps), 20)
        with tempfile.TemporaryDirectory(prefix="topcoat-tour-") as folder:
            (Path(folder) / "container-images").symlink_to(ROOT / "container-images")
            environment = {name: value for name, value in os.environ.items() if not name.startswith("TOPCOAT_")}
            environment |= {"PATH": f"{Path(sys.executable).parent}:{environment['PATH']}", "COLUMNS": "140", "TOPCOAT_PROGRESS": "quiet"}
            script = "".join(f"{command}\nprintf '%s%s\\n' '{MARK}' $?\n" for command, _ in steps)
            # cp -r of a link to the recipes would copy the link, so -L by a function.
            script = 'cp() { command cp -L "$@"; }\n' + script
            done = subprocess.run(
                ["bash"], input=script, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, cwd=folder, env=environment, timeout=1500
            )
            subprocess.run([sys.executable, "-m", "topcoat_demo", "registry", "stop", "--directory", f"{folder}/work/tour/registry"], check=False)
            outputs = re.split(re.escape(MARK) + r"(\d+)\n", done.stdout)
            for index, (command, shown) in enumerate(steps):
                with self.subTest(command=command):
                    output, code = outputs[2 * index], int(outputs[2 * index + 1])
                    expected = 2 if any(line.startswith("error:") for line in shown) else 0
                    self.assertEqual(expected, code, output[-2000:])
                    self.assertIsNone(matches(shown, output.splitlines()), output[-3000:])
