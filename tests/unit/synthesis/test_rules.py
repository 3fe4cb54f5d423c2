"""Which updates can be composed, and what they come to: rules on real headers, without an image."""

import io
import tempfile
import unittest
from pathlib import Path

from hypothesis import given, settings
from hypothesis import strategies as st

from topcoat.errors import ContentError
from topcoat.synthesis import Filters, Layout, Node, Package, Refusal, Tree, check_scripts, compose
from topcoat.synthesis.package import read_rpm
from topcoat.synthesis.payload import number, read_payload
from topcoat_demo.rpms import EPOCH, File, RpmSpec, Trigger, config, directory, symlink, write_rpm

NANO = 1_000_000_000
FOLDER = Node("d", 0o755, 0, 0, 5 * NANO)
FILE = Node("f", 0o755, 0, 0, 0)


def rpm(spec: RpmSpec) -> bytes:
    """The bytes of a package."""
    with tempfile.TemporaryDirectory() as folder:
        return write_rpm(spec, Path(folder)).read_bytes()


def package(name: str, *files: File, version: str = "1", **more: object) -> Package:
    """A package's header."""
    return read_rpm(io.BytesIO(rpm(RpmSpec(name, version, files=files, **more))))  # type: ignore[arg-type]


def tree(**nodes: Node) -> Tree:
    """A tree with a shell; ``__`` in names is a slash."""
    shell = {"bin": FOLDER, "bin/sh": FILE, "opt": FOLDER, "etc": FOLDER}
    return Tree({**shell, **{path.replace("__", "/"): node for path, node in nodes.items()}}, {"etc/passwd": b"nova:x:42:43::/:"})


def composed(found: Tree, installs: list[Package], removes: list[Package] | None = None, others: list[Package] | None = None) -> Layout:
    """A layout."""
    return compose(found, installs, removes or [], others or [], epoch=7)


class Scripts(unittest.TestCase):
    def check(self, new: Package, *, old: tuple[Package, ...] = (), others: tuple[Package, ...] = (), found: Tree | None = None) -> None:
        check_scripts([new], old, others, found or tree())

    def test_what_is_known_word_for_word_does_nothing(self) -> None:
        for body in ("", "\n# a remark\n:\n", "exit 0", "true"):
            self.check(package("a", post=body or "\n"))
        self.check(package("a", preun="rm -rf /"))  # not of this transaction

    def test_everything_else_is_refused(self) -> None:
        helper = "/usr/lib/systemd/systemd-update-helper"
        for body in ("ldconfig", "exit 1", ": > /etc/x", "true; rm x", f"{helper} install-system-units a", f'if [ -x "{helper}" ]; then\nrm\nfi'):
            with self.subTest(body), self.assertRaises(Refusal):
                self.check(package("a", post=body))
        with self.assertRaises(Refusal):
            self.check(package("a", version="2"), old=(package("a", postun="rm x"),))
        with self.assertRaises(Refusal):
            self.check(package("a", post="true"), found=Tree())  # there is no shell: it would fail

    def test_triggers_count_where_they_would_fire(self) -> None:
        new = package("a", File("/opt/a/x"))
        self.check(new, others=(package("b", triggers=(Trigger("triggerin", "c", "rm"), Trigger("filetriggerin", "/usr", "rm"))),))
        for trigger in (Trigger("triggerpostun", "a", "rm"), Trigger("transfiletriggerin", "/opt", "rm"), Trigger("filetriggerin", "/opt/a/x", "rm")):
            with self.subTest(trigger.kind), self.assertRaises(Refusal):
                self.check(new, others=(package("b", triggers=(trigger,)),))
        with self.assertRaises(Refusal):
            self.check(package("a", triggers=(Trigger("triggerin", "b", "rm"),)), others=(package("b"),))


class Files(unittest.TestCase):
    def test_files_come_with_their_owners_and_the_folders_above_keep_theirs(self) -> None:
        found = composed(tree(), [package("a", File("/opt/x", "1", user="nova"), directory("/opt/new"), File("/opt/new/y", "2"))]).entries
        self.assertEqual((found["opt/x"].uid, found["opt/x"].gid, found["opt/x"].mtime), (42, 0, EPOCH * NANO))
        self.assertEqual(found["opt"].mtime, 5 * NANO)
        self.assertEqual(found["opt/new"].mtime, 7 * NANO, "it got a file afterwards")

    def test_a_directory_whose_attributes_nobody_knows_is_refused(self) -> None:
        odd = tree(opt=FOLDER._replace(attributed=True), opt__a=FOLDER)
        for file in (File("/opt/x", "1"), File("/opt/a/x", "1"), directory("/opt")):
            with self.subTest(file.path), self.assertRaisesRegex(Refusal, "the directory /opt has extended attributes"):
                composed(odd, [package("a", file)])

    def test_what_goes_is_hidden_unless_somebody_else_has_it(self) -> None:
        old = package("a", directory("/opt/a"), File("/opt/a/x", "1"), File("/opt/shared", "s"), File("/opt/gone", "g"))
        found = tree(opt__a=FOLDER, opt__a__x=FILE, opt__shared=FILE)
        layout = composed(found, [], [old], [package("b", File("/opt/shared", "s"))])
        self.assertEqual((layout.whiteouts, list(layout.entries)), (["opt/a"], ["opt"]))
        kept = composed(tree(opt__a=FOLDER, opt__a__x=FILE, opt__a__mine=FILE), [], [old])
        self.assertEqual(kept.whiteouts, ["opt/a/x"])

    def test_a_directory_goes_where_it_is_empty_by_its_turn(self) -> None:
        found = tree(opt__a=FOLDER, opt__a__x=FILE)
        above, below = package("a", directory("/opt/a")), package("b", File("/opt/a/x"))
        self.assertEqual(composed(found, [], [below, above]).whiteouts, ["opt/a"])
        self.assertEqual(composed(found, [], [above, below]).whiteouts, ["opt/a/x"])

    def test_refusals(self) -> None:
        link = Node("l", 0o777, 0, 0, 0, "opt")
        cases = {
            "is a link": (tree(link=link), [package("a", File("/link/x"))], []),
            "needs the user": (tree(), [package("a", File("/opt/x", user="other"))], []),
            "becomes a file": (tree(opt__x=FOLDER), [package("a", File("/opt/x"))], []),
            "becomes a directory": (tree(opt__x=FILE), [package("a", directory("/opt/x"))], []),
            "makes the account": (tree(), [package("a", provides=("user(x)",))], []),
            "puts an account into a group": (tree(), [package("a", provides=("user(nova)", "groupmember(nova/root)"))], []),
            "holds the image's accounts": (tree(), [package("a", File("/etc/passwd"))], []),
            "comes with two packages": (tree(), [package("a", File("/opt/x", "1")), package("b", File("/opt/x", "2"))], []),
            "no layer names the directory": (Tree({"opt/x/y": FILE}), [package("a", File("/opt/x/z"))], []),
            "exists already": (tree(etc__c=FILE._replace(digest="0" * 64)), [package("a", config("/etc/c", "1", noreplace=False))], []),
            "is another one in each": (
                tree(opt__x=FILE),
                [],
                [package("a", File("/opt/x", "1")), package("b", config("/opt/x", "1"))],
            ),
            "goes": (tree(etc__c=FILE._replace(digest="0" * 64)), [], [package("a", config("/etc/c", "1"))]),
            "capabilities of a kind": (tree(), [package("a", File("/opt/x", "1", caps="cap_chown=p cap_kill=e"))], []),
        }
        for reason, (found, new, old) in cases.items():
            with self.subTest(reason), self.assertRaises(Refusal) as caught:
                composed(found, new, old)
            self.assertIn(reason, caught.exception.reason)

    def test_what_differs_from_another_package_is_refused(self) -> None:
        with self.assertRaises(Refusal):
            composed(tree(), [package("a", File("/opt/x", "1"))], [], [package("b", File("/opt/x", "2"))])

    def test_what_rpm_leaves_out_is_told_by_kind_language_and_what_is_left_of_a_folder(self) -> None:
        files = (File("/opt/a/doc", doc=True), directory("/opt/a"), File("/opt/de", language="de|de_DE"), File("/opt/fr", language="fr"), File("/x"))
        found = package("a", *files)
        names = [file.path for file in found.files]

        def left_out(filters: Filters) -> set[str]:
            return {names[number] for number in filters.left_out(found)}

        self.assertEqual(left_out(Filters()), set())
        self.assertEqual(left_out(Filters(nodocs=True)), {"opt/a", "opt/a/doc"})
        self.assertEqual(left_out(Filters(languages=("de_DE.UTF-8",))), {"opt/fr"})
        self.assertEqual(left_out(Filters(languages=("en",))), {"opt/de", "opt/fr"})

    def test_a_changed_setting_stays_and_the_new_one_lies_beside_it(self) -> None:
        found = tree(etc__c=FILE._replace(digest="0" * 64))
        old, new = package("a", config("/etc/c", "1")), package("a", config("/etc/c", "2"), version="2")
        self.assertIn("etc/c.rpmnew", composed(found, [new], [old]).entries)
        self.assertFalse(composed(found, [package("a", config("/etc/c", "1"), version="2")], [old]))
        with self.assertRaises(Refusal):
            composed(found, [package("a", config("/etc/c", "2", noreplace=False), version="2")], [old])

    def test_a_reason_is_one_line_whatever_a_file_is_called(self) -> None:
        self.assertEqual("the file /opt/new line\\x1b[2J is one", Refusal("the file /opt/new\nline\x1b[2J is one").reason)


class Formats(unittest.TestCase):
    def test_payload_and_header_say_the_same(self) -> None:
        spec = RpmSpec("a", "1", files=(File("/opt/x", "1" * 5000), File("/opt/ünï", "2"), symlink("/opt/l", "x"), directory("/opt/d")))
        stream = io.BytesIO(rpm(spec))
        found = read_rpm(stream)
        contents = {path: b"".join(content) for path, _, content in read_payload(stream, found)}
        self.assertEqual((contents["opt/x"], contents["opt/ünï"]), (b"1" * 5000, b"2"))
        self.assertEqual(contents.keys(), {file.path for file in found.files})

    def test_a_number_of_the_payload_has_eight_digits_and_nothing_else(self) -> None:
        self.assertEqual(0x1F, number(b"0000001f"))
        for text in (b"-0000001", b"+0000001", b" 0000001", b"0x000001", b"000_0001", b"0000001\n", b"0000001", b"\xb2" * 8):
            with self.subTest(text), self.assertRaises(ValueError):
                number(text)

    @settings(max_examples=200, deadline=None)
    @given(st.data())
    def test_damage_is_one_error(self, data: st.DataObject) -> None:
        whole = bytearray(WHOLE)
        for _ in range(data.draw(st.integers(1, 4))):
            whole[data.draw(st.integers(96, len(whole) - 1))] = data.draw(st.integers(0, 255))
        stream = io.BytesIO(bytes(whole[: data.draw(st.integers(1, len(whole)))]))
        try:
            found = read_rpm(stream)
            _ = (
                found.files,
                found.scripts,
                found.trigger_names,
                found.trigger_paths,
                found.provides,
                found.digest_bits,
                found.nevra,
                found.build_time,
            )
            for _, _, content in read_payload(stream, found):
                for _ in content:
                    pass
        except ContentError:
            pass


WHOLE = rpm(RpmSpec("a", "1", files=(File("/opt/x", "1" * 50), symlink("/opt/l", "x")), post="true", provides=("x",)))
