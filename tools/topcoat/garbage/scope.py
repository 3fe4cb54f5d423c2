"""Where garbage is collected, and what a site's own words keep.

This module must never leave a repository out because of what lies in it: what is kept there is for the rules to say.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import replace

from topcoat.documents.expressions import expression
from topcoat.errors import UsageError
from topcoat.garbage.rules import KeepRules
from topcoat.model import Profile, beside
from topcoat.registry import AccessError, RefusedError, RegistryClient

_DAY = 86400.0


def aliases_of(profile: Profile, old_names: Mapping[str, Sequence[str]]) -> dict[str, str]:
    """Repository of an old name → repository of the image that it stands for.

    :param old_names: image → names that it had before.
    """
    return {profile.repository_of(name): profile.repository_of(image) for image, names in old_names.items() for name in names}


def repositories_of(
    client: RegistryClient, profile: Profile, images: Iterable[str], aliases: Iterable[str], *, say: Callable[[str], None]
) -> list[str]:
    """Every repository of ours: of the images, of their old names, of the receipts of runs, and of images that left the tree."""
    runs = beside.within(profile.namespace, beside.RUNS)
    known = {runs, *(profile.repository_of(name) for name in images), *aliases, *_catalog(client, profile, say)}
    # what upstream removed lies only in the mirror of the base, and no tag there says what still needs it
    return sorted(known - {profile.base.mirror.removeprefix(f"{profile.registry}/")})


def _catalog(client: RegistryClient, profile: Profile, say: Callable[[str], None]) -> tuple[str, ...]:
    """Repositories of our namespace; none where the registry has no catalog."""
    try:
        found = client.catalog()
    except (RefusedError, AccessError):
        say("the registry shows no catalog: only repositories of known recipes are looked at")
        return ()
    inside = f"{profile.namespace}/" if profile.namespace else ""
    ours = {beside.within(profile.namespace, name) for name in (beside.CONTROL, beside.CHANGELOGS, beside.KEPT)}
    return tuple(name for name in found if inside and name.startswith(inside) and name not in ours)


def rules_of(profile: Profile, tags: Iterable[str], patterns: Iterable[str], *, days: float, newest: int) -> KeepRules:
    """What is kept beside promoted sets.

    :param tags: to keep, beside the profile's own; of a set with architectures the tags too that it may still be joined from.
    :param patterns: regular expressions of tags to keep. :param days: only tags that the registry has shown for longer may go.
    :param newest: so many of these are kept in each repository.
    :raises UsageError: a number is negative, or a pattern is none.
    """
    if days < 0 or newest < 0:
        raise UsageError("--older-than and --keep-newest cannot be negative", next_step="give a number of days and of tags")
    of_runs = [replace(profile, arch=one.name) for one in profile.architectures]
    kept = frozenset(tag for name in (profile.reference_tag, *tags) for tag in (name, *(one.run_tag(name) for one in of_runs)))
    return KeepRules(kept, tuple(map(expression, patterns)), younger_than=days * _DAY, newest=newest)
