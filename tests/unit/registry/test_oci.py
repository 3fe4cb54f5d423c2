"""Manifests as values."""

from __future__ import annotations

import json
import unittest

from hypothesis import given
from hypothesis import strategies as st

from topcoat.errors import ContentError
from topcoat.model.moments import rfc3339
from topcoat.registry import Descriptor, Image, Manifest, append_layer, digest_of, image_manifest, oci, with_labels

BASE = Image(
    {
        "os": "linux",
        "architecture": "amd64",
        "config": {"Entrypoint": ["/bin/x"], "User": "42", "Labels": {"a": "1", "b": "2"}},
        "rootfs": {"type": "layers", "diff_ids": [digest_of(b"base")]},
        "history": [{"created_by": "base"}],
    },
    (Descriptor("application/vnd.docker.image.rootfs.diff.tar.gzip", digest_of(b"base.gz"), 10),),
)
WORDS = ("config", "rootfs", "diff_ids", "Labels", "mediaType", "digest", "size", "layers", "Test", "x")
JUNK = st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5) | st.sampled_from(["sha256:../..", digest_of(b"q")])
LAYER = Descriptor(oci.OCI_LAYER_GZIP, digest_of(b"layer.gz"), 5)


class Layers(unittest.TestCase):
    def test_a_layer_goes_on_top_and_nothing_else_changes(self) -> None:
        image = append_layer(BASE, LAYER, digest_of(b"layer"), created_by="update", labels={"b": "3", "c": "4"}, remove_labels=["a"])
        self.assertEqual((*BASE.layers, LAYER), image.layers)
        self.assertEqual((digest_of(b"base"), digest_of(b"layer")), image.diff_ids)
        self.assertEqual({"b": "3", "c": "4"}, image.labels)
        self.assertEqual((["/bin/x"], "42"), (image.config["config"]["Entrypoint"], image.config["config"]["User"]))
        self.assertEqual(["base", "update"], [entry["created_by"] for entry in image.config["history"]])
        self.assertEqual({"a": "1", "b": "2"}, BASE.labels)  # the image it started from is another value

    def test_the_same_image_gives_the_same_bytes_whatever_the_order_of_keys(self) -> None:
        turned = Image(dict(reversed(BASE.config.items())), BASE.layers, BASE.annotations)
        self.assertEqual(image_manifest(BASE), image_manifest(turned))

    def test_docker_types_become_oci_types_over_the_same_blobs(self) -> None:
        manifest = json.loads(image_manifest(BASE)[0])
        self.assertEqual(oci.OCI_LAYER_GZIP, manifest["layers"][0]["mediaType"])
        self.assertEqual(BASE.layers[0].digest, manifest["layers"][0]["digest"])

    def test_a_manifest_and_its_configuration_read_back(self) -> None:
        body, config = image_manifest(with_labels(BASE, {"x": "y"}))
        image = oci.parse_image(Manifest(digest_of(body), oci.OCI_MANIFEST, body), config)
        self.assertEqual({"a": "1", "b": "2", "x": "y"}, image.labels)
        self.assertEqual((body, config), image_manifest(image))

    @given(st.dictionaries(st.text(max_size=8), st.text(max_size=8), max_size=5))
    def test_any_labels_survive(self, labels: dict[str, str]) -> None:
        body, config = image_manifest(with_labels(BASE, labels))
        self.assertEqual({**BASE.labels, **labels}, oci.parse_image(Manifest(digest_of(body), oci.OCI_MANIFEST, body), config).labels)


class Broken(unittest.TestCase):
    def manifest(self, document: object, media_type: str = oci.OCI_MANIFEST) -> Manifest:
        body = json.dumps(document).encode()
        return Manifest(digest_of(body), media_type, body)

    def test_what_is_no_manifest(self) -> None:
        good = Descriptor(oci.OCI_CONFIG, digest_of(b"x"), 1).as_dict()
        for document in (
            [],
            {"layers": [1]},
            {"config": good, "layers": [{"digest": "../../etc/passwd"}]},
            {"config": good, "layers": [{**good, "size": None}]},
        ):
            with self.subTest(document=document), self.assertRaises(ContentError):
                _ = self.manifest(document).blobs
        with self.assertRaises(ContentError):
            _ = Manifest(digest_of(b""), oci.OCI_MANIFEST, b"\xff").document

    def test_an_update_keeps_the_format_of_what_it_goes_on(self) -> None:
        config = BASE.config | {"config": {"Healthcheck": {"Test": ["CMD", "/bin/true"]}}}
        docker = Image(config, BASE.layers, (("a", "b"),), oci.DOCKER_MANIFEST)
        body, written = image_manifest(append_layer(docker, LAYER, digest_of(b"layer"), created_by="update"))
        document = json.loads(body)
        self.assertEqual((document["mediaType"], document["config"]["mediaType"]), (oci.DOCKER_MANIFEST, oci.DOCKER_CONFIG))
        self.assertEqual({layer["mediaType"] for layer in document["layers"]}, {"application/vnd.docker.image.rootfs.diff.tar.gzip"})
        self.assertNotIn("annotations", document)
        again = oci.parse_image(Manifest(digest_of(body), oci.DOCKER_MANIFEST, body), written)
        self.assertTrue(again.is_docker and again.has_healthcheck)
        self.assertEqual(image_manifest(again), (body, written))
        zstd = Descriptor("application/vnd.oci.image.layer.v1.tar+zstd", digest_of(b"z"), 1)
        with self.assertRaisesRegex(ContentError, "no layers of type"):
            image_manifest(append_layer(docker, zstd, digest_of(b"layer"), created_by="update"))

    @given(st.recursive(JUNK, lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from(WORDS), inner, max_size=4), max_leaves=12))
    def test_any_document_is_an_image_or_one_line(self, junk: object) -> None:
        body, config = image_manifest(BASE)
        for target in ("manifest", "config"):
            document = json.loads(body if target == "manifest" else config)
            places = [document, *(value for value in document.values() if isinstance(value, dict)), *document.get("layers", [])]
            for place in places:
                for name in list(place):
                    kept, place[name] = place[name], junk
                    changed = json.dumps(document).encode()
                    place[name] = kept
                    pair = (changed, config) if target == "manifest" else (body, changed)
                    try:
                        image = oci.parse_image(Manifest(digest_of(pair[0]), oci.OCI_MANIFEST, pair[0]), pair[1])
                        image_manifest(append_layer(image, LAYER, digest_of(b"l"), created_by="u", labels={"x": "y"}))
                        _ = image.labels, image.platform, image.has_healthcheck
                    except ContentError as error:
                        self.assertTrue(error.next_step)

    def test_documents_that_hurt_parsers(self) -> None:
        deep = b"[" * 200_000 + b"]" * 200_000
        shallow = b'{"a":' + b"[" * 100 + b"]" * 100 + b"}"
        for text in (deep, b'{"a":' + deep + b"}", shallow, b'{"a":"\\ud800"}', b'{"a":1e999}', b'{"a":NaN}', b"\xff", b"", b"[]", b"5", b"1" * 5000):
            with self.subTest(text[:20]), self.assertRaisesRegex(ContentError, "thing"):
                oci.read_json(text, "thing")
        for size in (-1, True, "5", 1 << 60, 1.5, None):
            with self.subTest(size=size), self.assertRaises(ContentError):
                Descriptor.parse({"mediaType": "t", "digest": digest_of(b"x"), "size": size})

    def test_a_diff_id_is_a_digest(self) -> None:
        body, config = image_manifest(BASE)
        for text in ("sha256:../../../etc", "/etc", "", 5, None):
            document = json.loads(config)
            document["rootfs"]["diff_ids"] = [text]
            with self.subTest(text), self.assertRaises(ContentError):
                oci.parse_image(Manifest(digest_of(body), oci.OCI_MANIFEST, body), json.dumps(document).encode())

    def test_layers_and_diff_ids_must_pair(self) -> None:
        body, _config = image_manifest(BASE)
        with self.assertRaises(ContentError):
            oci.parse_image(Manifest(digest_of(body), oci.OCI_MANIFEST, body), b'{"rootfs": {"diff_ids": []}}')

    def test_a_platform_that_an_index_lacks(self) -> None:
        child = Descriptor(oci.OCI_MANIFEST, digest_of(b"c"), 1, platform=(("architecture", "arm64"), ("os", "linux"), ("variant", "v8")))
        body = oci.index_manifest([child])
        index = Manifest(digest_of(body), oci.OCI_INDEX, body)
        self.assertEqual(child, oci.select_platform(index, "linux/arm64"))
        self.assertEqual(child, oci.select_platform(index, "linux/arm64/v8"))
        for platform in ("linux/amd64", "linux/arm64/v7"):
            with self.assertRaises(ContentError):
                oci.select_platform(index, platform)


class Times(unittest.TestCase):
    def test_creation_times_as_tools_write_them(self) -> None:
        for text, seconds in (
            ("2025-01-01T00:00:00Z", 1735689600),
            ("2025-01-01T00:00:00.123456789Z", 1735689600),
            ("2025-01-01T01:00:00+01:00", 1735689600),
            ("2025-01-01T01:00:00.5+01:00", 1735689600),
            ("1960-01-01T00:00:00Z", 0),
            ("yesterday", 0),
            (None, 0),
        ):
            with self.subTest(text):
                self.assertEqual(Image({"created": text}, ()).seconds, seconds)
        self.assertEqual(rfc3339(1735689600), "2025-01-01T00:00:00Z")
