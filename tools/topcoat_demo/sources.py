"""Source trees with a spec file, as small git repositories, and changes under test on top of them.

This module must never write into a repository it made before: a change lives in its own checkout.
"""

from __future__ import annotations

import hashlib
import shutil
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from topcoat.errors import InfrastructureError
from topcoat.process.git import Git, identity
from topcoat_demo.catalog import Catalog, Commit
from topcoat_demo.packages import VERSIONS, Trunk
from topcoat_demo.rpms import EPOCH, File, RpmSpec

HOST = "review.example.org"
_DAY = 86_400
_RELEASE = "@release@"
_CHANGE_TIME = EPOCH + 30 * _DAY


class SourceGit(Git):
    """Git with an author and times that are the same every time, and no configuration of the user."""

    def __init__(self, directory: Path, time: int) -> None:
        people = identity("A Developer", "developer@example.org", f"{time} +0000")
        environment = {"PATH": "/usr/local/bin:/usr/bin:/bin", "HOME": str(directory), "GIT_CONFIG_NOSYSTEM": "1", **people}
        settings = ("gc.auto=0", f"safe.directory={directory}")
        super().__init__(directory, settings=settings, environment=environment, seconds=60, failure=InfrastructureError)

    def commit(self, message: str) -> str:
        """Commit everything in the tree; the commit id."""
        self("add", "--all")
        self("commit", "--quiet", "--message", message)
        return self("rev-parse", "HEAD")


def _entry(item: File) -> str:
    flags = "%config(noreplace) " if item.config and item.noreplace else "%config " if item.config else ""
    mode = 0o644 if item.mode is None else item.mode
    return f"{flags}%attr({mode:04o},{item.user},{item.group}) {item.path}"


def _macros(text: str) -> str:
    """An own version in a dependency follows the build."""
    head, found, _ = text.partition(f"-{_RELEASE}")
    return f"{head.rpartition(' ')[0]} %{{?epoch:%{{epoch}}:}}%{{version}}-%{{release}}" if found else text


def _section(spec: RpmSpec, main: str) -> tuple[list[str], list[str], list[str]]:
    """(preamble, scriptlets, files) of one binary package."""
    option = "" if spec.name == main else f"-n {spec.name}"
    preamble = [] if spec.name == main else [f"%package {option}", f"Summary: {spec.summary}"]
    preamble += [f"Requires: {_macros(item)}" for item in spec.requires] + [f"Obsoletes: {item}" for item in spec.obsoletes]
    description = [f"%description {option}".strip(), spec.summary or spec.name, ""]
    scriptlets = [f"%post {option}".strip(), spec.post, ""] if spec.post else []
    files = [f"%files {option}".strip(), *(_entry(item) for item in spec.files), ""]
    return [*preamble, ""] + description if spec.name != main else preamble, scriptlets, files


def spec_text(name: str, commit: Commit, specs: Sequence[RpmSpec]) -> str:
    """The spec file that builds the packages of a project from its tree; the release is the builder's business."""
    sections = [_section(spec, name) for spec in specs]
    first = specs[0]
    lines = [
        "%global __os_install_post %{nil}",
        "%global debug_package %{nil}",
        # Recipes make accounts before packages. rpm 4.19 and newer would require a package that provides each owner of a file.
        "%global _use_weak_usergroup_deps 1",
        f"Name: {name}",
        *([f"Epoch: {first.epoch}"] if first.epoch else []),
        f"Version: {commit.version}",
        "Release: 1%{?dist}",
        f"Summary: {commit.project} of the demo distribution",
        "License: Apache-2.0",
        f"URL: https://{HOST}/{commit.project}",
        "Source0: %{name}-%{version}.tar.gz",
        "BuildArch: noarch",
        "AutoReqProv: no",
    ]
    for spec, (preamble, _, _) in zip(specs, sections, strict=True):
        if spec.name == name:
            lines += preamble
    lines += ["", "%description", f"{commit.project} of the demo distribution.", ""]
    for spec, (preamble, _, _) in zip(specs, sections, strict=True):
        if spec.name != name:
            lines += preamble
    lines += [
        "%prep",
        "%setup -q",
        "",
        "%build",
        "",
        "%install",
        "mkdir -p %{buildroot}" + VERSIONS,
        "cp -a root/. %{buildroot}/",
        "note=$(cat CHANGE)",
    ]
    for spec in specs:
        lines.append(f'echo "{spec.name} %{{?epoch:%{{epoch}}:}}%{{version}}-%{{release}}${{note:+ ($note)}}" > %{{buildroot}}{VERSIONS}/{spec.name}')
    lines.append("")
    for _, scriptlets, _ in sections:
        lines += scriptlets
    for _, _, files in sections:
        lines += files
    return "\n".join(lines) + "\n"


def make_source(catalog: Catalog, project: str, folder: Path) -> str:
    """Write the git repository of one project at its newest commit.

    :param folder: parent; the repository is ``folder/<project>``.
    :returns: the commit id, the same every time.
    """
    commit = catalog.current[project]
    specs = Trunk(catalog, catalog.current, lambda _: _RELEASE).project(project)
    name = specs[0].source or project
    target = folder / project
    (target / "packaging").mkdir(parents=True)
    for spec in specs:
        for item in spec.files:
            if not item.path.startswith(VERSIONS):
                path = target / "root" / item.path.lstrip("/")
                path.parent.mkdir(parents=True, exist_ok=True)
                path.write_bytes(item.content if isinstance(item.content, bytes) else str(item.content).encode())
                path.chmod(0o755 if (item.mode or 0) & 0o100 else 0o644)
    (target / "packaging" / f"{name}.spec").write_text(spec_text(name, commit, specs))
    (target / "CHANGE").write_text("")
    (target / "README.rst").write_text(f"{project}\n{'=' * len(project)}\n\nA project of the demo distribution.\n")
    git = SourceGit(target, EPOCH + 20 * _DAY)
    git("init", "--quiet", "--initial-branch=master", "--template=")
    return git.commit(f"{commit.subject}\n\nThe state that the repository named current was built from.")


@dataclass(frozen=True)
class Change:
    """A change under test: one commit on top of the branch, in a checkout of its own."""

    project: str
    """Short name: nova."""
    number: int
    patchset: int
    commit: str
    note: str
    directory: Path
    branch: str = "master"
    depends_on: tuple[Change, ...] = field(default=())

    @property
    def url(self) -> str:
        """As a Depends-On footer names it."""
        return f"https://{HOST}/c/openstack/{self.project}/+/{self.number}"

    @property
    def canonical_name(self) -> str:
        """As Zuul names the project: host and full name."""
        return f"{HOST}/openstack/{self.project}"

    def item(self) -> dict[str, object]:
        """The entry of ``zuul['items']`` for this change (Zuul documentation, "Job variables")."""
        name = f"openstack/{self.project}"
        return {
            "branch": self.branch,
            "change": str(self.number),
            "change_url": self.url,
            "patchset": str(self.patchset),
            "commit_id": self.commit,
            "topic": "demo",
            "project": {
                "name": name,
                "short_name": self.project,
                "canonical_hostname": HOST,
                "canonical_name": self.canonical_name,
                "src_dir": f"src/{HOST}/{name}",
            },
        }


def make_change(
    sources: Path,
    project: str,
    folder: Path,
    *,
    note: str,
    number: int,
    patchset: int = 1,
    depends_on: Sequence[Change] = (),
    base: Change | None = None,
) -> Change:
    """Clone a source tree and commit a change whose note every service command of the built packages prints.

    :param sources: where ``make_source`` wrote the repositories.
    :param folder: parent of the checkout, ``folder/<project>``; an older checkout there is replaced.
    :param base: a change of the same project to stack on (its checkout is continued).
    :returns: the change; the same arguments give the same commit.
    """
    target = folder / project
    if base is None:
        shutil.rmtree(target, ignore_errors=True)
        folder.mkdir(parents=True, exist_ok=True)
        SourceGit(folder, EPOCH)("clone", "--quiet", "--template=", str(sources / project), str(target))
    # Later change numbers are later in time: a build of a stacked change is newer than the one below.
    git = SourceGit(target, _CHANGE_TIME + number)
    (target / "CHANGE").write_text(note + "\n")
    module = next(iter(sorted((target / "root").rglob("__init__.py"))), None)
    if module:
        module.write_text(module.read_text() + f'\nCHANGE_{number} = "{note}"\n')
    footers = [f"Change-Id: I{hashlib.sha1(f'{project} {number}'.encode(), usedforsecurity=False).hexdigest()}"]
    footers += [f"Depends-On: {other.url}" for other in depends_on]
    commit = git.commit(f"{note}\n\nThe service commands print this change.\n\n" + "\n".join(footers))
    return Change(project, number, patchset, commit, note, target, depends_on=tuple(depends_on))


def review(sources: Path, folder: Path, *, library: str = "oslo.config", service: str = "nova") -> tuple[Change, Change]:
    """The review of the demo: a change of a service that depends on a change of a library, in queue order (the library first)."""
    below = make_change(sources, library, folder, note=f"{library} learns a new option", number=101)
    above = make_change(sources, service, folder, note=f"{service} uses the new option", number=102, depends_on=[below])
    return below, above


def zuul_items(changes: Sequence[Change]) -> list[Mapping[str, object]]:
    """``zuul['items']`` for changes in queue order."""
    return [change.item() for change in changes]
