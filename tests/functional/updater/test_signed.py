"""Updates with signed packages: whatever keys the image and the host know, the repository's policy decides, and signatures reach the database."""

import os
import shutil
import subprocess
import sys
import unittest
from pathlib import Path

from tests.functional.rpm.test_signatures import ROOT, strict_host
from tests.functional.updater.world import WorldCase, rpm
from topcoat.errors import ContentError
from topcoat.model import Repository, SignaturePolicy
from topcoat_demo import signing
from topcoat_demo.rpms import File, RpmSpec, make_repository

LIB = RpmSpec("python3-lib", "1.0", files=(File("/usr/lib/lib.py", "one\n"),))
APP = RpmSpec("app", "1.0", files=(File("/usr/lib/app", "one\n"),))
LIB2 = LIB.bump(version="2.0", files=(File("/usr/lib/lib.py", "two\n"),))
APP2 = APP.bump(version="2.0", files=(File("/usr/lib/app", "two\n"),))
TAGS = "%{NAME} %{VERSION} %{RSAHEADER:pgpsig} %{DSAHEADER:pgpsig} %{SIGPGP:pgpsig} %{SIGGPG:pgpsig} %{SIGMD5} %{SHA256HEADER} %{SIGSIZE}\n"


class Signed(WorldCase):
    def signed(self, name: str, specs: list[RpmSpec], key: signing.Key | None, policy: SignaturePolicy | None = None, **options) -> Repository:
        folder = make_repository(self.world.path(name), specs, signer=key)
        return Repository(name, folder.as_uri(), signatures=policy or SignaturePolicy(), **options)

    def policy(self, signed: str, *keys: signing.Key) -> SignaturePolicy:
        paths = [self.world.path("KEY") for _ in keys]
        for path, key in zip(paths, keys, strict=True):
            path.write_text(key.armored())
        return SignaturePolicy(signed, tuple(path.as_uri() for path in paths))

    def test_signatures_of_any_key_and_none_are_taken_and_reach_the_database_as_with_dnf(self) -> None:
        base = self.world.base("signed/mixed", [LIB, APP])
        for number, key in enumerate((signing.DEMO, signing.key("nobody"), signing.DEMO.only("header"), signing.DEMO.only("payload"), None)):
            current = self.signed("current", [LIB2], key)
            gating = self.signed("gating", [APP2], None, priority=1, gated=True)
            with self.subTest(key=key), self.world.updated(base, current, gating) as (built, root):
                self.assertEqual(sorted(change.name for change in built.changes), ["app", "python3-lib"])
                plain = self.world.path(f"plain-{number}")
                shutil.copytree(base.root, plain, symlinks=True)
                subprocess.run(self.dnf(plain, current, gating), check=True, capture_output=True)
                mine, theirs = (sorted(rpm(tree, "-qa", "--nosignature", "--qf", TAGS).splitlines()) for tree in (root, plain))
                self.assertEqual(mine, theirs)
                if key is not None:
                    self.assertIn(key.signing_id[-8:], next(line for line in mine if line.startswith("python3-lib")))

    def dnf(self, root: Path, *repositories: Repository) -> list[str]:
        work = self.world.path("plain-dnf")
        options = [f"--repofrompath={entry.id},{entry.baseurl}" for entry in repositories]
        options += [f"--setopt={name}={work / name}" for name in ("cachedir", "persistdir")]
        options += ["--setopt=reposdir=/nonexistent", "--setopt=plugins=0", "--nogpgcheck", "--releasever=9"]
        env = ["env", f"HOME={self.home()}"]
        return [*env, "dnf", "-y", f"--installroot={root}", *options, "upgrade"]

    def home(self) -> Path:
        home = self.world.path("home")
        home.mkdir()
        (home / ".rpmmacros").write_text("%_dbpath /var/lib/rpm\n%_db_backend sqlite\n%_pkgverify_level none\n")
        return home

    def test_required_with_the_right_key(self) -> None:
        base = self.world.base("signed/required", [LIB])
        with self.world.updated(base, self.signed("current", [LIB2], signing.DEMO, self.policy("required", signing.DEMO))) as (built, _):
            self.assertEqual(len(built.changes), 1)

    def test_what_a_policy_refuses_changes_nothing(self) -> None:
        base = self.world.base("signed/refused", [LIB])
        cases = {
            "is not signed, and the profile requires it": self.signed("current", [LIB2], None, self.policy("required", signing.DEMO)),
            "is signed by the unknown key": self.signed("current", [LIB2], signing.key("nobody"), self.policy("required", signing.DEMO)),
        }
        changed = self.signed("current", [LIB2], signing.DEMO, self.policy("required", signing.DEMO))
        path = Path(changed.baseurl.removeprefix("file://")) / LIB2.filename
        package = bytearray(path.read_bytes())
        package[-10] ^= 1
        path.write_bytes(package)
        make_repository(path.parent)
        cases["was changed after it was made"] = changed
        for words, repository in cases.items():
            with self.subTest(words), self.assertRaises(ContentError) as caught:
                self.world.update(base, repository)
            self.assertIn(f"repository current: {LIB2.filename} {words}", str(caught.exception))

    def test_a_host_that_wants_everything_signed_gives_the_same(self) -> None:
        if os.environ.get("TOPCOAT_TEST_STRICT_HOST"):
            return
        names = ("signatures_of_any_key_and_none_are_taken_and_reach_the_database_as_with_dnf", "required_with_the_right_key")
        words = [sys.executable, "-m", "unittest", *(f"tests.functional.updater.test_signed.Signed.test_{name}" for name in names)]
        environment = {**os.environ, "TOPCOAT_TEST_STRICT_HOST": "1"}
        done = subprocess.run(strict_host(*words), cwd=ROOT, env=environment, capture_output=True, text=True, timeout=600)
        self.assertEqual(done.returncode, 0, done.stderr)


if __name__ == "__main__":
    unittest.main()
