"""Layers as lists of files, and the tree that they make."""

from __future__ import annotations

import bz2
import gzip
import io
import lzma
import tarfile
import unittest

import zstandard

from tests.unit.inspection.layers import GROUP, file, folder, layer, link, listing
from topcoat.errors import ContentError
from topcoat.inspection.files import merge, read_layer


class Files(unittest.TestCase):
    def test_a_layer_with_any_compression_and_without(self) -> None:
        for compress in (gzip.compress, bytes, zstandard.ZstdCompressor().compress, lzma.compress, bz2.compress):
            plain = layer(folder("etc/"), file("./etc/group", GROUP), file("usr/bin/x", "#!/bin/sh\nlong", mode=0o755), compress=False)
            found = read_layer(io.BytesIO(compress(plain)))
            self.assertEqual(sorted(found.entries), ["etc", "etc/group", "usr/bin/x"])
            self.assertEqual(found.contents["etc/group"].decode(), GROUP)
            self.assertEqual(found.entries["usr/bin/x"].head, b"#!/bin/sh\nlong")

    def test_what_is_no_tar_is_a_clear_error(self) -> None:
        for data in (b"no tar at all" * 100, layer(file("a"))[:-20], b"\x28\xb5\x2f\xfd" + b"zstd" * 500):
            with self.assertRaises(ContentError):
                read_layer(io.BytesIO(data))

    def test_whiteouts_opaque_directories_and_type_changes(self) -> None:
        below = listing(
            folder("a"), file("a/one", "1"), file("a/two", "22"), folder("b"), file("b/deep", "333"), file("c", "4444"), folder("d"), file("d/x")
        )
        above = listing(file("a/.wh.one", ""), file("b/.wh..wh..opq", ""), file("b/new", "5"), file("c", "6"), file("d", "now a file"))
        tree = merge([below, above])
        self.assertEqual(sorted(tree.entries), ["a", "a/two", "b", "b/new", "c", "d"])
        self.assertTrue(tree.entries["d"].is_file)
        self.assertEqual(tree.hidden_bytes, 1 + 3 + 4 + 1, "a/one, b/deep, the first c, d/x")

    def test_a_whiteout_removes_what_lies_below_it_but_not_its_namesakes(self) -> None:
        tree = merge([listing(file("a/b/c"), file("a/bc")), listing(file("a/.wh.b", ""))])
        self.assertEqual(sorted(tree.entries), ["a/bc"])

    def test_a_hard_link_is_the_same_file(self) -> None:
        found = listing(file("a", "x", mode=0o755), ("b", {"type": tarfile.LNKTYPE, "link": "a"}))
        self.assertEqual(found.entries["b"], found.entries["a"])

    def test_links_are_followed_inside_the_image_only(self) -> None:
        tree = merge(
            [
                listing(
                    link("bin", "usr/bin"), file("usr/bin/x"), link("usr/bin/y", "../../../../usr/bin/x"), link("loop", "loop"), link("z", "/bin/y")
                )
            ]
        )
        self.assertEqual(tree.resolve("/bin/x"), "usr/bin/x")
        self.assertEqual(tree.resolve("/bin/y"), "usr/bin/x")
        self.assertEqual(tree.resolve("/z"), "usr/bin/x")
        self.assertEqual(tree.resolve("/../bin/./x"), "usr/bin/x")
        self.assertIsNone(tree.resolve("/loop"))
        self.assertIsNone(tree.resolve("/usr/bin/none"))
