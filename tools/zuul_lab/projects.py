"""The story's world: which projects exist and what a site says once for all its jobs.

This module must never speak to Gerrit or Zuul.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from topcoat.process import run
from topcoat_demo.distribution import shared
from zuul_lab import images
from zuul_lab import layout as at
from zuul_lab.layout import Places

SITE = Path(__file__).parent / "site"
CONFIG_PROJECT = "lab-config"
OWN_PROJECT = "topcoat"
SERVICE = "openstack/keystone"
OTHER_SERVICE = "openstack/nova"
LIBRARY = "openstack/oslo.config"
_FROM_DEMO = (LIBRARY, SERVICE, OTHER_SERVICE)

Content = Mapping[str, bytes] | None


@dataclass(frozen=True)
class World:
    """What is there before the first change.

    :param projects: untrusted projects with their first content; None stands for the checkout under test.
    :param jobs: names of jobs that must be loaded before the lab counts as up.
    :param config_project: the site's own project.
    """

    projects: tuple[tuple[str, Content], ...]
    jobs: tuple[str, ...] = ("base", "lab-hello", "container-images-provider")
    config_project: str = CONFIG_PROJECT
    name: str = "story"
    wheels: tuple[str, ...] = ()
    """What the nodes install from a package index beside the tool."""
    labels: tuple[str, ...] = ("lab-node",) * at.NODES
    """Of the static nodes, one each."""

    def site(self) -> dict[str, str]:
        """The files of the config project; names of the lab stand between ``@`` in them."""
        return {str(path.relative_to(SITE)): path.read_text() for path in sorted(SITE.rglob("*.yaml"))}

    def tenant(self) -> dict[str, object]:
        """The entry of Zuul's tenant configuration."""
        config: list[object] = [{self.config_project: {"load-branch": "master"}}]
        names: list[object] = [name for name, _ in self.projects]
        return {"name": at.TENANT, "source": {"gerrit": {"config-projects": config, "untrusted-projects": names}}}

    def start(self, places: Places) -> None:
        """Start what the jobs meet outside Zuul."""
        images.serve(places)

    def variables(self, places: Places) -> dict[str, object]:
        """What a site sets once for all jobs."""
        return {
            "topcoat_profile": "demo",
            "topcoat_set": images.profile_values(),
            "topcoat_ca_certificates": (places.etc / "tls/ca.pem").read_text(),
            # The nodes have all packages of the system and no way to a package index; what a job never imports need not be compiled.
            "install_topcoat_system_packages": False,
            "install_topcoat_pip_options": pip_options(places, "wheels"),
            "run_ci_registry_system_packages": False,
            # The checks look into the images after the buildset has ended.
            "stop_ci_registry_keep_storage": True,
            "plan_images_patterns": list(images.PATTERNS),
        }


def pip_options(places: Places, folder: str) -> list[str]:
    """The nodes have no way to a package index."""
    return ["--no-index", "--no-compile", f"--find-links={places.cache}/{folder}"]


def demo_world() -> World:
    """The projects of the demo distribution as they are, and the checkout under test."""
    sources = shared().sources
    services = tuple((name, tree(sources / name.rpartition("/")[2])) for name in _FROM_DEMO)
    return World(projects=((OWN_PROJECT, None), *services))


def tree(repository: Path) -> dict[str, bytes]:
    """The committed files of a git repository, by path."""
    names = run(["git", "-c", f"safe.directory={repository}", "ls-files", "-z"], timeout=30, cwd=repository).output
    return {name: (repository / name).read_bytes() for name in names.split("\0") if name}
