"""What a promotion judged, as a SLSA verification summary: the rule, the votes, and whether they met it.

This module must never call a set good whose rule was not met, whoever passed it over.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from topcoat.model import ImageReference
from topcoat.model.moments import rfc3339
from topcoat.process.each import each
from topcoat.registry import Registries
from topcoat.registry.oci import to_json
from topcoat.signing import statements
from topcoat.signing.identity import Identity
from topcoat.signing.images import Signer
from topcoat.signing.keys import SigningKey

PREDICATE = "https://slsa.dev/verification_summary/v1"
VERIFIER = "https://topcoat.dev/verifier/1"
EXTENSION = "https://topcoat.dev/promotion/1"
"""Key of what the summary has beyond SLSA's (in-toto attestation framework, parsing rules: extension fields)."""
_PARALLEL = 4


@dataclass(frozen=True)
class Judged:
    """A judgement of the whole set."""

    name: str
    """Floating tag."""
    source: str
    """Tag that is promoted to it."""
    passed: bool
    sentence: str
    rule: Mapping[str, object]
    """The criteria, as they were applied."""
    jobs: Sequence[Mapping[str, object]]
    """What each job said, with the links of its votes."""
    moment: float
    """When it was judged, seconds since the epoch."""
    override: str = ""
    """Why a rule that was not met is passed over."""


def predicate(judged: Judged, reference: ImageReference, *, verifier: str = VERIFIER) -> dict[str, object]:
    """The predicate for one image (SLSA 1.0, "Verification Summary Attestation").

    :param verifier: URI of whoever is trusted to judge: a Zuul.
    """
    rule = to_json(dict(judged.rule))
    more = {
        "tag": judged.name,
        "source": judged.source,
        "said": judged.sentence,
        "rule": dict(judged.rule),
        "jobs": [dict(job) for job in judged.jobs],
    }
    return {
        "verifier": {"id": verifier},
        "timeVerified": rfc3339(judged.moment),
        "resourceUri": f"{reference.host}/{reference.repository}:{judged.name}",
        "policy": {"uri": f"{EXTENSION}/criteria/{judged.name}", "digest": {"sha256": hashlib.sha256(rule).hexdigest()}},
        "verificationResult": "PASSED" if judged.passed else "FAILED",
        "verifiedLevels": [],
        "slsaVersion": "1.0",
        EXTENSION: {**more, **({"override": judged.override} if judged.override else {})},
    }


def attest(
    registries: Registries, key: SigningKey | Identity, judged: Judged, references: Iterable[ImageReference], *, verifier: str = VERIFIER
) -> int:
    """Attach the summary to images, given by digest; how many were new.

    :raises NotFoundError: an image is not there.
    """
    signer = Signer(registries, key)

    def one(reference: ImageReference) -> bool:
        assert reference.digest is not None
        place = f"{reference.host}/{reference.repository}"
        statement = statements.statement(place, reference.digest, PREDICATE, predicate(judged, reference, verifier=verifier))
        return signer.attest(place, reference.digest, statement, PREDICATE)

    return sum(each(list(references), one, workers=_PARALLEL))
