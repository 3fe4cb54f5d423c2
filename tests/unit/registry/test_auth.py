"""Auth files, challenges, and what an answer means."""

from __future__ import annotations

import base64
import json
import tempfile
import unittest
from pathlib import Path

from topcoat.errors import ContentError, InfrastructureError, UsageError
from topcoat.registry import AccessError, Credentials, Login, NotFoundError, RefusedError
from topcoat.registry.auth import Authenticator, choose_challenge
from topcoat.registry.limits import Limits, Traffic
from topcoat.registry.scopes import delete, push
from topcoat.registry.tls import Tls
from topcoat.registry.transport import Response, Transport, failure

CANARY = "correct-horse-canary"


class AuthFiles(unittest.TestCase):
    def write(self, text: str) -> Path:
        path = Path(self.enterContext(tempfile.TemporaryDirectory())) / "auth.json"
        path.touch(mode=0o600)
        path.write_text(text)
        return path

    def test_the_longest_prefix_wins(self) -> None:
        def entry(user: str) -> dict[str, str]:
            return {"auth": base64.b64encode(f"{user}:p:w".encode()).decode()}

        auths = {
            "q.io": entry("all"),
            "q.io/rdo": entry("rdo"),
            "https://index.docker.io/v1/": entry("hub"),
            "h:5000": entry("port"),
            "helper.io": {},
        }
        found = Credentials.from_authfile(self.write(json.dumps({"auths": auths})))
        for host, repository, user in (
            ("q.io", "x/y", "all"),
            ("q.io", "rdo/nova", "rdo"),
            ("q.io", "", "all"),
            ("docker.io", "library/x", "hub"),
            ("h:5000", "a", "port"),
        ):
            self.assertEqual(Login(user, "p:w"), found.find(host, repository))
        for host in ("h", "h:5001", "helper.io", "other.io"):
            self.assertIsNone(found.find(host, "a"))

    def test_bad_files_are_told_without_their_content(self) -> None:
        for text in ("", "{}", "[]", '{"auths": []}', '{"auths": {"h": 1}}', '{"auths": {"h": {"auth": "' + CANARY + '!"}}}', f"{CANARY}"):
            with self.subTest(text=text), self.assertRaises(UsageError) as caught:
                Credentials.from_authfile(self.write(text))
            self.assertNotIn(CANARY, str(caught.exception))
            self.assertIsNone(caught.exception.__cause__)
        with self.assertRaises(UsageError):
            Credentials.from_authfile(Path("/nonexistent/auth.json"))


class Locations(unittest.TestCase):
    def test_what_is_ours_is_written_as_we_write_it(self) -> None:
        for host, ours in (
            ("reg.example.org", ("https://reg.example.org:443/v2/x", "http://reg.example.org/v2/x", "https://REG.example.org/v2/x", "/v2/x")),
            ("reg.example.org:5000", ("https://reg.example.org:5000/v2/x", "http://reg.example.org:5000/v2/x")),
            ("[::1]:5000", ("https://[::1]:5000/v2/x",)),
        ):
            there = Transport(host, credentials=None, tls=Tls(), plain_hosts=frozenset(), limits=Limits(), traffic=Traffic())
            for location in ours:
                self.assertEqual(f"https://{host}/v2/x", there.own(location))
            for other in ("https://reg.example.org.evil/v2/x", "https://ci:x@reg.example.org/v2/x", "https://reg.example.org:444/v2/x"):
                self.assertEqual(other, there.own(other))


class Challenges(unittest.TestCase):
    def test_shapes(self) -> None:
        bearer = 'Bearer realm="https://a.io/token",service="a.io",scope="repository:x:pull,push"'
        expected = ("bearer", {"realm": "https://a.io/token", "service": "a.io", "scope": "repository:x:pull,push"})
        self.assertEqual(expected, choose_challenge(bearer))
        self.assertEqual(expected, choose_challenge(f'Basic realm="x", {bearer}'))
        self.assertEqual(("basic", {"realm": "x y"}), choose_challenge('basic realm="x y"'))
        self.assertEqual(("", {}), choose_challenge(""))


class StandIns(unittest.TestCase):
    def test_what_did_not_help_one_call_is_still_asked_for_another(self) -> None:
        asked: list[tuple[str, ...]] = []

        def fetch(_realm: str, _service: object, scopes: tuple[str, ...], _login: str | None) -> dict:
            asked.append(scopes)
            return {"token": "+".join(scopes)}

        authenticator = Authenticator("h.io", None, fetch)
        authenticator.learn('Bearer realm="https://h.io/token"')
        for scope in ("repository:x:delete", "repository:x:pull,push", "repository:x:*"):
            self.assertEqual(f"Bearer {scope}", authenticator.header(delete("x")))
            self.assertEqual(scope != "repository:x:*", authenticator.give_up(delete("x")))
        self.assertEqual("Bearer repository:x:pull,push", authenticator.header(push("x")))
        self.assertFalse(authenticator.give_up(push("x")))
        self.assertEqual(push("x"), asked[-1])


class Answers(unittest.TestCase):
    def error(self, status: int, body: str = "", headers: dict[str, str] | None = None):
        return failure("h.io", "PUT", "https://h.io/v2/x", Response(status, headers or {}, body.encode()), has_login=True)

    def test_classes(self) -> None:
        for status, kind, retriable in (
            (400, InfrastructureError, False),
            (401, AccessError, False),
            (403, AccessError, False),
            (404, NotFoundError, False),
            (405, RefusedError, False),
            (408, InfrastructureError, True),
            (429, InfrastructureError, True),
            (500, InfrastructureError, True),
            (501, RefusedError, False),
            (502, InfrastructureError, True),
            (503, InfrastructureError, True),
            (504, InfrastructureError, True),
            (507, RefusedError, False),
        ):
            with self.subTest(status=status):
                error = self.error(status)
                self.assertIs(kind, type(error))
                self.assertEqual(retriable, error.retriable)
                self.assertTrue(error.next_step)
        self.assertIsInstance(self.error(404), ContentError)

    def test_a_full_disk_and_a_read_only_one(self) -> None:
        for body in (
            "write /x: no space left on device",
            '{"errors":[{"code":"UNKNOWN","detail":{"Enclosed":{"Op":"mkdir","Path":"/x","Err":28}}}]}',
        ):
            self.assertIn("disk is full", str(self.error(500, body)))
        for body in ("read-only file system", '{"errors":[{"detail":{"Enclosed":{"Err":30}}}]}'):
            self.assertIn("read-only", str(self.error(500, body)))

    def test_retry_after(self) -> None:
        self.assertEqual(7.0, self.error(429, headers={"retry-after": "7"}).retry_after)
        self.assertEqual(0.0, self.error(429, headers={"retry-after": "Thu, 01 Jan 1970 00:00:00 GMT"}).retry_after)
        self.assertIsNone(self.error(429, headers={"retry-after": "soon"}).retry_after)

    def test_the_registrys_words_are_one_line_and_html_is_left_out(self) -> None:
        self.assertIn("DENIED no push", str(self.error(403, '{"errors":[{"code":"DENIED","message":"no\\npush"}]}')))
        self.assertNotIn("<", str(self.error(502, "<html><body>Bad Gateway</body></html>")))
