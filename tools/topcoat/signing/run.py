"""The provenance of every image of a run, and how it gets to them.

This module must never attest an image that the run did not publish.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from topcoat.errors import ContentError
from topcoat.model import Digest, Receipt
from topcoat.process.each import each
from topcoat.registry import Registries
from topcoat.signing import provenance, statements
from topcoat.signing.identity import Identity
from topcoat.signing.images import Signer
from topcoat.signing.keys import SigningKey

_PARALLEL = 4


@dataclass(frozen=True)
class About:
    """A statement and the image it is about."""

    name: str
    repository: str
    digest: Digest
    statement: bytes


def statements_of(receipt: Receipt, *, builder: str) -> list[About]:
    """One for each image that a run made or updated; one that it only used again has its own from the run that made it.

    :raises ContentError: the receipt names no such image.
    """
    found = [
        About(
            image.name,
            image.repository,
            image.digest,
            statements.statement(image.repository, image.digest, provenance.PREDICATE, provenance.provenance(receipt, image, builder=builder)),
        )
        for image in receipt.images
        if image.digest and image.repository and image.action != "reuse"
    ]
    if not found:
        raise ContentError(f"the run of {receipt.tag} made no image", next_step="attest with the receipt of the run that made them")
    return found


def attest(registries: Registries, key: SigningKey | Identity, found: Sequence[About]) -> list[bool]:
    """Attach them; for each whether it is new.

    :raises NotFoundError: an image is not there any more.
    """
    signer = Signer(registries, key)
    return each(found, lambda one: signer.attest(one.repository, one.digest, one.statement, provenance.PREDICATE), workers=_PARALLEL)
