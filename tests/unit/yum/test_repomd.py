"""What a repomd.xml may say, and what is refused."""

from __future__ import annotations

import unittest

from topcoat.yum import repomd

NAMESPACE = "http://linux.duke.edu/metadata/repo"


def document(*records: str) -> bytes:
    return f'<repomd xmlns="{NAMESPACE}"><revision>1</revision>{"".join(records)}</repomd>'.encode()


def record(kind: str = "primary", href: str = "repodata/p.xml.gz", checksum: str = "ab" * 32, algorithm: str = "sha256") -> str:
    return (
        f'<data type="{kind}"><checksum type="{algorithm}">{checksum}</checksum><open-checksum type="sha256">ff</open-checksum>'
        f'<location href="{href}"/><size>12</size><open-size>99</open-size></data>'
    )


class Repomd(unittest.TestCase):
    def test_records(self) -> None:
        found = repomd.parse(document(record(), record("filelists", "repodata/f.xml.zst")))
        self.assertEqual(sorted(found), ["filelists", "primary"])
        self.assertEqual(
            (found["primary"].href, found["primary"].size, str(found["primary"].checksum)), ("repodata/p.xml.gz", 12, f"sha256:{'ab' * 32}")
        )

    def test_refused(self) -> None:
        cases = {
            "not xml": b"<html><body>It works!</body>",
            "empty": b"",
            "not repomd": b"<html></html>",
            "no primary": document(record("filelists")),
            "no checksum": document('<data type="primary"><location href="repodata/p.xml"/></data>'),
            "no location": document('<data type="primary"><checksum type="sha256">ab</checksum></data>'),
            "bomb": b'<!DOCTYPE r [<!ENTITY a "x"><!ENTITY b "&a;&a;&a;&a;&a;&a;&a;&a;">'
            + b"".join(f'<!ENTITY {chr(99 + i)} "{f"&{chr(98 + i)};" * 60}">'.encode() for i in range(8))
            + b"]><repomd>&j;</repomd>",
        }
        for name, text in cases.items():
            with self.subTest(name), self.assertRaises(ValueError):
                repomd.parse(text)

    def test_location_stays_in_the_repository(self) -> None:
        for href in ("../../etc/passwd", "/etc/passwd", "a/../../b", "", "http://elsewhere/p.xml", "file:///etc/passwd", "a\0b"):
            with self.subTest(href), self.assertRaises(ValueError):
                repomd.safe_href(href)
        self.assertEqual(repomd.safe_href("repodata/a..b.xml"), "repodata/a..b.xml")
