"""Compiles what is imported out of archives once, for Ansible's modules: each comes in an archive of its own, with the same thirty libraries in it.

Python keeps no compiled files for archives, so a module spends a third of its time compiling. Those of one run of the tests share what was compiled,
by the text of the source: a role does the same work on the same code.

This module must never change what a program does, only how often its source is compiled.
"""

from __future__ import annotations

import hashlib
import marshal
import os
import zipimport
from types import CodeType

_KEPT = os.environ.get("TOPCOAT_TEST_COMPILED")


def _once(path: str, source: bytes) -> CodeType:
    """What zipimport makes of a source, or made of the same one before."""
    name = hashlib.sha256(path.rpartition(".zip")[2].encode() + b"\0" + source).hexdigest()
    kept = os.path.join(str(_KEPT), name)
    try:
        with open(kept, "rb") as stream:
            return marshal.load(stream)  # type: ignore[no-any-return]
    except OSError:
        code: CodeType = _compile(path, source)
    try:
        with open(f"{kept}.{os.getpid()}", "wb") as stream:
            marshal.dump(code, stream)
        os.replace(stream.name, kept)
    except OSError:
        pass  # another user's folder, or none: compiled again next time
    return code


if _KEPT and hasattr(zipimport, "_compile_source"):
    _compile = zipimport._compile_source
    zipimport._compile_source = _once
