"""The proof for a cluster: every container of one of these images runs the digest that was returned, or of an index the child of its node.

This module must never take an index for an image: what a container runs is a child, and it is named.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

from topcoat.consumer.pods import PodContainer, Pods, read_pods
from topcoat.consumer.proof import Expected, same_repository, without_tag
from topcoat.errors import ContentError, UsageError
from topcoat.model import Digest
from topcoat.registry import Registries


@dataclass(frozen=True)
class Ran:
    """A container that is proved."""

    name: str
    """Of the image."""
    pod: str
    container: str
    digest: Digest
    """That was returned."""
    child: Digest
    """Of the image that really runs: the same, or a child of the index."""
    platform: str
    """Of the child."""
    said_by: str
    """Who says which child: ``image`` (its own digest), ``node``, ``selector``, or ``profile`` where nothing else says it."""


@dataclass(frozen=True)
class ClusterProof:
    """What became of every container."""

    ran: tuple[Ran, ...]
    wrong: tuple[str, ...]
    """A line for each container that runs something else, or nothing."""
    others: int
    """Containers of images that are none of these."""
    works: frozenset[str]
    """Images of which a container runs, or ended as it should."""


def _mirrors(words: Sequence[str]) -> tuple[tuple[str, str], ...]:
    """Pairs of ``SOURCE=MIRROR``.

    :raises UsageError: one is no pair.
    """
    pairs = [(source.strip("/"), mirror.strip("/")) for source, _, mirror in (word.partition("=") for word in words)]
    for word, (source, mirror) in zip(words, pairs, strict=True):
        if not source or not mirror:
            raise UsageError(f"--mirror wants SOURCE=MIRROR, not {word!r}", next_step="write --mirror quay.io/site=mirror.example.org/quay/site")
    return tuple(pairs)


def prove_pods(
    expected: Sequence[Expected], pods: Pods, registries: Registries, *, platform: str, mirrored: Sequence[tuple[str, str]] = ()
) -> ClusterProof:
    """Compare what runtimes say with what was returned; manifests and configurations are read, layers are not.

    :param platform: that of the profile, for indexes on nodes that the file says nothing about.
    :param mirrored: from ``_mirrors``.
    :raises InfrastructureError: the registry does not answer. :raises ContentError: it does not hold what was returned.
    """
    published = {image.name: _Published(image, registries) for image in expected}
    ran: list[Ran] = []
    wrong: list[str] = []
    works: set[str] = set()
    others = 0
    for container in pods.containers:
        named = _meant(container, expected, mirrored)
        # Under a name that means none of ours it still is one, when its digest is.
        meant = named or [image for image in expected if image.reference.digest == container.digest]
        found = [published[image.name].ran(container, platform) for image in meant] if container.digest else []
        proved = next((one for one in found if isinstance(one, Ran)), None)
        if proved:
            ran.append(proved)
            works |= {proved.name} if container.works else set()
        elif meant:
            note = next((one for one in found if isinstance(one, str)), "")
            wrong.append(f"pod {container.pod}, container {container.name}: {_why(container, meant[0], note, expected)}")
        else:
            others += 1
    return ClusterProof(tuple(ran), tuple(wrong), others, frozenset(works))


def proved_pods(
    expected: Sequence[Expected], file: Path, registries: Registries, *, platform: str, mirror_words: Sequence[str] = (), required: Sequence[str] = ()
) -> tuple[dict[str, object], list[str], ContentError | None]:
    """What the pods of a file of kubectl's run: (the document, a line for each thing, why it is no proof).

    :param mirror_words: ``SOURCE=MIRROR`` each. :param required: images that must be running.
    :raises UsageError: the file holds no pods. :raises TopcoatError: as of ``prove_pods``.
    """
    mirrored, pods = _mirrors(mirror_words), read_pods(file)
    proof = prove_pods(expected, pods, registries, platform=platform, mirrored=mirrored)
    rows = {image.name: [one for one in proof.ran if one.name == image.name] for image in expected}
    shown = [image for image in expected if rows[image.name]]
    document: dict[str, object] = {
        "images": [{"name": image.name, "reference": str(image.reference), "digest": image.reference.digest} for image in shown],
        "references": {image.name: str(image.reference) for image in shown},
        "pods": [asdict(one) for one in proof.ran],
        "wrong": list(proof.wrong),
        "leaving": list(pods.leaving),
        "others": proof.others,
    }
    lines = []
    for image in shown:
        children = sorted({(one.child, one.platform) for one in rows[image.name]})
        what = ", ".join(f"{child} for {own}" if own else child for child, own in children if child != image.reference.digest)
        lines.append(f"{image.name}  {image.reference.digest}  {_count(len(rows[image.name]))}{f'  ran {what}' if what else ''}")
    lines += [f"WRONG  {line}" for line in proof.wrong]
    end = f"{_count(len(proof.ran))} of {len(shown)} images proved, {len(proof.wrong)} wrong, {proof.others} of other images"
    lines.append(f"{end}, {len(pods.leaving)} pods are leaving" if pods.leaving else end)
    return document, lines, _fault(proof, pods, required)


def _count(count: int) -> str:
    return f"{count} container{'s' if count != 1 else ''}"


def _fault(proof: ClusterProof, pods: Pods, required: Sequence[str]) -> ContentError | None:
    """Why this is no proof: something else runs, an image that must run does not, or nothing of the set runs at all."""
    if proof.wrong:
        more = f" (and {len(proof.wrong) - 1} more)" if len(proof.wrong) > 1 else ""
        return ContentError(f"{proof.wrong[0]}{more}", next_step="deploy references by digest, and wait until the deployment is complete")
    missing = [name for name in required if name not in proof.works]
    if missing:
        return ContentError(f"no container runs {', '.join(missing)}", next_step="look at the log of the deployment")
    if not proof.ran:
        return ContentError(
            f"none of {_count(len(pods.containers))} runs an image of the set",
            next_step="take pods of all namespaces, after the deployment; name a mirror with --mirror where images have another path there",
        )
    return None


def _meant(container: PodContainer, expected: Sequence[Expected], mirrored: Sequence[tuple[str, str]]) -> list[Expected]:
    """The image that a container's names mean: what the pod asks for counts before what the runtime calls it."""
    for name in container.names:
        path = without_tag(name)
        names = (path, *(source + path[len(mirror) :] for source, mirror in mirrored if f"{path}/".startswith(f"{mirror}/")))
        found = [image for image in expected if any(same_repository(one, image.reference.repository) for one in names)]
        if found:
            return found
    return []


def _why(container: PodContainer, meant: Expected, note: str, expected: Sequence[Expected]) -> str:
    returned = f"the provider returned {meant.reference.digest} of {meant.name}"
    if not container.image_id:
        return f"has not started {meant.name}: {container.state or 'no reason is given'}"
    if container.digest is None:
        return f"runs {container.image_id!r}, which is no digest; {returned}"
    swapped = next((image.name for image in expected if image.reference.digest == container.digest and image != meant), "")
    return f"{note or f'runs {container.digest}'}{f', which is {swapped}' if swapped else ''}; {returned}"


class _Published:
    """One returned image as the registry holds it; read when a container asks for it."""

    def __init__(self, image: Expected, registries: Registries) -> None:
        self.name = image.name
        self._digest = Digest(str(image.reference.digest))
        self._repository = image.reference.repository
        self._client = registries.client(image.reference.host)
        self._children: dict[Digest, dict[Digest, str]] = {}
        self._configs: dict[Digest, Digest] = {}

    def ran(self, container: PodContainer, platform: str) -> Ran | str:
        """The proof, or what is known of what runs there instead; empty where that is nothing.

        :param platform: of the node, where the pods do not say it.
        """
        said, children, wanted = container.digest, self._of(self._digest), container.platform or platform
        own = next((child for child in children if said in (child, self._configs[child])), None)
        said_by = "image" if own else container.said_by or "profile"
        if own is None and said == self._digest:
            own = _for(children, wanted)
            if own is None:
                return f"runs an index without an image for {wanted}"
        if own is None:
            own = self._inside(container.digest, wanted)
        if own is None:
            return ""
        if container.platform and children[own] not in ("", container.platform):
            return f"runs {own}, an image for {children[own]}, on a node of {container.platform}"
        return Ran(self.name, container.pod, container.name, self._digest, own, children[own], said_by)

    def _inside(self, said: Digest | None, platform: str) -> Digest | None:
        """What was returned, where the runtime names another index that holds it for its node: a tag was pulled, and the child is the same."""
        try:
            child = _for(self._of(Digest(str(said))), platform)
        except ContentError:
            return None
        return child if child in self._of(self._digest) else None

    def _of(self, digest: Digest) -> dict[Digest, str]:
        """Image -> its platform, of a manifest or an index."""
        if digest not in self._children:
            manifest = self._client.manifest(self._repository, digest)
            images = [one.digest for one in manifest.images]
            self._children[digest] = {image: self._platform(image) for image in (images if manifest.is_index else [digest])}
        return self._children[digest]

    def _platform(self, digest: Digest) -> str:
        manifest, image = self._client.image(self._repository, digest)
        self._configs[digest] = manifest.config.digest
        return image.platform if image.config.get("architecture") else ""


def _for(children: Mapping[Digest, str], platform: str) -> Digest | None:
    return next((child for child, own in children.items() if own in (platform, "")), None)
