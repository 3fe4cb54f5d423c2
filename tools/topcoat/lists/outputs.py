"""An image list in the words of today's deployers: the operators' OpenStackVersion, related images of a bundle, environment variables, Helm values.

This module must never leave a key out in silence: what has no image stands in the list's ``left_out``, or is an error.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

import yaml

from topcoat.errors import ContentError, UsageError
from topcoat.lists.entries import ListTemplate, holds

FORMATS = ("openstackversion", "relatedimages", "env", "helm-values")
_KEY = re.compile(r"[a-z][A-Za-z0-9]*Images?")
# OpenStackVersion, core.openstack.org/v1beta1: these two are maps from a backend's name to its image; ``default`` is that of backends without one.
_PER_BACKEND = ("cinderVolumeImages", "manilaShareImages")
_WORDS = re.compile(r"[A-Z]+(?![a-z])|[A-Z]?[a-z0-9]+")


@dataclass(frozen=True)
class Chosen:
    """An image of the list: its name, the parameters that it is the value of, and its reference."""

    name: str
    parameters: tuple[str, ...]
    reference: str


def missing_parameters(template: ListTemplate, given: Mapping[str, str], found: Sequence[Chosen]) -> tuple[str, ...]:
    """Parameters of entries whose conditions hold and that no image was found for: their recipes are not in the tree, or not for this profile."""
    values = template.filled(given)
    known = {parameter for image in found for parameter in image.parameters}
    wanted = (parameter for entry in template.entries if holds(entry.when, values) for parameter in entry.parameters)
    return tuple(dict.fromkeys(parameter for parameter in wanted if parameter not in known))


def left_to_default(
    template: ListTemplate, given: Mapping[str, str], found: Sequence[Chosen], *, whole: bool, incomplete: bool
) -> tuple[tuple[str, str], ...]:
    """(key, why) of what a deployer keeps its own default for.

    :param whole: the images are those of the whole list, so that each key of it counts. :param incomplete: keys without an image are accepted.
    :raises ContentError: a key of the list has no image.
    """
    absent = missing_parameters(template, given, found) if whole else ()
    if absent and not incomplete:
        raise ContentError(
            f"{len(absent)} keys of the list have no image in this tree: {', '.join(absent[:10])}{' ...' if len(absent) > 10 else ''}",
            next_step="leave them to the deployer's defaults with --present-only, or write them into the list's left_out with the reason",
        )
    return (*((key, "no image of it here") for key in absent), *template.left_out)


def output(form: str, images: Sequence[Chosen], *, name: str = "controlplane") -> str:
    """The text of a file.

    :param form: one of ``FORMATS``. :param name: of the OpenStackVersion, which is that of the OpenStackControlPlane.
    :raises UsageError: the list has no parameter of this form, or two images want one key.
    """
    if form == "openstackversion":
        return _yaml({"apiVersion": "core.openstack.org/v1beta1", "kind": "OpenStackVersion", "metadata": {"name": name}, "spec": _custom(images)})
    if form == "helm-values":
        return _yaml({"images": {"tags": _table({image.name.replace("-", "_").replace(".", "_"): image.reference} for image in images)}})
    variables = _table(dict.fromkeys(_variables(image), image.reference) for image in images)
    if form == "env":
        return "".join(f"{variable}={reference}\n" for variable, reference in variables.items())
    rows = [{"name": variable.removeprefix("RELATED_IMAGE_").lower(), "image": reference} for variable, reference in variables.items()]
    return _yaml({"relatedImages": rows})


def variable_of(parameter: str) -> str:
    """The environment variable that the operators read for a key of OpenStackVersion (``novaAPIImage``); other parameters are their own names."""
    if not _KEY.fullmatch(parameter):
        return parameter
    return f"RELATED_IMAGE_{'_'.join(_WORDS.findall(re.sub(r'Images?$', '', parameter))).upper()}_IMAGE_URL_DEFAULT"


def _variables(image: Chosen) -> tuple[str, ...]:
    own = f"{re.sub(r'[-.]', '_', image.name).upper()}_IMAGE"
    return tuple(variable_of(parameter) for parameter in image.parameters) or (own,)


def _custom(images: Sequence[Chosen]) -> dict[str, object]:
    found: dict[str, object] = {
        key: {"default": image.reference} if key in _PER_BACKEND else image.reference
        for image in images
        for key in image.parameters
        if _KEY.fullmatch(key)
    }
    if not found:
        raise UsageError("no image of the list has a key of OpenStackVersion", next_step="give the list of the operators' keys: --list operators")
    return {"customContainerImages": dict(sorted(found.items()))}


def _table(parts: Iterable[Mapping[str, str]]) -> dict[str, str]:
    found: dict[str, str] = {}
    for part in parts:
        for key, value in part.items():
            if found.setdefault(key, value) != value:
                raise UsageError(f"two images want the key {key}: {found[key]} and {value}", next_step="rename one of them in the list")
    return dict(sorted(found.items()))


def _yaml(data: object) -> str:
    text: str = yaml.safe_dump(data, sort_keys=False, default_flow_style=False, width=1000)
    return text
