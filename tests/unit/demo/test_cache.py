"""What the account's cache keeps when selections and code move on."""

import os
import tempfile
import time
import unittest
from pathlib import Path
from unittest import mock

from topcoat_demo import cache as caches
from topcoat_demo import distribution as distributions


class Kept(unittest.TestCase):
    def setUp(self) -> None:
        holder = tempfile.TemporaryDirectory(prefix="demo-cache-")
        self.addCleanup(holder.cleanup)
        self.cache = Path(holder.name)

    def entry(self, name: str, hours: float, size: int = 1000) -> Path:
        """A conversion (a folder) or an archive, last used so many hours ago."""
        path = self.cache / name
        if path.suffix == ".deb":
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(bytes(size))
        else:
            path.mkdir(parents=True)
            (path / "a.rpm").write_bytes(bytes(size))
        os.utime(path, (time.time() - hours * 3600,) * 2)
        return path

    def names(self, *pattern: str) -> list[str]:
        return sorted(path.name for one in pattern for path in self.cache.glob(one))

    def test_what_a_selection_names_stays_and_of_the_rest_the_latest_up_to_the_bound(self) -> None:
        named = self.entry("rpms/aa/named", 900)
        for hours in (2, 3, 4, 5):
            self.entry(f"rpms/bb/{hours}", hours)
        caches.use(self.cache, "world", [named, self.cache / "rpms/cc/missing"])
        self.assertEqual(caches.sweep(self.cache, spare=2500), 2000)
        self.assertEqual(self.names("rpms/*/*"), ["2", "3", "named"])

    def test_every_selection_counts_until_it_names_something_else(self) -> None:
        first, second = self.entry("debs/first.deb", 2), self.entry("debs/second.deb", 2)
        caches.use(self.cache, "world", [first])
        caches.use(self.cache, "base", [second])
        for path in (first, second):
            os.utime(path, (0, 0))
        caches.sweep(self.cache, spare=0)
        self.assertEqual(self.names("debs/*"), ["first.deb", "second.deb"])
        caches.use(self.cache, "world", [])
        caches.sweep(self.cache, spare=0)
        self.assertEqual(self.names("debs/*"), ["second.deb"])

    def test_what_was_used_within_the_hour_stays_whatever_its_size(self) -> None:
        self.entry("rpms/aa/fresh", 0.5)
        self.entry("rpms/aa/old", 2)
        caches.sweep(self.cache, spare=0)
        self.assertEqual(self.names("rpms/aa/*"), ["fresh"])

    def test_another_checkouts_distribution_replaces_none_that_a_demo_runs_on(self) -> None:
        keys = iter(("first", "second", "third"))

        def make(directory: Path, **_: object) -> distributions.Distribution:
            (directory / "repos").mkdir(parents=True)
            return distributions.Distribution(directory, None, None, ())  # type: ignore[arg-type]

        with (
            mock.patch.object(distributions, "make", make),
            mock.patch.object(distributions, "_key", lambda quick: next(keys)),
            mock.patch.object(caches, "SPARE_BYTES", 0),
            mock.patch.object(caches, "_FRESH_SECONDS", -1.0),
        ):
            with distributions.used(cache=self.cache) as first:
                distributions.shared(cache=self.cache)
                self.assertTrue(first.repositories.is_dir())
                self.assertEqual(self.names("distributions/*-*"), ["full-first", "full-second"])
            distributions.shared(cache=self.cache)
        self.assertEqual(self.names("distributions/*-*"), ["full-third"])


if __name__ == "__main__":
    unittest.main()
