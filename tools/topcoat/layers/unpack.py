"""Unpack one layer archive into a directory that overlayfs can stack, in one pass, taking its diff id on the way.

This module must never write outside its directory, whatever the archive says: no ``..``, no path through a symbolic link, no overlay attribute.
"""

# Thousands of calls a layer on paths that are plain strings:
# ruff: noqa: PTH101, PTH102, PTH108, PTH211

from __future__ import annotations

import errno
import hashlib
import os
import shutil
import stat
from collections.abc import Iterable
from pathlib import Path

from topcoat.archives import tarstream, whiteouts
from topcoat.archives.plain import CutOffError, Plain
from topcoat.errors import ContentError, InfrastructureError

_MALFORMED = frozenset(
    {
        errno.ENAMETOOLONG,
        errno.EINVAL,
        errno.ENOENT,
        errno.EOPNOTSUPP,
        errno.ERANGE,
        errno.E2BIG,
        errno.ELOOP,
        errno.ENOTDIR,
        errno.EISDIR,
        errno.EEXIST,
    }
)
"""What the kernel says of a name, an attribute or a device that cannot be, where the disk is not at fault."""


class _Source:
    """The plain archive, and the digest of what came out."""

    def __init__(self, chunks: Iterable[bytes]) -> None:
        self._pieces = Plain(chunks)
        self._plain = hashlib.sha256()

    def next(self) -> bytes:
        """The next plain bytes; empty at the end."""
        try:
            plain = self._pieces.next()
        except CutOffError as error:
            raise InfrastructureError("a layer ends in the middle", next_step="run again; the connection or the blob is broken") from error
        self._plain.update(plain)
        return plain

    def finish(self) -> str:
        """Read what is left (padding) and return the diff id."""
        while self.next():
            pass
        return f"sha256:{self._plain.hexdigest()}"


def unpack(chunks: Iterable[bytes], directory: Path) -> str:
    """Unpack a layer (tar; gzip, zstd, xz, bzip2 or plain) into an empty directory.

    Owners, modes, times (nanoseconds), extended attributes, hard links and devices are kept; whiteouts become overlayfs' own.

    :returns: the diff id, digest of the plain archive; the caller compares it with what he asked for **before** he uses the directory.
    :raises ContentError: the archive is damaged, or tries to leave the directory.
    :raises InfrastructureError: the stream ends early, or the disk is full.
    """
    source = _Source(chunks)
    reader = tarstream.Reader(source.next)
    layer = _Layer(directory, reader)
    try:
        for entry in reader:
            layer.add(entry)
        layer.finish()
    except tarstream.TarError as error:
        raise ContentError(f"a layer is not a valid archive: {error}", next_step="rebuild and push the image; its blob is damaged") from error
    except OSError as error:
        if error.errno in _MALFORMED:
            raise _malformed(f"a layer holds what cannot be made: {error.strerror}: {str(error.filename)[-80:]!r}") from error
        raise InfrastructureError(
            f"cannot unpack a layer: {error}", retriable=False, next_step="free disk space or use another work folder"
        ) from error
    return source.finish()


class _Layer:
    """The directory being filled. It remembers the kind of every entry it made, so each path is proved without asking the file system."""

    def __init__(self, directory: Path, reader: tarstream.Reader) -> None:
        self._root = os.fspath(directory)
        self._reader = reader
        self._kinds: dict[str, int] = {"": stat.S_IFDIR}
        self._times: dict[str, int] = {}

    def add(self, entry: tarstream.Member) -> None:
        path = _clean(entry.name)
        head, _, name = path.rpartition("/")
        if self._kinds.get(head) != stat.S_IFDIR:
            self._parents(head)
        if name.startswith(whiteouts.WHITEOUT_PREFIX):
            if name == whiteouts.OPAQUE_NAME:
                os.setxattr(self._at(head), whiteouts.OPAQUE_XATTR, b"y")
            elif not name.startswith(whiteouts.RESERVED_PREFIX):
                self._whiteout(f"{head}/{name[4:]}" if head else name[4:])
            return
        self._make(path, entry)

    def _at(self, path: str) -> str:
        return f"{self._root}/{path}" if path else self._root

    def _parents(self, path: str) -> None:
        """Every directory above must be a real directory of this layer; missing ones are made as container tools make them (0755, root)."""
        kind = self._kinds.get(path)
        if kind == stat.S_IFDIR:
            return
        opaque = kind == stat.S_IFCHR and self._is_whiteout(path)
        if kind is not None and not opaque:
            raise _malformed(f"a layer wants to write through {path!r}, which is not a directory")
        self._parents(path.rpartition("/")[0])
        if opaque:
            os.unlink(self._at(path))
        os.mkdir(self._at(path), 0o755)
        if opaque:
            os.setxattr(self._at(path), whiteouts.OPAQUE_XATTR, b"y")
        self._kinds[path] = stat.S_IFDIR
        self._times[path] = 0

    def _is_whiteout(self, path: str) -> bool:
        return whiteouts.is_whiteout(os.lstat(self._at(path)))

    def _whiteout(self, path: str) -> None:
        kind = self._kinds.get(path)
        if kind == stat.S_IFDIR:  # "gone below" and "here again": what is below must not shine through
            os.setxattr(self._at(path), whiteouts.OPAQUE_XATTR, b"y")
        elif kind is None:
            os.mknod(self._at(path), stat.S_IFCHR | 0o000, os.makedev(0, 0))
            self._kinds[path] = stat.S_IFCHR

    def _make(self, path: str, entry: tarstream.Member) -> None:
        target, kind = self._at(path), entry.kind
        opaque = self._clear(path, directory=kind == tarstream.DIRECTORY)
        if kind == tarstream.REGULAR:
            self._file(target, entry)
            self._kinds[path] = stat.S_IFREG
            return
        if kind == tarstream.HARDLINK:
            self._hardlink(path, entry)
            return
        if kind == tarstream.DIRECTORY:
            if self._kinds.get(path) != stat.S_IFDIR:
                os.mkdir(target, 0o700)
            if opaque:
                os.setxattr(target, whiteouts.OPAQUE_XATTR, b"y")
            self._kinds[path] = stat.S_IFDIR
            self._times[path] = entry.mtime_ns
        elif kind == tarstream.SYMLINK:
            os.symlink(entry.link, target)
            self._kinds[path] = stat.S_IFLNK
        elif kind == tarstream.FIFO:
            os.mkfifo(target, 0o600)
            self._kinds[path] = stat.S_IFIFO
        elif kind in (tarstream.CHARACTER, tarstream.BLOCK_DEVICE):
            if entry.device == (0, 0):
                raise _malformed(f"a layer holds the device 0:0 as {path!r}")
            own = stat.S_IFCHR if kind == tarstream.CHARACTER else stat.S_IFBLK
            os.mknod(target, own | 0o600, os.makedev(*entry.device))
            self._kinds[path] = own
        else:
            raise _malformed(f"a layer holds {path!r} of unknown type {kind!r}")
        _metadata(target, entry, link=kind == tarstream.SYMLINK)

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
            for known in [known for known in self._kinds if known == path or known.startswith(path + "/")]:
                del self._kinds[known]
                self._times.pop(known, None)
            return False
        was_whiteout = kind == stat.S_IFCHR and self._is_whiteout(path)
        os.unlink(target)
        del self._kinds[path]
        return was_whiteout and directory

    def _hardlink(self, path: str, entry: tarstream.Member) -> None:
        source = _clean(entry.link)
        kind = self._kinds.get(source)
        if kind is None or kind == stat.S_IFDIR or (kind == stat.S_IFCHR and self._is_whiteout(source)):
            raise _malformed(f"a layer links {path!r} to {entry.link!r}, which it does not hold")
        target = self._at(path)
        os.link(self._at(source), target, follow_symlinks=False)
        self._kinds[path] = kind
        # The header of a link holds for the file, as container tools read it.
        _metadata(target, entry, link=kind == stat.S_IFLNK)

    def _file(self, target: str, entry: tarstream.Member) -> None:
        """Owner before mode and attributes: changing it clears set-user-ID bits and file capabilities (chown(2), capabilities(7))."""
        handle = os.open(target, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600)
        try:
            for piece in self._reader.content():
                if isinstance(piece, int):
                    os.lseek(handle, piece, os.SEEK_CUR)
                    continue
                while piece:
                    piece = piece[os.write(handle, piece) :]
            if entry.parts is not None:
                os.ftruncate(handle, entry.size)
            os.fchown(handle, entry.uid, entry.gid)
            os.fchmod(handle, entry.mode & 0o7777)
            _set_attributes(handle, entry)
            os.utime(handle, ns=(entry.mtime_ns, entry.mtime_ns))
        finally:
            os.close(handle)

    def finish(self) -> None:
        """Times of directories last: filling a directory changes them."""
        for path in sorted(self._times, reverse=True):
            os.utime(self._at(path), ns=(self._times[path], self._times[path]))


def _metadata(target: str, entry: tarstream.Member, *, link: bool) -> None:
    """Of everything but the content of files."""
    # A link of a file that is there: changing its owner to the same one would take its capabilities, which GNU tar writes with one name only.
    there = os.lstat(target)
    if (there.st_uid, there.st_gid) != (entry.uid, entry.gid):
        os.lchown(target, entry.uid, entry.gid)
    if not link:
        os.chmod(target, entry.mode & 0o7777)
    _set_attributes(target, entry)
    if entry.kind != tarstream.DIRECTORY:
        os.utime(target, ns=(entry.mtime_ns, entry.mtime_ns), follow_symlinks=False)


def _set_attributes(target: str | int, entry: tarstream.Member) -> None:
    """Those that this file system has no place for are left out, as container tools do."""
    options = {} if isinstance(target, int) else {"follow_symlinks": False}
    for name, value in entry.attributes.items():
        if whiteouts.steers_overlay(name):
            continue
        try:
            os.setxattr(target, name, value, **options)
        except OSError as error:
            if error.errno != errno.EOPNOTSUPP:
                raise


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
