"""Asks the code that podman runs whether a policy accepts an image: skopeo with a policy file, without moving a layer.

This module must never judge a signature itself, and never use the policy of this machine.
"""

from __future__ import annotations

import json
import re
import shutil
import tempfile
from collections.abc import Sequence
from pathlib import Path

from topcoat.errors import ContentError, InfrastructureError, machine_error
from topcoat.model import ImageReference
from topcoat.process import run
from topcoat.registry import Descriptor
from topcoat.signing.keys import PublicKey

_SECONDS = 120
_REFUSED = re.compile(r"Source image rejected: (.*)")
_DISABLED = "sigstore disabled"
_MESSAGE = re.compile(r'msg="((?:[^"\\]|\\.)*)"')


def policy_for(key: PublicKey, names: Sequence[str], folder: Path) -> Path:
    """Write a policy (containers-policy.json(5)) that accepts what a key signed, for these repositories, and nothing else; the file.

    :param names: ``host/repository``. :param folder: gets the policy and the key.
    """
    (folder / "signing.pub").write_bytes(key.pem())
    asked = {"type": "sigstoreSigned", "keyPath": str(folder / "signing.pub"), "signedIdentity": {"type": "matchRepository"}}
    policy = folder / "policy.json"
    document = {"default": [{"type": "reject"}], "transports": {"docker": {name: [asked] for name in sorted(set(names))}}}
    policy.write_text(json.dumps(document, indent=1) + "\n", encoding="utf-8")
    return policy


class UnableError(InfrastructureError):
    """A skopeo that knows no such signatures."""


class PolicyCheck:
    """skopeo with one policy."""

    def __init__(
        self, policy: Path, platform: str, *, authfile: Path | None = None, ca_file: Path | None = None, plain_http: Sequence[str] = ()
    ) -> None:
        """:param platform: ``os/architecture`` whose image of an index is asked about, as podman pulls one.

        :raises InfrastructureError: skopeo is not installed.
        """
        if shutil.which("skopeo") is None:
            raise InfrastructureError("skopeo is not installed", retriable=False, next_step="install skopeo, or verify without --signed")
        self._policy = policy.absolute()
        self._platform = platform.split("/")
        self._authfile = authfile
        self._ca_file = ca_file
        self._plain_http = frozenset(plain_http)

    def refusal(self, reference: ImageReference, layers: Sequence[Descriptor]) -> str:
        """Why the policy refuses an image, in skopeo's words; empty: it accepts it.

        :param layers: those of the image for the platform.
        :raises ContentError: a layer is longer than any file.
        :raises UnableError: it was built without these signatures. :raises InfrastructureError: it cannot tell for another reason.
        """
        with tempfile.TemporaryDirectory(prefix="topcoat-policy-") as name:
            folder = Path(name)
            # Signatures are looked for only where a registry's settings say so (containers-registries.d(5)).
            (folder / "registries").mkdir()
            (folder / "registries/all.yaml").write_text("default-docker: { use-sigstore-attachments: true }\n", encoding="utf-8")
            # A layer that the target holds is not fetched; it is there by name and length, without one byte on the disk.
            blobs = folder / "image/blobs/sha256"
            blobs.mkdir(parents=True)
            for layer in layers:
                with (blobs / layer.digest.removeprefix("sha256:")).open("wb") as stream:
                    try:
                        stream.truncate(layer.size)
                    except OSError as error:
                        raise machine_error(error) or ContentError(
                            f"{reference} names a layer of {layer.size} bytes, and no file can be so long", next_step="see who pushed this image"
                        ) from error
            result = run(self._words(reference, folder), timeout=_SECONDS, check=False, failure=InfrastructureError)
        if not result.code:
            return ""
        last = (result.errors.strip().splitlines() or ["no output"])[-1]
        message = _MESSAGE.search(last)
        text = message[1].replace('\\"', '"') if message else last
        if _DISABLED in text:
            raise UnableError(
                "the skopeo of this machine was built without sigstore signatures, as Debian's is",
                retriable=False,
                next_step="ask on a machine whose podman checks them, or verify with the public key: that check is our own",
            )
        refused = _REFUSED.search(text)
        if refused:
            return refused[1]
        raise InfrastructureError(f"skopeo cannot check {reference}: {text}", next_step="see whether the registry answers, and the policy is one")

    def _words(self, reference: ImageReference, folder: Path) -> list[str]:
        words = ["skopeo", "--policy", str(self._policy), "--registries.d", str(folder / "registries")]
        words += ["--override-os", self._platform[0], "--override-arch", self._platform[1], "copy", "--quiet"]
        # A layout holds no signatures, and skopeo refuses to lose any unasked; it asks the policy first all the same.
        words += ["--remove-signatures"]
        words += ["--src-authfile", str(self._authfile)] if self._authfile else []
        if self._ca_file:
            (folder / "certificates").mkdir()
            shutil.copyfile(self._ca_file, folder / "certificates/ca.crt")
            words += ["--src-cert-dir", str(folder / "certificates")]
        words += ["--src-tls-verify=false"] if reference.host in self._plain_http else []
        # skopeo takes tag or digest, not both
        name = f"{reference.name}:{reference.tag}" if reference.tag else str(reference)
        return [*words, f"docker://{name}", f"oci:{folder / 'image'}:checked"]
