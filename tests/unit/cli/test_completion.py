"""What a person gets who presses Tab, in the shell itself."""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
import unittest
from pathlib import Path

ROOT = Path(__file__).parents[3]
TREE = ROOT / "container-images"


class Bash(unittest.TestCase):
    def setUp(self) -> None:
        folder = tempfile.TemporaryDirectory()
        self.addCleanup(folder.cleanup)
        program = Path(folder.name) / "topcoat"
        program.write_text(f'#!/bin/sh\nexec {sys.executable} -c "from topcoat.cli import main; main()" "$@"\n')
        program.chmod(0o755)
        self.environment = {**os.environ, "PATH": f"{folder.name}:{os.environ['PATH']}", "PYTHONPATH": os.pathsep.join(sys.path)}

    def complete(self, *words: str) -> list[str]:
        """The answers of the completion function that our script installs, for the last word."""
        text = " ".join(f"'{word}'" for word in ("topcoat", *words))
        script = (
            'eval "$(topcoat completion bash)"; set -f\n'
            f"COMP_WORDS=({text}); COMP_CWORD={len(words)}; COMPREPLY=()\n"
            '_topcoat_completion topcoat; printf "%s\\n" "${COMPREPLY[@]}"\n'
        )
        done = subprocess.run(["bash", "-c", script], capture_output=True, text=True, env=self.environment, check=True, timeout=120)
        return done.stdout.split()

    def test_commands_options_and_choices(self) -> None:
        self.assertEqual(self.complete("pl"), ["plan"])
        self.assertEqual(self.complete("build", "--sb"), ["--sbom"])
        self.assertEqual(self.complete("build", "--sbom", "b"), ["both"])

    def test_names_of_the_tree(self) -> None:
        tree = ("--recipes", str(TREE))
        self.assertEqual(self.complete(*tree, "explain", "nova-conduc"), ["nova-conductor"])
        self.assertIn("keystone", self.complete(*tree, "list", "key"))
        self.assertEqual(self.complete(*tree, "plan", "--family", "placem"), ["placement"])
        self.assertEqual(self.complete(*tree, "--profile", "centos"), ["centos9-rdo"])

    def test_a_tree_that_cannot_be_read_completes_nothing(self) -> None:
        self.assertEqual(self.complete("--recipes", "/nowhere", "explain", "nova"), [])
