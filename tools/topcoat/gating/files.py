"""A gating repository of RPM files that somebody has already: hotfixes.

This module must never change an RPM.
"""

from __future__ import annotations

import os
import shutil
from collections.abc import Sequence
from pathlib import Path

from topcoat.errors import UsageError
from topcoat.gating.repository import GatedPackage, GatingRepository, publish
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
        return publish(staging, output, packages)
    finally:
        shutil.rmtree(staging, ignore_errors=True)
