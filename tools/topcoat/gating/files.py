"""A gating repository of RPM files that somebody has already: hotfixes.

This module must never change an RPM.
"""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path

from topcoat.errors import UsageError
from topcoat.gating.createrepo import CreateRepo
from topcoat.gating.repository import MANIFEST, GatedPackage, GatingRepository
from topcoat.gating.rpmbuild import RpmBuild


def collect(rpms: Sequence[Path], output: Path) -> GatingRepository:
    """Make one yum repository of RPM files; source packages are refused.

    :param output: folder that becomes the repository; replaced as a whole at the end.
    :raises UsageError: a file is missing or no binary RPM.
    """
    staging = output.with_name(f".{output.name}.{os.getpid()}.new")
    shutil.rmtree(staging, ignore_errors=True)
    staging.mkdir(parents=True)
    packages = []
    try:
        for rpm in rpms:
            if not rpm.is_file() or rpm.suffix != ".rpm" or rpm.name.endswith(".src.rpm"):
                raise UsageError(f"{rpm} is no binary RPM file", next_step="name .rpm files, or source trees with a spec file")
            shutil.copy2(rpm, staging / rpm.name)
            packages.append(GatedPackage(str(RpmBuild.nevra(rpm)), rpm.name, "hotfix", ""))
        CreateRepo().make(staging)
        packages.sort(key=lambda package: package.nevra)
        (staging / MANIFEST).write_text(json.dumps({"packages": [asdict(package) for package in packages]}, indent=2) + "\n", encoding="utf-8")
        shutil.rmtree(output, ignore_errors=True)
        staging.rename(output)
    finally:
        shutil.rmtree(staging, ignore_errors=True)
    return GatingRepository(output, tuple(packages))
