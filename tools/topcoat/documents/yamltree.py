"""Strict YAML: text becomes a tree of nodes that know their line, with bounds on size, depth and number of nodes.

This module must never build Python objects from tags and never expand aliases without a bound.

PyYAML's event stream (YAML 1.1) is read without recursion, so neither a deep document nor a loop of aliases can exhaust anything.
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

import yaml

from topcoat.errors import UsageError

MAX_BYTES = 1 << 20
MAX_DEPTH = 24
MAX_NODES = 200_000
_MOST_BITS = 1000

_LOADER = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
_INTEGER = re.compile(r"[-+]?(?:0|[1-9][0-9]*)")
_FLOAT = re.compile(r"[-+]?[0-9]+\.[0-9]*(?:[eE][-+]?[0-9]+)?")
_FORBIDDEN = re.compile(r"[\x00-\x08\x0b\x0c\x0e-\x1f\x7f\x85\u2028\u2029\ufeff]")


@dataclass(slots=True)
class Node:
    """One value of a document.

    ``kind`` is ``map`` (``entries`` holds (key node, value node) pairs), ``list`` (``items``) or ``scalar`` (``text`` as written, ``value`` as
    None, bool, int, float or str).
    """

    kind: str
    file: str
    line: int
    text: str = ""
    value: object = None
    items: list[Node] = field(default_factory=list)
    entries: list[tuple[Node, Node]] = field(default_factory=list)

    @property
    def where(self) -> str:
        """``file:line`` for errors."""
        return f"{self.file}:{self.line}"

    def describe(self) -> str:
        """What this is, in an error's words."""
        if self.kind == "map":
            return "a mapping"
        if self.kind == "list":
            return "a list"
        return "nothing" if self.value is None else f"{self.text!r}"

    def data(self) -> object:
        """The plain Python value: dict, list, str, int, float, bool, None. Keys become text."""
        if self.kind == "map":
            return {key.text: value.data() for key, value in self.entries}
        if self.kind == "list":
            return [item.data() for item in self.items]
        return self.value


def read_text(path: Path, shown: str, *, limit: int = MAX_BYTES) -> str:
    """The text of a file of the tree.

    :param shown: how errors name the file.
    :raises UsageError: unreadable, larger than ``limit`` bytes, or not UTF-8.
    """
    try:
        with path.open("rb") as stream:
            content = stream.read(limit + 1)
    except OSError as error:
        raise UsageError(f"cannot be read: {error.strerror}", where=shown, next_step="check the path and its permissions") from error
    if len(content) > limit:
        raise UsageError(f"is larger than {limit} bytes", where=shown, next_step="split the file")
    try:
        return content.decode("utf-8")
    except UnicodeDecodeError as error:
        line = content.count(b"\n", 0, error.start) + 1
        raise UsageError("is not UTF-8", where=f"{shown}:{line}", next_step="save the file as UTF-8") from error


def parse(
    text: str,
    shown: str,
    *,
    aliases: bool = False,
    yaml11: bool = False,
    duplicates: bool = False,
    tags: frozenset[str] = frozenset(),
    depth: int = MAX_DEPTH,
    controls: bool = False,
) -> Node | None:
    """Parse one document.

    :param tags: local tags that are passed over; any other is refused.
    :param depth: levels that it may have, aliases expanded.
    :param controls: accept control characters; where they are not printed, and the text is not ours to correct.

    :param duplicates: accept a key that is given twice, the last one wins; False refuses it.
    :param aliases: accept aliases (bounded by MAX_NODES after expansion); False refuses them.
    :param yaml11: plain scalars as YAML 1.1 has them (``yes`` is true, ``010`` is 8); False knows only true, false, null and decimal numbers,
        so that ``on``, ``no`` and ``0644`` stay the text that was written.
    :returns: the root node, or None for an empty document.
    :raises UsageError: not YAML, more than one document, duplicate keys, keys that are not text, or over the bounds.
    """
    match = _FORBIDDEN.search(text, 1 if text.startswith("\ufeff") else 0)
    if match and not controls:
        line = text.count("\n", 0, match.start()) + 1
        raise UsageError(f"holds the control character {match.group()!r}", where=f"{shown}:{line}", next_step="remove it")
    try:
        composer = _Composer(shown, aliases=aliases, yaml11=yaml11, duplicates=duplicates, tags=tags, depth=depth)
        return composer.compose(yaml.parse(text, Loader=_LOADER))
    except UnicodeEncodeError as error:  # half a surrogate pair
        raise UsageError("holds a text that cannot be written", where=shown, next_step="save the file as UTF-8") from error
    except yaml.YAMLError as error:
        mark = getattr(error, "problem_mark", None)
        where = f"{shown}:{min(mark.line, text.count(chr(10))) + 1}" if mark else shown  # at the end the parser counts one more
        problem = (getattr(error, "problem", None) or str(error).splitlines()[0]).strip()
        step = "indent with spaces, never with tabs" if "\t" in _line(text, mark.line if mark else 0) else "correct the YAML"
        raise UsageError(f"is not YAML: {problem}", where=where, next_step=step) from error


def parse_file(path: Path, shown: str, *, aliases: bool = False, yaml11: bool = False, duplicates: bool = False) -> Node | None:
    """``read_text`` and ``parse``."""
    return parse(read_text(path, shown), shown, aliases=aliases, yaml11=yaml11, duplicates=duplicates)


def _line(text: str, number: int) -> str:
    lines = text.split("\n", number + 1)
    return lines[number] if number < len(lines) else ""


class _Composer:
    """Turns the event stream into nodes with an explicit stack."""

    def __init__(self, shown: str, *, aliases: bool, yaml11: bool, duplicates: bool, tags: frozenset[str], depth: int) -> None:
        self.shown = shown
        self.tags = tags
        self.depth = depth
        self.duplicates = duplicates
        self.aliases = aliases
        self.resolver = yaml.resolver.Resolver() if yaml11 else None
        self.constructor = yaml.constructor.SafeConstructor() if yaml11 else None
        self.anchors: dict[str, Node] = {}
        self.sizes: dict[int, int] = {}
        self.heights: dict[int, int] = {}
        self.count = 0

    def compose(self, events: Iterator[yaml.Event]) -> Node | None:
        """The root node of the only document."""
        root: Node | None = None
        documents = 0
        stack: list[tuple[Node, list[Node], int]] = []
        below = [0]  # levels under each collection that is open, the document first
        for event in events:
            if isinstance(event, yaml.DocumentStartEvent):
                documents += 1
                if documents > 1:
                    raise self.error(event, "holds more than one YAML document", "keep one document a file")
                continue
            if isinstance(event, yaml.CollectionEndEvent):
                node, children, before = stack.pop()
                self.close(node, children)
                self.sizes[id(node)] = self.count - before
                self.heights[id(node)] = height = below.pop() + 1
                below[-1] = max(below[-1], height)
            elif isinstance(event, yaml.NodeEvent):
                node = self.node(event)
                height = self.heights.get(id(node), 0) if isinstance(event, yaml.AliasEvent) else isinstance(event, yaml.CollectionStartEvent)
                if len(stack) + height > self.depth:
                    raise self.error(event, f"is nested deeper than {self.depth} levels", "flatten it")
                if isinstance(event, yaml.CollectionStartEvent):
                    self.remember(event, node)
                    stack.append((node, [], self.count))
                    below.append(0)
                    continue
                below[-1] = max(below[-1], height)
                self.remember(event, node)
            else:
                continue
            if stack:
                stack[-1][1].append(node)
            else:
                root = node
        if root is not None and root.kind == "scalar" and root.value is None and not root.text:
            return None
        return root

    def remember(self, event: yaml.NodeEvent, node: Node) -> None:
        anchor = event.anchor
        if anchor and not isinstance(event, yaml.AliasEvent):
            self.anchors[anchor] = node

    def error(self, event: yaml.Event, what: str, step: str) -> UsageError:
        return UsageError(what, where=f"{self.shown}:{event.start_mark.line + 1}", next_step=step)

    def node(self, event: yaml.NodeEvent) -> Node:
        line = event.start_mark.line + 1
        self.count += 1
        if self.count > MAX_NODES:
            raise self.error(event, f"holds more than {MAX_NODES} values", "split the file")
        if isinstance(event, yaml.AliasEvent):
            if not self.aliases:
                raise self.error(event, f"uses the alias *{event.anchor}", "write the value out; aliases are not accepted")
            target = self.anchors.get(event.anchor)
            if target is None:
                raise self.error(event, f"uses the unknown alias *{event.anchor}", "define the anchor before it is used")
            if target.kind != "scalar" and id(target) not in self.sizes:
                raise self.error(event, f"the alias *{event.anchor} holds itself", "write the value out")
            self.count += self.sizes.get(id(target), 1)
            if self.count > MAX_NODES:
                raise self.error(event, f"its aliases expand to more than {MAX_NODES} values", "write fewer aliases")
            return target
        tag = event.tag
        if tag and not tag.startswith("tag:yaml.org,2002:") and tag != "!" and tag not in self.tags:
            raise self.error(event, f"uses the tag {tag}", "write plain YAML without tags")
        if isinstance(event, yaml.MappingStartEvent):
            return Node("map", self.shown, line)
        if isinstance(event, yaml.SequenceStartEvent):
            return Node("list", self.shown, line)
        return Node("scalar", self.shown, line, text=event.value, value=self.scalar(event))

    def scalar(self, event: yaml.ScalarEvent) -> object:
        text = event.value
        if not event.implicit[0]:
            return text
        if self.resolver is not None and self.constructor is not None:
            tag = self.resolver.resolve(yaml.ScalarNode, text, (True, False))
            if tag in ("tag:yaml.org,2002:bool", "tag:yaml.org,2002:int", "tag:yaml.org,2002:float", "tag:yaml.org,2002:null"):
                try:
                    found = self.constructor.construct_object(yaml.ScalarNode(tag, text), deep=True)
                except (ValueError, yaml.YAMLError):
                    return text
                # JSON has no such number, and a whole one of so many digits is no float where it meets one
                none = not math.isfinite(found) if isinstance(found, float) else isinstance(found, int) and found.bit_length() > _MOST_BITS
                return text if none else found
            return text
        if text in ("", "~", "null"):
            return None
        if text in ("true", "false"):
            return text == "true"
        if _INTEGER.fullmatch(text) and len(text) < 20:
            return int(text)
        if _FLOAT.fullmatch(text) and math.isfinite(float(text)):
            return float(text)
        return text

    def close(self, node: Node, children: list[Node]) -> None:
        if node.kind == "list":
            node.items = children
            return
        seen: dict[str, Node] = {}
        twice = False
        for key, value in zip(children[::2], children[1::2], strict=True):
            if key.kind != "scalar":
                step = "write a plain word as the key; a value that begins with '{' wants quotes, and recipes hold no {{ templates }} at all"
                raise UsageError("has a key that is not text", where=f"{self.shown}:{key.line}", next_step=step)
            if key.text in seen and self.duplicates:
                twice = True
            elif key.text in seen:
                first = seen[key.text].line
                raise UsageError(f"the key {key.text!r} is given twice (first in line {first})", where=key.where, next_step="keep one of them")
            seen[key.text] = key
            node.entries.append((key, value))
        if twice:
            last = {key.text: (key, value) for key, value in node.entries}
            node.entries = list(last.values())
