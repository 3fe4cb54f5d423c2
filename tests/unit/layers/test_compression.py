"""How layers are compressed: the same archive in each, and a table of contents that says where each file is."""

import base64
import gzip
import hashlib
import io
import json
import os
import struct
import tarfile
import tempfile
import unittest
from pathlib import Path

import fastcrc
import zstandard

from topcoat.archives import tarstream
from topcoat.archives.tarstream import NANO
from topcoat.layers import Compression, Layer
from topcoat.layers.archive import Archive, set_time
from topcoat.model.labels import CHUNKED_CHECKSUM, CHUNKED_POSITION, CHUNKED_TARSPLIT

CONTENTS = {"opt/empty": b"", "opt/small": b"hello", "opt/large": os.urandom(700_000), "o" * 120: b"long", "opt/ümlaut": b"text"}


def decompressed(blob: bytes) -> bytes:
    return zstandard.ZstdDecompressor().stream_reader(blob, read_across_frames=True).read()


class Case(unittest.TestCase):
    def setUp(self) -> None:
        self.folder = Path(self.enterContext(tempfile.TemporaryDirectory()))

    def write(self, compression: Compression, contents: dict[str, bytes] = CONTENTS, **values: int) -> tuple[Layer, bytes]:
        path = self.folder / "layer"
        with Archive(path, compression) as archive:
            folder = tarfile.TarInfo("opt/")
            folder.type, folder.mode, folder.mtime = tarfile.DIRTYPE, 0o755, 5
            archive.add(folder, {})
            for name, content in contents.items():
                info = tarfile.TarInfo(name)
                info.size, info.mode, info.mtime = len(content), 0o644, 1_500_000_000
                for key, value in values.items():
                    setattr(info, key, value)
                (self.folder / "content").write_bytes(content)
                archive.add_file(info, {"SCHILY.xattr.user.a": b"\xff", "mtime": b"1500000000.25"}, str(self.folder / "content"))
            link = tarfile.TarInfo("opt/link")
            link.type, link.linkname = tarfile.LNKTYPE, "opt/small"
            archive.add(link, {})
        return Layer.of(archive), path.read_bytes()


class Formats(Case):
    def test_one_archive_in_each(self) -> None:
        plain = set()
        for kind in Compression:
            layer, blob = self.write(kind)
            archive = gzip.decompress(blob) if kind is Compression.GZIP else decompressed(blob)
            plain.add(archive)
            self.assertEqual(layer.digest, f"sha256:{hashlib.sha256(blob).hexdigest()}")
            self.assertEqual(layer.diff_id, f"sha256:{hashlib.sha256(archive).hexdigest()}")
            self.assertEqual((layer.descriptor.size, layer.entries), (len(blob), 7))
            self.assertEqual(layer.descriptor, self.write(kind)[0].descriptor)
            self.assertEqual(bool(layer.descriptor.annotations), kind is Compression.ZSTD_CHUNKED)
        self.assertEqual(len(plain), 1)

    def test_what_docker_has_no_name_for(self) -> None:
        for kind in Compression:
            self.assertIs(Compression.wanted(kind.value, docker=True), Compression.GZIP)
            self.assertIs(Compression.wanted(kind.value, docker=False), kind)


class Chunked(Case):
    def table(self, layer: Layer, blob: bytes) -> dict:
        notes = dict(layer.descriptor.annotations)
        offset, size, plain_size, kind = map(int, notes[CHUNKED_POSITION].split(":"))
        packed = blob[offset : offset + size]
        self.assertEqual(notes[CHUNKED_CHECKSUM], f"sha256:{hashlib.sha256(packed).hexdigest()}")
        plain = zstandard.ZstdDecompressor().decompress(packed)
        self.assertEqual((len(plain), kind), (plain_size, 1))
        split = self.split_place(layer)
        self.assertEqual(struct.unpack("<7Q8s", blob[-64:]), (offset, size, plain_size, 1, *split, b"GNUlInUx"))
        return json.loads(plain)

    def split_place(self, layer: Layer) -> tuple[int, ...]:
        return tuple(map(int, dict(layer.descriptor.annotations)[CHUNKED_TARSPLIT].split(":")))

    def test_each_file_where_the_table_says(self) -> None:
        layer, blob = self.write(Compression.ZSTD_CHUNKED)
        entries = {entry["name"]: entry for entry in self.table(layer, blob)["entries"]}
        self.assertEqual(list(entries), ["opt/", *CONTENTS, "opt/link"])
        for name, content in CONTENTS.items():
            entry = entries[name]
            self.assertEqual(entry.get("size", 0), len(content))
            self.assertEqual((entry["type"], entry["mode"], entry["modtime"]), ("reg", 0o644, "2017-07-14T02:40:00.25Z"))
            self.assertEqual(entry["xattrs"], {"user.a": base64.b64encode(b"\xff").decode()})
            if content:
                self.assertEqual(decompressed(blob[entry["offset"] : entry["endOffset"]]), content)
                self.assertEqual(entry["digest"], f"sha256:{hashlib.sha256(content).hexdigest()}")
        self.assertEqual(entries["opt/"], {"type": "dir", "name": "opt/", "mode": 0o755, "modtime": "1970-01-01T00:00:05Z"})
        self.assertEqual((entries["opt/link"]["type"], entries["opt/link"]["linkName"]), ("hardlink", "opt/small"))

    def test_the_archive_comes_again_from_its_headers_and_files(self) -> None:
        layer, blob = self.write(Compression.ZSTD_CHUNKED)
        offset, size, plain_size = self.split_place(layer)
        packed = blob[offset : offset + size]
        self.assertEqual(self.table(layer, blob)["tarSplitDigest"], f"sha256:{hashlib.sha256(packed).hexdigest()}")
        plain = zstandard.ZstdDecompressor().decompress(packed)
        self.assertEqual(len(plain), plain_size)
        again = b""
        for position, line in enumerate(plain.splitlines()):
            entry = json.loads(line)
            self.assertEqual(entry["position"], position)
            if entry["type"] == 2:
                again += base64.b64decode(entry["payload"])
            elif entry["payload"]:
                content = CONTENTS[entry["name"]]
                self.assertEqual(base64.b64decode(entry["payload"]), fastcrc.crc64.go_iso(content).to_bytes(8, "big"))
                self.assertEqual(entry["size"], len(content))
                again += content
        self.assertEqual(layer.diff_id, f"sha256:{hashlib.sha256(again).hexdigest()}")

    def test_owners_that_no_field_holds(self) -> None:
        layer, blob = self.write(Compression.ZSTD_CHUNKED, uid=4_000_000_000)
        self.assertEqual({entry.get("uid") for entry in self.table(layer, blob)["entries"] if entry["type"] == "reg"}, {4_000_000_000})

    def test_names_that_are_no_text_have_no_table(self) -> None:
        layer, blob = self.write(Compression.ZSTD_CHUNKED, {os.fsdecode(b"caf\xe9"): b"x"})
        self.assertEqual(layer.descriptor.annotations, ())
        self.assertEqual(layer.diff_id, f"sha256:{hashlib.sha256(decompressed(blob)).hexdigest()}")

    def test_a_time_that_no_calendar_has_is_in_the_archive_and_in_no_table(self) -> None:
        late, path = 1 << 39, self.folder / "late"
        with Archive(path, Compression.ZSTD_CHUNKED) as archive:
            info, records = tarfile.TarInfo("late"), {}
            set_time(info, records, late * NANO)
            archive.add(info, records)
        self.assertEqual(Layer.of(archive).descriptor.annotations, ())
        (entry,) = tarstream.Reader(io.BytesIO(decompressed(path.read_bytes())).read)
        self.assertEqual(entry.mtime_ns, late * NANO)
