"""Image lists of others, read as they are: tcib's ``containers.yaml``, TripleO's ``tripleo_containers.yaml`` and its template.

This module must never build a reference: what names an image of the tree becomes its name, the profile says where it lies.
"""

from __future__ import annotations

import itertools
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path

from topcoat.documents.yamltree import Node, parse, read_text
from topcoat.errors import UsageError
from topcoat.lists.entries import Conditions, ListEntry, ListTemplate, Variable, exclusive
from topcoat.recipes.reading import Problems, Reader

RENDERED = "container_images"
TEMPLATE = "container_images_template"
_KEYS = ("imagename", "image_source", "params", "services", "uploader", "push_destination", "modify_role", "modify_append_tag", "modify_vars")
_OWN_SOURCES = ("tripleo", "kolla")
# tcib's imagename_to_regex: the base's name, then how it was installed.
_PREFIXES = (re.compile(r"(?:openstack|centos|rhel|ubi8)-"), re.compile(r"(?:binary|source|rdo|rhos)-"))
# What a template says for what a profile has; every other variable keeps its name.
_OURS = {"namespace": "${registry}/${namespace}", "name_prefix": "${prefix}", "name_suffix": "${suffix}", "tag": "${tag}"}
_OWN = re.compile(r"\$\{registry\}/\$\{namespace\}/(?:\$\{prefix\})?([a-z0-9._-]+)(?:\$\{suffix\})?:\$\{tag\}")
_INCLUDE = re.compile(r"^\{%-?\s*include\s+['\"]([\w.-]+)['\"]\s*-?%\}[^\S\n]*$", re.MULTILINE)
_COMPARED = re.compile(r"\{%-?\s*(?:el)?if\s+(\w+)\s*==\s*['\"](\w+)['\"]")
_ASKED = re.compile(r"\{%-?\s*(?:el)?if\s+(?:not\s+)?(\w+)\s*(\|\s*default\(true\)\s*)?-?%\}")
_DEFAULTS = "container_image_prepare_defaults.yaml"
_MOST_CHOICES = 6


def examine_rendered(path: Path, document: Node) -> tuple[ListTemplate, Problems]:
    """Read a list whose top key is ``container_images``."""
    problems = Problems()
    entries = _last_wins(list(_merged(_entries(Reader(problems), document, RENDERED))))
    return ListTemplate(path.stem, f"as {path.name} names them", (), entries, (), str(path), foreign=True), problems


def examine_jinja(path: Path) -> tuple[ListTemplate, Problems]:
    """Read a template whose top key is ``container_images_template``.

    It is rendered once for each value of what it asks for (``neutron_driver``, ``ceph_images``); an entry that is not there every time gets the
    condition that says when it is. Defaults of other variables are those of ``container_image_prepare_defaults.yaml`` beside it.

    :raises UsageError: unreadable, or not a template that data has a use for.
    """
    from topcoat.recipes.templating import TemplateError, Templates  # late: only these lists need a template engine

    text = _INCLUDE.sub(lambda match: read_text(path.parent / match[1], str(path.parent / match[1])), read_text(path, str(path)))
    defaults = _defaults(path.parent / _DEFAULTS)
    choices = _choices(text, defaults)
    if len(choices) > _MOST_CHOICES:
        raise UsageError(f"asks for more than {_MOST_CHOICES} variables", where=str(path), next_step="write the list in this project's own form")
    problems, templates = Problems(), Templates()
    seen: set[str] = set()
    found: dict[tuple[str | None, str | None, tuple[str, ...]], tuple[ListEntry, set[tuple[str, ...]], dict[str, set[tuple[str, ...]]]]] = {}
    combinations = list(itertools.product(*(variable.values for variable in choices.values())))
    for combination in combinations:
        chosen = dict(zip(choices, combination, strict=True))

        def value_of(name: str, chosen: Mapping[str, str] = chosen) -> object:
            if name in chosen:
                return {"true": True, "false": False}.get(chosen[name], chosen[name])
            if name not in _OURS:
                seen.add(name)
            return _OURS.get(name, f"${{{name}}}")

        try:
            rendered = templates.render(text, value_of)
        except TemplateError as error:
            raise UsageError(str(error), where=str(path), next_step="correct the template") from error
        document = parse(str(rendered), f"{path} (rendered)")
        if document is None:
            raise UsageError("is empty", where=str(path), next_step="write a list of images")
        for entry in _merged(_entries(Reader(problems), document, TEMPLATE)):
            _, places, services = found.setdefault((entry.image, entry.reference, entry.parameters), (entry, set(), {}))
            places.add(combination)
            for service, _ in entry.services:
                services.setdefault(service, set()).add(combination)
    problems.found = list({(str(error), error.where): error for error in problems.found}.values())
    entries = []
    for entry, places, services in found.values():
        own = tuple((name, _conditions(choices, places, there)) for name, there in services.items())
        entries.append(replace(entry, where=str(path), services=own, when=_conditions(choices, set(combinations), places)))
    variables = (*choices.values(), *(Variable(name, defaults.get(name, "")) for name in sorted(seen)))
    return ListTemplate(
        path.name.partition(".")[0], f"as {path.name} names them", variables, _last_wins(entries), (), str(path), foreign=True
    ), problems


def _entries(reader: Reader, document: Node, key: str) -> Iterator[ListEntry]:
    parts = reader.mapping(document, "an image list", (key,))
    for item in reader.items(parts[key], key) if key in parts else ():
        entry = reader.mapping(item, "an entry", _KEYS)
        text = reader.text(entry["imagename"], "imagename") if "imagename" in entry else None
        if text is None:
            if item.kind == "map" and "imagename" not in entry:
                reader.problems.add(item, "an entry has no imagename", "add 'imagename: <reference>'")
            continue
        source = (reader.text(entry["image_source"], "image_source") or "") if "image_source" in entry else ""
        image = _image(text, source, rendered=key == RENDERED)
        yield ListEntry(
            where=item.where,
            image=image,
            reference=None if image else text,
            source="" if image else source,
            parameters=reader.texts(entry["params"], "params") if "params" in entry else (),
            services=tuple((name, ()) for name in reader.texts(entry["services"], "services")) if "services" in entry else (),
        )


def _image(text: str, source: str, *, rendered: bool) -> str | None:
    """The image of the tree that a reference means; None for one of others."""
    if source not in ("", *_OWN_SOURCES):
        return None
    if not rendered:
        own = _OWN.fullmatch(text)
        return own[1] if own else None
    name = text.partition("@")[0].rpartition("/")[2].partition(":")[0]
    for prefix in _PREFIXES:
        found = prefix.match(name)
        name = name[found.end() :] if found else name
    return name


def _merged(entries: Iterator[ListEntry]) -> Iterator[ListEntry]:
    """The same image named twice is one entry: public lists repeat some."""
    found: dict[tuple[str | None, str | None], ListEntry] = {}
    for entry in entries:
        key = (entry.image, entry.reference)
        known = found.get(key, entry)
        parameters = tuple(dict.fromkeys((*known.parameters, *entry.parameters)))
        found[key] = replace(known, parameters=parameters, services=tuple(dict.fromkeys((*known.services, *entry.services))))
    yield from found.values()


def _last_wins(entries: Sequence[ListEntry]) -> tuple[ListEntry, ...]:
    """A parameter that two images claim belongs to the later one, as where these lists come from."""
    kept: list[ListEntry] = []
    claimed: dict[str, list[Conditions]] = {}
    for entry in reversed(entries):
        own = tuple(name for name in entry.parameters if all(exclusive(entry.when, when) for when in claimed.get(name, ())))
        for name in own:
            claimed.setdefault(name, []).append(entry.when)
        kept.append(replace(entry, parameters=own))
    return tuple(reversed(kept))


def _choices(text: str, defaults: Mapping[str, str]) -> dict[str, Variable]:
    """The variables that a template asks for, with the values that make a difference."""
    found: dict[str, Variable] = {}
    compared: dict[str, list[str]] = {}
    for name, value in _COMPARED.findall(text):
        compared.setdefault(name, []).append(value)
    for name, values in compared.items():
        known = tuple(dict.fromkeys((*values, "other")))
        default = defaults.get(name, "")
        found[name] = Variable(name, default if default in known else "ovn" if "ovn" in known else "other", known)
    for name, default_true in _ASKED.findall(text):
        default = defaults.get(name, "true" if default_true else "false").lower()
        found.setdefault(name, Variable(name, default if default in ("true", "false") else "true", ("true", "false")))
    return found


def _conditions(choices: Mapping[str, Variable], whole: set[tuple[str, ...]], part: set[tuple[str, ...]]) -> Conditions:
    """When something is there: the values of each variable under which it was found, of those under which it could have been."""
    found = []
    for number, (name, variable) in enumerate(choices.items()):
        possible, there = ({combination[number] for combination in group} for group in (whole, part))
        if possible != there:
            found.append((name, tuple(value for value in variable.values if value in there)))
    return tuple(found)


def _defaults(path: Path) -> dict[str, str]:
    """``ContainerImagePrepare[0].set`` of a prepare file, as text; nothing where there is no such file."""
    if not path.is_file():
        return {}
    document = parse(read_text(path, str(path)), str(path))
    data = document.data() if document else None
    try:
        values = data["parameter_defaults"]["ContainerImagePrepare"][0]["set"]  # type: ignore[index]
        return {str(name): str(value) for name, value in values.items()}
    except (TypeError, LookupError, AttributeError):
        raise UsageError("has no ContainerImagePrepare with a 'set'", where=str(path), next_step="correct it, or move it away") from None
