"""Bring the whole lab up, in the order its parts need.

This module must never run outside the lab's namespaces. Taking the lab down needs no order: the first process of its namespace is killed, and
with it the kernel ends all others, so that Zuul cannot wait for a ZooKeeper that has gone.
"""

from __future__ import annotations

import json
import secrets
import time
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

from zuul_lab import backing, gerrit, images, services, zuul
from zuul_lab import layout as at
from zuul_lab.layout import Places
from zuul_lab.projects import World
from zuul_lab.review import Review, Workspace


@dataclass(frozen=True)
class Lab:
    """Handles of a running lab."""

    places: Places
    review: Review
    workspace: Workspace
    zuul: zuul.Zuul
    world: World


class Clock:
    """Says how long each phase took, and keeps it."""

    def __init__(self, say: Callable[[str], None]) -> None:
        self._say = say
        self._last = time.monotonic()
        self.phases: dict[str, float] = {}

    def lap(self, name: str) -> None:
        """The phase that just ended."""
        now = time.monotonic()
        self.phases[name] = round(now - self._last, 1)
        self._last = now
        self._say(f"{name}: {self.phases[name]:.1f} s")


def up(places: Places, world: World, environment: Mapping[str, str], say: Callable[[str], None]) -> Lab:
    """Start everything and wait until Zuul knows its jobs.

    :param world: the projects and repositories of the story.
    :raises InfrastructureError: a part does not come up; the message ends with the last lines of its log.
    """
    clock = Clock(say)
    backing.make_certificates(places)
    backing.make_keys(places)
    server = gerrit.start_gerrit(places, environment)
    zookeeper = backing.start_zookeeper(places)
    backing.start_log_server(places)
    backing.make_bridge(places)
    with ThreadPoolExecutor(2) as pool:
        database = pool.submit(backing.start_postgresql, places)
        outside = pool.submit(world.start, places)
        for number in range(1, len(world.labels) + 1):
            node = backing.start_node(places, number)
            address = at.node_address(number)
            services.wait_until(f"{node.name} answers", lambda address=address: services.port_answers(22, address), service=node)
        database.result()
        outside.result()
    review = Review()
    services.wait_until("Gerrit answers", review.ready, service=server)
    clock.lap("backing services and Gerrit")
    password = secrets.token_hex(16)
    review.add_key(places.etc / "admin.key.pub")
    review.add_verified_label()
    review.add_account("zuul", key=places.etc / "zuul.key.pub", password=password, groups=["Service Users"])
    workspace = Workspace(places, review)
    _seed(places, world, review, workspace)
    clock.lap("accounts and projects")
    services.wait_until("ZooKeeper answers", lambda: services.port_answers(at.ZOOKEEPER), service=zookeeper)
    tenant = world.tenant()
    zuul.write_configuration(places, password=password, tenant=tenant)
    started = [zuul.start_service(places, name) for name in zuul.SERVICES]
    asking = zuul.Zuul(places, str(tenant["name"]))
    services.wait_until("Zuul has loaded its jobs", lambda: asking.ready(world.jobs), service=started[0], pause=0.5)
    for service in started:
        services.wait_until(f"{service.name} runs", service.alive, timeout=1, service=service)
    clock.lap("Zuul")
    (places.state / "phases.json").write_text(json.dumps(clock.phases))
    return Lab(places, review, workspace, asking, world)


def join(places: Places, world: World) -> Lab:
    """Handles of a lab that runs already."""
    review = Review()
    return Lab(places, review, Workspace(places, review), zuul.Zuul(places, str(world.tenant()["name"])), world)


def _seed(places: Places, world: World, review: Review, workspace: Workspace) -> None:
    for name in (world.config_project, *(name for name, _ in world.projects)):
        review.add_project(name)
    workspace.seed(world.config_project, site_files(places, world), "The site's configuration")
    for name, content in world.projects:
        if content is None:
            workspace.seed_from_checkout(name, places.repository)
        else:
            workspace.seed(name, content, "The first state")


def site_files(places: Places, world: World) -> dict[str, str]:
    """The content of the config project, with this lab's names put in."""
    host_key = " ".join((places.etc / "host.key.pub").read_text().split()[:2])
    listed = [{"name": at.node_address(number), "label": label, "host-key": host_key} for number, label in enumerate(world.labels, 1)]
    words = {
        "@NODES@": json.dumps(listed),
        "@BASE_VARIABLES@": json.dumps(world.variables(places)),
        "@REGISTRY@": images.REGISTRY,
        "@PATTERNS@": json.dumps(images.PATTERNS),
        "@LOGS@": str(places.logs),
        "@LOGS_URL@": f"http://{at.LOGS_HOST}:{at.LOGS_HTTP}",
    }
    files = {}
    for name, text in world.site().items():
        for word, value in words.items():
            text = text.replace(word, value)
        files[name] = text
    return files
