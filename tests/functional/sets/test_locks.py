"""``topcoat lock``, ``build --locked``, and sets that are made again from what was kept when the mirror is gone."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import yaml

from tests.functional.runs.site import packages
from tests.functional.runs.test_main_job import SiteTest
from topcoat.yum import manifest
from topcoat_demo.rpms import RpmSpec, make_repository


class Kept(SiteTest):
    def keep(self) -> Path:
        """The folder that keeps what a run was made of."""
        folder = self.site.directory / "kept"
        self.keep_in(str(folder))
        return folder

    def keep_in(self, place: str) -> str:
        """Keep what a run was made of; what the command says of it."""
        self.before = self.succeed("build", "--tag", "one", "--build-way", "direct").digests()
        self.receipt = self.site.directory / "one.json"
        shutil.copy(self.site.directory / "work/receipt.json", self.receipt)
        return self.succeed("freeze", "--keep", place, "--set", str(self.receipt), work="keeping").errors

    def forget(self) -> None:
        """Nothing of the run is left: neither images and their input tags nor caches."""
        shutil.rmtree(self.site.server.storage / "docker/registry/v2/repositories/site")
        for name in ("work", "keeping"):
            shutil.rmtree(self.site.directory / name)

    def again(self, place: Path | str) -> None:
        answer = self.succeed("build", "--tag", "again", "--kept", str(place), "--build-way", "direct")
        self.assertEqual({"build"}, set(answer.actions().values()))
        self.assertEqual({"direct"}, {image["method"] for image in answer.receipt["images"]})
        self.assertEqual(self.before, answer.digests())

    def test_the_same_digests_when_the_mirror_is_gone(self):
        folder = self.keep()
        shutil.rmtree(self.site.current)
        self.forget()
        self.again(folder)

    def test_a_newer_mirror_does_not_matter(self):
        folder = self.keep()
        make_repository(self.site.current, packages(nova="2.0", oslo="2.0"))
        self.forget()
        self.again(folder)

    def test_the_same_digests_from_a_registry(self):
        place = f"docker://{self.site.server.host}/kept/site:one"
        said = self.keep_in(place).split(" keeps ")[0]
        self.assertRegex(said, f"^{place}@sha256:[0-9a-f]{{64}}$")
        make_repository(self.site.current, [*packages(), RpmSpec("another", "1.0")])
        # another state goes under a tag of its own
        self.fail_with(2, f"{place} keeps another state", "freeze", "--keep", place, "--set", "one", work="keeping")
        shutil.rmtree(self.site.current)
        self.forget()
        self.again(said)
        self.fail_with(2, "keeps no repositories", "build", "--tag", "no", "--kept", f"docker://{self.site.server.host}/kept/site:two")

    def test_what_is_not_kept_whole_is_refused(self):
        folder = self.keep()
        (folder / "kept.json").unlink()
        self.fail_with(2, "its making did not end", "build", "--tag", "again", "--kept", str(folder))

    def test_a_package_that_was_changed_in_the_folder_is_refused(self):
        folder = self.keep()
        self.forget()
        package = next(folder.rglob("python3-nova*.rpm"))
        content = package.read_bytes()
        package.unlink()
        package.write_bytes(content[:-1] + bytes([content[-1] ^ 1]))
        self.fail_with(1, "another package than its metadata says", "build", "--tag", "again", "--full", "--kept", str(folder), work="again")

    def test_a_repository_that_is_not_kept_is_named(self):
        folder = self.keep()
        self.site.write_profile(repositories=[{"id": "other", "baseurl": self.site.current.as_uri()}])
        self.fail_with(2, "does not keep repository other, only current", "build", "--tag", "again", "--kept", str(folder))

    def test_a_set_without_receipt_whose_packages_are_gone(self):
        self.succeed("build", "--tag", "one")
        shutil.rmtree(self.site.current)
        make_repository(self.site.current, packages(nova="2.0"))
        folder = str(self.site.directory / "kept")
        self.fail_with(1, "are in no repository of the profile any more", "freeze", "--keep", folder, "--set", "one", work="keeping")
        self.assertFalse(Path(folder).exists())


class Locked(SiteTest):
    def setUp(self):
        super().setUp()
        self.succeed("build", "--tag", "one", "--floating-tag", "current-passed-ci")
        self.locks = self.site.tree / "locks"
        self.succeed("lock", "one")

    def test_a_family_has_what_its_images_took_and_the_ones_below_did_not(self):
        self.assertEqual({"base.yaml", "nova.yaml"}, {path.name for path in self.locks.iterdir()})
        document = yaml.safe_load((self.locks / "nova.yaml").read_text())
        self.assertEqual("rpm-package-manifest", document["document"])
        self.assertEqual([{"id": "current", "baseurl": self.site.current.as_uri()}], document["data"]["repositories"])
        names = {entry["name"] for entries in document["data"]["packages"].values() for entry in entries}
        self.assertEqual({"python3-nova", "python3-oslo", "openstack-nova-api", "openstack-nova-compute", "python3-keystone"}, names)
        entry = next(entry for entries in document["data"]["packages"].values() for entry in entries if entry["name"] == "python3-nova")
        self.assertEqual("1:1.0-1.el9", entry["evr"])
        package = self.site.current / entry["location"]
        self.assertEqual(package.stat().st_size, entry["size"])
        self.assertEqual(["x86_64"], entry["parent_archs"])
        read = manifest.read(self.locks / "nova.yaml")
        self.assertEqual(read.to_text(), (self.locks / "nova.yaml").read_text())

    def test_as_locked(self):
        self.succeed("build", "--tag", "two", "--locked", str(self.locks))
        self.succeed("build", "--tag", "three", "--full", "--locked", str(self.locks))

    def test_an_update_that_would_drift_fails_before_any_work(self):
        make_repository(self.site.current, packages(nova="2.0"))
        errors = self.fail_with(1, "not as locked", "build", "--tag", "two", "--locked", str(self.locks)).errors
        self.assertIn("python3-nova-1:2.0-1.el9.noarch (locked: 1:1.0-1.el9) in nova-base, nova-api, nova-compute", errors)
        self.assertNotIn("two", self.tags("nova-base"))

    def test_a_build_that_drifts_is_not_published(self):
        make_repository(self.site.current, packages(keystone="2.0"))
        errors = self.fail_with(1, "not as locked", "build", "--tag", "two", "--full", "--locked", str(self.locks)).errors
        self.assertIn("python3-keystone-2.0-1.el9.noarch (locked: 1.0-1.el9)", errors)
        self.assertNotIn("two", self.tags("keystone"))

    def test_what_is_under_test_is_no_drift(self):
        gating = self.site.repository_of([RpmSpec("python3-keystone", "3.0", requires=("python3-oslo",))])
        self.succeed("build", "--tag", "two", "--gating-repo", str(gating), "--locked", str(self.locks))

    def test_a_refresh_says_what_moved_and_keeps_other_architectures(self):
        other = manifest.read(self.locks / "nova.yaml")
        manifest.write(manifest.Manifest(other.repositories, {**other.packages, "aarch64": other.packages["x86_64"]}), self.locks / "nova.yaml")
        make_repository(self.site.current, packages(nova="2.0"))
        self.succeed("build", "--tag", "two")
        shape = json.loads(self.succeed("lock", "two", "--dry-run", "--format", "json").output)
        moved = shape["nova"]["differences"]
        self.assertEqual("openstack-nova-api.noarch 1:1.0-1.el9 -> 1:2.0-1.el9", moved[0])
        self.assertEqual(3, len(moved))
        self.assertEqual([], shape["base"]["differences"])
        self.succeed("lock", "two")
        read = manifest.read(self.locks / "nova.yaml")
        self.assertEqual({"1:1.0-1.el9"}, {one.nevra.evr for one in read.packages["aarch64"] if one.nevra.name == "python3-nova"})
        self.assertEqual({"1:2.0-1.el9"}, {one.nevra.evr for one in read.packages["x86_64"] if one.nevra.name == "python3-nova"})

    def test_no_lock_is_no_permission(self):
        (self.locks / "nova.yaml").unlink()
        self.fail_with(2, "no lock of the family nova", "build", "--tag", "two", "--locked", str(self.locks))
