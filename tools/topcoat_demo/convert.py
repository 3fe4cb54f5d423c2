"""Debian packages into RPMs that install, verify and run as RPMs.

This module must never carry a maintainer script over: what one did for a base system is done by the ``filesystem`` package or by extra files.

Rules: epoch, version and revision are kept; of alternatives the first that exists is required; paths are rewritten to the merged /usr; conffiles
become ``%config(noreplace)``; documentation, manuals and locales are dropped; Python modules get compiled files that do not depend on times.
"""

from __future__ import annotations

import builtins
import importlib.util
import marshal
import re
import stat
import sys
import tarfile
import warnings
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path

from topcoat_demo import filesystem
from topcoat_demo.debian import Deb, Relation, unpack
from topcoat_demo.rpms import File, RpmSpec, symlink

_DROPPED = (
    "/usr/share/doc/",
    "/usr/share/man/",
    "/usr/share/info/",
    "/usr/share/locale/",
    "/usr/share/lintian/",
    "/usr/share/bug/",
    "/usr/share/doc-base/",
    "/usr/share/bash-completion/",
    "/usr/share/zsh/",
    "/usr/share/apport/",
    "/usr/share/menu/",
    "/usr/share/pixmaps/",
    "/etc/init.d/",
    "/etc/cron.daily/",
    "/usr/lib/systemd/",
    "/usr/lib/tmpfiles.d/",
    "/usr/share/gdb/",
    "/usr/lib/x86_64-linux-gnu/gconv/",
    "/usr/share/perl5/Debian/",
)
_MERGED = ("bin", "sbin", "lib", "lib64", "lib32", "libx32")
_OPERATORS = {"<<": "<", ">>": ">", "<=": "<=", ">=": ">=", "=": "="}
_ARCH = {"all": "noarch", "amd64": "x86_64", "arm64": "aarch64"}
_PYTHON = "/usr/lib/python3"
_TESTS = re.compile(r"/usr/lib/python3/dist-packages/[^/]+/(tests?|unit|functional)/")


@dataclass(frozen=True)
class Rules:
    """What one package gets beyond the general rules."""

    rename: str | None = None
    """Name of the RPM; the Debian name stays as a provide."""
    provides: tuple[str, ...] = ()
    requires: tuple[str, ...] = ()
    add: tuple[File, ...] = ()
    drop: tuple[str, ...] = ()
    """Path prefixes that are left out as well."""
    own: tuple[tuple[str, str], ...] = ()
    """(path, user): this path and all below it belong to the user and the group of the same name."""
    edit: tuple[tuple[str, str, str], ...] = ()
    """(path, old text, new text) in text files."""
    pre: str | None = None
    post: str | None = None


_OWNED = frozenset(item.path for item in filesystem.filesystem().files)
"""What the package ``filesystem`` holds, directories included: no converted package brings it again."""


def evr(version: str) -> tuple[int, str, str]:
    """Epoch, version and release of a Debian version; a native package gets the release 0."""
    epoch, colon, rest = version.rpartition(":")
    upstream, dash, revision = rest.rpartition("-")
    return int(epoch) if colon else 0, (upstream if dash else rest).replace("-", "."), (revision if dash else "0")


def _evr_text(version: str, *, release: bool = True) -> str:
    epoch, upstream, revision = evr(version)
    tail = f"-{revision}" if release and "-" in version else ""
    return f"{epoch}:{upstream}{tail}" if epoch else f"{upstream}{tail}"


def _dependency(relation: Relation) -> str:
    if not relation.operator:
        return relation.name
    # RPM ignores the release where one side has none, so "later than 2.36" would refuse 2.36-9, which Debian accepts.
    operator = ">=" if relation.operator == ">>" and "-" not in relation.version else _OPERATORS[relation.operator]
    return f"{relation.name} {operator} {_evr_text(relation.version)}"


def merged(path: str) -> str:
    """Absolute path with /bin, /sbin, /lib* moved below /usr."""
    clean = "/" + path.removeprefix("./").strip("/")
    first = clean.split("/")[1]
    return f"/usr{clean}" if first in _MERGED else clean


def _compiled(path: str, source: bytes) -> File | None:
    """The ``__pycache__`` file of a module, checked by nothing at run time (PEP 552, unchecked hash): no time is in it."""
    if not path.startswith(_PYTHON) or not path.endswith(".py"):
        return None
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            code = builtins.compile(source, path, "exec", dont_inherit=True, optimize=0)
    except (SyntaxError, ValueError):
        return None
    # PEP 552: flags 1 is a hash-based file that is not checked. Format 2 of marshal has no back references; later ones depend on what
    # else the process holds.
    content = importlib.util.MAGIC_NUMBER + (1).to_bytes(4, "little") + importlib.util.source_hash(source) + marshal.dumps(code, 2)
    folder, _, name = path.rpartition("/")
    return File(f"{folder}/__pycache__/{name.removesuffix('.py')}.{sys.implementation.cache_tag}.pyc", content)


def _files(data: tarfile.TarFile, conffiles: frozenset[str], drop: tuple[str, ...]) -> dict[str, File]:
    files: dict[str, File] = {}
    links: dict[str, str] = {}
    for member in data:
        path = merged(member.name)
        if path == "/" or (path + "/").startswith(drop) or _TESTS.match(path + "/"):
            continue
        owner = {"user": "root", "group": "root"}
        mode = stat.S_IMODE(member.mode)
        if member.isdir():
            if path.count("/") > 1 and path.rsplit("/", 1)[0] not in ("", "/usr", "/var"):
                files[path] = File(path, mode=mode, kind="directory", **owner)
        elif member.issym():
            files[path] = symlink(path, _link_target(path, member))
        elif member.islnk():
            links[path] = merged(member.linkname)
        elif member.isreg():
            stream = data.extractfile(member)
            content = stream.read() if stream else b""
            is_config = "/" + member.name.removeprefix("./") in conffiles
            files[path] = File(path, content, mode, config=is_config, noreplace=is_config, **owner)
            compiled = _compiled(path, content)
            if compiled:
                files[compiled.path] = compiled
    for path, target in links.items():
        if target in files:
            origin = files[target]
            files[target] = File(target, origin.content, origin.mode, hardlink=target)
            files[path] = File(path, origin.content, origin.mode, hardlink=target)
    return files


def _link_target(path: str, member: tarfile.TarInfo) -> str:
    """Relative targets keep their meaning only where the link's own depth did not change."""
    target = member.linkname
    if target.startswith("/"):
        return merged(target)
    original = "/" + member.name.removeprefix("./").strip("/")
    if original == path or not target.startswith("../"):
        return target
    parts = original.split("/")[1:-1]
    for piece in target.split("/"):
        parts = parts[:-1] if piece == ".." else parts + [piece]
    return merged("/".join(parts))


def requires_of(deb: Deb, satisfy: Callable[[tuple[Relation, ...]], Relation | None]) -> tuple[str, ...]:
    """The requirements of the RPM: for each dependency the alternative that ``satisfy`` chose, none where it left all out."""
    return tuple(_dependency(relation) for relation in map(satisfy, deb.depends) if relation)


def specification(deb: Deb, archive: Path, requires: tuple[str, ...], rules: Rules) -> RpmSpec:
    """What the RPM of one Debian package holds."""
    data, conffiles = unpack(archive)
    with data:
        files = _files(data, conffiles, _DROPPED + rules.drop)
    # Which package of Debian brings /etc/login.defs, say, differs from release to release; here one package owns each of these.
    files = {path: item for path, item in files.items() if path not in _OWNED}
    for extra in rules.add:
        files[extra.path] = extra
    for path, old, new in rules.edit:
        files[path] = replace(files[path], content=_text(files[path]).replace(old, new))
    for path, user in rules.own:
        for name in [name for name in files if f"{name}/".startswith(f"{path}/")]:
            files[name] = replace(files[name], user=user, group=user)
    epoch, version, release = evr(deb.version)
    provides = [_dependency(relation) for relation in deb.provides]
    if rules.rename:
        provides.append(f"{deb.name} = {f'{epoch}:' if epoch else ''}{version}-{release}")
    return RpmSpec(
        rules.rename or deb.name,
        version,
        release,
        epoch=epoch,
        arch=_ARCH[deb.arch],
        files=tuple(files[path] for path in sorted(files)),
        requires=tuple(dict.fromkeys([*requires, *rules.requires])),
        provides=tuple(dict.fromkeys([*provides, *rules.provides])),
        source=f"{deb.source}-{version}-{release}.src.rpm",
        summary=deb.summary,
        license="See the package's upstream",
        vendor="Converted from Debian",
        pre=rules.pre,
        post=rules.post,
    )


def _text(item: File) -> str:
    return item.content.decode() if isinstance(item.content, bytes) else str(item.content)
