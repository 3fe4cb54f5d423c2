"""What keys and signatures say about themselves, and that damage of any kind is one sentence, never a traceback."""

import random
import unittest

from topcoat.rpm import header, openpgp
from topcoat_demo import signing
from topcoat_demo.rpms import RpmSpec, build_rpm


class Keys(unittest.TestCase):
    def test_kinds(self) -> None:
        for key in (signing.DEMO, signing.key("x"), signing.key("x", "ecdsa"), signing.key("x", subkey="ed25519"), signing.key("x", "unknown")):
            for data in (
                key.armored().encode(),
                key.certificate(),
                b"text before\n" + key.armored().replace("\n", "\r\n").encode() + b"\ntext after",
            ):
                (found,) = openpgp.public_keys(data)
                self.assertEqual((found.fingerprint, found.created), (key.fingerprint, signing.CREATED))
                self.assertIn(key.signing_id, found.ids)
                self.assertEqual(bool(found.algorithm_name), key.kind != "unknown")
                self.assertEqual(found.armored(), key.armored())

    def test_expiry_and_revocation(self) -> None:
        for key, expected in ((signing.key("x"), (0, False)), (signing.key("x", expires=9, revoked=True), (signing.CREATED + 9, True))):
            (found,) = openpgp.public_keys(key.certificate())
            self.assertEqual((found.expires, found.revoked), expected)

    def test_a_subkey_expires_and_is_revoked_by_itself(self) -> None:
        key = signing.key("x", subkey="ed25519")
        both = [key._primary.hashed(), key._signer.hashed()]
        lifetime = signing._subpacket(9, (60).to_bytes(4, "big"))
        more = key._primary.sign(0x18, both, signing.CREATED + 1, lifetime) + key._primary.sign(0x28, both, signing.CREATED + 2)
        (found,) = openpgp.public_keys(key.certificate() + more)
        self.assertEqual((found.expires, found.revoked, found.revoked_subkeys), (0, False, (key.signing_id,)))
        self.assertEqual((found.expiry(key.signing_id), found.expiry(found.key_id)), (signing.CREATED + 60, 0))

    def test_the_signature_of_somebody_else_neither_revokes_nor_prolongs(self) -> None:
        other = signing.key("other")
        foreign = other._primary.sign(0x20, [b""], signing.CREATED)
        (found,) = openpgp.public_keys(signing.key("x").certificate() + foreign)
        self.assertFalse(found.revoked)

    def test_several_keys_in_one_file(self) -> None:
        keys = (signing.DEMO, signing.key("x"))
        blocks = "".join(key.armored() for key in keys).encode()
        for data in (blocks, b"".join(key.certificate() for key in keys)):
            self.assertEqual([found.fingerprint for found in openpgp.public_keys(data)], [key.fingerprint for key in keys])

    def test_damage(self) -> None:
        chance = random.Random(1)
        whole = signing.key("x", subkey="ed25519", expires=5).certificate()
        for _ in range(3000):
            data = bytearray(whole[: chance.randrange(len(whole) + 1)])
            for _ in range(chance.randrange(4)):
                if data:
                    data[chance.randrange(len(data))] = chance.randrange(256)
            for read in (openpgp.public_keys, openpgp.signature):
                try:
                    read(bytes(data))
                except ValueError as error:
                    self.assertNotIn("\n", str(error))


class Headers(unittest.TestCase):
    def test_damage(self) -> None:
        chance = random.Random(2)
        whole = build_rpm(RpmSpec("a", "1"), signer=signing.key("x"))
        blob = whole[whole.rindex(b"\x8e\xad\xe8\x01") + 8 :]
        self.assertEqual(header.stored(blob).nevra, "a-0:1-1.el9.noarch")
        for _ in range(3000):
            data = bytearray(blob[: chance.randrange(len(blob) + 1)])
            for _ in range(chance.randrange(4)):
                if data:
                    data[chance.randrange(min(len(data), 900))] = chance.randrange(256)
            try:
                header.stored(bytes(data))
            except header.Damaged as error:
                self.assertNotIn("\n", str(error))


if __name__ == "__main__":
    unittest.main()
