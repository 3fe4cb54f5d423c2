"""Repositories that are slow, closed, wrongly certified, mislabelled or bombs: the true cause, and an end."""

import datetime
import gzip
import hashlib
import http.server
import ssl
import threading
from pathlib import Path

import trustme

from tests.unit.yum.test_repositories import ALPHA, RepositoryTestCase
from topcoat.errors import ContentError, InfrastructureError, UsageError
from topcoat.model import Repository
from topcoat.yum import repomd
from topcoat.yum.repositories import freeze
from topcoat.yum.transport import ATTEMPTS, FetchError, Transport, UnreachableError
from topcoat_demo.rpms import make_repository

REPOMD = "/repo/repodata/repomd.xml"


class Slow(RepositoryTestCase):
    def fetch(self, url: str, **limits: float) -> FetchError:
        transport = Transport(pause=self.pauses.append, **{"timeout": 0.5, **limits})
        self.addCleanup(transport.close)
        with self.assertRaises(FetchError) as caught:
            transport.read(url, limit=1 << 20)
        return caught.exception

    def drip(self, head: bytes, byte: bytes, count: int = 1 << 30):  # type: ignore[no-untyped-def]
        """An answer that sends one byte again and again, faster than any read's own limit, until the client goes away or has ``count`` of them."""
        end = threading.Event()
        self.addCleanup(end.set)

        def answer(handler: http.server.BaseHTTPRequestHandler) -> None:
            try:
                handler.wfile.write(head)
                for _ in range(count):
                    if end.wait(0.05):
                        break
                    handler.wfile.write(byte)
                    handler.wfile.flush()
            except OSError:
                pass
            handler.close_connection = True

        return answer

    def test_headers_that_never_end(self) -> None:
        web = self.serve()
        web.script[REPOMD] = [self.drip(b"HTTP/1.0 200 OK\r\nX-Slow: ", b"a")] * ATTEMPTS
        self.assertIsInstance(self.fetch(f"{web.url}{REPOMD}"), UnreachableError)
        self.assertEqual(web.requests[REPOMD], ATTEMPTS)

    def test_a_body_below_the_lowest_speed(self) -> None:
        web = self.serve()
        web.script[REPOMD] = [self.drip(b"HTTP/1.0 200 OK\r\nContent-Length: 100000\r\n\r\n", b"a")] * ATTEMPTS
        found = self.fetch(f"{web.url}{REPOMD}", minrate=1000)
        self.assertEqual((type(found), found.cause), (UnreachableError, "slower than 1000 bytes a second"))

    def test_a_slow_body_above_it_is_read(self) -> None:
        web = self.serve()
        web.script[REPOMD] = [self.drip(b"HTTP/1.0 200 OK\r\nContent-Length: 20\r\n\r\n", b"a", 20)] * ATTEMPTS
        transport = Transport(timeout=0.5, minrate=1)
        self.addCleanup(transport.close)
        self.assertEqual(transport.read(f"{web.url}{REPOMD}", limit=100), b"a" * 20)


class Causes(RepositoryTestCase):
    def test_closed_is_not_missing(self) -> None:
        for status in (401, 403):
            with self.subTest(status):
                web = self.serve()
                web.script[REPOMD] = [(status, {}, b"no")] * 9
                error = self.refused(InfrastructureError, Repository("current", f"{web.url}/repo"), "may not be read", str(status))
                self.assertFalse(error.retriable)
                self.assertEqual(web.requests[REPOMD], 1)

    def test_one_layer_of_retry(self) -> None:
        web = self.serve()
        name = f"/repo/repodata/{self.primary().name}"
        web.script[name] = [(503, {}, b"")] * 99
        error = self.refused(InfrastructureError, Repository("current", f"{web.url}/repo"), "503")
        self.assertFalse(error.retriable)
        self.assertEqual((web.requests[name], web.requests[REPOMD]), (ATTEMPTS, 1))

    def test_files_that_a_server_calls_encoded_are_taken_as_they_are(self) -> None:
        web = self.serve()
        for path in (self.repo / "repodata").iterdir():
            if path.name != "repomd.xml":
                web.script[f"/repo/repodata/{path.name}"] = [(200, {"Content-Encoding": "gzip"}, path.read_bytes())]
        self.assertEqual(len(self.freeze(Repository("current", f"{web.url}/repo")).packages("current")), 2)


class Certificates(RepositoryTestCase):
    def server(self, name: str = "127.0.0.1", **validity: datetime.datetime) -> tuple[str, Path]:
        """(URL of the served folder over TLS, the authority of its certificate)."""
        authority = trustme.CA()
        certificate = authority.issue_cert(name, **validity)
        path = self.folder / "authority.pem"
        authority.cert_pem.write_to_path(str(path))
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        certificate.configure_cert(context)

        class Handler(http.server.SimpleHTTPRequestHandler):
            def log_message(self, format: str, *args: object) -> None:
                pass

        def handler(*arguments: object) -> Handler:
            return Handler(*arguments, directory=str(self.folder))  # type: ignore[arg-type]

        server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler)
        server.socket = context.wrap_socket(server.socket, server_side=True)
        threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True).start()
        self.addCleanup(server.server_close)
        self.addCleanup(server.shutdown)
        return f"https://127.0.0.1:{server.server_address[1]}/repo", path

    def test_an_authority_of_its_own(self) -> None:
        url, authority = self.server()
        error = self.refused(InfrastructureError, Repository("current", url), "cannot be trusted")
        self.assertIn("ca_file", error.next_step)
        self.assertEqual(self.pauses, [])
        self.assertEqual(len(self.freeze(Repository("current", url, ca_file=str(authority))).packages("current")), 2)

    def test_for_another_name(self) -> None:
        url, authority = self.server("mirror.example.org")
        error = self.refused(InfrastructureError, Repository("current", url, ca_file=str(authority)), "cannot be trusted")
        self.assertIn("name that the server's certificate is for", error.next_step)

    def test_expired(self) -> None:
        url, authority = self.server(not_before=datetime.datetime(2020, 1, 1), not_after=datetime.datetime(2020, 2, 1))
        error = self.refused(InfrastructureError, Repository("current", url, ca_file=str(authority)), "expired")
        self.assertIn("renewed", error.next_step)

    def test_an_authority_that_is_none(self) -> None:
        url, _ = self.server()
        with self.assertRaises(UsageError):
            freeze([Repository("current", url, ca_file="/nonexistent")], self.work)


class Bombs(RepositoryTestCase):
    def test_more_than_the_metadata_names(self) -> None:
        repo = make_repository(self.folder / "bomb", [ALPHA])
        primary = next((repo / "repodata").glob("*-primary.xml*"))
        names = (repo / "repodata/repomd.xml").read_text()
        old = primary.read_bytes()
        bomb = gzip.compress(b"<?xml version='1.0'?><metadata>" + b" " * (8 << 20) + b"</metadata>", 9)
        names = names.replace(hashlib.sha256(old).hexdigest(), hashlib.sha256(bomb).hexdigest()).replace(
            f"<size>{len(old)}</size>", f"<size>{len(bomb)}</size>"
        )
        primary.unlink()
        (repo / "repodata" / primary.name.replace(hashlib.sha256(old).hexdigest(), hashlib.sha256(bomb).hexdigest())).write_bytes(bomb)
        (repo / "repodata/repomd.xml").write_text(names)
        with self.assertRaises(ContentError) as caught:
            self.freeze(Repository("bomb", repo.as_uri()))
        self.assertIn("repomd.xml names no more", str(caught.exception))


class Locations(RepositoryTestCase):
    def test_what_cannot_be_a_file_name(self) -> None:
        for href in ("./", ".", "", "/", "a/../../b", "x" * 5000, "a/" * 2000 + "b", "repodata/\0x", "a\nb", "http:x", "é" * 150):
            with self.subTest(href[:20]), self.assertRaises(ValueError) as caught:
                repomd.safe_href(href)
            self.assertLess(len(str(caught.exception)), 200)
        self.assertEqual(repomd.safe_href("Packages/é/a.rpm"), "Packages/é/a.rpm")
