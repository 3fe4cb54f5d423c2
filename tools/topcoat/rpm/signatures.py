"""Whether packages carry the signatures that their repository's policy asks for: keys, a private keyring, and what rpm says about each file.

This module must never let this host's rpm configuration or keyring decide: keys and level are its own, and anything unclear is a refusal.

rpm's own ``rpmkeys`` does the arithmetic (rpmkeys(8)), on a database that holds nothing but the keys of one policy.
"""

from __future__ import annotations

import hashlib
import os
import re
import tempfile
import threading
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from topcoat.errors import ContentError, InfrastructureError
from topcoat.model.moments import day
from topcoat.model.profile import SignaturePolicy
from topcoat.process import run
from topcoat.rpm import header, openpgp
from topcoat.rpm.header import Damaged, PackageSignature

_BATCH = 200
_START_SECONDS = 60.0
_SLOWEST_BYTES_PER_SECOND = 2_000_000
_LINE = re.compile(r"^\s+(?P<what>\S.*?): (?P<status>OK|NOKEY|NOTTRUSTED|NOTFOUND|BAD|UNKNOWN)\b(?P<why>.*)$")
_ID = re.compile(r"key (?:ID|fingerprint:?) *([0-9a-f]{8,64})", re.IGNORECASE)
_PAYLOAD_DIGEST = re.compile(r"Payload \S+( ALT)? digest")


@dataclass(frozen=True)
class KeyFile:
    """One key file of a policy: where it came from (shown in errors), its content, and the keys in it."""

    source: str
    content: bytes
    keys: tuple[openpgp.PackageKey, ...]


def read_key_file(source: str, content: bytes, *, owner: str) -> KeyFile:
    """Check a key file as far as that needs no arithmetic.

    :param owner: for errors: whose key it is, as in ``repository base``.
    :raises ContentError: it is damaged, no public key, of an algorithm that nobody knows, or revoked.
    """
    try:
        keys = openpgp.public_keys(content)
    except ValueError as error:
        raise ContentError(f"{owner}: the key file {source} cannot be used: {error}", next_step="put the right file there") from error
    for key in keys:
        if not key.algorithm_name:
            raise ContentError(
                f"{owner}: key {key} in {source} is of an unknown type (OpenPGP algorithm {key.algorithm})",
                next_step="use a key that this program and rpm know, or remove it from the file",
            )
        if key.revoked:
            raise ContentError(f"{owner}: key {key} in {source} is revoked", next_step="ask the repository's owner for the key that replaces it")
    return KeyFile(source, content, keys)


@dataclass(frozen=True)
class SignatureVerdict:
    """What a package's signatures are worth under one set of keys.

    ``problem`` is a sentence where it must not be used whatever the policy accepts; ``signed_by`` names the keys whose signature holds and covers
    the whole package; ``unknown`` the keys that signed but are not known.
    """

    signed_by: tuple[str, ...] = ()
    unknown: tuple[str, ...] = ()
    problem: str = ""


class Keyring:
    """The keys of one policy in a private rpm database, made when first asked. Safe for several threads."""

    def __init__(self, files: Sequence[KeyFile], *, owner: str) -> None:
        self.keys: Mapping[str, openpgp.PackageKey] = {key_id: key for file in files for key in file.keys for key_id in key.ids}
        self.files = tuple(files)
        self._owner = owner
        self._lock = threading.Lock()
        self._folder: tempfile.TemporaryDirectory[str] | None = None

    @property
    def identity(self) -> str:
        """sha256 over the key files, hexadecimal."""
        digest = hashlib.sha256()
        for file in self.files:
            digest.update(hashlib.sha256(file.content).digest())
        return digest.hexdigest()

    def check(self, packages: Sequence[Path]) -> list[SignatureVerdict]:
        """One verdict a package file, in order.

        :raises InfrastructureError: rpmkeys is missing or fails. :raises ContentError: rpm cannot use a key.
        """
        verdicts: list[SignatureVerdict] = []
        for start in range(0, len(packages), _BATCH):
            verdicts += self._check(packages[start : start + _BATCH])
        return verdicts

    def check_headers(self, headers: Sequence[header.StoredHeader]) -> list[SignatureVerdict]:
        """One verdict an installed package, in order. Only what is signed over the header can be checked: the payload is gone.

        :raises InfrastructureError: rpmkeys is missing or fails. :raises ContentError: rpm cannot use a key.
        """
        verdicts: list[SignatureVerdict] = []
        for start in range(0, len(headers), _BATCH):
            batch = headers[start : start + _BATCH]
            with tempfile.TemporaryDirectory(prefix="topcoat-headers-") as folder:
                paths = [Path(folder) / str(number) for number, entry in enumerate(batch) if entry.pseudo]
                for path in paths:
                    path.write_bytes(batch[int(path.name)].pseudo or b"")
                lines = self._ask(paths)
                for number, entry in enumerate(batch):
                    said = lines.get(str(Path(folder) / str(number)), [])
                    verdicts.append(self._judge_header(entry, [line for line in said if line["what"].startswith("Header ")]))
        return verdicts

    def detached_problem(self, data: bytes, signature: bytes) -> str:
        """Why a detached signature of some bytes does not count; empty when one of the keys made it. gpgv(1) does the arithmetic.

        :raises InfrastructureError: gpgv is missing.
        """
        with tempfile.TemporaryDirectory(prefix="topcoat-detached-") as folder:
            home = Path(folder)
            (home / "keys").write_bytes(b"".join(key.packets for file in self.files for key in file.keys))
            (home / "data").write_bytes(data)
            (home / "data.asc").write_bytes(signature)
            words: list[str | Path] = ["gpgv", "--homedir", home, "--keyring", home / "keys", "--status-fd", "1", home / "data.asc", home / "data"]
            done = run(words, timeout=_START_SECONDS, env=_ENVIRONMENT, check=False)
        said = [line.split()[1:] for line in done.output.splitlines() if line.startswith("[GNUPG:] ")]
        kinds = {words[0]: words[1:] for words in said if words}
        if done.code == 0 and "GOODSIG" in kinds and not kinds.keys() & {"BADSIG", "ERRSIG", "EXPKEYSIG", "REVKEYSIG", "EXPSIG"}:
            return ""
        for kind, sentence in _DETACHED.items():
            if kind in kinds:
                return f"{sentence} (key {kinds[kind][0].lower()})"
        return "it is no OpenPGP signature"

    def close(self) -> None:
        """Remove the database."""
        with self._lock:
            if self._folder:
                self._folder.cleanup()
                self._folder = None

    def _check(self, packages: Sequence[Path]) -> list[SignatureVerdict]:
        with tempfile.TemporaryDirectory(prefix="topcoat-packages-") as folder:
            found: list[SignatureVerdict | None] = []
            signatures: list[tuple[PackageSignature, ...]] = []
            links = []
            # Under names of ours: those of a repository could hold anything, and rpmkeys prints them.
            for number, package in enumerate(packages):
                try:
                    signatures.append(header.signatures_of_file(package))
                except Damaged as error:
                    signatures.append(())
                    found.append(SignatureVerdict(problem=f"is damaged: {error}"))
                    continue
                found.append(None)
                link = Path(folder) / str(number)
                link.symlink_to(package.absolute())
                links.append(link)
            lines = self._ask(links)
            return [
                verdict or self._judge(signatures[number], lines.get(str(Path(folder) / str(number)), [])) for number, verdict in enumerate(found)
            ]

    def _judge(self, signatures: Sequence[PackageSignature], lines: Sequence[Mapping[str, str]]) -> SignatureVerdict:
        if not lines:
            return SignatureVerdict(problem="is damaged: rpm cannot read it")
        for line in lines:
            if line["status"] == "BAD" and "digest" in line["what"]:
                return SignatureVerdict(problem=f"was changed after it was made: its {line['what']} is wrong")
        whole = any(line["status"] == "OK" and _PAYLOAD_DIGEST.match(line["what"]) for line in lines)
        signed_by: list[str] = []
        header_only: list[str] = []
        unchecked: list[str] = []
        unknown = [entry.signature.key_id or "(unnamed)" for entry in signatures if entry.signature.key_id not in self.keys]
        for entry in signatures:
            key = self.keys.get(entry.signature.key_id)
            if key is None:
                continue
            problem = self._problem(entry, key, lines)
            if problem == _UNCHECKED.format(entry.signature.key_id):
                unchecked.append(problem)  # a further signature that this rpm does not even look at; one that it can check may do
                continue
            if problem:
                return SignatureVerdict(problem=problem)
            (signed_by if whole or entry.covers == "payload" else header_only).append(entry.signature.key_id)
        if unchecked and not signed_by:
            return SignatureVerdict(problem=unchecked[0])
        if header_only and not signed_by:
            return SignatureVerdict(problem=f"is signed by key {header_only[0]} over its header only, and that names no digest of what it installs")
        return SignatureVerdict(tuple(dict.fromkeys(signed_by)), tuple(dict.fromkeys(unknown)))

    def _judge_header(self, entry: header.StoredHeader, lines: Sequence[Mapping[str, str]]) -> SignatureVerdict:
        for line in lines:
            if line["status"] == "BAD" and "digest" in line["what"]:
                return SignatureVerdict(problem="was changed in the package database: its header digest is wrong")
        signed_by: list[str] = []
        unknown: list[str] = []
        for signed in entry.signatures:
            key = self.keys.get(signed.signature.key_id)
            if key is None:
                unknown.append(signed.signature.key_id or "(unnamed)")
            elif signed.covers == "header":
                problem = self._problem(signed, key, lines)
                if problem:
                    return SignatureVerdict(problem=problem)
                signed_by.append(signed.signature.key_id)
        if not signed_by and not unknown and entry.signatures:
            name = entry.signatures[0].signature.key_id
            return SignatureVerdict(problem=f"is signed by key {name} over header and payload only, which cannot be checked once it is installed")
        return SignatureVerdict(tuple(dict.fromkeys(signed_by)), tuple(dict.fromkeys(unknown)))

    @staticmethod
    def _problem(entry: PackageSignature, key: openpgp.PackageKey, lines: Sequence[Mapping[str, str]]) -> str:
        """Why a signature that says it is by a known key does not count; empty when it holds."""
        made = entry.signature
        # Before rpm is asked: some versions of it refuse such a signature without saying why, others do not look.
        if made.key_id in key.revoked_subkeys:
            return f"is signed by key {made.key_id}, which is revoked"
        expiry = key.expiry(made.key_id)
        if expiry and made.created > expiry:
            return f"was signed on {day(made.created)} by key {made.key_id}, which expired on {day(expiry)}"
        own = []
        for line in lines:
            if "ignature" in line["what"] and line["what"].startswith("Header ") == (entry.covers == "header"):
                named = _ID.search(line["what"])
                # short and long ids, and fingerprints, whose end (version 4) or beginning (version 6) is the id
                shown = named[1].lower() if named else made.key_id
                if made.key_id.endswith(shown) or shown.endswith(made.key_id) or shown.startswith(made.key_id):
                    own.append(line)
        if not own:
            return _UNCHECKED.format(made.key_id)
        if not any(line["status"] == "OK" for line in own):
            said = next((f"{line['status']}{line['why']}" for line in own if line["status"] != "NOTFOUND"), "nothing")
            return f"was changed after key {made.key_id} signed it, or that signature is no good (rpm says {said})"
        return ""

    def _database(self) -> str:
        with self._lock:
            if self._folder is None:
                folder = tempfile.TemporaryDirectory(prefix="topcoat-keyring-")
                try:
                    self._import(folder.name)
                except BaseException:
                    folder.cleanup()
                    raise
                self._folder = folder
            return self._folder.name

    def _import(self, folder: str) -> None:
        place = Path(folder) / "keys"
        place.mkdir()
        (Path(folder) / "db").mkdir()
        for source, key in ((file.source, key) for file in self.files for key in file.keys):
            path = place / f"{key.key_id}.asc"
            path.write_text(key.armored())
            done = run([*_command(folder), "--import", path], timeout=_START_SECONDS, env=_ENVIRONMENT, check=False)
            if done.code:
                said = "; ".join(line.strip().replace(f"{path}: ", "").removeprefix("error: ") for line in done.errors.splitlines() if line.strip())
                raise ContentError(
                    f"{self._owner}: this host's rpm cannot use key {key} ({key.algorithm_name}) of {source}: {said or f'exit code {done.code}'}",
                    next_step="take it out of the file if other keys do, or run on a node whose rpm knows such keys",
                )

    def _ask(self, paths: Sequence[Path]) -> dict[str, list[dict[str, str]]]:
        """Path → what rpmkeys says of it, line by line."""
        if not paths:
            return {}
        size = sum(path.stat().st_size for path in paths)
        done = run(
            [*_command(self._database()), "--checksig", "--verbose", *paths],
            timeout=_START_SECONDS + size / _SLOWEST_BYTES_PER_SECOND,
            env=_ENVIRONMENT,
            check=False,  # it is not this host that says which signatures are needed
        )
        found: dict[str, list[dict[str, str]]] = {}
        names = {f"{path}:": str(path) for path in paths}
        current: list[dict[str, str]] | None = None
        for line in done.output.splitlines():
            if line in names:
                current = found.setdefault(names[line], [])
            elif current is not None and (match := _LINE.match(line)):
                current.append({"what": match["what"], "status": match["status"], "why": match["why"].rstrip()})
        if not found:
            raise InfrastructureError(f"rpmkeys says nothing (code {done.code}): {done.errors}", next_step="check the rpm installation")
        return found


_UNCHECKED = "is signed by key {} in a way that this host's rpm cannot check"
_DETACHED = {
    "BADSIG": "the signature does not fit: one of both was changed",
    "EXPKEYSIG": "the key that signed it has expired",
    "REVKEYSIG": "the key that signed it is revoked",
    "EXPSIG": "the signature has expired",
    "NO_PUBKEY": "it is signed by an unknown key",
    "ERRSIG": "the signature cannot be checked",
}

_ENVIRONMENT = {"HOME": "/nonexistent", "PATH": os.environ.get("PATH", os.defpath), "LC_ALL": "C"}


def _command(folder: str) -> list[str]:
    # What a host's macros may say about keyrings, levels and flags is said here, so that it does not count.
    settings = {"_dbpath": f"{folder}/db", "_db_backend": "sqlite", "_keyring": "rpmdb", "_pkgverify_level": "digest", "_pkgverify_flags": "0x0"}
    return ["rpmkeys", *(word for name, value in settings.items() for word in ("--define", f"{name} {value}"))]


def require(policy: SignaturePolicy, keyring: Keyring, owner: str, packages: Sequence[tuple[str, Path]]) -> list[SignatureVerdict]:
    """Refuse packages that a policy does not accept.

    :param owner: for errors, as in ``repository base``. :param packages: (name to show, file).
    :returns: one verdict a package.
    :raises ContentError: a package is not as the policy wants it; names the first ones.
    """
    if policy.signed == "never":
        return [SignatureVerdict() for _ in packages]
    verdicts = keyring.check([path for _, path in packages])
    refusals = [refusal(policy, keyring.keys.values(), verdict) for verdict in verdicts]
    problems = [(name, found) for (name, _), found in zip(packages, refusals, strict=True) if found]
    if problems:
        name, (what, step) = problems[0]
        more = f" (and {len(problems) - 1} more packages)" if len(problems) > 1 else ""
        raise ContentError(f"{owner}: {name} {what}{more}", next_step=step)
    return verdicts


def refusal(policy: SignaturePolicy, keys: Iterable[openpgp.PackageKey], verdict: SignatureVerdict) -> tuple[str, str] | None:
    """(what is wrong, next step) where a policy does not accept a verdict."""
    if verdict.problem:
        return verdict.problem, "take the package from its owner again; do not use this one"
    if policy.signed != "required" or verdict.signed_by:
        return None
    known = ", ".join(dict.fromkeys(str(key) for key in keys)) or "none"
    if verdict.unknown:
        what = f"is signed by the unknown key {' and '.join(verdict.unknown)}; known: {known}"
        return what, "if the key is the repository's, add its file to 'keys' in the profile"
    return "is not signed, and the profile requires it", "have it signed, or write 'signed: optional' for this repository in the profile"
