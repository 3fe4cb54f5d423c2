"""Unpack one layer archive into a directory that overlayfs can stack, in one pass, checking both digests on the way.

This module must never write outside its directory, whatever the archive says: no ``..``, no path through a symbolic link, no overlay attribute.
"""

# Thousands of calls a layer on paths that are plain strings:
# ruff: noqa: PTH101, PTH102, PTH108, PTH211

from __future__ import annotations

import contextlib
import hashlib
import os
import shutil
import stat
import tarfile
import zlib
from collections.abc import Iterable
from decimal import Decimal, InvalidOperation
from pathlib import Path

from topcoat.errors import ContentError, InfrastructureError
from topcoat.layers import marks

_CHUNK = 1 << 18
_GZIP_MAGIC = b"\x1f\x8b"
_ZSTD_MAGIC = b"\x28\xb5\x2f\xfd"


class _Source:
    """A layer as it comes in pieces: decompresses where needed, and knows the digest of what went in and of what came out."""

    def __init__(self, chunks: Iterable[bytes]) -> None:
        self._chunks = iter(chunks)
        self._packed = hashlib.sha256()
        self._plain = hashlib.sha256()
        self._buffer = b""
        self._engine: zlib._Decompress | None = None  # type: ignore[name-defined]
        self._head = b""
        self._started = False
        self._ended = False

    def read(self, size: int = -1) -> bytes:
        """Up to ``size`` plain bytes (all that is left when negative); shorter only at the end."""
        parts = [self._buffer]
        length = len(self._buffer)
        while not self._ended and (size < 0 or length < size):
            part = self._next()
            parts.append(part)
            length += len(part)
        data = b"".join(parts)
        if size < 0:
            size = len(data)
        self._buffer = data[size:]
        return data[:size]

    def _next(self) -> bytes:
        chunk = next(self._chunks, None)
        if chunk is None:
            self._ended = True
            if not self._started:  # shorter than any archive
                self._plain.update(self._head)
                return self._head
            if self._engine is not None and not self._engine.eof:
                raise InfrastructureError(
                    "a layer ends in the middle", next_step="run again; the registry closed the connection or holds a broken blob"
                )
            return b""
        self._packed.update(chunk)
        if not self._started:
            self._head += chunk
            if len(self._head) < len(_ZSTD_MAGIC):
                return b""
            self._started, chunk = True, self._head
            if chunk.startswith(_ZSTD_MAGIC):
                raise ContentError("a layer is compressed with zstd, which is not supported", next_step="publish the base image with gzip layers")
            if chunk.startswith(_GZIP_MAGIC):
                self._engine = zlib.decompressobj(31)
        plain = self._inflate(chunk) if self._engine is not None else chunk
        self._plain.update(plain)
        return plain

    def _inflate(self, chunk: bytes) -> bytes:
        parts = []
        try:
            while chunk:
                if self._engine.eof:  # RFC 1952, 2.2: a file may hold several members
                    self._engine = zlib.decompressobj(31)
                parts.append(self._engine.decompress(chunk))
                chunk = self._engine.unused_data
                if self._engine.eof and chunk and not chunk.strip(b"\0"):
                    break
        except zlib.error as error:
            raise ContentError(f"a layer is not valid gzip: {error}", next_step="rebuild and push the image; its blob is damaged") from error
        return b"".join(parts)

    def finish(self) -> tuple[str, str]:
        """Read what is left (padding) and return (digest of the blob, diff id)."""
        self._buffer = b""
        while not self._ended:
            self._next()
        return f"sha256:{self._packed.hexdigest()}", f"sha256:{self._plain.hexdigest()}"


def unpack(chunks: Iterable[bytes], directory: Path) -> tuple[str, str]:
    """Unpack a layer (tar, gzip or plain) into an empty directory.

    Owners, modes, times (nanoseconds), extended attributes, hard links and devices are kept; whiteouts become overlayfs' own.

    :returns: (digest of the bytes read, diff id); the caller compares them with what he asked for **before** he uses the directory.
    :raises ContentError: the archive is damaged, or tries to leave the directory.
    :raises InfrastructureError: the stream ends early, or the disk is full.
    """
    source = _Source(chunks)
    layer = _Layer(directory)
    try:
        with tarfile.open(fileobj=source, mode="r|", bufsize=_CHUNK, encoding="utf-8", errors="surrogateescape") as archive:  # type: ignore[call-overload]
            for member in archive:
                layer.add(member, archive)
        layer.finish()
    except tarfile.TarError as error:
        raise ContentError(f"a layer is not a valid archive: {error}", next_step="rebuild and push the image; its blob is damaged") from error
    except OSError as error:
        raise InfrastructureError(
            f"cannot unpack a layer: {error}", retriable=False, next_step="free disk space, or choose another work folder"
        ) from error
    return source.finish()


class _Layer:
    """The directory being filled. It remembers the kind of every entry it made, so each path is proved without asking the file system."""

    def __init__(self, directory: Path) -> None:
        self._root = os.fspath(directory)
        self._kinds: dict[str, int] = {"": stat.S_IFDIR}
        self._times: dict[str, int] = {}

    def add(self, member: tarfile.TarInfo, archive: tarfile.TarFile) -> None:
        path = _clean(member.name)
        head, _, name = path.rpartition("/")
        self._parents(head)
        if name == marks.OPAQUE_NAME:
            os.setxattr(self._at(head), marks.OPAQUE_XATTR, b"y")
            return
        if name.startswith(marks.RESERVED_PREFIX):
            return
        if name.startswith(marks.WHITEOUT_PREFIX):
            self._whiteout(f"{head}/{name[4:]}" if head else name[4:])
            return
        self._make(path, member, archive)

    def _at(self, path: str) -> str:
        return f"{self._root}/{path}" if path else self._root

    def _parents(self, path: str) -> None:
        """Every directory above must be a real directory of this layer; missing ones are made as container tools make them (0755, root)."""
        if self._kinds.get(path) == stat.S_IFDIR:
            return
        kind = self._kinds.get(path)
        if kind not in (None, stat.S_IFCHR) or (kind == stat.S_IFCHR and not self._is_whiteout(path)):
            raise _malformed(f"a layer wants to write through {path!r}, which is not a directory")
        self._parents(path.rpartition("/")[0])
        opaque = kind == stat.S_IFCHR
        if opaque:
            os.unlink(self._at(path))
        os.mkdir(self._at(path), 0o755)
        if opaque:
            os.setxattr(self._at(path), marks.OPAQUE_XATTR, b"y")
        self._kinds[path] = stat.S_IFDIR
        self._times[path] = 0

    def _is_whiteout(self, path: str) -> bool:
        return marks.is_whiteout(os.lstat(self._at(path)))

    def _whiteout(self, path: str) -> None:
        kind = self._kinds.get(path)
        if kind == stat.S_IFDIR:  # "gone below" and "here again": what is below must not shine through
            os.setxattr(self._at(path), marks.OPAQUE_XATTR, b"y")
        elif kind is None:
            os.mknod(self._at(path), stat.S_IFCHR | 0o000, os.makedev(0, 0))
            self._kinds[path] = stat.S_IFCHR

    def _make(self, path: str, member: tarfile.TarInfo, archive: tarfile.TarFile) -> None:
        target = self._at(path)
        opaque = self._clear(path, directory=member.isdir())
        if member.isdir():
            if self._kinds.get(path) != stat.S_IFDIR:
                os.mkdir(target, 0o700)
            if opaque:
                os.setxattr(target, marks.OPAQUE_XATTR, b"y")
            self._kinds[path] = stat.S_IFDIR
        elif member.islnk():
            self._hardlink(path, member)
            return
        elif member.issym():
            os.symlink(member.linkname, target)
            self._kinds[path] = stat.S_IFLNK
        elif member.isreg():
            self._file(target, member, archive)
            self._kinds[path] = stat.S_IFREG
        elif member.isfifo():
            os.mkfifo(target, 0o600)
            self._kinds[path] = stat.S_IFIFO
        elif member.ischr() or member.isblk():
            if member.ischr() and (member.devmajor, member.devminor) == (0, 0):
                raise _malformed(f"a layer holds the device 0:0 as {path!r}")
            kind = stat.S_IFCHR if member.ischr() else stat.S_IFBLK
            os.mknod(target, kind | 0o600, os.makedev(member.devmajor, member.devminor))
            self._kinds[path] = kind
        else:
            raise _malformed(f"a layer holds {path!r} of unknown type {member.type!r}")
        self._metadata(path, member)

    def _clear(self, path: str, *, directory: bool) -> bool:
        """Remove an earlier entry of the same name (the last one counts); True when it was a whiteout that a directory replaces."""
        kind = self._kinds.get(path)
        if kind is None or (kind == stat.S_IFDIR and directory):
            return False
        target = self._at(path)
        if kind == stat.S_IFDIR:
            if not path:
                raise _malformed("a layer replaces its own root")
            shutil.rmtree(target)
            for known in [known for known in self._kinds if known.startswith(path + "/")]:
                del self._kinds[known]
                self._times.pop(known, None)
            self._times.pop(path, None)
            del self._kinds[path]
            return False
        was_whiteout = kind == stat.S_IFCHR and self._is_whiteout(path)
        os.unlink(target)
        del self._kinds[path]
        return was_whiteout and directory

    def _hardlink(self, path: str, member: tarfile.TarInfo) -> None:
        source = _clean(member.linkname)
        kind = self._kinds.get(source)
        if kind is None or kind == stat.S_IFDIR or (kind == stat.S_IFCHR and self._is_whiteout(source)):
            raise _malformed(f"a layer links {path!r} to {member.linkname!r}, which it does not hold")
        os.link(self._at(source), self._at(path), follow_symlinks=False)
        self._kinds[path] = kind

    def _file(self, target: str, member: tarfile.TarInfo, archive: tarfile.TarFile) -> None:
        content = archive.extractfile(member)
        handle = os.open(target, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600)
        with open(handle, "wb", buffering=0) as out:
            left = member.size
            while left and content:
                data = content.read(min(_CHUNK, left))
                if not data:
                    raise tarfile.ReadError("unexpected end of data")
                out.write(data)
                left -= len(data)

    def _metadata(self, path: str, member: tarfile.TarInfo) -> None:
        """Owner first: changing it clears set-user-ID bits and file capabilities (chown(2), capabilities(7))."""
        target = self._at(path)
        os.lchown(target, member.uid, member.gid)
        if not member.issym():
            os.chmod(target, member.mode & 0o7777)
        for record, value in member.pax_headers.items():
            if not record.startswith(marks.XATTR_RECORD):
                continue
            name = record.removeprefix(marks.XATTR_RECORD)
            if marks.steers_overlay(name):
                continue
            with contextlib.suppress(NotADirectoryError):
                os.setxattr(target, name, value.encode("utf-8", "surrogateescape"), follow_symlinks=False)
        nanoseconds = _nanoseconds(member)
        if member.isdir():
            self._times[path] = nanoseconds
        else:
            os.utime(target, ns=(nanoseconds, nanoseconds), follow_symlinks=False)

    def finish(self) -> None:
        """Times of directories last: filling a directory changes them."""
        for path in sorted(self._times, reverse=True):
            os.utime(self._at(path), ns=(self._times[path], self._times[path]))


def _malformed(what: str) -> ContentError:
    return ContentError(what, next_step="do not use this image: its archive is malformed")


def _clean(name: str) -> str:
    """The path below the layer's root.

    :raises ContentError: the name climbs out, or holds a NUL.
    """
    parts = [part for part in name.split("/") if part not in ("", ".")]
    if ".." in parts or "\0" in name:
        raise _malformed(f"a layer names the path {name!r}, which leaves its root")
    return "/".join(parts)


def _nanoseconds(member: tarfile.TarInfo) -> int:
    text = member.pax_headers.get("mtime")
    if text is not None:
        with contextlib.suppress(InvalidOperation, ValueError, OverflowError):
            return int(Decimal(text) * 1_000_000_000)
    return int(member.mtime) * 1_000_000_000
