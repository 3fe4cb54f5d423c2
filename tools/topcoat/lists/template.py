"""Reads the template of an image list: data with ``${name}`` placeholders, closed like a recipe.

This module must never fill a placeholder; ``resolve`` does.
"""

from __future__ import annotations

import datetime
import re
from collections.abc import Mapping
from pathlib import Path

from topcoat.documents.yamltree import Node, parse_file
from topcoat.errors import UsageError
from topcoat.lists import foreign
from topcoat.lists.entries import BUILT_IN, Alias, Conditions, ListEntry, ListTemplate, Variable, exclusive
from topcoat.model.image import IMAGE_NAME
from topcoat.recipes.reading import Problems, Reader, nearest

_VARIABLE = re.compile(r"[a-z][a-z0-9_]*")
_PARAMETER = re.compile(r"[A-Za-z][A-Za-z0-9_]*")
_SERVICE = re.compile(r"[A-Za-z][A-Za-z0-9:._-]*")
_PLACEHOLDER = re.compile(r"\$\{([^}]*)\}")
_DATE = re.compile(r"\d{4}-\d\d-\d\d")


def template_path(name_or_path: str, root: Path) -> Path:
    """The file of a list: a path, else ``root/lists/<name>.yaml``.

    :raises UsageError: there is none; names the nearest.
    """
    if "/" in name_or_path or name_or_path.endswith((".yaml", ".yml", ".j2")):
        path = Path(name_or_path)
        if path.is_file():
            return path
        raise UsageError(f"no such image list: {name_or_path!r}", next_step="give a file or a name under lists/")
    folder = root / "lists"
    known = sorted(path.stem for path in folder.glob("*.yaml")) if folder.is_dir() else []
    if name_or_path not in known:
        raise UsageError(
            f"no such image list: {name_or_path!r}{nearest(name_or_path, known)}", next_step=f"known lists: {', '.join(known) or 'none'}"
        )
    return folder / f"{name_or_path}.yaml"


def load_template(name_or_path: str, *, root: Path) -> ListTemplate:
    """Load a list template.

    :param root: the recipe tree.
    :raises UsageError: the first problem, with file and line.
    """
    template, problems = examine_template(template_path(name_or_path, root))
    problems.raise_first()
    return template


def examine_template(path: Path) -> tuple[ListTemplate, Problems]:
    """Load a template and keep every problem; also lists that tcib and TripleO have."""
    if path.suffix == ".j2":
        return foreign.examine_jinja(path)
    document = parse_file(path, str(path))
    if document is None:
        raise UsageError("is empty", where=str(path), next_step="write a list of images")
    if document.kind == "map" and any(key.text == foreign.RENDERED for key, _ in document.entries):
        return foreign.examine_rendered(path, document)
    problems = Problems()
    reader = Reader(problems)
    parts = reader.mapping(document, "an image list", ("description", "subset", "variables", "images", "external", "left_out", "aliases"))
    variables = _variables(reader, parts.get("variables"))
    known = {variable.name: variable for variable in variables}
    entries = [_entry(reader, item, known, "image") for item in (reader.items(parts["images"], "images") if "images" in parts else ())]
    entries += [_entry(reader, item, known, "reference") for item in (reader.items(parts["external"], "external") if "external" in parts else ())]
    found = tuple(entry for entry in entries if entry is not None)
    _check_unique(found, problems)
    aliases = tuple(
        alias for item in (reader.items(parts["aliases"], "aliases") if "aliases" in parts else ()) if (alias := _alias(reader, item)) is not None
    )
    description = reader.text(parts["description"], "description") if "description" in parts else None
    subset = reader.flag(parts["subset"], "subset") if "subset" in parts else False
    left_out = _left_out(reader, parts.get("left_out"), found)
    return ListTemplate(path.stem, description or "", variables, found, aliases, str(path), subset, left_out), problems


def _left_out(reader: Reader, node: Node | None, entries: tuple[ListEntry, ...]) -> tuple[tuple[str, str], ...]:
    given = {parameter for entry in entries for parameter in entry.parameters}
    pairs = reader.pairs(node, "left_out", _PARAMETER) if node is not None else ()
    for name, why in pairs:
        if name in given:
            reader.problems.add(node or "", f"{name!r} is left out and has an image", "keep one of both")
        elif not why:
            reader.problems.add(node or "", f"{name!r} is left out for no reason", "write why")
    return pairs


def _variables(reader: Reader, node: Node | None) -> tuple[Variable, ...]:
    found = []
    if node is not None and node.kind != "map":
        reader.problems.add(node, f"variables must be a mapping, not {node.describe()}", "write 'name: default' lines")
        return ()
    for key, value in node.entries if node is not None else ():
        if not _VARIABLE.fullmatch(key.text) or key.text in BUILT_IN:
            reader.problems.add(
                key, f"not a free name for a variable: {key.text!r}", f"use lower-case letters and _; {', '.join(BUILT_IN)} are built in"
            )
            continue
        if value.kind == "map":
            parts = reader.mapping(value, f"variable {key.text}", ("default", "values"))
            values = reader.texts(parts["values"], "values") if "values" in parts else ()
            default = reader.text(parts["default"], "default") if "default" in parts else None
            if default is None or (values and default not in values):
                reader.problems.add(value, f"variable {key.text!r} needs a default that is one of its values", "add default: <value>")
                continue
            found.append(Variable(key.text, default, values))
        else:
            text = reader.text(value, f"variable {key.text}", empty=True)
            if text is not None:
                found.append(Variable(key.text, text))
    return tuple(found)


def _entry(reader: Reader, item: Node, known: Mapping[str, Variable], kind: str) -> ListEntry | None:
    keys = ("image", "parameters", "services", "when") if kind == "image" else ("reference", "source", "parameters", "services", "when")
    parts = reader.mapping(item, "an entry", keys)
    if kind not in parts:
        if item.kind == "map":
            reader.problems.add(item, f"an entry has no {kind}", f"add '{kind}: <name>'")
        return None
    if kind == "image":
        name = reader.matching(parts["image"], "image", IMAGE_NAME, "an image name")
        reference = None
    else:
        name = None
        reference = reader.text(parts["reference"], "reference")
        for placeholder in _PLACEHOLDER.findall(reference or ""):
            if placeholder not in known and placeholder not in BUILT_IN:
                names = (*known, *BUILT_IN)
                reader.problems.add(
                    parts["reference"], f"unknown placeholder ${{{placeholder}}}{nearest(placeholder, names)}", "declare it under 'variables'"
                )
    if name is None and reference is None:
        return None
    values = reader.items(parts["parameters"], "parameters") if "parameters" in parts else ()
    parameters = (reader.matching(value, "a parameter", _PARAMETER, "a parameter name") for value in values)
    services = [_service(reader, value, known) for value in (reader.items(parts["services"], "services") if "services" in parts else ())]
    return ListEntry(
        where=item.where,
        image=name,
        reference=reference,
        source=(reader.text(parts["source"], "source") or "") if "source" in parts else "",
        parameters=tuple(value for value in parameters if value),
        services=tuple(service for service in services if service),
        when=_when(reader, parts["when"], known) if "when" in parts else (),
    )


def _service(reader: Reader, item: Node, known: Mapping[str, Variable]) -> tuple[str, Conditions] | None:
    when: Conditions = ()
    node = item
    if item.kind == "map":
        parts = reader.mapping(item, "a service", ("name", "when"))
        if "name" not in parts:
            reader.problems.add(item, "a service has no name", "write {name: <service>, when: {...}}")
            return None
        node = parts["name"]
        when = _when(reader, parts["when"], known) if "when" in parts else ()
    name = reader.matching(node, "a service", _SERVICE, "a service name")
    return (name, when) if name else None


def _when(reader: Reader, node: Node, known: Mapping[str, Variable]) -> Conditions:
    found = []
    for name, value in reader.mapping(node, "when").items():
        variable = known.get(name)
        if variable is None or not variable.values:
            reader.problems.add(
                value, f"when needs a variable with a closed list of values, not {name!r}{nearest(name, known)}", "declare it with 'values'"
            )
            continue
        words = reader.words(value, name)
        for word in words:
            if word not in variable.values:
                reader.problems.add(
                    value, f"{word!r} is not a value of {name}{nearest(word, variable.values)}", f"values: {', '.join(variable.values)}"
                )
        found.append((name, words))
    return tuple(found)


def _alias(reader: Reader, item: Node) -> Alias | None:
    parts = reader.mapping(item, "an alias", ("name", "image", "until"))
    if any(key not in parts for key in ("name", "image", "until")):
        if item.kind == "map":
            reader.problems.add(item, "an alias needs name, image and until", "write {name: old, image: new, until: 2030-01-31}")
        return None
    name = reader.matching(parts["name"], "name", IMAGE_NAME, "an image name")
    image = reader.matching(parts["image"], "image", IMAGE_NAME, "an image name")
    until = reader.matching(parts["until"], "until", _DATE, "a date, YYYY-MM-DD")
    if name is None or image is None or until is None:
        return None
    try:
        return Alias(name, image, datetime.date.fromisoformat(until), item.where)
    except ValueError:
        reader.problems.add(parts["until"], f"not a date: {until!r}", "write YYYY-MM-DD")
        return None


def _check_unique(entries: tuple[ListEntry, ...], problems: Problems) -> None:
    """One entry an image, one image a parameter (entries whose conditions exclude each other may share one)."""
    images: dict[tuple[str, Conditions], ListEntry] = {}
    parameters: dict[str, list[ListEntry]] = {}
    for entry in entries:
        name = entry.image or entry.reference or ""
        if (name, entry.when) in images:
            problems.add(entry.where, f"{name!r} is listed twice (first at {images[(name, entry.when)].where})", "remove one")
        images[(name, entry.when)] = entry
        for parameter in entry.parameters:
            for other in parameters.get(parameter, ()):
                if not exclusive(other.when, entry.when):
                    problems.add(entry.where, f"parameter {parameter!r} already belongs to the entry at {other.where}", "keep it at one image")
            parameters.setdefault(parameter, []).append(entry)
