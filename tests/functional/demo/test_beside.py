"""The comparison with plain dnf: equal images pass, and one file that differs is named."""

import tempfile
import unittest
from pathlib import Path

from tests.functional.layers.others import Storage
from tests.needs import needs
from topcoat.errors import ContentError
from topcoat_demo import distribution as distributions
from topcoat_demo.beside import Beside
from topcoat_demo.registry import RegistryServer, push_layout
from topcoat_demo.rpms import File, RpmSpec, make_repository

# A time of the day in what a scriptlet makes must not count; its content must.
NEWER = RpmSpec("gzip", "99", arch="x86_64", files=(File("/usr/share/gzip-news", "new\n"),), post="echo made > /etc/made-by-gzip\n")


@needs("buildah", "podman", "dnf", "rpm", "skopeo", "docker-registry")
class BesidePlainDnf(unittest.TestCase):
    @classmethod
    def setUpClass(cls) -> None:
        holder = tempfile.TemporaryDirectory(prefix="demo-beside-")
        cls.addClassCleanup(holder.cleanup)
        cls.folder = Path(holder.name)
        layout = distributions.shared().real
        assert layout is not None
        cls.server = RegistryServer(cls.folder / "registry").start()
        cls.addClassCleanup(cls.server.stop)
        cls.repository = make_repository(cls.folder / "repository", [NEWER])
        cls.storage = Storage(cls.folder / "storage")
        cls.access = (f"--authfile={cls.server.authfile}", f"--cert-dir={cls.server.certificates}")
        cls.beside = Beside(cls.folder / "beside", cls.access, cls.repository, lambda *words: cls.storage.run("podman", *words))
        cls.addClassCleanup(cls.storage.run, "podman", "rmi", "--all", "--force")
        cls.addClassCleanup(cls.beside.clean)
        cls.before = f"{cls.server.host}/base@{push_layout(cls.server, layout.directory, 'base', 'before')}"

    def published(self, tag: str, *commands: str) -> str:
        """The image after the update and what else a shell does in it; its reference."""
        with self.beside._container(self.before) as (container, _):
            self.beside._update(container)
            for line in commands:
                self.beside.buildah("run", "--isolation=chroot", container, "--", "sh", "-c", line)
            digest = self.folder / tag
            image = self.beside.buildah("commit", "--quiet", container)
        self.beside.buildah("push", "--quiet", *self.access, f"--digestfile={digest}", image, f"docker://{self.server.host}/base:{tag}")
        reference = f"{self.server.host}/base@{digest.read_text().strip()}"
        self.storage.run("podman", "pull", "--quiet", *self.access, reference)
        return reference

    def test_equal_images_pass_and_a_difference_is_named(self) -> None:
        compared = self.beside.compare("base", self.before, self.published("equal"))
        self.assertEqual(compared.changed, 1)
        self.assertGreater(compared.paths, 1000)
        for tag, line, expected in (
            ("mode", "chmod 600 /etc/made-by-gzip", "1 paths differ from dnf -y update as buildah unpacks them: etc/made-by-gzip: "),
            ("time", "touch --date=2001-01-01 /usr/share/gzip-news", "usr/share/gzip-news: "),
            ("more", "echo > /usr/bin/more-than-dnf", "usr/bin/more-than-dnf: dnf None, published "),
            ("packages", "rpm -e --justdb --nodeps gzip", "rpm knows other packages than after dnf -y update: gzip-99"),
        ):
            with self.subTest(tag), self.assertRaisesRegex(ContentError, expected):
                self.beside.compare("base", self.before, self.published(tag, line))


if __name__ == "__main__":
    unittest.main()
