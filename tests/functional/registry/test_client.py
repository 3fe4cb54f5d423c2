"""The client against a real docker-registry over TLS with a password."""

from __future__ import annotations

import secrets
import stat
from pathlib import Path

from tests.functional.registry.base import QUICK, RegistryCase, make_image, random_bytes
from topcoat.errors import ContentError, TopcoatError, UsageError
from topcoat.model import ImageReference, ImageRepository
from topcoat.publisher import Publisher
from topcoat.registry import (
    AccessError,
    BrokenConnectionError,
    Credentials,
    Login,
    NotFoundError,
    RefusedError,
    Registries,
    RegistryClient,
    digest_of,
    oci,
)
from topcoat_demo.registry import RegistryServer


class Client(RegistryCase):
    def test_what_was_pushed_reads_back(self) -> None:
        layers = random_bytes(1, 1000), random_bytes(2, 300_000)
        digest = self.publish("client/image", *layers, labels={"io.topcoat.image": "x"})
        manifest, image = self.client().image("client/image", "one")
        self.assertEqual(digest, manifest.digest)
        self.assertEqual({"io.topcoat.image": "x"}, image.labels)
        self.assertEqual([digest_of(layer) for layer in layers], [layer.digest for layer in image.layers])
        self.assertEqual(layers[1], self.client().blob("client/image", digest_of(layers[1])))

    def test_a_large_blob_goes_up_in_chunks_from_a_file(self) -> None:
        from dataclasses import replace

        data = random_bytes("chunks", 700_001)
        path = self.folder / "blob"
        path.write_bytes(data)
        client = self.client(limits=replace(QUICK, chunk_bytes=100_000))
        client.put_blob("client/chunks", digest_of(data), path)
        self.assertEqual(8, client.traffic.requests["PATCH"])
        self.assertEqual(data, self.client().blob("client/chunks", digest_of(data)))

    def test_a_document_without_an_end_is_not_read_to_it(self) -> None:
        data = random_bytes("endless", 3_000_000)
        client = self.client()
        client.put_blob("client/endless", digest_of(data), data)
        self.assertEqual(data, client.blobs.read("client/endless", digest_of(data), most=len(data)))
        with self.assertRaisesRegex(ContentError, "client/endless: the blob sha256:[0-9a-f]+ has more than 1000000 bytes"):
            client.blobs.read("client/endless", digest_of(data), most=1_000_000)

    def test_a_wrong_digest_is_refused_by_the_registry(self) -> None:
        with self.assertRaises(TopcoatError):
            self.client().put_blob("client/wrong", digest_of(b"other"), b"this")
        self.assertFalse(self.client().has_blob("client/wrong", digest_of(b"other")))

    def test_catalog_and_tags_of_more_than_one_page(self) -> None:
        publisher = Publisher(self.registries())
        image, blobs = make_image(b"pages")
        for number in range(130):
            publisher.publish(f"{self.server.host}/pages/r{number:03}", image, blobs, ["t"])
        client = self.client()
        # pages of 100, as the registry gives to who does not ask for more
        found = client.listing.pages("/v2/_catalog?n=50", "repositories", ("registry:catalog:*",))
        self.assertEqual(130, sum(name.startswith("pages/") for name in found))
        self.assertEqual(130, sum(name.startswith("pages/") for name in client.catalog()))

    def test_an_index_survives_a_retag_and_gives_the_child_of_the_platform(self) -> None:
        client = self.client()
        children = []
        for architecture in ("amd64", "arm64"):
            image, blobs = make_image(architecture.encode() * 100, architecture=architecture)
            published = Publisher(self.registries()).publish(f"{self.server.host}/multi/source", image, blobs)
            manifest = client.manifest("multi/source", published.digest)
            platform = (("architecture", architecture), ("os", "linux"))
            children.append(oci.Descriptor(manifest.media_type, manifest.digest, len(manifest.body), platform=platform))
        body = oci.index_manifest(children)
        digest = client.put_manifest("multi/source", "both", body, oci.OCI_INDEX)
        source, target = (ImageReference(self.server.host, f"multi/{name}", "both") for name in ("source", "target"))
        Publisher(self.registries()).copy(source, target)
        found = client.manifest("multi/target", "both")
        self.assertTrue(found.is_index)
        self.assertEqual(digest, found.digest)
        self.assertEqual(children[1].digest, client.image("multi/target", "both", platform="linux/arm64")[0].digest)
        with self.assertRaisesRegex(ContentError, "several platforms"):
            client.image("multi/target", "both")
        with self.assertRaises(ContentError) as caught:
            client.image("multi/target", "both", platform="linux/ppc64le")
        self.assertIn("linux/arm64", str(caught.exception))

    def test_attached_files_are_found_by_digest_and_attaching_twice_changes_nothing(self) -> None:
        digest = self.publish("client/attached")
        publisher = Publisher(self.registries())
        name = f"{self.server.host}/client/attached"
        self.assertIsNone(publisher.inventory(name, digest))
        first = publisher.attach_inventory(name, digest, {"inventory.json": b"[]", "packages.solv": b"\x00"})
        client = self.registries().client(self.server.host)
        again = Publisher(self.registries()).attach_inventory(name, digest, {"packages.solv": b"\x00", "inventory.json": b"[]"})
        self.assertEqual(first, again)
        self.assertEqual(1, len(client.referrers("client/attached", digest)))
        client.attach("client/attached", client.manifest("client/attached", digest).descriptor, {"application/x-sbom": {"sbom": b"{}"}})
        self.assertEqual(2, len(client.referrers("client/attached", digest)))
        self.assertEqual({"inventory.json": b"[]", "packages.solv": b"\x00"}, publisher.inventory(name, digest))

    def test_the_same_push_again_sends_nothing(self) -> None:
        self.publish("client/again")
        registries = self.registries()
        image, blobs = make_image(random_bytes("client/again", 2000))
        published = Publisher(registries).publish(f"{self.server.host}/client/again", image, blobs, ["one"])
        self.assertTrue(published.unchanged)
        self.assertEqual(0, registries.client(self.server.host).traffic.blob_bytes_sent)

    def test_a_retag_in_one_repository_is_two_requests(self) -> None:
        digest = self.publish("client/retag")
        registries = self.registries()
        client = registries.client(self.server.host)
        client.head("client/retag", "one")
        before = client.traffic.requests.total()
        Publisher(registries).move_tag(f"{self.server.host}/client/retag", digest, "two", look=False)
        Publisher(registries).move_tag(f"{self.server.host}/client/retag", digest, "three", look=False)
        self.assertEqual(before + 4 - 1, client.traffic.requests.total())  # the second GET came from memory
        self.assertEqual(digest, client.head("client/retag", "two"))

    def test_a_layer_that_is_nowhere_fails_before_any_manifest(self) -> None:
        image, _blobs = make_image(b"nowhere")
        with self.assertRaises(ContentError):
            Publisher(self.registries()).publish(f"{self.server.host}/client/nowhere", image, {}, ["t"])
        self.assertIsNone(self.client().head("client/nowhere", "t"))

    def test_a_layer_of_another_repository_is_mounted(self) -> None:
        layer = random_bytes("mounted", 200_000)
        self.publish("client/base", layer)
        registries = self.registries()
        image, blobs = make_image(layer, b"more")
        sources = {**blobs, digest_of(layer): ImageRepository(self.server.host, "client/base")}
        published = Publisher(registries).publish(f"{self.server.host}/client/child", image, sources, ["t"])
        self.assertEqual(len(layer), published.bytes_mounted)
        self.assertLess(registries.client(self.server.host).traffic.blob_bytes_sent, 1000)

    def test_layers_of_the_same_repository_are_not_asked_for(self) -> None:
        """An update onto the image of its own repository: one question, two blobs of two requests each, and the manifest under its tag."""
        layers = random_bytes("under", 200_000), random_bytes("under too", 1000)
        self.publish("client/updated", *layers)
        registries = self.registries()
        client = registries.client(self.server.host)
        client.head("client/updated", "one")
        before = client.traffic.requests.total()
        image, blobs = make_image(*layers, b"update")
        sources = {**blobs, **{digest_of(layer): ImageRepository(self.server.host, "client/updated") for layer in layers}}
        publisher = Publisher(registries)
        published = publisher.publish(f"{self.server.host}/client/updated", image, sources, ["two"], read_back=False)
        self.assertEqual(before + 1 + 2 * 2 + 1, client.traffic.requests.total())
        self.assertEqual([False, False, True], [layer.new for layer in published.layers])
        self.assertEqual(layers[0], self.client().blob("client/updated", digest_of(layers[0])))

    def test_a_layer_that_is_gone_from_its_own_repository_is_named(self) -> None:
        lost, kept = random_bytes("lost", 1000), random_bytes("kept", 1000)
        image, blobs = make_image(lost, kept)
        here = ImageRepository(self.server.host, "client/lost")
        with self.assertRaisesRegex(ContentError, digest_of(lost)):
            Publisher(self.registries()).publish(here, image, {**blobs, digest_of(lost): here}, ["t"])
        self.assertIsNone(self.client().head("client/lost", "t"))

    def test_a_copy_to_another_registry_takes_what_is_attached_and_resumes(self) -> None:
        digest = self.publish("client/copied", random_bytes("copied", 100_000))
        with RegistryServer(self.folder / "other") as other:
            authfile = self.both(other)
            bundle = self.folder / "both.pem"
            bundle.write_text(self.server.ca_file.read_text() + other.ca_file.read_text())
            registries = Registries(authfile, bundle, limits=QUICK)
            self.addCleanup(registries.close)
            publisher = Publisher(registries)
            publisher.attach_inventory(f"{self.server.host}/client/copied", digest, {"a": b"b"})
            source = ImageReference.parse(f"{self.server.host}/client/copied:one")
            target = ImageReference.parse(f"{other.host}/mirror/copied:one")
            self.assertEqual(digest, publisher.copy(source, target).digest)
            self.assertEqual({"a": b"b"}, publisher.inventory(f"{other.host}/mirror/copied", digest))
            again = Publisher(registries).copy(source, target)
            self.assertTrue(again.unchanged)
            self.assertEqual(0, again.bytes_pushed)

    def both(self, other: RegistryServer) -> Path:
        import json

        merged = {"auths": {}}
        for server in (self.server, other):
            merged["auths"].update(json.loads(server.authfile.read_text())["auths"])
        path = self.folder / "both.json"
        path.touch(mode=0o600)
        path.write_text(json.dumps(merged))
        return path

    def test_missing_things(self) -> None:
        client = self.client()
        self.assertEqual((), client.tags("no/such"))
        self.assertIsNone(client.head("no/such", "tag"))
        with self.assertRaises(NotFoundError):
            client.manifest("no/such", "tag")
        with self.assertRaises(UsageError):
            client.manifest("../../etc", "tag")

    def test_delete_takes_the_manifest_and_says_whether_it_was_there(self) -> None:
        digest = self.publish("client/deleted")
        self.assertEqual(digest, self.client().head("client/deleted", "one"))
        self.assertTrue(self.client().delete_manifest("client/deleted", digest))
        self.assertFalse(self.client().delete_manifest("client/deleted", digest))
        self.assertIsNone(self.client().head("client/deleted", "one"))

    def test_one_tag_goes_and_the_others_on_the_same_digest_stay(self) -> None:
        # this registry deletes digests only, and every tag on them
        digest = self.publish("client/untag", tags=("keep", "go"))
        client = self.client()
        self.assertTrue(client.delete_tag("client/untag", "go"))
        self.assertIsNone(client.head("client/untag", "go"))
        self.assertEqual(("keep",), client.tags("client/untag"))
        self.assertEqual(digest, client.head("client/untag", "keep"))
        self.assertFalse(client.delete_tag("client/untag", "go"))


class NothingGoes(RegistryCase):
    OPTIONS = {"storage": {"delete": {"enabled": False}}}

    def test_a_registry_without_delete_keeps_the_tag_where_it_was(self) -> None:
        digest = self.publish("client/untag")
        with self.assertRaises(RefusedError):
            self.client().delete_tag("client/untag", "one")
        self.assertEqual(digest, self.client().head("client/untag", "one"))


class Access(RegistryCase):
    def test_a_wrong_password_shows_nowhere(self) -> None:
        canary = secrets.token_hex(16)
        client = RegistryClient(self.server.host, Credentials({self.server.host: Login("demo", canary)}), self.server.ca_file)
        with self.assertRaises(AccessError) as caught:
            client.tags("a/b")
        self.assertIn("access refused", str(caught.exception))
        for text in (str(caught.exception), repr(client), repr(Login("demo", canary)), repr(Credentials({"h": Login("demo", canary)}))):
            self.assertNotIn(canary, text)

    def test_no_password_names_the_auth_file(self) -> None:
        with self.assertRaises(AccessError) as caught:
            RegistryClient(self.server.host, None, self.server.ca_file).tags("a/b")
        self.assertIn("--authfile", str(caught.exception))

    def test_an_unknown_authority_is_refused(self) -> None:
        with self.assertRaises(BrokenConnectionError) as caught:
            RegistryClient(self.server.host, Credentials.from_authfile(self.server.authfile)).tags("a/b")
        self.assertIn("--ca-file", str(caught.exception))
        self.assertFalse(caught.exception.retriable)

    def test_an_auth_file_that_others_can_read_is_refused(self) -> None:
        path = self.folder / "open.json"
        path.write_text(self.server.authfile.read_text())
        path.chmod(stat.S_IRUSR | stat.S_IWUSR | stat.S_IRGRP)
        with self.assertRaises(UsageError) as caught:
            Credentials.from_authfile(path)
        self.assertIn("chmod 600", str(caught.exception))


class Plain(RegistryCase):
    TLS = False

    def test_plain_http_only_for_hosts_that_are_named(self) -> None:
        self.publish("plain/image")
        credentials = Credentials.from_authfile(self.server.authfile)
        with self.assertRaises(BrokenConnectionError):
            RegistryClient(self.server.host, credentials, limits=QUICK).tags("plain/image")
        self.assertEqual(("one",), RegistryClient(self.server.host, credentials, plain_http=True).tags("plain/image"))
