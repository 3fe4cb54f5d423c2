"""Console sessions that pages show: the commands are typed into one shell, and what they print is compared with the page.

Never let a command through whose exit code is not what the page shows: 0, or 2 where it shows an error.
"""

from __future__ import annotations

import os
import re
import subprocess
import sys
import unittest
from pathlib import Path

ROOT = Path(__file__).parents[1]
_MARK = "@@@ end of command "
_BLOCK = re.compile(r"\.\. code-block:: console\n\n((?:   .*\n|\n)+)")


def session(text: str) -> list[tuple[str, list[str]]]:
    """(command, shown output lines) of every console block; lines after ``>`` belong to the command."""
    steps: list[tuple[str, list[str]]] = []
    for block in _BLOCK.findall(text):
        for line in block.splitlines():
            line = line[3:]
            if line.startswith("$ "):
                steps.append((line[2:], []))
            elif line.startswith("> ") and steps and not steps[-1][1]:
                steps[-1] = (f"{steps[-1][0]}\n{line[2:]}", [])
            elif steps and line:
                steps[-1][1].append(line)
    return steps


def matches(shown: list[str], real: list[str]) -> str | None:
    """The first shown line that is missing; ``…`` alone stands for any lines, ``…`` inside a line for any text."""
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


def replay(case: unittest.TestCase, steps: list[tuple[str, list[str]]], folder: Path, *, timeout: int) -> None:
    """Type the steps into a shell in a folder that holds ``container-images``; a subtest a command."""
    (folder / "container-images").symlink_to(ROOT / "container-images")
    environment = {name: value for name, value in os.environ.items() if not name.startswith("TOPCOAT_")}
    environment |= {"PATH": f"{Path(sys.executable).parent}:{environment['PATH']}", "COLUMNS": "140", "TOPCOAT_PROGRESS": "quiet"}
    # cp -r of a link to the recipes would copy the link, so -L by a function.
    script = 'cp() { command cp -L "$@"; }\n' + "".join(f"{command}\nprintf '%s%s\\n' '{_MARK}' $?\n" for command, _ in steps)
    done = subprocess.run(
        ["bash"],
        input=script,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        cwd=folder,
        env=environment,
        timeout=timeout,
        check=False,
    )
    outputs = re.split(re.escape(_MARK) + r"(\d+)\n", done.stdout)
    for index, (command, shown) in enumerate(steps):
        with case.subTest(command=command):
            output, code = outputs[2 * index], int(outputs[2 * index + 1])
            expected = 2 if any(line.startswith("error:") for line in shown) else 0
            case.assertEqual(expected, code, output[-2000:])
            case.assertIsNone(matches(shown, output.splitlines()), output[-3000:])
