"""Which images a consumer expects, and what it refuses to call a proof."""

from __future__ import annotations

import unittest
from dataclasses import dataclass, field

from topcoat.consumer import Container, consume, expected_from_artifacts, expected_from_receipt, prove_running
from topcoat.errors import ContentError, UsageError
from topcoat.model import ImageReference, ImageResult, Receipt
from topcoat.zuul import parse_artifacts

DIGESTS = ["sha256:" + f"{number:x}" * 64 for number in range(10)]


def artifact(name: str, number: int, *, tag: str = "b1", digest: bool = True, host: str = "r.example.org:5000") -> dict[str, object]:
    """One image of a provider."""
    metadata: dict[str, object] = {"type": "container_image", "repository": f"ns/{name}", "tag": tag, "image": name}
    if digest:
        metadata["digest"] = DIGESTS[number]
    return {"name": name, "url": f"docker://{host}/ns/{name}:{tag}", "metadata": metadata}


@dataclass
class Storage:
    """A storage in memory with the three questions of ``Podman``."""

    images: dict[str, set[str]] = field(default_factory=dict)
    containers: tuple[Container, ...] = ()
    pulled: list[str] = field(default_factory=list)

    def pull(self, reference: ImageReference) -> None:
        self.pulled.append(str(reference))
        self.images.setdefault(str(reference), {str(reference.digest)})

    def digests(self, name: str) -> frozenset[str]:
        return frozenset(self.images.get(name, ()))

    def running(self) -> tuple[Container, ...]:
        return self.containers


class Expectation(unittest.TestCase):
    def test_the_newest_by_digest_never_by_tag(self) -> None:
        found = expected_from_artifacts(parse_artifacts([artifact("nova-api", 1), artifact("nova-api", 2), artifact("glance", 3)]))
        self.assertEqual(
            [(image.name, str(image.reference)) for image in found],
            [("glance", f"r.example.org:5000/ns/glance@{DIGESTS[3]}"), ("nova-api", f"r.example.org:5000/ns/nova-api@{DIGESTS[2]}")],
        )

    def test_chosen_names_in_their_order_once(self) -> None:
        artifacts = parse_artifacts([artifact("a", 1), artifact("b", 2)])
        self.assertEqual([image.name for image in expected_from_artifacts(artifacts, ["b", "a", "b"])], ["b", "a"])

    def test_a_consumer_without_images_has_tested_nothing(self) -> None:
        with self.assertRaisesRegex(ContentError, "names no image with a digest"):
            expected_from_artifacts(())
        with self.assertRaisesRegex(ContentError, "names no image with a digest"):
            expected_from_artifacts(parse_artifacts([artifact("a", 1, digest=False)]))
        with self.assertRaisesRegex(ContentError, "names no image nova"):
            expected_from_artifacts(parse_artifacts([artifact("a", 1)]), ["nova"])
        with self.assertRaisesRegex(ContentError, "without a digest"):
            expected_from_artifacts(parse_artifacts([artifact("a", 1, digest=False)]), ["a"])

    def test_two_images_of_one_name_are_not_one(self) -> None:
        other = artifact("a", 2)
        other["url"] = "docker://r.example.org:5000/stable/a:b1"
        other["metadata"]["repository"] = "stable/a"  # type: ignore[index]
        artifacts = parse_artifacts([artifact("a", 1), other, artifact("b", 3)])
        for names in ((), ("a",)):
            with self.assertRaisesRegex(ContentError, "ns/a and stable/a were both returned"):
                expected_from_artifacts(artifacts, names)
        self.assertEqual(["b"], [image.name for image in expected_from_artifacts(artifacts, ["b"])])

    def test_a_newer_image_without_a_digest_is_not_proved_by_an_older_one(self) -> None:
        artifacts = parse_artifacts([artifact("a", 1), artifact("a", 2, tag="b2", digest=False), artifact("b", 3)])
        self.assertEqual(["b"], [image.name for image in expected_from_artifacts(artifacts)])

    def test_from_a_receipt(self) -> None:
        done = ImageResult("a", "done", "update", "rpm-gated", "", repository="r.example.org/ns/a", tag="b1", digest=DIGESTS[1])
        failed = ImageResult("b", "failed", "update", "rpm-gated", "", repository="r.example.org/ns/b")
        receipt = Receipt("demo", "b1", "partial", 1.0, 2.0, (done, failed))
        self.assertEqual([str(image.reference) for image in expected_from_receipt(receipt)], [f"r.example.org/ns/a@{DIGESTS[1]}"])


class Proof(unittest.TestCase):
    def setUp(self) -> None:
        self.expected = expected_from_artifacts(parse_artifacts([artifact("a", 1), artifact("b", 2)]))

    def test_pulled_and_held(self) -> None:
        storage = Storage()
        self.assertEqual([image.name for image in consume(self.expected, storage)], ["a", "b"])  # type: ignore[arg-type]
        self.assertEqual(sorted(storage.pulled), [f"r.example.org:5000/ns/{name}@{DIGESTS[number]}" for name, number in (("a", 1), ("b", 2))])

    def test_what_is_held_must_be_it(self) -> None:
        name = str(self.expected[0].reference)
        for images, expected in (({}, "holds no such image"), ({name: {DIGESTS[9]}}, f"holds {DIGESTS[9]}")):
            with self.subTest(expected), self.assertRaisesRegex(ContentError, f"returned {DIGESTS[1]}, this node {expected}"):
                consume(self.expected[:1], Storage(dict(images)), pull=False)  # type: ignore[arg-type]

    def test_no_pulls_is_no_number(self) -> None:
        with self.assertRaises(UsageError):
            consume(self.expected, Storage(), jobs=0)  # type: ignore[arg-type]

    def test_running_containers_of_the_set_run_the_digest(self) -> None:
        for image in ("r.example.org:5000/ns/a", "quay.io/ns/a:current", f"mirror/quay.io/ns/a@{DIGESTS[1]}", "ns/a"):
            with self.subTest(image):
                right = Storage({"id1": {DIGESTS[1]}}, (Container("one", image, "id1"), Container("db", "docker.io/x/a-b:1", "id2")))
                self.assertEqual([proved.name for proved in prove_running(self.expected, right)], ["a"])  # type: ignore[arg-type]
                wrong = Storage({"id1": {DIGESTS[7]}}, right.containers)
                with self.assertRaisesRegex(ContentError, f"container one runs {DIGESTS[7]}, the provider returned {DIGESTS[1]}"):
                    prove_running(self.expected, wrong)  # type: ignore[arg-type]

    def test_required_images_must_run(self) -> None:
        with self.assertRaisesRegex(ContentError, "no container runs b"):
            prove_running(self.expected, Storage(), required=["b"])  # type: ignore[arg-type]
        self.assertEqual(prove_running(self.expected, Storage()), ())  # type: ignore[arg-type]


if __name__ == "__main__":
    unittest.main()
