"""A template, a profile and values become a list of references: what to pull, mirror, promote or hand to a deployer.

This module must never contact a registry; ``ResolvedList.with_tags`` takes what one said.
"""

from __future__ import annotations

import datetime
import re
from collections.abc import Collection, Mapping
from dataclasses import dataclass, replace

from topcoat.documents.expressions import expression
from topcoat.errors import UsageError
from topcoat.lists.entries import BUILT_IN, ListTemplate, holds
from topcoat.model.image import ImageReference
from topcoat.model.profile import Profile
from topcoat.model.recipe import Recipe
from topcoat.recipes.reading import nearest

_NO_RECIPE = "write the recipe, or take the entry out of the list"
_PLACEHOLDER = re.compile(r"\$\{([^}]*)\}")


@dataclass(frozen=True)
class ListedImage:
    """One image of a resolved list. ``name`` is the recipe's, or for an external image the last part of its repository."""

    name: str
    reference: str
    external: bool = False
    source: str = ""
    parameters: tuple[str, ...] = ()
    services: tuple[str, ...] = ()

    @property
    def parsed(self) -> ImageReference:
        """The reference taken apart."""
        return ImageReference.parse(self.reference)


@dataclass(frozen=True)
class ResolvedList:
    """A list whose placeholders are filled and whose conditions are decided; sorted by reference."""

    name: str
    images: tuple[ListedImage, ...]
    aliases: tuple[tuple[str, str, str], ...] = ()
    """(reference under the old name, reference under the new name, last day as YYYY-MM-DD)."""

    def parameters(self) -> dict[str, str]:
        """Parameter to reference, sorted: the deployer's environment file."""
        return dict(sorted((parameter, image.reference) for image in self.images for parameter in image.parameters))

    def for_services(self, services: Collection[str]) -> ResolvedList:
        """Only the images that one of these services needs.

        :raises UsageError: nothing is left, or a service is unknown to the list.
        """
        known = {service for image in self.images for service in image.services}
        for service in services:
            if service not in known:
                raise UsageError(f"no image of the list is for the service {service!r}{nearest(service, known)}", next_step="check the services")
        kept = tuple(image for image in self.images if set(image.services) & set(services))
        if not kept:
            raise UsageError("the selection is empty", next_step="name at least one service")
        return replace(self, images=kept)

    def named(self, include: Collection[str], exclude: Collection[str]) -> ResolvedList:
        """Only the images whose names match one of some regular expressions (none: all) and none of others.

        :raises UsageError: nothing is left, or an expression is none.
        """
        wanted, unwanted = ([expression(one) for one in side] for side in (include, exclude))
        kept = tuple(
            image
            for image in self.images
            if (not wanted or any(one.search(image.name) for one in wanted)) and not any(one.search(image.name) for one in unwanted)
        )
        if not kept:
            raise UsageError("the selection is empty", next_step="widen --include or --exclude")
        return replace(self, images=kept)

    def to_data(self) -> dict[str, object]:
        """``{"list", "images": [{"name", "reference", "external", "source", "parameters", "services"}], "aliases": [...]}``."""
        return {
            "list": self.name,
            "images": [
                {
                    "name": image.name,
                    "reference": image.reference,
                    "external": image.external,
                    "source": image.source,
                    "parameters": list(image.parameters),
                    "services": list(image.services),
                }
                for image in self.images
            ],
            "aliases": [{"alias": alias, "reference": reference, "until": until} for alias, reference, until in self.aliases],
        }


def resolve(
    template: ListTemplate,
    *,
    profile: Profile,
    values: Mapping[str, str],
    recipes: Mapping[str, Recipe],
    today: datetime.date | None = None,
) -> ResolvedList:
    """Fill a template.

    :param values: for the template's variables and for registry, namespace, prefix, suffix and tag, which come from the profile otherwise.
    :param recipes: the recipes that exist for the profile; an entry whose recipe the profile drops is left out, one without any recipe is
        ``topcoat lint``'s business.
    :param today: aliases that ended before this day are left out; None: today (UTC).
    :raises UsageError: unknown variable, a value outside its closed list, a reference outside the grammar, an empty list, and an image without a
        recipe in a list that another project has written.
    """
    filled = _values(template, profile, values)
    if template.foreign:
        for name in sorted({entry.image for entry in template.entries if entry.image and holds(entry.when, filled)} - recipes.keys()):
            raise UsageError(f"no recipe for image {name!r}{nearest(name, recipes)}", where=template.where, next_step=_NO_RECIPE)
    images = []
    for entry in template.entries:
        if not holds(entry.when, filled) or (entry.image is not None and entry.image not in recipes):
            continue
        text = _own(entry.image, filled) if entry.image is not None else _PLACEHOLDER.sub(lambda match: filled[match[1]], entry.reference or "")
        reference = _checked(text, entry.where)
        images.append(
            ListedImage(
                name=entry.image or reference.repository.rpartition("/")[2],
                reference=text,
                external=entry.image is None,
                source=entry.source,
                parameters=entry.parameters,
                services=tuple(name for name, when in entry.services if holds(when, filled)),
            )
        )
    if not images:
        raise UsageError("the image list is empty", where=template.where, next_step="check the values and the profile")
    day = today or datetime.datetime.now(datetime.UTC).date()
    aliases = tuple(
        (_own(alias.name, filled), _own(alias.image, filled), alias.until.isoformat())
        for alias in template.aliases
        if alias.until >= day and alias.image in recipes
    )
    return ResolvedList(template.name, tuple(sorted(images, key=lambda image: image.reference)), aliases)


def _values(template: ListTemplate, profile: Profile, given: Mapping[str, str]) -> dict[str, str]:
    of_profile = (profile.registry, profile.namespace, profile.prefix, profile.suffix, profile.reference_tag)
    return {**dict(zip(BUILT_IN, of_profile, strict=True)), **template.filled(given)}


def _own(image: str, values: Mapping[str, str]) -> str:
    path = "/".join(part for part in (values["registry"], values["namespace"]) if part)
    return f"{path}/{values['prefix']}{image}{values['suffix']}:{values['tag']}"


def _checked(text: str, where: str) -> ImageReference:
    try:
        return ImageReference.parse(text)
    except UsageError as error:
        raise UsageError(f"the reference becomes {text!r}: {error.what}", where=where, next_step="correct the values or the entry") from error
