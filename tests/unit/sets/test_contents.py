"""What is written about a set comes back as it was, and damage is one line."""

from __future__ import annotations

import json
import unittest

from hypothesis import given
from hypothesis import strategies as st
from isal import isal_zlib

from topcoat.changes import ImageFacts
from topcoat.errors import ContentError
from topcoat.sets.contents import pack, unpack

TEXT = st.from_regex(r"[a-z][a-z0-9.:+-]{0,12}", fullmatch=True)
DIGEST = st.integers(0, 9).map(lambda number: "sha256:" + str(number) * 64)
PACKAGES = st.frozensets(st.tuples(TEXT, TEXT, st.integers(0, 1 << 40)), max_size=6)
FACTS = st.builds(ImageFacts, DIGEST, st.none() | PACKAGES, st.just({}), TEXT, st.dictionaries(TEXT, TEXT, max_size=2), TEXT, TEXT)


class Contents(unittest.TestCase):
    @given(st.dictionaries(TEXT, FACTS, max_size=5))
    def test_round_trip(self, facts: dict[str, ImageFacts]) -> None:
        found = unpack(pack(facts))
        self.assertEqual(facts, found)
        self.assertEqual([one.parts for one in facts.values()], [found[name].parts for name in facts])
        self.assertEqual(pack(facts), pack(dict(reversed(facts.items()))))

    @given(st.dictionaries(TEXT, FACTS, max_size=3), st.dictionaries(TEXT, FACTS, max_size=3))
    def test_of_an_index_each_platform_gets_its_own(self, facts: dict[str, ImageFacts], others: dict[str, ImageFacts]) -> None:
        content = pack(facts, "linux/amd64", {"linux/arm64": others})
        self.assertEqual([facts, others, {}], [unpack(content, f"linux/{name}") for name in ("amd64", "arm64", "s390x")])
        self.assertEqual({}, unpack(pack(facts, "linux/amd64"), "linux/arm64"))

    def test_one_place_of_a_changelog_is_enough_for_the_set(self) -> None:
        digests = ["sha256:" + letter * 64 for letter in "ab"]
        packages = frozenset({("n-1-1.noarch", "n.src.rpm", 1)})
        facts = {name: ImageFacts(digest, packages, {"n.src.rpm": digest}) for name, digest in zip("xy", digests, strict=True)}
        self.assertEqual([{"n.src.rpm": digests[0]}] * 2, [one.changelogs for one in unpack(pack(facts)).values()])

    def test_what_is_damaged_is_one_line(self) -> None:
        whole = pack({"a": ImageFacts("sha256:" + "0" * 64, frozenset({("n-1-1.noarch", "n.src.rpm", 1)}))})
        document = json.loads(isal_zlib.decompress(whole, 31))
        broken = [b"", b"x", whole[:-4]]
        for change in ({"schema": "other"}, {"lists": [[7]]}, {"lists": [[-1]]}, {"packages": [[1]]}, {"images": []}, {"changelogs": {"x": ["y"]}}):
            engine = isal_zlib.compressobj(1, isal_zlib.DEFLATED, 31)
            broken.append(engine.compress(json.dumps({**document, **change}).encode()) + engine.flush())
        for content in broken:
            with self.subTest(content=content[:20]), self.assertRaises(ContentError):
                unpack(content)
