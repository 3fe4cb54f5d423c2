"""What an index over images is, what a run must have proven, and what a tag may never lose."""

from __future__ import annotations

import json
import unittest
from dataclasses import replace

from topcoat.errors import UsageError
from topcoat.model import ImageReference, Profile, Receipt, Status
from topcoat.model.profile import Architecture, Base
from topcoat.registry import Image, Manifest, digest_of
from topcoat.registry.oci import DOCKER_INDEX, DOCKER_MANIFEST, OCI_INDEX, OCI_MANIFEST
from topcoat.report import figures
from topcoat.sets import architectures
from topcoat.sets.index import Child, Joined, _coverage, _loses, _receipt, describe, index_over


def manifest(arch: str, media_type: str = OCI_MANIFEST) -> Manifest:
    body = json.dumps({"is": arch}).encode()
    return Manifest(digest_of(body), media_type, body)


def child(arch: str, goarch: str, media_type: str = OCI_MANIFEST, **config: str) -> Child:
    own = manifest(arch, media_type)
    image = Image({"architecture": goarch, "os": "linux", **config}, ())
    return Child(arch, ImageReference("r.example", "site/a", digest=own.digest), describe(own, image, arch))


class AnIndex(unittest.TestCase):
    def test_the_same_images_give_the_same_bytes_in_the_order_given(self) -> None:
        both = [child("x86_64", "amd64"), child("aarch64", "arm64", variant="v8")]
        index = index_over(both)
        self.assertEqual(index.digest, index_over(both).digest)
        self.assertEqual(index.media_type, OCI_INDEX)
        document = json.loads(index.body)
        self.assertEqual(sorted(document), ["manifests", "mediaType", "schemaVersion"])
        self.assertEqual(
            [entry["platform"] for entry in document["manifests"]],
            [{"architecture": "amd64", "os": "linux"}, {"architecture": "arm64", "os": "linux", "variant": "v8"}],
        )
        self.assertNotEqual(index.digest, index_over(both[::-1]).digest)

    def test_it_is_dockers_where_every_image_is(self) -> None:
        docker = [child("x86_64", "amd64", DOCKER_MANIFEST), child("aarch64", "arm64", DOCKER_MANIFEST)]
        self.assertEqual((index_over(docker).media_type, json.loads(index_over(docker).body)["mediaType"]), (DOCKER_INDEX, DOCKER_INDEX))
        self.assertEqual(index_over([docker[0], child("aarch64", "arm64")]).media_type, OCI_INDEX)

    def test_an_image_that_names_no_platform_has_that_of_its_architecture(self) -> None:
        self.assertEqual(dict(describe(manifest("x"), Image({}, ()), "aarch64").platform), {"architecture": "arm64", "os": "linux"})

    def test_a_tag_never_loses_an_architecture_and_never_turns_from_an_image(self) -> None:
        one, both = index_over([child("x86_64", "amd64")]), index_over([child("x86_64", "amd64"), child("aarch64", "arm64")])
        self.assertEqual(_loses("a", one, both), "")
        self.assertEqual(_loses("a", both, one), "a would lose linux/arm64")
        self.assertIn("single image", _loses("a", manifest("x86_64"), one))


def receipt(tag: str, status: Status = Status.DONE, *coverage: dict[str, object], gated: bool = False) -> Receipt:
    return Receipt("site", tag, status, 1.0, 2.0, (), coverage=coverage, gated=({"package": "p"},) if gated else ())


def entry(covered: bool, wrong: bool = False, waived: str | None = None) -> dict[str, object]:
    return {"package": "p", "images": [], "covered": covered, "waived_by": waived, "wrong": [{"image": "a", "evr": "1"}] if wrong else []}


class WhatARunProves(unittest.TestCase):
    def test_only_a_proven_run_counts(self) -> None:
        for found, words in (
            (receipt("t", Status.DONE, entry(True), gated=True), ""),
            (receipt("t", Status.DONE, entry(False, waived="p*"), gated=True), ""),
            (receipt("t", Status.PARTIAL), ""),
            (receipt("t", Status.RUNNING), "ended as 'running'"),
            (receipt("t", Status.FAILED), "ended as 'failed'"),
            (receipt("t", Status.DONE, entry(False)), "does not hold p"),
            (receipt("t", Status.DONE, entry(True, wrong=True)), "does not hold p"),
            (receipt("t", Status.DONE, gated=True), "proves nothing"),
        ):
            with self.subTest(words):
                self.assertIn(words, architectures._unproven(found))
                self.assertEqual(bool(words), bool(architectures._unproven(found)))

    def test_a_set_covers_what_each_of_its_architectures_does(self) -> None:
        both = (receipt("x", Status.DONE, entry(True)), receipt("a", Status.DONE, entry(False)))
        for runs in (both, both[::-1]):
            (found,) = _coverage(runs)
            self.assertFalse(figures.is_covered(found))
        self.assertTrue(figures.is_covered(_coverage(both[:1])[0]))

    def test_a_receipt_belongs_to_one_architecture(self) -> None:
        several = (Architecture("x86_64"), Architecture("aarch64"))
        wanted = [
            architectures.WantedPart(one, Profile("site", "d", "9", one.name, Base(""), (), "r.example", "site", architectures=several), ("a",))
            for one in several
        ]
        found = architectures.given([receipt("t-aarch64")], "t", wanted)
        self.assertEqual(list(found), ["t-aarch64"])
        with self.assertRaisesRegex(UsageError, "its parts are t-x86_64, t-aarch64"):
            architectures.given([receipt("u-aarch64")], "t", wanted)
        with self.assertRaisesRegex(UsageError, "two receipts"):
            architectures.given([receipt("t-aarch64"), receipt("t-aarch64")], "t", wanted)

    def test_what_a_set_is_made_of_is_said_by_a_run_that_is_proven(self) -> None:
        several = (Architecture("x86_64", "carry"), Architecture("aarch64"))
        profiles = [Profile("site", "d", "9", one.name, Base(""), (), "r.example", "site", architectures=several) for one in several]
        failed, good = (replace(receipt("t", status), repositories=((status.word, "0" * 64),)) for status in (Status.FAILED, Status.DONE))
        parts = (
            architectures.Part(architectures.WantedPart(several[0], profiles[0], ("a",)), "t-x86_64", failed, problem="its run failed"),
            architectures.Part(architectures.WantedPart(several[1], profiles[1], ("a",)), "t-aarch64", good),
        )
        self.assertEqual(good.repositories, _receipt(profiles[0], Joined("t", parts, {}, {}), 0.0).repositories)
