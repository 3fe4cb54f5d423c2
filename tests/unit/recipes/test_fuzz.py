"""Random input never gives a traceback, never writes and never runs anything."""

from __future__ import annotations

import os
import tempfile
from pathlib import Path
from unittest import TestCase, mock

import yaml
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from topcoat.documents.yamltree import parse
from topcoat.errors import UsageError
from topcoat.lists import lint
from topcoat.recipes import load_profile, load_tree
from topcoat.recipes.schema import RECIPE_KEYS

WORDS = st.sampled_from(
    ["base", "nova", "profile", "/etc/x", "../x", "a b", "{{ x }}", "", "0644", "x86_64", "kolla", "files/a", "$(id)", "\x07", "a:b", "sha256:"]
)
SCALARS = st.one_of(WORDS, st.integers(), st.booleans(), st.none(), st.floats(), st.text(max_size=12))
VALUES = st.recursive(
    SCALARS,
    lambda inner: st.one_of(st.lists(inner, max_size=4), st.dictionaries(st.one_of(WORDS, st.text(max_size=6)), inner, max_size=4)),
    max_leaves=12,
)
RECIPE = st.dictionaries(st.one_of(st.sampled_from(RECIPE_KEYS), WORDS), VALUES, max_size=8)
FAMILY = st.one_of(
    VALUES, st.dictionaries(st.one_of(WORDS, st.from_regex(r"[a-z][a-z-]{0,8}", fullmatch=True)), st.one_of(RECIPE, VALUES), max_size=5)
)


def attempt(function, *arguments, **options) -> None:  # type: ignore[no-untyped-def]
    """Call it; only the one error class may come out, and it must be one line."""
    try:
        function(*arguments, **options)
    except UsageError as error:
        assert "\n" not in str(error), str(error)


class Fuzz(TestCase):
    def setUp(self) -> None:
        folder = tempfile.TemporaryDirectory(prefix="topcoat-fuzz-")
        self.addCleanup(folder.cleanup)
        self.root = Path(folder.name)
        (self.root / "openstack").mkdir()
        (self.root / "profiles").mkdir()
        (self.root / "lists").mkdir()
        (self.root / "users.yaml").write_text("kolla: {uid: 42400}\n")
        self.family = self.root / "openstack/x.yaml"

    def guarded(self, function, *arguments, **options) -> None:  # type: ignore[no-untyped-def]
        """Call it where nothing can be started and the tree must stay as it is."""
        before = sorted((str(path), path.lstat().st_mtime_ns) for path in self.root.rglob("*"))
        with mock.patch("subprocess.Popen", side_effect=AssertionError("ran something")), mock.patch.object(os, "system", side_effect=AssertionError):
            attempt(function, *arguments, **options)
        self.assertEqual(before, sorted((str(path), path.lstat().st_mtime_ns) for path in self.root.rglob("*")))

    @settings(max_examples=100, deadline=None, suppress_health_check=list(HealthCheck))
    @given(st.binary(max_size=200))
    def test_any_bytes(self, content: bytes) -> None:
        self.family.write_bytes(content)
        self.guarded(load_tree, self.root)

    @settings(max_examples=100, deadline=None, suppress_health_check=list(HealthCheck))
    @given(st.text(alphabet="ab:-[]{}&*!|>'\"#%@?,\n \t~<", max_size=80))
    def test_any_yaml_like_text(self, text: str) -> None:
        attempt(parse, text, "x.yaml", aliases=False)
        attempt(parse, text, "x.yaml", aliases=True, yaml11=True)

    @settings(max_examples=150, deadline=None, suppress_health_check=list(HealthCheck))
    @given(FAMILY)
    def test_any_document_of_recipes(self, document: object) -> None:
        self.family.write_text(yaml.safe_dump(document), encoding="utf-8")
        self.guarded(load_tree, self.root)
        self.guarded(lint, self.root, variables={})

    @settings(max_examples=80, deadline=None, suppress_health_check=list(HealthCheck))
    @given(VALUES, st.dictionaries(st.text(max_size=5), st.text(max_size=8), max_size=2))
    def test_any_profile_and_list(self, document: object, variables: dict[str, str]) -> None:
        (self.root / "profiles/p.yaml").write_text(yaml.safe_dump(document), encoding="utf-8")
        (self.root / "lists/l.yaml").write_text(yaml.safe_dump(document), encoding="utf-8")
        self.guarded(load_profile, "p", root=self.root, variables=variables)
        self.guarded(lint, self.root, variables={})
