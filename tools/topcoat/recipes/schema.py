"""The closed schema of one native recipe: nodes become a ``Recipe``.

This module must never look at other recipes; parents, cycles and the user table are ``tree``'s business.
"""

from __future__ import annotations

import re
import stat
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath

from topcoat.documents.yamltree import Node
from topcoat.errors import UsageError
from topcoat.model.image import IMAGE_NAME, ImageReference
from topcoat.model.labels import OWN
from topcoat.model.recipe import Condition, CopyFile, Package, Recipe, Step
from topcoat.recipes.reading import (
    CONDITION_KEYS,
    ENVIRONMENT_NAME,
    LABEL_NAME,
    PACKAGE_NAME,
    USER_NAME,
    Problems,
    Reader,
)

ROOT_PARENT = "profile"
"""The word of ``from`` that stands for the profile's base image."""


_MODULE = re.compile(r"[A-Za-z0-9._+-]+:[A-Za-z0-9._+-]+(?:/[A-Za-z0-9._+-]+)?")
_PORT = re.compile(r"[0-9]{1,5}(?:-[0-9]{1,5})?(?:/(?:tcp|udp|sctp))?")
_SIGNAL = re.compile(r"SIG[A-Z0-9+-]{2,12}")
_RUN_USER = re.compile(r"(?:[a-z_][a-z0-9_-]{0,30}|[0-9]{1,10})(?::(?:[a-z_][a-z0-9_-]{0,30}|[0-9]{1,10}))?")
_MODE = re.compile(r"0?[0-7]{3}|[0-7]{4}")
_SOURCE = re.compile(r"[A-Za-z0-9._+@~-][A-Za-z0-9._/+@%~-]*")
MAX_COPIED_BYTES = 64 << 20
MAX_COPIED_FILES = 5000


@dataclass
class Draft:
    """A recipe on its way: the values read so far and where each key stands, for checks across recipes."""

    name: str
    family: str
    image_class: str
    where: str
    root: Path
    values: dict[str, object] = field(default_factory=dict)
    user_names: tuple[tuple[str, str], ...] = ()
    """(name, ``file:line``) of each account the recipe asks for."""
    nodes: dict[str, Node] = field(default_factory=dict)
    package_where: dict[str, str] = field(default_factory=dict)
    has_parent_key: bool = False

    @property
    def parent(self) -> str | None:
        """Name of the parent recipe, None for a root."""
        return self.values.get("parent")  # type: ignore[return-value]

    def key_where(self, key: str) -> str:
        """``file:line`` of a key, or of the recipe when it has none."""
        node = self.nodes.get(key)
        return node.where if node else self.where

    def finish(self, users: tuple[object, ...]) -> Recipe:
        """The frozen recipe."""
        return Recipe(
            name=self.name,
            family=self.family,
            image_class=self.image_class,
            where=self.where,
            users=users,  # type: ignore[arg-type]
            **{"parent": None, **self.values},  # type: ignore[arg-type]
        )


def read_recipe(key: Node, body: Node, *, family: str, image_class: str, root: Path, problems: Problems) -> Draft:
    """Read one entry of a family file; every problem is noted, and the draft holds what could be read.

    :param key: the name of the image. :param body: its mapping. :param root: directory of the recipe tree.
    """
    draft = Draft(key.text, family, image_class, key.where, root)
    reader = Reader(problems)
    if not IMAGE_NAME.fullmatch(key.text) or len(key.text) > 100:
        problems.add(key, f"image name outside the OCI grammar: {key.text[:120]!r}", "use lower-case letters, digits and single . _ - between them")
    if body.kind != "map":
        problems.add(body, f"recipe {key.text!r} must be a mapping, not {body.describe()}", "write at least 'from: <parent>'")
        return draft
    entries = reader.mapping(body, "a recipe", _KEYS)
    draft.nodes = entries
    for name, node in entries.items():
        _KEYS[name](draft, reader, node)
    if draft.values.get("adopted"):
        for name in entries.keys() - _OF_ADOPTED:
            problems.add(entries[name], f"{key.text!r} is adopted, so {name!r} can have no effect", "remove it, or build the image here")
    elif "from" not in entries and "adopted" not in entries:
        problems.add(key, f"recipe {key.text!r} has no 'from'", f"name its parent image, or '{ROOT_PARENT}' for the profile's base image")
    if draft.values.get("healthcheck") == ():
        problems.add(entries["healthcheck"], "healthcheck is empty", "write the command, or leave the key out")
    return draft


def _from(draft: Draft, reader: Reader, node: Node) -> None:
    value = reader.matching(node, "from", IMAGE_NAME, "an image name")
    draft.has_parent_key = value is not None
    if value is not None and value != ROOT_PARENT:
        draft.values["parent"] = value


def _text(key: str) -> Callable[[Draft, Reader, Node], None]:
    def read(draft: Draft, reader: Reader, node: Node) -> None:
        value = reader.text(node, key)
        if value is not None:
            draft.values[key] = value

    return read


def _grammar(key: str, pattern: re.Pattern[str], expected: str) -> Callable[[Draft, Reader, Node], None]:
    def read(draft: Draft, reader: Reader, node: Node) -> None:
        value = reader.matching(node, key, pattern, expected)
        if value is not None:
            draft.values[key] = value

    return read


def _command(key: str) -> Callable[[Draft, Reader, Node], None]:
    def read(draft: Draft, reader: Reader, node: Node) -> None:
        if node.kind != "list":
            reader.problems.add(node, f"{key} must be a list (exec form), not {node.describe()}", f"write {key}: [/usr/bin/program, argument]")
            return
        values = reader.texts(node, key)
        if key == "entrypoint" and values and not values[0].startswith("/"):
            reader.problems.add(node, f"entrypoint must start with an absolute path, not {values[0]!r}", "write the full path of the program")
            return
        draft.values[key] = values

    return read


def _users(draft: Draft, reader: Reader, node: Node) -> None:
    found: list[tuple[str, str]] = []
    known: set[str] = set()
    for item in reader.items(node, "users"):
        name = reader.matching(item, "a user", USER_NAME, "an account name")
        if name and name in known:
            reader.problems.add(item, f"user {name!r} is listed twice", "remove one")
        elif name:
            known.add(name)
            found.append((name, item.where))
    draft.user_names = tuple(found)


def _modules(draft: Draft, reader: Reader, node: Node) -> None:
    values = (reader.matching(item, "a module", _MODULE, "name:stream") for item in reader.items(node, "modules"))
    draft.values["modules"] = tuple(value for value in values if value)


def read_packages(reader: Reader, node: Node, seen: dict[str, str] | None = None) -> tuple[Package, ...]:
    """The ``packages`` key: names, or mappings with ``name`` and conditions. Globs, versions and files are refused."""
    found: list[Package] = []
    conditions: dict[str, set[Condition]] = {}
    places: dict[str, str] = {} if seen is None else seen
    for item in reader.items(node, "packages"):
        when = Condition()
        name_node = item
        if item.kind == "map":
            entries = reader.mapping(item, "a package", ("name", *CONDITION_KEYS))
            when = reader.condition(entries)
            if "name" not in entries:
                reader.problems.add(item, "a package has no name", "write {name: <package>, arch: <arch>}")
                continue
            name_node = entries["name"]
        name = reader.matching(name_node, "a package", PACKAGE_NAME, "a package name without version, glob or path")
        if name is None:
            continue
        package = Package(name, when)
        listed = conditions.setdefault(name, set())
        if when in listed or (name in places and not listed):
            reader.problems.add(item, f"package {name!r} is listed twice", "remove one")
            continue
        places[name] = item.where
        listed.add(when)
        found.append(package)
    return tuple(found)


def _packages(draft: Draft, reader: Reader, node: Node) -> None:
    draft.values["packages"] = read_packages(reader, node, draft.package_where)


def read_steps(reader: Reader, node: Node) -> tuple[Step, ...]:
    """The ``run`` key: shell lines, or mappings with ``run``, ``network`` and conditions."""
    found = []
    for item in reader.items(node, "run"):
        when = Condition()
        network = False
        line_node = item
        if item.kind == "map":
            entries = reader.mapping(item, "a run step", ("run", "network", *CONDITION_KEYS))
            when = reader.condition(entries)
            network = bool(reader.flag(entries["network"], "network")) if "network" in entries else False
            if "run" not in entries:
                reader.problems.add(item, "a run step has no command", "write {run: <shell line>, arch: <arch>}")
                continue
            line_node = entries["run"]
        line = reader.text(line_node, "a run step", lines=True)
        if line is not None:
            found.append(Step(line.strip("\n"), when, network))
    return tuple(found)


def _run(draft: Draft, reader: Reader, node: Node) -> None:
    draft.values["steps"] = read_steps(reader, node)


def _copy(draft: Draft, reader: Reader, node: Node) -> None:
    found = []
    for item in reader.items(node, "copy"):
        entries = reader.mapping(item, "a copy entry", ("source", "target", "mode", "owner", *CONDITION_KEYS))
        if "source" not in entries or "target" not in entries:
            if item.kind == "map":
                reader.problems.add(item, "a copy entry needs source and target", "write {source: files/name, target: /path}")
            continue
        source = _source(draft.root, reader, entries["source"])
        target = reader.path(entries["target"], "target")
        mode = reader.matching(entries["mode"], "mode", _MODE, 'an octal mode such as "0644"') if "mode" in entries else None
        owner = reader.matching(entries["owner"], "owner", _RUN_USER, "user or user:group") if "owner" in entries else None
        if source is not None and target is not None:
            found.append(CopyFile(source, target, int(mode, 8) if mode else None, owner, reader.condition(entries)))
    draft.values["copies"] = tuple(found)


def _source(root: Path, reader: Reader, node: Node) -> Path | None:
    """The absolute path of a file of the tree, proved to lie in it."""
    value = reader.matching(node, "source", _SOURCE, "a path relative to the recipe tree, of plain characters", limit=1024)
    if value is None:
        return None
    if ".." in PurePosixPath(value).parts:
        reader.problems.add(node, f"source leaves the recipe tree: {value!r}", "copy the file into the tree")
        return None
    path = root / value
    home = root.resolve()
    if not path.exists():
        reader.problems.add(node, f"source does not exist: {value!r}", "add the file, or correct the path (relative to the recipe tree)")
        return None
    if not path.resolve().is_relative_to(home):
        reader.problems.add(node, f"source leaves the recipe tree through a symbolic link: {value!r}", "copy the file into the tree")
        return None
    size = 0
    for number, member in enumerate(tree_files(path)):
        if not member.resolve().is_relative_to(home):
            reader.problems.add(node, f"{value!r} holds a symbolic link out of the recipe tree: {member.name!r}", "copy the file into the tree")
            return None
        information = member.lstat()
        size += information.st_size
        if not (stat.S_ISREG(information.st_mode) or stat.S_ISLNK(information.st_mode)):
            reader.problems.add(node, f"{value!r} holds something that is neither file, directory nor link: {member.name!r}", "remove it")
            return None
        if size > MAX_COPIED_BYTES or number >= MAX_COPIED_FILES:
            reader.problems.add(node, f"{value!r} is too large to be copied", f"at most {MAX_COPIED_BYTES >> 20} MiB and {MAX_COPIED_FILES} files")
            return None
    return path.absolute()


def tree_files(path: Path) -> list[Path]:
    """Every file and link at or below a path, sorted; directories that are links are not followed."""
    if path.is_symlink() or not path.is_dir():
        return [path]
    found: list[Path] = []
    for child in sorted(path.iterdir()):
        found += tree_files(child)
    return found


def _environment(draft: Draft, reader: Reader, node: Node) -> None:
    draft.values["environment"] = reader.pairs(node, "env", ENVIRONMENT_NAME)


def _labels(draft: Draft, reader: Reader, node: Node) -> None:
    pairs = reader.pairs(node, "labels", LABEL_NAME)
    for name, _ in pairs:
        if name.startswith(OWN):
            reader.problems.add(node, f"the label {name!r} is written by topcoat itself", "use another name")
    draft.values["labels"] = pairs


def _paths(key: str) -> Callable[[Draft, Reader, Node], None]:
    def read(draft: Draft, reader: Reader, node: Node) -> None:
        values = (reader.path(item, f"an entry of {key}") for item in reader.items(node, key))
        draft.values[key] = tuple(value for value in values if value)

    return read


def _ports(draft: Draft, reader: Reader, node: Node) -> None:
    values = (reader.matching(item, "a port", _PORT, "a port such as 8080 or 53/udp") for item in reader.items(node, "ports"))
    draft.values["ports"] = tuple(value for value in values if value)


def _workdir(draft: Draft, reader: Reader, node: Node) -> None:
    draft.values["workdir"] = reader.path(node, "workdir")


def _when(draft: Draft, reader: Reader, node: Node) -> None:
    draft.values["when"] = reader.condition(reader.mapping(node, "when", CONDITION_KEYS))


def _internal(draft: Draft, reader: Reader, node: Node) -> None:
    draft.values["internal"] = reader.flag(node, "internal")


def _adopted(draft: Draft, reader: Reader, node: Node) -> None:
    """``true``, or where the maker of the image publishes it."""
    if node.kind == "scalar" and node.value is True:
        draft.values["adopted"] = True
        return
    text = reader.text(node, "adopted") if node.kind == "scalar" and not isinstance(node.value, bool) else None
    if text is None:
        reader.problems.add(node, "adopted must be true or the reference of an image", "write 'adopted: host/repository:tag', or a recipe")
        return
    try:
        ImageReference.parse(text)
    except UsageError as error:
        reader.problems.add(node, f"adopted is not the reference of an image: {error.what}", "write host/repository:tag or host/repository@digest")
        return
    draft.values |= {"adopted": True, "origin": text}


def _network(draft: Draft, reader: Reader, node: Node) -> None:
    draft.values["network"] = bool(reader.flag(node, "network"))


_KEYS: dict[str, Callable[[Draft, Reader, Node], None]] = {
    "from": _from,
    "adopted": _adopted,
    "description": _text("description"),
    "internal": _internal,
    "when": _when,
    "users": _users,
    "modules": _modules,
    "packages": _packages,
    "copy": _copy,
    "run": _run,
    "network": _network,
    "env": _environment,
    "labels": _labels,
    "volumes": _paths("volumes"),
    "ports": _ports,
    "workdir": _workdir,
    "user": _grammar("user", _RUN_USER, "an account name or id, with an optional :group"),
    "stop_signal": _grammar("stop_signal", _SIGNAL, "a signal name such as SIGTERM"),
    "healthcheck": _command("healthcheck"),
    "entrypoint": _command("entrypoint"),
    "command": _command("command"),
}

_OF_ADOPTED = {"adopted", "description", "internal", "when"}

RECIPE_KEYS = tuple(_KEYS)
"""Every key of a recipe, in the order in which the documentation and the files write them."""
