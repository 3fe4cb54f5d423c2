"""The configuration of a built image, put together by us: nothing of the tool, the host or the day is in it.

This module must never read a clock or a file.
"""

from __future__ import annotations

import copy
from collections.abc import Mapping, Sequence
from dataclasses import replace

from topcoat.errors import ContentError
from topcoat.layers import Layer
from topcoat.model.moments import rfc3339
from topcoat.registry.oci import DOCKER_MANIFEST, OCI_MANIFEST, Image, has_healthcheck

RUNTIME_KEYS = (
    "Cmd",
    "Entrypoint",
    "Env",
    "ExposedPorts",
    "Healthcheck",
    "Labels",
    "Shell",
    "StopSignal",
    "User",
    "Volumes",
    "WorkingDir",
)
"""What an image says to a runtime (image-spec, config.md; Healthcheck and Shell are docker's and travel as extensions)."""


def compose(
    parent: Image, runtime: Mapping[str, object], layers: Sequence[Layer], *, epoch: int, created_by: str, image_format: str = "auto"
) -> Image:
    """The image of a build: the parent's layers, those of the build, and the runtime part of the configuration.

    :param runtime: ``config`` section as the build left it; keys that are not known are dropped, so are empty values.
    :param epoch: creation time, seconds since 1970.
    :param image_format: ``oci``, ``docker``, or ``auto``: Docker's where there is a health check, else OCI's.
    :raises ContentError: OCI's format is wanted for an image with a health check, which the format cannot carry.
    """
    config = copy.deepcopy(parent.config)
    config.pop("container", None)
    config["config"] = _runtime(runtime)
    stamp = rfc3339(epoch)
    entries: list[dict[str, object]] = [{"created": stamp, "created_by": created_by} for _ in layers]
    if not layers:
        entries = [{"created": stamp, "created_by": created_by, "empty_layer": True}]
    rootfs = config.setdefault("rootfs", {"type": "layers"})
    rootfs["diff_ids"] = [*(rootfs.get("diff_ids") or ()), *(layer.diff_id for layer in layers)]
    config["history"] = [*(config.get("history") or ()), *entries]
    config["created"] = stamp
    descriptors = (layer.descriptor for layer in layers)
    return replace(parent, config=config, layers=(*parent.layers, *descriptors), media_type=manifest_type(image_format, runtime))


def check_format(image_format: str, *, healthcheck: bool) -> None:
    """Refuse, before any work, a recipe whose health check the wanted format cannot carry.

    podman and buildah read health checks from Docker's format only (image-spec, config.md, has no such field).

    :raises ContentError: it cannot.
    """
    if healthcheck and image_format == "oci":
        raise ContentError(
            "the OCI image format carries no health check, so that no runtime would run it",
            next_step="use image_format auto or docker, or take the health check out of the recipe and of its parents",
        )


def manifest_type(image_format: str, runtime: Mapping[str, object]) -> str:
    """Media type of the manifest of a build, by the wanted format and the runtime part of its configuration.

    :raises ContentError: as ``check_format``.
    """
    healthcheck = has_healthcheck(runtime)
    check_format(image_format, healthcheck=healthcheck)
    return DOCKER_MANIFEST if image_format == "docker" or (image_format == "auto" and healthcheck) else OCI_MANIFEST


def _runtime(runtime: Mapping[str, object]) -> dict[str, object]:
    found: dict[str, object] = {}
    for key in RUNTIME_KEYS:
        value = runtime.get(key)
        if value:
            found[key] = value
    return found
