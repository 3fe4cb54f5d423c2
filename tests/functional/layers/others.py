"""Images as the container tools of others unpack them.

This module must never use our own reader: what it shows is what a deployer sees.
"""

from __future__ import annotations

import contextlib
import json
import subprocess
from collections.abc import Iterator, Sequence
from pathlib import Path

from topcoat.layers import Layer
from topcoat.registry import Image
from topcoat.registry.oci import digest_of, image_manifest
from topcoat_demo.trees import differences, tree

TOOLS = ("buildah", "podman")
__all__ = ["TOOLS", "Storage", "differences", "tree", "write_layout"]


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


def image_of(layers: Sequence[Layer]) -> Image:
    """An image of these layers, lowest first."""
    config = {"architecture": "amd64", "os": "linux", "config": {}, "rootfs": {"type": "layers", "diff_ids": [layer.diff_id for layer in layers]}}
    return Image(config, tuple(layer.descriptor for layer in layers))


def write_layout(folder: Path, layers: Sequence[Layer]) -> str:
    """An OCI layout of one image of these layers, lowest first; how the tools name it."""
    blobs = folder / "blobs/sha256"
    blobs.mkdir(parents=True)
    manifest, body = image_manifest(image_of(layers))
    for content in (manifest, body, *(layer.path.read_bytes() for layer in layers)):
        (blobs / digest_of(content).removeprefix("sha256:")).write_bytes(content)
    (folder / "oci-layout").write_text('{"imageLayoutVersion":"1.0.0"}')
    entry = {"mediaType": "application/vnd.oci.image.manifest.v1+json", "digest": digest_of(manifest), "size": len(manifest)}
    (folder / "index.json").write_text(
        json.dumps({"schemaVersion": 2, "manifests": [entry | {"annotations": {"org.opencontainers.image.ref.name": "t"}}]})
    )
    return f"oci:{folder}:t"
