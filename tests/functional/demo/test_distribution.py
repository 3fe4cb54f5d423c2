"""The demo distribution: the same bytes twice, a complete closure, base images in which dnf really works."""

import hashlib
import http.server
import json
import os
import subprocess
import tempfile
import threading
import unittest
from functools import partial
from pathlib import Path

import createrepo_c as cr
import yaml

from tests.needs import needs
from topcoat_demo import distribution as distributions
from topcoat_demo.beside import LIMITS
from topcoat_demo.environment import prepare
from topcoat_demo.registry import RegistryServer, push_layout

ROOT = Path(__file__).parents[3]
TOOLS = ("dnf", "rpm", "buildah", "skopeo", "apt-get", "git")


def run(*argv: str, check: bool = True, **more: object) -> subprocess.CompletedProcess[str]:
    done = subprocess.run(argv, capture_output=True, text=True, timeout=500, check=False, **more)
    if check and done.returncode:
        raise AssertionError(f"{argv}: {done.stdout}\n{done.stderr}")
    return done


def tree(folder: Path, *, leave: tuple[str, ...] = ()) -> dict[str, str]:
    """Relative path -> digest, mode and link target of everything below a folder."""
    found = {}
    for path in sorted(folder.rglob("*")):
        relative = str(path.relative_to(folder))
        if path.is_file() and not relative.startswith(leave):
            found[relative] = f"{path.stat().st_mode:o} {hashlib.sha256(path.read_bytes()).hexdigest()}"
    return found


class Quiet(http.server.SimpleHTTPRequestHandler):
    def log_message(self, *_: object) -> None:
        pass


@needs(*TOOLS)
class DemoDistribution(unittest.TestCase):
    @classmethod
    def setUpClass(cls) -> None:
        cls.distribution = distributions.shared()

    def setUp(self) -> None:
        holder = tempfile.TemporaryDirectory(prefix="demo-distribution-")
        self.addCleanup(holder.cleanup)
        self.folder = Path(holder.name)

    def test_made_twice_gives_the_same_bytes(self) -> None:
        made = distributions.make(self.folder / "again", cache=distributions.default_cache())
        for part in ("repos", "images"):
            self.assertEqual(tree(made.directory / part), tree(self.distribution.directory / part))
        for source in sorted(made.sources.iterdir()):
            folders = (source, self.distribution.sources / source.name)
            heads = {run("git", "-c", "safe.directory=*", "-C", str(folder), "rev-parse", "HEAD").stdout for folder in folders}
            self.assertEqual(len(heads), 1, source.name)

    def test_second_call_makes_nothing(self) -> None:
        lines: list[str] = []
        distributions.shared(say=lines.append)
        self.assertEqual(lines, [])

    def test_every_package_of_every_recipe_exists(self) -> None:
        have = {name for repo in ("base", "current-passed-ci") for name in self.names(self.distribution.repositories / repo)}
        for path in sorted((ROOT / "container-images").rglob("*.yaml")):
            if path.parent.name in ("profiles", "lists") or path.name == "users.yaml":
                continue
            for image, recipe in (yaml.safe_load(path.read_text()) or {}).items():
                wanted = {item if isinstance(item, str) else item["name"] for item in (recipe or {}).get("packages", ())}
                self.assertEqual(wanted - have, set(), f"{path.name}: {image}")

    @staticmethod
    def names(repository: Path) -> list[str]:
        return [package.name for package in cr.RepositoryReader.from_path(str(repository)).iter_packages()]

    def test_names_point_at_states_and_delorean_files_say_so(self) -> None:
        first, last = self.distribution.states[0], self.distribution.states[-1]
        for name, state in (("current-passed-ci", first), ("current", last)):
            folder = self.distribution.repositories / name
            self.assertFalse(folder.is_symlink())
            self.assertEqual(tree(folder), tree(self.distribution.repositories / state.path))
            text = (folder / "delorean.repo").read_text()
            self.assertIn(f"baseurl=https://trunk.example.org/demo9-master/{state.path}\n", text)
            self.assertEqual((folder / "delorean.repo.md5").read_text(), hashlib.md5(text.encode(), usedforsecurity=False).hexdigest())
            commit = yaml.safe_load((folder / "commit.yaml").read_text())["commits"][0]
            self.assertEqual(f"{commit['commit_hash']}_{commit['distro_hash'][:8]}", state.full)
        self.assertNotEqual(first.full, last.full)

    def test_repositories_are_closed(self) -> None:
        """No package needs what no repository has."""
        provided: set[str] = set()
        needed: set[tuple[str, str]] = set()
        for name in ("base", "current-passed-ci", "current"):
            for package in cr.RepositoryReader.from_path(str(self.distribution.repositories / name)).iter_packages():
                provided |= {item[0] for item in package.provides} | {f"{entry[1]}{entry[2]}" for entry in package.files}
                needed |= {(package.name, item[0]) for item in package.requires if not item[0].startswith("rpmlib(")}
        self.assertEqual({(name, item) for name, item in needed if item not in provided}, set())

    def test_dnf_inside_the_real_base_installs_over_http(self) -> None:
        """In a Containerfile, plain buildah, chroot isolation: packages with their scriptlets, accounts, and a clean rpm -Va."""
        handler = partial(Quiet, directory=str(self.distribution.repositories))
        server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler)
        threading.Thread(target=server.serve_forever, daemon=True).start()
        self.addCleanup(server.server_close)
        self.addCleanup(server.shutdown)
        url = f"http://127.0.0.1:{server.server_port}"
        repo = "".join(f"[{name}]\nname={name}\nbaseurl={url}/{name}\n" for name in ("base", "current-passed-ci"))
        (self.folder / "demo.repo").write_text(repo)
        (self.folder / "Containerfile").write_text(
            "ARG BASE\nFROM $BASE\nCOPY demo.repo /etc/yum.repos.d/demo.repo\n"
            "RUN groupadd -g 42436 nova && useradd -u 42436 -g nova -M nova\n"
            "RUN yum -y install openstack-nova-compute iputils && rpm -q openstack-nova-compute && getent passwd nova && nova-compute --version\n"
            "RUN rpm -Va | tee /dev/stderr\n"
        )
        assert self.distribution.real
        store = [f"--root={self.folder / 'store'}", f"--runroot={self.folder / 'run'}"]
        self.addCleanup(run, "buildah", *store, "rmi", "--all", "--force", check=False)
        with RegistryServer(self.folder / "registry") as server:
            push_layout(server, self.distribution.real.directory, "distribution/base", "9")
            access = [f"--authfile={server.authfile}", f"--cert-dir={server.certificates}", f"--build-arg=BASE={server.host}/distribution/base:9"]
            done = run("buildah", *store, "bud", "--isolation=chroot", *LIMITS, *access, "-t", "nova-compute", str(self.folder))
        self.assertIn("nova:x:42436:42436", done.stdout)
        self.assertRegex(done.stdout, r"nova-compute: openstack-nova-compute 1:28\.1\.0-0\.")
        verified = done.stderr + done.stdout
        self.assertNotRegex(verified, r"(?m)^\S{9}.*    /(usr|var)/", "nothing but configuration and mounts may differ from its package")

    def test_tiny_base_is_driven_by_the_dnf_of_the_host(self) -> None:
        root = self.folder / "root"
        root.mkdir()
        layout = self.distribution.tiny
        manifest = json.loads((layout.directory / "blobs/sha256" / layout.digest[7:]).read_text())
        layer = layout.directory / "blobs/sha256" / manifest["layers"][0]["digest"][7:]
        run("tar", "-xpf", str(layer), "-C", str(root))
        (self.folder / "home").mkdir()
        (self.folder / "home" / ".rpmmacros").write_text("%_dbpath /var/lib/rpm\n")
        run(
            *("dnf", "-y", f"--installroot={root}", "--releasever=9", "--setopt=reposdir=/nonexistent", "--setopt=install_weak_deps=False"),
            *(f"--repofrompath=base,file://{self.distribution.base}", f"--repofrompath=passed,file://{self.distribution.current_passed_ci}"),
            *(f"--setopt=cachedir={self.folder / 'cache'}", "--nogpgcheck", "install", "python3-oslo-config", "memcached"),
            env={**os.environ, "HOME": str(self.folder / "home")},
        )
        listed = run("rpm", "--root", str(root), "--dbpath", "/var/lib/rpm", "-qa").stdout
        self.assertIn("python3-oslo-config-9.4.0", listed)
        self.assertNotIn("libc6", listed, "the tiny base stays tiny")
        self.assertEqual((root / "var/lib/rpm/rpmdb.sqlite").read_bytes()[:15], b"SQLite format 3")
        shown = run("chroot", str(root), "/usr/bin/memcached", "--version").stdout
        self.assertIn("memcached: memcached 1.6.9-1.el9", shown)

    def test_base_images_hold_no_logs_caches_or_leftovers(self) -> None:
        for layout in filter(None, (self.distribution.real, self.distribution.tiny)):
            manifest = json.loads((layout.directory / "blobs/sha256" / layout.digest[7:]).read_text())
            layer = layout.directory / "blobs/sha256" / manifest["layers"][0]["digest"][7:]
            names = run("tar", "-tf", str(layer)).stdout.split()
            files = [name for name in names if not name.endswith("/")]
            self.assertEqual([name for name in files if name.startswith(("var/log/", "var/cache/", "var/lib/dnf/"))], [])
            self.assertEqual([name for name in files if name.startswith("var/lib/rpm/")], ["var/lib/rpm/rpmdb.sqlite"])

    def test_pushing_a_base_keeps_its_digest(self) -> None:
        with RegistryServer(self.folder / "registry") as server:
            self.assertEqual(push_layout(server, self.distribution.tiny.directory, "distribution/tiny", "9"), self.distribution.tiny.digest)

    def test_environment_fills_the_demo_profile(self) -> None:
        environment = prepare(self.folder / "demo", distribution=distributions.shared(quick=True))
        self.addCleanup(environment.stop)
        profile = yaml.safe_load((ROOT / "container-images/profiles/demo.yaml").read_text())
        self.assertLessEqual(set(environment.variables), set(profile["variables"]))
        self.assertLessEqual({"registry", "base_image", "base_digest", "repositories"}, set(environment.variables))
        self.assertEqual(environment.registry.ping(), 200)
        self.assertNotIn(environment.registry.password, environment.values_file.read_text())
        pid = environment.registry.pid
        self.assertEqual(prepare(self.folder / "demo", distribution=distributions.shared(quick=True)).registry.pid, pid)


if __name__ == "__main__":
    unittest.main()
