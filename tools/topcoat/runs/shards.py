"""A plan cut into parts that run on several machines and meet in the registry.

This module must never let an image fall between two parts: every image is in at least one, and each image's parent is in its part.
"""

from __future__ import annotations

from topcoat.errors import UsageError
from topcoat.model import Action, Plan, Shard, ancestry

_WEIGHT = {Action.BUILD: 10.0, Action.UPDATE: 2.0, Action.REUSE: 0.1}


def parse_shard(text: str) -> Shard:
    """``N/M`` → Shard; UsageError when it is not 1 ≤ N ≤ M."""
    number, slash, total = text.partition("/")
    if not slash or not number.isdecimal() or not total.isdecimal() or not 1 <= int(number) <= int(total):
        raise UsageError(f"--shard wants N/M with 1 <= N <= M, not {text!r}", next_step="for two machines: --shard 1/2 and --shard 2/2")
    return Shard(int(number), int(total))


def names_of(plan: Plan, shard: Shard) -> frozenset[str]:
    """The images of one part: whole subtrees of images to build, heaviest first onto the lightest part, each with the builds it stands on.

    A build above several subtrees is made by every part that needs it; builds are deterministic, so the parts push the same digest.
    """
    builds = {image.name: image for image in plan.images if image.action is Action.BUILD}
    children = ancestry.children(builds)
    weight: dict[str, float] = {}
    for image in reversed(plan.images):
        if image.name in builds:
            weight[image.name] = _WEIGHT[Action.BUILD] + sum(weight[child] for child in children.get(image.name, ()))
    units = {name: weight[name] for name in children.get(None, ())}
    total = sum(units.values())
    shared: set[str] = set()
    while units:
        heaviest = max(units, key=lambda name: (units[name], name))
        if units[heaviest] <= total / shard.total or not children.get(heaviest):
            break
        del units[heaviest]
        shared.add(heaviest)
        units |= {child: weight[child] for child in children[heaviest]}
    units |= {image.name: _WEIGHT[image.action] for image in plan.images if image.name not in builds}
    loads = [0.0] * shard.total
    mine: set[str] = set()
    for name in sorted(units, key=lambda name: (-units[name], name)):
        lightest = loads.index(min(loads))
        loads[lightest] += units[name]
        if lightest == shard.number - 1:
            mine |= set(ancestry.below(name, children))
    for name in list(mine):
        mine |= set(ancestry.chain(name, builds))
    if shard.number == 1:
        # a shared build without a part of its own (its children went elsewhere) still has to be made once
        mine |= shared
    return frozenset(mine)
