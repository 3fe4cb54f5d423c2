"""Whether images are signed: our own look at their signatures, and the judgement of the code that podman runs.

This module must never call an image signed that skopeo refuses.
"""

from __future__ import annotations

import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType

from topcoat.errors import ContentError, UsageError
from topcoat.model import ImageReference
from topcoat.registry import Descriptor, Registries
from topcoat.signing import images
from topcoat.signing.keys import PublicKey
from topcoat.signing.policy import PolicyCheck, UnableError, policy_for

_LARGEST = 1 << 20


@dataclass(frozen=True)
class Found:
    """What was found about one image."""

    problems: tuple[str, ...]
    """Why it is not signed as it must be, one sentence each; empty: it is."""
    note: str = ""


class SignedCheck:
    """The check by one key or one policy; a context manager, whose folder goes with it."""

    def __init__(
        self,
        registries: Registries,
        platform: str,
        file: Path,
        references: Sequence[ImageReference],
        *,
        authfile: Path | None = None,
        ca_file: Path | None = None,
        plain_http: Sequence[str] = (),
    ) -> None:
        """:param file: a public key, or a policy (containers-policy.json(5)).

        :param references: the images that will be asked about.
        :raises UsageError: the file is neither.
        """
        self._registries = registries
        self._folder = tempfile.TemporaryDirectory(prefix="topcoat-signed-")
        try:
            self._key = PublicKey.from_file(file) if _is_key(file) else None
            policy = policy_for(self._key, [reference.name for reference in references], Path(self._folder.name)) if self._key else file
            self._skopeo = PolicyCheck(policy, platform, authfile=authfile, ca_file=ca_file, plain_http=plain_http)
        except BaseException:
            self._folder.cleanup()
            raise

    def __enter__(self) -> SignedCheck:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self._folder.cleanup()

    def of(self, reference: ImageReference, layers: Sequence[Descriptor]) -> Found:
        """Look at one image.

        :param layers: those of the image for the platform. :raises InfrastructureError: it cannot be told.
        """
        if self._key is None:
            refusal = self._skopeo.refusal(reference, layers)
            return Found((f"the policy refuses it: {refusal}",) if refusal else ())
        try:
            found = images.problems(self._registries, reference, self._key)
        except ContentError as error:
            found = [error.what]
        if found:
            return Found(tuple(found))
        try:
            refusal = self._skopeo.refusal(reference, layers)
        except UnableError as error:
            return Found((), f"checked by topcoat alone: {error.what}")
        return Found((f"skopeo refuses it: {refusal}",) if refusal else ())


def _is_key(file: Path) -> bool:
    try:
        with file.open("rb") as stream:
            start = stream.read(_LARGEST)
    except OSError as error:
        raise UsageError(f"{file} cannot be read: {error.strerror}", next_step="give a public key or a policy.json") from error
    if b"PRIVATE KEY-----" in start:
        raise UsageError(f"{file} is a private key", next_step="give the public one")
    return start.lstrip().startswith(b"-----BEGIN")
