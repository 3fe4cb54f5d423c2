"""Compares what we make of a tcib checkout with what its own role makes of it, instruction by instruction: ``python tools/compare_tcib.py CHECKOUT``.

This program must never write below the checkout, and needs ansible-core. It renders the role's template as Ansible's ``template`` module does, over
the variables that ``openstack tcib container image build`` would write for each image.
"""

from __future__ import annotations

import argparse
import difflib
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import yaml

from topcoat.containerfile import render
from topcoat.model.profile import Profile
from topcoat.recipes import load_profile, load_tcib

BASE = "centos:stream9"
PARENT = "registry/namespace/prefix-{}:tag"
ROLE = "roles/container_image_build"
SETTINGS: tuple[Mapping[str, str], ...] = (
    {"tcib_python_version": "3.9"},
    {"tcib_release": "10", "tcib_python_version": "3.12"},
    {"tcib_distro": "rhel", "tcib_package": "some-package", "tcib_python_version": "3.9"},
)
EXTRA: Mapping[str, object] = {
    "tcib_labels": {"maintainer": "a site", "from": "{{ tcib_from }}", "name": "{{ tcib_meta.name }}"},
    "tcib_stopsignal": "SIGINT",
}


def theirs(checkout: Path, settings: Mapping[str, str], extra: Mapping[str, object]) -> dict[str, str]:
    """Image name to Containerfile as the checkout's role renders it."""
    from ansible.parsing.dataloader import DataLoader
    from ansible.template import Templar

    defaults = yaml.safe_load((checkout / ROLE / "defaults/main.yml").read_text(encoding="utf-8"))
    template = (checkout / ROLE / "templates/Containerfile.j2").read_text(encoding="utf-8")
    found = {}
    top = checkout / "container-images/tcib"
    for folder, own in _images(top):
        above = next((one for one in folder.parents if one == top or list(one.glob("*.y*ml"))), top)
        parent = BASE if folder.name == "base" else PARENT.format(above.name)
        given = {"tcib_distro": "centos", "tcib_release": "9", "tcib_package": "python-tcib-containers", **settings}
        variables: dict[str, Any] = {**defaults, **own, **given, "tcib_meta": {"name": folder.name}, "tcib_path": ""}
        variables["tcib_from"] = variables["tcib_from"] if "tcib_from" in {**own, **settings} else parent
        templar = Templar(loader=DataLoader(), variables={**variables, **_written_anew(dict(extra))})
        found[folder.name] = templar.do_template(template, preserve_trailing_newlines=True, escape_backslashes=False)
    return found


def _images(top: Path) -> Iterator[tuple[Path, dict[str, Any]]]:
    for folder in sorted(path for path in top.rglob("*") if path.is_dir()):
        own: dict[str, Any] = {}
        files = sorted(path for path in folder.iterdir() if path.suffix in (".yaml", ".yml"))
        for path in files:
            own.update(yaml.safe_load(path.read_text(encoding="utf-8")) or {})
        if files:
            yield folder, _written_anew(own)


def _written_anew(values: dict[str, Any]) -> dict[str, Any]:
    """As tcib's command hands variables to Ansible: through a YAML file, whose writer sorts every mapping."""
    return dict(yaml.safe_load(yaml.safe_dump(values)))


def ours(checkout: Path, settings: Mapping[str, str], extra: Path | None) -> dict[str, str]:
    """Image name to Containerfile as we render it."""
    recipes = load_tcib(checkout / "container-images", variables=settings, extra_config=extra)
    profile: Profile = load_profile("demo", root=Path(__file__).parents[1] / "container-images", variables={}, fallback={"registry": "x"})
    return {
        name: render(
            recipe,
            parent_reference=recipe.own_base or (PARENT.format(recipe.parent) if recipe.parent else BASE),
            profile=profile,
            labels={},
        ).containerfile
        for name, recipe in recipes.items()
    }


def instructions(text: str) -> list[str]:
    """The instructions of a Containerfile: no comments, no empty lines, continued lines in one."""
    found: list[str] = []
    going = False
    for line in text.split("\n"):
        if going:
            found[-1] += f"\n{line}"
        elif line.strip() and not line.startswith("#"):
            found.append(line)
        else:
            continue
        going = line.endswith("\\")
    return found


def differences(checkout: Path, folder: Path) -> tuple[int, list[str]]:
    """How many Containerfiles were compared, and a unified difference of each that is not equal.

    :param folder: an existing directory for a file of our own.
    """
    extra = folder / "extra.yaml"
    extra.write_text(yaml.safe_dump(dict(EXTRA), sort_keys=False), encoding="utf-8")
    cases: list[tuple[Mapping[str, str], Mapping[str, object], Path | None]] = [(settings, {}, None) for settings in SETTINGS]
    cases.append((SETTINGS[0], EXTRA, extra))
    count, found = 0, []
    for settings, values, path in cases:
        first, second = theirs(checkout, settings, values), ours(checkout, settings, path)
        for name in sorted(first.keys() | second.keys()):
            count += 1
            pair = [instructions(side.get(name, "")) for side in (first, second)]
            if pair[0] != pair[1]:
                found.append("\n".join(difflib.unified_diff(*pair, f"tcib {name}", f"topcoat {name} {dict(settings)}", n=0, lineterm="")))
    return count, found


def main() -> int:
    """Compare and say so; 1 when anything differs."""
    import tempfile

    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("checkout", type=Path)
    with tempfile.TemporaryDirectory() as folder:
        count, found = differences(parser.parse_args().checkout, Path(folder))
    sys.stdout.write("\n".join([*found, f"{count - len(found)} of {count} equal"]) + "\n")
    return 1 if found or not count else 0


if __name__ == "__main__":
    sys.exit(main())
