"""The store unpacks a layer once, whoever asks, and a killed run leaves nothing that counts."""

import contextlib
import gzip
import hashlib
import io
import os
import signal
import stat
import subprocess
import sys
import tarfile
import tempfile
import textwrap
import threading
import time
import unittest
from pathlib import Path

from topcoat.errors import ContentError, TopcoatError
from topcoat.layers import LayerStore
from topcoat.registry.oci import Descriptor, Image

ROOT = os.geteuid() == 0


def blob(text: str) -> bytes:
    stream = io.BytesIO()
    with tarfile.open(fileobj=stream, mode="w") as archive:
        entry = tarfile.TarInfo("f")
        entry.uid, entry.gid, entry.size = os.geteuid(), os.getegid(), len(text)
        archive.addfile(entry, io.BytesIO(text.encode()))
    return gzip.compress(stream.getvalue(), mtime=0)


def image_of(*blobs: bytes) -> Image:
    layers = tuple(Descriptor("application/vnd.oci.image.layer.v1.tar+gzip", digest(data), len(data)) for data in blobs)
    return Image({"rootfs": {"type": "layers", "diff_ids": [digest(gzip.decompress(data)) for data in blobs]}}, layers)


def digest(data: bytes) -> str:
    return f"sha256:{hashlib.sha256(data).hexdigest()}"


class Blobs:
    """Blobs in memory, counted."""

    def __init__(self, *blobs: bytes, slow: float = 0.0) -> None:
        self.blobs = {digest(data): data for data in blobs}
        self.asked: list[str] = []
        self.slow = slow

    @contextlib.contextmanager
    def stream_blob(self, repository: str, wanted: str, size: int = 0):
        self.asked.append(wanted)
        time.sleep(self.slow)
        yield iter([self.blobs[wanted]])


class Store(unittest.TestCase):
    def setUp(self) -> None:
        holder = tempfile.TemporaryDirectory()
        self.addCleanup(holder.cleanup)
        self.directory = Path(holder.name)

    def test_topmost_first_and_each_layer_once(self) -> None:
        low, high = blob("low"), blob("high")
        blobs = Blobs(low, high)
        with LayerStore(self.directory) as store:
            paths = store.ensure(blobs, "r", image_of(low, high))
            self.assertEqual([(path / "f").read_text() for path in paths], ["high", "low"])
            store.ensure(blobs, "r", image_of(low))
        with LayerStore(self.directory) as store:
            store.ensure(blobs, "r", image_of(low, high))
        self.assertEqual(len(blobs.asked), 2)

    def test_many_callers_at_once_download_once(self) -> None:
        data = blob("shared")
        blobs = Blobs(data, slow=0.05)
        with LayerStore(self.directory) as store:
            threads = [threading.Thread(target=store.ensure, args=(blobs, "r", image_of(data))) for _ in range(6)]
            for thread in threads:
                thread.start()
            for thread in threads:
                thread.join()
        self.assertEqual(len(blobs.asked), 1)

    def test_wrong_content_is_refused_and_not_kept(self) -> None:
        good, bad = blob("good"), blob("bad")
        blobs = Blobs()
        blobs.blobs[digest(good)] = bad
        with LayerStore(self.directory) as store:
            with self.assertRaises(ContentError):
                store.ensure(blobs, "r", image_of(good))
            self.assertEqual(list((self.directory / "layers").iterdir()), [])
            blobs.blobs[digest(good)] = good
            store.ensure(blobs, "r", image_of(good))

    def test_wrong_diff_id_is_refused(self) -> None:
        data = blob("x")
        image = Image({"rootfs": {"type": "layers", "diff_ids": [digest(b"other")]}}, image_of(data).layers)
        with LayerStore(self.directory) as store, self.assertRaises(ContentError):
            store.ensure(Blobs(data), "r", image)

    def test_a_diff_id_that_is_no_digest_never_becomes_a_path(self) -> None:
        for text in ("sha256:../../../etc", "../etc", "/etc", "", "sha256:" + "g" * 64, "sha512:" + "a" * 64, "sha256:" + "a" * 64 + "\n"):
            with self.subTest(text), LayerStore(self.directory) as store, self.assertRaises(TopcoatError):
                store.has(text)

    def test_nobody_else_may_enter(self) -> None:
        for name in ("layers", "tmp", "mounts", "locks"):
            with self.subTest(name), LayerStore(self.directory) as store:
                self.assertEqual(stat.S_IMODE((store.directory / name).stat().st_mode), 0o700)

    def test_archives_go_with_the_store(self) -> None:
        with LayerStore(self.directory) as store:
            path = store.archive()
            self.assertTrue(path.exists())
            self.assertNotEqual(store.archive(), path)
        self.assertFalse(path.exists())

    def test_kill_9_while_unpacking_leaves_nothing_that_counts(self) -> None:
        data = blob("x" * 1000)
        program = textwrap.dedent(
            f"""
            import contextlib, time
            from pathlib import Path
            from topcoat.layers import LayerStore
            from topcoat.registry.oci import Descriptor
            data = {data!r}
            def chunks():
                yield data[:50]
                print("half", flush=True)
                time.sleep(300)
            store = LayerStore(Path({str(self.directory)!r}))
            store.add(Descriptor("", {digest(data)!r}, 1), {digest(gzip.decompress(data))!r}, lambda: contextlib.nullcontext(chunks()))
            """
        )
        with subprocess.Popen([sys.executable, "-c", program], stdout=subprocess.PIPE) as child:
            self.assertEqual(child.stdout.readline(), b"half\n")
            with LayerStore(self.directory) as other:  # a living owner's folder is not touched
                self.assertGreaterEqual(len(list((self.directory / "tmp").glob("*.lock"))), 3)
                self.assertEqual(other.clean(), 0)
            child.send_signal(signal.SIGKILL)
            child.wait()
        with LayerStore(self.directory) as store:
            self.assertEqual(len(list((self.directory / "tmp").glob("*.lock"))), 1)
            self.assertFalse(store.has(digest(gzip.decompress(data))))
            store.ensure(Blobs(data), "r", image_of(data))
            self.assertTrue(store.has(digest(gzip.decompress(data))))


if __name__ == "__main__":
    unittest.main()
