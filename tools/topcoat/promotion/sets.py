"""A set of images that moves as one, and the record of it that lies in the registry.

This module must never contact a registry.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field, replace

from topcoat.documents import Door
from topcoat.errors import ContentError, UsageError
from topcoat.model import Digest, Status
from topcoat.model.image import check_digest, check_repository
from topcoat.model.receipt import Receipt

SCHEMA = 1
_DOOR = Door(ContentError, "use the version of topcoat that wrote it")
_WHAT = "a promotion record in the registry"


@dataclass(frozen=True)
class ImageSet:
    """Image name -> digest: what a floating tag shows, or shall show."""

    digests: tuple[tuple[str, Digest], ...]

    @classmethod
    def of(cls, digests: Mapping[str, Digest]) -> ImageSet:
        """From a mapping."""
        return cls(tuple(sorted(digests.items())))

    def as_dict(self) -> dict[str, Digest]:
        """The mapping."""
        return dict(self.digests)

    def nothing(self) -> ImageSet:
        """A set without images."""
        return ImageSet(())

    def holds(self, other: ImageSet) -> bool:
        """Whether every image of another set is in this one with the same digest."""
        return set(other.digests) <= set(self.digests)


@dataclass(frozen=True)
class SetRecord:
    """What the control repository says about one floating tag.

    ``repositories`` says where each image lies, so that a record can be rolled back or kept by the garbage collection without any image list.
    """

    name: str
    source: str
    """The tag (trunk hash, buildset) that the set was promoted from."""
    images: ImageSet
    repositories: tuple[tuple[str, str], ...]
    previous: ImageSet = field(default_factory=lambda: ImageSet(()))
    """What the tag showed before; images without an entry had no such tag."""
    previous_source: str = ""
    time: float = 0.0
    """Seconds since the epoch."""
    by: str = ""
    entry: str = ""
    """Id of the entry of the history that tells how it came here; empty in records of before there was one."""

    def over(self, before: SetRecord | None) -> SetRecord:
        """The record of the floating tag after a promotion of some images only: those of ``before`` that it does not name stay what they are.

        They stay in ``previous`` too: an image without an entry there would lose its tag when this record is rolled back.
        """
        if before is None:
            return self
        rest = {image: digest for image, digest in before.images.digests if image not in self.images.as_dict()}
        return replace(
            self,
            images=ImageSet.of({**rest, **self.images.as_dict()}),
            repositories=tuple(sorted({**dict(before.repositories), **dict(self.repositories)}.items())),
            previous=ImageSet.of({**rest, **self.previous.as_dict()}),
        )

    def is_result_of(self, plan: SetRecord) -> bool:
        """Whether this was written at the end of the promotion that ``plan`` had begun."""
        return (self.source, self.time, self.by) == (plan.source, plan.time, plan.by) and self.images.holds(plan.images)

    def repository_of(self, image: str) -> str:
        """Repository of an image of this record."""
        return dict(self.repositories)[image]

    def as_dict(self) -> dict[str, object]:
        """As plain data."""
        return {
            "schema": SCHEMA,
            "name": self.name,
            "source": self.source,
            "images": self.images.as_dict(),
            "repositories": dict(self.repositories),
            "previous": self.previous.as_dict(),
            "previous_source": self.previous_source,
            "time": round(self.time, 3),
            "by": self.by,
            "entry": self.entry,
        }

    def to_json(self) -> str:
        """Compact, keys sorted."""
        return json.dumps(self.as_dict(), sort_keys=True, separators=(",", ":"))

    @classmethod
    def from_json(cls, text: str) -> SetRecord:
        """From its JSON form.

        :raises ContentError: it is none of ours, or of a later version.
        """
        return cls.from_dict(_DOOR.json_object(text, _WHAT))

    @classmethod
    def from_dict(cls, document: Mapping[str, object]) -> SetRecord:
        """From plain data that passed a door, or is ours; errors as of ``from_json``."""
        shape = _DOOR.shape(_WHAT)
        try:
            if document.get("schema") != SCHEMA:
                raise ValueError(f"schema {str(document.get('schema'))[:40]}")
            images, previous = (
                {name: check_digest(digest) for name, digest in shape.texts(document.get(key), key).items()} for key in ("images", "previous")
            )
            repositories = {name: check_repository(value) for name, value in shape.texts(document.get("repositories"), "repositories").items()}
            texts = {key: shape.need(document, key, str) for key in ("name", "source", "previous_source", "by")}
            missing = (set(images) | set(previous)) - set(repositories)
            if missing:
                raise ValueError(f"no repository for {sorted(missing)}")
            return cls(
                texts["name"],
                texts["source"],
                ImageSet.of(images),
                tuple(sorted(repositories.items())),
                ImageSet.of(previous),
                texts["previous_source"],
                shape.moment(document.get("time"), "time"),
                texts["by"],
                shape.text(document.get("entry"), "entry"),
            )
        except (ValueError, UsageError) as error:
            raise ContentError(f"{_WHAT} cannot be read: {error}", next_step=_DOOR.next_step) from error


def check_receipt(receipt: Receipt, found: Mapping[str, Digest]) -> None:
    """A receipt says which digests belong to a tag: the registry must show exactly those.

    :param found: image name -> digest under the source tag.
    :raises ContentError: the run was not whole, an image is missing on one side, or a digest differs.
    """
    if receipt.status is not Status.DONE:
        raise ContentError(f"the receipt's run ended as {receipt.status.word!r}, not done", next_step="promote only what a whole run made")
    promised = {image.name: image.digest for image in receipt.images}
    problems = [f"{name}: in the receipt, not in the set" for name in sorted(set(promised) - set(found))]
    problems += [f"{name}: in the set, not in the receipt" for name in sorted(set(found) - set(promised))]
    problems += [
        f"{name}: the receipt says {promised[name]}, the registry {found[name]}"
        for name in sorted(set(promised) & set(found))
        if promised[name] != found[name]
    ]
    if problems:
        raise ContentError(
            f"receipt and registry do not agree on {len(problems)} image(s): {'; '.join(problems[:10])}", next_step="run the build again"
        )
