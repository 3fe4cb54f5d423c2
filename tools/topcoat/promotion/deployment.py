"""An image list with what a registry really holds: what a deployer's files are written from, complete or not at all.

This module must never leave an image out of a list, unless it was asked to leave missing ones out.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from topcoat.errors import ContentError
from topcoat.lists import Chosen, left_to_default, load_template, output, resolve
from topcoat.lists.entries import ListTemplate
from topcoat.model import Profile, Recipe
from topcoat.promotion.discover import SCHEMA, Discovered, Rule, discover
from topcoat.registry import Registries


@dataclass(frozen=True)
class WantedImages:
    """Which images of which list, and how they are referred to."""

    name: str
    """A list of the tree, or a file."""
    values: Mapping[str, str]
    """For its template."""
    services: tuple[str, ...] = ()
    include: tuple[str, ...] = ()
    exclude: tuple[str, ...] = ()
    rule: Rule = field(default_factory=Rule)
    by_digest: bool = True
    external: bool = False
    """Look images up too that are not built here."""
    present_only: bool = False
    """Leave out what the registry does not hold."""

    @property
    def whole(self) -> bool:
        """Whether it is the whole list."""
        return not (self.services or self.include or self.exclude)


@dataclass(frozen=True)
class Deployment:
    """The images of a list that a registry holds."""

    wanted: WantedImages
    template: ListTemplate
    name: str
    """Of the list."""
    kept: tuple[Discovered, ...]
    missing: tuple[Discovered, ...]

    def reference(self, entry: Discovered) -> str:
        """What an image is referred to by."""
        return entry.pinned if self.wanted.by_digest else entry.reference

    def document(self) -> dict[str, object]:
        """All that was found."""
        rows = [
            {
                "name": entry.image.name,
                "reference": self.reference(entry),
                "tag": entry.tag,
                "digest": entry.digest,
                "found_by": entry.how,
                "external": entry.image.external,
                "source": entry.image.source,
                "parameters": list(entry.image.parameters),
                "services": list(entry.image.services),
            }
            for entry in self.kept
        ]
        return {"schema": SCHEMA, "list": self.name, "images": rows, "missing": [entry.image.name for entry in self.missing]}

    def environment(self) -> dict[str, object]:
        """The deployer's environment file."""
        parameters = {parameter: self.reference(entry) for entry in self.kept for parameter in entry.image.parameters}
        return {"parameter_defaults": dict(sorted(parameters.items()))}

    def file(self, form: str, resource: str) -> tuple[str, tuple[tuple[str, str], ...]]:
        """The text of a file that a deployer reads, and (key, why) of what it keeps its own default for.

        :param form: see ``topcoat.lists.output``. :raises ContentError: a key of the list has no image.
        """
        chosen = [Chosen(entry.image.name, entry.image.parameters, self.reference(entry)) for entry in self.kept]
        wanted = self.wanted
        left = left_to_default(self.template, wanted.values, chosen, whole=wanted.whole, incomplete=wanted.present_only)
        return output(form, chosen, name=resource), left


def look_up(wanted: WantedImages, profile: Profile, recipes: Mapping[str, Recipe], root: Path, registries: Registries) -> Deployment:
    """Fill the list, and ask the registry for each of its images.

    :param recipes: those of the whole set. :param root: the recipe tree.
    :raises UsageError: the list or the selection is at fault. :raises ContentError: the registry lacks an image, or a tag was to be found and is not.
    """
    template = load_template(wanted.name, root=root)
    resolved = resolve(template, profile=profile, values=wanted.values, recipes=recipes)
    if wanted.services:
        resolved = resolved.for_services(wanted.services)
    found = discover(
        resolved.named(wanted.include, wanted.exclude),
        registries.client,
        wanted.rule,
        namespace=wanted.values.get("namespace", profile.namespace),
        external=wanted.external,
        platform=profile.platform,
    )
    missing = tuple(entry for entry in found if entry.digest is None and entry.how != "external")
    if missing and not wanted.present_only:
        names = ", ".join(entry.image.name for entry in missing[:10])
        raise ContentError(
            f"the registry does not hold {len(missing)} of {len(found)} images: {names}{' ...' if len(missing) > 10 else ''}",
            next_step="build them, or leave them out with --present-only",
        )
    kept = tuple(entry for entry in found if entry not in missing)
    if not kept:
        raise ContentError("the registry holds no image of the list", next_step="check registry, namespace and tag")
    return Deployment(wanted, template, resolved.name, kept, missing)
