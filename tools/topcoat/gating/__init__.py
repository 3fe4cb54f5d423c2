"""The gating repository: RPMs built from the source trees under test.

This room must never let a tree go unbuilt in silence: a tree without RPMs is an error, and every release is unique, so that a rebuilt package can
never pass for the published one of the same version.
"""

from __future__ import annotations

import os
import re
import shutil
import tempfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path

from topcoat.errors import ContentError, UsageError
from topcoat.gating.dlrn import Dlrn
from topcoat.gating.files import collect
from topcoat.gating.repository import MANIFEST, GatedPackage, GatingRepository, load, publish
from topcoat.gating.rpmbuild import RpmBuild
from topcoat.gating.source import SourceTree
from topcoat.gating.store import PackageStore

_UNQUOTED = re.compile(r"[^\w/.,:@+-]|%")

__all__ = ["MANIFEST", "GatedPackage", "GatingRepository", "PackageStore", "SourceTree", "build", "collect", "load"]


def build(
    sources: Sequence[Path],
    output: Path,
    *,
    work: Path,
    changes: Mapping[str, Mapping[str, str]] | None = None,
    dlrn_config: Path | None = None,
    dlrn: str = "",
    checkouts: Sequence[Path] = (),
    store: PackageStore | None = None,
    timeout: float = 1800,
    say: Callable[[str], None] = lambda line: None,
) -> GatingRepository:
    """Build every source tree and make one yum repository of the results.

    :param sources: checkouts, each with a spec file (in its root, ``rpm/`` or ``packaging/``) or known to DLRN; a path named twice is built once.
    :param output: folder that becomes the repository; it is replaced as a whole, at the end, so a failed run never leaves half of one.
    :param work: folder for build trees and logs.
    :param changes: absolute path of a checkout → ``project`` (canonical name) and ``change`` (URL) that it holds. The path is the key because two
        projects of one name may be under test, ``openstack/tool`` and ``x/tool``; a checkout that is not among them goes by its folder's name.
    :param dlrn_config: DLRN's ``projects.ini``; when it is given, DLRN says which spec file of which distgit packages a tree that has none.
    :param dlrn: its program; the one on the path unless told otherwise.
    :param checkouts: checkouts beside the sources; a distgit is taken from the one of its name.
    :param store: packages of trees that were built before; what is built now is added to it.
    :returns: the repository with its packages; ``gating.json`` beside the RPMs says the same.
    :raises UsageError: no source trees, or one that is not a git checkout.
    :raises ContentError: a tree has no spec, does not build, or two trees make the same package.
    """
    if not sources:
        raise UsageError("no source tree was named: the gating repository would be empty", next_step="name the checkouts under test")
    trees = list({tree.directory: tree for tree in (SourceTree.at(path) for path in sources)}.values())
    folders = _short_names([tree.directory for tree in trees])
    staging = output.with_name(f".{output.name}.{os.getpid()}.new")
    shutil.rmtree(staging, ignore_errors=True)
    staging.mkdir(parents=True)
    packages: list[GatedPackage] = []
    try:
        for tree in trees:
            told = (changes or {}).get(str(tree.directory), {})
            project, change, folder = told.get("project", tree.project), told.get("change"), folders[tree.directory]
            log = work / "logs" / f"gating-{folder}.log"
            if tree.spec is None:
                if dlrn_config is None:
                    raise ContentError(
                        f"{tree.project} has no spec file, so no RPM can be made of it",
                        where=str(tree.directory),
                        next_step="add a spec file, give DLRN's configuration, or leave the project out of the gated ones",
                    )
                asked = Dlrn(dlrn_config, work / "dlrn" / folder, program=dlrn, checkouts=checkouts, log=log, timeout=timeout)
                tree = asked.packaged(tree)
            with _place(work / "rpmbuild" / folder) as top:
                files = _kept_or_built(tree, RpmBuild(top, log=log, timeout=timeout), store, work / "kept" / folder, say)
                if not files:
                    raise ContentError(f"{tree.project} built no binary package", log=str(log), next_step="look at the %files sections of its spec")
                for file in files:
                    nevra = RpmBuild.nevra(file)
                    clash = next((other for other in packages if other.nevra == str(nevra)), None)
                    if clash:
                        raise ContentError(f"{nevra} was built by both {clash.project} and {project}", next_step="leave one of them out")
                    shutil.copyfile(file, staging / file.name)
                    # the metadata names the file's time: it must be the change's, not the day's
                    os.utime(staging / file.name, (tree.written, tree.written))
                    packages.append(GatedPackage(str(nevra), file.name, project, tree.commit, change, tree.committed))
                    say(f"  {nevra}")
        return publish(staging, output, packages)
    finally:
        shutil.rmtree(staging, ignore_errors=True)


@contextmanager
def _place(wanted: Path) -> Iterator[Path]:
    """The folder that rpmbuild works in, which is left for a look. Its scripts name it without quotes, so a path that a shell reads in another way
    (a blank) is replaced by a folder that goes at the end."""
    if not _UNQUOTED.search(str(wanted)):
        yield wanted
        return
    with tempfile.TemporaryDirectory(prefix="topcoat-rpmbuild-", dir="/var/tmp") as folder:
        yield Path(folder, "top")


def _short_names(directories: Sequence[Path]) -> dict[Path, str]:
    """For each checkout a name of its own for logs and build trees: as few of the last parts of its path as no other one ends with."""
    names: dict[Path, str] = {}
    for directory in directories:
        parts = directory.parts[1:]
        depth = next(
            depth
            for depth in range(1, len(parts) + 1)
            if not any(other != directory and other.parts[-depth:] == parts[-depth:] for other in directories)
        )
        # A part may itself hold a hyphen.
        name = "-".join(parts[-depth:])
        while name in names.values():
            name += "_"
        names[directory] = name
    return names


def _kept_or_built(tree: SourceTree, builder: RpmBuild, store: PackageStore | None, folder: Path, say: Callable[[str], None]) -> list[Path]:
    environment = builder.environment() if store else ""
    shutil.rmtree(folder, ignore_errors=True)
    found = store.fetch(tree, environment, folder) if store else []
    if found:
        say(f"{tree.project} at {tree.commit[:12]} has the files of a tree that was built before")
        return found
    say(f"building {tree.project} at {tree.commit[:12]}")
    built = builder.build(tree)
    if store and built:
        store.keep(tree, environment, built)
    return built
