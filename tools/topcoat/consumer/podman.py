"""The calls of podman that consuming images needs.

This module must never print what podman prints without looking: its words decide whether the change or the network is at fault.
"""

from __future__ import annotations

import itertools
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from topcoat.documents import Door
from topcoat.errors import ContentError, InfrastructureError
from topcoat.model import ImageReference
from topcoat.process import run
from topcoat.process.retry import RetryPolicy

_DOOR = Door(InfrastructureError, "look at podman on this node: it answers otherwise than versions 4 and 5 do")
_RETRIES = RetryPolicy(attempts=3, initial=1.0, factor=4.0)
_OTHER_PLATFORM = "no image found in "
_MISSING = ("manifest unknown", "not found", "name unknown", "does not match", "digest mismatch")


@dataclass(frozen=True)
class Container:
    """One running container: its name, the image name it was started with, the id of its image."""

    name: str
    image: str
    image_id: str


class Podman:
    """One local storage, and the files that open registries to it."""

    def __init__(
        self,
        *,
        platform: str,
        authfile: Path | None = None,
        certificates: Path | None = None,
        plain_http: Sequence[str] = (),
        root: Path | None = None,
        runroot: Path | None = None,
        timeout: float = 1800,
    ) -> None:
        """:param platform: ``os/architecture`` that images are wanted for; of an index its child for it is pulled.

        :param certificates: folder with ``*.crt`` files to trust, as ``--cert-dir`` of podman takes it.

        :param root: folder of the storage, None for the system's own.
        :param timeout: seconds for one pull, with all its attempts.
        """
        self._options = ["podman", *(["--root", str(root)] if root else []), *(["--runroot", str(runroot)] if runroot else [])]
        self._platform = platform
        self._authfile = authfile
        self._certificates = certificates
        self._plain_http = frozenset(plain_http)
        self._timeout = timeout

    def pull(self, reference: ImageReference) -> None:
        """Pull by digest.

        podman itself gives up at the first 5xx, cut body or refused token; a registry that is busy must not fail a job.

        :raises ContentError: the registry does not hold this digest.
        :raises InfrastructureError: the registry cannot be reached or refuses us, after all attempts.
        """
        end = time.monotonic() + self._timeout
        for attempt in itertools.count(1):
            try:
                return self._pull(reference, max(end - time.monotonic(), 1.0))
            except InfrastructureError as error:
                delay = _RETRIES.delay(error, attempt, str(reference))
                if delay is None or time.monotonic() > end:
                    raise
                time.sleep(delay)

    def _pull(self, reference: ImageReference, seconds: float) -> None:
        argv = [*self._options, "pull", "--quiet", "--platform", self._platform]
        argv += ["--authfile", str(self._authfile)] if self._authfile else []
        argv += ["--cert-dir", str(self._certificates)] if self._certificates else []
        argv += ["--tls-verify=false"] if reference.host in self._plain_http else []
        result = run([*argv, str(reference)], timeout=seconds, check=False)
        if result.code == 0:
            return
        last = result.errors.splitlines()[-1] if result.errors else "no output"
        if _OTHER_PLATFORM in last.lower():
            raise ContentError(
                f"{reference} holds no image for {self._platform}", next_step="compare 'arch' of the profile with what the provider builds"
            )
        if any(word in last.lower() for word in _MISSING):
            raise ContentError(
                f"the registry does not hold {reference}: {last}",
                next_step="compare the digest with the receipt of the provider: what was returned is not what was published",
            )
        raise InfrastructureError(
            f"cannot pull {reference}: {last}", next_step="check that the registry of the buildset still runs and can be reached"
        )

    def digests(self, name: str) -> frozenset[str]:
        """Every manifest digest that the storage knows for one image (a name or an id); empty when there is no such image.

        :raises ContentError: the image is for another platform.
        """
        result = run([*self._options, "image", "inspect", name], timeout=120, check=False)
        if result.code:
            return frozenset()
        found: set[str] = set()
        what = "podman's description of an image"
        shape = _DOOR.shape(what)
        for image in shape.items(_DOOR.json(result.output, what), "it", dict, "objects"):
            found |= {shape.text(image.get("Digest"), "Digest")} - {""}
            held = f"{shape.text(image.get('Os'), 'Os')}/{shape.text(image.get('Architecture'), 'Architecture')}"
            if held != self._platform:
                # podman itself warns, and runs what the machine cannot.
                raise ContentError(
                    f"{name} is an image for {held}, the profile is for {self._platform}",
                    next_step="pull it again with this profile, or compare 'arch' of the profile with what the provider builds",
                )
            found.update(entry.partition("@")[2] for entry in shape.items(image.get("RepoDigests"), "RepoDigests", str))
        return frozenset(found)

    def running(self) -> tuple[Container, ...]:
        """Every running container of the storage."""
        result = run([*self._options, "ps", "--format", "json"], timeout=120, failure=InfrastructureError)
        what = "podman's list of containers"
        shape = _DOOR.shape(what)
        return tuple(
            Container(
                name=(shape.items(entry.get("Names"), "Names", str) or [shape.text(entry.get("Id"), "Id")])[0],
                image=shape.text(entry.get("Image"), "Image"),
                image_id=shape.need(entry, "ImageID", str),
            )
            for entry in shape.items(_DOOR.json(result.output or "[]", what), "it", dict, "objects")
        )
