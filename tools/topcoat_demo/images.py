"""Base images without a container engine: packages into a root with rpm, the root into one layer, the layer into an OCI layout.

This module must never write a time of the day or a number of this host into an image: the same packages give the same digest.
"""

from __future__ import annotations

import gzip
import hashlib
import io
import json
import os
import stat
import tarfile
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from topcoat.errors import InfrastructureError
from topcoat.layers import database
from topcoat.model import Digest
from topcoat.process import run
from topcoat_demo.rpms import EPOCH

_MANIFEST = "application/vnd.oci.image.manifest.v1+json"
_CONFIG = "application/vnd.oci.image.config.v1+json"
_LAYER = "application/vnd.oci.image.layer.v1.tar+gzip"
_DATABASE = "var/lib/rpm"


@dataclass(frozen=True)
class Layout:
    """An OCI layout directory that holds one image."""

    directory: Path
    digest: Digest
    """Of its manifest."""


def install(rpms: Iterable[Path], root: Path) -> None:
    """Install packages into an empty root with rpm; dependencies are checked, the database (sqlite) is /var/lib/rpm.

    :raises InfrastructureError: rpm refuses, with its reasons.
    """
    root.mkdir(parents=True, exist_ok=True)
    environment = {**os.environ, "SOURCE_DATE_EPOCH": str(EPOCH), "HOME": str(root), "LC_ALL": "C.UTF-8"}
    command = [
        "rpm",
        "--root",
        str(root.absolute()),
        "--dbpath",
        f"/{_DATABASE}",
        "--define",
        "_db_backend sqlite",
        "--define",
        "_pkgverify_level none",
    ]
    run([*command, "-i", "--nosignature", *sorted(map(str, rpms))], timeout=300, env=environment, failure=InfrastructureError)
    clean(root)


def clean(root: Path) -> None:
    """Remove what a transaction leaves beside the files: locks, write-ahead logs, caches."""
    database.settle(root)
    for leftover in (root / _DATABASE).iterdir():
        if leftover.name != "rpmdb.sqlite":
            leftover.unlink()


def write_layer(root: Path, path: Path) -> tuple[Digest, Digest, int]:
    """Write a root as one gzip layer, entries sorted, times no later than the distribution's, names of owners left out.

    :returns: digest of the compressed file, digest of the tar stream (diff_id), compressed size in bytes.
    """
    diff = hashlib.sha256()

    class Tee(io.RawIOBase):
        def __init__(self, sink: gzip.GzipFile) -> None:
            self.sink = sink

        def writable(self) -> bool:
            return True

        def write(self, data: bytes) -> int:  # type: ignore[override]
            diff.update(data)
            return self.sink.write(data)

    with path.open("wb") as raw:
        with gzip.GzipFile("", "wb", 6, raw, mtime=0) as packed:
            with tarfile.open(fileobj=Tee(packed), mode="w|", format=tarfile.PAX_FORMAT) as archive:
                _add_tree(archive, root)
    data = path.read_bytes()
    return f"sha256:{hashlib.sha256(data).hexdigest()}", f"sha256:{diff.hexdigest()}", len(data)


def _add_tree(archive: tarfile.TarFile, root: Path) -> None:
    seen: dict[tuple[int, int], str] = {}
    for folder, names, files in os.walk(root):
        names.sort()
        for name in sorted(names + files):
            path = Path(folder, name)
            relative = str(path.relative_to(root))
            facts = path.lstat()
            entry = tarfile.TarInfo(relative)
            entry.mode = stat.S_IMODE(facts.st_mode)
            entry.uid, entry.gid = facts.st_uid, facts.st_gid
            entry.mtime = min(int(facts.st_mtime), EPOCH)
            if stat.S_ISLNK(facts.st_mode):
                entry.type, entry.linkname, entry.mode = tarfile.SYMTYPE, str(path.readlink()), 0o777
                archive.addfile(entry)
            elif stat.S_ISDIR(facts.st_mode):
                entry.type = tarfile.DIRTYPE
                archive.addfile(entry)
            elif stat.S_ISREG(facts.st_mode):
                _add_file(archive, path, entry, facts, seen)


def _add_file(archive: tarfile.TarFile, path: Path, entry: tarfile.TarInfo, facts: os.stat_result, seen: dict[tuple[int, int], str]) -> None:
    for name in os.listxattr(path):
        if name == "security.capability":
            entry.pax_headers[f"SCHILY.xattr.{name}"] = os.getxattr(path, name).decode("utf-8", "surrogateescape")
    first = seen.setdefault((facts.st_dev, facts.st_ino), entry.name) if facts.st_nlink > 1 else entry.name
    if first != entry.name:
        entry.type, entry.linkname = tarfile.LNKTYPE, first
        archive.addfile(entry)
        return
    entry.size = facts.st_size
    with path.open("rb") as stream:
        archive.addfile(entry, stream)


def write_layout(
    root: Path, folder: Path, *, name: str, environment: Mapping[str, str], command: Sequence[str], labels: Mapping[str, str] | None = None
) -> Layout:
    """Write the root as an OCI layout of one image with one layer.

    :param folder: is made; must not exist.
    """
    blobs = folder / "blobs/sha256"
    blobs.mkdir(parents=True)
    digest, diff_id, size = write_layer(root, blobs / ".layer")
    (blobs / ".layer").rename(blobs / digest.removeprefix("sha256:"))

    def put(document: object) -> dict[str, object]:
        data = json.dumps(document, sort_keys=True, separators=(",", ":")).encode()
        number = hashlib.sha256(data).hexdigest()
        (blobs / number).write_bytes(data)
        return {"digest": f"sha256:{number}", "size": len(data)}

    created = "2025-01-01T00:00:00Z"
    configuration = {
        "created": created,
        "architecture": "amd64",
        "os": "linux",
        "config": {
            "Env": [f"{key}={value}" for key, value in environment.items()],
            "Cmd": list(command),
            "Labels": {"org.opencontainers.image.title": name, **(labels or {})},
        },
        "rootfs": {"type": "layers", "diff_ids": [diff_id]},
        "history": [{"created": created, "created_by": f"topcoat_demo: packages of {name}"}],
    }
    manifest = {
        "schemaVersion": 2,
        "mediaType": _MANIFEST,
        "config": {"mediaType": _CONFIG, **put(configuration)},
        "layers": [{"mediaType": _LAYER, "digest": digest, "size": size}],
    }
    entry = {"mediaType": _MANIFEST, **put(manifest)}
    (folder / "oci-layout").write_text('{"imageLayoutVersion":"1.0.0"}')
    (folder / "index.json").write_text(json.dumps({"schemaVersion": 2, "manifests": [entry]}, sort_keys=True))
    return Layout(folder, str(entry["digest"]))
