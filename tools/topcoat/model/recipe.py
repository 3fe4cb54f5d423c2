"""A recipe: the definition of one image, as data, whatever syntax it was written in.

This module must never read files; ``topcoat.recipes`` loads them.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path

Command = tuple[str, ...]
"""A command in JSON exec form."""

PARENT_LINE = "FROM topcoat-parent"
"""In the Containerfile that a front end brings: the line that stands for the parent image until it is known."""
PARENT_NAME = "topcoat-parent.invalid"
PARENT_TEXT = f"{PARENT_NAME}/reference"
"""The same inside any other line of it (``.invalid`` is no host that exists: RFC 2606, section 2)."""


@dataclass(frozen=True)
class Condition:
    """The three closed keys; an empty tuple means "any". A ``!`` before a value excludes it."""

    arch: tuple[str, ...] = ()
    distro: tuple[str, ...] = ()
    release: tuple[str, ...] = ()

    def holds(self, *, arch: str, distro: str, release: str) -> bool:
        """Whether the item applies to this target."""
        for wanted, actual in ((self.arch, arch), (self.distro, distro), (self.release, release)):
            denied = {value[1:] for value in wanted if value.startswith("!")}
            allowed = {value for value in wanted if not value.startswith("!")}
            if actual in denied or (allowed and actual not in allowed):
                return False
        return True


@dataclass(frozen=True)
class Package:
    """A package to install, by name (a glob or a version is refused by the loader)."""

    name: str
    when: Condition = field(default_factory=Condition)


@dataclass(frozen=True)
class Step:
    """One ``run`` step: a shell line, executed by ``/bin/sh -c`` as root at build time."""

    run: str
    when: Condition = field(default_factory=Condition)
    network: bool = False
    """Whether it needs the machine's network."""


@dataclass(frozen=True)
class CopyFile:
    """A file or directory of the recipe tree that is copied into the image. ``source`` is absolute and was proved to lie in the tree."""

    source: Path
    target: str
    mode: int | None = None
    owner: str | None = None
    when: Condition = field(default_factory=Condition)


@dataclass(frozen=True)
class User:
    """An account created before packages are installed, with ids from the table (``container-images/users.yaml``)."""

    name: str
    uid: int
    gid: int
    home: str | None = None
    shell: str = "/sbin/nologin"
    groups: tuple[str, ...] = ()
    """Names of further groups; each is itself an entry of the table."""


@dataclass(frozen=True)
class Recipe:
    """One image. ``parent`` is None only for a root, which starts from the profile's base image or from ``own_base``.

    ``containerfile`` is set only by front ends that bring their own text (tcib): it replaces rendering and the fields that rendering uses.
    """

    name: str
    family: str
    image_class: str
    parent: str | None
    description: str = ""
    users: tuple[User, ...] = ()
    modules: tuple[str, ...] = ()
    """dnf module streams, ``name:stream``, enabled before packages are installed."""
    packages: tuple[Package, ...] = ()
    copies: tuple[CopyFile, ...] = ()
    steps: tuple[Step, ...] = ()
    environment: tuple[tuple[str, str], ...] = ()
    labels: tuple[tuple[str, str], ...] = ()
    volumes: tuple[str, ...] = ()
    ports: tuple[str, ...] = ()
    workdir: str | None = None
    entrypoint: Command | None = None
    command: Command | None = None
    user: str | None = None
    stop_signal: str | None = None
    healthcheck: Command | None = None
    when: Condition = field(default_factory=Condition)
    """The whole image exists only where this holds."""
    internal: bool = False
    """A base of other images that no one deploys; it needs no entry in the image list."""
    network: bool = False
    """Whether building needs the machine's network; without it a build reaches the frozen repositories and nothing else."""
    containerfile: str | None = None
    own_base: str | None = None
    """A base image of its own, ``host/repository:tag`` or ``@digest``, instead of the profile's; ``parent`` is None then (tcib)."""
    adopted: bool = False
    """Somebody else builds it: there is nothing to build it from here, it is updated or left as it is. Such an image has no parent."""
    origin: str = ""
    """Of an adopted image: where its maker publishes it, ``host/repository:tag`` or ``@digest``; empty: where the reference images lie."""
    where: str = ""
    """``file:line`` of the definition, for errors."""

    @property
    def wants_network(self) -> bool:
        """Whether the recipe or one of its steps asks for the machine's network."""
        return self.network or any(step.network for step in self.steps)
