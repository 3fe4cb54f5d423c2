"""The packages of the two base images: Debian's own, converted, for the real one; busybox alone for the tiny one.

This module must never ask the package registry when its cache already holds what the lock file names.
"""

from __future__ import annotations

import hashlib
import json
import os
import shutil
from collections.abc import Iterable, Mapping
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from pathlib import Path

from topcoat.process.files import write_whole
from topcoat_demo import _header, convert, debian, filesystem, rpms, signing
from topcoat_demo import cache as caches
from topcoat_demo.convert import Rules
from topcoat_demo.debian import Deb
from topcoat_demo.rpms import symlink, words, write_rpm

PYTHON_ABI = f"python(abi) = {debian.python_version()}"

REAL = words("bash coreutils python3 rpm dnf passwd grep sed findutils gzip libc-bin hostname")
"""What the real base image is asked to hold; the rest follows."""

WITHOUT = words(
    "debconf debconf-2.0 cdebconf dpkg perl perl-base install-info adduser init-system-helpers lsb-base ucf sensible-utils libpam- "
    "runtime dbus systemd udev base-files gnupg gpg gpgsm gpgconf dirmngr pinentry-curses debugedit python3-distutils python3-lib2to3 "
    "media-types rpm2cpio sqlite3 libc-l10n mawk gcc-12-base readline-common"
)
"""Debian's own plumbing, and what only building or signing packages needs."""

RULES: Mapping[str, Rules] = {
    "libc6": Rules(requires=("filesystem",)),
    "bash": Rules(provides=("/bin/sh", "/bin/bash"), add=(symlink("/usr/bin/sh", "bash"),)),
    "python3": Rules(provides=(PYTHON_ABI, "/usr/bin/python3")),
    "dnf-data": Rules(drop=("/etc/dnf/dnf.conf",)),
    "dnf": Rules(provides=("yum",), add=(symlink("/usr/bin/yum", "dnf-3"),)),
    "passwd": Rules(rename="shadow-utils"),
    "coreutils": Rules(provides=("/bin/sleep",)),
    # Enterprise Linux has rpm's plugins in packages of their own, and not in its base image.
    "rpm-common": Rules(drop=tuple(f"/usr/lib/{machine}-linux-gnu/rpm-plugins/" for machine in ("x86_64", "aarch64"))),
}

_BUSYBOX_LINKS = words(
    "sh ash awk basename cat chmod chown cp cut date dirname echo env expr false find grep gzip head hostname id install kill ln ls "
    "md5sum mkdir mktemp mv od printf ps pwd readlink realpath rm rmdir sed seq sha256sum sleep sort stat tail tar tee test touch tr "
    "true uname uniq wc which whoami xargs"
)


@dataclass(frozen=True)
class Selection:
    """A resolved set of Debian packages: what the lock file says."""

    debs: tuple[Deb, ...]
    requires: tuple[tuple[str, ...], ...]
    """Requirements of the RPM, in the order of ``debs``."""


def _code_digest() -> str:
    """Changes whenever the conversion could come out differently."""
    digest = hashlib.sha256()
    for module in (_header, convert, debian, rpms, filesystem, signing):
        digest.update(Path(str(module.__file__)).read_bytes())
    digest.update(Path(__file__).read_bytes())
    return digest.hexdigest()


def resolve(roots: Iterable[str], without: Iterable[str]) -> Selection:
    """What apt's index gives for these roots today."""
    index = debian.Index.load()
    left_out = frozenset(without)
    chosen = index.closure(roots, left_out)
    debs = tuple(chosen.values())
    return Selection(debs, tuple(convert.requires_of(deb, lambda group: index.satisfy(group, chosen, left_out.__contains__)) for deb in debs))


def _load_lock(path: Path, key: str) -> Selection | None:
    try:
        document = json.loads(path.read_text())
    except (OSError, ValueError):
        return None
    if document.get("key") != key:
        return None
    return Selection(tuple(map(Deb.of_document, document["debs"])), tuple(tuple(item) for item in document["requires"]))


def _store_lock(path: Path, key: str, selection: Selection) -> None:
    debs = [deb.as_document() for deb in selection.debs]
    write_whole(path, json.dumps({"key": key, "debs": debs, "requires": selection.requires}, indent=1))


def converted(
    name: str,
    roots: Iterable[str],
    cache: Path,
    *,
    without: Iterable[str] = WITHOUT,
    rules: Mapping[str, Rules] = RULES,
) -> tuple[Path, ...]:
    """RPMs of Debian packages and all they need.

    :param name: of the lock file in the cache: the same name gives the same package versions again, without a registry.
    :returns: RPM files in the cache, sorted.
    :raises InfrastructureError: the registry is needed and cannot be reached.
    """
    roots, without = sorted(roots), sorted(without)
    key = hashlib.sha256(json.dumps([roots, without]).encode()).hexdigest()
    lock = cache / f"{name}.lock.json"
    selection = _load_lock(lock, key)
    if selection is None:
        selection = resolve(roots, without)
        _store_lock(lock, key, selection)
    code = _code_digest()
    todo: list[tuple[Deb, tuple[str, ...], Path]] = []
    folders: list[Path] = []
    for deb, requires in zip(selection.debs, selection.requires, strict=True):
        mark = hashlib.sha256(f"{code} {deb.sha256} {deb.version} {requires} {rules.get(deb.name)}".encode()).hexdigest()
        folders.append(cache / "rpms" / mark[:2] / mark)
    caches.use(cache, name, [*folders, *(cache / "debs" / deb.filename for deb in selection.debs)])
    for deb, requires, folder in zip(selection.debs, selection.requires, folders, strict=True):
        if not folder.is_dir():
            todo.append((deb, requires, folder))
    if todo:
        archives = debian.fetch([deb for deb, _, _ in todo], cache / "debs")
        # The largest first, so that two workers end together.
        todo.sort(key=lambda item: -archives[item[0]].stat().st_size)
        with ProcessPoolExecutor(max_workers=min(2, os.cpu_count() or 1)) as pool:
            for job in [pool.submit(_convert, deb, archives[deb], folder, requires, rules.get(deb.name, Rules())) for deb, requires, folder in todo]:
                job.result()
    return tuple(sorted(path for folder in folders for path in folder.glob("*.rpm")))


def _convert(deb: Deb, archive: Path, folder: Path, requires: tuple[str, ...], rules: Rules) -> None:
    """One package into a folder that appears only when it is complete."""
    partial = folder.with_name(f"{folder.name}.{os.getpid()}")
    spec = convert.specification(deb, archive, requires, rules)
    write_rpm(spec, partial, signer=signing.DEMO)
    try:
        partial.rename(folder)
    except OSError:
        # another process was faster; its folder is complete, because it was renamed too
        if not folder.is_dir():
            raise
        shutil.rmtree(partial)


def real(cache: Path) -> tuple[Path, ...]:
    """RPMs of the real base image."""
    return (_filesystem(cache), *converted("base", REAL, cache))


def tiny(cache: Path) -> tuple[Path, ...]:
    """RPMs of the tiny base image: filesystem and busybox (one static program, no libraries)."""
    links = tuple(symlink(f"/usr/bin/{name}", "busybox") for name in _BUSYBOX_LINKS)
    rule = Rules(
        rename="busybox",
        requires=("filesystem",),
        provides=("/bin/sh", "/bin/bash", "bash", "coreutils", "/bin/sleep", PYTHON_ABI),
        add=links,
    )
    return (_filesystem(cache), *converted("tiny", ["busybox-static"], cache, rules={"busybox-static": rule}))


def _filesystem(cache: Path) -> Path:
    return write_rpm(filesystem.filesystem(), cache / "rpms" / "own", signer=signing.DEMO)
