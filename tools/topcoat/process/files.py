"""Files that are there whole or not at all, whatever happens and whoever writes beside us.

This module must never leave a part of a file under its name, nor a temporary one behind.
"""

from __future__ import annotations

import contextlib
import os
import shutil
import tempfile
from collections.abc import Iterable
from pathlib import Path


def write_whole(path: Path, content: bytes | str, *, mode: int = 0o644) -> None:
    """Write a file beside its place and move it there; folders above it are made.

    :param content: text is written as UTF-8, with an escape for what has none (half of a surrogate pair out of a file name).
    :raises OSError: it cannot be written; what was there before still is.
    """
    write_chunks(path, (content if isinstance(content, bytes) else content.encode("utf-8", "backslashreplace"),), mode=mode)


def write_chunks(path: Path, chunks: Iterable[bytes], *, mode: int = 0o644) -> None:
    """The same for what comes in parts.

    :raises Exception: as ``write_whole``, or what taking the parts raises.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    handle, temporary = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name[:100]}.")
    try:
        with os.fdopen(handle, "wb") as sink:
            sink.writelines(chunks)
        Path(temporary).chmod(mode)
        Path(temporary).replace(path)
    except BaseException:
        with contextlib.suppress(OSError):
            Path(temporary).unlink()
        raise


def link_or_copy(source: str | os.PathLike[str], target: str | os.PathLike[str]) -> None:
    """The same file under another name that is free: a link where the file system can, else a copy of the content.

    :raises OSError: neither can be made.
    """
    try:
        os.link(source, target)
    except OSError:
        shutil.copyfile(source, target)
