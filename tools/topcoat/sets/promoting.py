"""A set is promoted: looked at and signed before a tag moves, on record whatever happens, and compared with the set before it afterwards.

This module must never move a tag by itself; ``topcoat.promotion`` does.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict
from pathlib import Path

from topcoat.errors import TopcoatError, UsageError
from topcoat.inspection.signers import require_signed
from topcoat.model import ImageReference, PromotionRequest
from topcoat.promotion import Promoted
from topcoat.promotion.history import notes
from topcoat.promotion.promoter import SCHEMA
from topcoat.promotion.promotion import Examine, Judgement, Promotable, Promotion, Sign
from topcoat.sets import promoted
from topcoat.sets.reading import SetReader
from topcoat.signing import Identity, Signer, SigningKey, summary
from topcoat.signing.summary import Judged

__all__ = ["Promotable", "Promoting", "Record", "recorded", "unchanged"]

Record = Callable[[Mapping[str, object]], None]
"""Is given the document of what was done, again whenever more is known."""


class Promoting:
    """Promotions of the images of one tree."""

    def __init__(self, promotable: Promotable, *, work: Path, say: Callable[[str], None] = lambda line: None) -> None:
        """:param work: folder for what is kept of images that are compared.

        :raises UsageError: a place is malformed or named twice.
        """
        self._registries = promotable.registries
        self._profile = promotable.profile
        self._work = work
        self._say = say
        self._promotion = Promotion(promotable, say=say)

    def run(
        self,
        request: PromotionRequest,
        *,
        signed: bool = False,
        key: SigningKey | Identity | None = None,
        verifier: str | None = None,
        dry_run: bool = False,
        record: Record = lambda document: None,
    ) -> Promoted | None:
        """Promote; None when there is nothing newer. See ``Promotion.run``.

        :param signed: refuse a set that holds a package which no key of the profile signed.
        :param key: signs every image before the first tag moves. :param verifier: who judged, as a URI, for the summary that the key signs.
        """
        examine: Examine | None = (lambda images: require_signed(images, self._registries, self._profile)) if signed else None
        sign = self._signer(key, verifier)
        outcome = self._promotion.run(request, examine=examine, sign=sign, dry_run=dry_run)
        return self._settled(outcome, record) if outcome else None

    def rollback(self, request: PromotionRequest, *, dry_run: bool = False, record: Record = lambda document: None) -> Promoted:
        """Bring the set back that was there before the last promotion of the name; see ``Promotion.rollback``."""
        return self._settled(self._promotion.rollback(request.name, dry_run=dry_run, wait_seconds=request.wait_seconds), record)

    def _settled(self, outcome: Promoted, record: Record) -> Promoted:
        record(outcome.as_dict())  # before anything else is asked
        reader = SetReader(self._registries, self._work, self._profile.platform)
        changes = promoted.settle(outcome, self._promotion.histories, reader, self._registries, self._profile, say=self._say)
        if changes:
            record({**outcome.as_dict(), "changes": changes})
        return outcome

    def _signer(self, key: SigningKey | Identity | None, verifier: str | None) -> Sign | None:
        """Signs the set with the key that was given, and where criteria were judged what they said of it."""
        if key is None:
            if verifier:
                raise UsageError("--verifier is for the summary that a key signs", next_step="name the key with --sign-key")
            return None
        signer = Signer(self._registries, key)

        def sign(images: Sequence[ImageReference], judgement: Judgement | None) -> None:
            new = sum(image.new for image in signer.sign(images))
            self._say(f"{len(images)} images are signed with {key.name}, {new} signatures are new")
            if judgement:
                summary.attest(self._registries, key, _judged(judgement), images, verifier=verifier or summary.VERIFIER)

        return sign


@contextmanager
def recorded(name: str, source: str | None, record: Record) -> Iterator[None]:
    """A promotion of a name that fails inside is on record, also one whose request is at fault."""
    try:
        yield
    except TopcoatError as error:
        record({"schema": SCHEMA, "state": "failed", "name": name, "source": source, "error": error.as_dict()})
        raise


def unchanged(request: PromotionRequest) -> dict[str, object]:
    """The document of a promotion that had nothing newer to promote."""
    return {"schema": SCHEMA, "state": "unchanged", "name": request.name, "source": request.source}


def _judged(judgement: Judgement) -> Judged:
    verdict = judgement.verdict
    rule = asdict(judgement.criteria) | {"too_old": judgement.criteria.too_old.value}
    jobs = [asdict(job) for job in notes(verdict.jobs)]
    return Judged(judgement.name, judgement.source, verdict.passed, verdict.sentence, rule, jobs, judgement.moment, judgement.override)
