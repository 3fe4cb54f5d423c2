"""dnf's cache of the frozen repositories, filled once and shared by all builds, so that no image downloads metadata by itself.

This module must never be used with repositories that can change.
"""

from __future__ import annotations

import os
from pathlib import Path

from topcoat.errors import InfrastructureError
from topcoat.process import Processes, run

_TIMEOUT_SECONDS = 300.0


def fill(repo_file: str, directory: Path, *, release: str, processes: Processes | None = None) -> None:
    """Fill a cache folder by the host's dnf.

    :param repo_file: text of the .repo file that the builds will see; dnf's cache names depend on its URLs.
    :param directory: becomes /var/cache/dnf of the builds (read-only below an overlay).
    :raises InfrastructureError: dnf cannot load a repository.
    """
    directory.mkdir(parents=True, exist_ok=True)
    work = directory.with_name(directory.name + ".work")
    for name in ("repos", "persist", "log", "home"):
        (work / name).mkdir(parents=True, exist_ok=True)
    (work / "repos" / "topcoat.repo").write_text(repo_file)
    # The dnf of an image may be older than the host's and want the file lists too; a dnf that does not know the option ignores it.
    (work / "dnf.conf").write_text("[main]\nplugins=0\nskip_if_unavailable=0\noptional_metadata_types=filelists\n")
    options = {
        "reposdir": work / "repos",
        "cachedir": directory,
        "persistdir": work / "persist",
        "logdir": work / "log",
        "varsdir": work / "home",
        "metadata_expire": -1,
    }
    command = [
        "dnf",
        "--quiet",
        "-y",
        "--config",
        os.fspath(work / "dnf.conf"),
        "--installroot",
        os.fspath(work / "root"),
        f"--releasever={release or '/'}",
    ]
    run(
        [*command, *(f"--setopt={name}={value}" for name, value in options.items()), "makecache"],
        timeout=_TIMEOUT_SECONDS,
        env={"HOME": os.fspath(work / "home"), "PATH": os.environ.get("PATH", os.defpath), "LANG": "C.UTF-8"},
        failure=InfrastructureError,
        processes=processes,
    )
