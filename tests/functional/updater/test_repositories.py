"""Transactions with repositories whose metadata is of a rarer kind; dnf reads all of these."""

import hashlib
import subprocess
from pathlib import Path

from tests.functional.updater.world import WorldCase
from topcoat.model import Repository
from topcoat_demo.rpms import File, RpmSpec, make_repository

OLD = RpmSpec("library", "1", files=(File("/opt/library", "1"),))
NEW = OLD.bump(version="2", files=(File("/opt/library", "2"),))


def add_record(folder: Path, kind: str, text: str) -> None:
    """One more metadata file in a repository."""
    path = folder / "repodata" / f"{kind}.xml"
    path.write_text(text)
    checksum = f'<checksum type="sha256">{hashlib.sha256(path.read_bytes()).hexdigest()}</checksum>'
    record = f'<data type="{kind}">{checksum}<location href="repodata/{path.name}"/><size>{path.stat().st_size}</size></data>'
    repomd = folder / "repodata/repomd.xml"
    repomd.write_text(repomd.read_text().replace("</repomd>", f"{record}</repomd>"))


class Repositories(WorldCase):
    @classmethod
    def setUpClass(cls) -> None:
        super().setUpClass()
        cls.base = cls.world.base("repositories", [OLD])

    def update(self, folder: Path) -> None:
        with self.world.updated(self.base, Repository("current", folder.as_uri())) as (built, root):
            self.assertEqual([str(change) for change in built.changes], ["library 1-1.el9 -> 2-1.el9"])
            self.assertEqual((root / "opt/library").read_text(), "2")

    def test_metadata_of_every_kind_beside_the_packages(self) -> None:
        folder = make_repository(self.world.path("kinds"), [NEW])
        add_record(folder, "prestodelta", "<prestodelta></prestodelta>")
        for kind in ("group", "group_xz", "group_zst", "updateinfo", "updateinfo_zck", "primary_zck", "primary_db", "susedata", "productid"):
            add_record(folder, kind, "<comps></comps>" if kind.startswith("group") else "<updates></updates>")
        self.update(folder)

    def test_packages_below_another_base(self) -> None:
        """``xml:base``: the metadata lies in one place, the packages in another, which no transaction sees."""
        packages = make_repository(self.world.path("packages"), [NEW])
        folder = self.world.path("index")
        folder.mkdir()
        subprocess.run(["createrepo_c", "--quiet", "--baseurl", packages.as_uri(), "--outputdir", folder, packages], check=True)
        self.update(folder)
