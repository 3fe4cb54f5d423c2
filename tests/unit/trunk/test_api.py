"""A DLRN API that answers otherwise: what it says again and again has an end, and no password goes to it unprotected."""

from __future__ import annotations

import http.server
import json
import threading
import unittest
import urllib.parse
from collections.abc import Callable
from dataclasses import replace
from types import SimpleNamespace

from topcoat.errors import InfrastructureError, UsageError
from topcoat.promotion.candidates import newest, require_newest, verdict_on
from topcoat.promotion.promotion import Promotion
from topcoat.registry import Credentials, Login
from topcoat.trunk import DlrnApi, DlrnPromotion
from topcoat.trunk.criteria import Criteria
from topcoat.trunk.hashes import TrunkHash

Rows = list[dict[str, object]]


class Server(http.server.ThreadingHTTPServer):
    """Answers each query with the rows that ``answer`` gives for it."""

    daemon_threads = True

    def __init__(self, answer: Callable[[dict[str, list[str]]], Rows]) -> None:
        class Handler(http.server.BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                body = json.dumps(answer(urllib.parse.parse_qs(urllib.parse.urlsplit(self.path).query))).encode()
                self.send_response(200)
                self.send_header("Content-Length", str(len(body)))
                self.end_headers()
                self.wfile.write(body)

            def log_message(self, *_words: object) -> None:
                pass

        super().__init__(("127.0.0.1", 0), Handler)
        threading.Thread(target=self.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True).start()


class DlrnCase(unittest.TestCase):
    def served(self, answer: Callable[[dict[str, list[str]]], Rows], **options: int) -> DlrnApi:
        """The API of a server that answers so."""
        server = Server(answer)
        self.addCleanup(server.server_close)
        self.addCleanup(server.shutdown)
        api = DlrnApi(f"http://127.0.0.1:{server.server_port}", **options)
        self.addCleanup(api.close)
        return api


class Pages(DlrnCase):
    def api(self, promotions: int, *, most: int | None = 1) -> DlrnApi:
        """Of a server that knows so many promotions, and gives the newest of them whatever page is asked for."""
        rows: Rows = [
            {"commit_hash": f"{number:040x}", "distro_hash": f"{number:040x}", "promote_name": "current", "timestamp": 1000 - number}
            for number in range(promotions)
        ]
        return self.served(lambda query: rows[: most and int(query["limit"][0])], page=5)

    def test_a_server_that_knows_no_pages_and_has_more_is_told(self) -> None:
        api = self.api(9)
        self.assertEqual(5, len(api.promotions("current", limit=5)))
        with self.assertRaisesRegex(InfrastructureError, "again and again"):
            api.find("f" * 32, names=("current",))

    def test_one_that_gives_everything_at_once_has_given_everything(self) -> None:
        for promotions, most in ((9, None), (3, 1)):
            api = self.api(promotions, most=most)
            self.assertEqual(promotions, len(list(api.history("current"))))
            self.assertIsNone(api.find("f" * 32, names=("current",)))


ASKED = TrunkHash("a" * 40, "b" * 40)
VOTE = {"commit_hash": "a" * 40, "distro_hash": "b" * 40, "job_id": "deploy", "success": True, "timestamp": 100, "url": "", "in_progress": False}


class Answers(DlrnCase):
    def api(self, *rows: dict[str, object]) -> DlrnApi:
        """Of a server that gives the same rows whatever it is asked, as a cache does that knows addresses without their query."""
        return self.served(lambda _query: list(rows))

    def test_votes_on_another_set_are_no_votes_on_this_one(self) -> None:
        for change in ({"commit_hash": "c" * 40}, {"distro_hash": "c" * 40}, {"commit_hash": None}):
            with self.subTest(change), self.assertRaisesRegex(InfrastructureError, "was asked for .* and answers a vote of") as caught:
                self.api(VOTE, {**VOTE, **change}).votes(ASKED)
            self.assertIn("cache", caught.exception.next_step)
        aggregate = TrunkHash(aggregate="d" * 32)
        with self.assertRaisesRegex(InfrastructureError, "aggregate_hash d+ and answers a vote of e+"):
            self.api({**VOTE, "aggregate_hash": "e" * 32}).votes(aggregate)
        self.assertEqual(1, len(self.api({**VOTE, "aggregate_hash": "d" * 32}).votes(aggregate)))

    def test_promotions_to_another_name_are_none_to_this_one(self) -> None:
        row = {"commit_hash": "a" * 40, "distro_hash": "b" * 40, "promote_name": "tripleo-ci-testing", "timestamp": 5}
        with self.assertRaisesRegex(InfrastructureError, "promote_name current and answers a promotion of tripleo-ci-testing"):
            self.api(row).current("current")
        with self.assertRaisesRegex(InfrastructureError, "component network and answers a promotion of compute"):
            self.api({**row, "component": "compute"}).current("tripleo-ci-testing", component="network")

    def test_a_job_that_is_at_work_has_not_voted(self) -> None:
        for success in (True, False):
            self.assertEqual((), self.api({**VOTE, "success": success, "in_progress": True}).votes(ASKED))
        with self.assertRaisesRegex(InfrastructureError, "in_progress is not true or false"):
            self.api({**VOTE, "in_progress": "false"}).votes(ASKED)

    def test_a_success_with_a_date_that_has_not_come_outlives_no_failure(self) -> None:
        now, rule = 10_000.0, Criteria("n", "c", ("deploy",))
        candidate = DlrnPromotion(ASKED, "c", now - 60)
        late = {**VOTE, "timestamp": now + 1e6}
        failed = {**VOTE, "success": False, "timestamp": now - 10}
        for rows, passed in (((VOTE,), True), ((late, failed), False), ((late,), False), ((VOTE, {**late, "success": False}), False)):
            with self.subTest(rows=rows):
                self.assertEqual(passed, verdict_on(self.api(*rows), rule, candidate, now=now).passed)

    def test_a_candidate_with_a_date_that_has_not_come_is_not_the_newest(self) -> None:
        now, rule = 10_000.0, Criteria("n", "c", ("deploy",), max_age_hours=1)
        row = {"commit_hash": "a" * 40, "distro_hash": "b" * 40, "promote_name": "c", "timestamp": now - 60}
        late = {**row, "commit_hash": "c" * 40, "timestamp": now + 1e6}

        def answer(query: dict[str, list[str]]) -> Rows:
            if "promote_name" in query:
                return [late, row] if query["promote_name"] == ["c"] else []
            return [{**VOTE, **{key: query[key][0] for key in ("commit_hash", "distro_hash")}}]

        api = self.served(answer)
        future, present = api.promotions("c", limit=10)
        self.assertTrue(verdict_on(api, rule, future, now=now).too_old)
        for any_age in (rule, replace(rule, max_age_hours=None)):
            said: list[str] = []
            self.assertEqual(present, newest(api, any_age, now=now, say=said.append))
            self.assertIn("has not come", said[0])
            require_newest(api, any_age, present, now=now)


class Addresses(unittest.TestCase):
    def test_no_password_goes_out_without_tls(self) -> None:
        login = Credentials({"dlrn.example.org": Login("ci", "secret"), "127.0.0.1:1": Login("ci", "secret")})
        for plain, url, problem in (
            ((), "http://dlrn.example.org/api", "without TLS"),
            (("dlrn.example.org",), "http://dlrn.example.org/api", ""),
            ((), "https://dlrn.example.org/api", ""),
            ((), "http://127.0.0.1:1", ""),
            ((), "http://other.example.org", ""),
            ((), "http://[::1", "no address"),
            ((), "https://dlrn.example.org:port/", "no address"),
        ):
            promotion = Promotion.__new__(Promotion)
            promotion._registries = SimpleNamespace(credentials=login, ca_file=None, plain_http=frozenset(plain))  # type: ignore[assignment]
            with self.subTest(url, plain=plain):
                if problem:
                    with self.assertRaisesRegex(UsageError, problem):
                        promotion._api(url)
                else:
                    promotion._api(url).close()
