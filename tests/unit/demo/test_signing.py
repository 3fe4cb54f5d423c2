"""Signed packages of the demo distribution: another OpenPGP reads the keys and finds the signatures good. rpm judges in functional tests."""

import tempfile
import unittest
from pathlib import Path

import rpm_rs
from cryptography.hazmat.primitives.asymmetric import rsa

from topcoat_demo import signing
from topcoat_demo.rpms import File, RpmSpec, build_rpm

SPEC = RpmSpec("a", "1", files=(File("/usr/share/a", "text\n"),))


def good(package: bytes, key: signing.Key) -> bool:
    with tempfile.TemporaryDirectory(prefix="signing-") as folder:
        path = Path(folder) / "a.rpm"
        path.write_bytes(package)
        try:
            rpm_rs.Package.open(str(path)).verify_signature(rpm_rs.Verifier(key.armored().encode()))
        except RuntimeError:
            return False
        return True


class Signing(unittest.TestCase):
    def test_same_key_and_package_same_bytes_and_the_digests_stay_right(self) -> None:
        for key in (signing.DEMO, signing.key("x"), signing.key("x", "ecdsa")):
            package = build_rpm(SPEC, signer=key)
            self.assertEqual(package, build_rpm(SPEC, signer=signing.Key(key.name, key.kind)))
            rpm_rs.Package.from_bytes(package).verify_digests()

    def test_only_the_key_that_signed_verifies(self) -> None:
        keys = (signing.DEMO, signing.key("demo distribution, second", "rsa"), signing.key("x"), signing.key("x", "ecdsa"))
        for one in keys:
            for tags in (("header",), ("header", "payload")):
                package = build_rpm(SPEC, signer=one.only(*tags))
                self.assertEqual([other for other in keys if good(package, other)], [one])

    def test_unsigned_unless_told(self) -> None:
        self.assertFalse(good(build_rpm(SPEC), signing.DEMO))

    def test_the_key_is_a_proper_one_of_4096_bits(self) -> None:
        secret = signing._secret(signing.DEMO.name, "rsa")
        assert isinstance(secret, rsa.RSAPrivateKey)
        self.assertEqual(secret.key_size, 4096)
        secret.private_numbers().private_key()  # raises when the numbers do not belong together


if __name__ == "__main__":
    unittest.main()
