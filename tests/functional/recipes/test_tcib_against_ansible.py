"""What our sandbox makes of a tcib tree equals what Ansible itself makes of the same variables."""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
import unittest
from pathlib import Path

import yaml

from tests.needs import needs
from tests.unit.recipes.tcibtrees import write_tree
from topcoat.documents.yamltree import parse_file
from topcoat.recipes.tcibfile import Variables
from topcoat.recipes.templating import Templates
from topcoat.recipes.treefiles import TreeFiles

SHAPES = {
    "modules": {
        "tcib_actions": [
            {
                "run": "if x; then {%- if 'el' ~ tcib_release in tcib_packages.modules %}\n {% for i in tcib_packages.modules['el' ~ tcib_release] %}"
                "{% set k, v = (i.items() | list).0 %}dnf module -y {{ k }} {{ v }}; {% endfor %}\n{%- else %}\n  echo no;\n{%- endif %} fi"
            },
            {"run": ["/bin/sh", "-c", "echo {{ tcib_distro }}"]},
        ],
        "tcib_packages": {"modules": {"el9": [{"enable": "redis:{{ tcib_rhel_modules['redis'] | default('5') }}"}, {"disable": "virt:rhel"}]}},
    },
    "filters": {
        "tcib_actions": [
            {"run": "echo {{ tcib_packages | union(['c']) | unique | sort | join(',') }} {{ tcib_flag | bool | ternary('a', 'b') }}"},
            {"run": "{{ tcib_packages | join(' ') }}"},
            {"run": "echo {{ tcib_packages.0 }} {{ tcib_packages | length }} {{ tcib_distro | upper }} {{ [1, [2]] | flatten }}"},
            {"run": "cp x{{ tcib_release is version('8', '==') | ternary('', '.10.5') }} {{ '9.10' is version('9.9', '>') }} {{ [] is falsy }}"},
            {"run": "echo {{ tcib_python_version | default('3.9' if tcib_release is version('9', '==') else '3.6') }}"},
            {"run": "echo {{ tcib_packages is contains('a') }} {{ ['a'] is subset(tcib_packages) }} {{ [0, 1] is any }} {{ [0, 1] is all }}"},
            {"run": "echo {{ {'a': 1} | combine({'b': 2}) | to_json }} {{ 'x y' | quote }} {{ ['a', 'b'] | difference(['a']) }}"},
        ],
        "tcib_packages": ["b", "a"],
        "tcib_flag": "yes",
        "tcib_envs": {"A": "{{ tcib_distro }}", "B": True, "C": 1.5},
    },
}


@needs(modules=("ansible",))
class AgainstAnsible(unittest.TestCase):
    def compare(self, path: Path, name: str) -> None:
        from ansible.parsing.dataloader import DataLoader
        from ansible.template import Templar

        document = parse_file(path, str(path), aliases=True, yaml11=True)
        assert document is not None
        own = Variables(
            name, {key.text: value for key, value in document.entries}, {}, Templates(), str(path), TreeFiles(path.parent, path.parent.parent).lookup
        )
        raw = yaml.safe_load(path.read_text(encoding="utf-8"))
        injected = {"tcib_distro": "centos", "tcib_release": "9", "tcib_path": "", "tcib_meta": {"name": name}}
        templar = Templar(loader=DataLoader(), variables={"tcib_user": "", **raw, **injected})
        for key in raw:
            with self.subTest(image=name, key=key):
                self.assertEqual(own.get(key), templar.template(raw[key]))

    def test_a_whole_tree(self) -> None:
        with tempfile.TemporaryDirectory() as folder:
            write_tree(Path(folder))
            for path in sorted(Path(folder).rglob("*.yaml")):
                self.compare(path, path.parent.name)

    def test_shapes_that_public_trees_have(self) -> None:
        with tempfile.TemporaryDirectory() as folder:
            for name, variables in SHAPES.items():
                path = Path(folder, f"{name}.yaml")
                path.write_text(yaml.safe_dump(variables), encoding="utf-8")
                self.compare(path, name)


if "TOPCOAT_TCIB_TREE" in os.environ:

    class AgainstARealCheckout(unittest.TestCase):
        """Only where a checkout of tcib is given: nothing of it is in this repository."""

        def test_every_containerfile_holds_the_same_instructions(self) -> None:
            program = Path(__file__).parents[3] / "tools" / "compare_tcib.py"
            command = [sys.executable, program, os.environ["TOPCOAT_TCIB_TREE"]]
            done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=300)
            self.assertEqual(done.returncode, 0, done.stdout + done.stderr)
