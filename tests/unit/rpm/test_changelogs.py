"""Changelogs: packed, and what of one is newer."""

from __future__ import annotations

import gzip
import unittest
from dataclasses import replace

from topcoat.errors import ContentError
from topcoat.model import Nevra
from topcoat.rpm.changelogs import ChangelogEntry, newer, pack, unpack
from topcoat.rpm.inventory import InstalledPackage, Inventory, assemble, listing

OLD, MID, NEW = (ChangelogEntry(time, "a@example.org", f"- {time}") for time in (100, 200, 300))


class Bundles(unittest.TestCase):
    def test_a_bundle_reads_back_and_is_the_same_every_time(self) -> None:
        content = {"b.src.rpm": (NEW, OLD), "a.src.rpm": (OLD,)}
        self.assertEqual(content, unpack(pack(content)))
        self.assertEqual(pack(content), pack(dict(reversed(content.items()))))

    def test_what_is_no_bundle(self) -> None:
        good = pack({"a": (OLD,)})
        for content in (b"", b"x", good[:-9], gzip.compress(b"[]"), gzip.compress(b'{"a": [1]}'), gzip.compress(b"[" * 100_000)):
            with self.subTest(content=content[:9]), self.assertRaises(ContentError):
                unpack(content)

    def test_newer_is_what_the_other_lacks_and_did_not_forget(self) -> None:
        same_day = ChangelogEntry(200, "b@example.org", "- the same day")
        for entries, than, expected in (
            ((NEW, MID, OLD), (MID, OLD), (NEW,)),
            ((NEW, same_day, MID), (MID,), (NEW, same_day)),
            ((NEW, MID, OLD), (MID,), (NEW,)),  # OLD was cut off there
            ((NEW,), (), (NEW,)),
        ):
            with self.subTest(expected=expected):
                self.assertEqual(expected, newer(entries, than))


class Kept(unittest.TestCase):
    def inventory(self, *sources: str, read: bool = True) -> Inventory:
        packages = tuple(InstalledPackage(Nevra.parse(f"{name}-1-1.noarch"), f"{name}.src.rpm", 1) for name in sources)
        found = assemble(packages, b"solv", "/var/lib/rpm/rpmdb.sqlite")
        return replace(found, read_changelogs={f"{name}.src.rpm": (OLD,) for name in sources} if read else {})

    def test_only_what_the_image_below_has_not_is_packed(self) -> None:
        below, first = self.inventory("a", "gone").with_changelogs(None)
        above, second = self.inventory("a", "b").with_changelogs(below)
        assert first is not None and second is not None
        self.assertEqual({"b.src.rpm"}, set(unpack(second)))
        self.assertEqual(below.changelog_bundles["a.src.rpm"], above.changelog_bundles["a.src.rpm"])
        self.assertNotIn("gone.src.rpm", above.changelog_bundles)
        self.assertEqual(above.changelog_bundles, Inventory.from_files(above.to_files()).changelog_bundles)
        self.assertEqual(above.changelog_bundles, listing(above.to_files()["packages.json"]).changelogs)
        self.assertIsNone(self.inventory("a").with_changelogs(below)[1])

    def test_an_inventory_without_changelogs_has_the_bytes_that_it_always_had(self) -> None:
        self.assertNotIn(b"changelogs", self.inventory("a", read=False).with_changelogs(None)[0].to_files()["packages.json"])
