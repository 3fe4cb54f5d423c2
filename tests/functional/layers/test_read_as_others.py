"""Layers of other tools: what GNU tar and zstd write is unpacked as buildah and podman unpack it."""

from __future__ import annotations

import bz2
import gzip
import hashlib
import lzma
import os
import struct
import subprocess
import tempfile
import unittest
from pathlib import Path

import zstandard

from tests.functional.layers.others import TOOLS, Storage, differences, tree, write_layout
from topcoat.layers import Layer
from topcoat.layers.unpack import unpack
from topcoat.registry.oci import Descriptor, digest_of

FORMATS = {
    "ustar": ("--format=ustar",),
    "pax": ("--format=posix", "--xattrs", "--xattrs-include=*"),
    "pax with a global header": ("--format=posix", "--pax-option=globexthdr.name=/g,comment=x,mtime=1"),
    "gnu": ("--format=gnu",),
    "old gnu": ("--format=oldgnu",),
    "pax sparse 0.0": ("--format=posix", "--sparse", "--sparse-version=0.0"),
    "pax sparse 0.1": ("--format=posix", "--sparse", "--sparse-version=0.1"),
    "pax sparse 1.0": ("--format=posix", "--sparse", "--sparse-version=1.0"),
}


def _frames(plain: bytes) -> bytes:
    """As zstd:chunked: many frames, and a table of contents in a skippable one at the end."""
    engine = zstandard.ZstdCompressor()
    skippable = struct.pack("<II", 0x184D2A50, 5) + b"table"
    return b"".join(engine.compress(plain[at : at + 5000]) for at in range(0, len(plain), 5000)) + skippable


COMPRESSIONS = {
    "none": (lambda plain: plain, "application/vnd.oci.image.layer.v1.tar"),
    "gzip": (gzip.compress, "application/vnd.oci.image.layer.v1.tar+gzip"),
    "gzip in members": (lambda plain: gzip.compress(plain[:1000]) + gzip.compress(plain[1000:]), "application/vnd.oci.image.layer.v1.tar+gzip"),
    "zstd": (zstandard.compress, "application/vnd.oci.image.layer.v1.tar+zstd"),
    "zstd in frames": (_frames, "application/vnd.oci.image.layer.v1.tar+zstd"),
    "zstd, wide window": (
        lambda plain: zstandard.ZstdCompressor(
            compression_params=zstandard.ZstdCompressionParameters(window_log=27, enable_ldm=True, write_content_size=False)
        ).compress(plain),
        "application/vnd.oci.image.layer.v1.tar+zstd",
    ),
}
CAPABLE = bytes.fromhex("0000000200240000000000000000000000000000")
# Read here, though no media type of the image specification names them, or podman does not know them.
OTHERS = {
    "xz": lzma.compress,
    "bzip2": bz2.compress,
    "a skippable frame first": lambda plain: b"\x50\x2a\x4d\x18\1\0\0\0x" + zstandard.compress(plain),
}


class ReadAsOthers(unittest.TestCase):
    def setUp(self) -> None:
        holder = tempfile.TemporaryDirectory(prefix="topcoat-read-")
        self.addCleanup(holder.cleanup)
        self.folder = Path(holder.name)
        self.storage = Storage(self.folder / "storage")
        self.addCleanup(self.storage.run, "podman", "image", "unmount", "--all")
        self.root = self.folder / "root"
        self.root.mkdir(mode=0o755)
        self.make()

    def make(self) -> None:
        """Holes at the beginning, in many places and at the end; a long name, links, a set-user-id file of somebody."""
        for name, parts, size in (("holes", ((8192, b"x" * 4096), (1 << 20, b"y" * 100)), 3 << 20), ("empty-hole", (), 1 << 20)):
            with (self.root / name).open("wb") as sink:
                for offset, data in parts:
                    sink.seek(offset)
                    sink.write(data)
                sink.truncate(size)
        with (self.root / "comb").open("wb") as sink:
            for number in range(60):  # more parts than a header of the old format holds
                sink.seek(number * 16384)
                sink.write(b"z" * 4096)
        (self.root / "d").mkdir()
        (self.root / "d" / ("n" * 60)).write_text("long")
        os.link(self.root / "d" / ("n" * 60), self.root / "d/second")
        (self.root / "link").symlink_to("d/second")
        program = self.root / "program"
        program.write_text("#!/bin/sh\n")
        os.chown(program, 7, 1 << 20)
        program.chmod(0o4755)
        os.setxattr(program, "security.capability", CAPABLE)
        os.link(program, self.root / "program-too")  # GNU tar writes the attributes with the first name only
        for place in (*self.root.rglob("*"), self.root):
            os.utime(place, (1_500_000_000, 1_500_000_000), follow_symlinks=False)

    def archive(self, *options: str) -> bytes:
        command = ["tar", "--create", "--sort=name", "--numeric-owner", "--directory", str(self.root), *options, "."]
        return subprocess.run(command, capture_output=True, check=True).stdout

    def layer(self, plain: bytes, blob: bytes, media_type: str) -> Layer:
        path = self.folder / "layer"
        path.write_bytes(blob)
        return Layer(path, Descriptor(media_type, digest_of(blob), len(blob)), digest_of(plain), 1)

    def ours(self, plain: bytes, blob: bytes) -> dict:
        with tempfile.TemporaryDirectory(dir=self.folder) as folder:
            place = Path(folder) / "ours"
            place.mkdir(mode=0o755)
            pieces = [blob[at : at + 700] for at in range(0, len(blob), 700)]
            self.assertEqual(f"sha256:{hashlib.sha256(plain).hexdigest()}", unpack(pieces, place))
            return tree(place)

    def test_formats(self) -> None:
        for name, options in FORMATS.items():
            plain = self.archive(*options)
            ours = self.ours(plain, plain)
            reference = write_layout(self.folder / f"layout-{len(os.listdir(self.folder))}", [self.layer(plain, plain, COMPRESSIONS["none"][1])])
            for tool in TOOLS:
                with self.subTest(name, tool=tool), self.storage.unpacked(tool, reference) as root:
                    self.assertEqual(differences(tree(root), ours), {})

    def test_the_old_sparse_format(self) -> None:
        """podman refuses it; tar itself is the reference."""
        plain = self.archive("--format=gnu", "--sparse")
        there = self.folder / "there"
        there.mkdir(mode=0o755)
        subprocess.run(["tar", "--extract", "--numeric-owner", "--same-permissions", "--directory", there], input=plain, check=True)
        self.assertEqual(differences(tree(there), self.ours(plain, plain)), {})

    def test_compressions(self) -> None:
        plain = self.archive("--format=posix", "--sparse")
        expected = self.ours(plain, plain)
        for name, (compress, media_type) in COMPRESSIONS.items():
            blob = compress(plain)
            with self.subTest(name):
                self.assertEqual(differences(expected, self.ours(plain, blob)), {})
            reference = write_layout(self.folder / f"layout-{len(os.listdir(self.folder))}", [self.layer(plain, blob, media_type)])
            with self.subTest(name, tool="podman"), self.storage.unpacked("podman", reference) as root:
                self.assertEqual(differences(tree(root), expected), {})
        for name, compress in OTHERS.items():
            with self.subTest(name):
                self.assertEqual(differences(expected, self.ours(plain, compress(plain))), {})
