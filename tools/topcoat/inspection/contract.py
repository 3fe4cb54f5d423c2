"""What an image of ours promises to whoever runs it, checked on its configuration and its list of files.

This module must never contact a registry and never run anything.
"""

from __future__ import annotations

import fnmatch
import re
import stat
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from posixpath import basename
from typing import Any

from topcoat.inspection.files import FileEntry, FileTree, parents_of
from topcoat.layers.leftovers import may_be_owned
from topcoat.model import account_table
from topcoat.model.labels import CLASS, FINGERPRINT, IMAGE, PARENT, TITLE
from topcoat.model.recipe import Recipe, User

LABELS = (IMAGE, CLASS, FINGERPRINT, PARENT, TITLE)
"""Labels that every image of ours carries."""

SETUID = (
    "usr/bin/su",
    "usr/bin/sudo",
    "usr/bin/passwd",
    "usr/bin/mount",
    "usr/bin/umount",
    "usr/bin/chage",
    "usr/bin/chfn",
    "usr/bin/chsh",
    "usr/bin/expiry",
    "usr/bin/gpasswd",
    "usr/bin/newgrp",
    "usr/bin/newuidmap",
    "usr/bin/newgidmap",
    "usr/bin/crontab",
    "usr/bin/ping*",
    "usr/bin/write",
    "usr/bin/wall",
    "usr/bin/ssh-agent",
    "usr/bin/fusermount*",
    "usr/bin/pkexec",
    "usr/bin/locate",
    "usr/sbin/unix_chkpwd",
    "usr/sbin/pam_timestamp_check",
    "usr/sbin/mount.nfs*",
    "usr/sbin/suexec",
    "usr/sbin/userhelper",
    "usr/lib*/dbus-1*/dbus-daemon-launch-helper",
    "usr/libexec/dbus-1/dbus-daemon-launch-helper",
    "usr/libexec/openssh/ssh-keysign",
    "usr/libexec/utempter/utempter",
    "usr/lib*/polkit-1/polkit-agent-helper-1",
    "usr/lib*/openssh/ssh-keysign",
    "usr/libexec/qemu-bridge-helper",
    "usr/lib/qemu/qemu-bridge-helper",
)
"""Programs that distributions ship with setuid or setgid (fnmatch patterns)."""

WORLD_WRITABLE = ("dev/*", "run/lock", "run/screen*", "var/lock")
"""What may be writable for everybody without the sticky bit."""

_LEFTOVER = re.compile(
    r"var/cache/(?:dnf|yum|libdnf5|PackageKit)/.+|var/log/(?:dnf|hawkey|yum)[^/]*|var/lib/dnf/(?:history|repos|countme).*"
    r"|(?:var/lib/rpm|usr/lib/sysimage/rpm)/(?:__db\..*|\.rpm\.lock|rpmdb\.sqlite-(?:shm|wal|journal))|root/\.cache/.+|(?:var/)?tmp/.+"
)
_START_SCRIPTS = ("usr/local/bin/kolla_start", "usr/local/bin/kolla_set_configs", "usr/local/bin/kolla_extend_start")
_DEFAULT_PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"


@dataclass(frozen=True, order=True)
class Problem:
    """One broken promise: a short code for machines and a sentence."""

    code: str
    sentence: str


def check(
    tree: FileTree,
    config: Mapping[str, object],
    *,
    recipe: Recipe | None,
    ancestors: Sequence[Recipe] = (),
    allow: Sequence[str] = (),
    owned: Callable[[frozenset[str]], Iterable[str]] = lambda names: (),
) -> list[Problem]:
    """Check one image.

    :param config: the ``config`` object of the image configuration (OCI image specification, config.md).
    :param recipe: its recipe with the profile applied; None checks only what holds for any image.
    :param ancestors: recipes it starts from, nearest first.
    :param allow: further fnmatch patterns (paths without a leading slash) of setuid, setgid or world-writable files.
    :param owned: which files (absolute paths) of one of some names packages brought. It is asked once, and only where something looks left behind.
    :returns: sorted; empty for an image that keeps every promise.
    """
    found = [*_modes(tree, allow), *_leftovers(tree, owned)]
    if recipe is not None and not recipe.adopted:
        found += [*_labels(config, recipe), *_accounts(tree, recipe, ancestors), *_settings(config, recipe, ancestors)]
        if not recipe.internal or recipe.entrypoint:
            found += _program(tree, config)
        if recipe.containerfile is None:
            found += [Problem("start-script", f"/{path} is baked in") for path in _START_SCRIPTS if path in tree.entries]
    return sorted(set(found))


def _labels(config: Mapping[str, Any], recipe: Recipe) -> Iterator[Problem]:
    labels = config.get("Labels") or {}
    for name in LABELS if recipe.containerfile is None else LABELS[2:3]:
        if name not in labels:
            yield Problem("label", f"label {name} is missing")
    if labels.get(IMAGE, recipe.name) != recipe.name:
        yield Problem("label", f"label {IMAGE} is {labels[IMAGE]!r}, the recipe is {recipe.name!r}")


def _inherited(recipe: Recipe, ancestors: Sequence[Recipe], key: str) -> Any:
    for one in (recipe, *ancestors):
        value = getattr(one, key)
        if value is not None:
            return value
        if key == "command" and one.entrypoint is not None:
            return ()
    return None


def _settings(config: Mapping[str, Any], recipe: Recipe, ancestors: Sequence[Recipe]) -> Iterator[Problem]:
    """Entrypoint, command, user and stop signal are what the recipe, or an ancestor's, says; what none says is the base image's business."""
    for key, name in (("entrypoint", "Entrypoint"), ("command", "Cmd")):
        stated = _inherited(recipe, ancestors, key)
        wanted = tuple(stated or ())
        actual = tuple(config.get(name) or ())
        if stated is not None and wanted != actual:
            yield Problem(key, f"{key} is {list(actual)}, the recipe says {list(wanted)}")
    user = str(_inherited(recipe, ancestors, "user") or "")
    if _root(str(config.get("User") or "")) != _root(user):
        yield Problem("user", f"user is {config.get('User') or 'root'!r}, the recipe says {user or 'root'!r}")
    wanted_signal = str(_inherited(recipe, ancestors, "stop_signal") or "SIGTERM")
    actual_signal = str(config.get("StopSignal") or "SIGTERM")
    if wanted_signal != actual_signal:
        yield Problem("stop-signal", f"stop signal is {actual_signal}, the recipe says {wanted_signal}")


def _root(user: str) -> str:
    return "" if user in ("root", "0", "root:root", "0:0") else user


def _table(text: str) -> dict[str, list[str]]:
    """Name -> its fields, four at least, as runtimes read them: the first entry of a name counts, short ones too."""
    found: dict[str, list[str]] = {}
    for line in account_table.lines(text):
        fields = line.strip().split(":")
        found.setdefault(fields[0], [*fields, *[""] * (4 - len(fields))])
    found.pop("", None)
    return found


def _accounts(tree: FileTree, recipe: Recipe, ancestors: Sequence[Recipe]) -> Iterator[Problem]:
    """Every account that the recipes create is there with the ids and groups of the table."""
    passwd, group = _table(tree.text("etc/passwd")), _table(tree.text("etc/group"))
    users: list[User] = [user for one in (recipe, *ancestors) for user in one.users]
    for user in users:
        entry = passwd.get(user.name)
        if entry is None or entry[2:4] != [str(user.uid), str(user.gid)]:
            has = ":".join(entry[2:4]) if entry else "no entry"
            yield Problem("account", f"user {user.name} should have ids {user.uid}:{user.gid}, /etc/passwd has {has}")
        own = group.get(user.name)
        if own is None or own[2] != str(user.gid):
            yield Problem("account", f"group {user.name} should have id {user.gid}, /etc/group has {own[2] if own else 'no entry'}")
        for name in user.groups:
            if user.name not in (group.get(name) or ["", "", "", ""])[3].split(","):
                yield Problem("account", f"user {user.name} is not in the group {name}")


def _program(tree: FileTree, config: Mapping[str, object]) -> Iterator[Problem]:
    """The entrypoint is a program that the image's user may execute; a script's interpreter exists."""
    command = [*(config.get("Entrypoint") or ()), *(config.get("Cmd") or ())]  # type: ignore[misc]
    if not command:
        yield Problem("entrypoint", "nothing is started: no entrypoint and no command")
        return
    program = str(command[0])
    environment = dict(str(item).partition("=")[::2] for item in config.get("Env") or ())  # type: ignore[attr-defined]
    folders = [""] if program.startswith("/") else (environment.get("PATH") or _DEFAULT_PATH).split(":")
    paths = [program if not folder else f"{folder}/{program}" for folder in folders]
    real = next((found for path in paths if (found := tree.resolve(path)) is not None), None)
    if real is None:
        yield Problem("entrypoint", f"{program} does not exist")
        return
    entry = tree.entries.get(real)
    account = _identity(tree, str(config.get("User") or ""))
    if account is None:
        yield Problem("user", f"user {config.get('User')!r} does not exist")
        return
    if entry is None or not entry.is_file:
        yield Problem("entrypoint", f"{program} is not a file")
        return
    if not _may(entry, account, 1):
        yield Problem("entrypoint", f"{program} is not executable for {config.get('User') or 'root'}")
    for folder in parents_of(real):
        above = tree.entries.get(folder)
        if above is not None and not _may(above, account, 1):
            yield Problem("entrypoint", f"{program} cannot be reached by {config.get('User') or 'root'}: /{folder}")
    if entry.head.startswith(b"#!"):
        words = entry.head[2:].split(b"\n")[0].split()
        interpreter = words[0].decode("utf-8", "replace") if words else ""
        if not interpreter or tree.resolve(interpreter) is None:
            yield Problem("entrypoint", f"{program} wants the interpreter {interpreter or '(none)'}, which does not exist")


def _identity(tree: FileTree, user: str) -> tuple[int, frozenset[int]] | None:
    """(uid, gids) of a ``User`` value: name or id, with an optional group."""
    name, _, group_name = user.partition(":")
    if name in ("", "root", "0"):
        return 0, frozenset((0,))
    passwd, groups = _table(tree.text("etc/passwd")), _table(tree.text("etc/group"))
    entry = passwd.get(name) or next((found for found in passwd.values() if found[2] == name), None)
    uid = account_table.number(entry[2] if entry else name)
    own = [entry[3]] if entry else []
    if group_name:
        own = [groups[group_name][2] if group_name in groups else group_name]
    elif entry:
        own += [found[2] for found in groups.values() if entry[0] in found[3].split(",")]
    gids = [account_table.number(text) for text in own]
    if uid is None or None in gids:
        return None
    return uid, frozenset(gid for gid in gids if gid is not None)


def _may(entry: FileEntry, account: tuple[int, frozenset[int]], bit: int) -> bool:
    uid, gids = account
    if uid == 0:
        return entry.is_directory or bool(entry.mode & 0o111)
    shift = 6 if entry.uid == uid else 3 if entry.gid in gids else 0
    return bool(entry.mode >> shift & bit)


def _modes(tree: FileTree, allow: Sequence[str]) -> Iterator[Problem]:
    for path, entry in tree.entries.items():
        if entry.is_link:
            continue
        special = entry.mode & (stat.S_ISUID | stat.S_ISGID)
        if special and entry.is_file and not _listed(path, (*SETUID, *allow)):
            yield Problem("setuid", f"/{path} is {'setuid' if entry.mode & stat.S_ISUID else 'setgid'}")
        writable = entry.mode & stat.S_IWOTH and not (entry.is_directory and entry.mode & stat.S_ISVTX)
        if writable and not _listed(path, (*WORLD_WRITABLE, *allow)):
            yield Problem("world-writable", f"/{path} is writable for everybody")


def _listed(path: str, patterns: Sequence[str]) -> bool:
    return any(fnmatch.fnmatchcase(path, pattern) for pattern in patterns)


def _leftovers(tree: FileTree, owned: Callable[[frozenset[str]], Iterable[str]]) -> Iterator[Problem]:
    """Caches and logs of package managers, and temporary files; what a package brought is none, wherever it lies."""
    suspects = {path for path, entry in tree.entries.items() if not entry.is_directory and _LEFTOVER.fullmatch(path)}
    worth_asking = frozenset(basename(path) for path in suspects if may_be_owned(path))
    brought = {tree.place(path) for path in owned(worth_asking)} if worth_asking else set()
    for path in suspects - brought:
        yield Problem("leftover", f"/{path} was left behind by the build")
