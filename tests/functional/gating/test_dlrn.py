"""Trees without a spec file: the real DLRN finds their packaging, and the same rpmbuild as for others makes the packages."""

import subprocess
import tempfile
import unittest
from pathlib import Path

from tests.functional.gating.test_build import IDENTITY, change, git, merged, tree
from tests.functional.trunk.dlrn_server import environment
from topcoat import gating
from topcoat.errors import ContentError, UsageError

# As the distgits of RDO are: what DLRN fills in is left open, and a file of the distgit is a source.
SPEC = """\
%{!?upstream_version: %global upstream_version %{version}%{?milestone}}
Name: python-foo
Epoch: 1
Version: XXX
Release: XXX
Summary: foo
License: MIT
Source0: https://tarballs.example.org/foo/foo-%{upstream_version}.tar.gz
Source1: foo.service
BuildArch: noarch
%description
foo
%package -n python3-foo
Summary: foo
%description -n python3-foo
foo
%prep
%setup -q -n foo-%{upstream_version}
%install
install -D -m 755 foo.sh %{buildroot}/usr/bin/foo
install -D -m 644 %{SOURCE1} %{buildroot}/usr/lib/systemd/system/foo.service
echo "$PBR_VERSION" >%{buildroot}/usr/lib/version
%files -n python3-foo
/usr/bin/foo
/usr/lib/systemd/system/foo.service
/usr/lib/version
%changelog
* Mon Jan 01 2024 Somebody <s@example.org> 99.0-1
- A version that no build may take.
"""
RDO = """\
releases:
- {name: master, branch: rpm-master, repos: [{name: el9, buildsys: none}]}
packages:
- {project: foo, name: python-foo, upstream: "file:///nowhere/foo", master-distgit: "file:///nowhere/foo-distgit.git", maintainers: [a@example.org]}
- {project: gone, name: python-gone, upstream: "file:///nowhere/gone", master-distgit: "file:///nowhere/gone-distgit", maintainers: [a@example.org]}
"""


def repository(folder: Path, files: dict[str, str]) -> Path:
    folder.mkdir(parents=True)
    for name, text in files.items():
        (folder / name).write_text(text)
    git(folder, "init", "-q", "-b", "master")
    git(folder, "add", "-A")
    git(folder, "commit", "-q", "-m", "x")
    return folder


class DlrnTest(unittest.TestCase):
    def setUp(self):
        folder = tempfile.TemporaryDirectory()
        self.addCleanup(folder.cleanup)
        self.folder = Path(folder.name)
        self.program = str(environment() / "bin/dlrn")
        info = repository(self.folder / "rdoinfo", {"rdo.yml": RDO})
        self.distgit = repository(self.folder / "foo-distgit", {"python-foo.spec": SPEC, "foo.service": "[Unit]\n"})
        self.config = self.folder / "projects.ini"
        self.config.write_text(
            "[DEFAULT]\ndistro=rpm-master\nsource=master\ntarget=centos9-stream\nbaseurl=http://localhost\nreponame=delorean\n"
            f"[rdoinfo_driver]\nrepo={info}\ncache_dir={self.folder}/cache\n"
        )

    def build(self, *sources: Path, output: str = "gating", **options):
        values = {"dlrn_config": self.config, "dlrn": self.program, "checkouts": [self.distgit], **options}
        return gating.build(sources, self.folder / output, work=self.folder / "work", **values)

    def test_a_change_is_packaged_by_the_distgit_beside_it_the_same_in_every_buildset(self):
        source = tree(self.folder / "foo", None)
        git(source, *IDENTITY, "tag", "-a", "-m", "release", "1.2.3")
        commit = change(source, "echo changed\n", day=10)
        first = self.build(merged(source, commit, day=20), output="one")
        second = self.build(merged(source, commit, day=21), output="two")
        (nevra,) = first.nevras
        self.assertEqual((nevra.name, nevra.epoch, nevra.version), ("python3-foo", 1, "1.2.4"))
        self.assertRegex(nevra.release, r"^0\.20260110030405\.[0-9a-f]{7}")
        for name in ("repodata/repomd.xml", first.packages[0].file):
            self.assertEqual((first.directory / name).read_bytes(), (second.directory / name).read_bytes(), name)
        held = self.folder / "held"
        held.mkdir()
        subprocess.run(f"rpm2cpio {first.directory / first.packages[0].file} | cpio -idm --quiet", shell=True, check=True, cwd=held)
        self.assertEqual((held / "usr/bin/foo").read_text(), "echo changed\n")
        self.assertEqual((held / "usr/lib/systemd/system/foo.service").read_text(), "[Unit]\n")
        self.assertRegex((held / "usr/lib/version").read_text(), r"^1\.2\.4\.dev\d+\n$")

    def test_a_template_of_a_spec_file_is_rendered_out_of_reach_of_the_machine(self):
        secret = self.folder / "secret"
        secret.write_text("of the machine")
        code = f"cat {secret}; touch {self.folder}/was-here; ls {self.folder} | wc -l"
        (self.distgit / "python-foo.spec").unlink()
        said = "{{ cycler.__init__.__globals__.os.popen('" + code + "').read() | replace('\\n', ' ') }}"
        (self.distgit / "python-foo.spec.j2").write_text(SPEC.replace("Summary: foo\nLicense", f"Summary: foo {said}\nLicense"))
        git(self.distgit, "add", "-A")
        git(self.distgit, "commit", "-q", "-m", "template")
        source = tree(self.folder / "foo", None)
        git(source, *IDENTITY, "tag", "-a", "-m", "release", "1.2.3")
        (nevra,) = self.build(source).nevras
        self.assertEqual("python3-foo", nevra.name)
        [spec] = (self.folder / "work").rglob("SPECS/python-foo.spec")
        self.assertRegex(spec.read_text(), r"(?m)^Summary: foo \d+ *$", "it ran, and saw no file of the machine")
        self.assertFalse((self.folder / "was-here").exists())

    def test_what_cannot_be_packaged_says_why(self):
        source = tree(self.folder / "foo", None)
        for name, error, words, options in (
            ("other", ContentError, "DLRN does not know the project other", {}),
            ("gone", ContentError, "gone", {}),
            ("foo", ContentError, "no tag that says a version", {}),
            ("foo", UsageError, "is no program here", {"dlrn": "/nowhere/dlrn"}),
            ("foo", UsageError, "does not exist", {"dlrn_config": self.folder / "no.ini"}),
        ):
            with self.subTest(words), self.assertRaises(error) as raised:
                self.build(source.parent / name if name == "foo" else tree(self.folder / name, None), **options)
            self.assertIn(words, str(raised.exception))


if __name__ == "__main__":
    unittest.main()
