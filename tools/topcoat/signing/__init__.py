"""Signatures and statements on published images, as podman's policy and cosign read them: who says that an image is good, and what it was made of.

This room must never show a private key or its passphrase, and never take a signature for good that it has not checked against a key it was given.
"""

from topcoat.signing.identity import Identity
from topcoat.signing.images import Signed, Signer, problems
from topcoat.signing.keys import PublicKey, SigningKey

__all__ = ["Identity", "PublicKey", "Signed", "Signer", "SigningKey", "problems"]
