"""Layers of ours as buildah and podman unpack them: every name of a file has the file's own owner, mode, time and attributes."""

import os
import secrets
import shutil
import stat
import subprocess
import tempfile
import unittest
from collections.abc import Sequence
from pathlib import Path

from tests.functional.layers.others import TOOLS, Storage, differences, image_of, tree, write_layout
from tests.functional.updater.world import World
from topcoat.layers import Compression, Layer, LayerStore, write_layers
from topcoat.layers.unpack import unpack

EPOCH = 1_700_000_000
CAPABILITY = bytes.fromhex("0100000200040000000000000000000000000000")


class Case(unittest.TestCase):
    def setUp(self) -> None:
        # buildah and podman make an image name of the path, and names with "_" at an edge, as tempfile gives some, are none.
        self.folder = Path(tempfile.gettempdir()) / f"topcoat-others-{secrets.token_hex(8)}"
        self.folder.mkdir(mode=0o700)
        self.addCleanup(shutil.rmtree, self.folder)
        self.store = LayerStore(self.folder / "store")
        self.addCleanup(self.store.close)
        self.storage = Storage(self.folder / "storage")
        self.addCleanup(self._unmount)

    def _unmount(self) -> None:
        self.storage.run("podman", "image", "unmount", "--all")

    def put(self, root: Path, path: str, content: str, *, mode: int = 0o644, owner: tuple[int, int] = (0, 0), mtime: int = 1_600_000_000) -> Path:
        place = root / path
        place.parent.mkdir(parents=True, exist_ok=True)
        place.write_text(content)
        os.chown(place, *owner)
        place.chmod(mode)
        os.utime(place, (mtime, mtime))
        return place

    def link(self, first: Path, *others: str) -> None:
        for name in others:
            place = first.parents[len(first.relative_to(self.root).parts) - 1] / name
            place.parent.mkdir(parents=True, exist_ok=True)
            os.link(first, place, follow_symlinks=False)


class HardLinks(Case):
    def test_files_of_every_kind(self) -> None:
        self.root = root = self.folder / "root"
        root.mkdir(mode=0o755)
        self.link(self.put(root, "opt/hl/a", "plain", mode=0o755), "opt/hl/b", "usr/lib/c", "aaa/first")
        self.link(self.put(root, "usr/bin/su1", "suid", mode=0o4755, owner=(1, 4)), "usr/bin/su2", "bin2/su3")
        capable = self.put(root, "usr/bin/cap1", "cap", mode=0o750, owner=(7, 8))
        os.setxattr(capable, "security.capability", CAPABILITY)
        os.setxattr(capable, "user.note", b"\xff\x00\n=")
        os.utime(capable, (1_600_000_000, 1_600_000_000))
        self.link(capable, "sbin2/cap2")
        symbolic = root / "usr/bin/sym1"
        symbolic.symlink_to("a/target")
        os.lchown(symbolic, 5, 6)
        os.utime(symbolic, (1_500_000_000, 1_500_000_000), follow_symlinks=False)
        self.link(symbolic, "usr/bin/sym2", "zzz/sym3")
        device = root / "opt/device1"
        os.mknod(device, stat.S_IFCHR | 0o660, os.makedev(1, 7))
        os.chown(device, 3, 4)
        os.chmod(device, 0o660)
        os.utime(device, (1_500_000_000, 1_500_000_000))
        self.link(device, "opt/device2")
        queue = root / "opt/queue1"
        os.mkfifo(queue, 0o622)
        os.chmod(queue, 0o622)
        os.utime(queue, (1_500_000_000, 1_500_000_000))
        self.link(queue, "opt/queue2")
        self.link(self.put(root, "n" * 90 + "/" + "m" * 90, "long"), "o" * 120, "ünïcode\nname")
        expected = tree(root)
        written = {kind: write_layers(root, [], self.store.archive, epoch=EPOCH, compression=kind) for kind in Compression}
        self.assertEqual({layers[0].diff_id for layers in written.values()}, {written[Compression.GZIP][0].diff_id})
        for kind, layers in written.items():
            with self.subTest(kind):
                self.assert_seen_by_all(layers, expected)

    def test_names_that_a_layer_below_has(self) -> None:
        self.root = base = self.folder / "base"
        base.mkdir(mode=0o755)
        self.link(self.put(base, "usr/a", "old", mode=0o4711, owner=(1, 1)), "usr/b", "lib/c")
        self.put(base, "usr/lonely", "x", mode=0o755)
        below = write_layers(base, [], self.store.archive, epoch=EPOCH)
        with self.store.mount([base]) as space:
            os.link(space.root / "usr/lonely", space.root / "usr/friend")
            os.chmod(space.root / "usr/b", 0o4755)
            self.root = space.root
            (space.root / "usr/a").unlink()
            self.link(self.put(space.root, "usr/new", "new", mode=0o2755, owner=(0, 9)), "usr/a", "etc/new")
            seen = tree(space.root)
            upper = write_layers(space.upper, [base], self.store.archive, epoch=EPOCH)
            self.assert_seen_by_all([*below, *upper], seen)

    def assert_seen_by_all(self, layers: Sequence[Layer], expected: dict) -> None:
        self.maxDiff = None
        reference = write_layout(self.folder / f"layout-{layers[0].digest[-8:]}", layers)
        for tool in TOOLS:
            with self.subTest(tool), self.storage.unpacked(tool, reference) as root:
                self.assertEqual(differences(expected, tree(root)), {})
        if len(layers) == 1:
            place = Path(tempfile.mkdtemp(prefix="ours-", dir=self.folder))
            place.chmod(0o755)
            unpack([layers[0].path.read_bytes()], place)
            self.assertEqual(differences(expected, tree(place)), {})


class Private(Case):
    def test_nobody_reaches_an_unpacked_program(self) -> None:
        self.folder.chmod(0o755)
        self.root = root = self.folder / "root"
        root.mkdir(mode=0o755)
        self.put(root, "usr/bin/su", "#!/bin/sh\n", mode=0o4755)
        (layer,) = write_layers(root, [], self.store.archive, epoch=EPOCH)
        program = self.store.adopt(layer) / "usr/bin/su"
        self.assertTrue(program.exists())
        child = os.fork()
        if child == 0:
            os.setgid(65534)
            os.setuid(65534)
            os._exit(0 if os.access(self.folder, os.X_OK) and not os.path.lexists(program) else 1)
        self.assertEqual(os.waitpid(child, 0)[1], 0)


class Chunked(Case):
    """Chunked layers out of a registry: whoever knows them takes file by file what is not there yet, whoever does not takes the layer."""

    def setUp(self) -> None:
        super().setUp()
        self.world = World(self.folder / "world")
        self.addCleanup(self.world.close)
        settings = self.folder / "storage.conf"
        settings.write_text(f"""[storage]
driver = "overlay"
graphroot = "{self.storage.directory}/root"
runroot = "{self.storage.directory}/run"
[storage.options]
pull_options = {{ enable_partial_images = "true", use_hard_links = "false", ostree_repos = "" }}
""")
        secrets_of_the_registry = {"REGISTRY_AUTH_FILE": str(self.world.server.authfile), "SSL_CERT_FILE": str(self.world.server.ca_file)}
        self.environment = {**os.environ, **secrets_of_the_registry, "CONTAINERS_STORAGE_CONF": str(settings)}

    def podman(self, *words: str) -> subprocess.CompletedProcess[str]:
        done = subprocess.run(["podman", *words], env=self.environment, capture_output=True, text=True, check=False)
        self.assertEqual(done.returncode, 0, done.stdout + done.stderr)
        return done

    def test_file_by_file(self) -> None:
        self.root = root = self.folder / "root"
        root.mkdir(mode=0o755)
        for number in range(20):
            self.put(root, f"opt/{number}", secrets.token_hex(50_000), owner=(number, 0))
        self.link(self.put(root, "usr/bin/su1", "suid", mode=0o4755, owner=(1, 4)), "usr/bin/su2", "n" * 120, "ünïcode")
        os.setxattr(root / "opt/3", "user.note", b"\xff\x00\n=")
        os.utime(root / "opt/3", ns=(1_500_000_000_250_000_000,) * 2)
        partial = int(self.podman("--version").stdout.split()[-1].partition(".")[0]) >= 5  # older ones fetch the whole layer
        for name in ("first", "second"):
            self.put(root, "opt/7", name)
            (layer,) = write_layers(root, [], self.store.archive, epoch=EPOCH, compression=Compression.ZSTD_CHUNKED)
            reference = f"{self.world.server.host}/{name}"
            self.world.publisher.publish(reference, image_of([layer]), {layer.digest: layer.path}, ["chunked"])
            said = self.podman("--log-level=debug", "pull", f"{reference}:chunked").stderr
            self.assertEqual(f"Retrieved partial blob {layer.digest}" in said, partial, said)
            seen = tree(Path(self.podman("image", "mount", f"{reference}:chunked").stdout.strip()))
            self.assertEqual(differences(tree(root), seen), {})
        self.podman("image", "unmount", "--all")
        self.podman("rmi", "--all", "--force")
