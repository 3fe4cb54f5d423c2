"""ldconfig, which packages and glibc's triggers run: composed where it would change nothing, and nowhere else."""

from pathlib import Path

from tests.functional.equality.test_synthesis import SynthesisCase, dated
from tests.functional.layers.others import differences
from tests.functional.updater.world import Base, need
from topcoat.synthesis import Refusal
from topcoat_demo.rpms import File, RpmSpec, Trigger, config, directory, ghost, symlink

LDCONFIG = "/usr/sbin/ldconfig"
# Any library will do, and this machine's Python has this one.
LIBRARY = next(path.resolve() for folder in ("/usr/lib/x86_64-linux-gnu", "/usr/lib64") for path in Path(folder).glob("libz.so.1"))


def loader(*more: File) -> RpmSpec:
    """What glibc is here: ldconfig, its settings, two libraries, and a trigger that runs it whenever a file below /usr/lib moves."""
    triggers = tuple(Trigger(kind, "/usr/lib", LDCONFIG) for kind in ("transfiletriggerin", "transfiletriggerpostun"))
    files = (
        File(LDCONFIG, Path(LDCONFIG if Path(LDCONFIG).exists() else "/sbin/ldconfig"), mode=0o755),
        config("/etc/ld.so.conf", "# of the image\ninclude ld.so.conf.d/*.conf\n"),
        config("/etc/ld.so.conf.d/own.conf", "/usr/lib64\n/opt/own/lib\n"),
        ghost("/etc/ld.so.cache"),
        directory("/usr/lib64"),
        File(f"/usr/lib64/{LIBRARY.name}", LIBRARY, mode=0o755),
        symlink("/usr/lib64/libz.so.1", LIBRARY.name),
        directory("/opt/own"),
        directory("/opt/own/lib"),
        *more,
    )
    return RpmSpec("loader", "1", arch="x86_64", files=files, triggers=triggers)


FOLDER, PATH = directory("/usr/lib/python3"), "/usr/lib/python3/site/libm.so"
OLD = RpmSpec("module", "1", files=(FOLDER, File(PATH, "1")), postun=LDCONFIG)
NEW = RpmSpec("module", "2", files=(FOLDER, File(PATH, "2")), post=f"{LDCONFIG} >/dev/null 2>&1 || :")


class Libraries(SynthesisCase):
    @classmethod
    def setUpClass(cls) -> None:
        need("ldconfig")
        super().setUpClass()

    def image(self, name: str, *specs: RpmSpec, change=lambda root: None) -> Base:
        root = self.world.root([loader(), OLD, *specs])
        self.assertTrue((root / "etc/ld.so.cache").exists(), "the trigger ran")
        change(root)
        return self.world.publish_root(root, name)

    def refused(self, base: Base, *new: RpmSpec) -> str:
        with self.assertRaises(Refusal) as caught:
            self.composed(base, self.world.repository("new", new))
        return caught.exception.reason

    def test_where_ldconfig_would_change_nothing_the_composed_update_is_the_transaction(self) -> None:
        base = self.image("idle")
        repository = self.world.repository("idle", [NEW])
        done = self.world.publish(self.world.update(base, repository), "idle")
        composed = self.publish(self.composed(base, repository), "idle")
        trees = []
        for digest in (done, composed):
            with self.storage.unpacked("buildah", f"docker://{self.world.server.host}/idle@{digest}", *self.access()) as root:
                trees.append(dated(root))
        self.assertEqual(differences(*trees), {})

    def test_a_library_that_moves_is_refused(self) -> None:
        base = self.image("moving", RpmSpec("lib", "1", files=(File("/opt/lib-1", "1"),)))
        for place in ("/usr/lib64/libnew.so.1", "/usr/lib/libnew.so.1", "/opt/own/lib/libnew.so", "/usr/lib64/glibc-hwcaps/x86-64-v3/libz.so.1"):
            with self.subTest(place):
                self.assertEqual("module has a scriptlet (%post)", self.refused(base, NEW, RpmSpec("lib", "2", files=(File(place, "x"),))))
        settings = config("/etc/ld.so.conf.d/more.conf", "/opt\n")
        for file in (File("/usr/lib64/libnew.so.1", "x"), settings):
            lib = RpmSpec("lib", "2", files=(file, File("/usr/lib/x", "x")))
            self.assertEqual("loader has a trigger on files below /usr/lib", self.refused(base, lib))

    def test_a_cache_that_is_not_current_is_refused(self) -> None:
        def stray(root: Path) -> None:
            (root / "usr/lib64/libstray.so.1").write_bytes(LIBRARY.read_bytes())

        def gone(root: Path) -> None:
            (root / "usr/lib64/libz.so.1").unlink()

        def missing(root: Path) -> None:
            (root / "etc/ld.so.cache").unlink()

        for change in (stray, gone, missing):
            with self.subTest(change.__name__):
                self.assertIn("module has a scriptlet (%post)", self.refused(self.image(f"not-current-{change.__name__}", change=change), NEW))
