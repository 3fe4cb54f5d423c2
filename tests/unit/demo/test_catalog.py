"""The generated packages: closed, free of conflicts, layered as the product needs them, with every command that the recipes start."""

import subprocess
import tempfile
import unittest
from collections import Counter
from pathlib import Path

import yaml

from topcoat_demo import world_rules
from topcoat_demo.catalog import Catalog
from topcoat_demo.packages import VERSIONS, Trunk, infra
from topcoat_demo.services import SERVICES
from topcoat_demo.sources import spec_text
from topcoat_demo.world import Table

ROOT = Path(__file__).parents[3]
CONVERTED = {"python3", "hostname"}


def recipes() -> dict[str, dict[str, object]]:
    found: dict[str, dict[str, object]] = {}
    for path in sorted((ROOT / "container-images").rglob("*.yaml")):
        if path.parent.name not in ("profiles", "lists") and path.name != "users.yaml":
            found.update(yaml.safe_load(path.read_text()) or {})
    return found


class Packages(unittest.TestCase):
    @classmethod
    def setUpClass(cls) -> None:
        cls.catalog = Catalog()
        cls.trunk = Trunk(cls.catalog, cls.catalog.first)
        cls.specs = (*cls.trunk.all(), *infra(cls.catalog, CONVERTED))

    def test_names_are_unique_and_converted_ones_are_left_out(self) -> None:
        count = Counter(spec.name for spec in self.specs)
        self.assertEqual([name for name, number in count.items() if number > 1], [])
        self.assertEqual(CONVERTED & set(count), set())

    def test_every_requirement_is_met(self) -> None:
        names = {spec.name for spec in self.specs} | CONVERTED | {"python(abi)"}
        missing = {(spec.name, item) for spec in self.specs for item in spec.requires if item.split()[0] not in names}
        self.assertEqual(missing, set())

    def test_no_file_belongs_to_two_packages(self) -> None:
        count = Counter(item.path for spec in self.specs for item in spec.files)
        self.assertEqual([path for path, number in count.items() if number > 1], [])

    def test_every_entrypoint_of_the_recipes_exists(self) -> None:
        paths = {item.path for spec in self.specs for item in spec.files}
        missing = {(name, recipe["entrypoint"][0]) for name, recipe in recipes().items() if recipe.get("entrypoint")}
        self.assertEqual({(name, path) for name, path in missing if path not in paths}, set())

    def test_a_low_library_touches_many_services_and_nova_few(self) -> None:
        needs = {spec.name: {item.split()[0] for item in spec.requires} for spec in self.specs}

        def touched(name: str) -> set[str]:
            found = {name}
            while True:
                more = {other for other, items in needs.items() if items & found} - found
                if not more:
                    return found
                found |= more

        self.assertGreater(len(touched("python3-oslo-config")), 120)
        self.assertLess(len(touched("python3-nova")), 15)

    def test_kinds_of_packages_that_updates_must_master_are_there(self) -> None:
        self.assertTrue(any(spec.epoch for spec in self.specs))
        self.assertTrue(any(spec.post for spec in self.specs))
        self.assertTrue(any(spec.triggers for spec in self.specs))
        self.assertTrue(any(spec.obsoletes for spec in self.specs))
        files = [item for spec in self.specs for item in spec.files]
        self.assertTrue(any(item.caps for item in files))
        self.assertTrue(any(item.hardlink for item in files))
        self.assertTrue(any(item.config and item.noreplace for item in files))

    def test_newer_commits_are_newer_and_change_only_their_project(self) -> None:
        for commit in self.catalog.later:
            before, after = self.catalog.first[commit.project], self.catalog.current[commit.project]
            self.assertGreater(after.time, before.time)
            self.assertNotEqual(after.hash, before.hash)
        newer = {spec.nevra for spec in Trunk(self.catalog, self.catalog.current).all()}
        older = {spec.nevra for spec in self.trunk.all()}
        changed = {nevra.rsplit("-", 2)[0] for nevra in newer - older}
        self.assertIn("openstack-nova-compute", changed)
        self.assertNotIn("python3-oslo-config", changed)

    def test_a_service_command_prints_its_packages_and_ends_on_term(self) -> None:
        spec = next(spec for spec in self.specs if spec.name == "openstack-nova-compute")
        with tempfile.TemporaryDirectory() as folder:
            versions = Path(folder)
            (versions / "openstack-nova-compute").write_text("openstack-nova-compute 1:28-1\n")
            (versions / "python3-oslo-config").write_text("python3-oslo-config 2:9-1 (a change)\n")
            program = versions / "nova-compute"
            program.write_text(str(spec.files[0].content).replace(VERSIONS, folder))
            child = subprocess.Popen(["sh", str(program)], stdout=subprocess.PIPE, text=True, start_new_session=True)
            assert child.stdout
            lines = [child.stdout.readline() for _ in range(2)]
            child.terminate()
            self.assertEqual(child.wait(20), 0)
            child.stdout.close()
            short = subprocess.run(["sh", str(program), "--version"], capture_output=True, text=True, timeout=20, check=True)
        self.assertEqual(lines, ["nova-compute: openstack-nova-compute 1:28-1\n", "  python3-oslo-config 2:9-1 (a change)\n"])
        self.assertEqual(short.stdout, lines[0])

    def test_spec_of_a_source_tree_names_every_package_and_its_own_version(self) -> None:
        specs = Trunk(self.catalog, self.catalog.current, lambda _: "@release@").project("nova")
        text = spec_text("openstack-nova", self.catalog.current["nova"], specs)
        self.assertEqual(text.count("\n%package -n "), len(specs))
        self.assertIn("Requires: openstack-nova-common = %{?epoch:%{epoch}:}%{version}-%{release}\n", text)
        self.assertNotIn("@release@", text)

    def test_the_real_size_world_has_every_name_that_the_recipes_use(self) -> None:
        names = set()
        for recipe in recipes().values():
            for item in recipe.get("packages", ()):
                entry = item if isinstance(item, dict) else {"name": item}
                if entry.get("distro") != "rhel" and entry.get("release") in (None, "9"):
                    names.add(entry["name"])
        own = {spec.name for spec in world_rules.specifications()}
        self.assertEqual(names - Table().names - own, set())

    def test_real_services_are_recipes_and_their_packages_are_made(self) -> None:
        table = Table()
        known = recipes()
        for service in SERVICES:
            self.assertIn(service.image, known)
            self.assertIn(service.package, {*table.names, *table.roots})


if __name__ == "__main__":
    unittest.main()
