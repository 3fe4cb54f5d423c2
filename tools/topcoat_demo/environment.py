"""Everything the demo runs on, in one call: distribution, registry with the base images, and the values that the demo profile wants.

This module must never print or store the registry's password; it lives in the registry's own 0600 files.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from pathlib import Path

from topcoat_demo import distribution as distributions
from topcoat_demo.distribution import Distribution
from topcoat_demo.images import Layout
from topcoat_demo.registry import RegistryServer, push_layout
from topcoat_demo.world import World

BASE = "distribution/base"
TINY = "distribution/tiny"
WORLD = "distribution/world"
TAG = "9"


@dataclass(frozen=True)
class Environment:
    """What ``prepare`` set up; the registry runs until ``stop`` or ``python -m topcoat_demo registry stop``."""

    directory: Path
    distribution: Distribution | None
    """None: the real-size world, which needs none of it."""
    registry: RegistryServer
    variables: dict[str, str] = field(default_factory=dict)
    """For ``--profile demo``: registry, namespace, base_image, base_digest, repositories."""

    @property
    def host(self) -> str:
        """``127.0.0.1:port`` of the registry."""
        return self.registry.host

    @property
    def authfile(self) -> Path:
        """Credentials of the registry (containers-auth.json(5), mode 0600)."""
        return self.registry.authfile

    @property
    def ca_file(self) -> Path:
        """Certificate of the registry's CA."""
        return self.registry.certificates / "ca.crt"

    @property
    def values_file(self) -> Path:
        """The variables as a JSON file, for commands started apart."""
        return self.directory / "profile-variables.json"

    def stop(self) -> None:
        """End the registry; everything on disk stays."""
        self.registry.stop()


def prepare(
    directory: Path, *, distribution: Distribution | None = None, namespace: str = "demo", say: Callable[[str], None] = lambda line: None
) -> Environment:
    """Make or find the distribution, start the registry, push the base images into it.

    :param directory: holds registry/ and profile-variables.json; the distribution lies in the account's cache unless one is given.
    :raises InfrastructureError: a tool is missing, the registry does not start, or Debian's registry is needed and cannot be reached.
    """
    directory.mkdir(parents=True, exist_ok=True)
    made = distribution or distributions.shared(say=say)
    registry = _started(directory, say)
    push_layout(registry, made.tiny.directory, TINY, TAG)
    repositories = {"repositories": made.repositories.absolute().as_uri()}
    return _with_base(Environment(directory, made, registry, repositories), made.real or made.tiny, BASE, namespace, say)


def prepare_world(directory: Path, world: World, *, namespace: str, say: Callable[[str], None] = lambda line: None) -> Environment:
    """Start the registry and push the base image of the real-size world into it.

    :param directory: holds registry/ and profile-variables.json.
    :raises InfrastructureError: a tool is missing or the registry does not start.
    """
    directory.mkdir(parents=True, exist_ok=True)
    registry = _started(directory, say)
    repositories = {"world": world.repositories.absolute().as_uri()}
    return _with_base(Environment(directory, None, registry, repositories), world.base, WORLD, namespace, say)


def _started(directory: Path, say: Callable[[str], None]) -> RegistryServer:
    registry = RegistryServer(directory / "registry").start()
    say(f"registry: https://{registry.host}")
    return registry


def _with_base(environment: Environment, base: Layout, repository: str, namespace: str, say: Callable[[str], None]) -> Environment:
    """Push the base image, and write down what a profile must be told of this environment, beside what it knows already."""
    registry = environment.registry
    digest = push_layout(registry, base.directory, repository, TAG)
    say(f"base image: {repository}@{digest}")
    variables = {
        "registry": registry.host,
        "namespace": namespace,
        "base_image": f"{registry.host}/{repository}:{TAG}",
        "base_digest": digest,
        **environment.variables,
    }
    environment = replace(environment, variables=variables)
    environment.values_file.write_text(json.dumps(variables, indent=1) + "\n")
    return environment
