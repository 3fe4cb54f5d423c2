"""The job configuration under Zuul's own parser, layout and job graph."""

from __future__ import annotations

import configparser
import re
import subprocess
import sys
import unittest
from functools import cache
from pathlib import Path

import yaml

from tests.zuul_config import adapter, playbooks

ROOT = playbooks.ROOT
EXAMPLES = ROOT / "doc" / "source" / "zuul" / "examples"
OURS = "team/topcoat"
GATE = "zuul-tests.d"
FOLDERS = ("zuul.d", GATE)
REVIEW = ("container-images-registry", "container-images-provider", "container-images-consumer")

SITE = """
- pipeline: {name: check, manager: independent}
- pipeline: {name: gate, manager: dependent, post-review: true}
- pipeline: {name: promote, manager: supercedent, post-review: true}
- pipeline: {name: periodic, manager: independent, post-review: true}
- pipeline: {name: periodic-weekly, manager: independent, post-review: true}
- job: {name: base, parent: null, pre-run: playbooks/site/pre.yaml, post-run: playbooks/site/post.yaml}
- project:
    name: openstack/nova
    templates: [container-images-check-gate]
- project:
    name: openstack/oslo.config
    templates: [container-images-check-gate, container-images-periodic, container-images-weekly]
- project:
    name: team/recipes
    templates: [container-images-recipes]
"""


def site(*more: tuple[str, str], ours: tuple[tuple[str, str], ...] = ()) -> adapter.Site:
    """A tenant with this repository, two service projects and what a test adds to the config project."""
    watched = ["openstack/nova", "openstack/oslo.config", "openstack/keystone", "openstack/nova-distgit", "rdoinfo"]
    found = adapter.Site([OURS, "team/recipes", *watched])
    found.load("site/config", [("zuul.d/site.yaml", SITE), *more])
    found.load_folder(OURS, ROOT, GATE)
    found.load(OURS, ours)
    found.finish()
    return found


@cache
def plain() -> adapter.Site:
    """The tenant without additions, made once."""
    return site()


OF_PROJECTS = ("api-guide/source/index.rst", "api-ref/source/servers.inc", "nova/locale/de/LC_MESSAGES/nova.po")
"""What projects have that use the templates, and this repository has not."""


@cache
def paths() -> tuple[str, ...]:
    """Every file of this repository, also those not committed yet."""
    argv = ["git", "-C", str(ROOT), "ls-files", "--cached", "--others", "--exclude-standard"]
    return tuple(subprocess.run(argv, check=True, capture_output=True, text=True).stdout.splitlines())


def example(name: str) -> tuple[str, str]:
    """An example of the documentation as a configuration file."""
    return f"zuul.d/{name}", (EXAMPLES / name).read_text(encoding="utf-8")


class Case(unittest.TestCase):
    """Fails where Zuul is not installed."""

    def setUp(self) -> None:
        if adapter.MISSING:
            self.fail(adapter.MISSING)


class Parsing(Case):
    def test_every_file_parses_without_error_or_warning(self) -> None:
        self.assertEqual((plain().errors, plain().warnings), ([], []))

    def test_the_parser_would_have_said(self) -> None:
        """The checks above can fail: one mistake of each kind is reported."""
        for mistake, expected in {
            "- job: {name: x, nodset: y}": "extra keys not allowed",
            "- job: {name: x, name: y}": "uplicate",
            "- job: {name: x, parent: no-such-job, run: playbooks/x.yaml}\n- project: {check: {jobs: [no-such-job]}}": "no-such-job",
            "- job: {name: x, timeout: 20000}": "exceeds tenant max-job-timeout",
            "- job: {name: x, vars: {zuul: 1}}": "zuul",
            "- project: {name: openstack/nova, check: {jobs: [noop]}}": "Project Forbidden",
        }.items():
            with self.subTest(mistake):
                found = site(ours=(("zuul.d/zz.yaml", mistake),))
                self.assertIn(expected, "\n".join(found.errors))

    def test_deprecations_are_seen(self) -> None:
        found = site(ours=(("zuul.d/zz.yaml", "- job: {name: x, cleanup-run: playbooks/x.yaml, files: ['^(?!a).*']}"),))
        self.assertEqual(len(found.warnings), 2, found.warnings)

    def test_nothing_defined_here_needs_something_of_a_site(self) -> None:
        """Another tenant, without our pipelines, loads the same files."""
        found = adapter.Site([OURS], default_base_job="other")
        found.load("site/config", [("zuul.yaml", "- job: {name: other, parent: null}\n- pipeline: {name: test, manager: independent}")])
        found.load_folder(OURS, ROOT)
        found.finish()
        self.assertEqual((found.errors, found.warnings), ([], []))


class Selection(Case):
    """(project, changed files, pipeline) → jobs that run."""

    TABLE = (
        ("openstack/nova", ["nova/compute/manager.py"], "check", REVIEW),
        ("openstack/nova", ["nova/compute/manager.py"], "gate", REVIEW),
        ("openstack/nova", ["doc/source/index.rst"], "check", ()),
        ("openstack/nova", ["README.rst", "doc/source/conf.py"], "check", ()),
        ("openstack/nova", ["releasenotes/notes/a-0123456789abcdef.yaml", "releasenotes/source/conf.py"], "check", ()),
        ("openstack/nova", ["api-ref/source/servers.inc", "api-guide/source/conf.py"], "gate", ()),
        ("openstack/nova", ["nova/locale/de/LC_MESSAGES/nova.po", "nova/locale/nova.pot"], "check", ()),
        ("openstack/nova", ["nova/locale/de/LC_MESSAGES/nova.po", "nova/exception.py"], "check", REVIEW),
        ("openstack/nova", ["nova/doc/x.py"], "check", REVIEW),
        ("openstack/nova", ["nova/locale/__init__.py"], "check", REVIEW),
        ("openstack/nova", ["README.rst", "nova.spec"], "check", REVIEW),
        ("openstack/nova", ["nova/tests/unit/test_x.py"], "check", REVIEW),
        ("openstack/nova", None, "periodic", ()),
        ("openstack/keystone", ["keystone/x.py"], "check", ()),
        ("openstack/oslo.config", ["oslo_config/cfg.py"], "check", REVIEW),
        ("openstack/oslo.config", None, "periodic", ("container-images-registry", "container-images-rebuild")),
        (
            "openstack/oslo.config",
            None,
            "periodic-weekly",
            ("container-images-registry", "container-images-rebuild-infra", "container-images-base-refresh"),
        ),
        (OURS, ["container-images/openstack/nova.yaml"], "promote", ()),
        ("team/recipes", ["container-images/openstack/nova.yaml"], "promote", ("container-images-distgit",)),
        ("team/recipes", ["README.rst"], "promote", ()),
    )

    def test_table(self) -> None:
        for project, files, pipeline, jobs in self.TABLE:
            with self.subTest(project=project, files=files, pipeline=pipeline):
                self.assertEqual(tuple(plain().freeze(project, pipeline, files)), jobs)

    def test_a_change_of_a_role_runs_every_job_that_uses_it(self) -> None:
        jobs = plain().freeze(OURS, "check", ["bindep.txt"])
        self.assertLessEqual(set(REVIEW), set(jobs))
        for name, job in jobs.items():
            for playbook in (*job.pre_run, *job.run, *job.post_run):
                if playbook.startswith("playbooks/site/"):
                    continue
                for role in playbooks.roles_of_playbook(playbook):
                    with self.subTest(job=name, role=role):
                        self.assertIn(name, plain().freeze(OURS, "check", [f"roles/{role}/tasks/main.yaml"]))
                with self.subTest(job=name, playbook=playbook):
                    self.assertIn(name, plain().freeze(OURS, "check", [playbook]))


class OwnGate(Case):
    """Which jobs run for a change to this repository, in ``check`` and ``gate``."""

    PLATFORMS = ("debian-bookworm", "debian-trixie", "ubuntu-noble", "centos-9-stream", "centos-10-stream")
    ROLES = frozenset(f"topcoat-roles-{name}" for name in PLATFORMS)
    # Environments that run the product for a person: the functional tests call the same commands.
    BY_HAND = frozenset({"plan", "build", "update", "reproduce"})
    TABLE = (
        ("README.rst", {"linters", "docs", "fresh-bookworm", "fresh-trixie"}, ()),
        ("LICENSE", {"linters"}, ()),
        ("doc/source/zuul/add.rst", {"linters", "unit", "functional", "zuul-config", "docs"}, ()),
        ("tests/unit/x.py", {"linters", "unit"}, ()),
        ("tests/functional/layers/x.py", {"linters", "functional"}, ()),
        ("tests/functional/roles/harness.py", {"linters", "functional", "roles-oldest-ansible"}, ()),
        ("tests/zuul_config/adapter.py", {"linters", "zuul-config"}, ()),
        ("tests/e2e/zuul/test_story.py", {"linters", "zuul"}, ()),
        ("tests/allowed-skips.txt", {"linters", "unit", "functional", "fresh-bookworm", "fresh-trixie"}, ()),
        ("tools/topcoat/planner/__init__.py", {"linters", "unit", "functional", "docs", "demo", "demo-real"}, REVIEW),
        ("tools/zuul_lab/lab.py", {"linters", "unit", "functional", "demo", "demo-real", "zuul"}, REVIEW),
        ("container-images/openstack/nova.yaml", {"linters", "unit", "functional", "docs", "demo", "demo-real"}, REVIEW),
        (
            "roles/run-ci-registry/tasks/main.yaml",
            {"linters", "unit", "functional", "roles-oldest-ansible", "zuul-config", "docs", "zuul"},
            (*REVIEW, *ROLES),
        ),
        ("roles/promote-images/tasks/main.yaml", {"linters", "unit", "functional", "roles-oldest-ansible", "zuul-config", "docs", "zuul"}, ()),
        ("playbooks/provider/run.yaml", {"linters", "functional", "roles-oldest-ansible", "zuul-config", "zuul"}, REVIEW),
        ("zuul.d/review-jobs.yaml", {"linters", "unit", "zuul-config", "docs", "zuul"}, REVIEW),
    )

    def _environments(self) -> set[str]:
        parser = configparser.ConfigParser(interpolation=None)
        parser.read(ROOT / "tox.ini")
        return {section.partition(":")[2] for section in parser.sections() if section.startswith("testenv:")}

    def test_table(self) -> None:
        for path, environments, others in self.TABLE:
            for pipeline in ("check", "gate"):
                with self.subTest(path=path, pipeline=pipeline):
                    self.assertEqual(set(plain().freeze(OURS, pipeline, [path])), {f"topcoat-tox-{name}" for name in environments} | set(others))

    def test_every_path_of_the_repository_runs_a_job_in_check_and_gate(self) -> None:
        for path in paths():
            for pipeline in ("check", "gate"):
                self.assertTrue(plain().freeze(OURS, pipeline, [path]), f"{path}: nothing runs in {pipeline}")

    def test_every_test_is_run_by_a_change_of_itself(self) -> None:
        homes = {"unit": "unit", "functional": "functional", "zuul_config": "zuul-config", "e2e": "zuul"}
        tests = [path for path in paths() if re.match(r"tests/.*/test_\w+\.py$", path)]
        self.assertGreater(len(tests), 100)
        for path in tests:
            self.assertIn(f"topcoat-tox-{homes[path.split('/')[1]]}", plain().freeze(OURS, "check", [path]), path)

    def test_every_environment_of_tox_has_a_job_that_runs(self) -> None:
        run: set[str] = set()
        for pipeline, files in (("check", ["tox.ini"]), ("periodic", None)):
            for job in plain().freeze(OURS, pipeline, files).values():
                run |= set(str(job.variables.get("topcoat_tox_environment", "")).split(","))
        self.assertEqual(self._environments() - run, self.BY_HAND)
        self.assertEqual(run - self._environments() - {""}, set())

    def test_what_tox_runs_by_itself_is_voted_on_in_gate(self) -> None:
        parser = configparser.ConfigParser(interpolation=None)
        parser.read(ROOT / "tox.ini")
        default = {name.strip() for name in parser["tox"]["env_list"].split(",")}
        jobs = plain().freeze(OURS, "gate", ["tox.ini"])
        run = {name for job in jobs.values() for name in str(job.variables.get("topcoat_tox_environment", "")).split(",")}
        self.assertLessEqual(default, run)

    def test_only_what_needs_root_gets_a_node_with_root(self) -> None:
        jobs = {**plain().freeze(OURS, "check", ["tox.ini"]), **plain().freeze(OURS, "periodic", None)}
        for name in ("linters", "unit", "zuul-config", "docs", "fuzz"):
            self.assertFalse(jobs[f"topcoat-tox-{name}"].variables["topcoat_tox_as_root"], name)

    def test_a_platform_job_runs_for_every_role_that_knows_platforms(self) -> None:
        known = {path.split("/")[1] for path in paths() if re.match(r"roles/[^/]+/vars/platforms/", path)}
        self.assertIn("run-ci-registry", known)
        for role in known:
            jobs = plain().freeze(OURS, "check", [f"roles/{role}/tasks/main.yaml"])
            self.assertLessEqual(self.ROLES, set(jobs), role)

    def test_other_tenants_see_nothing_of_it(self) -> None:
        found = adapter.Site([OURS])
        found.load("site/config", [("zuul.d/site.yaml", "- pipeline: {name: check, manager: independent}\n- job: {name: base, parent: null}")])
        found.load_folder(OURS, ROOT)
        found.finish()
        self.assertEqual((found.errors, found.warnings), ([], []))
        self.assertEqual(found.freeze(OURS, "check", ["tools/topcoat/planner/__init__.py"]), {})
        self.assertEqual([name for name in found.job_names(OURS) if name.startswith("topcoat-")], [])


class Secrets(Case):
    def test_no_job_of_ours_has_a_secret(self) -> None:
        text = "\n".join(path.read_text(encoding="utf-8") for folder in FOLDERS for path in (ROOT / folder).rglob("*.yaml"))
        self.assertNotRegex(text, r"(?m)^\s*-?\s*secrets?:")
        for project, pipeline in ((OURS, "check"), ("openstack/nova", "check"), ("openstack/nova", "gate"), ("openstack/oslo.config", "periodic")):
            for job in plain().freeze(project, pipeline, ["bindep.txt"] if pipeline != "periodic" else None).values():
                self.assertEqual(job.secrets, (), job.name)

    def test_the_documented_wrapper_runs_after_review_only(self) -> None:
        use = "- project: {name: openstack/keystone, templates: [container-images-check-gate, site-container-images]}"
        found = site(example("publish-with-secrets.yaml"), ("zuul.d/use.yaml", use))
        self.assertEqual((found.errors, found.warnings), ([], []))
        jobs = found.freeze("openstack/keystone", "gate", ["keystone/x.py"])
        self.assertEqual(tuple(jobs), (*REVIEW, "site-container-images-publish"))
        self.assertEqual(jobs["site-container-images-publish"].secrets, ("container_registry_credentials",))
        self.assertEqual(tuple(found.freeze("openstack/keystone", "check", ["keystone/x.py"])), REVIEW)
        self.assertEqual(tuple(found.freeze("openstack/keystone", "periodic", None)), ("site-container-images-rebuild",))

    def test_a_secret_before_review_is_refused(self) -> None:
        check = "- project: {name: openstack/keystone, templates: [container-images-check-gate], check: {jobs: [site-container-images-publish]}}"
        found = site(example("publish-with-secrets.yaml"), ("zuul.d/use.yaml", check))
        with self.assertRaisesRegex(adapter.Refused, "check does not allow post-review job"):
            found.freeze("openstack/keystone", "check", ["keystone/x.py"])

    def test_even_without_post_review_in_the_wrapper(self) -> None:
        """The secret goes to playbooks of this repository, which is untrusted, so Zuul insists by itself."""
        name, text = example("publish-with-secrets.yaml")
        check = "- project: {name: openstack/keystone, templates: [container-images-check-gate], check: {jobs: [site-container-images-publish]}}"
        found = site((name, text.replace("    post-review: true\n", "")), ("zuul.d/use.yaml", check))
        with self.assertRaisesRegex(adapter.Refused, "check does not allow post-review job"):
            found.freeze("openstack/keystone", "check", ["keystone/x.py"])

    def test_the_documented_own_registry_works_before_review(self) -> None:
        use = "- project: {name: openstack/keystone, templates: [site-container-images-check-gate]}"
        found = site(example("own-registry.yaml"), ("zuul.d/use.yaml", use))
        self.assertEqual((found.errors, found.warnings), ([], []))
        jobs = found.freeze("openstack/keystone", "check", ["keystone/x.py"])
        self.assertEqual(tuple(jobs), ("site-container-images-registry", *REVIEW[1:]))
        self.assertEqual(jobs["container-images-provider"].dependencies, (("site-container-images-registry", False),))
        self.assertEqual(jobs["container-images-provider"].secrets, (), "the password travels as secret data, not as a secret")
        gate = found.freeze("openstack/keystone", "gate", ["keystone/x.py"])
        self.assertEqual(tuple(gate), ("site-container-images-gate-registry", *REVIEW[1:]))
        for pipeline in ("check", "gate"):
            self.assertEqual(found.freeze("openstack/keystone", pipeline, ["doc/source/x.rst"]), {}, pipeline)
        spaces = [run["container-images-provider"].variables["topcoat_namespace"] for run in (jobs, gate)]
        self.assertEqual(len(set(spaces)), 2, "what a job before review writes is never looked for in gate")

    def test_what_a_site_says_once_reaches_every_job(self) -> None:
        use = "- project: {name: openstack/nova, templates: [site-container-images-branches]}"
        found = site(example("site-once.yaml"), example("site-branches.yaml"), ("zuul.d/use.yaml", use))
        self.assertEqual((found.errors, found.warnings), ([], []))
        for project in ("openstack/nova", "openstack/oslo.config"):
            for name, job in found.freeze(project, "check", ["x.py"]).items():
                self.assertEqual(job.variables["topcoat_set"]["namespace"], "example", f"{name} of {project}")
                self.assertIn("base_digest", job.variables["topcoat_set"])
        self.assertEqual(tuple(found.freeze("openstack/nova", "check", ["doc/source/x.rst"])), ())

    def test_what_a_site_says_of_a_branch(self) -> None:
        use = "- project: {name: openstack/keystone, templates: [container-images-check-gate, site-container-images-branches]}"
        found = site(example("site-branches.yaml"), ("zuul.d/use.yaml", use))
        self.assertEqual((found.errors, found.warnings), ([], []))
        for branch, namespace in (("stable/2025.1", "example-2025-1"), ("master", None)):
            jobs = found.freeze("openstack/keystone", "gate", ["x.py"], branch=branch)
            self.assertEqual(tuple(jobs), REVIEW)
            self.assertEqual(jobs["container-images-provider"].variables.get("topcoat_set", {}).get("namespace"), namespace)
            self.assertEqual(tuple(found.freeze("openstack/keystone", "gate", ["doc/x.rst"], branch=branch)), (), "a variant brings no job back")
        both = site(example("site-branches.yaml"), example("site-once.yaml"), ("zuul.d/use.yaml", use.replace("keystone", "nova")))
        merged = both.freeze("openstack/nova", "gate", ["x.py"], branch="stable/2025.1")["container-images-provider"].variables["topcoat_set"]
        self.assertEqual(merged["namespace"], "example-2025-1", "as the page says, the variant wins")
        self.assertEqual(set(merged), {"namespace", "base_digest", "trunk"})

    def test_the_tenant_of_a_site(self) -> None:
        (entry,) = yaml.safe_load(example("site-tenant.yaml")[1])
        plain().check_tenant(entry)
        with self.assertRaisesRegex(Exception, "extra keys not allowed"):
            plain().check_tenant({"tenant": {**entry["tenant"], "unknown": 1}})
        self.assertIn(OURS, entry["tenant"]["source"]["gerrit"]["untrusted-projects"])

    def test_mirrors_are_added_to_what_the_site_says_once(self) -> None:
        found = site(example("site-once.yaml"), example("site-mirrors.yaml"))
        self.assertEqual((found.errors, found.warnings), ([], []))
        for name, job in found.freeze("openstack/nova", "check", ["x.py"]).items():
            self.assertEqual(set(job.variables["topcoat_set"]), {"namespace", "base_digest", "mirror", "trunk", "keys", "base_mirror"}, name)
            self.assertIn("url", job.variables["zuul_site_mirror_info"]["pypi"], name)

    def test_the_key_reaches_the_promotion_alone(self) -> None:
        use = "- project: {name: openstack/keystone, periodic: {jobs: [site-container-images-rebuild, site-container-images-promote]}}"
        found = site(example("publish-with-secrets.yaml"), example("sign-what-is-promoted.yaml"), ("zuul.d/use.yaml", use))
        self.assertEqual((found.errors, found.warnings), ([], []))
        jobs = found.freeze("openstack/keystone", "periodic", None)
        self.assertEqual(jobs["site-container-images-rebuild"].secrets, ("container_registry_credentials",))
        self.assertEqual(jobs["site-container-images-promote"].secrets, ("container_registry_credentials", "promote_images_signing"))

    def test_the_token_reaches_the_promotion_alone(self) -> None:
        use = "- project: {name: openstack/keystone, periodic: {jobs: [site-container-images-rebuild, site-container-images-promote]}}"
        found = site(example("publish-with-secrets.yaml"), example("sign-as-zuul.yaml"), ("zuul.d/use.yaml", use))
        self.assertEqual((found.errors, found.warnings), ([], []))
        jobs = found.freeze("openstack/keystone", "periodic", None)
        self.assertEqual(jobs["site-container-images-rebuild"].secrets, ("container_registry_credentials",))
        self.assertEqual(jobs["site-container-images-promote"].secrets, ("container_registry_credentials", "promote_images_token"))
        rules = yaml.safe_load(example("fulcio.yaml")[1])["ci-issuer-metadata"]["zuul"]
        text = " ".join([*rules["extension-templates"].values(), rules["subject-alternative-name-template"]])
        asked = set(re.findall(r"\{\{ \.(\w+) \}\}|index \. \"([\w-]+)\"", text))
        self.assertEqual(
            {"url", "tenant", "sub", "build-uuid"}, {name for pair in asked for name in pair if name}, "claims of Zuul's tokens, and url"
        )

    def test_each_robot_reaches_its_job_alone(self) -> None:
        use = "- project: {name: openstack/keystone, templates: [container-images-check-gate, site-container-images, site-container-images-periodic]}"
        found = site(example("site-robots.yaml"), ("zuul.d/use.yaml", use))
        self.assertEqual((found.errors, found.warnings), ([], []))
        secret = ("container_registry_credentials",)
        runs = {
            "check": dict.fromkeys(REVIEW, ()),
            "gate": {**dict.fromkeys(REVIEW, ()), "site-container-images-publish": secret},
            "periodic": {"site-container-images-rebuild": secret, "site-container-images-promote": secret},
            "periodic-weekly": {"site-container-images-garbage": secret},
        }
        for pipeline, expected in runs.items():
            jobs = found.freeze("openstack/keystone", pipeline, ["x.py"] if pipeline in ("check", "gate") else None)
            self.assertEqual({name: job.secrets for name, job in jobs.items()}, expected, pipeline)
        periodic = found.freeze("openstack/keystone", "periodic", None)
        self.assertEqual(periodic["site-container-images-promote"].dependencies, (("site-container-images-rebuild", False),))
        jobs = {entry["job"]["name"]: entry["job"] for entry in yaml.safe_load(example("site-robots.yaml")[1]) if "job" in entry}
        kinds = {name: job["secrets"][0]["secret"] for name, job in jobs.items()}
        self.assertEqual(kinds["site-container-images-rebuild"], "site-robot-publish")
        self.assertEqual(kinds["site-container-images-promote"], "site-robot-promote")

    def test_the_first_set_is_the_work_of_the_config_project(self) -> None:
        """It has none of the jobs of review, so what depends on them must not be asked of it."""
        found = site(example("site-robots.yaml"), example("site-once.yaml"), example("site-first.yaml"))
        self.assertEqual((found.errors, found.warnings), ([], []))
        self.assertEqual(found.freeze("site/config", "gate", ["zuul.d/jobs.yaml"]), {})
        for name, job in found.freeze("site/config", "periodic", None).items():
            self.assertEqual(set(job.variables["topcoat_set"]), {"namespace", "base_digest"}, name)

    def test_packaging_beside_the_project(self) -> None:
        found = site(example("add-to-a-project.yaml"), example("site-dlrn.yaml"))
        self.assertEqual((found.errors, found.warnings), ([], []))
        for pipeline in ("check", "gate"):
            jobs = found.freeze("openstack/nova", pipeline, ["x.py"])
            self.assertEqual(tuple(jobs), REVIEW)
            self.assertTrue(jobs["container-images-provider"].variables["ensure_dlrn_enabled"])
            self.assertEqual(found.freeze("openstack/nova", pipeline, ["doc/source/x.rst"]), {}, pipeline)

    def test_a_login_that_may_read_travels_as_data(self) -> None:
        use = "- project: {name: openstack/keystone, templates: [site-container-images-private]}"
        found = site(example("site-private-images.yaml"), ("zuul.d/use.yaml", use))
        self.assertEqual((found.errors, found.warnings), ([], []))
        for pipeline in ("check", "gate"):
            jobs = found.freeze("openstack/keystone", pipeline, ["x.py"])
            self.assertEqual([name for name, job in jobs.items() if job.secrets], ["site-container-images-login"], pipeline)
            for name in REVIEW[1:]:
                self.assertIn(("site-container-images-login", False), jobs[name].dependencies, name)
            self.assertEqual(found.freeze("openstack/keystone", pipeline, ["doc/source/x.rst"]), {}, pipeline)

    def test_playbooks_that_hand_a_secret_on_log_nothing(self) -> None:
        for name, variable in (
            ("own-registry-playbook.yaml", "buildset_registry"),
            ("site-private-images-playbook.yaml", "container_registry_credentials"),
        ):
            (play,) = yaml.safe_load(example(name)[1])
            (task,) = play["tasks"]
            self.assertTrue(task["no_log"])
            self.assertEqual({key: list(value) for key, value in task["zuul_return"].items()}, {"secret_data": [variable]})

    def test_nodesets(self) -> None:
        use = "- project: {name: openstack/keystone, templates: [site-container-images-check-gate]}"
        found = site(example("site-nodesets.yaml"), ("zuul.d/use.yaml", use))
        self.assertEqual((found.errors, found.warnings), ([], []))
        for pipeline in ("check", "gate"):
            jobs = found.freeze("openstack/keystone", pipeline, ["x.py"])
            self.assertEqual({name: len(job.nodes) for name, job in jobs.items()}, dict(zip(REVIEW, (1, 3, 1), strict=True)), pipeline)
            self.assertEqual(found.freeze("openstack/keystone", pipeline, ["doc/source/x.rst"]), {}, pipeline)

    def test_third_party(self) -> None:
        found = site(example("site-third-party.yaml"), example("site-once.yaml"))
        self.assertEqual((found.errors, found.warnings), ([], []))
        jobs = found.freeze("openstack/keystone", "third-party-check", ["x.py"])
        self.assertEqual(tuple(jobs), REVIEW)
        self.assertFalse(found.pipelines["third-party-check"], "it is a pipeline before review")
        for name, job in jobs.items():
            self.assertEqual(job.secrets, (), name)
            self.assertEqual(job.variables["topcoat_set"]["namespace"], "example", name)
        self.assertEqual(found.freeze("openstack/keystone", "third-party-check", ["releasenotes/notes/x.yaml"]), {})

    def test_architectures_are_joined_before_anybody_consumes_or_publishes(self) -> None:
        use = "- project: {name: openstack/keystone, templates: [site-architectures, site-architectures-periodic]}"
        found = site(example("site-robots.yaml"), example("architectures.yaml"), ("zuul.d/use.yaml", use))
        self.assertEqual((found.errors, found.warnings), ([], []))
        builders = ("images-x86", "images-arm")
        for pipeline in ("check", "gate"):
            jobs = found.freeze("openstack/keystone", pipeline, ["keystone/x.py"])
            join = jobs["container-images-index"]
            self.assertEqual({one for one, _ in join.dependencies}, {"container-images-registry", *builders})
            self.assertEqual(join.nodes, (), "the executor joins")
            # a soft dependency waits for a job of exactly this name and for no child of it
            self.assertIn(("container-images-index", True), jobs["container-images-consumer"].dependencies)
            self.assertEqual([name for name, job in jobs.items() if job.provides], ["container-images-index"])
        publish = jobs["site-container-images-publish"]
        self.assertEqual({one for one, _ in publish.dependencies}, {"container-images-index", "container-images-consumer"})
        jobs = found.freeze("openstack/keystone", "periodic", None)
        self.assertEqual(tuple(jobs), ("rebuild-x86", "rebuild-arm", "rebuild-index", "site-container-images-promote"))
        self.assertEqual({one for one, _ in jobs["rebuild-index"].dependencies}, {"rebuild-x86", "rebuild-arm"})
        self.assertTrue(all(job.variables.get("plan_images_full") for name, job in jobs.items() if name.startswith("rebuild-") and job.nodes))

    def test_a_site_without_recipes(self) -> None:
        found = adapter.Site([OURS, "openstack/nova", "site/images"])
        pipelines = "- pipeline: {name: check, manager: independent}\n- pipeline: {name: gate, manager: dependent, post-review: true}\n"
        found.load("site/config", [("zuul.d/site.yaml", f"{pipelines}- job: {{name: base, parent: null}}\n"), example("site-adopted.yaml")])
        found.load_folder(OURS, ROOT)
        found.finish()
        self.assertEqual([error for error in found.errors if "pipeline" not in error], [])
        for pipeline in ("check", "gate"):
            jobs = found.freeze("openstack/nova", pipeline, ["x.py"])
            self.assertEqual(tuple(jobs), REVIEW)
            self.assertEqual({job.variables["topcoat_profile"] for job in jobs.values()}, {"site"})
            self.assertEqual(found.freeze("openstack/nova", pipeline, ["doc/source/x.rst"]), {}, pipeline)

    def test_a_lock_is_proposed_after_the_promotion_with_the_sites_secret(self) -> None:
        found = adapter.Site([OURS, "site/images"])
        pipelines = [f"- pipeline: {{name: {name}, manager: independent, post-review: true}}" for name in ("periodic", "periodic-weekly")]
        text = "\n".join(["- job: {name: base, parent: null}", "- pipeline: {name: gate, manager: dependent, post-review: true}", *pipelines])
        wanted = ("site-robots.yaml", "site-first.yaml", "site-lock.yaml")
        found.load("site/config", [("zuul.d/site.yaml", text), *(example(name) for name in wanted)])
        found.load_folder(OURS, ROOT)
        found.finish()
        self.assertEqual([error for error in found.errors if "pipeline" not in error], [])
        jobs = found.freeze("site/config", "periodic", None)
        lock = jobs["site-container-images-lock"]
        self.assertEqual({one for one, _ in lock.dependencies}, {"site-container-images-promote"})
        self.assertEqual((lock.secrets, lock.nodes), (("propose_change_credentials",), ()))

    def test_a_search_in_review_needs_no_secret(self) -> None:
        found = site(ours=(example("site-bisect.yaml"),))
        self.assertEqual((found.errors, found.warnings), ([], []))
        job = found.freeze(OURS, "check", ["try-a-set.sh"])["which-package-was-it"]
        self.assertEqual(job.secrets, ())
        self.assertEqual(job.dependencies, (("container-images-registry", True),))

    def test_the_other_examples_parse(self) -> None:
        found = site(example("deploy-job.yaml"), ("zuul.d/add.yaml", example("add-to-a-project.yaml")[1].replace("nova", "keystone")))
        self.assertEqual((found.errors, found.warnings), ([], []))


class Graph(Case):
    def test_every_hard_dependency_is_in_the_same_template(self) -> None:
        for template, pipelines in plain().templates().items():
            for pipeline, jobs in pipelines.items():
                text = f"- project: {{name: openstack/keystone, templates: [{template}]}}"
                frozen = site(("zuul.d/use.yaml", text)).freeze("openstack/keystone", pipeline, ["keystone/x.py", "container-images/x.yaml"])
                self.assertEqual(tuple(frozen), jobs, f"{template} in {pipeline}")
                for job in frozen.values():
                    for dependency, soft in job.dependencies:
                        self.assertTrue(soft or dependency in jobs, f"{template}: {job.name} needs {dependency}")

    def test_provides_and_requires_are_paired(self) -> None:
        provided, required = set(), set()
        for job in self._all().values():
            provided |= job.provides
            required |= job.requires
        self.assertEqual(provided, required)
        self.assertEqual(provided, {"container-image"})

    def test_what_provides_does_not_pause(self) -> None:
        """A paused job counts as ready for changes behind, before its images are returned."""
        for job in self._all().values():
            if job.provides:
                used = set().union(*(playbooks.roles_of_playbook(path) for path in job.run if (ROOT / path).is_file()))
                self.assertNotIn("pause-ci-registry", used, job.name)
                self.assertIn("return-image-artifacts", used, job.name)

    def test_every_playbook_exists(self) -> None:
        for job in self._all().values():
            for path in (*job.pre_run, *job.run, *job.post_run):
                if not path.startswith("playbooks/site/"):
                    self.assertTrue((ROOT / path).is_file(), f"{job.name}: {path}")

    def test_credentials_are_removed_after_an_abort_too(self) -> None:
        for job in self._all().values():
            cleaning = {role for path in job.cleanup for role in playbooks.roles_of_playbook(path)}
            self.assertTrue(cleaning & {"leave-ci-registry", "stop-ci-registry"}, job.name)

    def test_what_needs_the_network_is_tried_before_run(self) -> None:
        for job in self._all().values():
            before = {role for path in job.pre_run if (ROOT / path).is_file() for role in playbooks.roles_of_playbook(path)}
            wanted = {"run-ci-registry"} if job.name == REVIEW[0] else {"install-topcoat", "use-ci-registry"}
            if "build-images" in {role for path in job.run for role in playbooks.roles_of_playbook(path)}:
                wanted |= {"prepare-repositories", "fetch-artifacts-ahead"}
            self.assertLessEqual(wanted, before, job.name)

    def test_every_job_has_a_chosen_time_limit_and_attempts(self) -> None:
        for job in self._all().values():
            self.assertIsNotNone(job.timeout, job.name)
            self.assertEqual(job.attempts, 3, job.name)

    def test_tags_are_moved_by_one_job_at_a_time(self) -> None:
        movers = {name for name, job in self._all().items() if "container-images-tags" in job.semaphores}
        self.assertEqual(movers, {"container-images-publish", "container-images-promote", "container-images-garbage"})

    def test_every_role_is_used_by_a_job(self) -> None:
        used: set[str] = set()
        for job in self._all().values():
            for path in (*job.pre_run, *job.run, *job.post_run):
                if (ROOT / path).is_file():
                    used |= playbooks.roles_of_playbook(path)
        self.assertEqual(playbooks.all_roles() - used, set())

    @staticmethod
    @cache
    def _all() -> dict[str, adapter.Frozen]:
        """Every job that can run, frozen in a pipeline after review with all jobs it may depend on."""
        names = [name for name in plain().job_names(OURS) if not plain().abstract(name) and not name.startswith("topcoat-")]
        found = site(("zuul.d/use.yaml", f"- project: {{name: openstack/keystone, gate: {{jobs: [{', '.join(names)}]}}}}"))
        return found.freeze("openstack/keystone", "gate", ["keystone/x.py"])


class Expressions(Case):
    """Every regular expression of the configuration."""

    @staticmethod
    def _expressions() -> list[str]:
        text = "\n".join(path.read_text(encoding="utf-8") for folder in FOLDERS for path in sorted((ROOT / folder).rglob("*.yaml")))
        return sorted(set(re.findall(r"^\s*(?:- (?:&\w+ )?|files: )(\^\S+)$", text, re.MULTILINE)))

    def test_they_are_found(self) -> None:
        self.assertGreater(len(self._expressions()), 6)

    def test_each_compiles_and_each_of_its_alternatives_matches_a_file(self) -> None:
        for expression in self._expressions():
            for alternative in _alternatives(expression):
                with self.subTest(alternative):
                    compiled = adapter.compile_re2(alternative)
                    known = (*paths(), *OF_PROJECTS)
                    self.assertTrue(any(compiled.match(path) for path in known), "matches no file of this repository, nor what projects have")


def _alternatives(expression: str) -> list[str]:
    """``a(b|c)`` → ``ab``, ``ac``; groups inside groups too."""
    inner = re.search(r"\(([^()]*)\)", expression)
    if not inner:
        return [expression]
    return [
        found for option in inner.group(1).split("|") for found in _alternatives(expression[: inner.start()] + option + expression[inner.end() :])
    ]


class ReturnedData(Case):
    def test_our_merge_is_that_of_zuul(self) -> None:
        sys.path.insert(0, str(ROOT / "tools"))
        try:
            from topcoat.zuul import merge_returned
        finally:
            sys.path.pop(0)
        parts: list[dict[str, object]] = [
            {},
            {"a": {"b": 1}},
            {"a": {"c": 2}, "zuul": {"pause": True}},
            {"a": 3, "zuul": {"artifacts": [{"name": "x", "url": "u"}], "warnings": ["one"], "retry": False}},
            {"zuul": {"artifacts": [{"name": "y", "url": "v"}], "warnings": ["two"], "file_comments": {"f": [{"line": 1, "message": "m"}]}}},
            {"zuul": {"file_comments": {"f": [{"line": 2, "message": "n"}], "g": []}, "redactions": ["s"], "log_url": "l"}},
        ]
        import copy

        for first in parts:
            for second in parts:
                for third in parts:
                    theirs: dict[str, object] = {}
                    ours: dict[str, object] = {}
                    for part in (first, second, third):
                        theirs = adapter.merge_returned(theirs, copy.deepcopy(part))
                        ours = merge_returned(ours, copy.deepcopy(part))
                    self.assertEqual(ours, theirs)


class House(Case):
    ORDER = (
        "name parent abstract description semaphores nodeset attempts timeout post-timeout ansible-split-streams pre-run run post-run "
        "dependencies requires provides required-projects files vars"
    )

    def test_attributes_of_a_job_come_in_one_order(self) -> None:
        import yaml

        order = self.ORDER.split()
        for path in sorted(path for folder in FOLDERS for path in Path(ROOT / folder).glob("*-jobs.yaml")):
            for stanza in yaml.safe_load(path.read_text(encoding="utf-8")):
                if "job" in stanza:
                    keys = list(stanza["job"])
                    self.assertEqual(keys, sorted(keys, key=order.index), f"{path.name}: {stanza['job']['name']}")

    def test_no_yaml_tags(self) -> None:
        """zuul-sphinx stops at ``!override`` and its like."""
        for path in (path for folder in FOLDERS for path in (ROOT / folder).rglob("*.yaml")):
            self.assertNotRegex(path.read_text(encoding="utf-8"), r"(?m)^[^#]*:\s+!\w")


if __name__ == "__main__":
    unittest.main()
