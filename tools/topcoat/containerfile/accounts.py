"""Accounts written straight into /etc/passwd and its sisters, before any package is installed.

This module must never call useradd: the entry in /etc/shadow would carry the day of the build, and small bases do not have it.

An account that exists with the ids of the table is left alone; one with other ids ends the build, because files would get the wrong owner.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from topcoat.errors import ContentError
from topcoat.model import account_table
from topcoat.model.recipe import User

FILES = ("passwd", "group", "shadow", "gshadow")
"""Names below /etc; the last two are only touched where they exist."""

# POSIX sh: a few lines instead of useradd and groupadd. g: name gid; u: name uid gid home shell; m: group member.
SHELL_FUNCTIONS = (
    'g() { if l=$(grep "^$1:" /etc/group); then case $l in "$1:"*":$2:"*) ;; *) echo "group $1 exists with another id: $l" >&2; exit 1;; esac;'
    ' else echo "$1:x:$2:" >>/etc/group; [ ! -f /etc/gshadow ] || grep -q "^$1:" /etc/gshadow || echo "$1:!::" >>/etc/gshadow; fi; }',
    'u() { if l=$(grep "^$1:" /etc/passwd); then case $l in "$1:"*":$2:$3:"*) ;; *) echo "user $1 exists with other ids: $l" >&2; exit 1;; esac;'
    ' else echo "$1:x:$2:$3::$4:$5" >>/etc/passwd; [ ! -f /etc/shadow ] || grep -q "^$1:" /etc/shadow || echo "$1:!::::::" >>/etc/shadow; fi; }',
    'm() { grep -q "^$1:.*[:,]$2\\(,.*\\)*$" /etc/group || sed -i -e "s/^$1:.*[^:]$/&,$2/" -e "s/^$1:.*:$/&$2/" /etc/group;'
    ' [ ! -f /etc/gshadow ] || grep -q "^$1:.*[:,]$2\\(,.*\\)*$" /etc/gshadow'
    ' || sed -i -e "s/^$1:.*[^:]$/&,$2/" -e "s/^$1:.*:$/&$2/" /etc/gshadow; }',
)
HOME = "/"
"""Home of an account whose entry of the table names none."""


def shell_lines(users: Iterable[User]) -> list[str]:
    """The commands of one RUN that create the accounts; empty when there are none. Run them under ``set -e``."""
    lines: list[str] = []
    for user in users:
        lines.append(f"g {user.name} {user.gid}")
        lines.append(f"u {user.name} {user.uid} {user.gid} {user.home or HOME} {user.shell}")
        lines += [f"m {group} {user.name}" for group in user.groups]
    return [*SHELL_FUNCTIONS, *lines] if lines else []


def apply(files: Mapping[str, str], users: Iterable[User]) -> dict[str, str]:
    """The same, on the text of the files: for builders that write the image from outside.

    :param files: text by name (``FILES``); missing ones are treated as absent, except passwd and group.
    :returns: the new texts of the files that were given, and of passwd and group.
    :raises ContentError: an account exists with other ids.
    """
    tables = {name: account_table.lines(files[name]) for name in FILES if name in files}
    tables.setdefault("passwd", [])
    tables.setdefault("group", [])
    for user in users:
        _group(tables, user)
        _user(tables, user)
        for group in user.groups:
            for name in ("group", "gshadow"):
                if name in tables:
                    tables[name] = [_with_member(line, group, user.name) for line in tables[name]]
    return {name: "".join(f"{line}\n" for line in lines) for name, lines in tables.items()}


def _find(lines: list[str], name: str) -> list[str] | None:
    for line in lines:
        if line.startswith(f"{name}:"):
            return line.split(":")
    return None


def _group(tables: dict[str, list[str]], user: User) -> None:
    entry = _find(tables["group"], user.name)
    if entry is None:
        tables["group"].append(f"{user.name}:x:{user.gid}:")
        if "gshadow" in tables and _find(tables["gshadow"], user.name) is None:
            tables["gshadow"].append(f"{user.name}:!::")
    elif entry[2:3] != [str(user.gid)]:
        raise ContentError(f"group {user.name} exists with another id: {':'.join(entry)}", next_step="correct the table or the base image")


def _user(tables: dict[str, list[str]], user: User) -> None:
    entry = _find(tables["passwd"], user.name)
    if entry is None:
        tables["passwd"].append(f"{user.name}:x:{user.uid}:{user.gid}::{user.home or HOME}:{user.shell}")
        if "shadow" in tables and _find(tables["shadow"], user.name) is None:
            tables["shadow"].append(f"{user.name}:!::::::")
    elif entry[2:4] != [str(user.uid), str(user.gid)]:
        raise ContentError(f"user {user.name} exists with other ids: {':'.join(entry)}", next_step="correct the table or the base image")


def _with_member(line: str, group: str, member: str) -> str:
    if not line.startswith(f"{group}:"):
        return line
    head, _, members = line.rpartition(":")
    listed = members.split(",") if members else []
    return line if member in listed else f"{head}:{','.join([*listed, member])}"
