"""Images as the container tools of others unpack them, and trees as values that can be compared.

This module must never use our own reader: what it shows is what a deployer sees.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import stat
import subprocess
from collections.abc import Iterator, Sequence
from pathlib import Path

from topcoat.layers import Layer
from topcoat.registry import Image
from topcoat.registry.oci import Descriptor, digest_of, image_manifest

TOOLS = ("buildah", "podman")


def tree(root: Path, *, without: Sequence[str] = ()) -> dict[str, tuple]:
    """Every path below a root with all that a file system knows of it.

    Hard links are given as the first name of the same file; times of files in nanoseconds, of directories not at all.

    :param without: paths left out, with what is below them.
    """
    found: dict[str, tuple] = {}
    first: dict[tuple[int, int], str] = {}
    for folder, names, files in os.walk(root):
        names.sort()
        for name in sorted(names + files):
            place = os.path.join(folder, name)
            path = os.path.relpath(place, root)
            if any(path == skipped or path.startswith(skipped + "/") for skipped in without):
                continue
            found[path] = _facts(place, path, first)
    return found


def _facts(place: str, path: str, first: dict[tuple[int, int], str]) -> tuple:
    status = os.lstat(place)
    content, mtime = "", status.st_mtime_ns
    if stat.S_ISLNK(status.st_mode):
        content = os.readlink(place)
    elif stat.S_ISREG(status.st_mode):
        with open(place, "rb") as source:
            content = hashlib.file_digest(source, "sha256").hexdigest()
    elif stat.S_ISDIR(status.st_mode):
        mtime = 0
    names = os.listxattr(place, follow_symlinks=False)
    attributes = {name: os.getxattr(place, name, follow_symlinks=False).hex() for name in sorted(names) if not name.startswith("trusted.overlay.")}
    same = "" if stat.S_ISDIR(status.st_mode) else first.setdefault((status.st_dev, status.st_ino), path)
    return (oct(status.st_mode), status.st_uid, status.st_gid, mtime, status.st_rdev, content, attributes, same)


def differences(one: dict[str, tuple], other: dict[str, tuple]) -> dict[str, list]:
    """What two trees do not share, by path."""
    return {path: [one.get(path), other.get(path)] for path in sorted(one.keys() | other.keys()) if one.get(path) != other.get(path)}


class Storage:
    """A container storage of its own for buildah and podman."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        self.directory.mkdir(exist_ok=True)

    def run(self, tool: str, *arguments: str) -> str:
        """Run one of the tools on the storage; its output."""
        words = [tool, "--root", str(self.directory / "root"), "--runroot", str(self.directory / "run"), "--storage-driver", "overlay"]
        done = subprocess.run([*words, *arguments], capture_output=True, text=True, check=False)
        if done.returncode:
            raise AssertionError(f"{tool} {' '.join(arguments)}: {done.stdout}{done.stderr}")
        return done.stdout.strip()

    @contextlib.contextmanager
    def unpacked(self, tool: str, reference: str, *options: str) -> Iterator[Path]:
        """The files of an image that a tool pulled (``oci:``, ``docker://``), and nothing that was pulled before."""
        identity = self.run(tool, "pull", "--quiet", *options, reference).splitlines()[-1]
        try:
            if tool == "podman":
                yield Path(self.run(tool, "image", "mount", identity))
            else:
                container = self.run(tool, "from", "--pull=never", identity)
                yield Path(self.run(tool, "mount", container))
                self.run(tool, "rm", container)
        finally:
            self.run(tool, "rmi", "--force", identity)


def write_layout(folder: Path, layers: Sequence[Layer]) -> str:
    """An OCI layout of one image of these layers, lowest first; how the tools name it."""
    blobs = folder / "blobs/sha256"
    blobs.mkdir(parents=True)
    config = {"architecture": "amd64", "os": "linux", "config": {}, "rootfs": {"type": "layers", "diff_ids": [layer.diff_id for layer in layers]}}
    image = Image(config, tuple(Descriptor(layer.media_type, layer.digest, layer.size) for layer in layers))
    manifest, body = image_manifest(image)
    for content in (manifest, body, *(layer.path.read_bytes() for layer in layers)):
        (blobs / digest_of(content).removeprefix("sha256:")).write_bytes(content)
    (folder / "oci-layout").write_text('{"imageLayoutVersion":"1.0.0"}')
    entry = {"mediaType": "application/vnd.oci.image.manifest.v1+json", "digest": digest_of(manifest), "size": len(manifest)}
    (folder / "index.json").write_text(
        json.dumps({"schemaVersion": 2, "manifests": [entry | {"annotations": {"org.opencontainers.image.ref.name": "t"}}]})
    )
    return f"oci:{folder}:t"
