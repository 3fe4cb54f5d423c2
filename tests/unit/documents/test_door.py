"""The guard itself: what passes, what does not, and in which words."""

import json
import tempfile
import unittest
from pathlib import Path

from topcoat.documents import Door
from topcoat.documents.door import MAX_DEPTH
from topcoat.errors import ContentError, InfrastructureError, TopcoatError, UsageError, one_line

DOOR = Door(ContentError, "look again", limit=1 << 20)


def nested(levels: int) -> str:
    return "[" * levels + "]" * levels


class Json(unittest.TestCase):
    def refused(self, text: str | bytes, words: str) -> None:
        with self.assertRaises(ContentError) as caught:
            DOOR.json(text, "the thing", where="file.json")
        self.assertIn(words, str(caught.exception))
        self.assertEqual(("file.json", "look again"), (caught.exception.where, caught.exception.next_step))

    def test_values(self) -> None:
        for value in (None, True, 5, -0.5, "é", [1, [2]], {"a": {"b": [None]}}):
            self.assertEqual(value, DOOR.json(json.dumps(value), "it"))
            self.assertEqual(value, DOOR.json(json.dumps(value, ensure_ascii=False).encode(), "it"))

    def test_depth(self) -> None:
        self.assertEqual(json.loads(nested(MAX_DEPTH)), DOOR.json(nested(MAX_DEPTH), "it"))
        self.refused(nested(MAX_DEPTH + 1), "64 levels")
        self.refused(nested(100_000), "nested too deep")

    def test_what_json_is_not(self) -> None:
        self.refused('{"a": NaN}', "NaN")
        self.refused("[Infinity]", "Infinity")
        self.refused("[1e999]", "too large a number")
        self.refused("[" + "9" * 5000 + "]", "not JSON")
        self.refused('["\\ud800"]', "surrogate")
        self.refused('{"\\udfff": 1}', "surrogate")
        self.refused(b"\xff", "UTF-8")
        self.refused("{}".encode("utf-16"), "UTF-8")
        self.refused("", "not JSON")
        self.assertEqual("\U0001f600", DOOR.json('"\\ud83d\\ude00"', "it"))

    def test_a_number_too_long_to_calculate_with_is_found_wherever_it_stands(self) -> None:
        for blanks in range(0, 301, 7):
            for digits in (299, 300, 301, 302, 449, 600):
                with self.subTest(blanks=blanks, digits=digits):
                    text = '["' + "x" * blanks + '", ' + "7" * digits + "]"
                    if digits <= 300:
                        self.assertEqual(DOOR.json(text, "it"), ["x" * blanks, int("7" * digits)])
                    else:
                        self.refused(text, "too large a number")

    def test_size_and_number_of_values(self) -> None:
        self.refused(" " * ((1 << 20) + 1), "larger than 1048576 bytes")
        many = Door(ContentError, "look again").json
        with self.assertRaisesRegex(ContentError, "2000000 values"):
            many("[" + "[]," * 2_000_000 + "[]]", "it")

    def test_files(self) -> None:
        with tempfile.TemporaryDirectory() as folder:
            path = Path(folder) / "x.json"
            for door in (DOOR.json_file, DOOR.yaml_file):
                with self.assertRaisesRegex(ContentError, "cannot be read: No such file"):
                    door(path, "it")
                with self.assertRaises(ContentError):
                    door(path.parent, "it")
            path.write_bytes(b" " * ((1 << 20) + 1))
            with self.assertRaisesRegex(ContentError, "larger"):
                DOOR.json_file(path, "it")


class Yaml(unittest.TestCase):
    def test_aliases_are_bounded_in_number_and_in_depth(self) -> None:
        self.assertEqual({"a": [1], "b": [[1]]}, DOOR.yaml("a: &a [1]\nb: [*a]", "it"))
        bomb = "a0: &a0 [x]\n" + "".join(f"a{n}: &a{n} [{', '.join([f'*a{n - 1}'] * 9)}]\n" for n in range(1, 12))
        chain = "a0: &a0 [x]\n" + "".join(f"a{n}: &a{n} [*a{n - 1}]\n" for n in range(1, 3000))
        for text, words in ((bomb, "values"), (chain, "levels"), ("a: &a [*a]", "holds itself")):
            with self.assertRaisesRegex(ContentError, words):
                DOOR.yaml(text, "it")

    def test_what_is_given_twice_is_read_in_linear_time(self) -> None:
        self.assertEqual({"k": 20_000}, DOOR.yaml("".join(f"k: {number}\n" for number in range(20_001)), "it"))

    def test_tags(self) -> None:
        self.assertEqual({"a": "{{ x }}"}, DOOR.yaml("a: !unsafe '{{ x }}'", "it", tags=frozenset({"!unsafe"})))
        with self.assertRaises(ContentError):
            DOOR.yaml("a: !unsafe '{{ x }}'", "it")

    def test_numbers_that_are_none_stay_texts(self) -> None:
        self.assertEqual([".inf", ".nan", 8, True], DOOR.yaml("[.inf, .nan, 010, yes]", "it"))


class Shapes(unittest.TestCase):
    def test_kinds(self) -> None:
        shape = DOOR.shape("the thing")
        table = {"text": "x", "number": 5, "truth": True, "list": ["x"], "table": {"a": "b"}, "none": None}
        self.assertEqual(
            ("x", 5, True, ["x"], {"a": "b"}),
            tuple(shape.need(table, key, kind) for key, kind in (("text", str), ("number", int), ("truth", bool), ("list", list), ("table", dict))),
        )
        self.assertEqual(({}, [], "", None), (shape.table(None, "x"), shape.items(None, "x", str), shape.text(None, "x"), shape.scalar(None, "x")))
        wrong = (
            lambda: shape.need(table, "truth", int),  # bool is a kind of int in this language only
            lambda: shape.need(table, "missing", str),
            lambda: shape.need(table, "none", str),
            lambda: shape.items([1], "x", str),
            lambda: shape.items("text", "x", str),
            lambda: shape.texts({"a": 1}, "x"),
            lambda: shape.scalar([], "x"),
            lambda: shape.number(-1, "x"),
            lambda: shape.number(1 << 60, "x"),
            lambda: shape.number(True, "x"),
            lambda: shape.moment("5", "x"),
            lambda: shape.moment(1e300, "x"),
            lambda: shape.moment(10**400, "x"),
            lambda: shape.moment(float("nan"), "x"),
            lambda: shape.one_of("a", "x", ("b",)),
        )
        for number, call in enumerate(wrong):
            with self.subTest(number), self.assertRaisesRegex(ContentError, "the thing: "):
                call()


class Words(unittest.TestCase):
    def test_an_error_is_one_line_that_can_be_written(self) -> None:
        for text in ("a\nb", "a\x1b[31mb", "a\ud800b", "a\u202eb", "a\u2028b", "x" * 1_000_000):
            for kind in (UsageError, ContentError, InfrastructureError):
                line = str(kind(f"it says {text}", image=text, where=text, next_step="stop"))
                self.assertTrue(line.isprintable(), line[:80])
                self.assertLess(len(line), 5000)
                line.encode()
                json.dumps(kind(text).as_dict(), ensure_ascii=False).encode()
        self.assertEqual("é\\x1b[1m", one_line("é\x1b[1m"))
        self.assertEqual("plain -> do", str(TopcoatError("plain", next_step="do")))
