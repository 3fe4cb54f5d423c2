"""Debian packages as raw material: which ones a list of names needs, their files, and what the archives hold.

This module must never install anything on the host, and asks the package registry only for what is not in the cache.

Formats: deb(5) (an ar archive of control.tar and data.tar), deb-control(5) for the relations.
"""

from __future__ import annotations

import hashlib
import io
import re
import sys
import tarfile
import tempfile
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import asdict, dataclass
from functools import cached_property, cmp_to_key
from pathlib import Path
from typing import Any

from topcoat.errors import ContentError, InfrastructureError
from topcoat.process import run

_RELATION = re.compile(r"(?P<name>[a-z0-9][a-z0-9+.-]*)(?::\w+)?\s*(?:\((?P<operator><<|<=|=|>=|>>)\s*(?P<version>[^)\s]+)\s*\))?")
_BATCH = 40
_ATTEMPTS = 3
_APT = ("apt-get", "-q", "-o", "APT::Sandbox::User=root", "-o", "Acquire::Retries=3")


def python_version() -> str:
    """``major.minor`` of the Python that this release of Debian calls python3; where there is none, of the one that runs."""
    found = re.fullmatch(r"python(3\.\d+)", Path("/usr/bin/python3").resolve().name)
    return found[1] if found else "{}.{}".format(*sys.version_info)


@dataclass(frozen=True)
class Relation:
    """One alternative of a dependency: operator and version are empty where any version will do."""

    name: str
    operator: str = ""
    version: str = ""


@dataclass(frozen=True)
class Deb:
    """One binary package of the Debian archive, as its index describes it."""

    name: str
    version: str
    arch: str
    depends: tuple[tuple[Relation, ...], ...]
    provides: tuple[Relation, ...]
    sha256: str
    source: str
    summary: str
    size: int = 0
    """Of the archive in bytes, as the index says; 0 where it does not."""

    @property
    def filename(self) -> str:
        """As apt-get download names it (the colon of an epoch is quoted)."""
        return f"{self.name}_{self.version.replace(':', '%3a')}_{self.arch}.deb"

    def as_document(self) -> dict[str, Any]:
        """For a lock file; what it depends on is resolved there, and left out."""
        return {**asdict(self), "depends": []}

    @classmethod
    def of_document(cls, document: Mapping[str, Any]) -> Deb:
        """Back from a lock file."""
        provides = tuple(Relation(**item) for item in document["provides"])
        return cls(**{**document, "depends": (), "provides": provides})


def _relations(text: str) -> tuple[tuple[Relation, ...], ...]:
    groups = []
    for group in filter(None, (part.strip() for part in text.split(","))):
        matches = [match for match in (_RELATION.match(part.strip()) for part in group.split("|")) if match]
        groups.append(tuple(Relation(match["name"], match["operator"] or "", match["version"] or "") for match in matches))
    return tuple(groups)


def _every(text: str) -> dict[str, list[str]]:
    """Name -> stanzas of an index in their order."""
    found: dict[str, list[str]] = {}
    for stanza in text.split("\n\n"):
        if stanza.startswith("Package: "):
            found.setdefault(stanza[9 : stanza.index("\n")], []).append(stanza)
    return found


def _field(stanza: str, name: str) -> str:
    match = re.search(rf"^{name}: (.*)$", stanza, re.MULTILINE)
    return match[1] if match else ""


class Index:
    """One stanza a package: what apt would install today (its candidate), or one state of the archive."""

    def __init__(self, text: str = "", *, stanzas: Mapping[str, str] | None = None) -> None:
        self._stanzas = dict(stanzas) if stanzas is not None else {name: found[-1] for name, found in _every(text).items()}

    @classmethod
    def states(cls, order: Callable[[str, str], int]) -> tuple[Index, Index]:
        """Two states of the archive, from all versions that its suites hold: the newest version of each package, and before it the one that was the
        newest then. A package that never changed is the same in both.

        :param order: compares two Debian versions: negative, zero, positive.
        :raises InfrastructureError: apt is missing or the lists cannot be fetched.
        """
        text = _lists()
        if "Package: bash\n" not in text:
            run([*_APT, "update"], timeout=300, failure=InfrastructureError)
            text = _lists()
        earlier: dict[str, str] = {}
        later: dict[str, str] = {}
        for name, stanzas in _every(text).items():
            versions = {_field(stanza, "Version"): stanza for stanza in stanzas}
            ordered = sorted(versions, key=cmp_to_key(order))
            later[name] = versions[ordered[-1]]
            earlier[name] = versions[ordered[max(0, len(ordered) - 2)]]
        return cls(stanzas=earlier), cls(stanzas=later)

    def take(self, other: Index, name: str) -> None:
        """Replace a package by that of another state."""
        self._stanzas[name] = other._stanzas[name]

    @classmethod
    def load(cls) -> Index:
        """Read apt's lists; fetch them first when there are none.

        :raises InfrastructureError: apt is missing or the lists cannot be fetched.
        """
        index = cls(run(["apt-cache", "dumpavail"], timeout=120, failure=InfrastructureError).output)
        if "bash" not in index._stanzas or "python3-dnf" not in index._stanzas:
            run([*_APT, "update"], timeout=300, failure=InfrastructureError)
            index = cls(run(["apt-cache", "dumpavail"], timeout=120, failure=InfrastructureError).output)
        return index

    def __contains__(self, name: str) -> bool:
        return name in self._stanzas

    def get(self, name: str) -> Deb:
        """The package of this name; KeyError when there is none."""
        fields: dict[str, str] = {}
        for line in self._stanzas[name].split("\n"):
            key, colon, value = line.partition(": ")
            if colon and not line.startswith(" "):
                fields[key] = value
        depends = _relations(", ".join(filter(None, (fields.get("Pre-Depends"), fields.get("Depends")))))
        provides = tuple(group[0] for group in _relations(fields.get("Provides", "")))
        source = fields.get("Source", name).split(" ")[0]
        return Deb(
            name,
            fields["Version"],
            fields["Architecture"],
            depends,
            provides,
            fields.get("SHA256", ""),
            source,
            fields.get("Description", name),
            int(fields.get("Size", 0)),
        )

    @cached_property
    def _providers(self) -> dict[str, list[str]]:
        providers: dict[str, list[str]] = {}
        for name, stanza in self._stanzas.items():
            match = re.search(r"^Provides: (.*)$", stanza, re.MULTILINE)
            for group in _relations(match[1]) if match else ():
                providers.setdefault(group[0].name, []).append(name)
        return providers

    def satisfy(self, group: tuple[Relation, ...], chosen: Mapping[str, Deb], without: Callable[[str], bool]) -> Relation | None:
        """The alternative to take: one that is chosen already, else the first that exists, else the first provider; None when all are left out."""
        wanted = [relation for relation in group if not without(relation.name)]
        if len(wanted) < len(group):
            return None
        for relation in wanted:
            if relation.name in chosen or any(relation.name in (given.name for given in deb.provides) for deb in chosen.values()):
                return relation
        for relation in wanted:
            if relation.name in self._stanzas:
                return relation
        providers = [provider for relation in wanted for provider in sorted(self._providers.get(relation.name, ()))]
        for provider in providers:
            if not without(provider):
                return Relation(provider)
        if providers:
            return None
        raise ContentError(f"Debian has no package for {' | '.join(relation.name for relation in group)}")

    def closure(self, roots: Iterable[str], without: Iterable[str] = ()) -> dict[str, Deb]:
        """The roots and everything they need, by name, in a deterministic order.

        :param without: names that are never taken; a dependency that one of them could satisfy is dropped.
        """
        left_out = set(without)
        chosen: dict[str, Deb] = {}
        queue = sorted(roots)
        while queue:
            name = queue.pop(0)
            if name in chosen:
                continue
            if name not in self:
                raise ContentError(f"Debian has no package {name}", next_step="run apt-get update")
            chosen[name] = self.get(name)
            for group in chosen[name].depends:
                relation = self.satisfy(group, chosen, left_out.__contains__)
                if relation and relation.name in self and relation.name not in chosen:
                    queue.append(relation.name)
        return dict(sorted(chosen.items()))


def _lists() -> str:
    """Every stanza of every package index that apt has."""
    files = run(
        ["apt-get", "indextargets", "--format", "$(FILENAME)", "Created-By: Packages"], timeout=60, failure=InfrastructureError
    ).output.split()
    if not files:
        return ""
    return run(["/usr/lib/apt/apt-helper", "cat-file", *files], timeout=120, failure=InfrastructureError).output


def fetch(debs: Iterable[Deb], cache: Path, progress: Callable[[Deb], None] = lambda deb: None) -> dict[Deb, Path]:
    """Download what the cache lacks, some at a time; every file is verified as it comes, a batch that fails is asked for once more.

    :param progress: is told each package that is there.
    :raises InfrastructureError: the registry cannot be reached or gives other bytes than its index promised.
    """
    cache.mkdir(parents=True, exist_ok=True)
    wanted = list(debs)
    missing = []
    for deb in wanted:
        if (cache / deb.filename).exists():
            progress(deb)
        else:
            missing.append(deb)
    for start in range(0, len(missing), _BATCH):
        batch = missing[start : start + _BATCH]
        for attempt in range(_ATTEMPTS):
            try:
                _bring(batch, cache)
                break
            except InfrastructureError:
                if attempt + 1 == _ATTEMPTS:
                    raise
        for deb in batch:
            progress(deb)
    return {deb: cache / deb.filename for deb in wanted}


def _bring(batch: Iterable[Deb], cache: Path) -> None:
    """Into the cache under its name only when it is what the index promised."""
    with tempfile.TemporaryDirectory(dir=cache, prefix=".new-") as name:
        folder = Path(name)
        wanted = [deb for deb in batch if not (cache / deb.filename).exists()]
        if wanted:
            run([*_APT, "download", *(f"{deb.name}={deb.version}" for deb in wanted)], timeout=600, cwd=folder, failure=InfrastructureError)
        for deb in wanted:
            path = folder / deb.filename
            if not path.exists():
                raise InfrastructureError(f"apt did not bring {deb.filename}", next_step="run apt-get update and try again")
            if deb.sha256 and hashlib.sha256(path.read_bytes()).hexdigest() != deb.sha256:
                raise InfrastructureError(f"{deb.filename} is not what the index promised", next_step="run apt-get update and try again")
            path.rename(cache / deb.filename)


def members(path: Path) -> Iterator[tuple[str, bytes]]:
    """(name, content) of the ar members of a .deb."""
    data = path.read_bytes()
    if data[:8] != b"!<arch>\n":
        raise ContentError(f"{path.name} is not a Debian package")
    offset = 8
    while offset + 60 <= len(data):
        name = data[offset : offset + 16].decode().strip().rstrip("/")
        size = int(data[offset + 48 : offset + 58])
        yield name, data[offset + 60 : offset + 60 + size]
        offset += 60 + size + size % 2


def _part(path: Path, part: str) -> tarfile.TarFile:
    return next(tarfile.open(fileobj=io.BytesIO(data)) for name, data in members(path) if name.partition(".")[0] == part)


def control(path: Path) -> dict[str, str]:
    """The control files of a .deb (deb-control, conffiles, maintainer scripts, triggers) as text by name."""
    found: dict[str, str] = {}
    with _part(path, "control") as archive:
        for member in archive:
            stream = archive.extractfile(member) if member.isreg() else None
            if stream:
                found[member.name.removeprefix("./")] = stream.read().decode("utf-8", "replace")
    return found


def unpack(path: Path) -> tuple[tarfile.TarFile, dict[str, str]]:
    """The data archive of a .deb, open for reading, and its control files by name."""
    return _part(path, "data"), control(path)


def conffiles(files: Mapping[str, str]) -> frozenset[str]:
    """Absolute paths of a package's configuration files (deb-conffiles(5)), from its control files."""
    return frozenset(line.strip() for line in files.get("conffiles", "").split("\n") if line.startswith("/"))
