"""A place where documents of others come in.

This module must never raise anything but the door's own error for what is in a document, and never hold more than a small multiple of its size.
"""

from __future__ import annotations

import json
import math
import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from topcoat.documents import yamltree
from topcoat.documents.shape import Shape
from topcoat.errors import TopcoatError, UsageError, machine_error

MAX_BYTES = 16 << 20
"""Bytes of one document. The largest that are written are plans and receipts of some thousand images, a kilobyte each."""
MAX_DEPTH = 64
"""Levels. What is read is written again, by programs that go down by recursion."""
MAX_VALUES = 2_000_000
"""Values of one document: each becomes an object of some fifty bytes."""
_MOST_DIGITS = 300
_BLOCK = _MOST_DIGITS // 2
"""A number of that many digits fills at least one of the blocks of this length that a text is cut into, wherever it begins."""
_HOLDERS = (dict, list)
"""What the decoder makes of objects and arrays, and no subclass: asking for a type is a fraction of asking for an instance."""
_SURROGATE = re.compile(rb"\\u[dD][89a-fA-F]")


@dataclass(frozen=True)
class Door:
    """How a document that is none is refused.

    :param failure: class of the error.
    :param next_step: what its reader does.
    :param limit: bytes of the largest document that passes.
    """

    failure: type[TopcoatError]
    next_step: str
    limit: int = MAX_BYTES

    def shape(self, what: str, *, image: str | None = None, where: str | None = None) -> Shape:
        """Asks a document that passed for its values."""
        return Shape(what, self.failure, self.next_step, image=image, where=where)

    def json(self, data: bytes | str, what: str, *, where: str | None = None) -> object:
        """The value that a JSON text holds, which can be written again: no endless nesting, no lone surrogates, no infinite numbers.

        :param what: name of the document, for the error.
        :raises TopcoatError: of the door's class; it is no such text.
        """
        raw = data.encode("utf-8", "surrogatepass") if isinstance(data, str) else data
        if len(raw) > self.limit:
            raise self._refused(f"{what} is larger than {self.limit} bytes", where)
        # each of them takes a byte, so most documents need not be counted
        if len(raw) > MAX_VALUES and raw.count(b",") + raw.count(b"[") + raw.count(b"{") > MAX_VALUES:
            raise self._refused(f"{what} holds more than {MAX_VALUES} values", where)
        try:
            # the decoder of bytes guesses UTF-16 and UTF-32 as well; RFC 8259, 8.1, knows UTF-8 only
            value = decoded(raw.decode("utf-8-sig"))
        except (ValueError, RecursionError) as error:
            raise self._refused(f"{what} cannot be read: it is not JSON{_why(error)}", where) from None
        self._check_depth(value, what, where)
        if _SURROGATE.search(raw):
            self._check_texts(value, what, where)
        return value

    def json_object(self, data: bytes | str, what: str, *, where: str | None = None) -> dict[str, Any]:
        """As ``json``, and it is an object."""
        value = self.json(data, what, where=where)
        if not isinstance(value, dict):
            raise self._refused(f"{what} cannot be read: it is not a JSON object", where)
        return value

    def json_file(self, path: Path, what: str) -> object:
        """As ``json``, out of a file; the error names it.

        :raises TopcoatError: of the door's class; it cannot be read, or is no such text.
        """
        return self.json(self.read(path, what), what, where=str(path))

    def yaml(self, text: bytes | str, what: str, *, where: str | None = None, tags: frozenset[str] = frozenset()) -> object:
        """The value of the one document that a YAML text holds (YAML 1.1, as Ansible and Zuul read it); JSON is YAML too.

        Keys become texts, times stay texts; aliases are bounded after expansion.

        :param tags: local tags that mean nothing here and are passed over.
        :raises TopcoatError: of the door's class; it is no such text.
        """
        try:
            plain = text if isinstance(text, str) else text.decode("utf-8-sig")
        except UnicodeDecodeError:
            raise self._refused(f"{what} cannot be read: it is not UTF-8", where) from None
        if len(plain) > self.limit:
            raise self._refused(f"{what} is larger than {self.limit} bytes", where)
        try:
            node = yamltree.parse(plain, where or what, aliases=True, yaml11=True, duplicates=True, tags=tags, depth=MAX_DEPTH, controls=True)
            return None if node is None else node.data()
        except UsageError as error:
            raise self.failure(f"{what} cannot be read: it {error.what}", where=error.where if where else None, next_step=self.next_step) from None

    def yaml_file(self, path: Path, what: str, *, tags: frozenset[str] = frozenset()) -> object:
        """As ``yaml``, out of a file; the error names it."""
        return self.yaml(self.read(path, what), what, where=str(path), tags=tags)

    def read(self, path: Path, what: str) -> bytes:
        """The bytes of a file, one more than the limit at most."""
        try:
            with path.open("rb") as stream:
                return stream.read(self.limit + 1)
        except OSError as error:
            machine = machine_error(error)
            raise machine or self._refused(f"{what} cannot be read: {error.strerror}", str(path)) from error

    def _refused(self, what: str, where: str | None) -> TopcoatError:
        return self.failure(what, where=where, next_step=self.next_step)

    def _check_depth(self, value: Any, what: str, where: str | None) -> None:
        level = [value] if type(value) in _HOLDERS else []
        for _ in range(MAX_DEPTH):
            if not level:
                return
            level = [entry for holder in level for entry in (holder.values() if type(holder) is dict else holder) if type(entry) in _HOLDERS]
        if level:
            raise self._refused(f"{what} is nested more than {MAX_DEPTH} levels deep", where)

    def _check_texts(self, value: object, what: str, where: str | None) -> None:
        waiting = [value]
        while waiting:
            entry = waiting.pop()
            if isinstance(entry, dict):
                waiting += [*entry.keys(), *entry.values()]
            elif isinstance(entry, list):
                waiting += entry
            elif isinstance(entry, str):
                try:
                    entry.encode()
                except UnicodeEncodeError:
                    raise self._refused(f"{what} holds a text that cannot be written (half a surrogate pair)", where) from None


def decoded(text: str) -> Any:
    """The value of a JSON text whose numbers all can be calculated with.

    :raises ValueError: it is none, or holds a number that is none. :raises RecursionError: it is nested too deep.
    """
    # An inventory holds hundreds of numbers: a call for each of them is made only where one of them is long.
    return json.loads(text, parse_constant=_unknown, parse_float=_finite, parse_int=_whole if _may_hold_a_long_number(text) else None)


def _may_hold_a_long_number(text: str) -> bool:
    # a regular expression takes four times as long as the decoder
    return any(text[start : start + _BLOCK].isdigit() for start in range(0, len(text), _BLOCK))


def _unknown(word: str) -> float:
    raise ValueError(f"{word} is no JSON number")


def _finite(text: str) -> float:
    value = float(text)
    if not math.isfinite(value):
        raise ValueError(f"{text[:20]} is too large a number")
    return value


def _whole(text: str) -> int:
    if len(text) > _MOST_DIGITS:  # it becomes a float where it meets one, and there is none so large
        raise ValueError(f"{text[:20]} is too large a number")
    return int(text)


def _why(error: Exception) -> str:
    if isinstance(error, RecursionError):
        return ": it is nested too deep"
    if isinstance(error, UnicodeDecodeError):
        return ": it is not UTF-8"
    return f": {error}" if str(error) else ""
