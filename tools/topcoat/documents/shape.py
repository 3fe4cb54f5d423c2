"""Asks a document for values of known kinds.

This module must never turn a value of another kind into the one that is wanted: what is not a text is no text.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any, NoReturn, TypeVar

from topcoat.errors import TopcoatError

T = TypeVar("T")

_NAMES = {str: "a text", int: "a whole number", dict: "an object", list: "a list", bool: "true or false"}
MAX_NUMBER = 1 << 53
"""Beyond it programs of other languages read another number (RFC 8259, 6); no size, time or count of ours comes near."""


class Shape:
    """The values of one document, or an error that names the place.

    :param what: name of the document, for errors.
    """

    def __init__(self, what: str, failure: type[TopcoatError], next_step: str, *, image: str | None = None, where: str | None = None) -> None:
        self._what = what
        self._failure = failure
        self._next_step = next_step
        self._image = image
        self._where = where

    def wrong(self, place: str, wanted: str) -> TopcoatError:
        """The error for a value that is not what it must be."""
        return self._failure(f"{self._what}: {place} is not {wanted}", image=self._image, where=self._where, next_step=self._next_step)

    def refuse(self, place: str, wanted: str) -> NoReturn:
        """Raise it."""
        raise self.wrong(place, wanted)

    # ---- optional: a missing value and null are the same ----------------------------------------------------------------------------------

    def table(self, value: object, place: str) -> dict[str, Any]:
        """An object; empty where there is none."""
        if value is not None and not isinstance(value, dict):
            raise self.wrong(place, "an object")
        return value or {}

    def items(self, value: object, place: str, kind: type[T], name: str = "") -> list[T]:
        """A list of values of one kind; empty where there is none."""
        if value is not None and (not isinstance(value, list) or not all(_is(entry, kind) for entry in value)):
            raise self.wrong(place, f"a list of {name or _NAMES[kind].partition(' ')[2] + 's'}")
        return value or []

    def texts(self, value: object, place: str) -> dict[str, str]:
        """An object of texts; empty where there is none."""
        found = self.table(value, place)
        if not all(isinstance(entry, str) for entry in found.values()):
            raise self.wrong(place, "an object of texts")
        return found

    def text(self, value: object, place: str) -> str:
        """A text; empty where there is none."""
        if value is not None and not isinstance(value, str):
            raise self.wrong(place, "a text")
        return value or ""

    def scalar(self, value: object, place: str) -> str | None:
        """Text, number or truth value, as text; None where there is none."""
        if value is not None and not isinstance(value, str | int | float):
            raise self.wrong(place, "a text or a number")
        return None if value is None else str(value)

    # ---- required -------------------------------------------------------------------------------------------------------------------------

    def need(self, table: Mapping[str, object], key: str, kind: type[T], place: str = "") -> T:
        """The value of one kind under a key of an object."""
        value = table.get(key)
        if not _is(value, kind):
            raise self.wrong(f"{place}.{key}" if place else key, _NAMES[kind])
        return value  # type: ignore[return-value]

    def number(self, value: object, place: str, *, most: int = MAX_NUMBER) -> int:
        """A whole number from 0 to ``most``."""
        if not _is(value, int) or not 0 <= value <= most:  # type: ignore[operator]
            raise self.wrong(place, "a whole number that can be")
        return value  # type: ignore[return-value]

    def moment(self, value: object, place: str) -> float:
        """Seconds since the epoch."""
        if isinstance(value, bool) or not isinstance(value, int | float) or not -MAX_NUMBER <= value <= MAX_NUMBER:
            raise self.wrong(place, "a time in seconds")
        return float(value)

    def one_of(self, value: T, place: str, known: Iterable[T]) -> T:
        """One of the values that are known."""
        known = tuple(known)
        if value not in known:
            raise self.wrong(place, f"one of {', '.join(map(str, known))}")
        return value


def _is(value: object, kind: type) -> bool:
    return isinstance(value, kind) and not (kind is int and isinstance(value, bool))
