"""Over the whole demo tree the solver's answer for every image equals dnf's own."""

from __future__ import annotations

from pathlib import Path

from tests.functional.solver.support import ARCH, SolverTestCase, _lists
from topcoat.errors import ContentError
from topcoat.model import Nevra, Recipe, Repository
from topcoat.recipes import apply_profile, load_profile, load_tree
from topcoat.rpm import inventory
from topcoat.solver.solver import UpdateSolver
from topcoat_demo import distribution
from topcoat_demo.rpms import RpmSpec

RECIPES = Path(__file__).parents[3] / "container-images"
UNDER_TEST = ("python3-oslo-config", "python3-oslo-utils")


class DemoTree(SolverTestCase):
    def setUp(self) -> None:
        super().setUp()
        self.distribution = distribution.shared()
        root = self.distribution.repositories
        self.base = Repository("base", (root / "base").as_uri(), priority=90, updates=False)
        self.passed = Repository("current-passed-ci", (root / "current-passed-ci").as_uri(), priority=20)
        self.current = Repository("current", (root / "current").as_uri(), priority=10)
        profile = load_profile("demo", root=RECIPES, variables={"repositories": root.as_uri()})
        self.recipes = apply_profile(load_tree(RECIPES), profile)

    def names(self, recipe: Recipe) -> frozenset[str]:
        """What an image and its ancestors install."""
        own = frozenset(package.name for package in recipe.packages)
        return own | self.names(self.recipes[recipe.parent]) if recipe.parent else own

    def test_every_image(self) -> None:
        """A review of two packages, with newer builds in the trunk: old images, all that dnf would do, image by image."""
        published = self.bench.freeze(self.base, self.passed)
        self.addCleanup(published.close)
        builder = UpdateSolver(published, arch=ARCH)
        nothing = inventory.from_root(self.bench.root_of([]))  # but the word for the platform, without which no module can be had
        files = {
            package.nevra: Path(frozen.repository.baseurl.removeprefix("file://")) / package.href
            for frozen in published.repositories
            for package in published.packages(frozen.id)
        }
        gating = self.gating(files)
        solver = self.solver(gating, self.current, self.passed, self.base)
        contents = {
            frozenset(change.new for change in builder.resolve_install(self.names(recipe), nothing)): name for name, recipe in self.recipes.items()
        }
        contents = {nevras: name for nevras, name in contents.items() if nevras}
        self.assertGreater(len(contents), 10)
        cache = str(self.bench.path("dnf-cache"))
        touched = 0
        for nevras, name in contents.items():
            root = self.bench.root_of([files[nevra] for nevra in sorted(nevras)])
            found = inventory.from_root(root)
            self.assertEqual(found.nevras, nevras, name)
            request = solver.request(found)
            try:
                changes = solver.changes(found)
            except ContentError:
                changes = None
            theirs = self.ask_dnf(
                root,
                [gating, self.current, self.passed, self.base],
                cache=cache,
                upgrade=list(request.upgrade),
                install=list(map(str, request.install)),
                reinstall=list(map(str, request.reinstall)),
            )
            if changes is None:
                self.assertIn("error", theirs, name)
            else:
                self.assertEqual(_lists(changes), theirs, name)
                touched += bool(changes)
        self.assertGreater(touched, 0)

    def gating(self, files: dict[Nevra, Path]) -> Repository:
        """The packages under test, each as another build of what is published: one newer, one older."""
        specs = []
        for name, epoch_step in zip(UNDER_TEST, ("newer", "older"), strict=True):
            published = next(nevra for nevra in sorted(files) if nevra.name == name)
            version = f"{published.version}.1" if epoch_step == "newer" else f"{published.version}~dev"
            specs.append(RpmSpec(name, version, published.release, epoch=published.epoch, arch=published.arch))
        return self.bench.repository("gating", specs, priority=1, gated=True, module_hotfixes=True)
