"""The life of an image on registries that behave otherwise: pushed, mounted, tagged, listed, documented, copied, cleaned."""

from __future__ import annotations

import gzip
import hashlib
import json
import unittest
from dataclasses import replace

from tests.functional.registry.base import QUICK, make_image, publisher_over, random_bytes
from tests.functional.registry.behaviours import PASSWORD, BehavingRegistry, Behaviour
from tests.functional.registry.faults import Fault
from tests.functional.registry.spoiling import Asked
from topcoat.errors import ContentError, InfrastructureError
from topcoat.model import ImageReference
from topcoat.promotion import Control
from topcoat.publisher import Publisher
from topcoat.registry import (
    AccessError,
    Credentials,
    DigestMismatchError,
    Limits,
    Login,
    NotFoundError,
    RefusedError,
    RegistryClient,
    digest_of,
    image_manifest,
)
from topcoat.registry.errors import HiddenError
from topcoat.registry.oci import DOCKER_MANIFEST, OCI_INDEX, OCI_MANIFEST

TYPE = "application/vnd.test.note.v1+json"


class BehaviourCase(unittest.TestCase):
    def serve(self, **behaviour: object) -> BehavingRegistry:
        return self.enterContext(BehavingRegistry(Behaviour(**behaviour)))

    def client(self, registry: BehavingRegistry, *, password: str | None = PASSWORD, limits: Limits = QUICK) -> RegistryClient:
        credentials = Credentials({registry.host: Login("ci", password)} if password else {})
        client = RegistryClient(registry.host, credentials, plain_http=True, limits=limits)
        self.addCleanup(client.close)
        return client


class Life(BehaviourCase):
    BEHAVIOURS = {
        "as specified": {},
        "tokens": {"bearer": True},
        "tokens, no mounts": {"bearer": True, "mount": 202},
        "mount refused 401": {"mount": 401},
        "mount refused 403": {"mount": 403},
        "mount broken 500": {"mount": 500},
        "mount broken 503": {"bearer": True, "mount": 503},
        "no delete scope, 401": {"bearer": True, "scopes_refused": ("delete",)},
        "no delete scope, 400": {"bearer": True, "scopes_refused": ("delete",), "refusal": 400},
        "no delete scope, 403": {"bearer": True, "scopes_refused": ("delete",), "refusal": 403},
        "hides what is not there, 401": {"hides": 401},
        "hides what is not there, 403, tokens": {"hides": 403, "bearer": True},
        "a private repository is not there for strangers": {"anonymous": True, "private": ("ns/a", "ns/b", "ns/c")},
        "negotiate first": {"challenges": ("Negotiate", 'Basic realm="x"')},
        "negotiate in one line": {"bearer": True, "challenges": ('Negotiate, Basic realm="a, b", {bearer}',)},
        "basic and bearer": {"bearer": True, "challenges": ('Basic realm="x"', "{bearer}")},
        "a 401 that says nothing": {"silent_401": True},
        "a good password refused now and then": {"spurious_401": 5},
        "204 for everything": {"stored": 204, "deleted": 204},
        "puts are redirected": {"redirect_puts": True},
        "deleting a tag deletes the manifest": {"tag_deletion": "manifest"},
        "no deletion of tags": {"tag_deletion": "none"},
        "a deleted digest leaves its tags": {"digests_leave_tags": True},
        "no referrers": {"referrers": "none"},
        "no referrers of what is not there": {"referrers": "404"},
        "hexadecimal tags are digests": {"referrers": "none", "hexadecimal_tags": True},
        "pages of one": {"page": 1},
        "pages, relation unquoted": {"page": 1, "link": "<{target}>; rel=next"},
        "pages, parameters before": {"page": 1, "link": '<{target}>; title="a, b; c"; REL="prev next"'},
        "pages, several links in a line": {"page": 1, "link": '</v2/>; rel="first", <{target}>;rel="next" ; x=y'},
        "pages, two lines": {"page": 1, "link": '</v2/>; rel="first"\n<{target}>; rel="next"'},
        "pages, a whole address": {"page": 1, "link": '<http://elsewhere.example{target}>; rel="next"'},
    }

    def test_whole_life(self) -> None:
        for name, behaviour in self.BEHAVIOURS.items():
            with self.subTest(name):
                self.live(**behaviour)

    def live(self, **behaviour: object) -> None:
        registry = self.serve(**behaviour)
        client = self.client(registry)
        publisher = publisher_over(client)
        # what a plan asks of a new image
        self.assertIsNone(client.head("ns/a", "current"))
        self.assertEqual((), client.tags("ns/a"))
        image, blobs = make_image(random_bytes("life", 4000))
        first = publisher.publish(f"{registry.host}/ns/a", image, blobs, ["t1", "t2"])
        second = publisher.publish(f"{registry.host}/ns/b", image, blobs, ["t1"])
        self.assertEqual(first.digest, second.digest)
        self.assertEqual({}, registry.uploads if behaviour.get("mount") == 202 else {})  # no upload is left open
        publisher.move_tag(f"{registry.host}/ns/a", first.digest, "current")
        self.assertEqual(("current", "t1", "t2"), client.tags("ns/a"))
        publisher.attach(f"{registry.host}/ns/a", first.digest, {TYPE: {"note": b"one"}, TYPE + "+2": {"note": b"two"}})
        publisher.attach(f"{registry.host}/ns/b", first.digest, {TYPE: {"note": b"one"}})
        fresh = self.client(registry)
        if not behaviour.get("hides"):
            for name in ("x/1", "x/2", "x/3", "x/4"):
                self.assertEqual((), fresh.referrers(name, first.digest))
        self.assertEqual({"note": b"one"}, fresh.attachment("ns/a", first.digest, TYPE))
        self.assertEqual({"note": b"two"}, fresh.attachment("ns/a", first.digest, TYPE + "+2"))
        self.assertEqual({"note": b"one"}, fresh.attachment("ns/b", first.digest, TYPE))
        source, target = ImageReference(registry.host, "ns/a", "t1"), ImageReference(registry.host, "ns/c", "copied")
        self.assertEqual(first.digest, publisher.copy(source, target).digest)
        self.assertEqual({"note": b"one"}, fresh.attachment("ns/c", first.digest, TYPE))
        self.assertEqual(("ns/a", "ns/b", "ns/c"), client.catalog())
        # one tag goes, its siblings and what they show stay
        self.assertTrue(client.delete_tag("ns/a", "t1"))
        shown = [tag for tag in client.tags("ns/a") if not tag.startswith("sha256-")]
        self.assertEqual(["current", "t2"], shown)
        self.assertEqual(first.digest, fresh.head("ns/a", "current"))
        self.assertEqual(first.body if hasattr(first, "body") else fresh.manifest("ns/b", "t1").body, fresh.manifest("ns/a", first.digest).body)
        self.assertFalse(client.delete_tag("ns/a", "t1"))


class Single(BehaviourCase):
    def test_a_wrong_password_is_not_an_absent_image(self) -> None:
        for behaviour in ({}, {"bearer": True}, {"hides": 401}, {"hides": 403, "bearer": True}):
            with self.subTest(behaviour):
                registry = self.serve(**behaviour)
                with self.assertRaises(AccessError) as caught:
                    self.client(registry, password="wrong").head("ns/a", "t")
                self.assertNotIsInstance(caught.exception, HiddenError)

    def test_one_refusal_of_a_good_login_is_no_answer_about_the_image(self) -> None:
        """Also right after the challenge, where it was taken for an absent image, and at the token server, where it was final."""
        for bearer, part, number in ((False, "/manifests/", 2), (True, "/manifests/", 2), (True, "/manifests/", 3), (True, "/token", 2)):
            with self.subTest(bearer=bearer, part=part, number=number):
                registry = self.serve(bearer=bearer)
                image, blobs = make_image(b"x")
                digest = publisher_over(self.client(registry)).publish(f"{registry.host}/ns/a", image, blobs, ["t"]).digest
                registry.spoiler.reset()
                seen: list[int] = []

                def refuse(asked: Asked, part: str = part, number: int = number, seen: list[int] = seen) -> Fault | None:
                    seen += [1] if part in asked.path else []
                    return Fault(status=401) if part in asked.path and len(seen) == number else None

                registry.spoiler.rule = refuse
                client = self.client(registry)
                for _ in range(2):
                    self.assertEqual(digest, client.head("ns/a", "t"))
                    registry.tokens.clear()

    def test_a_blob_that_is_said_to_be_there_and_empty_is_sent(self) -> None:
        registry = self.serve()
        client = self.client(registry)
        data = random_bytes("blob", 200_000)
        image, blobs = make_image(data)
        digest = publisher_over(client).publish(f"{registry.host}/ns/a", image, blobs, ["t"]).digest
        other = self.serve()
        other.spoiler.rule = lambda asked: Fault(status=200) if asked.kind == "HEAD blob" else None
        clients = {registry.host: client, other.host: self.client(other)}

        class Both:
            def client(self, host: str) -> RegistryClient:
                return clients[host]

        Publisher(Both()).copy(ImageReference(registry.host, "ns/a", "t"), ImageReference(other.host, "ns/a", "t"))
        self.assertEqual(digest, other.repositories["ns/a"].tags["t"])
        self.assertIn(data, other.repositories["ns/a"].blobs.values())

    def test_what_leads_to_no_address_is_one_line(self) -> None:
        data = b"x"
        calls = {
            ("GET manifest by tag", 307, "Location", "{}"): lambda client: client.manifest("ns/a", "t"),
            ("GET tags", 200, "Link", '<{}>; rel="next"'): lambda client: client.tags("ns/a"),
            ("GET referrers", 200, "Link", '<{}>; rel="next"'): lambda client: client.referrers("ns/a", digest_of(data)),
            ("POST upload", 202, "Location", "{}"): lambda client: client.put_blob("ns/a", digest_of(data), data),
            ("GET tags", 401, "WWW-Authenticate", 'Bearer realm="{}"'): lambda client: client.tags("ns/a"),
        }
        for (kind, status, header, form), call in calls.items():
            for target in ("http://[::1/x", "https://host:99999/x", "https://host:port/x", "https:///x", "https://host/\xe9", "https://host/\x7f"):
                with self.subTest(kind=kind, target=target):
                    registry = self.serve()
                    body = b'{"schemaVersion": 2, "tags": [], "manifests": []}'
                    fault = Fault(status=status, headers={header: form.replace("{}", target)}, body=body)
                    registry.spoiler.rule = lambda asked, kind=kind, fault=fault: fault if asked.kind == kind else None
                    with self.assertRaisesRegex(InfrastructureError, "which is no address"):
                        call(self.client(registry))

    def test_pages_without_an_end_are_left(self) -> None:
        registry = self.serve()
        for kind, call in (
            ("GET tags", lambda client: client.tags("ns/a")),
            ("GET catalog", lambda client: client.catalog()),
            ("GET referrers", lambda client: client.referrers("ns/a", digest_of(b"x"))),
        ):
            with self.subTest(kind):

                def endless(asked: Asked, kind: str = kind) -> Fault | None:
                    entry = {"mediaType": OCI_MANIFEST, "digest": digest_of(b"y"), "size": 1}
                    body = json.dumps({"schemaVersion": 2, "tags": ["t"], "repositories": ["ns/a"], "manifests": [entry]})
                    link = f'<{asked.path.partition("?")[0]}?from={asked.number}>; rel="next"'
                    return Fault(status=200, headers={"Link": link}, body=body.encode()) if asked.kind == kind else None

                registry.spoiler.rule = endless
                with self.assertRaisesRegex(InfrastructureError, "does not end"):
                    call(self.client(registry))

    def test_a_list_that_is_an_error_is_not_empty(self) -> None:
        registry = self.serve()
        registry.spoiler.rule = lambda asked: Fault(status=200, body=b'{"errors": [{"code": "UNKNOWN", "message": "later"}]}')
        for call in (lambda client: client.tags("ns/a"), lambda client: client.catalog()):
            with self.assertRaisesRegex(InfrastructureError, "holds no list"):
                call(self.client(registry))

    def test_tags_that_are_no_names_are_the_registrys_fault(self) -> None:
        registry = self.serve()
        for tag in ("../../x", "a b", "\u001b[31mred", "x" * 129):
            registry.spoiler.rule = lambda asked, tag=tag: Fault(status=200, body=json.dumps({"name": "ns/a", "tags": ["t", tag]}).encode())
            with self.subTest(tag), self.assertRaisesRegex(InfrastructureError, "no.* tag of the OCI grammar"):
                self.client(registry).tags("ns/a")

    def test_a_token_that_lives_for_ever_is_a_token(self) -> None:
        registry = self.serve(bearer=True)
        client = self.client(registry)
        client.put_blob("ns/a", digest_of(b"x"), b"x")
        for seconds in ("1" + "0" * 15, "-1", "0", "null", '"x"', "true", "1e300"):
            registry.spoiler.rule = lambda asked, seconds=seconds: (
                Fault(status=200, body=b'{"access_token": "%s", "expires_in": %s}' % (next(iter(registry.tokens)).encode(), seconds.encode()))
                if asked.kind == "GET token"
                else None
            )
            with self.subTest(seconds):
                self.assertEqual(b"x", self.client(registry).blob("ns/a", digest_of(b"x")))
        registry.spoiler.rule = lambda asked: (
            Fault(status=200, body=b'{"token": "x", "expires_in": 1%s}' % (b"0" * 400)) if asked.kind == "GET token" else None
        )
        with self.assertRaisesRegex(InfrastructureError, "the token server's answer cannot be read: .* is too large a number"):
            self.client(registry).blob("ns/a", digest_of(b"x"))

    def test_a_manifest_that_is_packed_on_the_way_gets_no_digest(self) -> None:
        registry = self.serve()
        image, _blobs = make_image(b"x")
        body = image_manifest(image)[0]
        headers = {"Content-Type": OCI_MANIFEST, "Content-Encoding": "gzip"}
        registry.spoiler.rule = lambda asked: Fault(status=200, headers=headers, body=gzip.compress(body))
        with self.assertRaisesRegex(InfrastructureError, "sent as gzip"):
            self.client(registry).shown("ns/a", "t")

    def test_a_digest_of_another_algorithm_is_a_digest(self) -> None:
        registry = self.serve()
        client = self.client(registry)
        image, blobs = make_image(b"x")
        digest = publisher_over(client).publish(f"{registry.host}/ns/a", image, blobs, ["t"]).digest
        body = image_manifest(image)[0]
        for said, good in ((hashlib.sha512(body).hexdigest(), True), ("0" * 128, False)):
            header = {"Docker-Content-Digest": f"sha512:{said}"}
            registry.spoiler.rule = lambda asked, header=header: Fault(headers=header) if "manifest by tag" in asked.kind else None
            for call in (lambda: client.head("ns/a", "t"), lambda: client.shown("ns/a", "t")):
                if good:
                    self.assertEqual(digest, call())
                else:
                    with self.assertRaises(DigestMismatchError):
                        call()

    def test_a_document_that_is_an_image_and_an_index_is_neither(self) -> None:
        registry = self.serve()
        client = self.client(registry)
        image, blobs = make_image(b"x")
        publisher_over(client).publish(f"{registry.host}/ns/a", image, blobs, ["t"])
        plain = json.loads(image_manifest(image)[0])
        entry = {"mediaType": OCI_MANIFEST, "digest": digest_of(b"y"), "size": 1}
        for document, kind in (
            ({**plain, "manifests": [entry]}, OCI_MANIFEST),
            ({**plain, "manifests": [entry], "mediaType": OCI_INDEX}, OCI_INDEX),
            (plain, OCI_INDEX),
            ({**plain, "mediaType": OCI_INDEX}, OCI_MANIFEST),
            ({**plain, "mediaType": DOCKER_MANIFEST}, OCI_MANIFEST),
        ):
            body = json.dumps(document).encode()
            registry.spoiler.rule = lambda asked, kind=kind, body=body: (
                Fault(status=200, headers={"Content-Type": kind}, body=body) if asked.kind == "GET manifest by tag" else None
            )
            with self.subTest(document=sorted(document), kind=kind), self.assertRaisesRegex(ContentError, "alone"):
                client.image("ns/a", "t", platform="linux/amd64")

    def test_a_catalog_of_what_are_no_names_is_the_registrys_fault(self) -> None:
        registry = self.serve()
        registry.spoiler.rule = lambda asked: Fault(status=200, body=b'{"repositories": ["ns/a", "../b"]}')
        with self.assertRaises(InfrastructureError) as caught:
            self.client(registry).catalog()
        self.assertIn("look at the registry", str(caught.exception))

    def test_a_hidden_repository_is_told_where_it_was_asked_for_by_content(self) -> None:
        registry = self.serve(hides=403)
        with self.assertRaises(HiddenError) as caught:
            self.client(registry).manifest("ns/a", "t")
        self.assertIn("or no such repository", caught.exception.what)

    def test_a_login_that_is_not_spoken_here(self) -> None:
        registry = self.serve(challenges=("Negotiate", "NTLM"))
        with self.assertRaises(AccessError) as caught:
            self.client(registry).tags("ns/a")
        self.assertIn("negotiate, ntlm", caught.exception.what)

    def test_a_token_server_without_address(self) -> None:
        registry = self.serve(challenges=('Bearer service="x"',))
        with self.assertRaises(AccessError) as caught:
            self.client(registry).tags("ns/a")
        self.assertNotIn("://,", caught.exception.what)

    def test_a_catalog_that_is_not_shown(self) -> None:
        for behaviour in ({"catalog": False}, {"catalog": False, "bearer": True, "scopes_refused": ("*",)}):
            registry = self.serve(**behaviour)
            with self.assertRaises(RefusedError) as caught:
                self.client(registry).catalog()
            self.assertIn("shows no catalog", caught.exception.what)

    def test_a_lock_that_was_given_up_is_free_whatever_deletion_means(self) -> None:
        for behaviour in ({}, {"digests_leave_tags": True}, {"tag_deletion": "none"}, {"digests_leave_tags": True, "tag_deletion": "none"}):
            with self.subTest(behaviour):
                client = self.client(self.serve(**behaviour))
                for _ in range(2):
                    with Control(client, "ns").lock("floating"):
                        pass

    def test_a_tag_that_cannot_be_taken_off_is_left_as_it_was(self) -> None:
        registry = self.serve(digests_leave_tags=True, tag_deletion="none")
        client = self.client(registry)
        image, blobs = make_image(random_bytes("left", 2000))
        digest = publisher_over(client).publish(f"{registry.host}/ns/a", image, blobs, ["t1"]).digest
        with self.assertRaisesRegex(RefusedError, "leaves its tags"):
            client.delete_tag("ns/a", "t1")
        self.assertEqual(digest, client.shown("ns/a", "t1"))

    def test_a_registry_that_deletes_nothing_is_left_as_it_was(self) -> None:
        registry = self.serve(deletion=False)
        client = self.client(registry)
        image, blobs = make_image(b"x")
        publisher_over(client).publish(f"{registry.host}/ns/a", image, blobs, ["t1", "t2"])
        with self.assertRaises(RefusedError):
            client.delete_tag("ns/a", "t1")
        self.assertEqual(("t1", "t2"), client.tags("ns/a"))

    def test_a_chunk_whose_answer_is_lost_is_not_sent_twice(self) -> None:
        for lost in (1, 2, 3):
            registry = self.serve(lose_chunk=lost)
            client = self.client(registry, limits=replace(QUICK, chunk_bytes=1000))
            data = random_bytes("chunks", 2500)
            image, blobs = make_image(data)
            publisher_over(client).publish(f"{registry.host}/ns/a", image, blobs, ["t"])
            self.assertIn(data, registry.repositories["ns/a"].blobs.values())
            self.assertEqual(1, client.traffic.retries)
            self.assertLessEqual(registry.seen["PATCH"], 4)

    def test_what_others_attached_stays_as_they_wrote_it(self) -> None:
        registry = self.serve(referrers="none")
        client = self.client(registry)
        image, blobs = make_image(b"x")
        digest = publisher_over(client).publish(f"{registry.host}/ns/a", image, blobs, ["t"]).digest
        strange = {"mediaType": "application/x", "digest": "sha512:" + "1" * 128, "size": 1, "data": "eA==", "x": [1]}
        tag = digest.replace(":", "-")
        body = b'{"schemaVersion":2,"mediaType":"application/vnd.oci.image.index.v1+json","manifests":[' + json.dumps(strange).encode() + b"]}"
        client.put_manifest("ns/a", tag, body, "application/vnd.oci.image.index.v1+json")
        publisher_over(client).attach(f"{registry.host}/ns/a", digest, {TYPE: {"note": b"one"}})
        listed = client.manifest("ns/a", tag, cached=False).document["manifests"]
        self.assertIn(strange, listed)
        self.assertEqual({"note": b"one"}, client.attachment("ns/a", digest, TYPE))

    def test_an_empty_registry_is_empty(self) -> None:
        registry = self.serve()
        self.assertEqual((), self.client(registry).catalog())
        with self.assertRaises(NotFoundError):
            self.client(registry).manifest("ns/a", "t")
