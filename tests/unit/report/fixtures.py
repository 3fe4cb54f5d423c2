"""Receipts as real runs write them: 104 images, a nova change that depends on an oslo.config change; green, red and idle."""
# ruff: noqa: E501, C408 (tables of data read better unbroken)

from __future__ import annotations

import hashlib
import json
import random
from dataclasses import replace
from pathlib import Path

from topcoat.model import ImageResult, LayerSize, Nevra, PackageChange, Receipt

TREE: dict[str, str | None] = json.loads(Path(__file__).with_name("tree.json").read_text())
START = 1795313880.0  # 2026-11-22 03:38 UTC
OSLO = PackageChange(
    Nevra.parse("python3-oslo-config-2:9.7.0-1.el9.noarch"), Nevra.parse("python3-oslo-config-2:9.8.0-0.20261121.a1b2c3d.el9.noarch"), "gating"
)
NOVA = PackageChange(Nevra.parse("python3-nova-1:31.0.0-1.el9.noarch"), Nevra.parse("python3-nova-1:31.1.0-0.20261122.4e5f6a7.el9.noarch"), "gating")
RABBIT = PackageChange(Nevra.parse("rabbitmq-server-3.12.1-1.el9.x86_64"), Nevra.parse("rabbitmq-server-3.12.2-1.el9.x86_64"), "current")
ITEMS = [
    {
        "project": {"name": "openstack/oslo.config", "short_name": "oslo.config"},
        "change": "901234",
        "patchset": "3",
        "change_url": "https://review.example.org/c/openstack/oslo.config/+/901234",
        "branch": "master",
    },
    {
        "project": {"name": "openstack/nova", "short_name": "nova"},
        "change": "905678",
        "patchset": "1",
        "change_url": "https://review.example.org/c/openstack/nova/+/905678",
        "branch": "master",
    },
]


def digest(text: str) -> str:
    return "sha256:" + hashlib.sha256(text.encode()).hexdigest()


def layer(text: str, size: int, new: bool = False) -> LayerSize:
    return LayerSize(digest(text), size, new)


def layers_of(name: str) -> tuple[LayerSize, ...]:
    parent = TREE[name]
    below = layers_of(parent) if parent else (layer("ubi", 62_000_000),)
    return (*below, layer(f"layer {name}", random.Random(name).randrange(400_000, 70_000_000)))


def image(name: str, clock: dict[str, float]) -> ImageResult:
    rng = random.Random(f"time {name}")
    parent = TREE[name]
    openstack = not any(
        name.startswith(word)
        for word in ("base", "mariadb", "rabbitmq", "redis", "memcached", "haproxy", "ovn", "qdrouterd", "cron", "rsyslog", "multipathd", "frr")
    )
    changes: tuple[PackageChange, ...] = ()
    if name.startswith("nova"):
        changes = (NOVA, OSLO)
    elif openstack and "base" in str(parent) and parent != "base":
        changes = (OSLO,)
    elif name == "rabbitmq":
        changes = (RABBIT,)
    layers = layers_of(name)
    size = sum(item.size for item in layers)
    common = dict(
        name=name, status="done", repository=f"openstack/{name}", tag="b-7f3e", parent=parent, where=f"container-images/{name}.yaml:3",
        fingerprint=digest(f"fp {name}"), reference_digest=digest(f"ref {name}"), reference_size=size, inventory=digest(f"inv {name}"),
    )  # fmt: skip
    slot = min(clock, key=lambda key: clock[key])
    if name in ("heat-base", "heat-api", "heat-api-cfn", "heat-engine", "heat-all"):
        begin = max(clock[slot], clock.get("heat-base", 0.0))
        took = rng.uniform(5, 11)
        clock[slot] = begin + took
        reason = (
            ("recipe-changed", "its recipe changed: packages")
            if name == "heat-base"
            else ("parent-recipe-changed", "its parent heat-base is built anew")
        )
        return ImageResult(
            action="build", reason=reason[0], sentence=reason[1], method="containerfile", digest=digest(f"built {name}"),
            base_digest=digest(f"ref {parent}"), layers=(*layers[:-1], layer(f"built {name}", layers[-1].size + 310_000, True)),
            started=begin, finished=begin + took, stages=(("build", begin, begin + took * 0.8), ("push", begin + took * 0.8, begin + took)),
            attempts=1, bytes_pushed=layers[-1].size + 310_000, log=f"logs/{name}.log", **common,
        )  # fmt: skip
    if changes:
        begin = clock[slot]
        took = rng.uniform(0.3, 0.9)
        clock[slot] = begin + took * 0.7
        count = "2 gated packages" if len(changes) == 2 else changes[0].name
        fresh = 210_000 + 55_000 * len(changes)
        return ImageResult(
            action="update", reason="rpm-upgrade" if name == "rabbitmq" else "rpm-gated", sentence=f"{count} will change", method="transaction",
            digest=digest(f"updated {name}"), base_digest=digest(f"ref {name}"), changes=changes, layers=(*layers, layer(f"update {name}", fresh, True)),
            started=begin, finished=begin + took, stages=(("update", begin, begin + took * 0.7), ("push", begin + took * 0.7, begin + took)),
            attempts=2 if name == "nova-compute" else 1, bytes_pushed=fresh, bytes_mounted=size, log=f"logs/{name}.log", **common,
        )  # fmt: skip
    begin = clock[slot]
    return ImageResult(
        action="reuse", reason="unchanged", sentence="nothing in it changed", method="tag", digest=digest(f"ref {name}"), base_digest=digest(f"ref {name}"),
        layers=layers, started=begin, finished=begin + 0.04, stages=(("tag", begin, begin + 0.04),), attempts=1, **common,
    )  # fmt: skip


def green() -> Receipt:
    clock = {"slot-1": START + 1.2, "slot-2": START + 1.2}
    images = tuple(image(name, clock) for name in TREE)
    holders = {change: [item.name for item in images if change in item.changes] for change in (NOVA, OSLO)}
    coverage = [{"package": str(change.new), "images": names, "covered": True, "waived_by": None, "wrong": []} for change, names in holders.items()]
    coverage.append(
        {"package": "python3-nova-tests-1:31.1.0-0.20261122.4e5f6a7.el9.noarch", "images": [], "covered": False, "waived_by": "*-tests", "wrong": []}
    )
    gated = [
        {"package": str(OSLO.new), "project": "openstack/oslo.config", "commit": "a1b2c3d" + "0" * 33, "change_url": ITEMS[0]["change_url"]},
        {"package": str(NOVA.new), "project": "openstack/nova", "commit": "4e5f6a7" + "0" * 33, "change_url": ITEMS[1]["change_url"]},
    ]
    return Receipt(
        profile="demo", tag="b-7f3e", status="done", started=START, finished=max(clock.values()) + 0.6, images=images, coverage=tuple(coverage),
        repositories=(("base", digest("r1")), ("current-passed-ci", digest("r2")), ("current", digest("r3")), ("gating", digest("r4"))),
        zuul={"items": ITEMS, "build": "7f3e" * 8, "buildset": "b" * 32}, gated=tuple(gated),
    )  # fmt: skip


def red() -> Receipt:
    """heat-base cannot be built (content), neutron-server's push failed (infrastructure), one gated package is nowhere."""
    receipt = green()
    images = []
    for item in receipt.images:
        if item.name == "heat-base":
            error = {
                "class": "content", "what": "dnf ended with code 1; its last lines: No match for argument: python3-heat-agnet", "image": "heat-base",
                "next_step": "look for a typing error in the package's name; no repository of the profile has it", "where": "container-images/openstack/heat.yaml:14",
                "log": "logs/000_FAILED_heat-base.log", "recheck_helps": False,
            }  # fmt: skip
            item = replace(
                item,
                status="failed",
                digest=None,
                layers=(),
                error=error,
                where="container-images/openstack/heat.yaml:14",
                log="logs/000_FAILED_heat-base.log",
            )
        elif item.parent == "heat-base":
            item = replace(
                item,
                status="skipped",
                sentence="parent heat-base failed",
                digest=None,
                layers=(),
                stages=(),
                started=None,
                finished=None,
                attempts=0,
                bytes_pushed=0,
                log=None,
            )
        elif item.name == "neutron-server":
            error = {
                "class": "infrastructure", "what": "registry.example.org answered 503 four times while a blob was pushed", "image": "neutron-server",
                "next_step": "look at the registry's disk and log", "where": None, "log": "logs/000_FAILED_neutron-server.log", "recheck_helps": True,
            }  # fmt: skip
            item = replace(item, status="failed", digest=None, attempts=4, error=error, log="logs/000_FAILED_neutron-server.log")
        images.append(item)
    coverage = (
        *receipt.coverage,
        {"package": "python3-nova-novnc-1:31.1.0-0.20261122.4e5f6a7.el9.noarch", "images": [], "covered": False, "waived_by": None, "wrong": []},
    )
    return replace(
        receipt, status="failed", images=tuple(images), coverage=coverage, warnings=("the base image is 41 days old; a newer digest exists",)
    )


def idle() -> Receipt:
    """A second identical run."""
    receipt = green()
    images = tuple(
        replace(item, action="reuse", reason="unchanged", sentence="nothing in it changed", changes=(), attempts=1, bytes_pushed=0, bytes_mounted=0,
                layers=tuple(replace(entry, new=False) for entry in item.layers), reference_size=sum(entry.size for entry in item.layers),
                stages=(), started=None, finished=None)
        for item in receipt.images
    )  # fmt: skip
    return replace(receipt, images=images, finished=START + 1.4)


HOSTILE = "<script>alert(1)</script>\"'&[red]]]>\x1b[31m\x00${x}\u202e"


def hostile() -> Receipt:
    """Every free text holds markup of every medium."""
    receipt = red()
    images = tuple(
        replace(item, sentence=HOSTILE, log=f"logs/{HOSTILE}", where=HOSTILE, repository=HOSTILE, warnings=(HOSTILE,),
                error={**item.error, "what": HOSTILE, "next_step": HOSTILE, "where": HOSTILE, "log": HOSTILE} if item.error else None)
        for item in receipt.images
    )  # fmt: skip
    zuul = {"items": [{"project": {"name": HOSTILE}, "change": HOSTILE, "patchset": HOSTILE, "change_url": "javascript:alert(1)"}]}
    gated = tuple({**entry, "change_url": "javascript:alert(1)", "project": HOSTILE} for entry in receipt.gated)
    return replace(receipt, images=images, profile=HOSTILE, tag=HOSTILE, zuul=zuul, gated=gated, warnings=(HOSTILE,))
