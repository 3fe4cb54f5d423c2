"""Paths that two packages of one state own and disagree about: rpm would refuse the image that holds both, half an hour later.

This module must never say which of the two is right.
"""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

from topcoat.errors import ContentError
from topcoat.process import run

_AT_ONCE = 200
_FACTS = "%{FILEMODES:octal} %{FILEUSERNAME} %{FILEGROUPNAME} %{FILEDIGESTS} %{FILELINKTOS}"
_FORMAT = f"[%{{=NAME}}\\t%{{FILENAMES}}\\t{_FACTS}\\n]"
_DIRECTORY = "4"  # first digit of the mode of a directory, and of nothing else


def find(rpms: Iterable[Path]) -> list[str]:
    """One line a path that several of the packages own with another mode, owner, content or target. Directories may be shared, if they agree."""
    owners: dict[str, dict[str, list[str]]] = {}
    paths = sorted(map(str, rpms))
    for start in range(0, len(paths), _AT_ONCE):
        done = run(["rpm", "-qp", "--nosignature", "--nodigest", "--qf", _FORMAT, *paths[start : start + _AT_ONCE]], timeout=300)
        for line in done.output.splitlines():
            # A package without files answers with an empty line.
            name, path, facts = line.split("\t", 2) if "\t" in line else ("", "", "")
            if path:
                owners.setdefault(path, {}).setdefault(_alike(facts), []).append(name)
    clashing = {path: said for path, said in sorted(owners.items()) if len(said) > 1}
    return [f"{path}: {'; '.join(sorted(f'{_listed(names)} ({facts})' for facts, names in said.items()))}" for path, said in clashing.items()]


def _listed(names: list[str]) -> str:
    return ", ".join(sorted(names))


def _alike(facts: str) -> str:
    """As rpm compares it: a directory has neither content nor target."""
    return " ".join(facts.split(" ")[:3]) if facts.startswith(_DIRECTORY) else facts.strip()


def refuse(state: str, rpms: Iterable[Path]) -> None:
    """End where packages of a state disagree.

    :raises ContentError: with the first of the paths.
    """
    found = find(rpms)
    if found:
        raise ContentError(
            f"the packages of {state} disagree about {len(found)} paths: {' | '.join(found[:5])}",
            next_step="say in topcoat_demo.world_rules which of them has it",
        )
