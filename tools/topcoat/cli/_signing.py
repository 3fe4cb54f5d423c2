"""The options that name a signing key; shared by the commands that sign.

This module must never sign anything.
"""

from __future__ import annotations

import functools
import os
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

import click

from topcoat.errors import UsageError

if TYPE_CHECKING:
    from topcoat.signing import SigningKey

_PASSPHRASE = "TOPCOAT_SIGN_PASSPHRASE"


def key_options(*, required: bool) -> Callable[[Callable[..., object]], Callable[..., object]]:
    """--sign-key and --sign-passphrase-file; the command gets them as one ``key``, None where there is none."""
    decorators = (
        click.option(
            "--sign-key",
            required=required,
            metavar="FILE",
            help="Private key (cosign's, skopeo's, or PKCS#8; ECDSA P-256) to sign with; no one but its owner may read it.",
        ),
        click.option(
            "--sign-passphrase-file",
            metavar="FILE",
            help=f"File that holds the key's passphrase; without it the variable {_PASSPHRASE} does.",
        ),
    )

    def decorate(function: Callable[..., object]) -> Callable[..., object]:
        @functools.wraps(function)
        def packed(*positional: object, sign_key: str | None, sign_passphrase_file: str | None, **others: object) -> object:
            return function(*positional, key=_key(sign_key, sign_passphrase_file), **others)

        return functools.reduce(lambda inner, decorator: decorator(inner), reversed(decorators), packed)

    return decorate


def _key(path: str | None, passphrase_file: str | None) -> SigningKey | None:
    if path is None:
        if passphrase_file:
            raise UsageError("--sign-passphrase-file is the passphrase of a key", next_step="name the key with --sign-key")
        return None
    from topcoat.signing.keys import SigningKey, read_passphrase

    given = os.environ.get(_PASSPHRASE)
    passphrase = read_passphrase(Path(passphrase_file)) if passphrase_file else given.encode() if given is not None else None
    return SigningKey.from_file(Path(path), passphrase)
