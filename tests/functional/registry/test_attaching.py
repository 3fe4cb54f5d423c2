"""Many processes attach to one image at once, on a registry that has no referrers API and no compare-and-swap: nothing is lost."""

from __future__ import annotations

import multiprocessing
import os

from tests.functional.registry.base import RegistryCase, make_image
from topcoat.publisher import Publisher
from topcoat.registry import Registries
from topcoat.registry.oci import referrers_tag
from topcoat.registry.referrers import announcement

PROCESSES = 8
ROUNDS = int(os.environ.get("TOPCOAT_ATTACH_ROUNDS", "20"))


def repository(turn: int) -> str:
    """A few images share one, as they do in life; the list of its tags does not grow for ever."""
    return f"attaching/image-{turn // 50}"


def attach(number: int, barrier, authfile, ca_file, host: str, digests: list[str], answers) -> None:
    """One writer: in each round one document of a type of its own, all writers at the same moment."""
    publisher = Publisher(Registries(authfile, ca_file))
    try:
        for turn, digest in enumerate(digests):
            barrier.wait(120)
            publisher.attach(f"{host}/{repository(turn)}", digest, {f"application/x-writer-{number}": {"document": f"{turn} {number}".encode()}})
        answers.put("")
    except BaseException as error:
        barrier.abort()
        answers.put(f"writer {number}: {error!r}")
        raise


class Attaching(RegistryCase):
    def test_eight_processes_lose_nothing(self) -> None:
        publisher, digests = Publisher(self.registries()), []
        for turn in range(ROUNDS):
            image, blobs = make_image(b"one layer", labels={"turn": str(turn)})
            digests.append(publisher.publish(f"{self.server.host}/{repository(turn)}", image, blobs).digest)
        context = multiprocessing.get_context("spawn")
        barrier, answers = context.Barrier(PROCESSES), context.Queue()
        shared = (barrier, self.server.authfile, self.server.ca_file, self.server.host, digests, answers)
        writers = [context.Process(target=attach, args=(number, *shared)) for number in range(PROCESSES)]
        for writer in writers:
            writer.start()
        said = [answers.get(timeout=3000) for _ in writers]
        for writer in writers:
            writer.join(60)
        self.assertEqual([""] * PROCESSES, said)
        client = self.client()
        expected = {f"application/x-writer-{number}" for number in range(PROCESSES)}
        for turn, digest in enumerate(digests):
            entries = client.referrers(repository(turn), digest)
            self.assertEqual(expected, {entry.artifact_type for entry in entries}, turn)
            self.assertEqual(PROCESSES, len(entries), turn)

    def test_a_repository_that_lacks_what_was_said_of_it_is_sent_it(self) -> None:
        client = self.client()
        image, blobs = make_image(b"one layer", labels={"turn": "told"})
        publisher = Publisher(self.registries())
        digest = publisher.publish(f"{self.server.host}/attaching/told", image, blobs).digest
        client.note_documents("attaching/told")
        client.attach("attaching/told", client.manifest("attaching/told", digest).descriptor, {"application/x-told": {"a": b"a"}})
        self.assertEqual({"a": b"a"}, self.client().attachment("attaching/told", digest, "application/x-told"))

    def test_what_a_killed_writer_overwrote_comes_back_with_the_next(self) -> None:
        name = f"{self.server.host}/attaching/killed"
        publisher, client = Publisher(self.registries()), self.client()
        image, blobs = make_image(b"one layer", labels={"turn": "killed"})
        digest = publisher.publish(name, image, blobs).digest
        first = publisher.attach(name, digest, {"application/x-first": {"a": b"a"}})["application/x-first"]
        before = client.manifest("attaching/killed", referrers_tag(digest))
        second = publisher.attach(name, digest, {"application/x-second": {"b": b"b"}})["application/x-second"]
        # a writer that had read the list before the second one wrote, and died right after its own write
        client.put_manifest("attaching/killed", referrers_tag(digest), before.body, before.media_type)
        self.assertEqual({first}, {entry.digest for entry in client.referrers("attaching/killed", digest)})
        self.assertIn(announcement(digest, second), client.tags("attaching/killed"))
        publisher.attach(name, digest, {"application/x-third": {"c": b"c"}})
        types = {entry.artifact_type for entry in client.referrers("attaching/killed", digest)}
        self.assertEqual({"application/x-first", "application/x-second", "application/x-third"}, types)
