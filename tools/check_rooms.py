"""Checks the plan of the house: a room imports only from floors below its own, and the pure rooms do no input or output.

This script must never import the package: it reads the source as text.
"""

from __future__ import annotations

import ast
import sys
from pathlib import Path

PACKAGE = Path(__file__).parent / "topcoat"

FLOORS: tuple[frozenset[str], ...] = (
    frozenset({"errors", "generation", "model"}),
    frozenset({"archives", "process", "recipes", "graph", "rpm", "registry", "zuul", "trunk"}),
    frozenset({"containerfile", "planner", "engine", "layers"}),
    frozenset({"builder", "updater", "publisher", "gating", "consumer", "lists", "promotion", "distgit", "garbage", "inspection"}),
    frozenset({"runs", "report", "reproduce"}),
    frozenset({"cli"}),
)
# Rooms of one floor that may use a neighbour, with the reason.
NEIGHBOURS = {
    ("model", "errors"): "values refuse what is malformed",
    ("rpm", "archives"): "the package database lies in layers",
    ("rpm", "process"): "rpmdb2solv",
    ("builder", "updater"): "the direct way shares the transaction worker",
    ("promotion", "lists"): "a set is what the list names",
    ("promotion", "publisher"): "sets are copied before they are promoted",
    ("garbage", "promotion"): "promoted sets are kept",
    ("reproduce", "report"): "receipts are compared",
    ("runs", "report"): "a run is shown while it goes on, and leaves a receipt",
}
PURE = {"errors", "model", "graph", "planner", "zuul"}
IMPURE_MODULES = {"os", "subprocess", "socket", "httpx", "shutil", "tempfile", "urllib.request", "threading"}


def floor_of(room: str) -> int | None:
    """Number of the floor a room is on, None when the plan does not know it."""
    return next((number for number, rooms in enumerate(FLOORS) if room in rooms), None)


def imports(tree: ast.AST) -> list[tuple[int, str]]:
    """(line, module) of every import, those inside functions too."""
    found = []
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            found += [(node.lineno, alias.name) for alias in node.names]
        elif isinstance(node, ast.ImportFrom) and node.module and not node.level:
            found.append((node.lineno, node.module))
            if node.module == "topcoat":
                found += [(node.lineno, f"topcoat.{alias.name}") for alias in node.names]
    return found


def problems() -> list[str]:
    """One line for each import that goes up or sideways without a reason, or that makes a pure room impure."""
    lines = []
    for path in sorted(PACKAGE.rglob("*.py")):
        parts = path.relative_to(PACKAGE).with_suffix("").parts
        room = parts[0]
        if room in ("__init__", "__main__"):
            continue
        here = floor_of(room)
        if here is None:
            lines.append(f"{path}:1: room {room!r} is not in the plan of the house")
            continue
        for line, module in imports(ast.parse(path.read_text(encoding="utf-8"))):
            if room in PURE and module in IMPURE_MODULES:
                lines.append(f"{path}:{line}: the pure room {room!r} imports {module}")
            if not module.startswith("topcoat."):
                continue
            other = module.split(".")[1]
            there = floor_of(other)
            if other == room or there is None:
                continue
            if there > here or (there == here and (room, other) not in NEIGHBOURS):
                lines.append(f"{path}:{line}: {room} (floor {here}) imports {other} (floor {there})")
    return lines


if __name__ == "__main__":
    found = problems()
    print("\n".join(found))  # noqa: T201
    sys.exit(1 if found else 0)
