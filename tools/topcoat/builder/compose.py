"""The configuration of a built image, put together by us: nothing of the tool, the host or the day is in it.

This module must never read a clock or a file.
"""

from __future__ import annotations

import copy
import datetime
from collections.abc import Mapping
from dataclasses import replace

from topcoat.layers import Layer
from topcoat.registry.oci import Descriptor, Image

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


def compose(parent: Image, runtime: Mapping[str, object], layer: Layer | None, *, epoch: int, created_by: str) -> Image:
    """The image of a build: the parent's layers, one more where there is one, and the runtime part of the configuration.

    :param runtime: ``config`` section as the build left it; keys that are not known are dropped, so are empty values.
    :param epoch: creation time, seconds since 1970.
    """
    config = copy.deepcopy(parent.config)
    config.pop("container", None)
    config["config"] = _runtime(runtime)
    stamp = datetime.datetime.fromtimestamp(epoch, datetime.UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
    entry: dict[str, object] = {"created": stamp, "created_by": created_by}
    layers = parent.layers
    if layer is None:
        entry["empty_layer"] = True
    else:
        rootfs = config.setdefault("rootfs", {"type": "layers"})
        rootfs["diff_ids"] = [*(rootfs.get("diff_ids") or ()), layer.diff_id]
        layers = (*layers, Descriptor(layer.media_type, layer.digest, layer.size))
    config["history"] = [*(config.get("history") or ()), entry]
    config["created"] = stamp
    return replace(parent, config=config, layers=layers)


def _runtime(runtime: Mapping[str, object]) -> dict[str, object]:
    found: dict[str, object] = {}
    for key in RUNTIME_KEYS:
        value = runtime.get(key)
        if value:
            found[key] = value
    return found
