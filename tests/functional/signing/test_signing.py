"""What is signed, podman and skopeo accept under a policy; whatever else, they refuse, and our own check says why in one line."""

from __future__ import annotations

import base64
import json
import os
import subprocess

from tests.functional.signing.base import DISABLED, PASSPHRASE, SigningCase, private_file
from topcoat.errors import TopcoatError
from topcoat.model import ImageReference
from topcoat.registry import digest_of, oci
from topcoat.registry.attached import SIGNATURE
from topcoat.registry.oci import referrers_tag
from topcoat.signing import Signer, SigningKey, statements
from topcoat.signing.policy import PolicyCheck

REFUSED = "Source image rejected"


class Accepted(SigningCase):
    def test_by_tag_and_by_digest_under_the_policy_that_podman_uses_by_default(self) -> None:
        for docker in (False, True):
            name = f"a/docker-{docker}".lower()
            digest = self.push(name, "current", "other", docker=docker)
            self.assertIn(REFUSED, self.podman(f"{name}:current"))
            self.sign(f"{name}:current")
            for reference in (f"{name}:current", f"{name}@{digest}"):
                self.assert_accepted(reference)
            self.assertIn(REFUSED, self.podman(f"{name}:other"), "signed for another tag of its repository")
            self.assertEqual(["it is signed for the tag current, not for other"], problems_of(self, f"{name}:other"))
            self.assert_accepted(f"{name}:other", home=self.home("matchRepository"))
            self.sign(f"{name}:other")
            for tag in ("current", "other"):
                self.assert_accepted(f"{name}:{tag}")
                self.assertEqual([], problems_of(self, f"{name}:{tag}"), "one signature does not replace another")

    def test_without_a_tag_it_is_signed_for_its_repository(self) -> None:
        digest = self.push("a/untagged", "current")
        self.sign(f"a/untagged@{digest}")
        for reference in (f"a/untagged@{digest}", "a/untagged:current"):
            self.assertIn(REFUSED, self.podman(reference), "podman's policy wants a tag unless it says matchRepository")
            self.assert_accepted(reference, home=self.home("matchRepository"))
            self.assertEqual([], problems_of(self, reference))

    def test_every_image_of_an_index(self) -> None:
        index, children = self.push_index("a/index", "current")
        self.sign("a/index:current")
        for architecture in children:
            self.assert_accepted("a/index:current", "--arch", architecture)
        tags = self.client().tags("a/index")
        for digest in (index, *children.values()):
            self.assertIn(f"{referrers_tag(digest)}.sig", tags)

    def test_signing_again_changes_nothing_and_two_keys_stand_beside_each_other(self) -> None:
        digest = self.push("a/again", "current")
        tag = f"{referrers_tag(digest)}.sig"
        self.sign("a/again:current")
        before = self.client().head("a/again", tag)
        self.sign("a/again:current")
        self.assertEqual(before, self.client().head("a/again", tag))
        self.sign("a/again:current", "other")
        self.assert_accepted("a/again:current")
        self.assert_accepted("a/again:current", home=self.home(key="other"), key="other")

    def test_what_every_bundle_names_is_sent_to_one_repository_and_mounted_into_the_others(self) -> None:
        names = [self.push(f"a/mounted-{number}", "current") and f"a/mounted-{number}" for number in range(3)]
        registries = self.registries()
        client = registries.client(self.server.host)
        Signer(registries, SigningKey.generate()).sign(ImageReference(self.server.host, name, "current") for name in names[:1])
        self.assertEqual(0, client.traffic.mounts)
        Signer(registries, SigningKey.generate()).sign(ImageReference(self.server.host, name, "current") for name in names)
        self.assertEqual(2, client.traffic.mounts)

    def test_what_skopeo_signed_with_the_same_key_stays_and_counts(self) -> None:
        self.push("a/skopeo", "source")
        access = ["--authfile", str(self.server.authfile), "--src-cert-dir", str(self.certificates), "--dest-cert-dir", str(self.certificates)]
        home = self.home()
        command = ["skopeo", "--insecure-policy", "copy", "--quiet", *access, "--sign-by-sigstore-private-key", str(self.private["ours"])]
        command += ["--sign-passphrase-file", str(self.passphrase)]
        done = subprocess.run(
            [*command, f"docker://{self.server.host}/a/skopeo:source", f"docker://{self.server.host}/a/skopeo:current"],
            capture_output=True,
            text=True,
            env={**os.environ, "HOME": str(home)},
        )
        if DISABLED in done.stderr:
            return  # nothing was signed, so there is nothing to look at
        self.assertEqual(0, done.returncode, done.stderr)
        self.assert_accepted("a/skopeo:current")
        self.assertEqual([], problems_of(self, "a/skopeo:current"))
        self.sign("a/skopeo:source")
        for tag in ("current", "source"):
            self.assert_accepted(f"a/skopeo:{tag}")


def problems_of(case: SigningCase, reference: str) -> list[str]:
    """What ``topcoat verify --signed`` finds: in it sits skopeo, and our own reasons."""
    said = json.loads(verify(case, reference))
    return [problem["sentence"] for problem in said["images"][0]["problems"] if problem["code"] == "signed"]


def verify(case: SigningCase, reference: str, file: str = "", code: int | None = None) -> str:
    """The command; without a code: 1 where it found a problem."""
    words = ["verify", f"{case.server.host}/{reference}", "--signed", file or str(case.public["ours"]), "--format", "json"]
    said = case.topcoat(*words, code=code)
    if code is None:
        answer = json.loads(said[: said.rindex("}") + 1])
        case.assertEqual(int(any(image["problems"] for image in answer["images"])), case.code)
    return said


class Refused(SigningCase):
    """Each by podman, and with our words in one line."""

    def refused(self, reference: str, ours: str, theirs: str = REFUSED) -> None:
        self.assertIn(theirs, self.podman(reference))
        found = problems_of(self, reference)
        self.assertEqual(1, len(found), found)
        self.assertIn(ours, found[0])
        self.assertNotIn("\n", found[0])

    def test_missing(self) -> None:
        self.push("r/missing", "current")
        self.refused("r/missing:current", "it has no signature")

    def test_of_another_key(self) -> None:
        self.push("r/other", "current")
        self.sign("r/other:current", "other")
        self.refused("r/other:current", "is not one of the key SHA256:")

    def test_of_another_image_moved_here(self) -> None:
        first, second = (self.push("r/moved", tag, text=tag) for tag in ("one", "current"))
        self.sign("r/moved:one")
        client = self.client()
        moved = client.manifest("r/moved", f"{referrers_tag(first)}.sig")
        client.put_manifest("r/moved", f"{referrers_tag(second)}.sig", moved.body, moved.media_type)
        self.refused("r/moved:current", f"is that of another image, {first}")

    def test_of_another_repository_copied_here_with_its_image(self) -> None:
        digest = self.push("r/from", "current", text="same")
        self.sign("r/from:current")
        client, tag = self.client(), f"{referrers_tag(digest)}.sig"
        manifests = [client.manifest("r/from", target) for target in (digest, tag)]
        for manifest in manifests:
            for blob in manifest.blobs:
                client.put_blob("r/to", blob.digest, client.blob("r/from", blob.digest))
        client.put_manifest("r/to", "current", manifests[0].body, manifests[0].media_type)
        client.put_manifest("r/to", tag, manifests[1].body, manifests[1].media_type)
        self.refused("r/to:current", f"is for {self.server.host}/r/from:current")

    def test_tampered(self) -> None:
        """The document names another image, the signature is still that of the old document; and a signature that is no base64."""
        for name, change in (("payload", True), ("signature", False)):
            digest = self.push(f"r/tampered-{name}", "current")
            self.sign(f"r/tampered-{name}:current")
            client, tag = self.client(), f"{referrers_tag(digest)}.sig"
            document = client.manifest(f"r/tampered-{name}", tag).document
            layer = document["layers"][0]
            if change:
                data = statements.claim(f"{self.server.host}/r/tampered-{name}", digest)
                client.put_blob(f"r/tampered-{name}", digest_of(data), data)
                layer |= {"digest": digest_of(data), "size": len(data)}
            else:
                layer["annotations"][SIGNATURE] = "no base64"
            client.put_manifest(f"r/tampered-{name}", tag, oci.to_json(document), oci.OCI_MANIFEST)
            self.refused(f"r/tampered-{name}:current", "or was tampered with", "Source image rejected" if change else "")

    def test_an_image_of_an_index_or_the_index_itself(self) -> None:
        index, children = self.push_index("r/index", "current")
        self.sign("r/index:current")
        client = self.client()
        client.delete_tag("r/index", f"{referrers_tag(children['amd64'])}.sig")
        self.refused("r/index:current", f"{children['amd64']} in the index: it has no signature")
        self.assertEqual([], [said for said in [self.podman("r/index:current", "--arch", "arm64")] if said and DISABLED not in said])
        self.sign("r/index:current")
        client.delete_tag("r/index", f"{referrers_tag(index)}.sig")
        self.assertEqual([], [said for said in [self.podman("r/index:current")] if said and DISABLED not in said], "podman asks about the image only")
        self.assertEqual(["it has no signature"], problems_of(self, "r/index:current"))

    def test_what_lies_in_the_place_of_signatures_and_is_none(self) -> None:
        digest = self.push("r/none", "current")
        client = self.client()
        image = client.manifest("r/none", digest)
        tag = f"{referrers_tag(digest)}.sig"
        client.put_manifest("r/none", tag, image.body, image.media_type)
        self.refused("r/none:current", "it has no signature")
        index = oci.index_manifest([image.descriptor])
        client.put_manifest("r/none", tag, index, oci.OCI_INDEX)
        self.refused("r/none:current", "is no list of signatures", "")
        said = self.topcoat("sign", "--reference", f"{self.server.host}/r/none:current", *self.key_words(), code=1)
        self.assertIn("is no list of signatures", said)

    def test_a_policy_of_the_consumer(self) -> None:
        self.push("r/policy", "current")
        policy = str(self.home() / ".config/containers/policy.json")
        self.assertIn("the policy refuses it: A signature was required", verify(self, "r/policy:current", policy))
        self.sign("r/policy:current")
        if DISABLED in self.skopeo("r/policy:current"):
            self.assertIn("was built without sigstore signatures", verify(self, "r/policy:current", policy, code=3), "whoever cannot tell says so")
        else:
            self.assertNotIn("the policy refuses it", verify(self, "r/policy:current", policy))

    def test_a_layer_that_is_longer_than_any_file_is_one_line(self) -> None:
        reference = ImageReference(self.server.host, "space/none", "none")
        layer = oci.Descriptor(oci.OCI_LAYER_GZIP, digest_of(b"x"), 1 << 50)
        with self.assertRaises(TopcoatError):  # or, on file systems that hold it, that there is no such image
            PolicyCheck(self.folder / "none.json", "linux/amd64").refusal(reference, [layer])

    def test_layers_are_not_fetched_for_the_judgement(self) -> None:
        """The registry has lost the layer, so whoever asks for it fails."""
        digest = self.push("r/big", "current")
        image = self.client().image("r/big", digest)[1]
        layer = image.layers[0].digest.removeprefix("sha256:")
        next((self.folder / "registry").rglob(f"r/big/_layers/sha256/{layer}/link")).unlink()
        policy = self.folder / "everything.json"
        policy.write_text('{"default": [{"type": "insecureAcceptAnything"}]}')
        check = PolicyCheck(policy, "linux/amd64", authfile=self.server.authfile, ca_file=self.server.ca_file)
        reference = ImageReference.parse(f"{self.server.host}/r/big:current")
        self.assertEqual("", check.refusal(reference, image.layers))
        self.assertIn(layer, self.skopeo("r/big:current", home=self.folder))


class Keys(SigningCase):
    def said(self, *words: str, code: int = 2, **environment: str) -> str:
        digest = self.push("k/image", "current")
        self.assertTrue(digest)
        return self.topcoat("sign", "--reference", f"{self.server.host}/k/image:current", *words, code=code, **environment)

    def test_a_key_that_cannot_be_used_is_one_line(self) -> None:
        key = str(self.private["ours"])
        self.assertIn("is encrypted -> give its passphrase", self.said("--sign-key", key))
        self.assertIn("the passphrase is wrong", self.said("--sign-key", key, TOPCOAT_SIGN_PASSPHRASE="wrong"))
        self.assertIn("SHA256:", self.said("--sign-key", key, code=0, TOPCOAT_SIGN_PASSPHRASE=PASSPHRASE))
        self.assertIn("is not a private key", self.said("--sign-key", str(private_file(self.folder / "public", self.public["ours"].read_bytes()))))
        open_file = self.folder / "open.key"
        open_file.write_bytes(self.private["ours"].read_bytes())
        open_file.chmod(0o644)
        self.assertIn("can be read by others", self.said("--sign-key", str(open_file), TOPCOAT_SIGN_PASSPHRASE=PASSPHRASE))
        self.assertIn("cannot be read", self.said("--sign-key", str(self.folder / "none")))

    def test_keys_of_openssl(self) -> None:
        for number, words in enumerate((["-nocrypt"], ["-passout", f"pass:{PASSPHRASE}"])):
            made = subprocess.run(["openssl", "ecparam", "-name", "prime256v1", "-genkey", "-noout"], check=True, capture_output=True)
            key = subprocess.run(["openssl", "pkcs8", "-topk8", *words], input=made.stdout, check=True, capture_output=True).stdout
            path = private_file(self.folder / f"openssl-{number}.key", key)
            self.assertIn("SHA256:", self.said("--sign-key", str(path), code=0, TOPCOAT_SIGN_PASSPHRASE=PASSPHRASE))
        rsa = subprocess.run(["openssl", "genpkey", "-algorithm", "RSA"], check=True, capture_output=True).stdout
        self.assertIn("another kind than ECDSA P-256", self.said("--sign-key", str(private_file(self.folder / "rsa.key", rsa))))

    def test_a_key_of_cosign_that_was_tampered_with(self) -> None:
        lines = self.private["ours"].read_text().splitlines()
        document = json.loads(base64.b64decode("".join(lines[1:-1])))
        changes = {
            "unknown way": {**document, "kdf": {**document["kdf"], "name": "argon"}},
            "passphrase is wrong, or the file is damaged": {**document, "ciphertext": base64.b64encode(b"x" * 40).decode()},
            "kdf is not an object": {**document, "kdf": 5},
            "wrong, or the file": {**document, "kdf": {**document["kdf"], "params": {"N": 1 << 40, "r": 8, "p": 1}}},
            "an unknown": {**document, "kdf": {**document["kdf"], "params": {"N": 1 << 15, "r": 8, "p": 1 << 20}}},
        }
        for number, (words, changed) in enumerate(changes.items()):
            text = "\n".join([lines[0], base64.b64encode(json.dumps(changed).encode()).decode(), lines[-1], ""])
            path = private_file(self.folder / f"damaged-{number}.key", text)
            self.assertIn(words, self.said("--sign-key", str(path), TOPCOAT_SIGN_PASSPHRASE=PASSPHRASE))
