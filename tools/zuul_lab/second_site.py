"""A second site, set up by the pages alone: the examples of "A site, once" with this lab's names for theirs, and nothing else about our jobs.

It runs what such a site runs: the first reference set, a review of a project whose spec file is in its distgit, gate, publication. This module must
never say anything about our jobs that the pages do not: where one is wrong or silent, the page is mended.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

import yaml

from topcoat_demo.distribution import shared
from zuul_lab import images, registry_view
from zuul_lab.layout import REPOSITORY, Places
from zuul_lab.projects import World, pip_options, tree
from zuul_lab.review import Change
from zuul_lab.scenes import PROVIDER, REVIEW_JOBS, Finished, Scenes

EXAMPLES = REPOSITORY / "doc/source/zuul/examples"
CONFIG_PROJECT = "site/config"
OURS = "team/topcoat"
# All its packages are in images that the lab builds; the examples name nova, whose are not.
PROJECT = "openstack/keystone"
OTHER = "openstack/nova"
DISTGIT = "openstack/keystone-distgit"
INFO = "rdoinfo"
REBUILD = "site-container-images-rebuild"
PROMOTE = "site-container-images-promote"
PUBLISH = "site-container-images-publish"
NAMESPACE = "example"
_SPEC = "packaging/openstack-keystone.spec"
# What no page of ours is about: pipelines, nodes and a base job, which every site has; and which projects go through gate together.
SITES_OWN = ("zuul.d/base.yaml", "zuul.d/nodes.yaml", "zuul.d/pipelines.yaml")
_QUEUE = """---
- queue: {name: integrated}
- project: {name: ^openstack/(nova|keystone)$, queue: integrated}
- project: {name: site/config, check: {jobs: [noop]}, gate: {jobs: [noop]}}
"""
_RDOINFO = """---
releases:
- {name: master, branch: rpm-master, repos: [{name: el9, buildsys: none}]}
packages:
- project: keystone
  name: openstack-keystone
  upstream: https://git.example.org/openstack/keystone
  master-distgit: https://git.example.org/openstack/keystone-distgit
  maintainers: [keystone@example.org]
"""


def example(name: str, base: str = "") -> str:
    """An example of the pages with this lab's registry and base for theirs."""
    made = shared()
    text = (EXAMPLES / name).read_text()
    text = re.sub(r"\bquay\.io\b", images.REGISTRY, text)
    return re.sub(r"sha256:[0-9a-f]{64}", base or (made.real or made.tiny).digest, text)


@dataclass(frozen=True)
class SecondWorld(World):
    """The world of that site."""

    def site(self) -> dict[str, str]:
        own = super().site()
        files = {name: text for name, text in own.items() if name in SITES_OWN or name.startswith("playbooks/base/")}
        files |= {f"zuul.d/{name}": f"---\n{example(name)}" for name in ("site-once.yaml", "site-robots.yaml", "site-first.yaml")}
        for name in ("add-to-a-project.yaml", "site-dlrn.yaml"):
            files[f"zuul.d/{name}"] = "---\n" + example(name).replace("openstack/nova", PROJECT)
        files["zuul.d/published.yaml"] = f"---\n- project: {{name: {PROJECT}, templates: [site-container-images]}}\n"
        return {**files, "zuul.d/queue.yaml": _QUEUE}

    def tenant(self) -> dict[str, object]:
        """The example's entry; rdoinfo and the distgit are projects that it watches as well."""
        (entry,) = yaml.safe_load(example("site-tenant.yaml"))
        (watched,) = [each for each in entry["tenant"]["source"]["gerrit"]["untrusted-projects"] if isinstance(each, dict)]
        watched["projects"] += [INFO, DISTGIT]
        return dict(entry["tenant"])

    def variables(self, places: Places) -> dict[str, object]:
        """What this lab's distribution and nodes are, for the base job."""
        found = {**super().variables(places)}
        values = {name: value for name, value in images.profile_values().items() if name not in ("namespace", "base_digest")}
        return {
            **found,
            "topcoat_set": values,
            "promote_images_arguments": list(images.PATTERNS),
            "ensure_dlrn_pip_options": pip_options(places, "wheels-dlrn"),
            "ensure_dlrn_system_packages": False,
        }


def second_world() -> SecondWorld:
    """The demo distribution's keystone without its spec file, which lies in a distgit that rdoinfo names."""
    sources = shared().sources
    keystone = tree(sources / "keystone")
    distgit = {"openstack-keystone.spec": keystone.pop(_SPEC), "README": b"The packaging of keystone.\n"}
    watched = ((OTHER, tree(sources / "nova")), (PROJECT, keystone), (DISTGIT, distgit), (INFO, {"rdo.yml": _RDOINFO.encode()}))
    return SecondWorld(
        projects=((OURS, None), *watched),
        jobs=("base", REBUILD, PROVIDER),
        config_project=CONFIG_PROJECT,
        name="site",
        wheels=("DLRN", "SQLAlchemy<2", "setuptools<81"),
    )


class SecondSite(Scenes):
    """Its first day."""

    def tell(self) -> None:
        scene = self._verdict.scene
        with scene("periodic and promote: the first reference set"):
            self._first_set()
        change: Change | None = None
        with scene("check a change of a project whose spec file is in its distgit"):
            change = self._check()
        if change:
            with scene("gate it, publish, merge"):
                self._gate(change)

    def _first_set(self) -> None:
        verdict, lab = self._verdict, self._lab
        errors = lab.zuul.config_errors()
        verdict.check("site: Zuul has nothing against what the pages say", not errors, errors)
        site = registry_view.site(lab.places)
        verdict.equal("site: there are no images before", site.tags(f"{NAMESPACE}/keystone"), [])
        lab.zuul.enqueue_ref("periodic", CONFIG_PROJECT, "refs/heads/master", lab.workspace.head(CONFIG_PROJECT))
        done = self._wait("periodic", None)
        verdict.equal("periodic: exactly the jobs of the page ran", set(done.builds), {REBUILD, PROMOTE})
        verdict.equal("periodic: rebuild and promotion succeeded", done.result, "SUCCESS")
        made = {name: str(metadata["digest"]) for name, metadata in done.artifacts(REBUILD).items()}
        verdict.check("periodic: images were built", {"base", "keystone", "nova-api"} <= set(made), sorted(made))
        promoted = {name: site.digest(f"{NAMESPACE}/{name}", images.TAG) for name in made}
        verdict.equal("promote: the floating tag names what was built", promoted, made)

    def _check(self) -> Change:
        verdict = self._verdict
        change = self._lab.workspace.upload(PROJECT, {"CHANGE": "keystone has packaging elsewhere\n"}, "Change what is packaged elsewhere")
        done = self._wait("check", change)
        verdict.equal("check: exactly the expected jobs ran", set(done.builds), REVIEW_JOBS)
        verdict.equal("check: Zuul votes Verified +1", self._vote(change), 1)
        found = done.artifacts()
        updated = {name for name, metadata in found.items() if metadata["action"] == "update"}
        verdict.equal("check: the image of keystone was updated", updated, {"keystone"})
        gated = self._gated(done)
        tree_id = self._lab.workspace.tree_of(PROJECT)
        verdict.check("check: the packages are named by the tree of the change", all(tree_id[:7] in name for name in gated), sorted(gated))
        address = str(found["base"]["host"]).partition(":")[0]
        with registry_view.buildset_registry(self._lab.places, address) as registry:
            held = registry.packages(str(found["keystone"]["path"]), str(found["keystone"]["digest"]))
        verdict.check("check: rpm finds them in the image that is served", bool(gated & held), sorted(name for name in held if "keystone" in name))
        return change

    def _gate(self, change: Change) -> None:
        verdict, lab = self._verdict, self._lab
        done = self._through_the_gate(change, {*REVIEW_JOBS, PUBLISH}, "gate: the jobs of review ran, and the publication")
        site = registry_view.site(lab.places)
        made = {name: str(metadata["digest"]) for name, metadata in done.artifacts().items()}
        published = {name: site.digest(f"{NAMESPACE}/{name}", done.uuid) for name in made}
        verdict.equal("publish: the site's registry has the tested digests", published, made)
        held = site.packages(f"{NAMESPACE}/keystone", made["keystone"])
        verdict.check("publish: with the packages of the change", bool(self._gated(done) & held), sorted(name for name in held if "keystone" in name))

    def _gated(self, done: Finished) -> set[str]:
        """``name-version-release`` of the packages under test, as the receipt tells."""
        receipt = self._log_of(done, PROVIDER, "receipt.json")
        packages = [str(entry["package"]).rpartition(".")[0].rsplit("-", 2) for entry in receipt["coverage"]]
        return {f"{name}-{version.rpartition(':')[2]}-{release}" for name, version, release in packages}
