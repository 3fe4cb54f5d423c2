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
    from topcoat.cli._context import Settings
    from topcoat.signing import Identity, SigningKey

_PASSPHRASE = "TOPCOAT_SIGN_PASSPHRASE"


def key_options(*, required: bool) -> Callable[[Callable[..., object]], Callable[..., object]]:
    """--sign-key and --sign-passphrase-file, or --identity-token-file with its two services; the command gets them as one ``key``, None where there
    is none."""
    decorators = (
        click.option(
            "--sign-key",
            metavar="FILE",
            help="Private key (cosign's, skopeo's, or PKCS#8; ECDSA P-256) to sign with; no one but its owner may read it.",
        ),
        click.option(
            "--sign-passphrase-file",
            metavar="FILE",
            help=f"File that holds the key's passphrase; without it the variable {_PASSPHRASE} does.",
        ),
        click.option("--identity-token-file", metavar="FILE", help="Sign as whoever this token (OIDC) names, instead of with a key."),
        click.option("--fulcio", metavar="URL", help="The authority that makes a certificate of the token."),
        click.option("--timestamp-authority", metavar="URL", help="The authority (RFC 3161) that says when it was signed."),
    )

    def decorate(function: Callable[..., object]) -> Callable[..., object]:
        @functools.wraps(function)
        def packed(*positional: object, sign_key: str | None, sign_passphrase_file: str | None, **others: object) -> object:
            services = tuple(others.pop(name) for name in ("identity_token_file", "fulcio", "timestamp_authority"))
            key = _identity(click.get_current_context().obj, *services) or _key(sign_key, sign_passphrase_file)  # type: ignore[arg-type]
            if key is None and required:
                raise UsageError("what to sign with was not named", next_step="give --sign-key, or --identity-token-file with its services")
            if sign_key and services[0]:
                raise UsageError("a key and a token were given, and one signs", next_step="leave one of them out")
            return function(*positional, key=key, **others)

        return functools.reduce(lambda inner, decorator: decorator(inner), reversed(decorators), packed)

    return decorate


def _identity(settings: Settings, token_file: str | None, fulcio: str | None, timestamps: str | None) -> Identity | None:
    if not any((token_file, fulcio, timestamps)):
        return None
    if not token_file or not fulcio or not timestamps:
        raise UsageError(
            "--identity-token-file, --fulcio and --timestamp-authority go together",
            next_step="give all three: a certificate of some minutes proves nothing later without a timestamp",
        )
    from topcoat.signing.identity import Identity

    return Identity.at(Path(token_file), fulcio, timestamps, ca_file=settings.ca_file, plain_http=settings.plain_http)


def _key(path: str | None, passphrase_file: str | None) -> SigningKey | None:
    if path is None:
        if passphrase_file:
            raise UsageError("--sign-passphrase-file is the passphrase of a key", next_step="name the key with --sign-key")
        return None
    from topcoat.signing.keys import SigningKey, read_passphrase

    given = os.environ.get(_PASSPHRASE)
    passphrase = read_passphrase(Path(passphrase_file)) if passphrase_file else given.encode() if given is not None else None
    return SigningKey.from_file(Path(path), passphrase)
