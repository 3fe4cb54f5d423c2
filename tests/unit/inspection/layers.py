"""Layers in memory for tests.

This module must never touch the disk.
"""

from __future__ import annotations

import gzip
import io
import tarfile

from topcoat.inspection.files import LayerListing, read_layer

PASSWD = "root:x:0:0:root:/root:/bin/sh\nkolla:x:42400:42400::/:/sbin/nologin\nnova:x:42436:42436::/var/lib/nova:/sbin/nologin\n"
GROUP = "root:x:0:\nkolla:x:42400:nova\nnova:x:42436:\n"


def layer(*members: tuple[str, dict[str, object]], compress: bool = True) -> bytes:
    """A layer from (path, values) pairs: ``content``, ``mode``, ``type``, ``link``, ``uid``, ``gid``."""
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w", format=tarfile.PAX_FORMAT) as archive:
        for path, values in members:
            info = tarfile.TarInfo(path)
            content = values.get("content", b"")
            data = content.encode() if isinstance(content, str) else bytes(content)  # type: ignore[call-overload]
            info.type = values.get("type", tarfile.REGTYPE)  # type: ignore[assignment]
            info.mode = int(values.get("mode", 0o755 if info.isdir() else 0o644))  # type: ignore[call-overload]
            info.linkname = str(values.get("link", ""))
            info.uid, info.gid = int(values.get("uid", 0)), int(values.get("gid", 0))  # type: ignore[call-overload]
            info.size = len(data) if info.isreg() else 0
            archive.addfile(info, io.BytesIO(data))
    return gzip.compress(out.getvalue(), mtime=0) if compress else out.getvalue()


def listing(*members: tuple[str, dict[str, object]]) -> LayerListing:
    """The listing of such a layer."""
    return read_layer(io.BytesIO(layer(*members)))


def file(path: str, content: str = "x", **values: object) -> tuple[str, dict[str, object]]:
    """A regular file."""
    return path, {"content": content, **values}


def folder(path: str, **values: object) -> tuple[str, dict[str, object]]:
    """A directory."""
    return path, {"type": tarfile.DIRTYPE, **values}


def link(path: str, target: str) -> tuple[str, dict[str, object]]:
    """A symbolic link."""
    return path, {"type": tarfile.SYMTYPE, "link": target}
