"""Small readers for the values that recipes, profiles and lists are made of; each turns a wrong value into one clear problem.

This module must never read files and never guess: what is not exactly right is reported.
"""

from __future__ import annotations

import difflib
import re
from collections.abc import Iterable, Mapping
from pathlib import PurePosixPath

from topcoat.documents.yamltree import Node
from topcoat.errors import UsageError
from topcoat.model.profile import ARCHITECTURES, KNOWN_ARCHITECTURES
from topcoat.model.recipe import Condition

PACKAGE_NAME = re.compile(r"[A-Za-z0-9_][A-Za-z0-9._+-]*")
USER_NAME = re.compile(r"[a-z_][a-z0-9_-]{0,30}")
SAFE_PATH = re.compile(r"/[A-Za-z0-9._/+@%~,=-]*")
ENVIRONMENT_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")
LABEL_NAME = re.compile(r"[A-Za-z0-9](?:[A-Za-z0-9._/-]*[A-Za-z0-9])?")
WORD = re.compile(r"!?[A-Za-z0-9][A-Za-z0-9._-]*")
_CONTROL = re.compile(r"[\x00-\x1f\x7f\u0085\u2028\u2029]")
_JINJA = re.compile(r"\{\{|\{%|\{#")
CONDITION_KEYS = ("arch", "distro", "release")


def nearest(word: str, known: Iterable[str]) -> str:
    """``; did you mean 'x'?`` or an empty text."""
    near = difflib.get_close_matches(word, list(known), 1)
    return f"; did you mean {near[0]!r}?" if near else ""


class Problems:
    """Every problem found so far, in the order of the input."""

    def __init__(self) -> None:
        self.found: list[UsageError] = []
        self.notes: list[str] = []
        """What is no mistake, but what a reviewer should see."""

    def add(self, where: Node | str, what: str, next_step: str = "", *, image: str | None = None) -> None:
        """Note a problem at a node or at ``file:line``."""
        self.found.append(UsageError(what, where=where.where if isinstance(where, Node) else where or None, next_step=next_step, image=image))

    def take(self, error: UsageError) -> None:
        """Note an error that a lower function raised."""
        self.found.append(error)

    def raise_first(self) -> None:
        """Raise the first problem, saying how many more there are; nothing when there is none."""
        if not self.found:
            return
        first = self.found[0]
        more = len(self.found) - 1
        if not more:
            raise first
        tail = f"; {more} more problem{'s' if more > 1 else ''}: 'topcoat lint' lists all"
        raise UsageError(first.what, where=first.where, image=first.image, next_step=(first.next_step or "correct it") + tail)


class Reader:
    """Reads typed values out of nodes; a wrong one is noted in ``problems`` and comes back as None (or is left out of a list)."""

    def __init__(self, problems: Problems) -> None:
        self.problems = problems

    def mapping(self, node: Node, what: str, keys: Iterable[str] | None = None) -> dict[str, Node]:
        """The entries of a mapping; with ``keys`` an unknown key is a problem that names the nearest known one."""
        if node.kind != "map":
            self.problems.add(node, f"{what} must be a mapping, not {node.describe()}", "write 'key: value' lines")
            return {}
        entries = {key.text: value for key, value in node.entries}
        if keys is not None:
            known = list(keys)
            for key, _ in node.entries:
                if key.text not in known:
                    self.problems.add(key, f"unknown key {key.text!r} in {what}{nearest(key.text, known)}", f"known keys: {', '.join(known)}")
                    del entries[key.text]
        return entries

    def items(self, node: Node, what: str) -> list[Node]:
        """The items of a list."""
        if node.kind != "list":
            self.problems.add(node, f"{what} must be a list, not {node.describe()}", f"write {what}: [...]")
            return []
        return node.items

    def text(self, node: Node, what: str, *, empty: bool = False, lines: bool = False) -> str | None:
        """One line of text (with ``lines`` more than one); numbers and booleans are taken as written."""
        if node.kind != "scalar" or node.value is None:
            self.problems.add(node, f"{what} must be text, not {node.describe()}", "write a value")
            return None
        value = node.text
        if _JINJA.search(value):
            self.problems.add(
                node, f"{what} looks like a Jinja template: {value!r}", "recipes are data: write the value itself, or use arch, distro, release"
            )
            return None
        check = value.replace("\n", "").replace("\t", "") if lines else value
        if _CONTROL.search(check):
            self.problems.add(node, f"{what} holds a newline or a control character", "write it on one line")
            return None
        if not value.strip() and not empty:
            self.problems.add(node, f"{what} is empty", "write a value or leave the key out")
            return None
        return value

    def matching(self, node: Node, what: str, pattern: re.Pattern[str], expected: str, *, limit: int = 255) -> str | None:
        """Text that matches a grammar."""
        value = self.text(node, what)
        if value is None:
            return None
        if len(value) > limit or not pattern.fullmatch(value):
            self.problems.add(node, f"{what} is not {expected}: {value!r}", f"use {expected}")
            return None
        return value

    def flag(self, node: Node, what: str) -> bool:
        """true or false."""
        if node.kind == "scalar" and isinstance(node.value, bool):
            return node.value
        self.problems.add(node, f"{what} must be true or false, not {node.describe()}", "write true or false")
        return False

    def integer(self, node: Node, what: str, low: int, high: int) -> int | None:
        """A whole number within bounds."""
        if node.kind == "scalar" and isinstance(node.value, int) and not isinstance(node.value, bool) and low <= node.value <= high:
            return node.value
        self.problems.add(node, f"{what} must be a whole number from {low} to {high}, not {node.describe()}", "correct the number")
        return None

    def texts(self, node: Node, what: str, *, lines: bool = False, empty: bool = True) -> tuple[str, ...]:
        """A list of texts (arguments of a command: empty ones are allowed)."""
        values = (self.text(item, f"an entry of {what}", lines=lines, empty=empty) for item in self.items(node, what))
        return tuple(value for value in values if value is not None)

    def words(self, node: Node, what: str) -> tuple[str, ...]:
        """One word or a list of words."""
        nodes = node.items if node.kind == "list" else [node]
        values = (self.matching(item, what, WORD, "a plain word, with '!' before it to exclude") for item in nodes)
        return tuple(value for value in values if value)

    def pairs(self, node: Node, what: str, names: re.Pattern[str]) -> tuple[tuple[str, str], ...]:
        """A mapping of names to one-line texts, sorted by name."""
        found = []
        if node.kind != "map":
            self.problems.add(node, f"{what} must be a mapping, not {node.describe()}", "write 'name: value' lines")
            return ()
        for key, value in node.entries:
            if not names.fullmatch(key.text):
                self.problems.add(key, f"{key.text!r} is not a name for {what}", f"names match {names.pattern}")
                continue
            text = self.text(value, f"{what} {key.text}", empty=True)
            if text is not None:
                found.append((key.text, text))
        return tuple(sorted(found))

    def path(self, node: Node, what: str) -> str | None:
        """An absolute path inside the image, without ``..``."""
        value = self.matching(node, what, SAFE_PATH, "an absolute path of plain characters", limit=1024)
        if value is not None and ".." in PurePosixPath(value).parts:
            self.problems.add(node, f"{what} must not hold '..': {value!r}", "write the path itself")
            return None
        return value

    def condition(self, entries: Mapping[str, Node]) -> Condition:
        """The three closed keys of a mapping as a condition."""
        words = {key: self.words(entries[key], key) for key in CONDITION_KEYS if key in entries}
        for word in words.get("arch", ()):
            self.architecture(entries["arch"], word.removeprefix("!"))
        return Condition(**words)

    def architecture(self, node: Node, name: str) -> None:
        """Note a name that no image can be for: what is said of such an architecture would never happen, and nobody would be told."""
        if name not in KNOWN_ARCHITECTURES:
            self.problems.add(node, f"unknown architecture {name!r}{nearest(name, KNOWN_ARCHITECTURES)}", f"write one of {', '.join(ARCHITECTURES)}")
