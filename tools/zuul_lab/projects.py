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
from zuul_lab.layout import Places

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
    """

    projects: tuple[tuple[str, Content], ...]
    jobs: tuple[str, ...] = ("base", "lab-hello", "container-images-provider")

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
            "install_topcoat_pip_options": ["--no-index", "--no-compile", f"--find-links={places.cache}/wheels"],
            "run_ci_registry_system_packages": False,
            # The checks look into the images after the buildset has ended.
            "stop_ci_registry_keep_storage": True,
            "plan_images_patterns": list(images.PATTERNS),
        }


def demo_world() -> World:
    """The projects of the demo distribution as they are, and the checkout under test."""
    sources = shared().sources
    services = tuple((name, _tree(sources / name.rpartition("/")[2])) for name in _FROM_DEMO)
    return World(projects=((OWN_PROJECT, None), *services))


def _tree(repository: Path) -> dict[str, bytes]:
    """The committed files of a git repository, by path."""
    names = run(["git", "-c", f"safe.directory={repository}", "ls-files", "-z"], timeout=30, cwd=repository).output
    return {name: (repository / name).read_bytes() for name in names.split("\0") if name}
