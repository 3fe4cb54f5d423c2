"""What reading a set asks the registry for."""

from __future__ import annotations

import tempfile
from pathlib import Path

from tests.functional.promotion.base import SetCase
from topcoat.model import Base, Profile
from topcoat.sets import SetReader, find


class Reading(SetCase):
    def test_each_manifest_of_a_tag_is_asked_for_once(self) -> None:
        digests = self.push_set("reading", "hash-1")
        registries = self.registries()
        profile = Profile("test", "demo", "9", "x86_64", Base("x/y"), (), self.server.host, "reading")
        traffic = registries.client(self.server.host).traffic
        found = find("hash-1", registries=registries, profile=profile, images=(*self.names, "not-there"))
        self.assertEqual(digests, found.digests)
        before = dict(traffic.requests)
        with tempfile.TemporaryDirectory() as work:
            facts = SetReader(registries, Path(work), profile.platform).facts(found)
        self.assertEqual(digests, {name: one.digest for name, one in facts.items()})
        # nothing but the configuration of each image is left to ask for
        self.assertEqual({**before, "GET": before["GET"] + len(self.names)}, dict(traffic.requests))
