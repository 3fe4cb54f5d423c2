"""Real overlays: whatever is done in one, the layer written from it gives the same tree again on another machine's stack."""

import contextlib
import errno
import os
import random
import shutil
import subprocess
import sys
import tempfile
import unittest
from collections.abc import Iterator
from pathlib import Path

from tests.needs import needs
from topcoat.layers import Layer, LayerStore, write_layers
from topcoat.layers.leftovers import is_junk
from topcoat.layers.unpack import unpack

EPOCH = 1_000_000_000
NAMES = ("a", "b", "c", "dir", "other")


def describe(root: Path) -> tuple[dict[str, tuple], dict[str, int]]:
    """A tree as a program inside would see it, and the times of its files."""
    found, times = {}, {}
    for path in sorted(root.rglob("*")):
        status = path.lstat()
        name = path.relative_to(root).as_posix()
        content: object = None
        if path.is_symlink():
            content = os.readlink(path)
        elif path.is_file():
            content, times[name] = path.read_bytes(), status.st_mtime_ns
        attributes = {key: os.getxattr(path, key, follow_symlinks=False) for key in os.listxattr(path, follow_symlinks=False)}
        kept = sorted((key, value) for key, value in attributes.items() if not key.startswith("trusted.overlay."))
        found[name] = (status.st_mode, status.st_uid, status.st_gid, content, kept)
    return found, times


def mess(root: Path, dice: random.Random, steps: int) -> None:
    """Random changes, as a package transaction would make them."""
    for _ in range(steps):
        folders = [root, *(path for path in root.rglob("*") if path.is_dir() and not path.is_symlink())]
        place = dice.choice(folders) / dice.choice(NAMES)
        with suppressed():
            act(dice.choice(("write", "write", "mkdir", "remove", "link", "hard", "chmod", "chown", "cap", "rename", "touch")), place, root, dice)


@contextlib.contextmanager
def suppressed() -> Iterator[None]:
    """What a random change may run into; EXDEV is how an overlay refuses to rename a directory from below."""
    try:
        yield
    except OSError as error:
        if error.errno not in (errno.EEXIST, errno.ENOTDIR, errno.EISDIR, errno.ENOENT, errno.ENOTEMPTY, errno.EXDEV, errno.EINVAL):
            raise


def act(what: str, place: Path, root: Path, dice: random.Random) -> None:
    if place.is_symlink() and what not in ("remove", "rename", "chown"):
        return  # never follow one: it may lead out of the tree
    if what == "write" and not place.is_dir():
        place.write_text(dice.choice(("one", "two", "three" * 100)))
        os.utime(place, ns=(0, dice.choice((5, EPOCH - 1, EPOCH + 50)) * 10**9), follow_symlinks=False)
    elif what == "mkdir":
        place.mkdir(mode=dice.choice((0o755, 0o700)))
    elif what == "remove" and place != root:
        shutil.rmtree(place) if place.is_dir() and not place.is_symlink() else place.unlink()
    elif what == "link":
        place.symlink_to(dice.choice(("a", "/nowhere/b", "c/d")))
    elif what == "hard":
        files = [path for path in root.rglob("*") if path.is_file() and not path.is_symlink()]
        if files:
            place.hardlink_to(dice.choice(files))
    elif what == "chmod" and not place.is_symlink():
        place.chmod(dice.choice((0o600, 0o755, 0o4755)))
    elif what == "chown":
        os.lchown(place, dice.choice((0, 7)), dice.choice((0, 8)))
    elif what == "cap" and place.is_file() and not place.is_symlink():
        os.setxattr(place, "security.capability", bytes.fromhex("0100000200040000000000000000000000000000"))
    elif what == "rename" and place.exists():
        place.rename(place.with_name(dice.choice(NAMES)))
    elif what == "touch" and place.exists():
        os.utime(place)


@needs(root=True)
class RoundTrip(unittest.TestCase):
    def setUp(self) -> None:
        holder = tempfile.TemporaryDirectory(prefix="topcoat-layers-")
        self.addCleanup(holder.cleanup)
        self.folder = Path(holder.name)
        self.store = LayerStore(self.folder / "store")
        self.addCleanup(self.store.close)

    def unpack(self, layer: Layer) -> Path:
        place = Path(tempfile.mkdtemp(dir=self.folder))
        place.chmod(0o755)
        with layer.path.open("rb") as stream:
            self.assertEqual(unpack([stream.read()], place), layer.diff_id)
        return place

    def change(self, lower: list[Path], dice: random.Random, steps: int) -> tuple[tuple[dict, dict], list[Path]]:
        """Mess in an overlay; returns what was seen there, and the new layers unpacked, topmost first."""
        with self.store.mount(lower) as space:
            mess(space.root, dice, steps)
            seen = describe(space.root)
            subprocess.run(["umount", space.root], check=True)
            layers = write_layers(space.upper, lower, self.store.archive, epoch=EPOCH, drop=lambda path, mode, size: False)
            again = write_layers(space.upper, lower, self.store.archive, epoch=EPOCH, drop=lambda path, mode, size: False)
        self.assertEqual([layer.digest for layer in layers], [layer.digest for layer in again])
        return seen, [self.unpack(layer) for layer in reversed(layers)]

    def test_random_changes_on_a_growing_stack(self) -> None:
        for seed in range(25):
            with self.subTest(seed=seed):
                dice = random.Random(seed)
                base = Path(tempfile.mkdtemp(dir=self.folder))
                base.chmod(0o755)
                if seed % 2:  # half of them mess with the folder whose content is a layer of its own, and with those above
                    (base / "var/lib/rpm/dir").mkdir(parents=True)
                lower = [base]
                for _ in range(4):
                    seen, new = self.change(lower, dice, 12)
                    lower = [*new, *lower]
                    with self.store.mount(lower) as space:
                        tree, times = describe(space.root)
                    self.assertEqual(tree, seen[0])
                    for (
                        name,
                        time,
                    ) in times.items():  # a package's own time is kept; a later one says nothing
                        self.assertTrue(time == seen[1][name] or time <= EPOCH * 10**9 < seen[1][name], name)

    def test_more_layers_than_a_page_of_options_holds(self) -> None:
        lower = []
        for number in range(60):
            path = self.folder / ("long-name-" * 15) / f"{number:03d}:odd,name"
            path.mkdir(parents=True)
            (path / f"f{number}").write_text("x")
            lower.append(path)
        with self.store.mount(lower) as space:
            self.assertEqual(len(list(space.root.iterdir())), 60)

    def test_the_mount_is_gone_after_an_error_and_below_a_killed_owner(self) -> None:
        base = self.folder / "base"
        base.mkdir()
        with self.assertRaises(ZeroDivisionError), self.store.mount([base], devices=False) as space:
            (space.root / "f").write_text("x")
            raise ZeroDivisionError
        self.assertNotIn(str(self.folder), Path("/proc/self/mountinfo").read_text())
        program = (
            "import os, sys; from pathlib import Path; from topcoat.layers import LayerStore\n"
            f"store = LayerStore(Path({str(self.folder / 'store')!r}))\n"
            f"with store.mount([Path({str(base)!r})], devices=True): os.kill(os.getpid(), 9)"
        )
        subprocess.run([sys.executable, "-c", program], check=False)
        self.assertIn(str(self.folder), Path("/proc/self/mountinfo").read_text())
        other = LayerStore(self.folder / "store")
        self.addCleanup(other.close)
        self.assertNotIn(str(self.folder), Path("/proc/self/mountinfo").read_text())
        self.assertEqual(list((self.folder / "store/mounts").iterdir()), [])

    def test_devices_never_enter_the_layer(self) -> None:
        base = self.folder / "base"
        for name in ("dev", "proc"):
            (base / name).mkdir(parents=True)
        with self.store.mount([base], devices=True) as space:
            (space.root / "dev/null").write_text("gone")
            self.assertTrue((space.root / "proc/self").exists())
            self.assertEqual(list((space.upper / "dev").iterdir()) if (space.upper / "dev").exists() else [], [])

    def test_junk_is_left_out_of_a_real_upper_directory(self) -> None:
        base = self.folder / "base"
        base.mkdir()
        with self.store.mount([base]) as space:
            for name in ("var/log/dnf.log", "tmp/x/y", "usr/keep"):
                (space.root / name).parent.mkdir(parents=True, exist_ok=True)
                (space.root / name).write_text("x")
            (layer,) = write_layers(space.upper, [base], self.store.archive, epoch=EPOCH, drop=is_junk)
            new = self.unpack(layer)
        self.assertEqual([path.relative_to(new).as_posix() for path in sorted(new.rglob("*")) if path.is_file()], ["usr/keep"])


if __name__ == "__main__":
    unittest.main()
