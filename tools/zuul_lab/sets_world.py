"""A site with two kinds of sets: images of two architectures, from its own recipes, and images that a vendor has built with plain buildah.

What the jobs meet outside Zuul is made here. This module must never use the product's own builder, writer or publisher for it.
"""

from __future__ import annotations

import hashlib
import json
import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import yaml

from topcoat.errors import InfrastructureError
from topcoat.process import run
from topcoat_demo import base as base_packages
from topcoat_demo import images as roots
from topcoat_demo.distribution import default_cache, shared
from topcoat_demo.rpms import File, RpmSpec, make_repository
from zuul_lab import images
from zuul_lab import layout as at
from zuul_lab.layout import Places
from zuul_lab.projects import World
from zuul_lab.review import BASE
from zuul_lab.second_site import CONFIG_PROJECT, NAMESPACE, OURS, SITES_OWN, example

TREES = "site/images"
TOOL = "openstack/tool"
LIBRARY = "cloud/helper"
SERVICE = "cloud/service"
ARCHITECTURES = {"x86_64": "amd64", "aarch64": "arm64"}
SEARCHED = "bisect"
VENDOR, VENDOR_TAG = "vendor", "2024.1"
HELPER, SERVED, PROXY = "helper", "service", "proxy"
_BASE = "distribution/two"
_INDEX = "application/vnd.oci.image.index.v1+json"
_MANIFEST = "application/vnd.oci.image.manifest.v1+json"
_OTHER_LABEL = "lab-other-machine"

# The variables that pages "Profiles" and "Several architectures" name; the lab's addresses stand where a site's would.
_PROFILE = f"""---
variables: {{ registry: "{images.REGISTRY}", namespace: null, base_digest: null }}
distro: demo
release: "9"
arch: x86_64
architectures: [{", ".join(ARCHITECTURES)}]
base: {{ image: "{images.REGISTRY}/{_BASE}:9", digest: "${{base_digest}}" }}
repositories:
  - {{ id: current, baseurl: "{images.PACKAGES}/${{arch}}", priority: 10 }}
registry: "${{registry}}"
namespace: "${{namespace}}"
"""
_RECIPES = {
    "base.yaml": "base:\n  from: profile\n  packages: [basetool]\n",
    "openstack/tool.yaml": "tool:\n  from: base\n  packages: [tool, tool-data]\n  entrypoint: [/usr/bin/tool]\n",
}
# Page "Images that others build".
_ADOPTED_PROFILE = f"""---
variables: {{ registry: "{images.REGISTRY}", namespace: null }}
distro: demo
release: "9"
arch: x86_64
repositories:
  - {{ id: current, baseurl: "{images.PACKAGES}/x86_64", priority: 10 }}
registry: "${{registry}}"
namespace: "${{namespace}}"
"""
_SPEC = """%global __os_install_post %{{nil}}
%global debug_package %{{nil}}
Name: {name}
Version: 1.0
Release: 1%{{?dist}}
Summary: {name} of the lab
License: Apache-2.0
Source0: %{{name}}-%{{version}}.tar.gz
BuildArch: noarch
AutoReqProv: no
{requires}
%description
{name} of the lab.
%prep
%setup -q
%build
%install
mkdir -p %{{buildroot}}/usr/share/{name}
cp CHANGE %{{buildroot}}/usr/share/{name}/change
%files
/usr/share/{name}
"""


def _source(name: str, *requires: str) -> dict[str, bytes]:
    """A project with a spec file: one package without a scriptlet, for any machine."""
    text = _SPEC.format(name=name, requires="".join(f"Requires: {item}\n" for item in requires))
    return {f"packaging/{name}.spec": text.encode(), "CHANGE": b"\n", "README.rst": b"A project of the lab.\n"}


def packages(version: str, arch: str, commit: str = "") -> list[RpmSpec]:
    """What the site's repository of one architecture holds. rpm installs no package of another machine, so each is for any; their content differs.

    :param commit: what the tool is made from, which its release names as DLRN's do.
    """
    made_from = {"release": f"0.20260101000000.{commit[:12]}.el9"} if commit else {}
    return [
        RpmSpec("basetool", "1.0", files=(File("/usr/share/basetool", "1"),)),
        RpmSpec("tool", version, files=(File("/usr/share/tool/change", version),), **made_from),
        RpmSpec("tool-data", version, files=(File("/usr/share/tool-data", f"{version} {arch}"),)),
        *_of_vendor(),
    ]


def _of_vendor() -> list[RpmSpec]:
    return [
        RpmSpec(HELPER, "0.9", files=(File(f"/usr/share/{HELPER}/change", "0.9"),)),
        RpmSpec(SERVED, "0.9", requires=(HELPER,), files=(File(f"/usr/share/{SERVED}/change", "0.9"),)),
    ]


def _blob(folder: Path, document: object, kind: str) -> dict[str, object]:
    """Put a document beside the blobs of a layout; its descriptor (OCI image specification, "Content Descriptors")."""
    data = json.dumps(document, sort_keys=True).encode()
    mark = hashlib.sha256(data).hexdigest()
    (folder / "blobs/sha256" / mark).write_bytes(data)
    return {"mediaType": kind, "digest": f"sha256:{mark}", "size": len(data)}


def base_of_two(folder: Path) -> str:
    """An OCI layout with the tiny base image for both machines under one index; the index's digest, the same every time."""
    tiny = shared().tiny
    shutil.rmtree(folder, ignore_errors=True)
    shutil.copytree(tiny.directory, folder)
    blobs = folder / "blobs/sha256"
    manifest = json.loads((blobs / tiny.digest.partition(":")[2]).read_text())
    configuration = json.loads((blobs / manifest["config"]["digest"].partition(":")[2]).read_text())
    children = []
    for machine in ARCHITECTURES.values():
        config = _blob(folder, {**configuration, "architecture": machine}, manifest["config"]["mediaType"])
        child = _blob(folder, {**manifest, "config": config}, _MANIFEST)
        children.append({**child, "platform": {"architecture": machine, "os": "linux"}})
    index = _blob(folder, {"schemaVersion": 2, "mediaType": _INDEX, "manifests": children}, _INDEX)
    named = {**index, "annotations": {"org.opencontainers.image.ref.name": "9"}}
    (folder / "index.json").write_text(json.dumps({"schemaVersion": 2, "manifests": [named]}))
    return str(index["digest"])


def publish_repositories(places: Places, version: str, commit: str = "") -> None:
    """The repository of each architecture at a version, its tool made from a commit; the address stays, as a trunk's does."""
    root = places.state / "packages"
    for arch in ARCHITECTURES:
        made = make_repository(root / f"{arch}-{version}", packages(version, arch, commit))
        fresh = root / f".{arch}"
        fresh.symlink_to(made.name)
        fresh.replace(root / arch)


class Vendor:
    """Somebody else, with plain rpm and plain buildah."""

    def __init__(self, places: Places) -> None:
        self._places = places
        self._folder = places.state / "vendor"
        self._log = places.logs / "vendor.log"

    def _buildah(self, *words: str | os.PathLike[str]) -> str:
        argv = ["buildah", f"--root={self._folder}/storage", f"--runroot={self._folder}/run", "--storage-driver=vfs", *words]
        return run(argv, timeout=300, log=self._log, failure=InfrastructureError).output.strip()

    @contextmanager
    def _container(self, below: str) -> Iterator[tuple[str, Path]]:
        container = self._buildah("from", "--pull-never", below)
        yield container, Path(self._buildah("mount", container))
        self._buildah("rm", container)

    def publish(self) -> None:
        """The set: two images with rpm in Docker's format and in OCI's, one of two layers and a user, and one without rpm."""
        repository = make_repository(self._folder / "rpms", _of_vendor())
        found = {path.name.rsplit("-", 2)[0]: path for path in repository.glob("*.rpm")}
        with self._container("scratch") as (container, root):
            roots.install([*base_packages.tiny(default_cache()), found[HELPER]], root)
            helper = self._buildah("commit", "--quiet", "--format=docker", container, "localhost/helper")
        with self._container(helper) as (container, root):
            roots.install([found[SERVED]], root)
            self._buildah("config", "--user=42436", "--entrypoint", '["/bin/sh"]', container)
            service = self._buildah("commit", "--quiet", "--format=oci", container, "localhost/service")
        with self._container("scratch") as (container, root):
            (root / "usr/bin").mkdir(parents=True)
            shutil.copy(shutil.which("busybox") or "/bin/busybox", root / "usr/bin/proxy")
            self._buildah("config", "--entrypoint", '["/usr/bin/proxy"]', container)
            proxy = self._buildah("commit", "--quiet", container, "localhost/proxy")
        certificates = self._places.etc / "tls/certs.d"
        for name, identity in {HELPER: helper, SERVED: service, PROXY: proxy}.items():
            self._buildah("push", f"--cert-dir={certificates}", identity, f"docker://{images.REGISTRY}/{VENDOR}/{name}:{VENDOR_TAG}")


@dataclass(frozen=True)
class SetsWorld(World):
    """The world of that site."""

    base_digest: str = ""

    def site(self) -> dict[str, str]:
        own = super().site()
        files = {name: text for name, text in own.items() if name in SITES_OWN or name.startswith("playbooks/base/")}
        label = "- label: { name: lab-node, image: lab-image, flavor: lab-flavor }\n"
        offered = "      - { name: lab-node, image: lab-image, flavor: lab-flavor }\n"
        nodes = files["zuul.d/nodes.yaml"]
        files["zuul.d/nodes.yaml"] = "".join(
            f"{line}{line.replace('lab-node', _OTHER_LABEL) if line in (label, offered) else ''}" for line in nodes.splitlines(keepends=True)
        )
        # A site that has its own recipes names their repository where its jobs begin.
        files["zuul.d/base.yaml"] = files["zuul.d/base.yaml"].replace("    vars: @", f"    required-projects: [{TREES}]\n    vars: @")
        for name in ("site-once.yaml", "site-robots.yaml"):
            files[f"zuul.d/{name}"] = f"---\n{example(name, self.base_digest)}"
        architectures = example("architectures.yaml").replace("site-x86-64", "lab-node").replace("site-aarch64", _OTHER_LABEL)
        files["zuul.d/architectures.yaml"] = f"---\n{architectures}"
        adopted = example("site-adopted.yaml").replace("openstack/nova", SERVICE).replace("review.example.org", at.REVIEW_HOST)
        files["zuul.d/adopted.yaml"] = f"---\n{adopted}"
        lock = example("site-lock.yaml").replace("https://review.example.org", BASE).replace("review.example.org", at.REVIEW_HOST)
        account = {"username: images-bot": "username: admin", "example-only": "secret", "images-bot@example.org": f"admin@{at.DOMAIN}"}
        for theirs, ours in account.items():
            lock = lock.replace(theirs, ours)
        files["zuul.d/lock.yaml"] = f"---\n{lock}"
        # The steps are to outlive the buildset, so they go to the site's registry.
        search = example("site-bisect.yaml").replace("        - container-images-registry\n", "")
        files["zuul.d/bisect.yaml"] = "---\n" + search.replace("- project:\n", f"- project:\n    name: {TREES}\n")
        return {**files, "zuul.d/projects.yaml": _PROJECTS.replace("@BASE_DIGEST@", self.base_digest)}

    def tenant(self) -> dict[str, object]:
        """The example's entry with the projects of this site."""
        (entry,) = yaml.safe_load(example("site-tenant.yaml"))
        (watched,) = [each for each in entry["tenant"]["source"]["gerrit"]["untrusted-projects"] if isinstance(each, dict)]
        watched["projects"] = [name for name, _ in self.projects if name != OURS]
        return dict(entry["tenant"])

    def start(self, places: Places) -> None:
        (places.state / "packages").mkdir()
        publish_repositories(places, "1.0")
        images.serve_packages(places)
        images.start_registry(places)
        certificates = places.etc / "tls/certs.d"
        certificates.mkdir(exist_ok=True)
        shutil.copy(places.etc / "tls/ca.pem", certificates / "ca.crt")
        layout = places.state / "base-of-two"
        base_of_two(layout)
        argv = ["skopeo", "copy", "--quiet", "--all", "--preserve-digests", f"--dest-cert-dir={certificates}"]
        argv += [f"oci:{layout}:9", f"docker://{images.REGISTRY}/{_BASE}:9"]
        run(argv, timeout=300, log=places.logs / "seed.log", failure=InfrastructureError)
        Vendor(places).publish()

    def variables(self, places: Places) -> dict[str, object]:
        """What this lab's nodes are, for the base job."""
        left_out = ("topcoat_profile", "topcoat_set", "plan_images_patterns")
        return {name: value for name, value in super().variables(places).items() if name not in left_out}


# Where the site's own recipes are, and which machine the second kind of node stands for: in the lab it is this one under another label.
_TREE = f"{{{{ zuul_user_dir }}}}/{{{{ zuul.projects['{at.REVIEW_HOST}/{TREES}'].src_dir }}}}"
_PROJECTS = f"""---
- queue: {{ name: integrated }}

- job:
    name: images-arm
    vars: {{ topcoat_arch: aarch64 }}

# A search that is run again goes on where it was only if its registry outlives the buildset.
- job:
    name: which-package-was-it
    files: try-a-set.sh
    vars:
      topcoat_registry: {images.REGISTRY}
      topcoat_namespace: {SEARCHED}
      bisect_sets_packages: ["{images.PACKAGES}/x86_64-1.0"]

- project:
    name: ^({TOOL}|{CONFIG_PROJECT}|{TREES})$
    vars:
      topcoat_recipes: "{_TREE}/recipes"
      topcoat_profile: two

- project: {{ name: {TREES}, vars: {{ topcoat_set: {{ namespace: {NAMESPACE}, base_digest: "@BASE_DIGEST@" }} }} }}
- project: {{ name: {TOOL}, queue: integrated, templates: [site-architectures] }}
- project:
    name: {CONFIG_PROJECT}
    templates: [site-architectures-periodic]
    check: {{ jobs: [noop] }}
    gate: {{ jobs: [noop] }}
    periodic:
      jobs:
        - container-images-board:
            dependencies: [site-container-images-promote]
"""


def sets_world() -> SetsWorld:
    """One project for the two architectures, two for the vendor's images, and the repository of the site's trees."""
    rows = {HELPER: HELPER, SERVED: SERVED, PROXY: PROXY}
    adopted = "".join(f'{name}: {{ adopted: "{images.REGISTRY}/{VENDOR}/{place}:{VENDOR_TAG}" }}\n' for name, place in rows.items())
    trees = {
        **{f"recipes/{name}": text.encode() for name, text in _RECIPES.items()},
        "recipes/profiles/two.yaml": _PROFILE.encode(),
        "container-images/openstack/vendor.yaml": adopted.encode(),
        "container-images/profiles/site.yaml": _ADOPTED_PROFILE.encode(),
    }
    watched = ((TOOL, _source("tool", "tool-data")), (LIBRARY, _source(HELPER)), (SERVICE, _source(SERVED, HELPER)), (TREES, trees))
    folder = default_cache() / "base-of-two"
    digest = base_of_two(folder)
    shutil.rmtree(folder)
    return SetsWorld(
        projects=((OURS, None), *watched),
        jobs=("base", "container-images-index", "images-x86"),
        config_project=CONFIG_PROJECT,
        name="sets",
        labels=("lab-node",) * at.NODES + (_OTHER_LABEL,),
        base_digest=digest,
    )
