"""What is kept."""

from __future__ import annotations

import re
import unittest

from hypothesis import given
from hypothesis import strategies as st

from topcoat.garbage import KeepRules, RepositoryState, decide

DIGESTS = ["sha256:" + letter * 64 for letter in "0123456789abcdef"]


class Deciding(unittest.TestCase):
    def decide(self, tags, *, rules=KeepRules(younger_than=10, newest=0), recorded=(), needed=None, seen=None, now=100.0):
        state = RepositoryState("r", {tag: DIGESTS[number] for tag, number in tags.items()}, needed or {})
        return decide(state, rules, recorded=frozenset(DIGESTS[number] for number in recorded), first_seen=seen or {}, now=now)

    def test_a_tag_never_seen_is_new(self) -> None:
        self.assertEqual({"a": "young"}, dict(self.decide({"a": 0}).kept))

    def test_named_recorded_and_newest_tags_stay(self) -> None:
        seen = dict.fromkeys("abcde", 0.0) | {"d": 1.0}
        rules = KeepRules(tags=frozenset({"a"}), patterns=(re.compile("b"),), younger_than=10, newest=1)
        plan = self.decide(dict(zip("abcde", range(5), strict=True)), rules=rules, recorded=[2], seen=seen)
        self.assertEqual({"a": "named", "b": "pattern", "c": "promoted set", "d": "newest"}, dict(plan.kept))
        self.assertEqual((("e",), (DIGESTS[4],)), (plan.untag, plan.delete))

    def test_children_of_a_kept_index_stay(self) -> None:
        needed = {DIGESTS[0]: (DIGESTS[1], DIGESTS[2]), DIGESTS[3]: (DIGESTS[2], DIGESTS[4])}
        plan = self.decide({"keep": 0, "go": 3}, rules=KeepRules(tags=frozenset({"keep"}), younger_than=1, newest=0), needed=needed, seen={"go": 0.0})
        self.assertEqual((DIGESTS[3], DIGESTS[4]), plan.delete)

    def test_attached_things_share_the_fate_of_their_subject(self) -> None:
        tags = {"keep": 0, "go": 1, "sha256-" + "0" * 64: 2, "sha256-" + "1" * 64: 3, "sha256-" + "f" * 64: 4}
        plan = self.decide(tags, rules=KeepRules(tags=frozenset({"keep"}), younger_than=1, newest=0), seen={"go": 0.0})
        self.assertEqual({"go", "sha256-" + "1" * 64}, set(plan.untag))
        self.assertIn("sha256-" + "f" * 64, plan.kept)  # attached before its image got a tag: an upload may be under way

    def test_what_is_attached_by_a_digest_of_another_kind_stays(self) -> None:
        attached = ("sha512-" + "a" * 64, "sha512-" + "a" * 64 + ".sig", "multihash+base58-" + "b" * 64)
        tags = {**{tag: 1 + number for number, tag in enumerate(attached)}, "keep": 0, "sha512-short": 4}
        rules = KeepRules(tags=frozenset({"keep"}), younger_than=1, newest=0)
        plan = self.decide(tags, rules=rules, seen=dict.fromkeys(tags, 0.0))
        self.assertEqual(("sha512-short",), plan.untag)
        self.assertEqual({"attached"}, {plan.kept[tag] for tag in attached})
        self.assertEqual((DIGESTS[4],), plan.delete)

    @given(
        st.dictionaries(st.sampled_from("abcdefgh"), st.integers(0, 5)),
        st.sets(st.sampled_from("abcdefgh")),
        st.sets(st.integers(0, 5)),
        st.dictionaries(st.integers(0, 5), st.lists(st.integers(0, 5), max_size=3)),
        st.integers(0, 3),
    )
    def test_nothing_that_is_kept_loses_what_it_needs(self, tags, named, recorded, needs, newest) -> None:
        needed = {DIGESTS[one]: tuple(DIGESTS[other] for other in others) for one, others in needs.items()}
        rules = KeepRules(tags=frozenset(named), younger_than=1, newest=newest)
        plan = self.decide(tags, rules=rules, recorded=recorded, needed=needed, seen=dict.fromkeys("abcdefgh", 0.0))
        todo = [DIGESTS[tags[tag]] for tag in plan.kept] + [DIGESTS[number] for number in recorded]
        seen = set()
        while todo:
            digest = todo.pop()
            if digest not in seen:
                seen.add(digest)
                todo += needed.get(digest, ())
        self.assertFalse(seen & set(plan.delete))
        self.assertFalse(set(plan.kept) & set(plan.untag))
        self.assertEqual(set(tags), set(plan.kept) | set(plan.untag))
        self.assertLessEqual(named & set(tags), set(plan.kept))
