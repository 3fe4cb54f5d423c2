"""The proof: what a provider returned, what a storage holds, what containers run.

This module must never pass an empty set: a consumer without images has tested nothing.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from topcoat.consumer.podman import Podman
from topcoat.errors import ContentError, UsageError
from topcoat.model import ImageReference, Receipt, Status
from topcoat.model.image import check_digest
from topcoat.process.each import each
from topcoat.zuul import Artifact, newest_images


@dataclass(frozen=True)
class Expected:
    """One image that a provider returned, pinned."""

    name: str
    reference: ImageReference
    """``host/repository@digest``."""


@dataclass(frozen=True)
class Consumed:
    """One proved image."""

    name: str
    reference: str
    digest: str


def expected_from_artifacts(artifacts: Sequence[Artifact], names: Sequence[str] = ()) -> tuple[Expected, ...]:
    """The newest image for each repository and tag, by name.

    Artifacts without a digest (of other producers) cannot be proved and are left out, unless they are asked for.

    :param names: image names to take, empty for all.
    :raises ContentError: nothing is left, a name was not returned, or one is that of two images: which of them is meant cannot be told.
    """
    found: dict[str, Expected] = {}
    for artifact in newest_images(artifacts):
        name = artifact.image or artifact.repository.rpartition("/")[2]
        if artifact.digest:
            tagged = ImageReference.parse(artifact.url)
            other = found.get(name)
            if other and other.reference.repository != tagged.repository and (not names or name in names):
                raise ContentError(
                    f"{other.reference.repository} and {tagged.repository} were both returned under this name",
                    image=name,
                    next_step="let one of the two providers give its images a prefix, or consume them in two jobs",
                )
            found[name] = Expected(name, ImageReference(tagged.host, tagged.repository, digest=check_digest(artifact.digest)))
        elif name in names:
            raise ContentError("was returned without a digest, so nothing can be proved", image=name, next_step="let its provider return the digest")
        else:
            found.pop(name, None)  # an older one of this name is not what the newest provider made
    return _chosen(found, names, "zuul.artifacts")


def expected_from_receipt(receipt: Receipt, names: Sequence[str] = ()) -> tuple[Expected, ...]:
    """The published images of a run, by name; raises as ``expected_from_artifacts`` does."""
    found = {}
    for image in receipt.images:
        if image.status is Status.DONE and image.digest:
            tagged = ImageReference.parse(image.repository)
            found[image.name] = Expected(image.name, ImageReference(tagged.host, tagged.repository, digest=image.digest))
    return _chosen(found, names, "the receipt")


def _chosen(found: dict[str, Expected], names: Sequence[str], source: str) -> tuple[Expected, ...]:
    missing = [name for name in names if name not in found]
    if missing:
        raise ContentError(f"{source} names no image {', '.join(missing)}", next_step="check the names, and that this job depends on its provider")
    if not found:
        raise ContentError(
            f"{source} names no image with a digest", next_step="check that this job depends on its provider and that the provider succeeded"
        )
    return tuple(found[name] for name in (dict.fromkeys(names) if names else sorted(found)))


def consume(
    expected: Sequence[Expected], podman: Podman, *, pull: bool = True, jobs: int = 4, say: Callable[[str], None] = lambda line: None
) -> tuple[Consumed, ...]:
    """Pull every image by digest and prove that the storage holds it.

    :param jobs: pulls at the same time.
    :raises ContentError: the registry does not hold the digest, or the storage holds another.
    """
    if jobs < 1:
        raise UsageError(f"{jobs} pulls at the same time", next_step="give 1 or more")

    def one(image: Expected) -> Consumed:
        if pull:
            podman.pull(image.reference)
        held = podman.digests(str(image.reference))
        digest = image.reference.digest or ""
        if digest not in held:
            what = f"holds {', '.join(sorted(held))}" if held else "holds no such image"
            raise ContentError(
                f"the provider returned {digest}, this node {what}",
                image=image.name,
                next_step="pull the image by the digest that the provider returned",
            )
        say(f"{image.name}: {digest}")
        return Consumed(image.name, str(image.reference), digest)

    return tuple(each(expected, one, workers=jobs))


def prove_running(expected: Sequence[Expected], podman: Podman, *, required: Sequence[str] = ()) -> tuple[Consumed, ...]:
    """Prove that every running container of one of these images runs the returned digest.

    Containers of other images are no concern of this proof.

    :param required: image names that must be running.
    :raises ContentError: a container runs another digest, or a required image is not running.
    """
    proved: dict[str, Consumed] = {}
    for container in podman.running():
        image = next((image for image in expected if same_repository(container.image, image.reference.repository)), None)
        if image is None:
            continue
        held = podman.digests(container.image_id)
        digest = image.reference.digest or ""
        if digest not in held:
            raise ContentError(
                f"container {container.name} runs {', '.join(sorted(held)) or container.image_id}, the provider returned {digest}",
                image=image.name,
                next_step="deploy the reference by digest (fact consume_images_references), not a tag",
            )
        proved[image.name] = Consumed(image.name, str(image.reference), digest)
    missing = [name for name in required if name not in proved]
    if missing:
        raise ContentError(f"no container runs {', '.join(missing)}", next_step="look at the log of the deployment")
    return tuple(proved[name] for name in sorted(proved))


def same_repository(used: str, repository: str) -> bool:
    """Whether an image name as a container was started with it (host or not, tag, digest) is of this repository."""
    path = without_tag(used)
    return path == repository or path.endswith(f"/{repository}") or repository.endswith(f"/{path}")


def without_tag(used: str) -> str:
    """An image name as a container was started with it, without tag and digest."""
    head, _, last = used.partition("@")[0].rpartition("/")
    return f"{head}/{last.partition(':')[0]}".lstrip("/")
