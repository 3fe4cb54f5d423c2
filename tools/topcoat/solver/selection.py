"""Which packages of the repositories may be used for an image: include and exclude lists, module streams, the gating repository's precedence.

This module must never hide a package without being able to say why.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from fnmatch import fnmatchcase

import solv

from topcoat.model import Nevra, Repository
from topcoat.rpm.settings import Settings
from topcoat.solver.catalogue import Catalogue
from topcoat.solver.modules import Activity


@dataclass(frozen=True)
class Selected:
    """``kept`` are the packages that may be used, in the order given; ``held`` those that only the image's own lists or lost metadata hide, by id."""

    kept: list[solv.XSolvable]
    held: Mapping[int, str]


def select(
    usable: Sequence[solv.XSolvable],
    catalogue: Catalogue,
    repositories: Sequence[Repository],
    *,
    settings: Settings,
    activity: Activity,
    installed: Collection[Nevra] = (),
) -> Selected:
    """Apply every filter.

    :param repositories: the repo set; those without packages count, too.
    :param installed: the image's packages: how a specification in a list is read may depend on them.
    """
    held: dict[int, str] = {}
    kept = _by_lists(usable, catalogue, repositories, settings, installed, held)
    kept = _by_streams(kept, catalogue, activity, held)
    gated_ids = {repository.id for repository in repositories if repository.gated}
    if gated_ids:
        gated_names = {solvable.name for solvable in kept if solvable.repo.name in gated_ids}
        kept = [solvable for solvable in kept if solvable.name not in gated_names or solvable.repo.name in gated_ids]
    return Selected(kept, held)


def _by_streams(usable: Sequence[solv.XSolvable], catalogue: Catalogue, activity: Activity, held: dict[int, str]) -> list[solv.XSolvable]:
    """Packages of repositories with ``module_hotfixes`` are never hidden."""
    if not activity.excluded and not activity.included:
        return list(usable)
    source = f"module stream {', '.join(activity.fail_safe)}, whose metadata is gone from the repositories" if activity.fail_safe else ""
    kept = []
    for solvable in usable:
        nevra = catalogue.nevra(solvable.id)
        if catalogue.repository(solvable.id).module_hotfixes or not activity.hides(nevra, _provided(solvable)):
            kept.append(solvable)
        elif source and nevra.name in activity.names_kept_safe:
            held[solvable.id] = f"its name belongs to the {source}"
    return kept


def _provided(solvable: solv.XSolvable) -> Iterator[str]:
    return (str(dependency).partition(" ")[0] for dependency in solvable.lookup_deparray(solv.SOLVABLE_PROVIDES))


def _by_lists(
    usable: Sequence[solv.XSolvable],
    catalogue: Catalogue,
    repositories: Sequence[Repository],
    settings: Settings,
    installed: Collection[Nevra],
    held: dict[int, str],
) -> list[solv.XSolvable]:
    """The lists of the profile's repositories, and those of the image's dnf.conf, which hold for every repository.

    A package of any list of ``includepkgs`` satisfies all of them, as in dnf: there they are one set.
    """
    unfiltered = set(settings.unfiltered)
    if "all" in unfiltered:
        return list(usable)
    own = "main" not in unfiltered
    listed = [entry for entry in repositories if (entry.includepkgs or entry.excludepkgs) and entry.id not in unfiltered]
    if not listed and not (own and (settings.includes or settings.excludes)):
        return list(usable)
    everything = {catalogue.nevra(solvable.id) for solvable in usable} | set(installed)
    included = {entry.id: [spec_filter(spec, everything) for spec in entry.includepkgs] for entry in listed}
    excluded = {entry.id: [spec_filter(spec, everything) for spec in entry.excludepkgs] for entry in listed}
    image_includes = [spec_filter(spec, everything) for spec in settings.includes] if own else []
    image_excludes = [(spec, spec_filter(spec, everything)) for spec in settings.excludes] if own else []

    kept = []
    for solvable in usable:
        repo_id = catalogue.repository(solvable.id).id
        nevra = catalogue.nevra(solvable.id)
        in_own = any(accepts(nevra) for accepts in image_includes)
        in_repository = any(accepts(nevra) for accepts in included.get(repo_id, ()))
        if included.get(repo_id) and not in_repository and not in_own:
            continue
        if any(accepts(nevra) for accepts in excluded.get(repo_id, ())):
            continue
        spec = next((spec for spec, accepts in image_excludes if accepts(nevra)), None)
        if spec is not None:
            held[solvable.id] = f"excludepkgs={spec} in the image's dnf.conf"
        elif image_includes and not in_own and not in_repository:
            held[solvable.id] = f"not in includepkgs={' '.join(settings.includes)} of the image's dnf.conf"
        else:
            kept.append(solvable)
    return kept


class Listed:
    """Those of an image's packages that some reading of some list's specification fits: only they can decide how it is read."""

    def __init__(self, repositories: Sequence[Repository]) -> None:
        self._specs = frozenset(spec for entry in repositories for spec in (*entry.includepkgs, *entry.excludepkgs))
        # Images share most of their packages, and their settings: each package is tried once.
        self._known: dict[frozenset[str], dict[Nevra, bool]] = {}

    def __call__(self, installed: Collection[Nevra], settings: Settings) -> frozenset[Nevra]:
        """The packages of an image with these settings."""
        specs = self._specs.union(settings.excludes, settings.includes)
        known = self._known.setdefault(specs, {})
        fresh = [nevra for nevra in installed if nevra not in known] if specs else []
        if fresh:
            readings = [reading for spec in specs for reading in _readings(spec)]
            known.update((nevra, any(reading(nevra) for reading in readings)) for nevra in fresh)
        return frozenset(nevra for nevra in installed if known[nevra]) if specs else frozenset()


def spec_filter(spec: str, everything: Collection[Nevra]) -> Callable[[Nevra], bool]:
    """A test for dnf's package specifications in include and exclude lists.

    As in dnf.conf(5) a specification is read as NEVRA, name.arch, name, NEVR or NEV, and the first reading that any package, available or installed,
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
