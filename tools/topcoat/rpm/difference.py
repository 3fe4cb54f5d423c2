"""What changed between two sets of installed packages; the one place that pairs old and new, so that a plan and a result can be compared.

This module must never compare versions: a change is a change in either direction.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping

from topcoat.model import Nevra, PackageChange


def difference(old: Iterable[Nevra], new: Iterable[Nevra]) -> tuple[PackageChange, ...]:
    """What changed between two package sets, sorted by name (see ``pair``)."""
    before, after = frozenset(old), frozenset(new)
    return pair(before - after, after - before)


def pair(removed: Iterable[Nevra], added: Iterable[Nevra], repository_of: Mapping[Nevra, str] | None = None) -> tuple[PackageChange, ...]:
    """Pair what went with what came into changes, sorted by name.

    A package that went and one that came under the same name and architecture are one change; then, under the same name, one that went and
    one that came with another architecture (noarch to x86_64). What is left over is installed or removed (two versions of one package side by
    side, as kernels or keys are, stay apart). A package that is in both sets was installed again from another build: ``old`` equals ``new``.

    :param repository_of: where a package that came is from.
    """
    origin = repository_of or {}
    gone: dict[str, list[Nevra]] = defaultdict(list)
    come: dict[str, list[Nevra]] = defaultdict(list)
    for nevra in sorted(set(removed)):
        gone[nevra.name].append(nevra)
    for nevra in sorted(set(added)):
        come[nevra.name].append(nevra)
    changes = []
    for name in gone.keys() | come.keys():
        olds, news = gone[name], come[name]
        for alike in (lambda old, new: old == new, lambda old, new: old.arch == new.arch, lambda old, new: True):
            for old in tuple(olds):
                new = next((candidate for candidate in news if alike(old, candidate)), None)
                if new is not None:
                    changes.append(PackageChange(old, new, origin.get(new)))
                    olds.remove(old)
                    news.remove(new)
        changes += [PackageChange(old, None) for old in olds]
        changes += [PackageChange(None, new, origin.get(new)) for new in news]
    return tuple(sorted(changes, key=lambda change: (change.name, change.key)))
