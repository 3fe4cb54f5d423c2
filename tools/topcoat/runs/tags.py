"""Which tags a run may give to images.

This module must never ask a registry: what a tag is for is known from its name, the profile and the options.
"""

from __future__ import annotations

import re

from topcoat.errors import UsageError
from topcoat.model import RunOptions, RunRequest
from topcoat.model.image import check_tag
from topcoat.runs import input_tags

_KEPT = re.compile(rf"{input_tags.PREFIX}.*|sha[0-9]+-.*")


def check_kept(options: RunOptions) -> None:
    """No tag of a run is one of those that registries and this product give to what lies beside images.

    :raises UsageError: a tag is none, or is kept for others.
    """
    for tag in (options.tag, *options.floating_tags):
        check_tag(tag)
        if _KEPT.fullmatch(tag):
            raise UsageError(f"{tag} cannot be given to images: names like it are kept for what lies beside them", next_step="choose another tag")


def check_tags(request: RunRequest, options: RunOptions) -> None:
    """Every image gets the run's own tag as soon as it is made, long before the set is proven: it must be nobody else's.

    :raises UsageError: a tag is none, is kept for others, or the run's own is one that moves.
    """
    check_kept(options)
    profile = request.profile
    references = (profile.reference_registry or profile.registry, profile.reference_namespace or profile.namespace)
    moving = {*options.floating_tags, *([request.reference_tag] if references == (profile.registry, profile.namespace) else [])}
    if options.shard and options.floating_tags:
        raise UsageError(
            f"part {options.shard} of a run moves no floating tag: what is under test is proven from all parts together",
            next_step="leave --floating-tag out, and promote the set when 'topcoat coverage' has proven it",
        )
    if options.tag in moving:
        raise UsageError(
            f"{options.tag} is a tag that moves for a whole set once it is proven, and --tag is given to each image before that",
            next_step="give the run a tag of its own, and this one with --floating-tag",
        )
