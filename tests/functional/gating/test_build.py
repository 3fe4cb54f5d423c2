"""The gating repository, with the real git, rpmbuild, createrepo_c and registry."""

import itertools
import json
import re
import subprocess
import tempfile
import time
import unittest
from pathlib import Path

from click.testing import CliRunner

from topcoat import gating
from topcoat.cli import root
from topcoat.errors import ContentError, InfrastructureError, UsageError
from topcoat.garbage import Collector, KeepRules
from topcoat.gating.rpmbuild import RpmBuild
from topcoat.registry import Limits, Registries
from topcoat_demo.registry import RegistryServer

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


IDENTITY = ("-c", "user.name=t", "-c", "user.email=t@example.org")


def git(folder: Path, *words: str, day: int = 2) -> str:
    date = f"2026-01-{day:02}T03:04:05Z"
    environment = {"GIT_COMMITTER_DATE": date, "GIT_AUTHOR_DATE": date, "PATH": "/usr/bin:/bin", "HOME": "/nonexistent"}
    return subprocess.run(["git", "-C", str(folder), *IDENTITY, *words], check=True, env=environment, capture_output=True, text=True).stdout.strip()


def tree(folder: Path, spec: str | None = SPEC) -> Path:
    folder.mkdir(parents=True)
    if spec:
        (folder / "python-foo.spec").write_text(spec)
    (folder / "foo.sh").write_text("#!/bin/sh\n")
    git(folder, "init", "-q", "-b", "master")
    git(folder, "add", "-A")
    git(folder, "commit", "-q", "-m", "x")
    return folder


def change(folder: Path, text: str, *, day: int) -> str:
    """A change on top of master; its commit."""
    git(folder, "checkout", "-q", "--detach", "master")
    (folder / "foo.sh").write_text(text)
    git(folder, "commit", "-q", "-a", "-m", "change", day=day)
    return git(folder, "rev-parse", "HEAD")


def merged(folder: Path, commit: str, *, day: int) -> Path:
    """The checkout as Zuul prepares it: the change merged into a master that has moved on, by a merge of that day."""
    git(folder, "checkout", "-q", "--detach", "master")
    git(folder, "commit", "-q", "--allow-empty", "-m", "master moved on", day=3)
    git(folder, "merge", "-q", "--no-ff", "-m", f"merged on day {day}", commit, day=day)
    return folder


class BuildTest(unittest.TestCase):
    def setUp(self):
        folder = tempfile.TemporaryDirectory()
        self.addCleanup(folder.cleanup)
        self.folder = Path(folder.name)

    def build(self, *sources: Path, output: str = "gating"):
        return gating.build(sources, self.folder / output, work=self.folder / "work")

    def test_the_release_names_the_tree(self):
        repository = self.build(tree(self.folder / "foo"))
        (nevra,) = repository.nevras
        self.assertEqual((nevra.name, nevra.epoch, nevra.version), ("python3-foo", 1, "1.0"))
        self.assertRegex(nevra.release, r"^0\.20260102030405\.[0-9a-f]{7}$")
        self.assertIn(nevra.release.rpartition(".")[2], git(self.folder / "foo", "rev-parse", "HEAD^{tree}"))
        self.assertEqual(gating.load(repository.directory), repository)

    def test_the_same_change_merged_on_another_day_gives_the_same_bytes(self):
        source = tree(self.folder / "foo")
        commit = change(source, "echo changed\n", day=10)
        first = self.build(merged(source, commit, day=20), output="one")
        second = self.build(merged(source, commit, day=21), output="two")
        self.assertNotEqual(first.packages[0].commit, second.packages[0].commit)
        self.assertRegex(first.nevras[0].release, r"^0\.20260110030405\.")
        for name in ("repodata/repomd.xml", first.packages[0].file):
            self.assertEqual((first.directory / name).read_bytes(), (second.directory / name).read_bytes(), name)

    def test_a_folder_whose_name_has_a_blank(self):
        plain = self.build(tree(self.folder / "foo"))
        self.folder = self.folder / "my work"
        other = self.build(tree(self.folder / "foo"))
        self.assertEqual((plain.directory / plain.packages[0].file).read_bytes(), (other.directory / other.packages[0].file).read_bytes())

    def test_another_change_of_the_same_day_is_another_package(self):
        source = tree(self.folder / "foo")
        one, other = change(source, "echo one\n", day=10), change(source, "echo other\n", day=10)
        names = {str(self.build(merged(source, commit, day=20)).nevras[0]) for commit in (one, other)}
        self.assertEqual(len(names), 2)

    def test_the_same_commit_gives_the_same_bytes(self):
        source = tree(self.folder / "foo")
        first, second = self.build(source, output="one"), self.build(source, output="two")
        for name in ("repodata/repomd.xml", first.packages[0].file):
            self.assertEqual((first.directory / name).read_bytes(), (second.directory / name).read_bytes(), name)

    def test_bytes_of_a_spec_file_that_are_no_utf_8_reach_rpmbuild_as_they_are(self):
        source = tree(self.folder / "foo")
        (source / "python-foo.spec").write_bytes(SPEC.replace("%prep", "# by J\u00fcrgen\n%prep").encode("latin-1"))
        git(source, "commit", "-q", "-a", "-m", "a name of the last century")
        self.assertEqual("python3-foo", self.build(source).nevras[0].name)
        self.assertIn(b"J\xfcrgen", (self.folder / "work/rpmbuild/foo/SPECS/python-foo.spec").read_bytes())

    def test_two_changes_of_one_project_are_one_build(self):
        source = tree(self.folder / "foo")
        self.assertEqual(len(self.build(source, source).packages), 1)

    def test_projects_that_end_alike_are_kept_apart(self):
        names = ["opendev.org/openstack/tool", "opendev.org/x/tool", "review.example.org/openstack/tool"]
        items, projects = [], {}
        for number, name in enumerate(names, 1):
            host, _, short = name.partition("/")
            tree(self.folder / "src" / name, SPEC.replace("foo", f"foo{number}").replace(f"foo{number}.sh", "foo.sh"))
            described = {"canonical_name": name, "name": short, "short_name": "tool", "canonical_hostname": host, "src_dir": f"src/{name}"}
            projects[name] = {**described, "checkout": "master"}
            items.append({"project": described, "branch": "master", "change": str(number), "change_url": f"https://{host}/c/{short}/+/{number}"})
        variables = self.folder / "zuul.json"
        variables.write_text(json.dumps({"zuul": {"items": items, "projects": projects}}))
        runner, output = CliRunner(), self.folder / "gating"
        words = [
            "--work-dir",
            str(self.folder / "work"),
            "zuul-items",
            "--source-root",
            str(self.folder),
            "--changes",
            str(self.folder / "changes.json"),
        ]
        chosen = runner.invoke(root, [*words, "--format", "json", str(variables)], catch_exceptions=False)
        paths = [entry["path"] for entry in json.loads(chosen.stdout)["projects"]]
        self.assertEqual(len(paths), 3, chosen.output)
        words = ["--work-dir", str(self.folder / "work"), "gating", "--output", str(output), "--changes", str(self.folder / "changes.json")]
        built = runner.invoke(root, [*words, *paths], catch_exceptions=False)
        self.assertEqual(built.exit_code, 0, built.output)
        found = {
            package.nevra.partition("-0")[0].partition("-1:")[0]: (package.project, package.change_url) for package in gating.load(output).packages
        }
        self.assertEqual(found, {f"python3-foo{number}": (name, items[number - 1]["change_url"]) for number, name in enumerate(names, 1)})
        logs = sorted(path.name for path in (self.folder / "work").rglob("gating-*.log"))
        self.assertEqual(logs, ["gating-opendev.org-openstack-tool.log", "gating-review.example.org-openstack-tool.log", "gating-x-tool.log"])

    def test_a_tree_without_spec_is_not_skipped(self):
        with self.assertRaises(ContentError) as caught:
            self.build(tree(self.folder / "foo", spec=None))
        self.assertIn("no spec file", str(caught.exception))

    def test_a_commit_of_no_time_is_named(self):
        source = tree(self.folder / "foo")
        good = git(source, "cat-file", "commit", "HEAD")
        for role, date in itertools.product(("author", "committer"), ("-5", "253402300799", "x", "")):
            with self.subTest(role=role, date=date):
                text = re.sub(f"^({role} .*>) [0-9]+", rf"\g<1> {date}", good, flags=re.MULTILINE)
                argv = ["git", "-C", str(source), "hash-object", "-t", "commit", "-w", "--stdin", "--literally"]
                made = subprocess.run(argv, input=text + "\n", check=True, capture_output=True, text=True).stdout.strip()
                git(source, "update-ref", "HEAD", made)
                with self.assertRaisesRegex(UsageError, f"commit {made[:12]} is of no time that can be used") as caught:
                    gating.SourceTree.at(source)
                self.assertTrue(caught.exception.next_step)

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


class Store(unittest.TestCase):
    """Packages are kept under what they were made from."""

    REPOSITORY = "demo/packages-under-test"

    def setUp(self):
        folder = tempfile.TemporaryDirectory()
        self.addCleanup(folder.cleanup)
        self.folder = Path(folder.name)
        self.server = RegistryServer(self.folder / "registry")
        self.server.start()
        self.addCleanup(self.server.stop)
        self.registries = Registries(self.server.authfile, self.server.ca_file, limits=Limits(attempts=1))
        self.addCleanup(self.registries.close)
        self.store = gating.PackageStore(self.registries, f"{self.server.host}/{self.REPOSITORY}")
        self.source = tree(self.folder / "foo")
        self.commit = change(self.source, "echo changed\n", day=10)
        self.said: list[str] = []

    def build(self, output: str):
        self.said.clear()
        return gating.build([self.source], self.folder / output, work=self.folder / "work", store=self.store, say=self.said.append)

    def tags(self):
        return self.registries.client(self.server.host).tags(self.REPOSITORY)

    def test_the_same_files_are_built_once(self):
        merged(self.source, self.commit, day=20)
        first = self.build("one")
        self.assertIn("building foo", self.said[0])
        merged(self.source, self.commit, day=21)
        second = self.build("two")
        self.assertIn("built before", self.said[0])
        self.assertEqual(len(self.tags()), 1)
        for name in ("repodata/repomd.xml", first.packages[0].file):
            self.assertEqual((first.directory / name).read_bytes(), (second.directory / name).read_bytes(), name)

    def test_a_build_that_never_gives_the_same_bytes_is_kept_as_it_was_first(self):
        spec = self.source / "python-foo.spec"
        git(self.source, "checkout", "-q", "--detach", "master")
        spec.write_text(spec.read_text().replace("%install\n", "%install\ndate +%N >>foo.sh; cat /proc/sys/kernel/random/uuid >>foo.sh\n"))
        git(self.source, "commit", "-q", "-a", "-m", "random", day=11)
        first, second = self.build("one"), self.build("two")
        file = first.packages[0].file
        self.assertEqual((first.directory / file).read_bytes(), (second.directory / file).read_bytes())

    def test_another_tree_is_built(self):
        self.build("one")
        git(self.source, "checkout", "-q", "--detach", "master")
        change(self.source, "echo another\n", day=12)
        self.build("two")
        self.assertIn("building foo", self.said[0])
        self.assertEqual(len(self.tags()), 2)

    def test_another_system_is_another_name(self):
        found = gating.SourceTree.at(self.source)
        builder = RpmBuild(self.folder / "top", log=self.folder / "log", timeout=60)
        here = builder.environment()
        self.assertNotIn(str(self.folder), here)
        self.assertNotEqual(self.store.tag(found, here), self.store.tag(found, here.replace("optflags", "optflags -O0", 1)))

    def test_what_is_not_the_packages_of_this_tree_is_refused(self):
        self.build("one")
        good = self.tags()[0]
        other = change(self.source, "echo another\n", day=12)
        git(self.source, "checkout", "-q", "--detach", other)
        environment = RpmBuild(self.folder / "top", log=self.folder / "log", timeout=60).environment()
        client = self.registries.client(self.server.host)
        manifest = client.manifest(self.REPOSITORY, good)
        client.put_manifest(self.REPOSITORY, self.store.tag(gating.SourceTree.at(self.source), environment), manifest.body, manifest.media_type)
        with self.assertRaisesRegex(ContentError, "does not hold packages of foo at tree"):
            self.build("two")

    def test_what_is_kept_goes_like_any_other_image(self):
        self.build("one")
        (tag,) = self.tags()
        collector = Collector(self.registries.client(self.server.host), "demo")
        self.assertEqual(collector.collect([self.REPOSITORY], KeepRules(newest=1), dry_run=False).kept, 1)
        month = time.time() + 30 * 86400
        self.assertEqual(collector.collect([self.REPOSITORY], KeepRules(newest=0), dry_run=False, now=month).untagged, [f"{self.REPOSITORY}:{tag}"])
        self.assertEqual(self.tags(), ())
        self.build("two")
        self.assertIn("building foo", self.said[0])

    def test_a_registry_that_is_down_is_said(self):
        self.server.stop()
        with self.assertRaises(InfrastructureError):
            self.build("one")
        self.assertFalse((self.folder / "one").exists())
