"""What rpm leaves out of a package: documentation, other languages, and directories that hold nothing else.

This module must never be asked about what another package decides; it knows one header and the settings.

The rules are those of rpm 4.18 to 4.20 (lib/transaction.c, ``skipInstallFiles``). rpm notes what it left out only while it writes files, so whoever
changes the package database alone has to note it himself (``Package.states_at``).
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass

from topcoat.synthesis.package import DOC, Package, is_kind
from topcoat.synthesis.refusal import Refusal

_MACRO = re.compile(r"%(\w+)\s+(\S.*)")
_FILES = re.compile(r"usr/lib/rpm/macros\.d/macros[^/]*|etc/rpm/macros[^/]*")
_ALL = "all"


@dataclass(frozen=True)
class Filters:
    """``languages``: those that are wanted, empty: all."""

    nodocs: bool = False
    languages: tuple[str, ...] = ()

    def left_out(self, package: Package) -> frozenset[int]:
        """Numbers of the files, in the header's own order, that rpm does not install."""
        skipped: set[int] = set()
        left: Counter[str] = Counter()
        emptied: set[str] = set()
        for number, file in enumerate(package.files):
            folder = file.path.rpartition("/")[0]
            left[folder] += 1
            if self._unwanted_language(file.language) or (self.nodocs and file.flags & DOC):
                left[folder] -= 1
                emptied.add(folder)
                skipped.add(number)
        directories = {file.path: number for number, file in enumerate(package.files) if is_kind(file.mode) == "d"}
        for folder in reversed(package.folders()):  # what lies deeper first, as the header sorts them
            number = directories.get(folder, -1)
            if left[folder] or folder not in emptied or number in skipped or number < 0:
                continue
            skipped.add(number)
            above = folder.rpartition("/")[0]
            left[above] -= 1
            emptied.add(above)
        return frozenset(skipped)

    def _unwanted_language(self, languages: str) -> bool:
        return bool(self.languages and languages) and not any(
            wanted.startswith(one) for wanted in self.languages for one in languages.split("|") if one
        )


def read_filters(contents: Mapping[str, bytes], *, nodocs: bool) -> Filters:
    """The filters that an image's own macro files ask for.

    :param contents: path without leading slash → text, of the image's regular files.
    :param nodocs: what is left out of every image.
    :raises Refusal: a file asks for what depends on more than one package.
    """
    found: dict[str, str] = {}
    # The order in which the transaction's settings are put together: the last one counts.
    for path in sorted(filter(_FILES.fullmatch, contents), key=lambda path: (path.startswith("etc/"), path)):
        for line in contents[path].decode("utf-8", "replace").splitlines():
            match = _MACRO.match(line)
            if match and "%" not in match.group(2):
                found[match.group(1)] = match.group(2).strip()
    if found.get("_netsharedpath"):
        raise Refusal("the image leaves shared folders out (%_netsharedpath)")
    languages = tuple(filter(None, found.get("_install_langs", _ALL).split(":")))
    return Filters(nodocs or _is_true(found.get("_excludedocs", "")), () if _ALL in languages else languages)


def _is_true(text: str) -> bool:
    """rpmExpandNumeric(3) of a plain value."""
    number = re.match(r"\s*[-+]?\d+", text)
    return text[:1] in ("Y", "y") or bool(number and int(number.group()))
