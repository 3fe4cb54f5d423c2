"""Licences in a packager's words as expressions of SPDX, where they are that.

This module must never guess: words that can mean several licences, like BSD, have no expression.
"""

from __future__ import annotations

import functools
import re

from packaging.licenses import InvalidLicenseExpression, canonicalize_license_expression

_OLD_NAMES = {
    "ASL 1.1": "Apache-1.1",
    "ASL 2.0": "Apache-2.0",
    "AGPLv3": "AGPL-3.0-only",
    "AGPLv3+": "AGPL-3.0-or-later",
    "Artistic 2.0": "Artistic-2.0",
    "Boost": "BSL-1.0",
    "CC0": "CC0-1.0",
    "GPLv2": "GPL-2.0-only",
    "GPLv2+": "GPL-2.0-or-later",
    "GPLv3": "GPL-3.0-only",
    "GPLv3+": "GPL-3.0-or-later",
    "LGPLv3": "LGPL-3.0-only",
    "LGPLv3+": "LGPL-3.0-or-later",
    "MPLv1.1": "MPL-1.1",
    "MPLv2.0": "MPL-2.0",
    "OpenSSL": "OpenSSL",
}
"""Names of Fedora and Enterprise Linux up to 9 that mean one licence (Fedora's table of legacy abbreviations); most others mean several."""
_TOKENS = re.compile(r"\s*(\(|\)|\b(?:and|or|AND|OR)\b)\s*")


@functools.lru_cache(maxsize=1 << 14)
def expression(words: str) -> str:
    """The expression (SPDX 2.3, annex D) that a package's ``License`` is, in the list's own spelling; empty where it is none."""
    for text in (words, _translated(words)):
        try:
            return str(canonicalize_license_expression(text))
        except InvalidLicenseExpression:
            continue
    return ""


def _translated(words: str) -> str:
    parts = [part for part in _TOKENS.split(words) if part]
    return " ".join(_OLD_NAMES.get(part, part.upper() if part in ("and", "or") else part) for part in parts)
