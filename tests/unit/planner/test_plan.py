"""The rules of the plan, one by one and over random trees."""

from __future__ import annotations

import json
import unittest
from dataclasses import dataclass, field, replace

from hypothesis import given, settings
from hypothesis import strategies as st

from topcoat import planner
from topcoat.errors import ContentError, UsageError
from topcoat.model import Action, Base, Nevra, PackageChange, PlannedImage, Profile, Reason, Recipe
from topcoat.planner import Reference
from topcoat.report import plans

PROFILE = Profile("demo", "centos", "9", "x86_64", Base("localhost:5000/base"), (), "localhost:5000", "topcoat")
VIEW = (("gating", "a" * 64), ("current", "b" * 64))


@dataclass(frozen=True)
class Fingerprint:
    total: str
    parts: dict = field(default_factory=dict)


@dataclass(frozen=True)
class Inventory:
    nevras: frozenset[Nevra]


def digest(number: int) -> str:
    return f"sha256:{number:064x}"


def package(text: str) -> Nevra:
    return Nevra.parse(text)


OLD, NEW, NEWER = (package(f"oslo-{version}-1.noarch") for version in ("1", "2", "3"))
OTHER = package("nova-1:1-1.noarch")
UPGRADE = PackageChange(OLD, NEW, "current")


class Tree:
    """A small world: recipes, fingerprints, references and what the solver would say."""

    def __init__(self, parents: dict[str, str | None]) -> None:
        self.recipes = {name: Recipe(name, "family", "openstack", parent) for name, parent in parents.items()}
        self.fingerprints = {name: Fingerprint(digest(number), {"containerfile": digest(number)}) for number, name in enumerate(parents)}
        self.references: dict[str, Reference | None] = {name: self.reference(name) for name in parents}
        self.changes: dict[str, tuple[PackageChange, ...] | Exception] = {}
        self.asked: list[str] = []

    def reference(self, name: str, **changes) -> Reference:
        fingerprint = self.fingerprints[name]
        values = {
            "digest": digest(900),
            "fingerprint": fingerprint.total,
            "parts": fingerprint.parts,
            "packages": frozenset({OLD, OTHER}),
            "base_inventory": Inventory(frozenset({OLD, OTHER})),
        }
        return Reference(name, **{**values, **changes})

    def changes_of(self, reference: Reference) -> tuple[PackageChange, ...]:
        self.asked.append(reference.name)
        found = self.changes.get(reference.name, ())
        if isinstance(found, Exception):
            raise found
        return found

    def plan(self, **options):
        options = {"profile": PROFILE, "gated": (), "view": VIEW, **options}
        return planner.plan(self.recipes, self.fingerprints, self.references, self.changes_of, **options)

    def line(self, name: str, **options) -> PlannedImage:
        return self.plan(**options).of(name)


class Adopted(unittest.TestCase):
    """What somebody else builds is updated or reused; whatever its labels say, it is never built."""

    def setUp(self) -> None:
        self.tree = Tree({"vendor": None, "ours": "vendor"})
        self.tree.recipes["vendor"] = replace(self.tree.recipes["vendor"], adopted=True)

    def test_labels_do_not_matter(self) -> None:
        for fingerprint in (None, digest(8)):
            self.tree.references["vendor"] = self.tree.reference("vendor", fingerprint=fingerprint, parts={})
            for full in (False, True):
                self.assertEqual(self.tree.line("vendor", full_rebuild=full).reason, Reason.UNCHANGED)
        self.tree.changes["vendor"] = (UPGRADE,)
        self.assertEqual(self.tree.line("vendor").reason, Reason.RPM_UPGRADE)
        self.assertEqual(self.tree.line("vendor", gated=[NEW]).reason, Reason.RPM_GATED)
        self.assertEqual(self.tree.line("ours").reason, Reason.UNCHANGED, "an update of the parent reaches no child")

    def test_without_reference_there_is_nothing_to_build(self) -> None:
        self.tree.references["vendor"] = None
        with self.assertRaises(ContentError) as caught:
            self.tree.plan()
        self.assertIn("it is adopted", caught.exception.what)
        self.assertEqual(caught.exception.image, "vendor")

    def test_an_image_without_packages_is_a_member(self) -> None:
        self.tree.references["vendor"] = self.tree.reference("vendor", packages=frozenset(), taken_from="r.example.org/a/b:c")
        line = self.tree.line("vendor")
        self.assertEqual(
            (line.reason, line.sentence), (Reason.UNCHANGED, "it holds no RPM, so there is nothing to update; taken from r.example.org/a/b:c")
        )
        self.assertNotIn("vendor", self.tree.asked)


class Build(unittest.TestCase):
    def setUp(self) -> None:
        self.tree = Tree({"base": None, "nova-base": "base", "nova-compute": "nova-base", "glance": "base"})

    def test_new_image(self) -> None:
        self.tree.references["glance"] = None
        line = self.tree.line("glance")
        self.assertEqual((line.reason, line.reference, line.changes), (Reason.NEW_IMAGE, None, ()))
        self.assertNotIn("glance", self.tree.asked, "the solver is not asked for what is built anyway")

    def test_parts_give_the_reason(self) -> None:
        now = {"containerfile": "c", "files": "f", "arguments": "a", "parent": "p"}
        cases = (
            ({"containerfile": "x"}, Reason.RECIPE_CHANGED, "Containerfile"),
            ({"arguments": "x"}, Reason.RECIPE_CHANGED, "arguments"),
            ({"files": "x"}, Reason.FILE_CHANGED, "file"),
            ({"parent": "x"}, Reason.PARENT_RECIPE_CHANGED, "parent nova-base"),
            ({"files": "x", "parent": "x"}, Reason.FILE_CHANGED, "file"),
            ({"containerfile": "x", "files": "x", "parent": "x"}, Reason.RECIPE_CHANGED, "Containerfile"),
        )
        self.tree.fingerprints["nova-compute"] = Fingerprint(digest(7), now)
        for difference, reason, word in cases:
            with self.subTest(difference):
                self.tree.references["nova-compute"] = self.tree.reference("nova-compute", fingerprint=digest(8), parts={**now, **difference})
                line = self.tree.line("nova-compute")
                self.assertEqual(line.reason, reason)
                self.assertIn(word, line.sentence)

    def test_other_base_image(self) -> None:
        self.tree.fingerprints["base"] = Fingerprint(digest(7), {"containerfile": "c", "parent": "new"})
        self.tree.references["base"] = self.tree.reference("base", fingerprint=digest(8), parts={"containerfile": "c", "parent": "old"})
        line = self.tree.line("base")
        self.assertEqual(line.reason, Reason.PARENT_RECIPE_CHANGED)
        self.assertIn("base image", line.sentence)

    def test_reference_without_fingerprint(self) -> None:
        """An image that somebody else made is not taken for ours."""
        self.tree.references["glance"] = self.tree.reference("glance", fingerprint=None, parts={})
        line = self.tree.line("glance")
        self.assertEqual(line.reason, Reason.RECIPE_CHANGED)
        self.assertIn("no fingerprint", line.sentence)

    def test_built_parent_forces_all_descendants(self) -> None:
        self.tree.references["nova-base"] = None
        plan = self.tree.plan()
        self.assertEqual(
            [plan.of(name).reason.code for name in ("base", "nova-base", "nova-compute", "glance")],
            ["unchanged", "new-image", "parent-recipe-changed", "unchanged"],
        )
        self.assertIn("nova-base", plan.of("nova-compute").sentence)

    def test_full_rebuild(self) -> None:
        self.assertEqual({line.reason for line in self.tree.plan(full_rebuild=True).images}, {Reason.FULL_REBUILD})
        self.assertEqual(self.tree.asked, [])

    def test_parent_outside_the_run(self) -> None:
        del self.tree.recipes["nova-base"]
        self.assertEqual(self.tree.line("nova-compute").reason, Reason.UNCHANGED)


class Update(unittest.TestCase):
    def setUp(self) -> None:
        self.tree = Tree({"base": None, "nova": "base"})

    def test_upgrade(self) -> None:
        self.tree.changes["nova"] = (UPGRADE,)
        line = self.tree.line("nova")
        self.assertEqual((line.reason, line.changes, line.update_base, line.reference), (Reason.RPM_UPGRADE, (UPGRADE,), digest(900), digest(900)))
        self.assertEqual(line.sentence, "oslo 1-1 -> 2-1 from current")

    def test_gated(self) -> None:
        changes = (
            UPGRADE,
            PackageChange(None, package("aaa-1-1.noarch"), "base"),
            PackageChange(OTHER, package("nova-1:1-2.noarch"), "gating"),
            PackageChange(package("zzz-1-1.noarch"), None),
        )
        self.tree.changes["nova"] = changes
        line = self.tree.line("nova", gated=(package("nova-1:1-2.noarch"),))
        self.assertEqual(line.reason, Reason.RPM_GATED)
        self.assertEqual(line.sentence, "nova 1:1-1 -> 1:1-2 from gating, and 3 more")

    def test_gated_rebuild_of_one_version(self) -> None:
        self.tree.changes["nova"] = (PackageChange(OLD, OLD, "gating"),)
        line = self.tree.line("nova", gated=(OLD,))
        self.assertEqual(line.reason, Reason.RPM_GATED)
        self.assertIn("built again", line.sentence)

    def test_updated_parent_forces_nobody(self) -> None:
        """Per image, never per family: the child decides for itself, in both directions."""
        self.tree.changes["base"] = (UPGRADE,)
        plan = self.tree.plan()
        self.assertEqual([line.action for line in plan.images], [Action.UPDATE, Action.REUSE])
        self.tree.changes = {"nova": (UPGRADE,)}
        self.assertEqual([line.action for line in self.tree.plan().images], [Action.REUSE, Action.UPDATE])

    def test_unsatisfiable_names_image(self) -> None:
        self.tree.changes["nova"] = ContentError("nothing provides absent", next_step="fix it")
        with self.assertRaises(ContentError) as caught:
            self.tree.plan()
        self.assertEqual((caught.exception.image, caught.exception.next_step), ("nova", "fix it"))

    def test_unsatisfiable_names_all_images(self) -> None:
        self.tree.changes = {"base": ContentError("nothing provides absent"), "nova": ContentError("the same")}
        with self.assertRaises(ContentError) as caught:
            self.tree.plan()
        self.assertEqual(caught.exception.image, "base")
        self.assertIn("nova", caught.exception.what)


class OnAnUpdateLayer(unittest.TestCase):
    """The reference carries an update layer already: everything starts from the image below it."""

    def setUp(self) -> None:
        self.tree = Tree({"nova": None})
        below = Inventory(frozenset({OLD, OTHER}))
        self.tree.references["nova"] = self.tree.reference("nova", packages=frozenset({NEW, OTHER}), update_base=digest(800), base_inventory=below)

    def test_same_update_is_there_already(self) -> None:
        self.tree.changes["nova"] = (UPGRADE,)
        line = self.tree.line("nova")
        self.assertEqual((line.reason, line.reference), (Reason.UNCHANGED, digest(900)))

    def test_newer_update_replaces_the_layer(self) -> None:
        self.tree.changes["nova"] = (PackageChange(OLD, NEWER, "current"),)
        line = self.tree.line("nova")
        self.assertEqual((line.action, line.update_base, line.reference), (Action.UPDATE, digest(800), digest(900)))

    def test_nothing_to_change_below(self) -> None:
        """What the layer brought is offered no more: the image below is taken as it is."""
        line = self.tree.line("nova")
        self.assertEqual((line.reason, line.reference), (Reason.UNCHANGED, digest(800)))

    def test_rebuild_of_one_version_is_never_taken_for_there(self) -> None:
        self.tree.references["nova"] = self.tree.reference(
            "nova", packages=frozenset({OLD, OTHER}), update_base=digest(800), base_inventory=Inventory(frozenset({OLD, OTHER}))
        )
        self.tree.changes["nova"] = (PackageChange(OLD, OLD, "gating"),)
        self.assertEqual(self.tree.line("nova", gated=(OLD,)).action, Action.UPDATE)

    def test_removal_and_install(self) -> None:
        renamed = package("oslo-ng-1-1.noarch")
        self.tree.references["nova"] = self.tree.reference(
            "nova", packages=frozenset({renamed, OTHER}), update_base=digest(800), base_inventory=Inventory(frozenset({OLD, OTHER}))
        )
        self.tree.changes["nova"] = (PackageChange(OLD, None), PackageChange(None, renamed, "current"))
        self.assertEqual(self.tree.line("nova").reason, Reason.UNCHANGED)


class Refused(unittest.TestCase):
    def test_empty_selection(self) -> None:
        with self.assertRaises(UsageError):
            Tree({}).plan()

    def test_circle(self) -> None:
        for parents in ({"a": "a"}, {"a": "b", "b": "a"}, {"x": None, "a": "c", "b": "a", "c": "b"}):
            with self.subTest(parents):
                with self.assertRaises(UsageError) as caught:
                    Tree(parents).plan()
                self.assertIn("a -> ", str(caught.exception))

    def test_recipe_without_fingerprint(self) -> None:
        tree = Tree({"base": None})
        tree.fingerprints.clear()
        with self.assertRaises(UsageError):
            tree.plan()


class Document(unittest.TestCase):
    def setUp(self) -> None:
        tree = Tree({"base": None, "nova": "base", "new": "base"})
        tree.references["new"] = None
        tree.changes["nova"] = (UPGRADE, PackageChange(OTHER, None), PackageChange(None, package("x-9:1-1.x86_64"), "base"))
        self.plan = tree.plan(gated=(NEW,))

    def test_there_and_back(self) -> None:
        document = json.loads(json.dumps(plans.plan_to_dict(self.plan)))
        self.assertEqual(document["schema"], plans.SCHEMA)
        self.assertEqual(plans.plan_from_dict(document), self.plan)

    def test_refused(self) -> None:
        good = plans.plan_to_dict(self.plan)
        image = good["images"][2]
        cases = (
            [],
            {},
            {**good, "schema": "https://topcoat.dev/schemas/plan/99"},
            {key: value for key, value in good.items() if key != "images"},
            {**good, "images": [{**image, "reason": "because"}]},
            {**good, "images": [{**image, "action": "build"}]},
            {**good, "images": [{**image, "changes": [{"old": "not a package", "new": None, "repository": None}]}]},
            {**good, "images": [{key: value for key, value in image.items() if key != "fingerprint"}]},
            {**good, "gated": [7]},
        )
        for document in cases:
            with self.subTest(str(document)[:60]):
                with self.assertRaises(UsageError) as caught:
                    plans.plan_from_dict(document)
                self.assertTrue(caught.exception.next_step)


@st.composite
def worlds(draw) -> Tree:
    names = [f"image{number:02d}" for number in range(draw(st.integers(1, 12)))]
    tree = Tree({name: draw(st.sampled_from([None, *names[:number]])) for number, name in enumerate(names)})
    shuffled = draw(st.permutations(names))
    tree.recipes = {name: tree.recipes[name] for name in shuffled}
    for name in names:
        kind = draw(st.sampled_from(("same", "same", "same", "new", "changed", "update", "update")))
        if kind == "new":
            tree.references[name] = None
        elif kind == "changed":
            tree.references[name] = tree.reference(name, fingerprint=digest(999), parts={"containerfile": "other"})
        elif kind == "update":
            tree.changes[name] = (UPGRADE,)
    return tree


class Properties(unittest.TestCase):
    @settings(deadline=None)
    @given(worlds())
    def test_parents_come_first_and_every_image_once(self, tree: Tree) -> None:
        names = [line.name for line in tree.plan().images]
        self.assertEqual(sorted(names), sorted(tree.recipes))
        for line in tree.plan().images:
            if line.parent in tree.recipes:
                self.assertLess(names.index(line.parent), names.index(line.name))

    @settings(deadline=None)
    @given(worlds())
    def test_a_build_is_followed_by_builds_only(self, tree: Tree) -> None:
        plan = tree.plan()
        for line in plan.images:
            if line.parent in tree.recipes and plan.of(line.parent).action is Action.BUILD:
                self.assertIs(line.action, Action.BUILD)

    @settings(deadline=None)
    @given(worlds())
    def test_nothing_is_done_without_its_reason(self, tree: Tree) -> None:
        for line in tree.plan().images:
            reference = tree.references[line.name]
            self.assertTrue(line.sentence)
            if line.action is Action.UPDATE:
                self.assertEqual(line.changes, tree.changes[line.name])
                self.assertIsNotNone(line.update_base)
            else:
                self.assertEqual(line.changes, ())
                self.assertIsNone(line.update_base)
            if line.action is Action.REUSE:
                self.assertEqual((line.reference, line.fingerprint), (reference.digest, reference.fingerprint))
                self.assertNotIn(line.name, tree.changes)

    @settings(deadline=None)
    @given(worlds(), st.randoms())
    def test_order_of_input_does_not_matter(self, tree: Tree, random) -> None:
        expected = tree.plan()
        names = list(tree.recipes)
        random.shuffle(names)
        tree.recipes = {name: tree.recipes[name] for name in names}
        self.assertEqual(tree.plan(), expected)

    @settings(deadline=None)
    @given(worlds())
    def test_document_holds_everything(self, tree: Tree) -> None:
        plan = tree.plan(gated=(NEW,))
        self.assertEqual(plans.plan_from_dict(json.loads(json.dumps(plans.plan_to_dict(plan)))), plan)
