"""DLRN says how a project without a spec file is packaged: which distgit, which spec file of it, rendered as DLRN renders it.

The packages themselves are made by ``rpmbuild``, as those of every other tree: fenced in, named by what is in them, and the same bytes for the same
files. This module must never take a project that DLRN does not know for one without packages: that is an error.
"""

from __future__ import annotations

import os
import shutil
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from topcoat.documents import Door
from topcoat.errors import ContentError, UsageError
from topcoat.gating.fence import run_fenced
from topcoat.gating.source import Packaging, SourceTree, git_of
from topcoat.gating.version import upstream_version
from topcoat.process import run
from topcoat.process.bounds import Bounds

_ASK = Path(__file__).with_name("dlrn_driver.py")
_DOOR = Door(ContentError, "ask DLRN by hand: dlrn --config-file FILE --status --project-name PROJECT")
_NEXT = "use the role ensure-dlrn, or install DLRN from PyPI and name its program with --dlrn"


class Dlrn:
    """The package information driver of an installed DLRN.

    :param config: its ``projects.ini``; folders in it are not used.
    :param work: where it clones to.
    :param program: the installed ``dlrn``; its own Python is the one beside it.
    :param checkouts: further checkouts; a distgit that DLRN names is taken from the one of the same name, as the change under test has it.
    :raises UsageError: the program or the configuration is missing.
    """

    def __init__(self, config: Path, work: Path, *, program: str = "", checkouts: Sequence[Path] = (), log: Path, timeout: float) -> None:
        found = shutil.which(program or "dlrn")
        if found is None:
            raise UsageError(f"{program or 'dlrn'} is no program here", next_step=_NEXT)
        python = next((path for name in ("python3", "python") if (path := Path(found).resolve().with_name(name)).exists()), None)
        if python is None:
            raise UsageError("there is no Python beside DLRN's program", where=found, next_step=_NEXT)
        if not config.is_file():
            raise UsageError(f"DLRN's configuration {config} does not exist", next_step="name its projects.ini")
        self._python, self._config, self._work, self._log, self._timeout = python, config.absolute(), work, log, timeout
        self._checkouts = {path.name: str(path.resolve()) for path in checkouts}

    def packaged(self, tree: SourceTree) -> SourceTree:
        """The tree with the spec file and the version that DLRN gives it.

        :raises ContentError: DLRN does not know the project, cannot get its distgit, or no version can be told.
        """
        shutil.rmtree(self._work, ignore_errors=True)
        self._work.mkdir(parents=True)
        words = [str(self._config), str(self._work), str(tree.directory), tree.project]
        words += [f"{name}={path}" for name, path in sorted(self._checkouts.items())]
        # Checkouts belong to the job's user, and git refuses those of others.
        safe = {"GIT_CONFIG_COUNT": "1", "GIT_CONFIG_KEY_0": "safe.directory", "GIT_CONFIG_VALUE_0": "*"}
        # Isolated: the folder of the program holds modules of ours, and one is called as DLRN's package is.
        argv = [str(self._python), "-I", str(_ASK), *words]
        done = run(argv, timeout=self._timeout, log=self._log, env={**os.environ, **safe}, check=False)
        if done.code:
            lines = [line for line in self._log.read_text(encoding="utf-8", errors="replace").splitlines() if line.strip()]
            cause = next((line.removeprefix("error: ") for line in reversed(lines) if line.startswith("error: ")), (lines or ["nothing"])[-1])
            step = "name it in rdoinfo, or give the tree a spec file"
            raise ContentError(f"no packaging of {tree.project}: {cause}", log=str(self._log), next_step=step)
        said = done.output.strip().rsplit("\n", 1)[-1]
        shape = _DOOR.shape("the answer of DLRN", where=str(self._log))
        answer = _DOOR.json_object(said, "the answer of DLRN", where=str(self._log))
        folder = Path(shape.need(answer, "folder", str, "it"))
        for template in sorted(folder.glob("*.spec.j2")):
            self._render(template, shape.need(answer, "base", str, "it"))
        specs = sorted(folder.glob("*.spec"))
        if len(specs) != 1:
            raise ContentError(
                f"the distgit of {tree.project} has {len(specs)} spec files", where=str(folder), next_step="DLRN packages a project by one spec file"
            )
        git = git_of(folder)
        packaging = Packaging(git("rev-parse", "HEAD^{tree}"), *upstream_version(tree.directory, specs[0]))
        return replace(tree, spec=specs[0], packaging=packaging)

    def _render(self, template: Path, base: str) -> None:
        """Make the spec file of a template, as DLRN does. A template can run anything."""
        renderspec = self._python.with_name("renderspec")
        words = [str(self._python), "-I", str(renderspec), "--spec-style", "fedora", "-o", str(template.with_suffix("")), str(template)]
        own = str(self._python.parent.parent)
        run_fenced(words, template.parent, shown=[own, base], bounds=Bounds(seconds=self._timeout), log=self._log)
