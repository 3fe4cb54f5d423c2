"""One frozen view: every case under "Repositories" in the requirements, over file:// and over a real web server."""

from __future__ import annotations

import hashlib
import os
import signal
import socket
import subprocess
import sys
import tempfile
import textwrap
import time
import unittest
import urllib.error
import urllib.request
from pathlib import Path

import createrepo_c as cr

from tests.unit.yum.web import Web, cut_off
from topcoat.errors import ContentError, InfrastructureError, TopcoatError, UsageError
from topcoat.model import Repository
from topcoat.yum import repositories
from topcoat.yum.repositories import freeze
from topcoat.yum.server import RepositoryServer
from topcoat.yum.transport import Transport, join, local_path
from topcoat_demo.rpms import RpmSpec, make_repository

ALPHA = RpmSpec("alpha", "1.0", epoch=2, source="alpha-src")
BETA = RpmSpec("beta", "1.0", arch="x86_64")


class RepositoryTestCase(unittest.TestCase):
    def setUp(self) -> None:
        folder = tempfile.TemporaryDirectory(prefix="topcoat-freeze-")
        self.addCleanup(folder.cleanup)
        self.folder = Path(folder.name)
        self.work = self.folder / "work"
        self.repo = make_repository(self.folder / "repo", [ALPHA, BETA])
        self.pauses: list[float] = []

    def serve(self) -> Web:
        web = Web(self.folder)
        self.addCleanup(web.close)
        return web

    def freeze(self, *repos: Repository, **options) -> repositories.Snapshot:
        transport = Transport(timeout=5.0, pause=self.pauses.append)
        snapshot = freeze(repos, self.work, transport=transport, **options)
        self.addCleanup(snapshot.close)
        return snapshot

    def refused(self, kind: type[TopcoatError], repo: Repository, *words: str, **options) -> TopcoatError:
        """The error names repository, URL, cause and the next step."""
        with self.assertRaises(kind) as caught:
            self.freeze(repo, **options)
        for word in (repo.id, repo.baseurl.rstrip("/"), *words):
            self.assertIn(word, str(caught.exception))
        self.assertTrue(caught.exception.next_step)
        return caught.exception

    def local(self, **options) -> Repository:
        return Repository("current", self.repo.as_uri(), **options)

    def primary(self) -> Path:
        return next((self.repo / "repodata").glob("*-primary.xml*"))


class Frozen(RepositoryTestCase):
    def test_view_and_packages(self) -> None:
        snapshot = self.freeze(self.local())
        repomd = (self.repo / "repodata/repomd.xml").read_bytes()
        self.assertEqual(snapshot.view, (("current", hashlib.sha256(repomd).hexdigest()),))
        alpha, beta = snapshot.packages("current")
        self.assertEqual(
            (str(alpha.nevra), alpha.source_rpm, alpha.href), ("alpha-2:1.0-1.el9.noarch", "alpha-src-1.0-1.el9.src.rpm", ALPHA.filename)
        )
        self.assertEqual(str(beta.nevra), "beta-1.0-1.el9.x86_64")
        content = (self.repo / BETA.filename).read_bytes()
        self.assertEqual((beta.size, beta.checksum), (len(content), f"sha256:{hashlib.sha256(content).hexdigest()}"))

    def test_directory_is_a_repository_of_its_own(self) -> None:
        """dnf can be pointed at the folder: repodata is there, packages as they are fetched."""
        snapshot = self.freeze(self.local())
        (frozen,) = snapshot.repositories
        self.assertEqual((frozen.directory / "repodata/repomd.xml").read_bytes(), (self.repo / "repodata/repomd.xml").read_bytes())
        self.assertIsNotNone(frozen.metadata("primary"))
        self.assertIsNotNone(frozen.metadata("filelists"))
        path = snapshot.fetch("current", ALPHA.filename)
        self.assertEqual(path, frozen.directory / ALPHA.filename)
        self.assertEqual(path.read_bytes(), (self.repo / ALPHA.filename).read_bytes())

    def test_view_stays_when_the_repository_moves_on(self) -> None:
        snapshot = self.freeze(self.local())
        before = snapshot.view
        make_repository(self.repo, [ALPHA.bump(version="2.0")])
        self.assertEqual(snapshot.view, before)
        self.assertEqual([package.nevra.version for package in snapshot.packages("current")], ["1.0", "1.0"])
        self.assertNotEqual(self.freeze(self.local()).view, before)

    def test_gated_names_the_newest_builds(self) -> None:
        make_repository(self.repo, [BETA.bump(version="1.9"), BETA.bump(version="1.10"), BETA.bump(version="1.1", arch="i686")])
        snapshot = self.freeze(self.local(gated=True))
        self.assertEqual([str(nevra) for nevra in snapshot.gated()], ["alpha-2:1.0-1.el9.noarch", "beta-1.1-1.el9.i686", "beta-1.10-1.el9.x86_64"])
        self.assertEqual(self.freeze(self.local()).gated(), ())

    def test_compressions(self) -> None:
        for suffix, kind in (("gz", cr.GZ_COMPRESSION), ("xz", cr.XZ_COMPRESSION), ("zst", cr.ZSTD_COMPRESSION), ("", cr.NO_COMPRESSION)):
            with self.subTest(suffix or "plain"):
                folder = self.folder / f"compressed-{suffix}"
                (folder / "repodata").mkdir(parents=True)
                rewrite(self.repo, folder, kind, suffix)
                snapshot = self.freeze(Repository("current", folder.as_uri()))
                self.assertEqual([str(package.nevra) for package in snapshot.packages("current")], [ALPHA.nevra, BETA.nevra])

    def test_packages_below_another_base(self) -> None:
        """``xml:base`` of a location wins over the repository's own URL."""
        folder = self.folder / "index"
        (folder / "repodata").mkdir(parents=True)
        rewrite(self.repo, folder, cr.GZ_COMPRESSION, "gz", base=self.repo.as_uri())
        snapshot = self.freeze(Repository("current", folder.as_uri()))
        self.assertEqual(snapshot.fetch("current", BETA.filename).read_bytes(), (self.repo / BETA.filename).read_bytes())

    def test_blanks_and_percent_signs_in_a_file_url(self) -> None:
        folder = make_repository(self.folder / "a b%20c", [ALPHA])
        self.assertEqual(len(self.freeze(Repository("current", folder.as_uri())).packages("current")), 1)

    def test_second_freeze_reads_repomd_only(self) -> None:
        web = self.serve()
        self.freeze(Repository("current", f"{web.url}/repo"))
        web.requests.clear()
        self.freeze(Repository("current", f"{web.url}/repo/"))
        self.assertEqual(dict(web.requests), {"/repo/repodata/repomd.xml": 1})

    def test_package_is_fetched_once(self) -> None:
        web = self.serve()
        snapshot = self.freeze(Repository("current", f"{web.url}/repo"))
        for _ in range(3):
            snapshot.fetch("current", ALPHA.filename)
        self.assertEqual(web.requests[f"/repo/{ALPHA.filename}"], 1)

    def test_damaged_cache_is_repaired(self) -> None:
        snapshot = self.freeze(self.local())
        (frozen,) = snapshot.repositories
        fetched = snapshot.fetch("current", ALPHA.filename)
        for path in (frozen.metadata("primary"), frozen.directory / "repodata/repomd.xml", repositories.solv_cache(frozen), fetched):
            path.write_bytes(path.read_bytes()[:50])
        snapshot = self.freeze(self.local())
        self.assertEqual(len(snapshot.packages("current")), 2)
        self.assertEqual(snapshot.fetch("current", ALPHA.filename).read_bytes(), (self.repo / ALPHA.filename).read_bytes())

    def test_kill_leaves_a_usable_cache(self) -> None:
        """kill -9 at any moment of a freeze; the next one gives the full view."""
        program = textwrap.dedent(
            """
            import sys
            from pathlib import Path
            from topcoat.model import Repository
            from topcoat.yum.repositories import freeze
            print("ready", flush=True)
            while True:
                with freeze([Repository("current", sys.argv[1])], Path(sys.argv[2])) as snapshot:
                    for package in snapshot.packages("current"):
                        snapshot.fetch("current", package.href)
                import shutil; shutil.rmtree(sys.argv[2])
            """
        )
        for delay in (0.0, 0.004, 0.009, 0.013):
            child = subprocess.Popen([sys.executable, "-c", program, self.repo.as_uri(), str(self.work)], stdout=subprocess.PIPE)
            child.stdout.readline()
            time.sleep(delay)
            os.kill(child.pid, signal.SIGKILL)
            child.wait()
            child.stdout.close()
            snapshot = self.freeze(self.local())
            self.assertEqual(len(snapshot.packages("current")), 2)


class View(RepositoryTestCase):
    """Several jobs, one view: what a freeze before named is what is used."""

    def test_kept_state_is_used(self) -> None:
        view = dict(self.freeze(self.local()).view)
        make_repository(self.repo, [ALPHA.bump(version="2.0")])
        again = self.freeze(self.local(), view=view)
        self.assertEqual(dict(again.view), view)
        self.assertEqual([package.nevra.version for package in again.packages("current")], ["1.0", "1.0"])

    def test_state_that_was_not_kept(self) -> None:
        view = dict(self.freeze(self.local()).view)
        self.work = self.folder / "elsewhere"
        self.assertEqual(dict(self.freeze(self.local(), view=view).view), view, "it still is that state")
        self.work = self.folder / "a third place"
        make_repository(self.repo, [ALPHA.bump(version="2.0")])
        self.refused(ContentError, self.local(), "no longer in the state", view=view)

    def test_kept_state_is_damaged_and_the_repository_moved_on(self) -> None:
        """Never another state than the one that was asked for."""
        snapshot = self.freeze(self.local())
        snapshot.repositories[0].metadata("primary").unlink()
        next((self.repo / "repodata").glob("*-primary.xml.gz")).unlink()
        make_repository(self.repo, [ALPHA.bump(version="2.0")])
        self.refused(ContentError, self.local(), "no longer in the state", view=dict(snapshot.view))

    def test_repository_that_the_view_does_not_name(self) -> None:
        self.assertEqual(len(self.freeze(self.local(), view={"other": "0" * 64}).packages("current")), 2)


class Refused(RepositoryTestCase):
    def test_404(self) -> None:
        web = self.serve()
        self.refused(ContentError, Repository("current", f"{web.url}/nothing"), "does not exist", "404")
        self.assertEqual(web.requests["/nothing/repodata/repomd.xml"], 1, "asking again does not help")

    def test_404_local(self) -> None:
        self.refused(ContentError, Repository("current", (self.folder / "nothing").as_uri()), "does not exist")

    def test_empty(self) -> None:
        empty = make_repository(self.folder / "empty")
        repo = Repository("gating", empty.as_uri(), gated=True)
        self.refused(ContentError, repo, "is empty")
        self.assertEqual(self.freeze(repo, allow_empty=("gating",)).packages("gating"), ())

    def test_sources_alone(self) -> None:
        source = make_repository(self.folder / "sources", [RpmSpec("tool", "1.0", arch="src")])
        self.refused(ContentError, Repository("gating", source.as_uri()), "holds no package that can be installed")

    def test_unknown_id(self) -> None:
        snapshot = self.freeze(self.local())
        for ask in (snapshot.packages, snapshot.repository, lambda name: snapshot.fetch(name, "x.rpm")):
            with self.assertRaises(UsageError) as caught:
                ask("currant")
            self.assertIn("'currant'", str(caught.exception))
            self.assertIn("current", caught.exception.next_step)

    def test_one_id_twice(self) -> None:
        with self.assertRaises(UsageError) as caught:
            self.freeze(self.local(), self.local())
        self.assertIn("current", str(caught.exception))

    def test_other_schemes(self) -> None:
        self.refused(UsageError, Repository("current", "ftp://example.org/repo"), "file://")

    def test_changing_while_read_once(self) -> None:
        """The repository is published anew between repomd.xml and primary: the new state is read."""
        web = self.serve()
        old = (self.repo / "repodata/repomd.xml").read_bytes()
        make_repository(self.repo, [ALPHA.bump(version="2.0")])
        web.script["/repo/repodata/repomd.xml"] = [(200, {}, old)]
        snapshot = self.freeze(Repository("current", f"{web.url}/repo"))
        self.assertEqual([package.nevra.version for package in snapshot.packages("current")], ["1.0", "2.0", "1.0"])

    def test_changing_while_read_again_and_again(self) -> None:
        web = self.serve()
        states = []
        for version in ("2.0", "3.0"):
            states.append((200, {}, (self.repo / "repodata/repomd.xml").read_bytes()))
            make_repository(self.repo, [ALPHA.bump(version=version)])
        web.script["/repo/repodata/repomd.xml"] = states
        self.refused(InfrastructureError, Repository("current", f"{web.url}/repo"), "changed twice")

    def test_corrupt_repomd(self) -> None:
        (self.repo / "repodata/repomd.xml").write_text("<html>It works!</html>")
        self.refused(ContentError, self.local(), "corrupt", "repomd.xml")

    def test_primary_is_not_what_repomd_promises(self) -> None:
        primary = self.primary()
        primary.write_bytes(primary.read_bytes()[:-9])
        self.refused(InfrastructureError, self.local(), primary.name, "inconsistent")

    def test_primary_is_corrupt_though_its_checksum_holds(self) -> None:
        primary = self.primary()
        primary.write_bytes(b"<metadata><package type='rpm'><name>half")
        fix_checksum(self.repo, "primary", primary)
        self.refused(ContentError, self.local(), "corrupt")

    def test_unreachable(self) -> None:
        with socket.socket() as closed:
            closed.bind(("127.0.0.1", 0))
            port = closed.getsockname()[1]
        error = self.refused(InfrastructureError, Repository("current", f"http://127.0.0.1:{port}/repo"), "unreachable")
        self.assertEqual(len(self.pauses), 3, "a few attempts, with pauses")
        self.assertTrue(error.recheck_helps)

    def test_unreachable_after_the_plan(self) -> None:
        web = Web(self.folder)
        snapshot = self.freeze(Repository("current", f"{web.url}/repo"))
        web.close()
        with self.assertRaises(InfrastructureError) as caught:
            snapshot.fetch("current", ALPHA.filename)
        for word in ("current", "unreachable", ALPHA.filename):
            self.assertIn(word, str(caught.exception))

    def test_package_gone_after_the_plan(self) -> None:
        web = self.serve()
        snapshot = self.freeze(Repository("current", f"{web.url}/repo"))
        (self.repo / ALPHA.filename).unlink()
        with self.assertRaises(InfrastructureError) as caught:
            snapshot.fetch("current", ALPHA.filename)
        self.assertIn("changed after it was frozen", str(caught.exception))

    def test_package_with_another_content(self) -> None:
        web = self.serve()
        remote, local = self.freeze(Repository("current", f"{web.url}/repo")), self.freeze(self.local())
        path = self.repo / ALPHA.filename
        path.write_bytes(path.read_bytes()[:-1] + b"!")
        for snapshot, kind in ((remote, InfrastructureError), (local, ContentError)):
            with self.assertRaises(kind) as caught:
                snapshot.fetch("current", ALPHA.filename)
            self.assertIn("sha256", str(caught.exception))
            self.assertFalse((snapshot.repositories[0].directory / ALPHA.filename).exists(), "nothing wrong under the final name")

    def test_file_that_nobody_names(self) -> None:
        snapshot = self.freeze(self.local())
        with self.assertRaises(ContentError):
            snapshot.fetch("current", "../../etc/passwd")

    def test_package_location_that_leaves_the_repository(self) -> None:
        folder = self.folder / "evil"
        (folder / "repodata").mkdir(parents=True)
        rewrite(self.repo, folder, cr.GZ_COMPRESSION, "gz", location="../../{}")
        snapshot = self.freeze(Repository("current", folder.as_uri()))
        with self.assertRaises(ContentError) as caught:
            snapshot.packages("current")
        self.assertIn("leaves the repository", str(caught.exception))


class Patience(RepositoryTestCase):
    def test_429_with_retry_after(self) -> None:
        web = self.serve()
        web.script["/repo/repodata/repomd.xml"] = [(429, {"Retry-After": "7"}, b"slowly")]
        self.freeze(Repository("current", f"{web.url}/repo"))
        self.assertEqual(self.pauses, [7.0])

    def test_retry_after_has_a_limit(self) -> None:
        web = self.serve()
        web.script["/repo/repodata/repomd.xml"] = [(503, {"Retry-After": "86400"}, b"tomorrow")]
        self.freeze(Repository("current", f"{web.url}/repo"))
        self.assertEqual(self.pauses, [60.0])

    def test_500_and_a_cut_connection(self) -> None:
        web = self.serve()
        web.script["/repo/repodata/repomd.xml"] = [(500, {}, b"oops"), cut_off]
        snapshot = self.freeze(Repository("current", f"{web.url}/repo"))
        self.assertEqual(len(snapshot.packages("current")), 2)
        self.assertEqual(len(self.pauses), 2)

    def test_it_ends(self) -> None:
        web = self.serve()
        web.script["/repo/repodata/repomd.xml"] = [(502, {}, b"")] * 100
        self.refused(InfrastructureError, Repository("current", f"{web.url}/repo"), "502")
        self.assertEqual(web.requests["/repo/repodata/repomd.xml"], 4)

    def test_body_without_end(self) -> None:
        web = self.serve()
        web.script["/repo/repodata/repomd.xml"] = [(200, {}, b"x" * (17 << 20))]
        self.refused(InfrastructureError, Repository("current", f"{web.url}/repo"), "larger than")


class Server(RepositoryTestCase):
    def get(self, url: str) -> bytes:
        with urllib.request.urlopen(url, timeout=10) as response:
            return response.read()

    def test_serves_the_frozen_state(self) -> None:
        web = self.serve()
        snapshot = self.freeze(Repository("current", f"{web.url}/repo"))
        repomd = (self.repo / "repodata/repomd.xml").read_bytes()
        make_repository(self.repo, [ALPHA.bump(version="2.0")])
        with RepositoryServer(snapshot) as server:
            self.assertEqual(self.get(server.url("current") + "repodata/repomd.xml"), repomd)
            package = self.get(server.url("current") + BETA.filename)
            self.get(server.url("current") + BETA.filename)
        self.assertEqual(package, (self.repo / BETA.filename).read_bytes())
        self.assertEqual(web.requests[f"/repo/{BETA.filename}"], 1)

    def test_metadata_that_was_not_read_before(self) -> None:
        snapshot = self.freeze(self.local())
        other = next((self.repo / "repodata").glob("*-other.xml.gz"))
        with RepositoryServer(snapshot) as server:
            self.assertEqual(self.get(server.url("current") + f"repodata/{other.name}"), other.read_bytes())

    def test_status_codes(self) -> None:
        web = Web(self.folder)
        snapshot = self.freeze(Repository("current", f"{web.url}/repo"))
        web.close()
        with RepositoryServer(snapshot) as server:
            base = server.url("current")
            for url, status in ((base + "nothing.rpm", 404), (base.replace("current", "nobody") + "x", 404), (base + ALPHA.filename, 502)):
                with self.assertRaises(urllib.error.HTTPError) as caught:
                    self.get(url)
                self.assertEqual(caught.exception.code, status)
                caught.exception.close()

    def test_listens_on_loopback_only_and_ends(self) -> None:
        with RepositoryServer(self.freeze(self.local())) as server:
            url = server.url("current")
            self.assertTrue(url.startswith("http://127.0.0.1:"))
        with self.assertRaises(urllib.error.URLError):
            self.get(url + "repodata/repomd.xml")

    def test_repo_file(self) -> None:
        gating = Repository("gating", make_repository(self.folder / "gating", [ALPHA.bump(version="9")]).as_uri(), priority=1, gated=True)
        snapshot = self.freeze(gating, self.local(includepkgs=("alpha*", "beta"), excludepkgs=("x",)))
        with RepositoryServer(snapshot) as server:
            text = server.repo_file()
        self.assertIn("[gating]\n", text)
        self.assertIn("priority=1\n", text)
        self.assertIn("includepkgs=alpha*,beta\n", text)
        self.assertIn("excludepkgs=x,alpha\n", text, "the gated build is the only one there is")
        self.assertIn("skip_if_unavailable=0", text)


def rewrite(source: Path, target: Path, compression: int, suffix: str, *, base: str | None = None, location: str = "{}") -> None:
    """Describe the packages of one folder in the metadata of another."""
    packages = [cr.package_from_rpm(str(path), location_href=location.format(path.name), location_base=base) for path in sorted(source.glob("*.rpm"))]
    repomd = cr.Repomd()
    for name, kind in (("primary", cr.PrimaryXmlFile), ("filelists", cr.FilelistsXmlFile)):
        path = target / "repodata" / f"{name}.xml{f'.{suffix}' if suffix else ''}"
        stream = kind(str(path), compression)
        stream.set_num_of_pkgs(len(packages))
        for package in packages:
            stream.add_pkg(package)
        stream.close()
        record = cr.RepomdRecord(name, str(path))
        record.fill(cr.SHA256)
        repomd.set_record(record)
    (target / "repodata/repomd.xml").write_text(repomd.xml_dump())


def fix_checksum(repo: Path, kind: str, path: Path) -> None:
    """Make repomd.xml promise what lies there."""
    repomd = cr.Repomd(str(repo / "repodata/repomd.xml"))
    fresh = cr.Repomd()
    for record in repomd.records:
        if record.type == kind:
            content = path.read_bytes()
            record.checksum, record.size = hashlib.sha256(content).hexdigest(), len(content)
        fresh.set_record(record)
    (repo / "repodata/repomd.xml").write_text(fresh.xml_dump())


class Urls(unittest.TestCase):
    def test_join(self) -> None:
        self.assertEqual(join("http://host/a/b", "repodata/x"), "http://host/a/b/repodata/x")
        self.assertEqual(join("http://host/a/b/", "x.rpm"), "http://host/a/b/x.rpm")

    def test_local_path(self) -> None:
        self.assertEqual(str(local_path("file:///a%20b/c")), "/a b/c")
        self.assertIsNone(local_path("http://host/a"))
