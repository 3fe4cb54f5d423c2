"""What a tree is said to hold, from layers as streams."""

import gzip
import hashlib
import io
import tarfile
import unittest

from topcoat.errors import ContentError
from topcoat.synthesis import add_layer, merge, read_listing
from topcoat.synthesis.listing import Listing


def layer(*entries: tuple[str, bytes | str | None], hard: tuple[str, str] | None = None, mode: int = 0o755) -> Listing:
    """A layer: text is a link's target, None a directory."""
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w") as archive:
        for name, content in entries:
            info = tarfile.TarInfo(name)
            info.mode = 0o755
            if content is None:
                info.type = tarfile.DIRTYPE
            elif isinstance(content, str):
                info.type, info.linkname = tarfile.SYMTYPE, content
            else:
                info.size = len(content)
            archive.addfile(info, io.BytesIO(content) if isinstance(content, bytes) else None)
        if hard:
            info = tarfile.TarInfo(hard[0])
            info.mode = mode
            info.type, info.linkname = tarfile.LNKTYPE, hard[1]
            archive.addfile(info)
    return read_listing(io.BytesIO(out.getvalue()))


class Merged(unittest.TestCase):
    def test_what_layers_above_hide_is_gone_and_their_own_stays(self) -> None:
        below = layer(("a", None), ("a/one", b"1"), ("a/two", b"2"), ("b", None), ("b/old", b"o"))
        above = layer(("a/.wh.one", b""), ("b/.wh..wh..opq", b""), ("b/new", b"n"))
        tree = merge([below, above])
        self.assertEqual(sorted(tree.nodes), ["a", "a/two", "b", "b/new"])
        self.assertEqual((tree.children("a"), tree.children("b")), ({"two"}, {"new"}))

    def test_a_file_in_the_place_of_a_folder_hides_what_was_below(self) -> None:
        tree = merge([layer(("a", None), ("a/b/c", b"1")), layer(("a", b"file"))])
        self.assertEqual(sorted(tree.nodes), ["a"])
        self.assertFalse(tree.has("a/b"))

    def test_a_hard_link_is_what_it_is_a_link_of(self) -> None:
        tree = merge([layer(("a", b"content")), layer(hard=("b", "a"))])
        self.assertEqual(tree.nodes["b"].digest, hashlib.sha256(b"content").hexdigest())
        self.assertEqual(tree.odd, "")
        self.assertIn("hard link of nothing", merge([layer(hard=("b", "absent"))]).odd)

    def test_names_of_one_file_that_say_different_things_cannot_be_relied_on(self) -> None:
        for below in ([layer(("a", b"content")), layer(hard=("b", "a"), mode=0)], [layer(("a", b"content"), hard=("b", "a"), mode=0)]):
            self.assertIn("/b and /a are one file", merge(below).odd)

    def test_an_entry_below_a_link_cannot_be_relied_on(self) -> None:
        self.assertIn("no directory", merge([layer(("run", None), ("var/run", "../run")), layer(("var/run/x", b""))]).odd)

    def test_accounts_are_those_of_the_newest_layer(self) -> None:
        tree = merge([layer(("etc/passwd", b"nova:x:1:1::/:\n")), layer(("etc/passwd", b"nova:x:2:2::/:\nnova:x:3:3::/:\nbad\n"))])
        self.assertEqual(tree.ids("etc/passwd"), {"nova": 2})
        self.assertEqual(merge([layer(("etc/passwd", b"a:x:1:1")), layer(("etc/.wh.passwd", b""))]).contents, {})

    def test_numbers_of_accounts_are_numbers_and_a_line_feed_ends_a_line(self) -> None:
        text = "a:x:\u00b2:2\nb:x:-1:1\nc:x:4294967295:1\nd:x:5:5:\x0croot:x:7:7\ne:x:\u0663:1\nf:x:6:6"
        self.assertEqual({"d": 5, "f": 6}, merge([layer(("etc/passwd", text.encode()))]).ids("etc/passwd"))

    def test_a_name_that_leads_out_and_a_cut_off_layer_are_the_layers_fault(self) -> None:
        with self.assertRaises(ContentError):
            layer(("a/../../etc/passwd", b"x"))
        with self.assertRaises(ContentError):
            read_listing(io.BytesIO(b"x" * 700))


class Links(unittest.TestCase):
    def test_links_to_folders_are_told_from_others_and_circles_end(self) -> None:
        tree = merge(
            [layer(("usr/bin", None), ("usr/bin/sh", b""), ("bin", "usr/bin"), ("sh", "/bin/sh"), ("a", "b"), ("b", "a"), ("up", "../../usr"))]
        )
        self.assertEqual(dict(tree.directory_links()), {"bin": "usr/bin", "up": "usr"})
        self.assertEqual(tree.resolve("/sh"), "usr/bin/sh")

    def test_what_is_kept_reads_back(self) -> None:
        one = layer(("etc/passwd", b"\xffa:x:1:1\n"), ("l", "x"), ("etc/group", b""), ("d/.wh.gone", b""), ("e/.wh..wh..opq", b""), hard=("h", "l"))
        self.assertEqual(Listing.from_bytes(one.to_bytes()), one)
        kept = one.to_bytes()
        for damaged in (b"", b"{}", kept[:-20], gzip.compress(b'{"version":2}\n'), gzip.compress(gzip.decompress(kept) + b"more")):
            with self.assertRaises(ContentError):
                Listing.from_bytes(damaged)

    def test_a_copy_changes_alone(self) -> None:
        tree = merge([layer(("d", None), ("d/one", b"1"))])
        other = tree.copy()
        add_layer(other, layer(("d/.wh.one", b""), ("d/two", b"2"), ("etc/passwd", b"x")))
        self.assertEqual((sorted(tree.nodes), tree.children("d"), tree.contents), (["d", "d/one"], {"one"}, {}))
        self.assertEqual((sorted(other.nodes), other.children("d")), (["d", "d/two", "etc/passwd"], {"two"}))
