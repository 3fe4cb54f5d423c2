"""Which packages of the repositories may be used at all: include and exclude lists, the gating repository's precedence, module streams.

This module must never look at an installed package.
"""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Callable, Mapping, Sequence
from fnmatch import fnmatchcase

import solv

from topcoat.model import Nevra
from topcoat.rpm import solvfile
from topcoat.rpm.repositories import FrozenRepository, Snapshot

_GLOB = re.compile(r"[*?\[]")


def considered(
    solvables: Sequence[solv.XSolvable], repository_of: Mapping[int, FrozenRepository], snapshot: Snapshot, *, modules: Sequence[str] = ()
) -> list[solv.XSolvable]:
    """The packages that are left after every filter, in the order given."""
    by_repository: dict[str, list[solv.XSolvable]] = defaultdict(list)
    nevras = {solvable.id: solvfile.nevra_of(solvable) for solvable in solvables}
    for solvable in solvables:
        by_repository[repository_of[solvable.id].id].append(solvable)
    everything = set(nevras.values())
    allowed: list[solv.XSolvable] = []
    for frozen in snapshot.repositories:
        included = [spec_filter(spec, everything) for spec in frozen.repository.includepkgs]
        excluded = [spec_filter(spec, everything) for spec in frozen.repository.excludepkgs]
        for solvable in by_repository[frozen.id]:
            nevra = nevras[solvable.id]
            if (not included or any(accepts(nevra) for accepts in included)) and not any(accepts(nevra) for accepts in excluded):
                allowed.append(solvable)
    gated = {nevras[solvable.id].name for solvable in allowed if repository_of[solvable.id].repository.gated}
    return [solvable for solvable in allowed if repository_of[solvable.id].repository.gated or nevras[solvable.id].name not in gated]


def spec_filter(spec: str, everything: set[Nevra]) -> Callable[[Nevra], bool]:
    """A test for dnf's package specifications in include and exclude lists.

    As in dnf.conf(5) a specification is read as NEVRA, name.arch, name, NEVR or NEV, and the first reading that any package of any repository
    answers to is the one that holds.
    """
    for reading in _readings(spec):
        if any(reading(nevra) for nevra in everything):
            return reading
    return lambda nevra: False


_FORMS = (
    ("nevra", re.compile(r"(?P<name>[^:(/=<> ]+)-(?:(?P<epoch>\d+):)?(?P<version>[^-:(/=<> ]+)-(?P<release>[^-:(/=<> ]+)\.(?P<arch>[^-:(/=<> .]+)")),
    ("na", re.compile(r"(?P<name>[^:(/=<> ]+)\.(?P<arch>[^-:(/=<> .]+)")),
    ("name", re.compile(r"(?P<name>[^:(/=<> ]+)")),
    ("nevr", re.compile(r"(?P<name>[^:(/=<> ]+)-(?:(?P<epoch>\d+):)?(?P<version>[^-:(/=<> ]+)-(?P<release>[^-:(/=<> ]+)")),
    ("nev", re.compile(r"(?P<name>[^:(/=<> ]+)-(?:(?P<epoch>\d+):)?(?P<version>[^-:(/=<> ]+)")),
)


def _readings(spec: str):  # type: ignore[no-untyped-def]
    for _, form in _FORMS:
        match = form.fullmatch(spec)
        if match:
            yield _reading({key: value for key, value in match.groupdict().items() if value is not None})


def _reading(parts: dict[str, str]) -> Callable[[Nevra], bool]:
    tests = [(key, value, bool(_GLOB.search(value))) for key, value in parts.items()]

    def accepts(nevra: Nevra) -> bool:
        for key, value, is_glob in tests:
            actual = str(getattr(nevra, key))
            if not (fnmatchcase(actual, value) if is_glob else actual == value):
                return False
        return True

    return accepts
