"""Order of versions by RPM's own rules.

This module must never compare versions as text: "1.10" is newer than "1.9", "1.0~rc1" older than "1.0", and the epoch wins over everything.
"""

from __future__ import annotations

import functools
from collections.abc import Iterable

import solv

from topcoat.model import Nevra


class Order:
    """Compares versions with one libsolv pool, remembering what it compared. Not safe for use by several threads at once."""

    def __init__(self) -> None:
        self._pool = solv.Pool()
        self._pool.setdisttype(solv.Pool.DISTTYPE_RPM)
        repo = self._pool.add_repo("order")
        self._left = repo.add_solvable()
        self._right = repo.add_solvable()
        self._known: dict[tuple[str, str], int] = {}

    def compare(self, a: str, b: str) -> int:
        """-1, 0 or 1 as ``a`` is older than, equal to or newer than ``b``; both ``[epoch:]version-release``, a missing epoch is 0."""
        if a == b:
            return 0
        known = self._known.get((a, b))
        if known is None:
            self._left.evr = a
            self._right.evr = b
            known = self._left.evrcmp(self._right)
            self._known[a, b] = known
        return known

    def newest(self, nevras: Iterable[Nevra]) -> Nevra:
        """The newest of packages; of equal versions the one that sorts last, so that the answer never depends on the order of the input."""

        def order(one: Nevra, other: Nevra) -> int:
            return self.compare(one.full_evr, other.full_evr)

        return max(sorted(nevras), key=functools.cmp_to_key(order))


def compare(a: str, b: str) -> int:
    """Compare two ``[epoch:]version-release`` strings.

    :returns: -1, 0 or 1 as ``a`` is older than, equal to or newer than ``b`` (rpm's rpmvercmp: digits as numbers, ``~`` sorts before
        everything, ``^`` after the version it extends).
    """
    return Order().compare(a, b)
