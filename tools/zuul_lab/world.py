"""The story's world: which projects exist, what they hold, which repositories and registry the jobs meet.

This module must never speak to Gerrit or Zuul.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from zuul_lab.places import Places

CONFIG_PROJECT = "lab-config"


@dataclass(frozen=True)
class World:
    """What is there before the first change.

    :param projects: untrusted projects with their first content; None stands for the checkout under test.
    :param jobs: names of jobs that must be loaded before the lab counts as up.
    """

    projects: tuple[tuple[str, Mapping[str, str | bytes] | None], ...] = (("demo/hello", {"README.rst": "Hello\n"}),)
    jobs: tuple[str, ...] = ("base", "lab-hello")
    values: Mapping[str, object] = field(default_factory=dict)

    def start(self, places: Places) -> None:
        """Start what the jobs meet outside: registry and repositories."""

    def variables(self, places: Places) -> dict[str, object]:
        """What a site sets once for all jobs."""
        return dict(self.values)
