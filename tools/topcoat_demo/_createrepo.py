"""createrepo_c, loaded without a word about the system's rpm macros: it brings an rpm library of its own, which cannot read those of a newer rpm.

This module must never change the environment for longer than the import takes.
"""

from __future__ import annotations

import os
import tempfile
from pathlib import Path

_NAME = "RPM_CONFIGDIR"

_before = os.environ.get(_NAME)
with tempfile.TemporaryDirectory() as _empty:
    for _file in ("rpmrc", "macros"):
        (Path(_empty) / _file).touch()
    os.environ[_NAME] = _empty
    try:
        import createrepo_c
    finally:
        if _before is None:
            del os.environ[_NAME]
        else:
            os.environ[_NAME] = _before

__all__ = ["createrepo_c"]
