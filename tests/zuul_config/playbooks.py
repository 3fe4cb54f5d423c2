"""What the playbooks and roles of this repository use, read from their YAML.

This module must never run anything.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import yaml

ROOT = Path(__file__).resolve().parents[2]


def all_roles() -> set[str]:
    """Names of all roles."""
    return {path.name for path in (ROOT / "roles").iterdir() if path.is_dir()}


def roles_of_playbook(path: str) -> set[str]:
    """Every role that a playbook can run: named, included, or a dependency of one of these."""
    found: set[str] = set()
    for play in yaml.safe_load((ROOT / path).read_text(encoding="utf-8")):
        for entry in play.get("roles", ()):
            found |= roles_of_role(entry if isinstance(entry, str) else entry.get("role") or entry["name"])
    return found


def roles_of_role(name: str) -> set[str]:
    """A role and every role it includes or depends on."""
    found, waiting = set(), [name]
    while waiting:
        role = waiting.pop()
        if role not in found:
            found.add(role)
            waiting += _named_by(role)
    return found


def _named_by(role: str) -> Iterator[str]:
    folder = ROOT / "roles" / role
    for path in [*folder.glob("tasks/*.yaml"), folder / "meta" / "main.yaml"]:
        content = yaml.safe_load(path.read_text(encoding="utf-8")) if path.is_file() else None
        if isinstance(content, dict):
            yield from (entry["role"] for entry in content.get("dependencies", ()))
        for task in content if isinstance(content, list) else ():
            for module in ("ansible.builtin.include_role", "ansible.builtin.import_role"):
                if module in task:
                    yield task[module]["name"]
