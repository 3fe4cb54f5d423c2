"""A promotion from what is asked for to what was done: its places, its candidate, the rule it must meet, who is told.

This module must never move a tag by itself; ``Promoter`` does, under its locks.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from urllib.parse import urlsplit

from topcoat.errors import UsageError
from topcoat.lists import old_names
from topcoat.model import ImageReference, Profile, Receipt
from topcoat.promotion import candidates
from topcoat.promotion.criteria import Criteria, load_criteria
from topcoat.promotion.promoter import Promoted, Promoter, Request
from topcoat.promotion.target import Place, Target
from topcoat.publisher import Publisher
from topcoat.registry import Credentials, Image, Manifest, Registries
from topcoat.trunk import DlrnApi, DlrnPromotion

Examine = Callable[[Mapping[str, tuple[ImageReference, Image]]], None]
"""Raises when something in a set may not be promoted; gets image name → where it is, and its configuration."""


@dataclass(frozen=True)
class Wish:
    """What somebody wants promoted, before it is known which set that is."""

    name: str
    """Floating tag."""
    source: str | None = None
    """Tag to promote; None: the newest candidate of DLRN that meets the criteria."""
    receipt: Receipt | None = None
    criteria: Path | None = None
    """File of promotion criteria; None: that of the profile, where there is one."""
    dlrn: str | None = None
    """URL of the API that votes are read from, and that is told last."""
    inventories: bool = True
    wait_seconds: float = 0.0
    partial: bool = False
    older: bool = False


class Promotion:
    """A set of images of one tree in one or several places."""

    def __init__(
        self,
        registries: Registries,
        profile: Profile,
        recipes_root: Path,
        images: Sequence[str],
        *,
        also: Sequence[str] = (),
        authfile: Path | None = None,
        ca_file: Path | None = None,
        say: Callable[[str], None] = lambda line: None,
    ) -> None:
        """:param also: further places, ``HOST/NAMESPACE``; the set is copied there first where it is missing.

        :raises UsageError: a place is malformed or named twice.
        """
        self._registries = registries
        self._profile = profile
        self._recipes_root = recipes_root
        self._authfile = authfile
        self._ca_file = ca_file
        self._say = say
        self._places = [self._place(profile.registry, profile.namespace, images), *(self._further(text, images) for text in also)]
        names = [str(place) for place in self._places]
        if len(set(names)) < len(names):
            raise UsageError(f"one place is named twice: {', '.join(names)}", next_step="--also takes further registries or namespaces")
        self._promoter = Promoter([Target(place, registries.client(place.host)) for place in self._places], say=say)

    def rollback(self, name: str, *, wait_seconds: float = 0.0, dry_run: bool = False) -> Promoted:
        """Bring the set back that was there before the last promotion; see ``Promoter.rollback``."""
        return self._promoter.rollback(name, dry_run=dry_run, wait_seconds=wait_seconds)

    def run(self, wish: Wish, *, examine: Examine | None = None, dry_run: bool = False) -> Promoted | None:
        """Promote; None when there is nothing newer.

        :raises UsageError: it cannot be told what is wanted. Else see ``Promoter.promote``.
        """
        api = self._api(wish.dlrn) if wish.dlrn else None
        criteria = self._criteria(wish, api)
        candidate = self._candidate(wish, api, criteria)
        if wish.source is None and candidate is None:
            return None
        source = wish.source or (candidate.tag if candidate else "")

        def allowed() -> None:
            if api and criteria and candidate:
                self._say(candidates.require(api, criteria, candidate, now=time.time()).sentence)

        def announce() -> None:
            if api and candidate:
                api.promote(candidate.hash, wish.name)

        return self._promoter.promote(
            Request(source, wish.name, wish.receipt, wish.inventories, wish.wait_seconds, wish.partial, wish.older),
            allowed=allowed,
            examine=lambda manifests: examine(self._images(manifests)) if examine else None,
            prepare=lambda manifests: self._copy(manifests, source),
            announce=announce,
            dry_run=dry_run,
        )

    # ---- places -----------------------------------------------------------------------------------------------------------------------------

    def _place(self, host: str, namespace: str, images: Sequence[str]) -> Place:
        """A place with the images and, as members like all others, the names that renamed ones had before."""
        profile = replace(self._profile, namespace=namespace)
        aliases = tuple((old, image) for image, names in old_names(self._recipes_root, images).items() for old in names)
        names = (*images, *(old for old, _image in aliases))
        return Place(host, namespace, tuple((name, profile.repository_of(name)) for name in names), aliases)

    def _further(self, text: str, images: Sequence[str]) -> Place:
        host, _, namespace = text.partition("/")
        if not host:
            raise UsageError(f"--also wants HOST/NAMESPACE, not {text!r}", next_step="write quay.example.org/rdo")
        return self._place(host, namespace, images)

    def _copy(self, manifests: Mapping[str, Manifest], tag: str) -> None:
        """Bring the set into the further places, and renamed images under their old names; what is there already costs one request an image."""
        first = self._places[0]
        own, aliases = dict(first.repositories), dict(first.aliases)
        Publisher(self._registries).copy_set(
            [
                (
                    ImageReference(first.host, own[aliases.get(image, image)], digest=manifests[image].digest),
                    ImageReference(place.host, repository, tag),
                )
                for number, place in enumerate(self._places)
                for image, repository in place.repositories
                if number or image in aliases
            ]
        )

    def _images(self, manifests: Mapping[str, Manifest]) -> dict[str, tuple[ImageReference, Image]]:
        first = self._places[0]
        own = dict(first.repositories)
        client = self._registries.client(first.host)
        return {
            image: (ImageReference(first.host, own[image], digest=manifest.digest), client.image(own[image], manifest.digest)[1])
            for image, manifest in manifests.items()
        }

    # ---- which set --------------------------------------------------------------------------------------------------------------------------

    def _api(self, url: str) -> DlrnApi:
        login = Credentials.from_authfile(self._authfile).find(urlsplit(url).netloc) if self._authfile else None
        return DlrnApi(url, login=(login.user, login.password) if login else None, ca_file=self._ca_file)

    def _criteria(self, wish: Wish, api: DlrnApi | None) -> Criteria | None:
        """The rule of a floating name: from the file given, else from that of the profile."""
        if api is None:
            if wish.criteria:
                raise UsageError("criteria are judged by votes, so --criteria needs --dlrn", next_step="give the URL of the DLRN API")
            return None
        path = wish.criteria or self._recipes_root / "criteria" / f"{self._profile.name}.yaml"
        if not wish.criteria and not path.is_file():
            return None
        rules = load_criteria(path)
        if wish.name not in rules:
            raise UsageError(f"{path} has no criteria for {wish.name!r}", next_step=f"it has: {', '.join(sorted(rules))}")
        return rules[wish.name]

    def _candidate(self, wish: Wish, api: DlrnApi | None, criteria: Criteria | None) -> DlrnPromotion | None:
        if wish.source is None:
            if api is None or criteria is None:
                raise UsageError("what shall be promoted?", next_step="give --from TAG, or --dlrn and --criteria")
            return candidates.newest(api, criteria, now=time.time(), say=self._say)
        if api is None:
            return None
        if criteria is None:
            raise UsageError("with --dlrn the candidate's name is needed", next_step="give --criteria too, or write criteria/PROFILE.yaml")
        return candidates.by_tag(api, criteria, wish.source)
