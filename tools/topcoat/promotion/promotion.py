"""A promotion from what is asked for to what was done: its places, its candidate, the rule it must meet, who is told.

This module must never move a tag by itself; ``Promoter`` does, under its locks.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from topcoat.errors import UsageError
from topcoat.lists import old_names
from topcoat.model import ImageReference, Profile, PromotionRequest
from topcoat.promotion import candidates
from topcoat.promotion.control import check_name
from topcoat.promotion.history import History, check_reason
from topcoat.promotion.promoter import Promoted, Promoter, Request
from topcoat.promotion.story import HeldError, Story
from topcoat.promotion.target import Place, Target
from topcoat.publisher import Publisher
from topcoat.registry import Image, Manifest, Registries
from topcoat.registry.addresses import check_address, parts_of
from topcoat.trunk import DlrnApi, DlrnPromotion
from topcoat.trunk.criteria import Criteria, Verdict, load_criteria


@dataclass(frozen=True)
class Judgement:
    """What the criteria said of a set that is promoted; ``moment`` is seconds since the epoch."""

    name: str
    source: str
    criteria: Criteria
    verdict: Verdict
    moment: float
    override: str


Sign = Callable[[Sequence[ImageReference], Judgement | None], None]
"""Signs images, each under the tag and digest that are named, before the tag shows it; None where nothing was judged."""
Examine = Callable[[Mapping[str, tuple[ImageReference, Image]]], None]
"""Raises when something in a set may not be promoted; gets image name → where it is, and its configuration."""


@dataclass(frozen=True)
class Promotable:
    """The images of one tree that are promoted as a set, and where."""

    registries: Registries
    profile: Profile
    """Its registry and namespace are the first place."""
    recipes_root: Path
    images: Sequence[str]
    also: Sequence[str] = ()
    """Further places, ``HOST/NAMESPACE``; the set is copied there first where it is missing."""

    @property
    def criteria(self) -> Path:
        """The file of promotion criteria that counts where none is named; it need not be there."""
        return self.recipes_root / "criteria" / f"{self.profile.name}.yaml"


class Promotion:
    """A set of images of one tree in one or several places."""

    def __init__(self, promotable: Promotable, *, say: Callable[[str], None] = lambda line: None) -> None:
        """:raises UsageError: a place is malformed or named twice."""
        self._promotable = promotable
        self._registries = registries = promotable.registries
        self._say = say
        self._places = [
            self._place(promotable.profile.registry, promotable.profile.namespace),
            *(self._further(text) for text in promotable.also),
        ]
        names = [str(place) for place in self._places]
        if len(set(names)) < len(names):
            raise UsageError(f"one place is named twice: {', '.join(names)}", next_step="--also takes further registries or namespaces")
        targets = [Target(place, registries.client(place.host)) for place in self._places]
        self._promoter = Promoter(targets, say=say)
        self.histories = tuple(History(target.control) for target in targets)
        """Of every place, in order; the first is that of the profile."""

    def rollback(self, name: str, *, wait_seconds: float = 0.0, dry_run: bool = False) -> Promoted:
        """Bring the set back that was there before the last promotion; see ``Promoter.rollback``. A hold does not keep a name from going back."""
        story = Story(self.histories, name, "rollback", [str(place) for place in self._places], say=self._say)
        with story.told(dry_run):
            outcome = self._promoter.rollback(name, dry_run=dry_run, wait_seconds=wait_seconds)
            story.ended(outcome)
        return outcome

    def run(self, request: PromotionRequest, *, examine: Examine | None = None, sign: Sign | None = None, dry_run: bool = False) -> Promoted | None:
        """Promote; None when there is nothing newer. What became of it is written into the history of every place.

        :param sign: called for the whole set in every place, before the first tag moves; also where all tags show it already.
        :raises UsageError: it cannot be told what is wanted. Else see ``Promoter.promote``.
        """
        check_name(request.name)
        override = check_reason(request.override, "--override") if request.override is not None else ""
        api = self._api(request.dlrn) if request.dlrn else None
        criteria = self._criteria(request, api)
        if override and not (request.source and criteria):
            raise UsageError(
                "--override passes over the criteria for one set",
                next_step="name the set with --from, and the votes with --dlrn; without criteria there is nothing to pass over",
            )
        story = Story(self.histories, request.name, "promotion", [str(place) for place in self._places], override, say=self._say)
        with story.told(dry_run):
            candidate = self._candidate(request, api, criteria)
            if request.source is None and candidate is None:
                return None
            source = request.source or (candidate.tag if candidate else "")
            story.about(source)
            known: dict[str, Manifest] = {}
            judgement: Judgement | None = None

            def allowed() -> None:
                nonlocal judgement
                self._require_free(request.name)
                if api and criteria and candidate:
                    moment = time.time()
                    verdict = self._judged(api, criteria, candidate, override, moment)
                    judgement = Judgement(request.name, source, criteria, verdict, moment, "" if verdict.passed else override)
                    story.judged(verdict)
                    if request.source and not request.older and not override:
                        candidates.require_newest(api, criteria, candidate, now=time.time())

            def prepare(manifests: Mapping[str, Manifest]) -> None:
                self._copy(manifests, source)
                if sign:
                    sign(self._everywhere(manifests, request.name), judgement)
                story.begun()

            def look(manifests: Mapping[str, Manifest]) -> None:
                known.update(manifests)
                if examine:
                    examine(self._images(manifests))

            def announce() -> None:
                if api and candidate:
                    api.promote(candidate.hash, request.name)

            outcome = self._promoter.promote(
                Request(source, request.name, request.receipt, request.inventories, request.wait_seconds, request.partial, request.older, story.id),
                allowed=allowed,
                examine=look,
                prepare=prepare,
                announce=announce,
                dry_run=dry_run,
            )
            if sign and outcome.state == "unchanged" and not dry_run:
                sign(self._everywhere(known, request.name), None)
            story.ended(outcome)
        return outcome

    def _require_free(self, name: str) -> None:
        """Nobody may promote to a name that is held.

        :raises HeldError: it is held; says why and by whom.
        """
        for place, history in zip(self._places, self.histories, strict=True):
            hold = history.hold(name)
            if hold:
                raise HeldError(
                    f"{name} is held in {place} by {hold.by} since {hold.since}: {hold.reason}",
                    next_step=f"when that is over: topcoat hold {name} --release",
                )

    def _judged(self, api: DlrnApi, criteria: Criteria, candidate: DlrnPromotion, override: str, now: float) -> Verdict:
        if not override:
            verdict = candidates.require(api, criteria, candidate, now=now)
            self._say(verdict.sentence)
            return verdict
        verdict = candidates.verdict_on(api, criteria, candidate, now=now)
        self._say(f"{verdict.sentence}; passed over: {override}")
        return verdict

    # ---- places -----------------------------------------------------------------------------------------------------------------------------

    def _place(self, host: str, namespace: str) -> Place:
        """A place with the images and, as members like all others, the names that renamed ones had before."""
        images = self._promotable.images
        profile = replace(self._promotable.profile, namespace=namespace)
        aliases = tuple((old, image) for image, names in old_names(self._promotable.recipes_root, images).items() for old in names)
        names = (*images, *(old for old, _image in aliases))
        return Place(host, namespace, tuple((name, profile.repository_of(name)) for name in names), aliases)

    def _further(self, text: str) -> Place:
        host, _, namespace = text.partition("/")
        if not host:
            raise UsageError(f"--also wants HOST/NAMESPACE, not {text!r}", next_step="write quay.example.org/rdo")
        return self._place(host, namespace)

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

    def _everywhere(self, manifests: Mapping[str, Manifest], tag: str) -> list[ImageReference]:
        """The set as every place shows it under a tag, old names too."""
        return [
            ImageReference(place.host, repository, tag, manifests[image].digest) for place in self._places for image, repository in place.repositories
        ]

    def _images(self, manifests: Mapping[str, Manifest]) -> dict[str, tuple[ImageReference, Image]]:
        """Every image of the set by its name; of an index each one, by the platform too."""
        first = self._places[0]
        own = dict(first.repositories)
        client = self._registries.client(first.host)
        found = {}
        for name, manifest in manifests.items():
            for digest in [child.digest for child in manifest.images] if manifest.is_index else [manifest.digest]:
                image = client.image(own[name], digest)[1]
                found[f"{name} ({image.platform})" if manifest.is_index else name] = ImageReference(first.host, own[name], digest=digest), image
        return found

    # ---- which set --------------------------------------------------------------------------------------------------------------------------

    def _api(self, url: str) -> DlrnApi:
        login = self._registries.credentials.find(parts_of(url, "a DLRN API").netloc)
        if login:  # the password goes with each request
            check_address(url, "a DLRN API", tuple(self._registries.plain_http))
        return DlrnApi(url, login=(login.user, login.password) if login else None, ca_file=self._registries.ca_file)

    def _criteria(self, request: PromotionRequest, api: DlrnApi | None) -> Criteria | None:
        """The rule of a floating name: from the file given, else from that of the profile."""
        if api is None:
            if request.criteria:
                raise UsageError("criteria are judged by votes, so --criteria needs --dlrn", next_step="give the URL of the DLRN API")
            return None
        path = request.criteria or self._promotable.criteria
        if not request.criteria and not path.is_file():
            return None
        rules = load_criteria(path)
        if request.name not in rules:
            raise UsageError(f"{path} has no criteria for {request.name!r}", next_step=f"it has: {', '.join(sorted(rules))}")
        return rules[request.name]

    def _candidate(self, request: PromotionRequest, api: DlrnApi | None, criteria: Criteria | None) -> DlrnPromotion | None:
        if request.source is None:
            if api is None or criteria is None:
                raise UsageError("what shall be promoted?", next_step="give --from TAG, or --dlrn and --criteria")
            return candidates.newest(api, criteria, now=time.time(), say=self._say)
        if api is None:
            return None
        if criteria is None:
            raise UsageError("with --dlrn the candidate's name is needed", next_step="give --criteria too, or write criteria/PROFILE.yaml")
        return candidates.by_tag(api, criteria, request.source)
