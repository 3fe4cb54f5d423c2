"""rpmbuild on a tree with a spec file.

This module must never build outside its own top directory.
"""

from __future__ import annotations

import re
import shutil
from dataclasses import replace
from pathlib import Path

from topcoat.errors import ContentError
from topcoat.gating.fence import run_fenced
from topcoat.gating.source import Packaging, SourceTree, git_of
from topcoat.model import Nevra
from topcoat.process import Result, run
from topcoat.process.bounds import Bounds

_RELEASE = re.compile(r"^(Release:\s*)(\S+?)(%\{\?dist\})?\s*$", re.MULTILINE)
# What the tools of a build are set up with.
_CONFIGURATION = ("/etc/rpm", "/etc/alternatives", "/etc/perl", "/etc/java")
_SOURCE = re.compile(r"^Source0?:\s*(\S+)", re.MULTILINE)
# A build in git's archive of the files has no tags to ask.
_VERSION_VARIABLES = ("PBR_VERSION", "SETUPTOOLS_SCM_PRETEND_VERSION")


class RpmBuild:
    """All calls of rpmbuild, rpmspec and rpm -qp."""

    def __init__(self, top: Path, *, log: Path, timeout: float, bounds: Bounds | None = None) -> None:
        """:param timeout: seconds for one build. :param bounds: what else it may take."""
        self.top = top
        self.log = log
        self.timeout = timeout
        self._bounds = bounds or Bounds()

    def build(self, tree: SourceTree) -> list[Path]:
        """Build the binary packages of one tree; the release becomes the tree's snapshot.

        :returns: the RPM files, sorted.
        :raises ContentError: the spec has no Release line, or rpmbuild fails (its last lines are in the error).
        """
        assert tree.spec is not None
        shutil.rmtree(self.top, ignore_errors=True)
        for folder in ("SPECS", "SOURCES", "BUILD", "BUILDROOT", "RPMS"):
            (self.top / folder).mkdir(parents=True)
        text = tree.spec.read_text(encoding="utf-8", errors="surrogateescape")  # whether rpm takes bytes that are no text, it says itself
        variables = {}
        if tree.packaging:
            text = _opened(text, tree, tree.packaging)
            variables = dict.fromkeys(_VERSION_VARIABLES, tree.packaging.upstream)
            self._beside(tree.spec)
        text, replaced = _RELEASE.subn(lambda match: f"{match[1]}{tree.snapshot}{match[3] or ''}", text, count=1)
        if not replaced:
            raise ContentError("the spec file has no Release line", where=str(tree.spec), next_step="add 'Release: 1%{?dist}'")
        spec = self.top / "SPECS" / tree.spec.name
        spec.write_text(text, encoding="utf-8", errors="surrogateescape")
        self._sources(tree, spec, text)
        self._confined(
            ["rpmbuild", "-bb", "--nodeps", *self._defines(), str(spec)], timeout=self.timeout, SOURCE_DATE_EPOCH=str(tree.written), **variables
        )
        return sorted((self.top / "RPMS").rglob("*.rpm"))

    def _confined(self, words: list[str], *, timeout: float, **environment: str) -> Result:
        """A spec file runs shell lines, already where it is read. It sees its own folder only."""
        shown = [path for path in _CONFIGURATION if Path(path).is_dir()]
        return run_fenced(words, self.top, shown=shown, bounds=replace(self._bounds, seconds=timeout), log=self.log, **environment)

    def _defines(self) -> list[str]:
        macros = {
            "_topdir": str(self.top),
            "_dbpath": str(self.top / "db"),
            # Two builds of one tree must be byte-identical: then a rerun, and the change behind, find the images that hold these very packages.
            "_buildhost": "localhost",
            "use_source_date_epoch_as_buildtime": "1",
            "clamp_mtime_to_source_date_epoch": "1",
            "source_date_epoch_from_changelog": "0",
            "_build_id_links": "none",
            "debug_package": "%{nil}",
        }
        return [word for name, value in macros.items() for word in ("--define", f"{name} {value}")]

    def _sources(self, tree: SourceTree, spec: Path, text: str) -> None:
        """Archive the commit under the name that the spec's first source has, with the folder that %setup expects."""
        if not _SOURCE.search(text):
            return
        expanded = self._confined(["rpmspec", "-P", *self._defines(), str(spec)], timeout=60).output
        match = _SOURCE.search(expanded)
        name = Path(match[1]).name if match else f"{tree.project}.tar.gz"
        prefix = re.sub(r"\.(tar(\.\w+)?|tgz|zip)$", "", name)
        git_of(tree.directory)("archive", "--format=tar.gz", f"--prefix={prefix}/", "-o", str(self.top / "SOURCES" / name), tree.commit)

    def _beside(self, spec: Path) -> None:
        """The other files of a distgit are sources too. A link stays one: what it leads to on this machine is none of the distgit's."""
        for file in sorted(spec.parent.iterdir()):
            if file != spec and (file.is_symlink() or file.is_file()):
                shutil.copy2(file, self.top / "SOURCES" / file.name, follow_symlinks=False)

    def environment(self) -> str:
        """What this machine adds to a build: rpm's configuration with every macro, the system's name and version, and how we call rpmbuild."""
        system = Path("/etc/os-release")
        words = [run(["rpm", "--showrc"], timeout=60).output, system.read_text(encoding="utf-8") if system.is_file() else ""]
        return "\n".join([*words, *(word for word in self._defines() if str(self.top) not in word)])

    @staticmethod
    def nevra(file: Path) -> Nevra:
        """Name, epoch, version, release and architecture of an RPM file."""
        query = "%{NAME}-%|EPOCH?{%{EPOCH}:}|%{VERSION}-%{RELEASE}.%{ARCH}"
        return Nevra.parse(run(["rpm", "-qp", "--nosignature", "--qf", query, str(file)], timeout=60).output.strip())


def _opened(text: str, tree: SourceTree, packaging: Packaging) -> str:
    """The spec file of a distgit with what its maintainers leave to DLRN (build_srpm.sh there): version, macros, no changelog of other builds."""
    macros = {"upstream_version": packaging.upstream, "dlrn": "1", "dlrn_nvr": f"{tree.project}-{packaging.upstream}-{tree.snapshot}"}
    for name, value in macros.items():
        text, known = re.subn(rf"^%(define|global) {name} .*$", rf"%\1 {name} {value}", text, flags=re.MULTILINE)
        text = text if known else f"%global {name} {value}\n{text}"
    text = text.replace("UPSTREAMVERSION", packaging.upstream)
    text = re.sub(r"^Version:.*$", f"Version: {packaging.version}", text, flags=re.MULTILINE)
    text = re.sub(r"^Release:.*$", "Release: 1%{?dist}", text, flags=re.MULTILINE)
    return re.sub(r"^%changelog\b.*\Z", "%changelog\n", text, flags=re.MULTILINE | re.DOTALL)
