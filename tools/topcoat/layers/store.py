"""Unpacked layers on disk, each downloaded and unpacked once, and overlays of them.

This module must never change a layer once it has its final name, and never touch a mount outside its own directory.

Layout of the store's directory::

    layers/<diff id>/     one unpacked layer, final; its presence says that it is complete and verified
    locks/<diff id>       held while a layer is being unpacked
    tmp/                  being unpacked, and layer archives being written
    mounts/<name>/        upper, work, merged of one overlay; beside it <name>.lock, held while its owner lives
"""

from __future__ import annotations

import contextlib
import errno
import fcntl
import functools
import os
import shutil
import tempfile
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import AbstractContextManager
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from topcoat.errors import ContentError, InfrastructureError
from topcoat.layers import mounts
from topcoat.layers.unpack import unpack
from topcoat.layers.writer import Layer
from topcoat.model import Digest
from topcoat.model.image import check_digest
from topcoat.registry.oci import Descriptor, Image


class BlobSource(Protocol):
    """The one thing the store needs of a registry client."""

    def stream_blob(self, repository: str, digest: Digest, size: int = 0) -> AbstractContextManager[Iterator[bytes]]:
        """The chunks of a blob."""


@dataclass(frozen=True)
class Workspace:
    """A place for one overlay: the directories below (topmost first) and an empty folder that is this owner's alone."""

    lower: tuple[Path, ...]
    directory: Path

    @property
    def upper(self) -> Path:
        """What was changed."""
        return self.directory / "upper"

    @property
    def root(self) -> Path:
        """The merged tree, where it is mounted."""
        return self.directory / "merged"


class LayerStore:
    """Layers of one work folder. Several processes and threads may share it."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory.resolve()
        self._layers = self.directory / "layers"
        self._locks = self.directory / "locks"
        self._tmp = self.directory / "tmp"
        self._mounts = self.directory / "mounts"
        for path in (self._layers, self._locks, self._tmp, self._mounts):
            path.mkdir(parents=True, exist_ok=True)
            path.chmod(0o700)  # nobody may start the set-user-ID programs of an image on this machine
        self.clean()
        self._owned = contextlib.ExitStack()
        self._sweeper = self._owned.enter_context(ThreadPoolExecutor(1, thread_name_prefix="sweep"))
        self._archives = self._owned.enter_context(self._temporary(self._tmp))
        self._archives.mkdir(mode=0o700)

    def close(self) -> None:
        """Delete the layer archives that this store made; unpacked layers stay. A store that is never closed is cleaned by the next one."""
        self._owned.close()

    def wait_swept(self) -> None:
        """Wait until everything that was given up so far is removed."""
        self._sweeper.submit(lambda: None).result()

    def __enter__(self) -> LayerStore:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def clean(self) -> int:
        """Remove what killed runs left: mounts and half-unpacked layers whose owner is gone. Returns how many."""
        removed = 0
        for folder in (self._mounts, self._tmp):
            for lock in sorted(folder.glob("*.lock")):
                with _locked(lock, wait=False) as owned:
                    if owned:
                        _remove(lock.with_suffix(""))
                        lock.unlink(missing_ok=True)
                        removed += 1
        return removed

    def path(self, diff_id: str) -> Path:
        """Where an unpacked layer lies (whether or not it is there).

        :raises UsageError: it is no digest, so it could be any path.
        """
        return self._layers / check_digest(diff_id).removeprefix("sha256:")

    def has(self, diff_id: str) -> bool:
        """Whether a layer is unpacked."""
        return self.path(diff_id).is_dir()

    def ensure(self, client: BlobSource, repository: str, image: Image) -> tuple[Path, ...]:
        """Have every layer of an image unpacked; what is there already is not downloaded.

        :returns: the layers' directories, **topmost first**.
        :raises InfrastructureError: the registry or the disk failed. :raises ContentError: a blob is not what the manifest says.
        """
        for descriptor, diff_id in zip(image.layers, image.diff_ids, strict=True):
            self.add(descriptor, diff_id, functools.partial(client.stream_blob, repository, descriptor.digest, descriptor.size))
        return tuple(self.path(diff_id) for diff_id in reversed(image.diff_ids))

    def add(self, descriptor: Descriptor, diff_id: str, opened: Callable[[], AbstractContextManager[Iterator[bytes]]]) -> Path:
        """Have one layer unpacked, from the chunks that ``opened()`` gives. Two callers at once: the second waits and uses the first's work."""
        final = self.path(diff_id)
        if final.is_dir():
            return final
        with _locked(self._locks / final.name):
            if final.is_dir():
                return final
            with self._temporary(self._tmp) as place:
                place.mkdir(mode=0o755)
                with opened() as chunks:
                    found = unpack(chunks, place)
                # The blob's own digest is the client's business; this one proves the content, whatever way it came and was compressed.
                if found != diff_id:
                    raise ContentError(
                        f"layer {descriptor.digest} has the wrong content (diff id {found}, wanted {diff_id})",
                        next_step="push the image again; its blob does not match its manifest",
                    )
                place.rename(final)
        return final

    def adopt(self, layer: Layer) -> Path:
        """Have a layer that this run wrote unpacked, from its archive: what children see is what the registry holds."""
        return self.add(layer.descriptor, layer.diff_id, lambda: _chunks_of(layer.path))

    @contextlib.contextmanager
    def workspace(self, lower: Sequence[Path]) -> Iterator[Workspace]:
        """A folder of its own for one overlay over these directories (topmost first); emptied and unmounted at the end, also after a kill."""
        with self._temporary(self._mounts, sweep=True) as place:
            place.mkdir(mode=0o700)
            yield Workspace(tuple(lower), place)

    @contextlib.contextmanager
    def mount(self, lower: Sequence[Path], *, devices: bool = False) -> Iterator[Workspace]:
        """An overlay over these directories, mounted in this process's mount namespace.

        :param devices: also mount a small /dev and /proc inside.
        :raises InfrastructureError: no permission (root is needed), or the kernel refused.
        """
        with self.workspace(lower) as space:
            try:
                mounts.prepare_overlay([os.fspath(path) for path in lower], os.fspath(space.directory))
                if devices:
                    mounts.mount_devices(os.fspath(space.root))
            except OSError as error:
                raise mount_error(error) from error
            yield space

    def archive(self) -> Path:
        """A fresh file name for a layer archive, in the store's own file system."""
        handle, name = tempfile.mkstemp(prefix="layer-", suffix=".tar.gz", dir=self._archives)
        os.close(handle)
        return Path(name)

    @contextlib.contextmanager
    def _temporary(self, folder: Path, *, sweep: bool = False) -> Iterator[Path]:
        """A fresh name in a folder, with a lock that says "my owner lives"; whatever is there at the end is unmounted and removed.

        :param sweep: remove it beside the work that follows; ``close`` waits for that.
        """
        lock = Path(tempfile.mkdtemp(dir=folder, prefix="w-"))
        lock.rmdir()
        place, lock = lock, lock.with_name(lock.name + ".lock")
        with contextlib.ExitStack() as owned:
            owned.enter_context(_locked(lock))
            owned.callback(lock.unlink, missing_ok=True)
            owned.callback(_remove, place)
            try:
                yield place
            finally:
                if sweep:
                    mounts.unmount_all(mounts.mounts_below(os.fspath(place)))
                    self._sweeper.submit(owned.pop_all().close)


@contextlib.contextmanager
def _chunks_of(path: Path) -> Iterator[Iterator[bytes]]:
    with path.open("rb") as stream:
        yield iter(lambda: stream.read(1 << 18), b"")


def mount_error(error: OSError) -> InfrastructureError:
    """What a failed mount means to a person."""
    if error.errno in (errno.EPERM, errno.EACCES):
        return InfrastructureError(
            f"no permission to mount an image ({error.strerror})",
            retriable=False,
            next_step="run as root with CAP_SYS_ADMIN (sudo, or a privileged node)",
        )
    return InfrastructureError(
        f"cannot mount an image: {error.strerror}", retriable=False, next_step="the work folder must lie on a local file system such as ext4 or xfs"
    )


def _remove(place: Path) -> None:
    """Unmount everything below and delete; never follows a link out."""
    if not place.is_dir() or place.is_symlink():
        return
    mounts.unmount_all(mounts.mounts_below(os.fspath(place)))
    if not mounts.mounts_below(os.fspath(place)):
        shutil.rmtree(place, ignore_errors=True)


@contextlib.contextmanager
def _locked(path: Path, *, wait: bool = True) -> Iterator[bool]:
    """Hold an exclusive lock on a file; yields whether it is ours (always, when waiting). A lock file deleted meanwhile is taken anew."""
    while True:
        handle = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | (0 if wait else fcntl.LOCK_NB))
        except BlockingIOError:
            os.close(handle)
            yield False
            return
        try:
            same = os.path.samestat(os.fstat(handle), path.stat())
        except FileNotFoundError:
            same = False
        if same:
            break
        os.close(handle)
        if not wait:
            yield False
            return
    try:
        yield True
    finally:
        os.close(handle)
