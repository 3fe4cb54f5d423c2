"""The gating repository, with the real git, rpmbuild and createrepo_c."""

import subprocess
import tempfile
import unittest
from pathlib import Path

from topcoat import gating
from topcoat.errors import ContentError, UsageError

SPEC = """\
Name: python-foo
Epoch: 1
Version: 1.0
Release: 1%{?dist}
Summary: foo
License: MIT
Source0: foo-%{version}.tar.gz
BuildArch: noarch
%description
foo
%package -n python3-foo
Summary: foo
%description -n python3-foo
foo
%prep
%setup -q -n foo-%{version}
%install
install -D -m 755 foo.sh %{buildroot}/usr/bin/foo
%files -n python3-foo
/usr/bin/foo
"""


def tree(folder: Path, spec: str | None = SPEC) -> Path:
    folder.mkdir(parents=True)
    if spec:
        (folder / "python-foo.spec").write_text(spec)
    (folder / "foo.sh").write_text("#!/bin/sh\n")
    for words in (
        ["init", "-q"],
        ["add", "-A"],
        ["-c", "user.name=t", "-c", "user.email=t@example.org", "commit", "-q", "-m", "x", "--date=2026-01-02T03:04:05Z"],
    ):
        subprocess.run(
            ["git", "-C", str(folder), *words],
            check=True,
            env={"GIT_COMMITTER_DATE": "2026-01-02T03:04:05Z", "PATH": "/usr/bin:/bin", "HOME": "/nonexistent"},
        )
    return folder


class BuildTest(unittest.TestCase):
    def setUp(self):
        folder = tempfile.TemporaryDirectory()
        self.addCleanup(folder.cleanup)
        self.folder = Path(folder.name)

    def build(self, *sources: Path, output: str = "gating"):
        return gating.build(sources, self.folder / output, work=self.folder / "work")

    def test_the_release_names_the_commit(self):
        repository = self.build(tree(self.folder / "foo"))
        (nevra,) = repository.nevras
        self.assertEqual((nevra.name, nevra.epoch, nevra.version), ("python3-foo", 1, "1.0"))
        self.assertRegex(nevra.release, r"^0\.20260102030405\.[0-9a-f]{7}$")
        self.assertEqual(gating.load(repository.directory), repository)

    def test_the_same_commit_gives_the_same_bytes(self):
        source = tree(self.folder / "foo")
        first, second = self.build(source, output="one"), self.build(source, output="two")
        for name in ("repodata/repomd.xml", first.packages[0].file):
            self.assertEqual((first.directory / name).read_bytes(), (second.directory / name).read_bytes(), name)

    def test_two_changes_of_one_project_are_one_build(self):
        source = tree(self.folder / "foo")
        self.assertEqual(len(self.build(source, source).packages), 1)

    def test_a_tree_without_spec_is_not_skipped(self):
        with self.assertRaises(ContentError) as caught:
            self.build(tree(self.folder / "foo", spec=None))
        self.assertIn("no spec file", str(caught.exception))

    def test_nothing_to_build_is_an_error(self):
        with self.assertRaises(UsageError):
            self.build()

    def test_a_failed_build_leaves_the_old_repository(self):
        good = self.build(tree(self.folder / "foo"))
        with self.assertRaises(ContentError):
            self.build(tree(self.folder / "bad", SPEC.replace("install -D", "false; install -D")))
        self.assertEqual(gating.load(good.directory), good)
        self.assertEqual(sorted(path.name for path in self.folder.iterdir()), ["bad", "foo", "gating", "work"])

    def test_a_missing_repository_is_an_error(self):
        with self.assertRaises(UsageError) as caught:
            gating.load(self.folder / "nothing")
        self.assertIn("no repodata", str(caught.exception))
