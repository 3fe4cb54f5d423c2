"""Signing as whoever a token names: certificate, timestamp and bundle, judged by openssl; and each way in which an authority says no."""

from __future__ import annotations

import base64
import json
import subprocess
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import serialization

from tests.functional.signing.authorities import ISSUER, SUBJECT, Authorities, token
from tests.functional.signing.base import SigningCase, private_file
from tests.needs import need
from topcoat.signing import Identity, bundles, statements


class Identities(SigningCase):
    @classmethod
    def setUpClass(cls) -> None:
        need("openssl")
        super().setUpClass()
        (cls.folder / "authorities").mkdir()
        cls.authorities = cls.enterClassContext(Authorities(cls.folder / "authorities"))
        cls.token = private_file(cls.folder / "token", token() + "\n")

    def setUp(self) -> None:
        self.authorities.mood = ""

    def words(self, reference: str, **others: str) -> list[str]:
        """The command that signs an image as the token says."""
        options = {"identity-token-file": str(self.token), "fulcio": self.authorities.url, "timestamp-authority": f"{self.authorities.url}/stamp"}
        return ["sign", "--reference", f"{self.server.host}/{reference}", *(w for n, v in (options | others).items() if v for w in (f"--{n}", v))]

    def documents(self, repository: str, digest: str) -> list[dict]:
        """The bundles of an image."""
        client = self.client()
        found = client.referrers(repository, digest, bundles.MEDIA_TYPE)
        return [json.loads(client.blob(repository, client.manifest(repository, entry.digest).blobs[1].digest)) for entry in found]

    def openssl(self, *words: str | Path) -> None:
        done = subprocess.run(["openssl", *words], capture_output=True, text=True)
        self.assertEqual(0, done.returncode, done.stdout + done.stderr)

    def test_openssl_accepts_certificate_signature_and_timestamp(self) -> None:
        digest = self.push("identity/one", "current")
        self.assertIn(f"1 images signed with {SUBJECT} of {ISSUER}, 1 signatures are new", self.topcoat(*self.words("identity/one:current")))
        (document,) = self.documents("identity/one", digest)
        material, envelope = document["verificationMaterial"], document["dsseEnvelope"]
        certificate = x509.load_der_x509_certificate(base64.b64decode(material["certificate"]["rawBytes"]))
        names = certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
        self.assertEqual([f"{ISSUER}/{SUBJECT}"], names.get_values_for_type(x509.UniformResourceIdentifier))
        payload, signature = base64.b64decode(envelope["payload"]), base64.b64decode(envelope["signatures"][0]["sig"])
        statement = json.loads(payload)
        self.assertEqual([{"sha256": digest.removeprefix("sha256:")}], [subject["digest"] for subject in statement["subject"]])
        there = self.folder / "openssl"
        there.mkdir(exist_ok=True)
        stamp = base64.b64decode(material["timestampVerificationData"]["rfc3161Timestamps"][0]["signedTimestamp"])
        public = certificate.public_key().public_bytes(serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo)
        files = {"leaf": certificate.public_bytes(serialization.Encoding.PEM), "signature": signature, "stamp": stamp, "public": public}
        for name, data in (files | {"signed": statements.to_be_signed(payload)}).items():
            (there / name).write_bytes(data)
        root = self.authorities.folder / "root.pem"
        self.openssl("verify", "-CAfile", root, there / "leaf")
        self.openssl("dgst", "-sha256", "-verify", there / "public", "-signature", there / "signature", there / "signed")
        self.openssl("ts", "-verify", "-data", there / "signature", "-in", there / "stamp", "-CAfile", root)
        self.assertNotIn(".sig", " ".join(self.client().tags("identity/one")), "podman's list takes no such signature")

    def test_signing_again_changes_nothing(self) -> None:
        digest = self.push("identity/again", "current")
        for new in (1, 0):
            self.assertIn(f"{new} signatures are new", self.topcoat(*self.words("identity/again:current")))
        self.assertEqual(1, len(self.documents("identity/again", digest)))
        other = private_file(self.folder / "other-token", token(sub="secret:openstack/review.example.org/config/other"))
        self.assertIn("1 signatures are new", self.topcoat(*self.words("identity/again:current", **{"identity-token-file": str(other)})))

    def test_a_certificate_without_a_name_that_somebody_attached_is_nobodys(self) -> None:
        at = {"fulcio": self.authorities.url, "timestamps": f"{self.authorities.url}/stamp", "plain_http": [self.authorities.url.partition("//")[2]]}
        identity = Identity.at(self.token, **at)
        nameless = x509.load_pem_x509_certificate((self.authorities.folder / "root.pem").read_bytes())
        self.assertFalse(identity.made(nameless.public_bytes(serialization.Encoding.DER), b"data", identity.sign(b"data").signature))

    def test_one_certificate_for_a_run(self) -> None:
        self.push_index("identity/index", "current")
        before = self.authorities.asked
        self.assertIn("3 signatures are new", self.topcoat(*self.words("identity/index:current")))
        self.assertEqual(before + 1, self.authorities.asked)

    def test_what_does_not_work_is_one_line(self) -> None:
        digest = self.push("identity/not", "current")
        for mood, code, words in (
            ("refused", 2, "refuses with 401: the token is too old"),
            ("broken", 3, "answers 500"),
            ("another key", 3, "certified another key"),
            ("no timestamp", 3, "gave no timestamp"),
            ("of something else", 3, "gave no timestamp"),
        ):
            with self.subTest(mood):
                self.authorities.mood = mood
                said = self.topcoat(*self.words("identity/not:current"), code=code)
                self.assertIn(words, said)
                self.assertNotIn(self.token.read_text().strip(), said)
        self.authorities.mood = ""
        none = private_file(self.folder / "no-token", "hello\n")
        for options, words in (
            ({"fulcio": ""}, "go together"),
            ({"fulcio": "http://fulcio.example.org"}, "is without TLS"),
            ({"fulcio": "fulcio.example.org"}, "is no address of a Fulcio"),
            ({"identity-token-file": str(none)}, "holds no token"),
            ({"sign-key": str(self.private["ours"]), "sign-passphrase-file": str(self.passphrase)}, "one signs"),
        ):
            with self.subTest(words):
                self.assertIn(words, self.topcoat(*self.words("identity/not:current", **options), code=2))
        self.token.chmod(0o644)
        self.assertIn("can be read by others", self.topcoat(*self.words("identity/not:current"), code=2))
        self.token.chmod(0o600)
        self.assertIn("what to sign with", self.topcoat("sign", "--reference", f"{self.server.host}/identity/not:current", code=2))
        self.assertEqual([], self.documents("identity/not", digest))
