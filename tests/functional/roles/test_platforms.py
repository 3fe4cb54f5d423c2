"""What the roles would install and run on each platform, by its recorded facts; and on one that nobody has looked at."""

from __future__ import annotations

import json
import shutil
import unittest

from tests.functional.roles import inventories
from tests.functional.roles.harness import HERE, RoleCase

FACTS = {
    "Debian 12": {"os_family": "Debian", "distribution": "Debian", "distribution_major_version": "12", "pkg_mgr": "apt"},
    "Debian 13": {"os_family": "Debian", "distribution": "Debian", "distribution_major_version": "13", "pkg_mgr": "apt"},
    "Ubuntu 24.04": {"os_family": "Debian", "distribution": "Ubuntu", "distribution_major_version": "24", "pkg_mgr": "apt"},
    "CentOS Stream 9": {"os_family": "RedHat", "distribution": "CentOS", "distribution_major_version": "9", "pkg_mgr": "dnf"},
    "Rocky Linux 9": {"os_family": "RedHat", "distribution": "Rocky", "distribution_major_version": "9", "pkg_mgr": "dnf"},
    "CentOS Stream 10": {"os_family": "RedHat", "distribution": "CentOS", "distribution_major_version": "10", "pkg_mgr": "dnf"},
}
"""As Ansible's setup module gives them."""
PACKAGE = ("package", ["openssl", "apache2-utils", "docker-registry"])
CONTAINER = ("container", ["openssl", "httpd-tools", "podman"])


class Registry(RoleCase):
    def prepare(self, facts: dict[str, str], *, check: bool = True, **variables: object) -> tuple[str, list[str], str]:
        """(method, packages asked for, output) of the role's preparation on a platform where nothing is installed."""
        recorded = self.folder / "packages.json"
        recorded.unlink(missing_ok=True)
        modules = self.folder / "recorders"
        modules.mkdir(exist_ok=True)
        for manager in ("apt", "dnf", "dnf5"):
            shutil.copyfile(HERE / "package_recorder.py", modules / f"{manager}.py")
        tasks = [
            {
                "ansible.builtin.set_fact": {
                    **{f"ansible_{name}": value for name, value in facts.items()},
                    "ansible_service_mgr": "none",
                    "cacheable": True,
                }
            },
            {
                "ansible.builtin.include_role": {"name": "run-ci-registry", "tasks_from": "platform.yaml"},
            },
            {"ansible.builtin.include_role": {"name": "run-ci-registry", "tasks_from": "packages.yaml", "public": True}},
            {"ansible.builtin.debug": {"msg": "method={{ _run_ci_registry_method }}."}},
        ]
        environment = {
            "ANSIBLE_LIBRARY": f"{HERE / 'library'}:{modules}",
            "RECORDED_PACKAGES": str(recorded),
        }
        # No program is found: the shell has an empty PATH.
        plays = [{"hosts": "all", "gather_facts": False, "environment": {"PATH": "/bin-of-nobody"}, "tasks": tasks}]
        run = self.play(plays, variables=variables, environment=environment, check=check)
        method = run.output.partition("method=")[2].partition(".")[0]
        return method, json.loads(recorded.read_text()) if recorded.exists() else [], run.output

    def test_each_platform(self) -> None:
        for name, facts in FACTS.items():
            with self.subTest(name):
                self.assertEqual(self.prepare(facts)[:2], PACKAGE if facts["pkg_mgr"] == "apt" else CONTAINER)

    def test_a_site_that_wants_containers_gets_them(self) -> None:
        self.assertEqual(
            self.prepare(FACTS["Debian 12"], run_ci_registry_method="container")[:2], ("container", ["openssl", "apache2-utils", "podman"])
        )

    def test_a_platform_that_nobody_has_looked_at_is_refused_with_the_way_out(self) -> None:
        for facts in (
            {"os_family": "Debian", "distribution": "Debian", "distribution_major_version": "11", "pkg_mgr": "apt"},
            {"os_family": "RedHat", "distribution": "Fedora", "distribution_major_version": "42", "pkg_mgr": "dnf5"},
            {"os_family": "Suse", "distribution": "SLES", "distribution_major_version": "15", "pkg_mgr": "zypper"},
        ):
            with self.subTest(facts["distribution"]):
                method, packages, output = self.prepare(facts, check=False)
                self.assertEqual((method, packages), ("", []))
                family = facts["distribution"]
                self.assertIn(f"run-ci-registry does not know {family}-{facts['distribution_major_version']}", " ".join(output.split()))
                self.assertIn("Next step: install a registry", " ".join(output.split()))


class Dlrn(RoleCase):
    def test_each_platform(self) -> None:
        recorded, modules = self.folder / "packages.json", self.folder / "recorders"
        modules.mkdir()
        for manager in ("apt", "dnf"):
            shutil.copyfile(HERE / "package_recorder.py", modules / f"{manager}.py")
        environment = {"ANSIBLE_LIBRARY": f"{HERE / 'library'}:{modules}", "RECORDED_PACKAGES": str(recorded)}
        zuul = inventories.depends_on()
        unknown = {"Fedora 42": {"os_family": "RedHat", "distribution": "Fedora", "distribution_major_version": "42"}}
        for name, facts in {**{name: FACTS[name] for name in ("Debian 12", "Rocky Linux 9")}, **unknown}.items():
            with self.subTest(name):
                told = {**{f"ansible_{key}": value for key, value in facts.items()}, "cacheable": True}
                tasks = [
                    {"ansible.builtin.set_fact": told},
                    {"ansible.builtin.include_role": {"name": "ensure-dlrn", "tasks_from": "packages.yaml"}},
                ]
                play = [{"hosts": "all", "gather_facts": False, "tasks": tasks}]
                run = self.play(play, zuul=zuul, variables={"ensure_dlrn_build_packages": ["python3-pbr"]}, environment=environment, check=False)
                if name == "Fedora 42":
                    self.assertIn("ensure-dlrn does not know Fedora-42", " ".join(run.output.split()))
                    continue
                asked = json.loads(recorded.read_text())
                self.assertIn("python3-pbr", asked)
                self.assertEqual("rpm-build" in asked, facts["pkg_mgr"] == "dnf", asked)
                recorded.unlink()


class Sites(RoleCase):
    def test_output_is_left_for_fetch_output(self) -> None:
        logs = self.work / "logs"
        logs.mkdir(parents=True)
        (logs / "build.log").write_text("said\n")
        output = self.home / "zuul-output/logs/container-images"
        self.play(["fetch-image-logs"], variables={"zuul_use_fetch_output": True, "fetch_image_logs_output": str(output)})
        self.assertEqual((output / "node1/logs/build.log").read_text(), "said\n")
        self.assertEqual(list(self.logs.iterdir()), [])

    def test_a_mirror_of_the_site_is_the_index(self) -> None:
        shown = [
            {
                "hosts": "all",
                "gather_facts": False,
                "tasks": [
                    {"ansible.builtin.include_role": {"name": "install-topcoat", "public": True}, "vars": {"install_topcoat_enabled": False}},
                    {"ansible.builtin.debug": {"msg": "options={{ install_topcoat_pip_options | join(' ') }}."}},
                ],
            }
        ]
        mirror = {"zuul_site_mirror_info": {"pypi": {"url": "https://mirror.example.org/pypi/simple"}}}
        self.assertIn("options=--index-url https://mirror.example.org/pypi/simple.", self.play(shown, variables=mirror).output)
        self.assertIn("options=.", self.play(shown).output)


if __name__ == "__main__":
    unittest.main()
