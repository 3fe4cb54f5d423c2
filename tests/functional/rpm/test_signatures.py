"""Signature policies on real signed packages, judged by this host's rpm, whatever its own configuration is."""

import base64
import os
import shutil
import struct
import subprocess
import sys
import tempfile
import unittest
from pathlib import Path

from topcoat.errors import ContentError
from topcoat.model import Repository, SignaturePolicy
from topcoat.yum.repositories import freeze
from topcoat_demo import signing
from topcoat_demo.rpms import File, RpmSpec, make_repository, write_rpm

SPEC = RpmSpec("tool", "1.0", files=(File("/usr/bin/tool", "#!/bin/sh\n" + "echo tool\n" * 200, mode=0o755),))
RSA, OTHER_RSA, ED = signing.DEMO, signing.key("demo distribution, second", "rsa"), signing.key("somebody")
SUBKEY = signing.key("with subkey", subkey="ed25519")
ROOT = Path(__file__).parents[3]


def strict_host(*words: str) -> list[str]:
    """The command on a host whose rpm wants a signature on everything: its macros are covered in a mount namespace of the command's own."""
    script = (
        'set -e; folder=$(mktemp -d); mount -t tmpfs tmpfs "$folder"; cp /usr/lib/rpm/macros "$folder"; '
        'printf "%%_pkgverify_level all\\n%%_pkgverify_flags 0x0\\n" >> "$folder/macros"; '
        'mount --bind "$folder/macros" /usr/lib/rpm/macros; umount -l "$folder"; rmdir "$folder"; exec "$@"'
    )
    return ["unshare", "--mount", "--propagation", "private", "sh", "-c", script, "sh", *words]


class Policies(unittest.TestCase):
    def setUp(self) -> None:
        folder = tempfile.TemporaryDirectory(prefix="signatures-")
        self.addCleanup(folder.cleanup)
        self.folder = Path(folder.name)

    def fetch(self, package: bytes | signing.Key | None, signed: str, *keys: signing.Key | str | bytes) -> None:
        """Take the package from a repository of this policy."""
        repository = Path(tempfile.mkdtemp(dir=self.folder))
        if isinstance(package, bytes):
            (repository / SPEC.filename).write_bytes(package)
            make_repository(repository)
        else:
            make_repository(repository, [SPEC], signer=package)
        urls = []
        for number, key in enumerate(keys):
            path = repository / f"KEY-{number}"
            path.write_bytes(key if isinstance(key, bytes) else (key if isinstance(key, str) else key.armored()).encode())
            urls.append(path.as_uri())
        policy = SignaturePolicy(signed, tuple(urls))
        with freeze([Repository("repo", repository.as_uri(), signatures=policy)], self.folder / "work") as snapshot:
            path = snapshot.fetch("repo", SPEC.filename)
            self.assertEqual(path.read_bytes(), (repository / SPEC.filename).read_bytes())

    def refused(self, words: str, package: bytes | signing.Key | None, signed: str, *keys: signing.Key | str | bytes) -> None:
        with self.assertRaises(ContentError) as caught:
            self.fetch(package, signed, *keys)
        self.assertIn(words, str(caught.exception))
        self.assertNotIn("\n", str(caught.exception))
        self.assertIn("repository repo: ", str(caught.exception))

    def bytes_of(self, key: signing.Key | None) -> bytes:
        return write_rpm(SPEC, Path(tempfile.mkdtemp(dir=self.folder)), signer=key).read_bytes()

    def test_a_known_key_whatever_it_signed_and_however(self) -> None:
        keys = (RSA, ED, SUBKEY, RSA.only("header"), RSA.only("payload"), ED.only("header"), ED.only("payload"), RSA.only("header", version=3))
        for key in keys:
            for signed in ("required", "optional", "never"):
                with self.subTest(key=key, signed=signed):
                    self.fetch(key, signed, key)

    def test_two_keys_in_two_files_and_in_one(self) -> None:
        for key in (RSA, ED):
            self.fetch(key, "required", RSA, ED)
            self.fetch(key, "required", RSA.armored() + "\n" + ED.armored())
        self.fetch(RSA, "required", RSA.certificate())  # a key file may be binary

    def test_unsigned(self) -> None:
        self.refused("tool-1.0-1.el9.noarch.rpm is not signed, and the profile requires it", None, "required", RSA)
        self.fetch(None, "optional", RSA)
        self.fetch(None, "optional")
        self.fetch(None, "never", RSA)

    def test_an_unknown_key(self) -> None:
        self.refused(f"is signed by the unknown key {RSA.signing_id}; known: {OTHER_RSA.signing_id}", RSA, "required", OTHER_RSA)
        self.refused(f"is signed by the unknown key {ED.signing_id}; known: {RSA.signing_id}", ED, "required", RSA)
        self.fetch(RSA, "optional", OTHER_RSA)
        self.fetch(RSA, "optional")

    def test_a_signature_that_only_says_that_it_is_by_a_known_key(self) -> None:
        good, bad = self.bytes_of(RSA), self.bytes_of(OTHER_RSA)
        forged = bad.replace(bytes.fromhex(OTHER_RSA.fingerprint)[-8:], bytes.fromhex(RSA.fingerprint)[-8:])
        self.assertNotEqual(forged, good)
        for signed in ("required", "optional"):
            self.refused("signed it, or that signature is no good", forged, signed, RSA)

    def test_a_changed_payload(self) -> None:
        for key in (RSA, RSA.only("header"), RSA.only("payload"), ED, None):
            package = bytearray(self.bytes_of(key))
            package[-20] ^= 1
            for signed in ("required", "optional"):
                with self.subTest(key=key, signed=signed):
                    self.refused("was changed after it was made: its Payload", bytes(package), signed, RSA, ED)
            self.fetch(bytes(package), "never", RSA)

    def test_a_changed_header_with_its_digests_made_to_fit(self) -> None:
        for key in (RSA, RSA.only("header"), RSA.only("payload"), ED):
            honest = self.bytes_of(key)
            evil = write_rpm(SPEC.bump(summary="Package tool of the demo distributioM"), Path(tempfile.mkdtemp(dir=self.folder))).read_bytes()
            package = with_signatures_of(honest, evil)
            for signed in ("required", "optional"):
                with self.subTest(key=key, signed=signed):
                    self.refused("was changed after key", package, signed, RSA, ED)

    def test_a_changed_header(self) -> None:
        package = self.bytes_of(RSA).replace(b"Package tool of the", b"Package fool of the")
        for signed in ("required", "optional"):
            self.refused("was changed after it was made: its Header", package, signed, RSA)

    def test_what_is_no_package_or_cut_short(self) -> None:
        whole = self.bytes_of(RSA)
        for signed in ("required", "optional"):
            self.refused("was changed after it was made: its Payload", whole[:-30], signed, RSA)
        folder = make_repository(self.folder / "text", [SPEC])
        with freeze([Repository("repo", folder.as_uri())], self.folder / "work") as snapshot:
            for content in (b"", b"hello", whole[:120], whole[:96] + b"x" * 500):
                (self.folder / "file").write_bytes(content)
                verdict = snapshot.repository("repo").keyring.check([self.folder / "file"])[0]
                self.assertRegex(verdict.problem, "is damaged: it.*(no RPM file|cut short|signature header is damaged)")

    def test_keys_that_cannot_be_used(self) -> None:
        self.refused("it holds no OpenPGP public key", RSA, "required", "hello\n")
        self.refused("its text is damaged", RSA, "required", RSA.armored().replace("a", "b"))
        self.refused("is of an unknown type (OpenPGP algorithm 99)", RSA, "required", signing.key("x", "unknown"))
        self.refused("is revoked", RSA, "required", signing.key("lost", revoked=True))
        self.refused("cut short", RSA, "required", RSA.certificate()[:300])
        self.refused("it is a private key", RSA, "required", "-----BEGIN PGP PRIVATE KEY BLOCK-----\n")
        with self.assertRaisesRegex(ContentError, "its key cannot be had: .*no/KEY"):
            policy = SignaturePolicy("required", ("file:///no/KEY",))
            freeze([Repository("repo", make_repository(self.folder / "r", [SPEC]).as_uri(), signatures=policy)], self.folder / "work")

    def test_a_key_that_had_expired_when_it_signed(self) -> None:
        key = signing.key("short", expires=86_400)
        self.refused("was signed on 2025-01-01 by key", key, "required", key)
        self.fetch(signing.key("long", expires=400 * 86_400), "required", signing.key("long", expires=400 * 86_400))

    def test_a_subkey_that_is_revoked(self) -> None:
        both = [SUBKEY._primary.hashed(), SUBKEY._signer.hashed()]
        certificate = SUBKEY.certificate() + SUBKEY._primary.sign(0x28, both, signing.CREATED + 2)
        for signed in ("required", "optional"):
            self.refused(f"is signed by key {SUBKEY.signing_id}, which is revoked", SUBKEY, signed, certificate)

    def test_a_second_signature_that_this_rpm_does_not_look_at(self) -> None:
        """Packages may carry several signatures (tag OPENPGP of rpm 4.20 and newer); one that can be checked is enough, none is not."""
        first, second = self.bytes_of(RSA), self.bytes_of(ED)
        package = with_signatures_of(first, self.bytes_of(None), second)
        for keys in ((RSA,), (RSA, ED)):
            self.fetch(package, "required", *keys)

    def test_a_signature_of_a_type_that_nobody_knows(self) -> None:
        self.refused("is signed by the unknown key", signing.key("x", "unknown"), "required", RSA)
        self.fetch(signing.key("x", "unknown"), "optional", RSA)

    def test_keys_and_policy_are_part_of_the_view(self) -> None:
        repository = make_repository(self.folder / "r", [SPEC], signer=RSA)
        key = self.folder / "KEY"
        key.write_text(RSA.armored())
        entry = Repository("repo", repository.as_uri(), signatures=SignaturePolicy("required", (key.as_uri(),)))
        with freeze([entry], self.folder / "work") as before:
            view, policies = dict(before.view), before.policies
        self.assertEqual(sorted(view), ["repo", "repo#keys"])
        with freeze([entry], self.folder / "work", view=view) as again:
            self.assertEqual((dict(again.view), again.policies), (view, policies))
        key.write_text(ED.armored())
        with self.assertRaisesRegex(ContentError, "no longer in the state that was frozen"):
            freeze([entry], self.folder / "work", view=view)
        with freeze([Repository("repo", repository.as_uri())], self.folder / "work") as other:
            self.assertNotEqual(other.policies, policies)

    def test_signed_metadata(self) -> None:
        repository = make_repository(self.folder / "r", [SPEC])
        keys = {key: self.folder / f"KEY-{key.name}".replace(" ", "-") for key in (RSA, ED, SUBKEY, OTHER_RSA)}
        for key, path in keys.items():
            path.write_text(key.armored())
        repomd = repository / "repodata/repomd.xml"
        place = repomd.with_name("repomd.xml.asc")

        def read(*allowed: signing.Key, work: str, view: dict[str, str] | None = None) -> dict[str, str]:
            policy = SignaturePolicy("never", tuple(keys[key].as_uri() for key in allowed), "required")
            with freeze([Repository("repo", repository.as_uri(), signatures=policy)], self.folder / work, view=view) as snapshot:
                return dict(snapshot.view)

        with self.assertRaisesRegex(ContentError, "metadata is not signed by one of its keys: .*there is no signature"):
            read(RSA, work="none")
        for key in (RSA, ED, SUBKEY):
            place.write_text(key.detached(repomd.read_bytes()))
            view = read(OTHER_RSA, key, work=key.name)
            with self.assertRaisesRegex(ContentError, "signed by an unknown key"):
                read(OTHER_RSA, work=f"other-{key.name}")
        place.unlink()
        self.assertEqual(read(OTHER_RSA, SUBKEY, work=SUBKEY.name, view=view), view)  # the signature is kept beside what it signs
        place.write_text(RSA.detached(repomd.read_bytes() + b" "))
        with self.assertRaisesRegex(ContentError, "does not fit: one of both was changed"):
            read(RSA, work="changed")
        place.write_text("hello")
        with self.assertRaisesRegex(ContentError, "it is no OpenPGP signature"):
            read(RSA, work="text")

    def test_the_host_does_not_decide(self) -> None:
        shutil.which("unshare") or self.fail("unshare is missing")
        if os.environ.get("TOPCOAT_TEST_STRICT_HOST"):
            return
        names = ("test_unsigned", "test_an_unknown_key", "test_a_known_key_whatever_it_signed_and_however", "test_a_changed_payload")
        words = [sys.executable, "-m", "unittest", *(f"tests.functional.rpm.test_signatures.Policies.{name}" for name in names)]
        done = subprocess.run(
            strict_host(*words), cwd=ROOT, env={**os.environ, "TOPCOAT_TEST_STRICT_HOST": "1"}, capture_output=True, text=True, timeout=300
        )
        self.assertEqual(done.returncode, 0, done.stderr)
        level = subprocess.run(strict_host("rpm", "--eval", "%_pkgverify_level"), capture_output=True, text=True)
        self.assertEqual(level.stdout.strip(), "all", level.stderr)


def with_signatures_of(honest: bytes, evil: bytes, further: bytes = b"") -> bytes:
    """An RPM with the OpenPGP signatures of another; its own digests fit.

    :param further: a package whose header signature comes too, in the tag for several.
    """
    from topcoat_demo import _header

    _, good, _ = _header._parse(honest, 96)
    region, own, end = _header._parse(evil, 96)
    own.update({tag: good[tag] for tag in (267, 268, 1002, 1005) if tag in good})
    if further:
        _, more, _ = _header._parse(further, 96)
        packets = [value for tag in (267, 268) for _, _, value in [more.get(tag, (0, 0, b""))] if value]
        own[278] = (8, len(packets), b"".join(base64.b64encode(packet) + b"\0" for packet in packets))
    sealed = _header._emit(region, own)
    start = end + (-end % 8)
    assert struct.unpack(">I", evil[start : start + 4])[0] == 0x8EADE801
    return evil[:96] + sealed + b"\0" * (-len(sealed) % 8) + evil[start:]


if __name__ == "__main__":
    unittest.main()
