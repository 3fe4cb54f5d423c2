"""Which packages of the repositories may be used at all: include and exclude lists, the gating repository's precedence, module streams.

This module must never look at an installed package.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Sequence
from fnmatch import fnmatchcase

import solv

from topcoat.model import Nevra
from topcoat.rpm import modules as module_streams
from topcoat.rpm.catalogue import Catalogue
from topcoat.rpm.repositories import Snapshot


def considered(usable: Sequence[solv.XSolvable], catalogue: Catalogue, snapshot: Snapshot, *, modules: Sequence[str] = ()) -> list[solv.XSolvable]:
    """The packages that are left after every filter, in the order given."""
    kept = _by_lists(usable, catalogue, snapshot)
    streams = module_streams.read(snapshot)
    if streams:
        kept = module_streams.filtered(kept, catalogue, streams, modules)
    gated_ids = {frozen.id for frozen in snapshot.repositories if frozen.repository.gated}
    if not gated_ids:
        return kept
    gated_names = {solvable.name for solvable in kept if solvable.repo.name in gated_ids}
    return [solvable for solvable in kept if solvable.name not in gated_names or solvable.repo.name in gated_ids]


def _by_lists(usable: Sequence[solv.XSolvable], catalogue: Catalogue, snapshot: Snapshot) -> list[solv.XSolvable]:
    listed = [frozen for frozen in snapshot.repositories if frozen.repository.includepkgs or frozen.repository.excludepkgs]
    if not listed:
        return list(usable)
    everything = {catalogue.nevra(solvable.id) for solvable in usable}
    included = {frozen.id: [spec_filter(spec, everything) for spec in frozen.repository.includepkgs] for frozen in listed}
    excluded = {frozen.id: [spec_filter(spec, everything) for spec in frozen.repository.excludepkgs] for frozen in listed}

    def stays(solvable: solv.XSolvable) -> bool:
        repo_id = catalogue.repository(solvable.id).id
        if repo_id not in included:
            return True
        nevra = catalogue.nevra(solvable.id)
        wanted = not included[repo_id] or any(accepts(nevra) for accepts in included[repo_id])
        return wanted and not any(accepts(nevra) for accepts in excluded[repo_id])

    return [solvable for solvable in usable if stays(solvable)]


def spec_filter(spec: str, everything: set[Nevra]) -> Callable[[Nevra], bool]:
    """A test for dnf's package specifications in include and exclude lists.

    As in dnf.conf(5) a specification is read as NEVRA, name.arch, name, NEVR or NEV, and the first reading that any package of any repository
    answers to is the one that holds.
    """
    for reading in _readings(spec):
        if any(reading(nevra) for nevra in everything):
            return reading
    return lambda nevra: False


_GLOB = re.compile(r"[*?\[]")
_NAME = r"(?P<name>[^:(/=<> ]+)"
_EPOCH = r"(?:(?P<epoch>\d+):)?"
_VERSION = r"(?P<version>[^-:(/=<> ]+)"
_RELEASE = r"(?P<release>[^-:(/=<> ]+)"
_ARCH = r"(?P<arch>[^-:(/=<> .]+)"
_FORMS = tuple(
    re.compile(form)
    for form in (
        rf"{_NAME}-{_EPOCH}{_VERSION}-{_RELEASE}\.{_ARCH}",
        rf"{_NAME}\.{_ARCH}",
        _NAME,
        rf"{_NAME}-{_EPOCH}{_VERSION}-{_RELEASE}",
        rf"{_NAME}-{_EPOCH}{_VERSION}",
    )
)


def _readings(spec: str) -> Iterator[Callable[[Nevra], bool]]:
    for form in _FORMS:
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
