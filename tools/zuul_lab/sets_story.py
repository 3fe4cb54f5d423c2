"""Two kinds of sets through their life: an index of two architectures, and images of a vendor. Each step is checked from outside.

This module must never look into the product's memory: it knows what Gerrit, Zuul, the registries and the log folder show.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path
from urllib.parse import urlsplit

from topcoat.errors import InfrastructureError
from topcoat.process import run
from zuul_lab import images, registry_view
from zuul_lab.review import BASE, Change
from zuul_lab.scenes import CONSUMER, PROVIDER, REVIEW_JOBS, Finished, Scenes
from zuul_lab.second_site import CONFIG_PROJECT, NAMESPACE, PROMOTE, PUBLISH
from zuul_lab.sets_world import (
    ARCHITECTURES,
    HELPER,
    LIBRARY,
    PROXY,
    SEARCHED,
    SERVED,
    SERVICE,
    TOOL,
    TREES,
    VENDOR,
    VENDOR_TAG,
    publish_repositories,
)

INDEX = "container-images-index"
BUILDERS = {"x86_64": "images-x86", "aarch64": "images-arm"}
JOBS = {"container-images-registry", *BUILDERS.values(), INDEX, CONSUMER}
REBUILD = "rebuild-index"
LOCK, BOARD, SEARCH = "site-container-images-lock", "container-images-board", "which-package-was-it"
PERIODIC = {"rebuild-x86", "rebuild-arm", REBUILD, PROMOTE, LOCK, BOARD}
# What tries a set: bad since the data of the tool are new.
_TRY = """#!/bin/sh
tool=$HOME/topcoat
list=$("$tool/venv/bin/topcoat" --options "$tool/options-bisect.yaml" inventory "$TOPCOAT_REGISTRY/$TOPCOAT_NAMESPACE/tool:$TOPCOAT_TAG") || exit 125
! echo "$list" | grep -q tool-data-2.0
"""
IMAGES = {"base", "tool"}


class SetsStory(Scenes):
    """Tells the scenes in order; each leaves what the next one needs."""

    def tell(self) -> None:
        scene = self._verdict.scene
        adopted: Change | None = None
        change: Change | None = None
        moved: Finished | None = None
        errors = self._lab.zuul.config_errors()
        self._verdict.check("Zuul has nothing against what the pages say", not errors, errors)
        workspace = self._lab.workspace
        with scene("upload a change for a vendor's images, and what it depends on"):
            below = workspace.upload(LIBRARY, {"CHANGE": "the helper learns a new option\n"}, "Learn a new option")
            adopted = workspace.upload(SERVICE, {"CHANGE": "the service uses it\n"}, "Use the new option", depends_on=[below])
        with scene("periodic: the first set of two architectures, promoted"):
            self._periodic("1.0")
        with scene("upload a change for two architectures"):
            change = workspace.upload(TOOL, {"CHANGE": "for every machine\n"}, "Change what every machine has")
        if adopted:
            with scene("check a vendor's images with a change and what it depends on"):
                self._adopted(adopted)
        if change:
            with scene("check a set of two architectures"):
                self._check(change)
        if change:
            with scene("gate the index, publish, merge"):
                self._gate(change)
        with scene("periodic: both repositories move on, and the promoted index with them"):
            publish_repositories(self._lab.places, "2.0", workspace.head(TOOL))
            moved = self._periodic("2.0")
        if change and moved:
            with scene("tell the change that a promoted set holds it, twice"):
                self._told(change, moved)
        with scene("search the package that made the second set bad, twice"):
            self._search()

    # ---- two architectures --------------------------------------------------------------------------------------------------------------------

    def _periodic(self, version: str) -> Finished:
        verdict, lab = self._verdict, self._lab
        known = {str(item["uuid"]) for item in lab.zuul.buildsets(pipeline="periodic")}
        lab.zuul.enqueue_ref("periodic", CONFIG_PROJECT, "refs/heads/master", lab.workspace.head(CONFIG_PROJECT))
        done = self._wait("periodic", None, known)
        verdict.equal(f"periodic {version}: exactly the jobs of the page ran", set(done.builds), PERIODIC)
        verdict.equal(f"periodic {version}: builds, index and promotion succeeded", done.result, "SUCCESS")
        site = registry_view.site(lab.places)
        made = {name: str(metadata["digest"]) for name, metadata in done.artifacts(REBUILD).items()}
        verdict.equal(f"periodic {version}: every image was returned", set(made), IMAGES)
        promoted = {name: site.digest(f"{NAMESPACE}/{name}", images.TAG) for name in made}
        verdict.equal(f"periodic {version}: the floating tag names the indexes", promoted, made)
        self._index(f"periodic {version}", site, NAMESPACE, done.uuid, made)
        for arch, digest in self._children(site, f"{NAMESPACE}/tool", images.TAG).items():
            held = site.packages(f"{NAMESPACE}/tool", digest)
            wanted = f"tool-data-{version}-1.el9"
            verdict.check(f"periodic {version}: the image of {arch} holds the packages", wanted in held, sorted(held))

        self._proposed(version)
        board = sorted((lab.places.logs / "builds" / str(done.builds[BOARD]["uuid"])).glob("container-images/*/logs/board/index.html"))
        verdict.check(f"periodic {version}: the board names the set", bool(board) and done.uuid[:8] in board[0].read_text(), board)
        return done

    def _told(self, change: Change, done: Finished) -> None:
        """What a release engineer does with the promotion's file; Gerrit shows what came of it."""
        verdict, lab = self._verdict, self._lab
        promotion, authfile = lab.places.state / "promotion.json", lab.places.etc / "review-auth.json"
        promotion.write_text(json.dumps(self._log_of(done, PROMOTE, "logs/promotion.json")))
        authfile.touch(mode=0o600)
        authfile.write_text(json.dumps({"auths": {urlsplit(BASE).netloc: lab.review.login()}}))
        argv = [Path(sys.executable).with_name("topcoat"), f"--authfile={authfile}", f"--plain-http={urlsplit(BASE).netloc}", "tell", promotion]
        for scene, wanted in (("told", "told"), ("told again", "before")):
            said = json.loads(run([*argv, f"--gerrit={BASE}", "--format=json"], timeout=120, failure=InfrastructureError).output)
            verdict.equal(f"{scene}: the change of the tool, and no other", [row["number"] for row in said[wanted]], [change.number])
            verdict.equal(f"{scene}: nothing failed", said["failed"], [])
            words = [message.text for message in lab.review.messages(change, "admin") if "holds this change" in message.text]
            verdict.equal(f"{scene}: one comment is on it", len(words), 1)
            verdict.check(f"{scene}: it names the set and the image", done.uuid in "".join(words) and "tool" in "".join(words), words)

    def _proposed(self, version: str) -> None:
        """The locks of what was promoted wait for a reviewer: one change, however often they are proposed."""
        changes = self._lab.review.open_changes(TREES)
        if not self._verdict.equal(f"lock {version}: one change is proposed", len(changes), 1):
            return
        revision = changes[0]["revisions"][changes[0]["current_revision"]]  # type: ignore[index]
        files = set(revision["files"]) - {"/COMMIT_MSG"}
        self._verdict.check(
            f"lock {version}: it holds locks and nothing else", bool(files) and {name.partition("/")[0] for name in files} == {"locks"}, files
        )
        text = self._lab.workspace.show(TREES, revision["ref"], "locks/tool.yaml")
        self._verdict.check(f"lock {version}: the lock names the packages of the set", f"{version}-1.el9" in text, text[:600])

    def _search(self) -> None:
        verdict, lab = self._verdict, self._lab
        change = lab.workspace.upload(TREES, {"try-a-set.sh": _TRY}, "Which package was it")
        first = self._wait("check", change)
        self._found("search", change, first)
        site = registry_view.site(lab.places)
        tags = sorted(site.tags(f"{SEARCHED}/tool"))
        verdict.check("search: each step is a set in the registry", len([tag for tag in tags if tag.startswith("bisect-")]) >= 2, tags)
        lab.review.comment(change, "recheck")
        again = self._wait("check", change, {first.uuid})
        self._found("search again", change, again)
        verdict.equal("search again: nothing was tried twice, on another node", sorted(site.tags(f"{SEARCHED}/tool")), tags)
        steps = [self._steps(done) for done in (first, again)]
        verdict.equal("search again: the same steps", steps[1], steps[0])

    def _found(self, scene: str, change: Change, done: Finished) -> None:
        self._verdict.equal(f"{scene}: it succeeded", done.builds[SEARCH]["result"], "SUCCESS")
        words = self._lab.review.messages(change)[-1].text
        self._verdict.check(f"{scene}: Zuul's message names the guilty package", "tool-data" in words and "guilty" in words, words[-600:])
        page = [artifact for artifact in done.builds[SEARCH].get("artifacts", []) if artifact["name"] == "Steps of the bisect"]  # type: ignore[attr-defined]
        self._verdict.check(f"{scene}: the steps are returned as a page", len(page) == 1, done.builds[SEARCH].get("artifacts"))

    def _steps(self, done: Finished) -> object:
        return self._log_of(done, SEARCH, "logs/bisect.json")["steps"]

    def _check(self, change: Change) -> None:
        verdict, lab = self._verdict, self._lab
        done = self._wait("check", change)
        verdict.equal("check: exactly the jobs of the page ran", set(done.builds), JOBS)
        verdict.equal("check: Zuul votes Verified +1", self._vote(change), 1)
        nodes = {name: bool(build.get("nodeset")) for name, build in done.builds.items()}
        verdict.say(f"      nodes: {nodes}")
        found = done.artifacts(INDEX)
        made = {name: str(metadata["digest"]) for name, metadata in found.items()}
        verdict.equal("check: every image was returned", set(made), IMAGES)
        before = registry_view.site(lab.places)
        address = str(found["tool"]["host"]).partition(":")[0]
        with registry_view.buildset_registry(lab.places, address) as registry:
            namespace = str(found["tool"]["path"]).rpartition("/")[0]
            self._index("check", registry, namespace, done.uuid, made)
            self._changed("check", registry, namespace, made["tool"])
        verdict.equal("check: what nobody touched keeps its index", made["base"], before.digest(f"{NAMESPACE}/base", images.TAG))
        self._consumed("check", done, made)

    def _gate(self, change: Change) -> None:
        verdict, lab = self._verdict, self._lab
        done = self._through_the_gate(change, {*JOBS, PUBLISH}, "gate: the jobs of the page ran, and the publication")
        site = registry_view.site(lab.places)
        made = {name: str(metadata["digest"]) for name, metadata in done.artifacts(INDEX).items()}
        published = {name: site.digest(f"{NAMESPACE}/{name}", done.uuid) for name in made}
        verdict.equal("gate: the site's registry has the tested indexes", published, made)
        self._changed("gate", site, NAMESPACE, made["tool"])

    def _index(self, scene: str, registry: registry_view.Stored, namespace: str, tag: str, made: dict[str, str]) -> None:
        """Each index has one image an architecture, in the order of the profile, and each is what its own job has published."""
        for name, digest in sorted(made.items()):
            children = self._children(registry, f"{namespace}/{name}", digest)
            own = {machine: registry.digest(f"{namespace}/{name}", f"{tag}-{arch}") for arch, machine in ARCHITECTURES.items()}
            self._verdict.equal(f"{scene}: {name} joins what each architecture's job made, in order", list(children.items()), list(own.items()))

    def _changed(self, scene: str, registry: registry_view.Stored, namespace: str, digest: str) -> None:
        tree = self._lab.workspace.tree_of(TOOL)[:7]
        for machine, child in self._children(registry, f"{namespace}/tool", digest).items():
            held = registry.packages(f"{namespace}/tool", child)
            ours = sorted(name for name in held if name.startswith("tool-"))
            changed = [name for name in ours if tree in name and not name.startswith("tool-data")]
            self._verdict.check(f"{scene}: rpm finds the change in the image of {machine}", len(changed) == 1, ours)

    @staticmethod
    def _children(registry: registry_view.Stored, repository: str, target: str) -> dict[str, str]:
        return registry.children(repository, target)

    # ---- images of a vendor -------------------------------------------------------------------------------------------------------------------

    def _adopted(self, change: Change) -> None:
        verdict = self._verdict
        done = self._wait("check", change)
        verdict.equal("vendor: exactly the jobs of the template ran", set(done.builds), REVIEW_JOBS)
        verdict.equal("vendor: Zuul votes Verified +1", self._vote(change), 1)
        found = done.artifacts()
        actions = {name: metadata["action"] for name, metadata in found.items()}
        verdict.equal("vendor: what holds the packages was updated", actions, {HELPER: "update", SERVED: "update", PROXY: "reuse"})
        receipt = self._log_of(done, PROVIDER, "receipt.json")
        covered = {str(entry["package"]).rpartition(".")[0] for entry in receipt["coverage"] if entry["covered"]}
        verdict.equal("vendor: packages of both changes are proved inside", {name.rsplit("-", 2)[0] for name in covered}, {HELPER, SERVED})
        self._from_vendor(found, covered)
        self._consumed("vendor", done, {name: str(metadata["digest"]) for name, metadata in found.items()})

    def _from_vendor(self, found: dict[str, dict[str, object]], covered: set[str]) -> None:
        theirs = registry_view.site(self._lab.places)
        plain = {registry_view.without_epoch(name) for name in covered}
        address = str(found[SERVED]["host"]).partition(":")[0]
        with registry_view.buildset_registry(self._lab.places, address) as registry:
            for name, metadata in sorted(found.items()):
                path, digest = str(metadata["path"]), str(metadata["digest"])
                before = theirs.layers(f"{VENDOR}/{name}", VENDOR_TAG)
                labels = theirs.labels(f"{VENDOR}/{name}", VENDOR_TAG)
                self._verdict.check(f"vendor: {name} came without a label of ours", not [key for key in labels if "topcoat" in key], labels)
                if name == PROXY:
                    same = theirs.digest(f"{VENDOR}/{name}", VENDOR_TAG)
                    self._verdict.equal("vendor: the image without rpm is the vendor's, digest for digest", digest, same)
                    continue
                layers = registry.layers(path, digest)
                self._verdict.equal(f"vendor: {name} is the vendor's image and one update on it", layers[: len(before)], before)
                held = registry.packages(path, digest)
                wanted = plain if name == SERVED else {package for package in plain if package.startswith(HELPER)}
                self._verdict.check(f"vendor: rpm finds the changes in {name}", wanted <= held, sorted(held))

    def _consumed(self, scene: str, done: Finished, made: dict[str, str]) -> None:
        text = str(self._log_of(done, CONSUMER, "consumed.json"))
        missing = [digest for digest in made.values() if digest not in text]
        self._verdict.check(f"{scene}: the consumer proved the digest of every image", bool(made) and not missing, missing)
