"""Debian packages into RPMs that install, verify and run as RPMs.

This module must never carry a maintainer script over as it is: what one did for a base system is done by the ``filesystem`` package or by extra
files; whole packages get what ``scripts`` understands of them.

Rules: epoch, version and revision are kept; of alternatives the first that exists is required; paths are rewritten to the merged /usr; conffiles
become ``%config(noreplace)``; Python modules get compiled files that do not depend on times. A small package has no documentation, manuals, locales,
units and scriptlets; a whole one has all that an RPM of the field has.
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
from collections.abc import Callable, Collection
from dataclasses import dataclass, replace
from pathlib import Path

from topcoat_demo import filesystem
from topcoat_demo.debian import Deb, Relation, conffiles, unpack
from topcoat_demo.rpms import File, RpmSpec, Trigger, symlink
from topcoat_demo.scripts import Translation, translate

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
_NEVER = ("/usr/share/lintian/", "/usr/share/bug/", "/usr/share/doc-base/", "/usr/share/menu/", "/usr/share/debhelper/", "/etc/init.d/", "/etc/rc")
"""Of whole packages: what only Debian's own tools read."""
_DOCUMENTS = ("/usr/share/doc/", "/usr/share/man/", "/usr/share/info/")
_LANGUAGE = re.compile(r"/usr/share/(?:locale|man)/([a-z]{2,3}(?:_[A-Z]{2})?)(?:[.@][\w@.-]+)?/")
_SHARED = re.compile(r"/usr/share/(?:doc|man|info|locale)(?:/.*)?")
"""Directories below these belong to nobody."""
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
    keep: tuple[str, ...] = ()
    """Path prefixes; with any, everything else is left out."""
    triggers: tuple[Trigger, ...] = ()


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
    if relation.operator == "<<" and relation.version.endswith("-."):
        # Debian's way to say "any revision of this version", as a dot sorts after all of them.
        return f"{relation.name} <= {_evr_text(relation.version.removesuffix('-.'))}"
    return f"{relation.name} {operator} {_evr_text(relation.version)}"


def merged(path: str) -> str:
    """Absolute path with /bin, /sbin, /lib* moved below /usr."""
    clean = "/" + path.removeprefix("./").strip("/")
    if clean.startswith(("/var/run/", "/var/lock/")):
        clean = clean.replace("/var/run/", "/run/", 1).replace("/var/lock/", "/run/lock/", 1)
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


def _files(data: tarfile.TarFile, configuration: frozenset[str], drop: tuple[str, ...], *, whole: bool = False) -> dict[str, File]:
    files: dict[str, File] = {}
    links: dict[str, str] = {}
    for member in data:
        path = merged(member.name)
        if path == "/" or (path + "/").startswith(drop) or (not whole and _TESTS.match(path + "/")):
            continue
        owner = {"user": member.uname or "root", "group": member.gname or "root"} if whole else {"user": "root", "group": "root"}
        mode = stat.S_IMODE(member.mode)
        if member.isdir():
            if whole and _SHARED.fullmatch(path):
                continue
            if path.count("/") > 1 and path.rsplit("/", 1)[0] not in ("", "/usr", "/var"):
                files[path] = File(path, mode=mode, kind="directory", **owner)
        elif member.issym():
            files[path] = replace(symlink(path, _link_target(path, member)), doc=whole and path.startswith(_DOCUMENTS))
        elif member.islnk():
            links[path] = merged(member.linkname)
        elif member.isreg():
            stream = data.extractfile(member)
            content = stream.read() if stream else b""
            is_config = "/" + member.name.removeprefix("./") in configuration
            more: dict[str, object] = {"config": is_config, "noreplace": is_config}
            language = _LANGUAGE.match(path)
            if whole:
                more |= {"doc": path.startswith(_DOCUMENTS), "language": language[1] if language else None}
            files[path] = File(path, content, mode, **more, **owner)  # type: ignore[arg-type]
            compiled = _compiled(path, content)
            if compiled:
                files[compiled.path] = compiled
    for path, target in links.items():
        if target in files:
            origin = files[target]
            files[target] = replace(origin, hardlink=target)
            files[path] = replace(origin, path=path, hardlink=target)
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
    """What the RPM of one Debian package holds, as a small package."""
    return convert(deb, archive, requires, rules)[0]


def convert(
    deb: Deb, archive: Path, requires: tuple[str, ...], rules: Rules, *, whole: bool = False, elsewhere: Collection[str] = ()
) -> tuple[RpmSpec, Translation]:
    """What the RPM of one Debian package holds, and what became of its maintainer scripts.

    :param elsewhere: directories that another package owns: every archive of Debian holds all directories on the way to its files, but RPM refuses
        two packages that disagree about owner or mode.
    """
    data, control = unpack(archive)
    with data:
        files = _files(data, conffiles(control), (_NEVER if whole else _DROPPED) + rules.drop, whole=whole)
    if rules.keep:
        files = {path: item for path, item in files.items() if f"{path}/".startswith(rules.keep)}
    # Which package of Debian brings /etc/login.defs, say, differs from release to release; here one package owns each of these.
    files = {path: item for path, item in files.items() if path not in _OWNED}
    scripts = Translation()
    if whole and not rules.keep:
        contents = {path: item.content for path, item in files.items() if isinstance(item.content, bytes) and item.target is None}
        scripts = translate(deb.name, control, contents)
        _apply(scripts, files)
        files = {path: item for path, item in files.items() if item.kind != "directory" or path not in elsewhere}
    bodies = scripts.scriptlets()
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
    needed = [*requires, *rules.requires]
    if "pre" in bodies:
        needed.append("shadow-utils")
    if scripts.alternatives:
        needed.append("alternatives")
    spec = RpmSpec(
        rules.rename or deb.name,
        version,
        release,
        epoch=epoch,
        arch=_ARCH[deb.arch],
        files=tuple(files[path] for path in sorted(files)),
        requires=tuple(dict.fromkeys(needed)),
        provides=tuple(dict.fromkeys([*provides, *rules.provides])),
        source=f"{deb.source}-{version}-{release}.src.rpm",
        summary=deb.summary,
        license="See the package's upstream",
        vendor="Converted from Debian",
        pre=(rules.pre or "") + bodies.get("pre", "") or None,
        post=(rules.post or "") + bodies.get("post", "") or None,
        preun=bodies.get("preun"),
        postun=bodies.get("postun"),
        triggers=rules.triggers,
    )
    return spec, scripts


def _apply(scripts: Translation, files: dict[str, File]) -> None:
    """Directories, owners, modes, configuration and capabilities of the scripts, as attributes of the package's own entries."""
    for path, (source, owner) in scripts.copies.items():
        if path not in files:
            origin = files[source]
            mode = origin.mode if owner.mode is None else owner.mode
            files[path] = File(path, origin.content, mode, owner.user or "root", owner.group or "root", config=True, noreplace=True)
    for path, owned in scripts.paths.items():
        if owned.directory and path not in files and path not in _OWNED:
            files[path] = File(path, mode=0o755, kind="directory")
        for name in [path] if not owned.below else [name for name in files if f"{name}/".startswith(f"{path}/")]:
            if name in files and files[name].target is None:
                item = files[name]
                mode = owned.mode if name == path and owned.mode is not None else item.mode
                files[name] = replace(item, user=owned.user or item.user, group=owned.group or item.group, mode=mode)
    # Scripts ask first whether the file is there, or make it themselves.
    there = [entry for entry in scripts.alternatives if merged(entry[2]) in files]
    scripts.left["alternatives of files that only a script makes"] += len(scripts.alternatives) - len(there)
    scripts.alternatives = there
    for path, capabilities in scripts.capabilities.items():
        path = merged(path)
        if path in files:
            files[path] = replace(files[path], caps=capabilities)


def _text(item: File) -> str:
    return item.content.decode() if isinstance(item.content, bytes) else str(item.content)
