"""Module metadata of a few bytes that stands for gigabytes, or for ever: one line each."""

from __future__ import annotations

import unittest

import yaml

from topcoat.solver import modules

LEVELS = "\n".join(f"l{level}: &l{level} [{', '.join([f'*l{level - 1}'] * 10)}]" for level in range(1, 10))
LAUGHS = f"l0: &l0 [ha, ha, ha, ha, ha, ha, ha, ha, ha, ha]\n{LEVELS}\n"
DOCUMENT = "document: modulemd\nversion: 2\n"


class Modules(unittest.TestCase):
    def refused(self, text: str) -> None:
        with self.assertRaises((ValueError, yaml.YAMLError)):
            modules.parse(text)

    def test_aliases_of_aliases(self) -> None:
        self.refused(f"{LAUGHS}{DOCUMENT}data: {{name: n, stream: s, artifacts: {{rpms: *l9}}}}\n")
        self.refused(f"{LAUGHS}{DOCUMENT}data: {{name: *l9, stream: s}}\n")

    def test_an_alias_of_itself(self) -> None:
        self.refused(f"{DOCUMENT}data: &a {{name: n, stream: s, artifacts: {{rpms: [*a]}}}}\n")

    def test_merged_keys(self) -> None:
        levels = "".join(f"m{level}: &m{level} {{<<: [{', '.join([f'*m{level - 1}'] * 10)}]}}\n" for level in range(1, 12))
        self.refused(f"m0: &m0 {{a: 1, b: 2}}\n{levels}{DOCUMENT}data: {{name: n, stream: s}}\n")

    def test_an_alias_as_people_write_it(self) -> None:
        found = modules.parse(f"x: &x [a-0:1-1.noarch]\n{DOCUMENT}data: {{name: n, stream: s, artifacts: {{rpms: *x}}}}\n")
        self.assertEqual(["a-0:1-1.noarch"], found["builds"][0]["artifacts"])
