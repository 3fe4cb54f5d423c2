"""Hostile documents at every door: what comes out is a value or one line, never a traceback, and never later than in proportion to the size.

Without a variable this is the short form, the same on every run. ``tox -e fuzz`` sets TOPCOAT_FUZZ to the number of documents a door; then the seed
is a new one each time, it is printed, and TOPCOAT_FUZZ_SEED repeats it.
"""

from __future__ import annotations

import copy
import gzip
import json
import os
import random
import sys
import time
import unittest
from collections.abc import Iterator

import yaml
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.unit.documents.doors import Place, places
from topcoat.documents import packed
from topcoat.errors import TopcoatError

ROUNDS = int(os.environ.get("TOPCOAT_FUZZ") or 0)
SEED = int(os.environ.get("TOPCOAT_FUZZ_SEED") or (random.SystemRandom().randrange(1 << 32) if ROUNDS else 1))
SHORT = 40
PLACES = dict(places())

DEEP: object = "x"
for _ in range(200):
    DEEP = [DEEP]
HOSTILE: tuple[object, ...] = (
    None, True, False, 0, -1, 1, 5, 1 << 31, 1 << 63, 1 << 200, 10**400, 1e18, 0.5, 1e300, -1e300, "", "x", "\0", "a\nb",
    "\x1b[31m", "\ud800", "é" * 300, "../../etc",
    "/etc/passwd", "-", "--upload-pack=x", "{{ x }}", "sha256:../../x", "sha256:" + "g" * 64, "9" * 5000, "x" * 100_000,
    [], [None], [[]], [1, "a"], {}, {"": None}, {"a": {"b": []}}, {"\n": "\n"}, DEEP,
)  # fmt: skip


def told(error: TopcoatError) -> str:
    """What is wrong with the words of an error; nothing when they are as they must be."""
    line = str(error)
    if not line.isprintable():
        return f"is not one line that can be printed: {line!r}"
    if len(line) > 5000:
        return f"has {len(line)} letters"
    if not error.what.strip() or not error.next_step.strip():
        return f"says nothing, or not what to do: {line!r}"
    return ""


def trees(good: bytes, random_: random.Random) -> Iterator[bytes]:
    """A document with one value, key or entry exchanged, one after the other for ever."""
    text = good.decode()
    original = json.loads(text) if text[:1] in "[{" else yaml.safe_load(text)
    while True:
        tree = [copy.deepcopy(original)]
        for _ in range(random_.choice((1, 1, 1, 2, 3))):
            holders: list[tuple[object, object]] = []
            waiting: list[object] = [tree]
            while waiting:
                holder = waiting.pop()
                keys = list(holder) if isinstance(holder, dict) else range(len(holder)) if isinstance(holder, list) else ()
                holders += [(holder, key) for key in keys]
                waiting += [holder[key] for key in keys]  # type: ignore[index]
            if not holders:
                break
            holder, key = random_.choice(holders)
            way = random_.randrange(4)
            if way == 0 and holder is not tree:
                del holder[key]  # type: ignore[attr-defined]
            elif way == 1 and isinstance(holder, dict):
                holder[str(random_.choice(HOSTILE))[:300]] = holder[key]
            else:
                holder[key] = copy.deepcopy(random_.choice(HOSTILE))  # type: ignore[index]
        yield json.dumps(tree[0]).encode()


def bytes_of(good: bytes, random_: random.Random) -> Iterator[bytes]:
    """A document cut, flipped, repeated or filled at some place, one after the other for ever."""
    while True:
        data = bytearray(good)
        for _ in range(random_.choice((1, 1, 2, 8))):
            at = random_.randrange(len(data) + 1)
            way = random_.randrange(6)
            if way == 0:
                del data[at:]
            elif way == 1 and at < len(data):
                data[at] ^= 1 << random_.randrange(8)
            elif way == 2:
                data[at:at] = random_.randbytes(random_.randrange(1, 9))
            elif way == 3:
                data[at : at + 4] = random_.choice((b"\xff\xff\xff\xff", b"\0\0\0\0", b"\x7f\xff\xff\xff", b"\x80\0\0\0"))
            elif way == 4:
                data[at:at] = data[at : at + random_.randrange(64)]
            else:
                del data[at : at + random_.randrange(1, 64)]
        yield bytes(data)


FIXED = (
    b"", b"\0", b"null", b"5", b'"x"', b"[]", b"{}", b"[", b"{", b"\xff\xfe", b"\xef\xbb\xbf{}", "{}".encode("utf-16"),
    b"[" * 100_000, b'{"a":' * 100_000,
    b"[" + b"[]," * 50_000 + b"[]]", b'{"a": NaN}', b'{"a": 1e999}', b'{"a": ' + b"9" * 5000 + b"}", b'{"a": "\\ud800"}', b'{"a": 1, "a": []}',
    b"a: &a [*a]", b"a: &a [x]\nb: &b [*a, *a]\nc: &c [*b, *b]\nd: [*c, *c]", b"!!python/object/apply:os.system [x]", b"? [a]\n: b", b"- " * 5000,
    b"---\n---\n",
    b"<!DOCTYPE x [<!ENTITY a 'b'>]><x>&a;</x>", b"<a>" * 20_000,
)  # fmt: skip


class Hostile(unittest.TestCase):
    def attempt(self, name: str, place: Place, data: bytes) -> str:
        """``value`` or the class of the error; anything else fails the test and shows the document."""
        try:
            place.read(data)
        except TopcoatError as error:
            problem = told(error)
            if problem:
                self.fail(f"{name}: the error {problem}\nseed {SEED}, document {data[:2000]!r}")
            return error.code
        except Exception as error:
            raise AssertionError(f"{name}: {error!r}\nseed {SEED}, document {data[:2000]!r}") from error
        return "value"

    def test_what_is_good_passes(self) -> None:
        for name, place in PLACES.items():
            with self.subTest(name):
                try:
                    self.assertEqual("value", self.attempt(name, place, place.good))
                except AssertionError:
                    place.read(place.good)
                    raise

    def test_the_known_kinds(self) -> None:
        for name, place in PLACES.items():
            for data in FIXED:
                with self.subTest(name, data=data[:40]):
                    self.attempt(name, place, data)

    def test_every_value_exchanged_and_every_byte_broken(self) -> None:
        counts: dict[str, dict[str, int]] = {}
        for name, place in PLACES.items():
            with self.subTest(name):
                random_ = random.Random(f"{SEED} {name}")
                sources = [bytes_of(place.good, random_), *([trees(place.good, random_)] * 2 if place.text else ())]
                found = counts.setdefault(name, {})
                for number in range(ROUNDS or SHORT):
                    result = self.attempt(name, place, next(sources[number % len(sources)]))
                    found[result] = found.get(result, 0) + 1
        if ROUNDS:
            print(f"\nseed {SEED}", *(f"{name:32} {json.dumps(found)}" for name, found in counts.items()), sep="\n", file=sys.stderr)

    @settings(max_examples=ROUNDS or 50, deadline=None, derandomize=not ROUNDS, database=None, suppress_health_check=list(HealthCheck))
    @given(
        st.sampled_from(sorted(PLACES)),
        st.recursive(
            st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
            lambda inner: st.lists(inner) | st.dictionaries(st.text(max_size=8), inner),
            max_leaves=20,
        ),
    )
    def test_any_document(self, name: str, value: object) -> None:
        self.attempt(name, PLACES[name], json.dumps(value).encode())

    @settings(max_examples=ROUNDS or 50, deadline=None, derandomize=not ROUNDS, database=None, suppress_health_check=list(HealthCheck))
    @given(st.sampled_from(sorted(PLACES)), st.binary(max_size=400))
    def test_any_bytes(self, name: str, data: bytes) -> None:
        self.attempt(name, PLACES[name], data)


class Found(unittest.TestCase):
    """Documents that ended in a traceback once."""

    def test_each_is_a_value_or_one_line(self) -> None:
        receipt = json.loads(PLACES["receipt"].good)
        inventory = json.loads(PLACES["inventory"].good)
        stage = {"name": "push", "start": 1.5, "end": 10**400}
        for name, document in (
            *(("receipt", {**receipt, "started": moment}) for moment in (1e300, -1e300, 10**18, 10**400)),
            ("receipt", {**receipt, "images": [{**receipt["images"][0], "stages": [stage]}]}),
            *(("inventory", {**inventory, "packages": [entry, *inventory["packages"][1:]]}) for entry in ({"a": 1}, {}, "x", None)),
        ):
            with self.subTest(name, keys=str(document)[:80]):
                try:
                    PLACES[name].read(json.dumps(document).encode())
                except TopcoatError as error:
                    self.assertEqual("", told(error))

    def test_a_value_of_another_kind_is_taken_for_no_other(self) -> None:
        for name, path, values in (
            ("contents of a set", ("packages", 0, 0), (None, 5, ["x"])),
            ("contents of a set", ("packages", 0, 2), ("٣٤", 1.5, True, -1)),
            ("contents of a set", ("images", "a", "list"), (-1, True, 1)),
            ("contents of a set", ("images", "a", "revision"), (5, ["x"], {"a": "b"})),
            ("contents of a set", ("platform",), (5, ["linux/amd64"])),
            ("contents of a set for another platform", ("others", "linux/arm64", "a", "parts"), (["x"], {"a": 5})),
            ("bundle of changelogs", ("bash-5.1-2.src.rpm", 0, 0), ("٣٤", 1.5, True)),
            ("bundle of changelogs", ("bash-5.1-2.src.rpm", 0, 2), (None, 5, [])),
            ("pods", ("items", 1, "kind"), (None, 5, ["Pod"])),
            ("pods", ("items", 1, "status", "containerStatuses", 0, "state", "running"), ("no", 5, [])),
            ("podman's images", (0, "RepoDigests"), ("x", [None])),
            ("podman's containers", (0, "ImageID"), (None, 5, [])),
            ("list of images to copy", ("images", 0, "external"), ("false", 0, None)),
            ("promotion to tell of", ("changes", "packages", 0, "images"), ("x", [None], [5])),
            ("list of gated packages", ("packages",), (None, [], {})),
            ("zuul variables", ("all", "vars", "zuul", "project"), ([], "openstack/nova", 5)),
            ("zuul variables", ("all", "vars", "zuul", "projects"), ([], "", False)),
            ("zuul variables", ("all", "vars", "zuul", "items", 0, "change"), (None, "", True)),
            ("artifacts", (0, "metadata"), ([], "container_image", 5)),
            ("artifacts", (0, "metadata", "type"), (["container_image"], True)),
        ):
            for value in values:
                with self.subTest(name, path=path, value=value):
                    document = json.loads(good) if (good := PLACES[name].good)[:1] in b"[{" else yaml.safe_load(good)
                    holder = document
                    for key in path[:-1]:
                        holder = holder[key]  # type: ignore[index]
                    holder[path[-1]] = value  # type: ignore[index]
                    with self.assertRaises(TopcoatError) as caught:
                        PLACES[name].read(json.dumps(document).encode())
                    self.assertEqual("", told(caught.exception))

    def test_what_is_kept_packed_passes_the_same_door(self) -> None:
        for text in ('{"a": NaN}', '{"a": -Infinity}', '{"a": 1e999}', '{"a": 1' + "0" * 400 + "}"):
            with self.subTest(text[:20]), self.assertRaises(ValueError):
                packed.unpack(gzip.compress(text.encode()), 1 << 20)
        self.assertEqual({"a": [1, 2.5]}, packed.unpack(packed.pack({"a": [1, 2.5]}), 1 << 20))


class Proportion(unittest.TestCase):
    """No quadratic reader: eight times the document may not take more than some thirty times as long, in processor time of this process."""

    def test_of_long_lists(self) -> None:
        for name in ("inventory", "plan", "list of gated packages", "zuul variables", "artifacts", "index", "promotion record"):
            with self.subTest(name):
                place = PLACES[name]
                # What else the machine does costs processor time too; a quadratic reader is one each time.
                attempts = ([self.seconds(place, self.grown(place.good, count)) for count in (1000, 8000)] for _ in range(5))
                self.assertTrue(any(long_ < 30 * max(short, 0.01) for short, long_ in attempts))

    def seconds(self, place: Place, data: bytes) -> float:
        start = time.process_time()
        try:
            place.read(data)
        except TopcoatError:
            pass
        return time.process_time() - start

    def grown(self, good: bytes, count: int) -> bytes:
        """Every list of the document, and every object of more than one key, repeated."""

        def grow(value: object, left: int) -> object:
            if isinstance(value, list) and value:
                return [grow(value[0], 1)] * left
            if isinstance(value, dict):
                return {key: grow(entry, left) for key, entry in value.items()}
            return value

        tree = json.loads(good) if good[:1] in b"[{" else yaml.safe_load(good)
        return json.dumps(grow(tree, count)).encode()
