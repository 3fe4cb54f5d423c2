"""Loads a native recipe tree: ``base.yaml``, ``users.yaml``, ``openstack/*.yaml``, ``infra/*.yaml``.

This module must never accept half a tree: any problem in any file is an error before any work.
"""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

from topcoat.documents.yamltree import Node, parse_file
from topcoat.errors import UsageError
from topcoat.model import ancestry
from topcoat.model.recipe import Recipe, User
from topcoat.recipes.reading import USER_NAME, Problems, Reader, nearest
from topcoat.recipes.schema import Draft, read_recipe

CLASSES = ("openstack", "infra")
_USER_KEYS = ("uid", "gid", "home", "shell", "groups")


def load_tree(root: Path) -> dict[str, Recipe]:
    """Load every recipe of a tree.

    :returns: name to recipe, sorted by name.
    :raises UsageError: the first problem of the tree, with file and line; says how many more there are.
    """
    recipes, problems = examine_tree(root)
    problems.raise_first()
    return recipes


def examine_tree(root: Path) -> tuple[dict[str, Recipe], Problems]:
    """Load a tree and keep every problem instead of raising the first (what ``topcoat lint`` shows)."""
    problems = Problems()
    if not root.is_dir():
        problems.add(str(root), "is not a directory", "give the recipe tree with --recipes")
        return {}, problems
    table = _load_users(root, problems)
    drafts: dict[str, Draft] = {}
    for path, image_class in family_files(root, problems):
        _load_family(root, path, image_class, drafts, problems)
    if not drafts and not problems.found:
        problems.add(str(root), "holds no recipe", "add base.yaml, openstack/*.yaml or infra/*.yaml")
    _check_parents(drafts, problems)
    recipes = {}
    for name in sorted(drafts):
        recipes[name] = drafts[name].finish(_users_of(drafts[name], drafts, table, problems))
    _check_run_users(drafts, recipes, problems)
    problems.found.sort(key=_position)
    return recipes, problems


def _position(error: UsageError) -> tuple[str, int]:
    name, _, line = (error.where or "").rpartition(":")
    return (name, int(line)) if line.isdigit() else (error.where or "", 0)


def family_files(root: Path, problems: Problems) -> list[tuple[Path, str]]:
    """Every family file with its class, sorted; ``base.yaml`` first."""
    found: list[tuple[Path, str]] = []
    base = root / "base.yaml"
    if base.exists():
        found.append((base, "infra"))
    home = root.resolve()
    for image_class in CLASSES:
        folder = root / image_class
        for path in sorted(folder.iterdir()) if folder.is_dir() else ():
            shown = shown_path(root, path)
            if path.name.startswith("."):
                continue
            if path.suffix != ".yaml":
                problems.add(shown, "is not a family file", "name it <family>.yaml; files that images copy live under files/")
            elif not path.resolve().is_relative_to(home):
                problems.add(shown, "leaves the recipe tree through a symbolic link", "copy the file into the tree")
            else:
                found.append((path, image_class))
    return found


def shown_path(root: Path, path: Path) -> str:
    """How errors name a file: as the caller wrote the tree's directory, then the path inside."""
    return str(root / path.relative_to(root))


def _load_family(root: Path, path: Path, image_class: str, drafts: dict[str, Draft], problems: Problems) -> None:
    shown = shown_path(root, path)
    try:
        document = parse_file(path, shown)
    except UsageError as error:
        problems.take(error)
        return
    if document is None:
        problems.add(shown, "is empty", "add a recipe or remove the file")
        return
    if document.kind != "map" or not document.entries:
        problems.add(document, f"must hold recipes, 'name: {{from: ...}}', not {document.describe()}", "write one mapping of image names")
        return
    for key, body in document.entries:
        if key.text in drafts:
            problems.add(key, f"image {key.text!r} is defined twice (first at {drafts[key.text].where})", "rename or remove one")
            continue
        drafts[key.text] = read_recipe(key, body, family=path.stem, image_class=image_class, root=root, problems=problems)


def _check_parents(drafts: dict[str, Draft], problems: Problems) -> None:
    """Closed world: each parent exists and no chain of parents comes back to itself."""
    for draft in drafts.values():
        if draft.parent is not None and draft.parent not in drafts:
            problems.add(draft.key_where("from"), f"unknown parent {draft.parent!r}{nearest(draft.parent, drafts)}", "name an image of the tree")
    for circle in ancestry.circles(dict(sorted(drafts.items()))):
        problems.add(drafts[circle[0]].key_where("from"), f"parents form a cycle: {' -> '.join(circle)}", "change one 'from'")


def ancestors_of(name: str, drafts: dict[str, Draft]) -> Iterable[Draft]:
    """The drafts above a name, nearest first; ends at an unknown parent or a cycle."""
    return (drafts[one] for one in ancestry.above(name, drafts))


def _users_of(draft: Draft, drafts: dict[str, Draft], table: dict[str, User], problems: Problems) -> tuple[User, ...]:
    """The accounts a recipe creates, each after the groups it belongs to, without those that an ancestor created."""
    inherited = {name for ancestor in ancestors_of(draft.name, drafts) for name in _closure(ancestor, table)}
    for name, where in draft.user_names:
        if name not in table:
            problems.add(where, f"unknown user {name!r}{nearest(name, table)}", "add it to users.yaml with its ids")
        elif name in inherited:
            problems.add(where, f"user {name!r} is already created by an ancestor", "remove it here")
    return tuple(table[name] for name in _closure(draft, table) if name not in inherited)


def _closure(draft: Draft, table: dict[str, User]) -> list[str]:
    found: list[str] = []
    for name, _ in draft.user_names:
        for wanted in (*(table[name].groups if name in table else ()), name):
            if wanted in table and wanted not in found:
                found.append(wanted)
    return found


def _check_run_users(drafts: dict[str, Draft], recipes: dict[str, Recipe], problems: Problems) -> None:
    """A parent of other images runs as root, so that their packages can be installed; a named user must be one that the image creates."""
    parents = {draft.parent for draft in drafts.values()}
    for name, draft in drafts.items():
        user = recipes[name].user
        if user is None:
            continue
        where = draft.key_where("user")
        if name in parents and user not in ("root", "0"):
            problems.add(where, "other images start from this one, so it cannot set 'user'", "set 'user' in each of its children instead")
        account = user.partition(":")[0]
        made = {made.name for one in (draft, *ancestors_of(name, drafts)) for made in recipes[one.name].users}
        if not account.isdigit() and account != "root" and account not in made:
            problems.add(where, f"user {account!r} is not created by this image or an ancestor{nearest(account, made)}", "add it to 'users'")


def _load_users(root: Path, problems: Problems) -> dict[str, User]:
    path = root / "users.yaml"
    if not path.exists():
        return {}
    try:
        document = parse_file(path, shown_path(root, path))
    except UsageError as error:
        problems.take(error)
        return {}
    return read_users(document, problems) if document is not None else {}


def read_users(document: Node, problems: Problems) -> dict[str, User]:
    """The table of accounts: ``name: {uid: N, gid: N, home: /path, shell: /path, groups: [name]}``; gid is uid unless given."""
    reader = Reader(problems)
    table: dict[str, User] = {}
    by_id: dict[int, str] = {}
    for key, body in document.entries if document.kind == "map" else ():
        if not USER_NAME.fullmatch(key.text):
            problems.add(key, f"not an account name: {key.text!r}", "use lower-case letters, digits, _ and -")
            continue
        entries = reader.mapping(body, f"user {key.text}", _USER_KEYS)
        if "uid" not in entries:
            problems.add(key, f"user {key.text!r} has no uid", "give the id of the table")
            continue
        uid = reader.integer(entries["uid"], "uid", 1, 2**31 - 1)
        gid = reader.integer(entries["gid"], "gid", 1, 2**31 - 1) if "gid" in entries else uid
        if uid is None or gid is None:
            continue
        if uid in by_id:
            problems.add(key, f"uid {uid} of {key.text!r} already belongs to {by_id[uid]!r}", "give each account an id of its own")
        by_id[uid] = key.text
        home = reader.path(entries["home"], "home") if "home" in entries else None
        shell = reader.path(entries["shell"], "shell") if "shell" in entries else None
        groups = reader.words(entries["groups"], "groups") if "groups" in entries else ()
        table[key.text] = User(key.text, uid, gid, home, shell or "/sbin/nologin", groups)
    if document.kind != "map":
        problems.add(document, "users.yaml must be a mapping of accounts", "write 'name: {uid: N}' lines")
    for key, _ in document.entries:
        for group in table[key.text].groups if key.text in table else ():
            if group not in table:
                problems.add(key, f"group {group!r} of user {key.text!r} is not in the table{nearest(group, table)}", "add it with its ids")
    return table
