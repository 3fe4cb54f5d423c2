"""Reads what ``kubectl get pods -o json`` prints: each container with the image that its runtime says it runs.

This module must never take the name of an image for what runs: names are kept to find the image that is meant, digests prove it.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from topcoat.documents import Door, Shape
from topcoat.errors import UsageError
from topcoat.model import Digest

_DOOR = Door(UsageError, "write it with 'kubectl get nodes,pods --all-namespaces -o json'", limit=256 << 20)
_LISTS = {"List", "PodList", "NodeList"}
_PARTS = (("initContainers", "initContainerStatuses"), ("containers", "containerStatuses"), ("ephemeralContainers", "ephemeralContainerStatuses"))
_SCHEME = re.compile(r"[a-z][a-z0-9+.-]*://")
_HEX = re.compile(r"[0-9a-f]{64}")


@dataclass(frozen=True)
class PodContainer:
    """A container of a pod."""

    pod: str
    """``namespace/name``."""
    name: str
    names: tuple[str, ...]
    """The image as the pod asks for it, as the runtime calls it, and the one that its id names."""
    digest: Digest | None
    """Of an image, of an index over it, or of its configuration: runtimes differ. None: it has not started, or the id is no digest."""
    image_id: str
    """As the runtime says it; empty: it has not started."""
    works: bool
    """It runs, or ended as it should."""
    state: str
    """Why it has not started, in the words of Kubernetes."""
    platform: str = ""
    """``os/architecture`` of its node; empty where the file does not say."""
    said_by: str = ""
    """Who names the platform: ``node`` or ``selector``."""


@dataclass(frozen=True)
class Pods:
    """The containers of a file, and the pods in it that are being deleted or were evicted: they are no part of what is deployed."""

    containers: tuple[PodContainer, ...]
    leaving: tuple[str, ...] = ()


def read_pods(path: Path) -> Pods:
    """The containers of every pod that a file of kubectl's holds: a list, of nodes too, or one pod.

    :raises UsageError: it cannot be read, or holds no pod.
    """
    what = "the file of pods"
    shape = _DOOR.shape(what, where=str(path))
    items = list(_items(_DOOR.json_file(path, what), shape))
    nodes = {_name(item, shape): platform for item in items if item.get("kind") == "Node" if (platform := _node_platform(item, shape))}
    pods = [item for item in items if item.get("kind") == "Pod"]
    if not pods:
        kinds = ", ".join(sorted({str(item.get("kind"))[:40] for item in items}))
        raise shape.wrong("it", f"of any pod{f', only of {kinds}' if kinds else ''}")
    containers: list[PodContainer] = []
    leaving = []
    for pod in pods:
        status = shape.table(pod.get("status"), "status")
        if shape.table(pod.get("metadata"), "metadata").get("deletionTimestamp") or status.get("phase") == "Failed":
            leaving.append(_pod_name(pod, shape))
        else:
            containers += _containers(pod, status, nodes, shape)
    return Pods(tuple(containers), tuple(leaving))


def _items(document: object, shape: Shape) -> Iterator[dict[str, Any]]:
    """Objects of a list; in a list of one kind (PodList) the objects themselves do not say theirs."""
    if not isinstance(document, dict) or not isinstance(kind := document.get("kind"), str):
        raise shape.wrong("it", "an object of Kubernetes (there is no 'kind')")
    if kind not in _LISTS:
        yield document
        return
    for item in shape.items(document.get("items"), "items", dict, "objects"):
        own = kind.removesuffix("List")
        if own and item.get("kind") is None:
            yield {**item, "kind": own}
        else:  # a pod that is passed over because nobody sees that it is one would be proved with the others
            shape.need(item, "kind", str, "items")
            yield item


def _name(item: Mapping[str, Any], shape: Shape) -> str:
    return shape.need(shape.table(item.get("metadata"), "metadata"), "name", str, "metadata")


def _pod_name(pod: Mapping[str, Any], shape: Shape) -> str:
    namespace = shape.text(shape.table(pod.get("metadata"), "metadata").get("namespace"), "metadata.namespace")
    return f"{namespace or 'default'}/{_name(pod, shape)}"


def _node_platform(node: Mapping[str, Any], shape: Shape) -> str:
    info = shape.texts(shape.table(node.get("status"), "status").get("nodeInfo"), "status.nodeInfo")
    return f"{info.get('operatingSystem') or 'linux'}/{info['architecture']}" if info.get("architecture") else ""


def _platform(spec: Mapping[str, Any], nodes: Mapping[str, str], shape: Shape) -> tuple[str, str]:
    """(platform, who says so) of the node that a pod was put on."""
    node = nodes.get(shape.text(spec.get("nodeName"), "spec.nodeName"))
    if node:
        return node, "node"
    selector = shape.texts(spec.get("nodeSelector"), "spec.nodeSelector")
    architecture = selector.get("kubernetes.io/arch")
    return (f"{selector.get('kubernetes.io/os') or 'linux'}/{architecture}", "selector") if architecture else ("", "")


def _containers(pod: Mapping[str, Any], status: Mapping[str, Any], nodes: Mapping[str, str], shape: Shape) -> Iterator[PodContainer]:
    spec, name = shape.table(pod.get("spec"), "spec"), _pod_name(pod, shape)
    platform, said_by = _platform(spec, nodes, shape)
    waits = shape.text(status.get("reason"), "status.reason") or _condition(status, shape)
    for wanted, there in _PARTS:
        asked = {
            shape.need(entry, "name", str, f"{name} {wanted}"): shape.text(entry.get("image"), f"{name} {wanted}.image")
            for entry in shape.items(spec.get(wanted), wanted, dict, "objects")
        }
        said = {shape.need(entry, "name", str, f"{name} {there}"): entry for entry in shape.items(status.get(there), there, dict, "objects")}
        for container in dict.fromkeys((*asked, *said)):
            entry = said.get(container, {})
            image_id = shape.text(entry.get("imageID"), f"{name} {there}.imageID")
            works, state = _state(shape.table(entry.get("state"), f"{name} {there}.state"), shape)
            plain = _SCHEME.sub("", image_id, count=1)
            names = (asked.get(container, ""), shape.text(entry.get("image"), f"{name} {there}.image"), plain if "@" in plain else "")
            kept = tuple(dict.fromkeys(word for word in names if word and not digest_in(word, alone=True)))
            yield PodContainer(name, container, kept, digest_in(plain), image_id, works, state or waits, platform, said_by)


def digest_in(text: str, *, alone: bool = False) -> Digest | None:
    """The digest at the end of an image's id (``name@sha256:...``, ``sha256:...``, or the bare digits that CRI-O gives); None where there is none.

    :param alone: only where nothing stands before it.
    """
    head, _, last = text.rpartition("@")
    digits = last.removeprefix("sha256:")
    return Digest(f"sha256:{digits}") if _HEX.fullmatch(digits) and not (alone and head) else None


def _state(state: Mapping[str, Any], shape: Shape) -> tuple[bool, str]:
    """(whether it works, why it has not started) of a container's state: one of running, terminated and waiting."""
    if "terminated" in state:
        ended = shape.table(state["terminated"], "state.terminated")
        return ended.get("exitCode") == 0, shape.text(ended.get("reason"), "state.terminated.reason")
    waiting = shape.table(state.get("waiting"), "state.waiting")
    reason, message = (shape.text(waiting.get(key), f"state.waiting.{key}") for key in ("reason", "message"))
    shape.table(state.get("running"), "state.running")
    return state.get("running") is not None, f"{reason}: {message}" if reason and message else reason or message


def _condition(status: Mapping[str, Any], shape: Shape) -> str:
    """Why a pod has no node yet."""
    for entry in shape.items(status.get("conditions"), "status.conditions", dict, "objects"):
        if entry.get("type") == "PodScheduled" and entry.get("status") == "False":
            reason, message = (shape.text(entry.get(key), f"status.conditions.{key}") for key in ("reason", "message"))
            return f"{reason}: {message}" if reason and message else reason or message
    return shape.text(status.get("phase"), "status.phase")
