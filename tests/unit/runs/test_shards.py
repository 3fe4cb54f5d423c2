"""Shards: nothing falls between two parts, and every part can be carried out alone."""

import unittest

from hypothesis import given
from hypothesis import strategies as st

from topcoat.errors import UsageError
from topcoat.model import Plan, PlannedImage, Reason, Shard
from topcoat.runs.shards import names_of, parse_shard


@st.composite
def plans(draw):
    images = []
    for number in range(draw(st.integers(1, 30))):
        reason = draw(st.sampled_from([Reason.FULL_REBUILD, Reason.RPM_GATED, Reason.UNCHANGED]))
        parent = draw(st.sampled_from([None, *[image.name for image in images]]))
        images.append(PlannedImage(f"i{number}", reason, "", parent, "f"))
    return Plan("p", tuple(images))


class ShardTest(unittest.TestCase):
    @given(plans(), st.integers(1, 5))
    def test_every_image_is_in_a_part_with_the_builds_it_stands_on(self, plan, total):
        parts = [names_of(plan, Shard(number, total)) for number in range(1, total + 1)]
        self.assertEqual(set().union(*parts), {image.name for image in plan.images})
        for part in parts:
            for name in part:
                image = plan.of(name)
                if image.reason is Reason.FULL_REBUILD and image.parent and plan.of(image.parent).reason is Reason.FULL_REBUILD:
                    self.assertIn(image.parent, part)

    @given(plans())
    def test_one_part_is_the_plan(self, plan):
        self.assertEqual(names_of(plan, Shard(1, 1)), {image.name for image in plan.images})

    @given(plans(), st.integers(2, 4))
    def test_work_that_needs_no_parent_is_done_once(self, plan, total):
        parts = [names_of(plan, Shard(number, total)) for number in range(1, total + 1)]
        for image in plan.images:
            if image.reason is not Reason.FULL_REBUILD:
                self.assertEqual(sum(image.name in part for part in parts), 1, image.name)

    def test_words(self):
        self.assertEqual(parse_shard("2/3"), Shard(2, 3))
        for text in ("0/2", "3/2", "1", "a/b", "1/0", "-1/2", ""):
            with self.subTest(text), self.assertRaises(UsageError):
                parse_shard(text)
