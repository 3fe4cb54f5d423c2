"""Concise, deterministic builder of RPMs and repositories for the demo distribution and for tests.

This module must never read the clock, the host's rpm configuration or the network: the same specification gives the same bytes.

In a test::

    from topcoat_demo.rpms import File, RpmSpec, Trigger, make_repository, script, symlink, config, directory, ghost

    nova = RpmSpec(
        "python3-nova", "28.0.0", "0.1.el9", epoch=1, source="openstack-nova",
        requires=("python3-oslo-config >= 2:9.0", "bash"),
        obsoletes=("python3-nova-old < 28",),
        files=(script("/usr/bin/nova", "echo hello"), config("/etc/nova/nova.conf", "[DEFAULT]\\n"), directory("/var/lib/nova", user="nova")),
        post="echo installed",
        triggers=(Trigger("triggerin", "bash", "echo bash came"),),
    )
    make_repository(tmp / "repo", [nova, nova.bump(release="0.2.el9")])      # both builds in one repository
    path = write_rpm(nova, tmp)                                                # just the file

A dependency is text as in a spec file: ``name``, ``name >= 1:2.0-1``, ``/bin/sh``, ``(a or b)``.
``make_repository`` takes specifications and paths of finished RPMs, may be called again on the same directory (it then describes exactly the RPMs
that lie there plus those given), and writes ``modules.yaml`` text as module metadata when given.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterable
from dataclasses import dataclass, replace
from pathlib import Path

import rpm_rs

from topcoat_demo import _header
from topcoat_demo._createrepo import createrepo_c as cr
from topcoat_demo.signing import Key

EPOCH = 1_735_689_600
"""2025-01-01T00:00:00Z: build time and file time of everything that does not say otherwise."""

_SOURCERPM, _MODULARITYLABEL = 1044, 5096
_FLAGS, _VERIFY, _COLORS = 1037, 1045, 1140
_VERIFIED = {name: 1 << number for number, name in enumerate(("md5", "size", "link", "user", "group", "mtime", "mode", "rdev", "caps"))}
_SIGNED_AFTER = 3600
_DEPENDENCY = re.compile(r"(?P<name>\S+)\s+(?P<operator><=|>=|<|>|=)\s+(?P<version>\S+)")


@dataclass(frozen=True)
class File:
    """One entry of a package. ``content`` is bytes, text, or a path on disk that is read when the RPM is written.

    ``hardlink`` is a free group name: all files of a package with the same one are hard links of each other. ``target`` makes it a symbolic link.
    ``kind`` is ``file``, ``directory`` or ``ghost``; a ghost may be ``config``, too.
    """

    path: str
    content: bytes | str | Path = b""
    mode: int | None = None
    user: str = "root"
    group: str = "root"
    caps: str | None = None
    """As in cap_from_text(3): ``cap_net_bind_service=ep``."""
    config: bool = False
    noreplace: bool = False
    missingok: bool = False
    doc: bool = False
    license: bool = False
    hardlink: str | None = None
    target: str | None = None
    kind: str = "file"
    language: str | None = None
    unverified: tuple[str, ...] = ()
    """What ``%verify(not ...)`` names: md5, size, link, user, group, mtime, mode, rdev, caps."""
    color: int = 0
    """1 or 2 as of an ELF file of 32 or 64 bits, where two packages have one path."""


def words(text: str) -> tuple[str, ...]:
    """A table of names written as running text."""
    return tuple(text.split())


def script(path: str, body: str, *, shell: str = "/bin/sh", **more: object) -> File:
    """An executable shell script."""
    return File(path, f"#!{shell}\n{body}\n", **{"mode": 0o755, **more})  # type: ignore[arg-type]


def config(path: str, text: str, *, noreplace: bool = True, **more: object) -> File:
    """A ``%config`` file; ``%config(noreplace)`` unless told otherwise."""
    return File(path, text, config=True, noreplace=noreplace, **more)  # type: ignore[arg-type]


def directory(path: str, *, mode: int = 0o755, **more: object) -> File:
    """A directory that the package owns."""
    return File(path, mode=mode, kind="directory", **more)  # type: ignore[arg-type]


def symlink(path: str, target: str) -> File:
    """A symbolic link."""
    return File(path, target=target)


def ghost(path: str, **more: object) -> File:
    """A ``%ghost`` file: owned, never in the payload."""
    return File(path, kind="ghost", **more)  # type: ignore[arg-type]


@dataclass(frozen=True)
class Trigger:
    """``kind`` as in a spec file: triggerin, triggerun, triggerpostun, triggerprein, filetriggerin, filetriggerun, filetriggerpostun,
    transfiletriggerin, transfiletriggerun, transfiletriggerpostun. ``target`` is a dependency, or a path for the file triggers.
    """

    kind: str
    target: str
    script: str


@dataclass(frozen=True)
class RpmSpec:
    """One binary package. Scriptlets are shell; times are seconds since the epoch (UTC)."""

    name: str
    version: str
    release: str = "1.el9"
    epoch: int = 0
    arch: str = "noarch"
    files: tuple[File, ...] = ()
    requires: tuple[str, ...] = ()
    provides: tuple[str, ...] = ()
    obsoletes: tuple[str, ...] = ()
    conflicts: tuple[str, ...] = ()
    recommends: tuple[str, ...] = ()
    suggests: tuple[str, ...] = ()
    supplements: tuple[str, ...] = ()
    enhances: tuple[str, ...] = ()
    pre: str | None = None
    post: str | None = None
    preun: str | None = None
    postun: str | None = None
    pretrans: str | None = None
    posttrans: str | None = None
    triggers: tuple[Trigger, ...] = ()
    source: str | None = None
    """Name of the source package, or a whole ``*.src.rpm`` name; None: the package's own name."""
    summary: str = ""
    description: str = ""
    license: str = "Apache-2.0"
    url: str = "https://example.org/"
    vendor: str = "Demo"
    time: int = EPOCH
    module: str = ""
    """``name:stream:version:context`` of the module build that it belongs to, as the build systems write it into the header."""
    changelog: tuple[tuple[int, str, str], ...] = ()
    """(time, author, text) of each entry, newest first."""

    @property
    def evr(self) -> str:
        """``[epoch:]version-release``."""
        return f"{self.epoch}:{self.version}-{self.release}" if self.epoch else f"{self.version}-{self.release}"

    @property
    def nevra(self) -> str:
        """``name-[epoch:]version-release.arch``."""
        return f"{self.name}-{self.evr}.{self.arch}"

    @property
    def filename(self) -> str:
        """``name-version-release.arch.rpm``."""
        return f"{self.name}-{self.version}-{self.release}.{self.arch}.rpm"

    @property
    def source_rpm(self) -> str:
        """Name of the source RPM this was (said to be) built from."""
        if self.source and self.source.endswith(".src.rpm"):
            return self.source
        return f"{self.source or self.name}-{self.version}-{self.release}.src.rpm"

    def bump(self, **changes: object) -> RpmSpec:
        """The same package with other fields (a newer version, another epoch ...)."""
        return replace(self, **changes)  # type: ignore[arg-type]


def _operator(text: str) -> int:
    flags = rpm_rs.DependencyFlags
    return sum(bit for sign, bit in (("<", flags.LESS), (">", flags.GREATER), ("=", flags.EQUAL)) if sign in text)


def _add_dependencies(builder: rpm_rs.PackageBuilder, kind: str, dependencies: Iterable[str]) -> None:
    add = getattr(builder, kind)
    for dependency in dependencies:
        match = _DEPENDENCY.fullmatch(dependency)
        if match and not dependency.startswith("("):
            add(match["name"], match["version"], rpm_rs.DependencyFlags(_operator(match["operator"])))
        elif " " in dependency and not dependency.startswith("("):
            raise ValueError(f"not a dependency: {dependency!r}")
        else:
            add(dependency)


def _add_file(builder: rpm_rs.PackageBuilder, item: File) -> None:
    owner = {"user": item.user, "group": item.group}
    options = rpm_rs.FileOptions
    if item.target is not None:
        builder.with_symlink(options.symlink(item.path, item.target, **owner))
    elif item.kind == "directory":
        builder.with_dir_entry(options.dir(item.path, permissions=0o755 if item.mode is None else item.mode, **owner))
    elif item.kind == "ghost":
        builder.with_ghost(options.ghost(item.path, permissions=0o644 if item.mode is None else item.mode, **owner))
    else:
        flags = {
            "permissions": 0o644 if item.mode is None else item.mode,
            "caps": item.caps,
            "config": item.config,
            "noreplace": item.noreplace,
            "missingok": item.missingok,
            "doc": item.doc,
            "license": item.license,
            "hardlink": item.hardlink,
            "language": item.language,
        }
        content = item.content.read_bytes() if isinstance(item.content, Path) else item.content
        builder.with_file_contents(content.encode() if isinstance(content, str) else content, options.new(item.path, **flags, **owner))


def _marks(item: File) -> dict[int, tuple[int, int]]:
    """What the builder of packages has no word for."""
    marks = {}
    if item.kind == "ghost" and item.config:
        marks[_FLAGS] = (0, 1 | 16 * item.noreplace)
    if item.unverified:
        marks[_VERIFY] = (sum(_VERIFIED[name] for name in item.unverified), 0)
    if item.color:
        marks[_COLORS] = (0, item.color)
    return marks


_SCRIPTLETS = {
    "pre": "pre_install_script",
    "post": "post_install_script",
    "preun": "pre_uninstall_script",
    "postun": "post_uninstall_script",
    "pretrans": "pre_trans_script",
    "posttrans": "post_trans_script",
}


def _trigger_method(kind: str) -> str:
    match = re.fullmatch(r"(trans)?(file)?trigger(in|un|postun|prein)", kind)
    if not match:
        raise ValueError(f"not a trigger kind: {kind!r}")
    return "_".join(part for part in (match[1], match[2], "trigger", match[3]) if part)


def build_rpm(spec: RpmSpec, *, signer: Key | None = None) -> bytes:
    """The bytes of the RPM file: format 4, zstd level 3.

    :param signer: the key that signs it, an hour after it was built; None: it stays unsigned.
    :raises ValueError: a dependency, trigger or file entry is malformed.
    """
    builder = rpm_rs.PackageBuilder(spec.name, spec.version, spec.license, spec.arch, spec.summary or f"Package {spec.name} of the demo distribution")
    builder.using_config(
        rpm_rs.BuildConfig(
            format=rpm_rs.RpmFormat.V4,
            compression=rpm_rs.CompressionType.Zstd,
            compression_level=3,
            source_date=spec.time,
            reserved_space=0,
        )
    )
    builder.release(spec.release)
    if spec.epoch:
        builder.epoch(spec.epoch)
    builder.description(spec.description or spec.summary or f"{spec.name} as the demo distribution needs it.")
    builder.url(spec.url)
    builder.vendor(spec.vendor)
    builder.build_host("build.example.org")
    for kind in ("requires", "provides", "obsoletes", "conflicts", "recommends", "suggests", "supplements", "enhances"):
        _add_dependencies(builder, kind, getattr(spec, kind))
    for item in spec.files:
        _add_file(builder, item)
    for moment, author, text in spec.changelog:
        builder.add_changelog_entry(author, text, moment)
    for field, method in _SCRIPTLETS.items():
        body = getattr(spec, field)
        if body is not None:
            getattr(builder, method)(body)
    for trigger in spec.triggers:
        match = _DEPENDENCY.fullmatch(trigger.target)
        more = {"version": match["version"], "flags": rpm_rs.DependencyFlags(_operator(match["operator"]))} if match else {}
        getattr(builder, _trigger_method(trigger.kind))(match["name"] if match else trigger.target, trigger.script, **more)
    sign = None if signer is None else lambda header, payload: signer.signatures(header, payload, spec.time + _SIGNED_AFTER)
    tags = {_SOURCERPM: spec.source_rpm, **({_MODULARITYLABEL: spec.module} if spec.module else {})}
    marks = {item.path: marks for item in spec.files if (marks := _marks(item))}
    return _header.with_tags(builder.build().to_bytes(), tags, marks, sign)


def _place(path: Path, data: bytes, time: int) -> None:
    partial = path.with_name(f".{path.name}.{os.getpid()}")
    partial.write_bytes(data)
    os.utime(partial, (time, time))
    partial.replace(path)


def write_rpm(spec: RpmSpec, folder: Path, *, signer: Key | None = None) -> Path:
    """Write the RPM under its canonical name into a folder (made when missing); its file time is the build time."""
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / spec.filename
    _place(path, build_rpm(spec, signer=signer), spec.time)
    return path


def _adopt(source: Path, folder: Path) -> None:
    """Hard link (else copy) a finished RPM into the folder."""
    target = folder / source.name
    if target.exists() and target.samefile(source):
        return
    target.unlink(missing_ok=True)
    try:
        os.link(source, target)
    except OSError:
        _place(target, source.read_bytes(), int(source.stat().st_mtime))


def make_repository(
    folder: Path, rpms: Iterable[RpmSpec | Path] = (), *, modules: str | None = None, revision: int = EPOCH, signer: Key | None = None
) -> Path:
    """Make or refresh a yum repository.

    :param rpms: specifications are written, paths hard-linked into the folder; RPMs that lie in the folder already belong to it as well.
    :param modules: text of a ``modules.yaml`` (documents of modulemd version 2), or None.
    :param signer: signs the packages that are written (finished files stay as they are).
    :param revision: goes into repomd.xml and is the timestamp of every record: nothing of the day is in the metadata.
    :returns: the folder.
    """
    folder.mkdir(parents=True, exist_ok=True)
    for item in rpms:
        if isinstance(item, RpmSpec):
            write_rpm(item, folder, signer=signer)
        else:
            _adopt(item, folder)
    repodata = folder / "repodata"
    repodata.mkdir(exist_ok=True)
    packages = []
    for path in sorted(folder.rglob("*.rpm")):
        package = cr.package_from_rpm(str(path), location_href=str(path.relative_to(folder)))
        package.time_file = package.time_build
        packages.append(package)
    repomd = cr.Repomd()
    repomd.set_revision(str(revision))
    current = {"repomd.xml"}
    for name, writer in (("primary", cr.PrimaryXmlFile), ("filelists", cr.FilelistsXmlFile), ("other", cr.OtherXmlFile)):
        path = repodata / f"{name}.xml.gz"
        stream = writer(str(path), cr.GZ_COMPRESSION)
        stream.set_num_of_pkgs(len(packages))
        for package in packages:
            stream.add_pkg(package)
        stream.close()
        current.add(_record(repomd, name, path, revision))
    if modules is not None:
        path = repodata / "modules.yaml"
        path.write_text(modules)
        current.add(_record(repomd, "modules", path, revision))
    _place(repodata / "repomd.xml", repomd.xml_dump().encode(), revision)
    for stale in repodata.iterdir():
        if stale.name not in current:
            stale.unlink()
    return folder


def _record(repomd: cr.Repomd, name: str, path: Path, revision: int) -> str:
    record = cr.RepomdRecord(name, str(path))
    record.fill(cr.SHA256)
    record.rename_file()
    record.timestamp = revision
    repomd.set_record(record)
    final = path.parent / Path(record.location_href).name
    os.utime(final, (revision, revision))
    return final.name
