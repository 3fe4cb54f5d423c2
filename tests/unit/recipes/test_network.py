"""Who asks for the network: recipes, single steps, overrides; and that a reviewer sees it."""

from tests.unit.recipes.trees import BASE, USERS, TreeTest, profile
from topcoat.errors import UsageError
from topcoat.recipes import apply_profile, load_tree
from topcoat.recipes.lint import lint_recipes
from topcoat.recipes.reading import Problems

RECIPES = """\
asks: {from: base, network: true, entrypoint: [/x]}
step-asks: {from: base, run: [{run: fetch, network: true}], entrypoint: [/x]}
other-arch-asks: {from: base, run: [{run: fetch, network: true, arch: s390x}], entrypoint: [/x]}
quiet: {from: base, run: [echo], entrypoint: [/x]}
"""


class Network(TreeTest):
    def recipes(self, text: str = RECIPES):  # type: ignore[no-untyped-def]
        self.write({"base.yaml": BASE, "users.yaml": USERS, "infra/network.yaml": text})
        return load_tree(self.root)

    def test_nobody_has_it_who_did_not_ask(self) -> None:
        applied = apply_profile(self.recipes(), profile())
        self.assertEqual(sorted(name for name, recipe in applied.items() if recipe.wants_network), ["asks", "step-asks"])

    def test_a_profile_gives_and_takes_it(self) -> None:
        overrides = (("quiet", (("network", True),)), ("class:infra", (("network", False),)))
        applied = apply_profile(self.recipes(), profile(overrides=overrides))
        self.assertTrue(applied["quiet"].wants_network)
        self.assertFalse(applied["asks"].network)

    def test_lint_notes_it(self) -> None:
        problems = Problems()
        lint_recipes(self.recipes(), self.root, problems)
        self.assertEqual([note.split(": ")[1].split()[0] for note in problems.notes], ["asks", "other-arch-asks", "step-asks"])
        self.assertEqual(problems.found, [])

    def test_it_is_true_or_false(self) -> None:
        for text in ("x: {from: base, network: host}\n", "x: {from: base, run: [{run: y, network: bridge}]}\n"):
            with self.subTest(text), self.assertRaisesRegex(UsageError, "network must be true or false"):
                self.recipes(text)
