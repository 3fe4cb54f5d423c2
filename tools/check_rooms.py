"""Checks the plan of the house: a room imports only from floors below its own, the pure rooms do no input or output, and a word stands in one room.

It also writes the table of rooms of the architecture page (``--write``), from the floors below and the first line of each room.

This script must never import the package: it reads the source as text.
"""

from __future__ import annotations

import ast
import sys
import textwrap
from pathlib import Path

PACKAGE = Path(__file__).parent / "topcoat"
PAGE = Path(__file__).parents[1] / "doc/source/contributor/architecture.rst"
BEGIN, END = ".. the rooms, written by tools/check_rooms.py --write\n", ".. end of the rooms\n"

FLOORS: tuple[frozenset[str], ...] = (
    frozenset({"errors", "documents", "generation", "model"}),
    frozenset({"archives", "process", "recipes", "registry", "zuul", "trunk"}),
    frozenset({"containerfile", "planner", "engine", "rpm"}),
    frozenset({"changes", "layers", "synthesis", "yum"}),
    frozenset({"solver", "transactions"}),
    frozenset({"builder", "publisher", "gating", "consumer", "lists", "promotion", "distgit", "garbage", "inspection", "signing"}),
    frozenset({"adoption", "runs", "report", "reproduce", "sets"}),
    frozenset({"cli"}),
)
# Rooms of one floor that may use a neighbour, with the reason.
NEIGHBOURS = {
    ("documents", "errors"): "documents are refused",
    ("model", "errors"): "values refuse what is malformed",
    ("promotion", "lists"): "a set is what the list names",
    ("promotion", "publisher"): "sets are copied before they are promoted",
    ("garbage", "promotion"): "promoted sets are kept",
    ("reproduce", "report"): "receipts are compared",
    ("inspection", "signing"): "who signed an image is one of the things to look at",
    ("sets", "report"): "a receipt names a set",
    ("sets", "runs"): "what an image's own configuration says of its packages",
    ("runs", "report"): "a run is shown while it goes on, and leaves a receipt",
}
PURE = {"changes", "errors", "model", "planner", "synthesis", "zuul"}
WORDS = {"io.topcoat.": ("model", "names of labels and annotations are constants of topcoat.model.labels")}
"""Texts that stand in one room only: text, (room, what the others use instead)."""
FOR_COMMANDS = {"documents", "errors", "model", "process", "report"}
"""Rooms that any command may use beside the one that does its work."""
IMPURE_MODULES = {"os", "subprocess", "socket", "httpx", "shutil", "tempfile", "urllib.request", "threading"}


def statuses(package: Path = PACKAGE) -> set[str]:
    """Words of ``topcoat.model.Status``: whoever compares one as text would go on silently when it is spelt otherwise."""
    members = next(node for node in ast.parse((package / "model/status.py").read_text(encoding="utf-8")).body if isinstance(node, ast.ClassDef))
    return {str(node.value.value) for node in members.body if isinstance(node, ast.Assign) and isinstance(node.value, ast.Constant)}


STATUSES = statuses()


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


def problems(package: Path = PACKAGE) -> list[str]:
    """One line for each breach of the plan in any file of the package."""
    lines = []
    for path in sorted(package.rglob("*.py")):
        room = path.relative_to(package).with_suffix("").parts[0]
        if room in ("__init__", "__main__"):
            continue
        if floor_of(room) is None:
            lines.append(f"{path}:1: room {room!r} is not in the plan of the house")
            continue
        text = path.read_text(encoding="utf-8")
        tree = ast.parse(text)
        found = [*directions(room, tree), *words(room, text), *compared(room, tree), *(wiring(path.stem, tree) if room == "cli" else ())]
        lines += [f"{path}:{line}: {what}" for line, what in sorted(found)]
    return lines


def directions(room: str, tree: ast.AST) -> list[tuple[int, str]]:
    """Imports that go up, or sideways without a reason, or that make a pure room impure."""
    here = floor_of(room)
    found = []
    for line, module in imports(tree):
        if room in PURE and module in IMPURE_MODULES:
            found.append((line, f"the pure room {room!r} imports {module}"))
        if not module.startswith("topcoat."):
            continue
        other = module.split(".")[1]
        there = floor_of(other)
        if other == room or there is None:
            continue
        if there > here or (there == here and (room, other) not in NEIGHBOURS):
            found.append((line, f"{room} (floor {here}) imports {other} (floor {there})"))
    return found


def words(room: str, text: str) -> list[tuple[int, str]]:
    """Texts that another room owns."""
    return [
        (number, f"the word {word!r} stands in {owner!r} only: {instead}")
        for number, line in enumerate(text.splitlines(), 1)
        for word, (owner, instead) in WORDS.items()
        if room != owner and word in line
    ]


def wiring(command: str, tree: ast.AST) -> list[tuple[int, str]]:
    """A command that uses more than one room."""
    if command.startswith("_"):
        return []
    rooms: dict[str, int] = {}
    for node in ast.walk(tree):
        if isinstance(node, ast.If) and ast.unparse(node.test) == "TYPE_CHECKING":
            node.body = []
    for line, module in imports(tree):
        room = module.split(".")[1] if module.startswith("topcoat.") else "cli"
        if room not in FOR_COMMANDS | {"cli", "version"}:
            rooms.setdefault(room, line)
    if len(rooms) < 2:
        return []
    return [(max(rooms.values()), f"the command uses {', '.join(sorted(rooms))}: one room does the work, beside {', '.join(sorted(FOR_COMMANDS))}")]


def compared(room: str, tree: ast.AST) -> list[tuple[int, str]]:
    """Comparisons of a status with its plain word."""
    if room == "model":
        return []
    found = []
    for node in ast.walk(tree):
        sides = [node.left, *node.comparators] if isinstance(node, ast.Compare) else []
        texts = {part.value for side in sides for part in ast.walk(side) if isinstance(part, ast.Constant)} & STATUSES
        if texts and any("status" in ast.unparse(side).lower() for side in sides):
            found.append(
                (node.lineno, f"compares a status with {', '.join(map(repr, sorted(texts)))}: compare with the members of topcoat.model.Status")
            )
    return found


def table(package: Path = PACKAGE) -> str:
    """The rooms as a list-table, from the ground floor up: floor, name, and the first line of what each says of itself."""
    lines = [".. list-table::", "   :header-rows: 1", "   :widths: 8 18 74", "", "   * - floor", "     - room", "     - what it is for"]
    for number, rooms in enumerate(FLOORS):
        for room in sorted(rooms):
            file = package / room / "__init__.py" if (package / room).is_dir() else package / f"{room}.py"
            first = (ast.get_docstring(ast.parse(file.read_text(encoding="utf-8"))) or "").split("\n")[0]
            lines += [f"   * - {number}", f"     - {room}"]
            lines += textwrap.wrap(first, 150, initial_indent="     - ", subsequent_indent="       ")
    return "\n".join(lines) + "\n"


def page(text: str) -> str:
    """The architecture page with the table as it must be."""
    before, _, rest = text.partition(BEGIN)
    return f"{before}{BEGIN}\n{table()}\n{END}{rest.partition(END)[2]}"


if __name__ == "__main__":
    found = problems()
    written = PAGE.read_text(encoding="utf-8")
    if not found and page(written) != written:
        if "--write" in sys.argv:
            PAGE.write_text(page(written), encoding="utf-8")
        else:
            found = [f"{PAGE}:1: its table of rooms is not that of the code: run tools/check_rooms.py --write"]
    print("\n".join(found))  # noqa: T201
    sys.exit(1 if found else 0)
