"""What can go wrong between us and a registry: a real registry, with a proxy that breaks chosen requests."""

from __future__ import annotations

import subprocess
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path

from tests.functional.registry.base import QUICK, ProxyCase, RegistryCase, make_image, random_bytes
from tests.functional.registry.faults import Fault, Request
from tests.needs import need
from topcoat.errors import InfrastructureError
from topcoat.publisher import Publisher
from topcoat.registry import BrokenConnectionError, DeadlineError, Descriptor, DigestMismatchError, RefusedError, digest_of, oci
from topcoat_demo.registry import RegistryServer


def first(count: int, fault: Fault, verb: str = "", part: str = ""):
    """A rule that spoils the first ``count`` requests with this verb and this text in the target."""
    left = [count]

    def rule(request: Request) -> Fault | None:
        if request.verb == (verb or request.verb) and part in request.target and left[0]:
            left[0] -= 1
            return fault
        return None

    return rule


class Reading(ProxyCase):
    def setUp(self) -> None:
        self.layer = random_bytes("layer", 900_000)
        self.digest = self.publish("faults/read", self.layer)

    def client_through(self, rule, limits=QUICK):
        self.spoiler = self.proxy(rule)
        return self.proxied(self.spoiler, limits).client(self.spoiler.host)

    def test_too_many_requests_waits_as_long_as_asked(self) -> None:
        client = self.client_through(first(1, Fault(status=429, headers={"Retry-After": "1"}), "GET", "/manifests/"))
        begin = time.monotonic()
        self.assertEqual(self.digest, client.manifest("faults/read", "one").digest)
        self.assertGreaterEqual(time.monotonic() - begin, 1.0)  # sooner would break the server's wish; no upper bound is asserted

    def test_retry_after_as_a_date(self) -> None:
        client = self.client_through(first(1, Fault(status=503, headers={"Retry-After": "Thu, 01 Jan 1970 00:00:00 GMT"}), "GET", "/manifests/"))
        self.assertEqual(self.digest, client.manifest("faults/read", "one").digest)

    def test_a_wait_longer_than_the_operation_is_told_at_once(self) -> None:
        client = self.client_through(first(1, Fault(status=429, headers={"Retry-After": "3600"}), "GET", "/manifests/"))
        with self.assertRaises(InfrastructureError) as caught:
            client.manifest("faults/read", "one")
        self.assertEqual(3600, caught.exception.retry_after)
        self.assertIn("no time left", str(caught.exception))

    def test_500_twice_is_survived(self) -> None:
        client = self.client_through(first(2, Fault(status=500, body=b"<html>oops</html>"), "GET", "/manifests/"))
        self.assertEqual(self.digest, client.manifest("faults/read", "one").digest)
        self.assertEqual(2, client.traffic.retries)

    def test_500_for_ever_ends(self) -> None:
        client = self.client_through(first(99, Fault(status=500), "GET", "/manifests/"))
        with self.assertRaises(InfrastructureError) as caught:
            client.manifest("faults/read", "one")
        self.assertEqual(QUICK.attempts, self.spoiler.count("GET", "/manifests/"))
        self.assertFalse(caught.exception.retriable)
        self.assertIn("gave up after 5 attempts", str(caught.exception))

    def test_400_is_not_repeated(self) -> None:
        client = self.client_through(first(99, Fault(status=400), "GET", "/manifests/"))
        with self.assertRaises(InfrastructureError):
            client.manifest("faults/read", "one")
        self.assertEqual(1, self.spoiler.count("GET", "/manifests/"))

    def test_reset_in_the_middle_of_a_blob_is_resumed(self) -> None:
        client = self.client_through(first(2, Fault(reset_at=300_000), "GET", "/blobs/"))
        with client.stream_blob("faults/read", digest_of(self.layer)) as chunks:
            self.assertEqual(self.layer, b"".join(chunks))
        ranges = [request.headers.get("range") for request in self.spoiler.seen if "/blobs/" in request.target]
        self.assertEqual(3, len(ranges))
        self.assertTrue(any(value and value.startswith("bytes=") for value in ranges), ranges)

    def test_a_server_that_ignores_ranges_is_read_again_from_the_beginning(self) -> None:
        cut = first(1, Fault(reset_at=300_000), "GET", "/blobs/")

        def rule(request: Request) -> Fault | None:
            request.without.add("range")
            return cut(request)

        client = self.client_through(rule)
        with client.stream_blob("faults/read", digest_of(self.layer)) as chunks:
            self.assertEqual(self.layer, b"".join(chunks))

    def test_502_while_a_blob_is_fetched(self) -> None:
        client = self.client_through(first(1, Fault(status=502, body=b"<html>bad gateway</html>"), "GET", "/blobs/"))
        self.assertEqual(self.layer, client.blob("faults/read", digest_of(self.layer)))

    def test_reset_before_any_answer(self) -> None:
        client = self.client_through(first(2, Fault(reset_before=True)))
        self.assertEqual(self.digest, client.head("faults/read", "one"))

    def test_slow_loris_in_the_header_meets_the_deadline(self) -> None:
        # each byte comes well inside the read timeout; only a deadline for the whole operation ends this
        client = self.client_through(first(99, Fault(drip=0.1), "GET", "/manifests/"), replace(QUICK, operation_seconds=1.5, read_timeout=1.0))
        with self.assertRaises(DeadlineError):
            client.manifest("faults/read", "one")

    def test_slow_loris_in_a_blob_meets_the_deadline(self) -> None:
        client = self.client_through(
            first(99, Fault(drip=0.02), "GET", "/blobs/"), replace(QUICK, blob_seconds=1.5, slowest_bytes_per_second=10**9, read_timeout=1.0)
        )
        with self.assertRaises(DeadlineError):
            client.blob("faults/read", digest_of(self.layer))

    def test_silence_is_a_broken_connection_and_repeated(self) -> None:
        client = self.client_through(first(1, Fault(silent=3), "GET", "/manifests/"), replace(QUICK, read_timeout=0.5))
        self.assertEqual(self.digest, client.manifest("faults/read", "one").digest)
        client = self.client_through(first(99, Fault(silent=3), "GET", "/manifests/"), replace(QUICK, read_timeout=0.2, attempts=2))
        with self.assertRaises(BrokenConnectionError) as caught:
            client.manifest("faults/read", "one")
        self.assertIn("silent", str(caught.exception))

    def test_wrong_digest_header_is_noticed(self) -> None:
        client = self.client_through(first(99, Fault(headers={"Docker-Content-Digest": "sha256:" + "0" * 64}), "GET", "/manifests/"))
        with self.assertRaises(DigestMismatchError):
            client.manifest("faults/read", "one")

    def test_damaged_manifest_by_digest_is_noticed_and_repeated(self) -> None:
        client = self.client_through(first(1, Fault(damage=True), "GET", "/manifests/"))
        self.assertEqual(self.digest, client.manifest("faults/read", self.digest).digest)
        client = self.client_through(first(99, Fault(damage=True), "GET", "/manifests/"))
        with self.assertRaises(DigestMismatchError):
            client.manifest("faults/read", self.digest)

    def test_damaged_blob_never_comes_out_whole(self) -> None:
        client = self.client_through(first(99, Fault(damage=True), "GET", "/blobs/"))
        got = 0
        with self.assertRaises(DigestMismatchError), client.stream_blob("faults/read", digest_of(self.layer)) as chunks:
            for chunk in chunks:
                got += len(chunk)
        self.assertLess(got, len(self.layer))


class Writing(ProxyCase):
    def through(self, rule, limits=QUICK):
        self.spoiler = self.proxy(rule)
        return Publisher(self.proxied(self.spoiler, limits))

    def push(self, publisher: Publisher, name: str):
        image, blobs = make_image(random_bytes(name, 400_000))
        published = publisher.publish(f"{self.spoiler.host}/faults/{name}", image, blobs, ["t"])
        # judged through the front door, not through the proxy
        self.assertEqual(published.digest, self.client().head(f"faults/{name}", "t"))
        self.assertEqual(next(iter(blobs.values())), self.client().blob(f"faults/{name}", next(iter(blobs))))
        return published

    def test_each_step_of_a_push_survives_each_fault(self) -> None:
        faults = {
            "500": Fault(status=500),
            "502": Fault(status=502, body=b"<html>"),
            "429": Fault(status=429, headers={"Retry-After": "0"}),
            "before": Fault(reset_before=True),
            "after": Fault(reset_after=True),
        }
        for name, fault in faults.items():
            for verb, part in (("POST", "/uploads/"), ("PUT", "/uploads/"), ("PUT", "/manifests/"), ("GET", "/manifests/"), ("HEAD", "/blobs/")):
                with self.subTest(fault=name, verb=verb, part=part):
                    self.push(self.through(first(1, fault, verb, part)), f"{name}-{verb.lower()}-{part.strip('/')}")

    def test_a_chunked_upload_starts_again_after_a_cut(self) -> None:
        limits = replace(QUICK, chunk_bytes=100_000)
        publisher = self.through(first(1, Fault(reset_after=True), "PATCH"), limits)
        self.push(publisher, "chunked")
        self.assertGreater(self.spoiler.count("PATCH"), 4)

    def test_a_registry_that_returns_another_digest_fails_the_push(self) -> None:
        publisher = self.through(first(99, Fault(headers={"Docker-Content-Digest": "sha256:" + "0" * 64}), "PUT", "/manifests/"))
        image, blobs = make_image(b"x")
        with self.assertRaises(DigestMismatchError):
            publisher.publish(f"{self.spoiler.host}/faults/wrong", image, blobs, ["t"])

    def test_a_registry_that_stores_something_else_fails_the_push(self) -> None:
        publisher = self.through(first(99, Fault(damage=True), "GET", "/manifests/"))
        image, blobs = make_image(b"x")
        with self.assertRaises(DigestMismatchError):
            publisher.publish(f"{self.spoiler.host}/faults/other", image, blobs, ["t"])

    def test_a_registry_without_mount_gets_the_blob_again(self) -> None:
        def no_mount(request: Request) -> Fault | None:
            if "mount=" in request.target:
                request.target = request.target.partition("?")[0]
            return None

        publisher = self.through(no_mount)
        image, blobs = make_image(random_bytes("nomount", 50_000))
        for name in ("a", "b"):
            publisher.publish(f"{self.spoiler.host}/faults/nomount-{name}", image, blobs, ["t"])
        self.assertEqual(next(iter(blobs.values())), self.client().blob("faults/nomount-b", next(iter(blobs))))
        self.assertGreaterEqual(self.spoiler.count("DELETE", "/uploads/"), 1)  # nothing half-begun is left behind

    def test_a_registry_that_knows_neither_mount_nor_delete_nor_pages_and_says_404(self) -> None:
        # as zuul-registry 1.3 answers calls that it has not
        def poor(request: Request) -> Fault | None:
            unknown = request.verb == "DELETE" or "mount=" in request.target or "?n=" in request.target
            return Fault(status=404, body=b"<html>not found</html>") if unknown else None

        publisher = self.through(poor)
        image, blobs = make_image(random_bytes("poor", 50_000))
        for name in ("a", "b"):
            digest = publisher.publish(f"{self.spoiler.host}/faults/poor-{name}", image, blobs, ["t"]).digest
        client = self.proxied(self.spoiler).client(self.spoiler.host)
        self.assertEqual(("t",), client.tags("faults/poor-b"))
        self.assertEqual((), client.tags("faults/never"))
        with self.assertRaises(RefusedError):
            client.delete_manifest("faults/poor-b", digest)
        with self.assertRaises(RefusedError):
            client.delete_tag("faults/poor-b", "t")
        self.assertEqual(digest, self.client().head("faults/poor-b", "t"))
        self.assertFalse(client.delete_manifest("faults/poor-b", digest_of(b"never there")))

    def test_two_pushers_of_one_layer_send_it_once(self) -> None:
        publisher = self.through(None)
        base = random_bytes("base", 300_000)
        barrier = threading.Barrier(6)
        results = {}

        def push(number: int) -> None:
            image, blobs = make_image(base, labels={"n": str(number)})
            barrier.wait()
            results[number] = publisher.publish(f"{self.spoiler.host}/faults/pusher-{number}", image, blobs, ["t"])

        threads = [threading.Thread(target=push, args=(number,)) for number in range(6)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        sent = [request for request in self.spoiler.seen if request.verb == "PUT" and request.body_size == len(base)]
        self.assertEqual(1, len(sent))
        self.assertEqual(6, len(results))
        self.assertEqual(5 * len(base), sum(result.bytes_mounted for result in results.values()))
        for number in range(6):
            self.assertEqual(results[number].digest, self.client().head(f"faults/pusher-{number}", "t"))

    def test_a_manifest_goes_up_while_others_send_its_blob_again(self) -> None:
        """Every client sends the blob, as if it had asked before the first had sent it: the registry writes the blob's link anew each time."""
        data = random_bytes("config", 2)
        digest = digest_of(data)
        barrier = threading.Barrier(8)

        def push(number: int) -> list[str]:
            client = self.client()
            barrier.wait()
            stored = []
            for turn in range(6):
                name = f"faults/again-{turn}"
                client.put_blob(name, digest, data)
                body = oci.artifact_manifest("application/x-test", (Descriptor("application/x", digest, len(data)),), annotations={"n": str(number)})
                client.put_blob(name, digest_of(oci.EMPTY_BLOB), oci.EMPTY_BLOB)
                stored.append(client.put_manifest(name, f"t{number}", body, oci.OCI_MANIFEST))
            return stored

        with ThreadPoolExecutor(8) as pool:
            for number, stored in enumerate(pool.map(push, range(8))):
                self.assertEqual(stored, [self.client().head(f"faults/again-{turn}", f"t{number}") for turn in range(6)])
        answer = Fault(status=400, body=b'{"errors":[{"code":"MANIFEST_BLOB_UNKNOWN","message":"blob unknown to registry"}]}')
        proxy = self.proxy(first(2, answer, "PUT", "/manifests/"))
        client = self.proxied(proxy).client(proxy.host)
        manifest = client.manifest("faults/again-0", "t0")
        self.assertEqual(manifest.digest, client.put_manifest("faults/again-0", "t9", manifest.body, manifest.media_type))


class ReadOnly(RegistryCase):
    OPTIONS = {"storage": {"maintenance": {"readonly": {"enabled": True}}}}

    def test_a_read_only_registry_is_refused_once_and_clearly(self) -> None:
        image, blobs = make_image(b"x")
        with self.assertRaises(RefusedError) as caught:
            Publisher(self.registries()).publish(f"{self.server.host}/ro/image", image, blobs, ["t"])
        self.assertIn("read-only", str(caught.exception))
        self.assertFalse(caught.exception.retriable)


class DiskFull(RegistryCase):
    @classmethod
    def setUpClass(cls) -> None:
        super().setUpClass()
        cls.small = cls.folder / "small"
        (cls.small / "storage").mkdir(parents=True)
        need(root=True)
        subprocess.run(["mount", "-t", "tmpfs", "-o", "size=300k", "tmpfs", str(cls.small / "storage")], capture_output=True, check=True)
        cls.addClassCleanup(subprocess.run, ["umount", "-l", str(cls.small / "storage")], check=False)
        cls.full = cls.enterClassContext(RegistryServer(Path(cls.small)))

    def test_a_full_disk_is_told_and_not_repeated(self) -> None:
        from topcoat.registry import Registries

        registries = Registries(self.full.authfile, self.full.ca_file, limits=QUICK)
        image, blobs = make_image(random_bytes("big", 900_000))
        with self.assertRaises(RefusedError) as caught:
            Publisher(registries).publish(f"{self.full.host}/full/image", image, blobs, ["t"])
        self.assertIn("disk is full", str(caught.exception))
        self.assertEqual(0, registries.client(self.full.host).traffic.retries)
