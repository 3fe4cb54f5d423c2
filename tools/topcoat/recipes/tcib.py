"""Loads a tree of tcib directories unchanged: each directory that holds YAML is an image, its parent the nearest such directory above.

This module must never read outside the tree, or write.

Variables of one image are the values of all its YAML files in sorted order, later wins; nothing is inherited from a parent's variables.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path, PurePosixPath

from topcoat.documents.yamltree import Node, parse_file
from topcoat.errors import UsageError
from topcoat.model.image import IMAGE_NAME
from topcoat.model.recipe import CopyFile, Recipe
from topcoat.recipes.reading import Problems
from topcoat.recipes.tcibfile import Variables, containerfile
from topcoat.recipes.templating import Templates
from topcoat.recipes.treefiles import TreeFiles

MAX_IMAGES = 10_000
_SUFFIXES = (".yaml", ".yml")


def load_tcib(root: Path, *, variables: Mapping[str, str], extra_config: Path | None = None) -> dict[str, Recipe]:
    """Load a tcib tree.

    :param root: the directory of the tree, or one that holds it as ``tcib/``.
    :param variables: values for every image (``--set``); only names that start with ``tcib_`` count. They win over the files.
    :param extra_config: a YAML file of variables for every image (tcib's option of that name). They win over everything else.
    :returns: name to recipe, each with its rendered Containerfile.
    :raises UsageError: the first problem, with file and line.
    """
    recipes, problems = examine_tcib(root, variables=variables, extra_config=extra_config)
    problems.raise_first()
    return recipes


def examine_tcib(root: Path, *, variables: Mapping[str, str], extra_config: Path | None = None) -> tuple[dict[str, Recipe], Problems]:
    """Load a tcib tree and keep every problem."""
    problems = Problems()
    if not root.is_dir():
        problems.add(str(root), "is not a directory", "give the tree with --recipes")
        return {}, problems
    top = root / "tcib" if (root / "tcib").is_dir() else root
    folders: dict[str, Path] = {}
    values: dict[str, dict[str, Node]] = {}
    for folder, documents in _image_folders(top, problems):
        name = folder.resolve().name if folder == top else folder.name
        if not IMAGE_NAME.fullmatch(name):
            problems.add(str(folder), f"directory name outside the OCI grammar: {name!r}", "rename the directory: it is the image's name")
        elif name in folders:
            problems.add(str(folder), f"image {name!r} is defined twice (first at {folders[name]})", "rename one directory")
        else:
            folders[name] = folder
            values[name] = _merge(folder, documents, problems)
    if not folders and not problems.found:
        problems.add(str(root), "holds no tcib image", "give the directory that holds base/base.yaml")
    extra = _extra(extra_config, problems)
    templates = Templates()
    parents = _parents(folders, top)
    recipes = {}
    for name in sorted(folders):
        files = TreeFiles(folders[name], top)
        given = Variables(name, values[name], variables, templates, str(folders[name]), files.lookup, extra)
        try:
            recipes[name] = _recipe(given, files, parents[name])
        except UsageError as error:
            problems.take(error)
    return recipes, problems


def _image_folders(top: Path, problems: Problems) -> list[tuple[Path, list[Path]]]:
    """Directories that hold YAML, parents first; links to directories are not followed. YAML beside the tree's top directories is no image."""
    found: list[tuple[Path, list[Path]]] = []
    waiting = [top]
    while waiting:
        folder = waiting.pop()
        children = sorted(folder.iterdir(), reverse=True)
        waiting += [child for child in children if child.is_dir() and not child.is_symlink() and not child.name.startswith(".")]
        files = [child for child in reversed(children) if child.suffix in _SUFFIXES and not child.name.startswith(".") and not child.is_dir()]
        if files and (folder != top or any(_has_tcib_key(path) for path in files)):
            found.append((folder, files))
        if len(found) > MAX_IMAGES:
            problems.add(str(top), f"holds more than {MAX_IMAGES} images", "give a smaller tree")
            break
    return found


def _has_tcib_key(path: Path) -> bool:
    try:
        with path.open("rb") as stream:
            return any(line.startswith(b"tcib_") for line in stream.read(1 << 16).splitlines())
    except OSError:
        return False


def _merge(folder: Path, files: list[Path], problems: Problems) -> dict[str, Node]:
    merged: dict[str, Node] = {}
    for path in files:
        if path.is_symlink() and not path.resolve().is_relative_to(folder.resolve()):
            problems.add(str(path), "leaves its directory through a symbolic link", "copy the file into the directory")
            continue
        try:
            document = parse_file(path, str(path), aliases=True, yaml11=True, duplicates=True)
        except UsageError as error:
            problems.take(error)
            continue
        if document is not None and document.kind != "map":
            problems.add(document, f"must hold variables, 'tcib_...: ...', not {document.describe()}", "write one mapping")
        elif document is not None:
            merged.update({key.text: _ordered(value) for key, value in document.entries})
    return merged


def _extra(path: Path | None, problems: Problems) -> dict[str, Node]:
    if path is None:
        return {}
    try:
        document = parse_file(path, str(path), aliases=True, yaml11=True, duplicates=True)
    except UsageError as error:
        problems.take(error)
        return {}
    if document is not None and document.kind != "map":
        problems.add(document, f"must hold variables, not {document.describe()}", "write 'name: value' lines")
        return {}
    return {key.text: _ordered(value) for key, value in document.entries} if document is not None else {}


def _ordered(node: Node) -> Node:
    """The value with its mappings in the order of their keys: tcib's command writes variables anew, sorted, before a template sees them."""
    entries = sorted(((key, _ordered(value)) for key, value in node.entries), key=lambda entry: entry[0].text)
    return replace(node, entries=entries, items=[_ordered(item) for item in node.items])


def _recipe(variables: Variables, files: TreeFiles, parent: str | None) -> Recipe:
    text, facts = containerfile(variables)
    lineage = files.folder.relative_to(files.top.parent).parts
    return Recipe(
        name=variables.image,
        family=_family(variables.image, lineage),
        image_class="openstack" if "os" in lineage else "infra",
        parent=None if facts.own_base else parent,
        own_base=facts.own_base,
        entrypoint=facts.entrypoint,
        command=facts.command,
        user=facts.user,
        stop_signal=facts.stop_signal,
        copies=tuple(_gathered(variables, files)),
        containerfile=text,
        where=variables.first_place,
    )


def _parents(folders: Mapping[str, Path], top: Path) -> dict[str, str | None]:
    """For each image the one of the nearest directory above that holds YAML."""
    images = {path: name for name, path in folders.items()}
    found: dict[str, str | None] = {}
    for name, folder in folders.items():
        found[name] = None
        while folder != top and found[name] is None:
            folder = folder.parent
            found[name] = images.get(folder)
    return found


def _family(name: str, lineage: tuple[str, ...]) -> str:
    """The project: the first directory that is neither the tree nor a shared base."""
    for part in lineage[1:]:
        if part not in ("base", "os"):
            return part.removesuffix("-base")
    return name


def _gathered(variables: Variables, files: TreeFiles) -> list[CopyFile]:
    """The files of ``tcib_gather_files``. In the build context each has the path that was written, as tcib puts it there."""
    found = []
    for text, where in variables.texts("tcib_gather_files"):
        source = files.find(text)
        if source is None:
            raise UsageError(f"tcib_gather_files names a file outside the tree: {text!r}", where=where, next_step="copy the file into the tree")
        written = PurePosixPath("/", text)
        if written in (PurePosixPath("/"), PurePosixPath("/Containerfile")):
            raise UsageError(f"tcib_gather_files names {text!r}, where the context has its own", where=where, next_step="rename the file")
        found.append(CopyFile(source.absolute(), f"/{written.name}" if ".." in written.parts else str(written)))
    return found
