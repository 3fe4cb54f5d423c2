"""The provider and the consumer as Zuul runs them: playbook after playbook, on a small real site."""

from __future__ import annotations

import json
import shutil
import subprocess
import tempfile
import unittest
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from tests.functional.gating.test_build import IDENTITY
from tests.functional.roles import inventories
from tests.functional.roles.harness import RoleCase, Run
from tests.functional.runs.site import Site, packages
from tests.functional.trunk.dlrn_server import environment
from tests.functional.updater.world import need
from topcoat.cli._context import Settings
from topcoat.containerfile import fingerprints, image_labels

TAG = inventories.BUILDSET
NOVA, OSLO = "openstack/nova", "openstack/oslo.config"

SPEC = """\
Name: {source}
Epoch: {epoch}
Version: {version}
Release: 1
Summary: {source}
License: MIT
Source0: {source}-%{{version}}.tar.gz
BuildArch: noarch
{sections}
%description
{source}
%prep
%setup -q -n {source}-%{{version}}
%install
{install}
"""


def checkout(folder: Path, packages: Mapping[str, str], *, epoch: int = 0, version: str = "2.0", spec: bool = True) -> Path:
    """A git checkout whose spec makes packages: name → path of the one file it holds."""
    source = folder.name.replace(".", "-")
    sections = "\n".join(
        f"%package -n {name}\nSummary: {name}\n%description -n {name}\n{name}\n%files -n {name}\n{path}" for name, path in packages.items()
    )
    install = "\n".join(f"install -D -m 755 service %{{buildroot}}{path}" for path in packages.values())
    folder.mkdir(parents=True)
    if spec:
        (folder / f"{source}.spec").write_text(SPEC.format(source=source, epoch=epoch, version=version, sections=sections, install=install))
    (folder / "service").write_text("#!/bin/sh\necho under test\n")
    for words in (["init", "-q"], ["add", "-A"], ["-c", "user.name=t", "-c", "user.email=t@example.org", "commit", "-q", "-m", "x"]):
        subprocess.run(["git", "-C", str(folder), *words], check=True)
    return folder


def publish_references(site: Site) -> dict[str, str]:
    """Publish every image of the site as ``current-passed-ci``, made by rpm itself: name → digest."""
    settings = Settings(
        profile="site",
        recipes=str(site.tree),
        recipe_format="auto",
        settings=(),
        settings_file=None,
        extra_config=None,
        registry=None,
        namespace=None,
        authfile=None,
        ca_file=None,
        plain_http=(),
        work_dir=str(site.directory / "work"),
        progress="quiet",
    )
    prints = fingerprints(settings.recipes, settings.profile)
    held = {"base": ["basetool"], "nova-base": ["python3-oslo", "python3-nova"], "keystone": ["python3-oslo", "python3-keystone"]}
    held["nova-api"] = [*held["nova-base"], "openstack-nova-api"]
    held["nova-compute"] = [*held["nova-base"], "openstack-nova-compute"]
    specs = {spec.name: spec for spec in packages()}
    found = {}
    for name, recipe in settings.recipes.items():
        root = site.root([specs[package] for package in {"basetool": 0, **dict.fromkeys(held[name])}])
        labels = image_labels(recipe, prints[name], base_name="site", base_digest=None)
        found[name] = site.publish_root(root, f"site/{name}", config={"Labels": labels}).digest
    return found


class ProviderCase(RoleCase):
    """Shares one site with published reference images; each test has its own job folder."""

    SITE = Site

    @classmethod
    def setUpClass(cls) -> None:
        need("docker-registry", "rpmbuild", "createrepo_c", "podman")
        cls.directory = Path(tempfile.mkdtemp(prefix="topcoat-provider-"))
        cls.addClassCleanup(shutil.rmtree, cls.directory, ignore_errors=True)
        cls.site = cls.SITE(cls.directory / "site")
        cls.addClassCleanup(cls.site.close)
        cls.reference = cls.publish()

    @classmethod
    def publish(cls) -> dict[str, str]:
        """Publish what the site has before the job: name → digest."""
        return publish_references(cls.site)

    def setUp(self) -> None:
        super().setUp()
        credentials = json.loads(self.site.server.authfile.read_text())["auths"][self.site.server.host]
        import base64

        username, _, password = base64.b64decode(credentials["auth"]).decode().partition(":")
        host, _, port = self.site.server.host.partition(":")
        self.password = password
        # The registry of the site stands for a buildset registry: it holds the reference images too, as a scratch registry does.
        self.variables: dict[str, object] = {
            "install_topcoat_enabled": False,
            "topcoat_profile": "site",
            "topcoat_recipes": str(self.site.tree),
            "topcoat_namespace": "review",
            "build_gating_repo_source_root": str(self.home),
            "buildset_registry": {
                "host": host,
                "port": int(port),
                "username": username,
                "password": password,
                "cert": self.site.server.ca_file.read_text(),
            },
            "use_ci_registry_retries": 2,
            "use_ci_registry_delay": 1,
        }

    def sources(self, zuul: Mapping[str, object]) -> None:
        """Check out every project of the job, as the base job does."""
        made = {
            NOVA: ({"python3-nova": "/usr/lib/nova", "openstack-nova-api": "/usr/bin/nova-api"}, 1),
            OSLO: ({"python3-oslo": "/usr/lib/oslo"}, 0),
            "openstack/keystone": ({"python3-keystone": "/usr/bin/keystone"}, 0),
        }
        for project in zuul["projects"].values():  # type: ignore[attr-defined]
            folder = self.home / project["src_dir"]
            if project["name"] in made:
                packages, epoch = made[project["name"]]
                checkout(folder, packages, epoch=epoch)
            else:
                checkout(folder, {}, spec=False)
                for part in ("container-images", "tools/topcoat"):
                    (folder / part).mkdir(parents=True)

    def job(self, zuul: Mapping[str, object], *phases: str, check: bool = True, nodes: int = 1, **variables: object) -> Run:
        """Run the phases of the provider, as Zuul would; stops at the first that fails."""
        run = None
        for phase in phases:
            run = self.play(
                f"playbooks/{phase}.yaml",
                zuul=zuul,
                variables={**self.variables, **variables},
                check=check,
                nodes=nodes,
                environment={"HOME": str(self.home)},
            )
            if run.code:
                break
        assert run is not None
        return run

    def assertNoSecret(self, *runs: Run) -> None:
        """The password of the registry is in no output, no returned data, no log and no receipt."""
        for run in runs:
            self.assertNotIn(self.password, run.output)
            self.assertNotIn(self.password, json.dumps(run.data))
        for path in [*self.logs.rglob("*"), *self.work.rglob("*")]:
            if path.is_file() and "auth" not in path.relative_to(self.folder).parts:
                self.assertNotIn(self.password.encode(), path.read_bytes(), str(path))


class Review(ProviderCase):
    def test_depends_on_from_sources_to_proven_images(self) -> None:
        zuul = inventories.depends_on()
        self.sources(zuul)
        before = self.job(zuul, "base/pre", "provider/pre")
        self.assertTrue((self.work / "source" / "tools" / "topcoat").is_dir(), "the tool comes from the checkout of the roles")
        self.assertFalse((self.work / "source" / ".git").exists())
        run = self.job(zuul, "provider/run")
        after = self.job(zuul, "provider/post", "base/post")

        receipt = json.loads((self.work / "receipt.json").read_text())
        actions = {image["name"]: (image["action"], image["reason"]) for image in receipt["images"]}
        self.assertEqual(actions["nova-api"], ("update", "rpm-gated"))
        self.assertEqual(actions["keystone"], ("update", "rpm-gated"), "oslo is in it")
        self.assertEqual(actions["base"], ("reuse", "unchanged"))
        self.assertEqual(
            [entry["change_url"] for entry in receipt["gated"] if entry["package"].startswith("python3-oslo")],
            ["https://review.example.org/c/openstack/oslo.config/+/101"],
        )
        self.assertEqual([item["change"] for item in receipt["zuul"]["items"]], ["101", "205"])

        artifacts = {artifact["metadata"]["image"]: artifact for artifact in run.zuul["artifacts"]}  # type: ignore[union-attr,index]
        self.assertEqual(set(artifacts), set(actions))
        for image in receipt["images"]:
            self.assertEqual(artifacts[image["name"]]["metadata"]["digest"], image["digest"])
            self.assertEqual(artifacts[image["name"]]["url"], f"docker://{self.site.server.host}/review/{image['name']}:{TAG}")
        self.assertNotIn("retry", run.zuul)
        self.assertIn("python3-oslo", run.output, "the proof is in the log")

        reports = [artifact for artifact in after.zuul["artifacts"] if artifact["name"] == "Container images"]  # type: ignore[union-attr]
        self.assertEqual(len(reports), 1)
        self.assertTrue((self.logs / reports[0]["url"]).is_file(), "the returned page is where its address says")
        kept = self.logs / "container-images" / "node1"
        for name in ("plan.json", "receipt.json", "view.json", "logs/junit.xml"):
            self.assertTrue((kept / name).is_file(), name)

        handed_on = {**zuul, "artifacts": [{**artifact, "job": "container-images-provider"} for artifact in run.zuul["artifacts"]]}  # type: ignore[union-attr]
        storage = ["--storage-root", str(self.folder / "storage"), "--storage-runroot", str(self.folder / "run")]
        consumer = {"consume_images_arguments": storage, "consume_images_names": ["nova-api", "keystone"]}
        pulled = self.job(handed_on, "consumer/pre", "consumer/run", "consumer/post", **consumer)
        self.assertIn("0 images proved in running containers", pulled.output)
        self.assertTrue(any("no container runs an image of this set" in line for line in pulled.zuul["warnings"]))  # type: ignore[union-attr]
        consumed = json.loads((self.work / "consumed.json").read_text())
        self.assertEqual(set(consumed), {"images", "references"})
        self._another_digest(handed_on, consumer)
        self.assertNoSecret(before, run, after, pulled)
        self.assertNothingOutside()
        self.job(zuul, "base/cleanup")
        self.assertFalse((self.work / "auth").exists())

    def _another_digest(self, zuul: dict[str, object], variables: dict[str, object]) -> None:
        """Sabotage: the consumer is given a digest that is not in the registry, then one that it does not hold."""
        artifacts = json.loads(json.dumps(zuul["artifacts"]))
        for artifact in artifacts:
            if artifact["metadata"]["image"] == "keystone":
                artifact["metadata"]["digest"] = "sha256:" + "0" * 64
        run = self.job({**zuul, "artifacts": artifacts}, "consumer/pre", check=False, **variables)
        self.assertNotEqual(run.code, 0)
        self.assertIn("the registry does not hold", run.output)
        self.assertIn("compare the digest with the receipt of the provider", run.output)
        run = self.job({**zuul, "artifacts": artifacts}, "consumer/run", check=False, **variables)
        self.assertNotEqual(run.code, 0)
        self.assertIn("keystone: the provider returned sha256:000", run.output)
        run = self.job(zuul, "consumer/post", check=False, consume_images_must_run=["nova-api"], **variables)
        self.assertIn("no container runs nova-api", run.output)
        pods = self.folder / "pods.json"
        pods.write_text(json.dumps(self._pod(artifacts, "keystone")))
        run = self.job(zuul, "consumer/post", check=False, consume_images_pods=str(pods), consume_images_must_run=["keystone"], **variables)
        self.assertIn("pod site/keystone-0, container api: runs sha256:000", run.output)
        run = self.job({**zuul, "artifacts": []}, "consumer/pre", check=False, **variables)
        self.assertIn("zuul.artifacts names no image", run.output)
        self.assertIn("check the names, and that this job depends on its provider", run.output)

    @staticmethod
    def _pod(artifacts: list[dict[str, Any]], name: str) -> dict[str, object]:
        """A pod that runs what these artifacts say, as kubectl prints it."""
        artifact = next(artifact for artifact in artifacts if artifact["metadata"]["image"] == name)
        image = f"{artifact['url'].removeprefix('docker://')}@{artifact['metadata']['digest']}"
        status = {"name": "api", "image": image, "imageID": image, "state": {"running": {}}}
        metadata = {"name": f"{name}-0", "namespace": "site"}
        return {
            "kind": "Pod",
            "metadata": metadata,
            "spec": {"containers": [{"name": "api", "image": image}]},
            "status": {"containerStatuses": [status]},
        }

    def test_images_of_changes_ahead_are_the_start(self) -> None:
        ahead = inventories.gate()
        self.sources(ahead)
        first = dict(ahead, items=ahead["items"][:1], buildset="c" * 32)  # type: ignore[index]
        run = self.job(first, "base/pre", "provider/pre", "provider/run")
        keystone = next(artifact for artifact in run.zuul["artifacts"] if artifact["metadata"]["image"] == "keystone")  # type: ignore[union-attr]
        self.assertEqual(keystone["metadata"]["action"], "update")

        gone = {**keystone, "url": "docker://127.0.0.1:1/review/gone:x", "metadata": {**keystone["metadata"], "repository": "review/gone"}}
        second = dict(ahead, artifacts=[gone, keystone])
        run = self.job(second, "provider/pre")
        kept = json.loads((self.work / "artifacts.json").read_text())
        self.assertEqual([artifact["metadata"]["image"] for artifact in kept], ["keystone"])
        self.assertIn("are built from source", run.output)
        run = self.job(second, "provider/run")
        receipt = json.loads((self.work / "receipt.json").read_text())
        line = next(image for image in receipt["images"] if image["name"] == "keystone")
        self.assertEqual(line["reference_digest"], keystone["metadata"]["digest"], "the image of the change ahead is the reference")
        self.assertEqual((line["action"], line["digest"]), ("reuse", keystone["metadata"]["digest"]), "it holds the change ahead already")


class Nodes(ProviderCase):
    def test_two_nodes_share_the_plan(self) -> None:
        zuul = inventories.two_of_one_project()
        self.sources(zuul)
        run = self.job(zuul, "base/pre", "provider/pre", "provider/run", "provider/post", "base/post", nodes=2)
        receipt = json.loads((self.work / "receipt.json").read_text())
        self.assertEqual({image["name"] for image in receipt["images"]}, set(self.reference))
        shards = [json.loads((self.work / f"receipt-{number}.json").read_text()) for number in (1, 2)]
        parts = [{image["name"] for image in shard["images"]} for shard in shards]
        self.assertTrue(parts[0] and parts[1], "both nodes had something to do")
        self.assertEqual(parts[0] | parts[1], set(self.reference))
        images = [artifact for artifact in run.zuul["artifacts"] if artifact["metadata"]["type"] == "container_image"]  # type: ignore[union-attr]
        self.assertEqual(len(images), len(self.reference))
        self.assertTrue((self.logs / "container-images" / "node2" / "receipt.json").is_file())


class Situations(ProviderCase):
    """Which packages are built in each situation; the images have tests of their own."""

    BUILT = {
        "depends_on": {"nova", "oslo.config"},
        "gate": {"nova", "keystone"},
        "circular": {"nova", "oslo.config"},
        "two_of_one_project": {"nova"},
        "own_repository_ahead": {"nova"},
        "other_branch": {"nova"},
        "own_repository": set(),
        "periodic": set(),
    }

    def test_the_gating_repository(self) -> None:
        play = [{"hosts": "all", "roles": ["build-gating-repo"]}]
        self.work.mkdir()
        sources = {}
        for name, made in inventories.ALL.items():
            sources.update(made()["projects"])  # type: ignore[arg-type]
        self.sources({"projects": sources})
        self.assertEqual(set(self.BUILT), set(inventories.ALL))
        for name, expected in self.BUILT.items():
            with self.subTest(name):
                shutil.rmtree(self.work / "gating", ignore_errors=True)
                variables = {**self.variables}
                del variables["buildset_registry"]
                self.play(play, zuul=inventories.ALL[name](), variables=variables)
                manifest = self.work / "gating" / "gating.json"
                built = {entry["project"] for entry in json.loads(manifest.read_text())["packages"]} if manifest.exists() else set()
                self.assertEqual(built, {f"{inventories.HOST}/openstack/{project}" for project in expected})

    def test_a_project_whose_spec_file_is_in_its_distgit(self) -> None:
        """The job has rdoinfo and the distgit, so nothing is asked of a git server; DLRN itself is installed already."""
        distgit = "openstack/nova-distgit"
        zuul = inventories.variables("check", [inventories.change(NOVA, 7)], required=["rdoinfo", distgit])
        root = self.home / "src" / inventories.HOST
        checkout(root / NOVA, {}, spec=False)
        subprocess.run(["git", "-C", str(root / NOVA), "tag", "7.0.0"], check=True)
        made = checkout(root / distgit, {"python3-nova": "/usr/lib/nova"}, epoch=1, version="XXX", spec=True)
        (made / "nova-distgit.spec").write_text((made / "nova-distgit.spec").read_text().replace("nova-distgit", "nova"))
        places = "upstream: 'file:///none/nova', master-distgit: 'file:///none/nova-distgit'"
        line = f"{{project: nova, name: openstack-nova, {places}, maintainers: [a@example.org]}}"
        info = checkout(root / "rdoinfo", {}, spec=False)
        head = "releases:\n- {name: master, branch: rpm-master, repos: [{name: el9, buildsys: none}]}\npackages:\n- "
        (info / "rdo.yml").write_text(head + line + "\n")
        for folder in (made, info):
            subprocess.run(["git", "-C", str(folder), "add", "-A"], check=True)
            subprocess.run(["git", "-C", str(folder), *IDENTITY, "commit", "-q", "-m", "y"], check=True)
        programs = self.work / "dlrn/bin"
        programs.mkdir(parents=True)
        for name in ("dlrn", "pip"):
            (programs / name).symlink_to(environment() / "bin" / name)
        play = [{"hosts": "all", "roles": ["ensure-dlrn"]}, {"hosts": "all", "roles": ["build-gating-repo"]}]
        variables = {**self.variables, "ensure_dlrn_enabled": True, "ensure_dlrn_system_packages": False, "ensure_dlrn_source_root": str(self.home)}
        del variables["buildset_registry"]
        self.play(play, zuul=zuul, variables=variables)
        (package,) = json.loads((self.work / "gating/gating.json").read_text())["packages"]
        self.assertEqual(package["project"], f"{inventories.HOST}/{NOVA}")
        self.assertRegex(package["nevra"], r"^python3-nova-1:7\.0\.0-0\.")


class Sabotage(ProviderCase):
    """What is broken turns the job red, with the cause and the next step in its output."""

    def red(self, run: Run, *words: str, retry: bool | None = None) -> None:
        self.assertNotEqual(run.code, 0)
        for word in words:
            self.assertIn(word, run.output)
        self.assertEqual(run.zuul.get("retry"), retry)
        self.assertNotIn("artifacts", run.zuul, "nothing may be handed on")
        if retry is False:
            self.assertTrue(any(words[0] in warning for warning in run.zuul["warnings"]), "Zuul shows the cause on the change")  # type: ignore[union-attr]
        self.assertNoSecret(run)

    def test_a_project_without_a_package(self) -> None:
        zuul = inventories.two_of_one_project()
        checkout(self.home / f"src/{inventories.HOST}/{NOVA}", {}, spec=False)
        run = self.job(zuul, "base/pre", "provider/run", check=False)
        self.red(run, "openstack/nova is under test and has no spec file", "build_gating_repo_not_packaged", "a recheck will not help", retry=False)

    def test_the_gating_repository_disappears(self) -> None:
        zuul = inventories.two_of_one_project()
        self.job(zuul, "base/pre")
        missing = str(self.work / "gating")
        plays = [{"hosts": "all", "roles": [{"role": "plan-images", "plan_images_gating_repo": missing}]}]
        run = self.play(plays, zuul=zuul, variables=self.variables, check=False)
        self.red(run, f"the gating repository {missing} has no repodata/repomd.xml", "build it with 'topcoat gating'", retry=False)

    def test_a_repository_with_a_wrong_address(self) -> None:
        zuul = inventories.two_of_one_project()
        self.addCleanup(self.site.write_profile)
        self.site.write_profile(repositories=[{"id": "current", "baseurl": (self.site.directory / "nowhere").as_uri()}])
        run = self.job(zuul, "base/pre", "provider/pre", check=False)
        self.red(run, "current", "nowhere", "compare the addresses of the repositories", retry=False)

    def test_the_registry_is_down(self) -> None:
        registry = {**self.variables["buildset_registry"], "port": 1}  # type: ignore[dict-item]
        run = self.job(inventories.two_of_one_project(), "base/pre", check=False, buildset_registry=registry)
        self.red(run, "The buildset registry https://127.0.0.1:1 did not answer", "a recheck can help")

    def test_coverage_is_broken(self) -> None:
        zuul = inventories.two_of_one_project()
        checkout(self.home / f"src/{inventories.HOST}/{NOVA}", {"python3-nova": "/usr/lib/nova", "python3-nova-tests": "/usr/lib/tests"}, epoch=1)
        run = self.job(zuul, "base/pre", "provider/pre", "provider/run", check=False)
        self.red(run, "python3-nova-tests-1:2.0", "in no image", "not_containerised", "a recheck will not help", retry=False)
        after = self.job(zuul, "provider/post", "base/post")
        self.assertTrue((self.logs / "container-images/node1/receipt.json").is_file(), "a red run leaves its receipt")
        self.assertTrue(any(artifact["name"] == "Container images" for artifact in after.zuul["artifacts"]))  # type: ignore[union-attr]

    def test_proof_of_a_receipt_without_the_package(self) -> None:
        """verify-coverage does not trust the run: it looks into the registry."""
        zuul = inventories.two_of_one_project()
        self.sources(zuul)
        self.job(zuul, "base/pre", "provider/pre", "provider/run")
        receipt = json.loads((self.work / "receipt.json").read_text())
        for image in receipt["images"]:
            image["digest"] = self.reference[image["name"]]
            image["repository"] = f"{self.site.server.host}/site/{image['name']}"
        (self.work / "receipt.json").write_text(json.dumps(receipt))
        plays = [{"hosts": "all", "roles": [{"role": "verify-coverage", "verify_coverage_gating_repo": str(self.work / "gating")}]}]
        run = self.play(plays, zuul=zuul, variables=self.variables, check=False)
        self.assertNotEqual(run.code, 0)
        self.assertIn("not inside the images", run.output)


if __name__ == "__main__":
    unittest.main()
