"""The story that the lab tells: a change with a Depends-On, a broken change, approval and gate, the periodic run. Each step is checked from outside.

This module must never look into the product's memory: it knows what Gerrit, Zuul, the registries and the log folder show.
"""

from __future__ import annotations

import json
import sys

from topcoat.process import run
from zuul_lab import images, projects, registry_view
from zuul_lab import layout as at
from zuul_lab.review import BASE, Change
from zuul_lab.scenes import CONSUMER, LIMIT, PROVIDER, REVIEW_JOBS, Finished, Scenes
from zuul_lab.zuul import WEB

OF_OPENSTACK = {"openstack-base", "keystone", "nova-base", "nova-api", "nova-compute"}
OF_SERVICE = {"keystone"}
UNTOUCHED = {"base", "memcached"}
MISSING = "python3-never-packaged"
REBUILD = "container-images-rebuild"
_NO_SECRET = "does not allow post-review job"
_LEAK = """- secret:
    name: site-registry
    data: { registry.example.org: { username: ci, password: example-only } }

- job:
    name: site-leak
    parent: container-images-publish
    secrets:
      - { name: container_registry_credentials, secret: site-registry, pass-to-parent: true }

- project:
    check: { jobs: [site-leak] }
"""


class Story(Scenes):
    """Tells the scenes in order; each leaves what the next one needs."""

    def tell(self) -> None:
        """Everything, first to last; a scene that fails leaves the others their turn."""
        scene = self._verdict.scene
        changes: tuple[Change, Change, Change] | None = None
        checked: Finished | None = None
        with scene("upload a change that depends on another, and one that is broken"):
            changes = self._upload()
        if changes:
            below, above, broken = changes
            with scene("check the change and what it depends on"):
                checked = self._check(above)
            with scene("check the broken change"):
                self._broken(broken)
            with scene("upload a change that wants a secret in check"):
                self._secret()
            with scene("approve both: gate and merge"):
                self._gate(below, above)
        if checked:
            with scene("reproduce the build of the check"):
                self._reproduce(checked)
        with scene("periodic: rebuild on two nodes, and promote"):
            self._periodic()

    def _upload(self) -> tuple[Change, Change, Change]:
        errors = self._lab.zuul.config_errors()
        self._verdict.check("Zuul has nothing against the configuration", not errors, errors)
        workspace = self._lab.workspace
        below = workspace.upload(projects.LIBRARY, {"CHANGE": "oslo.config learns a new option\n"}, "Learn a new option")
        above = workspace.upload(projects.SERVICE, {"CHANGE": "keystone uses the new option\n"}, "Use the new option", depends_on=[below])
        spec = "packaging/openstack-nova.spec"
        text = workspace.read(projects.OTHER_SERVICE, spec)
        anchor = "Requires: python(abi)"
        wrong = text.replace(anchor, f"Requires: {MISSING}\n{anchor}", 1)
        broken = workspace.upload(projects.OTHER_SERVICE, {spec: wrong}, "Require what nobody packages")
        return below, above, broken

    def _check(self, change: Change) -> Finished:
        verdict = self._verdict
        done = self._wait("check", change)
        verdict.equal("check: Zuul votes Verified +1", self._vote(change), 1)
        verdict.equal("check: exactly the expected jobs ran", set(done.builds), REVIEW_JOBS)
        results = {name: build["result"] for name, build in done.builds.items()}
        verdict.equal("check: each of them succeeded", set(results.values()), {"SUCCESS"})
        found = done.artifacts()
        updated = {name for name, metadata in found.items() if metadata["action"] == "update"}
        verdict.equal("check: the images that hold the changed packages were updated", updated, OF_OPENSTACK)
        verdict.equal("check: the others were re-tagged", {name for name in found if found[name]["action"] == "reuse"}, UNTOUCHED)
        self._images_of_check(done, found)
        self._consumed(done, found)
        return done

    def _images_of_check(self, done: Finished, found: dict[str, dict[str, object]]) -> None:
        """Read the buildset's registry ourselves."""
        gated = {package["package"].rpartition(".")[0] for package in self._log_of(done, PROVIDER, "receipt.json")["coverage"]}
        plain = {registry_view.without_epoch(name) for name in gated}
        self._verdict.check("check: packages of both changes were built", _projects(plain) == {"oslo-config", "keystone"}, sorted(plain))
        before = registry_view.site(self._lab.places)
        address = str(found["base"]["host"]).partition(":")[0]
        with registry_view.buildset_registry(self._lab.places, address) as registry:
            for name in sorted(found):
                path, digest = str(found[name]["path"]), str(found[name]["digest"])
                self._verdict.equal(f"check: {name} is in the registry under its tag and digest", registry.digest(path, done.uuid), digest)
                old = before.digest(f"{images.NAMESPACE}/{name}", images.TAG)
                if name in UNTOUCHED:
                    self._verdict.equal(f"check: {name} is, digest for digest, the image that passed before", digest, old)
                    continue
                ours = {package for package in plain if name in OF_SERVICE or "oslo-config" in package}
                held = registry.packages(path, digest)
                missing = [package for package in ours if package.rsplit("-", 2)[0] in _names(held) and package not in held]
                self._verdict.check(f"check: {name} holds the packages under test", bool(ours & held) and not missing, missing)
                layers = registry.layers(path, digest)
                base = before.layers(f"{images.NAMESPACE}/{name}", images.TAG)
                self._verdict.equal(f"check: {name} is the image that passed before, its update on it", layers[:-2], base)

    def _consumed(self, done: Finished, found: dict[str, dict[str, object]]) -> None:
        proof = self._log_of(done, CONSUMER, "consumed.json")
        digests = {str(metadata["digest"]) for metadata in found.values()}
        text = json.dumps(proof)
        missing = [digest for digest in digests if digest not in text]
        self._verdict.check("check: the consumer proved the digest of every image", bool(digests) and not missing, missing)

    def _broken(self, change: Change) -> None:
        verdict = self._verdict
        done = self._wait("check", change)
        verdict.equal("broken: Zuul votes Verified -1", self._vote(change), -1)
        verdict.equal("broken: the provider is the red one", done.builds[PROVIDER]["result"], "FAILURE")
        verdict.equal("broken: the consumer was not started", done.builds[CONSUMER]["result"], "SKIPPED")
        words = "\n".join(message.text for message in self._lab.review.messages(change))
        verdict.check("broken: the message on the change names the cause", MISSING in words, words[-600:])

    def _secret(self) -> None:
        """A job with a secret, asked for where nobody has reviewed the change that it would run."""
        leak = self._lab.workspace.upload(projects.OTHER_SERVICE, {".zuul.yaml": _LEAK}, "Publish before review")
        self._until(lambda: self._vote(leak) != 0, LIMIT)
        words = "\n".join(message.text for message in self._lab.review.messages(leak))
        self._verdict.equal("secret: Zuul votes Verified -1", self._vote(leak), -1)
        self._verdict.check(
            "secret: the message on the change names the job and the reason", "site-leak" in words and _NO_SECRET in words, words[-600:]
        )
        ran = [build["job_name"] for build in self._lab.zuul.builds(change=str(leak.number)) if build["job_name"] == "site-leak"]
        self._verdict.equal("secret: the job was not started", ran, [])

    def _gate(self, below: Change, above: Change) -> None:
        verdict = self._verdict
        self._wait("check", below)
        verdict.equal("gate: the change below has its Verified +1 too", self._vote(below), 1)
        for change in (below, above):
            self._lab.review.approve(change)
        first, second = self._wait("gate", below), self._wait("gate", above)
        verdict.equal("gate: both succeeded", (first.result, second.result), ("SUCCESS", "SUCCESS"))
        for change in (below, above):
            self._until(lambda change=change: self._lab.review.status(change) == "MERGED", 60)
            verdict.equal(f"gate: Gerrit merged {change.project}", self._lab.review.status(change), "MERGED")
        self._reused(first, second)

    def _reused(self, first: Finished, second: Finished) -> None:
        """What the change ahead made is what the change behind publishes, except where that one's own packages go."""
        verdict = self._verdict
        ahead, behind = first.artifacts(), second.artifacts()
        receipt = self._log_of(second, PROVIDER, "receipt.json")
        methods = {image["name"]: image["method"] for image in receipt["images"]}
        shared = OF_OPENSTACK - OF_SERVICE
        found = {name for name, method in methods.items() if method == "found"}
        verdict.equal("gate: the second change found the images of the first, and made its own", found, shared)
        for name in sorted(shared | UNTOUCHED):
            same = str(ahead[name]["digest"])
            verdict.equal(f"gate: {name} has the digest of the change ahead", behind[name]["digest"], same)
        site = registry_view.site(self._lab.places)
        kept = [tag for tag in site.tags("gate/packages-under-test") if tag.startswith("packages-")]
        verdict.equal("gate: each tree was built into packages once", len(kept), 2)
        plain = {registry_view.without_epoch(str(entry["package"]).rpartition(".")[0]) for entry in receipt["coverage"]}
        for name in sorted(OF_SERVICE):
            verdict.check(f"gate: {name} was made anew", behind[name]["digest"] != ahead[name]["digest"], behind[name]["digest"])
            held = site.packages(str(behind[name]["path"]), str(behind[name]["digest"]))
            verdict.equal(f"gate: {name} holds both changes", _projects(plain & held), {"oslo-config", "keystone"})

    def _reproduce(self, done: Finished) -> None:
        """What a developer does with the address of a build."""
        verdict, places = self._verdict, self._lab.places
        page = f"{WEB}/t/{at.TENANT}/build/{done.builds[PROVIDER]['uuid']}"
        argv = [sys.executable, "-m", "topcoat", "--progress=plain", "reproduce", page, "--format=json"]
        argv += [f"--git={at.REVIEW_HOST}={BASE}", f"--directory={places.state / 'reproduce'}"]
        ended = run(argv, timeout=LIMIT, log=places.logs / "reproduce.log", cwd=places.repository, check=False)
        verdict.equal("reproduce: it ended well", ended.code, 0)
        outcome = json.loads(ended.output)
        same = {image["name"]: image["digest"] for image in outcome["receipt"]["images"]}
        digests = {name: str(metadata["digest"]) for name, metadata in done.artifacts().items()}
        verdict.equal("reproduce: the same images, digest for digest", same, digests)
        plan = self._log_of(done, PROVIDER, "plan.json")
        verdict.equal("reproduce: the same plan", outcome["plan"], plan)

    def _periodic(self) -> None:
        verdict, lab = self._verdict, self._lab
        before = self._promoted()
        head = lab.workspace.head(projects.SERVICE)
        known = {str(item["uuid"]) for item in lab.zuul.buildsets(pipeline="periodic")}
        images.advance(lab.places)
        lab.zuul.enqueue_ref("periodic", projects.SERVICE, "refs/heads/master", head)
        done = self._wait("periodic", None, known)
        verdict.equal("periodic: rebuild and promotion succeeded", done.result, "SUCCESS")
        after = self._promoted()
        made = {name: str(metadata["digest"]) for name, metadata in done.artifacts(REBUILD).items()}
        verdict.equal("periodic: every image was built", set(made), OF_OPENSTACK | UNTOUCHED)
        verdict.equal(f"periodic: {images.TAG} names what was built", after, made)
        self._shards(done)
        moved = {name for name in after if after[name] != before[name]}
        verdict.equal("periodic: the tag has moved where packages did, the others were built into the same digest", moved, OF_OPENSTACK)

    def _shards(self, done: Finished) -> None:
        """Each node's log tells which images it made itself."""
        parts = {}
        for node in ("first", "second"):
            folder = self._lab.places.logs / "builds" / str(done.builds[REBUILD]["uuid"]) / "container-images" / node
            parts[node] = {path.stem for path in (folder / "logs").glob("*.log")} & (OF_OPENSTACK | UNTOUCHED)
        self._verdict.check("periodic: two nodes shared the work", all(parts.values()) and parts["first"] != parts["second"], parts)
        union = set().union(*parts.values())
        self._verdict.equal("periodic: no image fell between the nodes", union, OF_OPENSTACK | UNTOUCHED)

    def _promoted(self) -> dict[str, str]:
        site = registry_view.site(self._lab.places)
        return {name: site.digest(f"{images.NAMESPACE}/{name}", images.TAG) for name in sorted(OF_OPENSTACK | UNTOUCHED)}


def _names(packages: set[str]) -> set[str]:
    return {package.rsplit("-", 2)[0] for package in packages}


def _projects(packages: set[str]) -> set[str]:
    return {"oslo-config" if "oslo-config" in name else "keystone" if "keystone" in name else name for name in _names(packages)}
