"""Files that a build puts into an image beside its packages.

This module must never write outside the image: links are followed as a process inside would follow them.

Actions, in this order: ``write`` [{"path", "text"}] replaces the content of existing files and keeps their owner and mode; ``copies`` [{"source":
path on the host, "path", "mode" or null for a symbolic link, "owner" or null, "mtime": seconds}], with what folders are missing, of the same owner;
``folders`` [{"path", "mode", "owner", "mtime"}] are directories that got their files and now their metadata; ``directories`` [path] are made (0755,
root) where nothing is. Paths are absolute inside the image.
"""

# ruff: noqa: PTH101, PTH102, PTH108, PTH112, PTH114, PTH115, PTH118, PTH120, PTH211

from __future__ import annotations

import contextlib
import os
import re
import shutil
import stat

from protocol import Refused

_MAX_LINKS = 40


def apply(root: str, actions: dict) -> None:
    """Carry out the actions on a mounted root."""
    for entry in actions.get("write", ()):
        with open(inside(root, entry["path"]), "w", encoding="utf-8") as target:
            target.write(entry["text"])
    for entry in actions.get("copies", ()):
        _copy(root, entry)
    for entry in actions.get("folders", ()):
        place = inside(root, entry["path"])
        os.chown(place, *owner(root, entry["owner"]))
        os.chmod(place, entry["mode"])
        os.utime(place, (entry["mtime"], entry["mtime"]))
    for path in actions.get("directories", ()):
        _directory(root, path, (0, 0))


def inside(root: str, path: str) -> str:
    """Where a path of the image lies on the host; every link on the way, the last one too, is followed inside the image."""
    done: list = []
    left = [part for part in path.split("/") if part not in ("", ".")]
    links = 0
    while left:
        part = left.pop(0)
        if part == "..":
            done = done[:-1]
            continue
        place = os.path.join(root, *done, part)
        if os.path.islink(place):
            links += 1
            if links > _MAX_LINKS:
                raise Refused("content", f"too many symbolic links on the way to {path}")
            target = os.readlink(place)
            if target.startswith("/"):
                done = []
            left = [step for step in target.split("/") if step not in ("", ".")] + left
            continue
        done.append(part)
    return os.path.join(root, *done)


def _directory(root: str, path: str, owner: tuple) -> str:  # type: ignore[type-arg]
    """Make a directory and what is missing above it, for one owner (uid, gid); returns its place on the host."""
    place = inside(root, path)
    if not os.path.isdir(place):
        if os.path.lexists(place):
            raise Refused("content", f"{path} of the image is not a directory")
        parent = os.path.dirname(path.rstrip("/"))
        if parent not in ("", "/"):
            _directory(root, parent, owner)
        os.mkdir(place, 0o755)
        os.chown(place, *owner)
    return place


def _copy(root: str, entry: dict) -> None:
    head, _, name = entry["path"].rpartition("/")
    uid, gid = owner(root, entry.get("owner"))
    folder = _directory(root, head or "/", (uid, gid))
    place = os.path.join(folder, name)
    if os.path.isdir(place) and not os.path.islink(place):
        place = os.path.join(place, name)  # as COPY does: into a directory that is there
    if entry["mode"] is None:
        with contextlib.suppress(FileNotFoundError):
            os.unlink(place)
        os.symlink(os.readlink(entry["source"]), place)
    else:
        # As COPY does: an existing link is replaced, not followed.
        if os.path.lexists(place):
            os.unlink(place)
        with open(entry["source"], "rb") as source, open(place, "xb") as target:
            shutil.copyfileobj(source, target)
    os.lchown(place, uid, gid)
    if entry["mode"] is not None:
        os.chmod(place, stat.S_IMODE(entry["mode"]))
    os.utime(place, (entry["mtime"], entry["mtime"]), follow_symlinks=False)


def owner(root: str, text) -> tuple:  # type: ignore[no-untyped-def]
    """(uid, gid) of ``user[:group]``, by name or number, as the image's own tables say."""
    if not text:
        return 0, 0
    user, _, group = text.partition(":")
    entry = account(root, "passwd", user)
    uid = _id(user) if user.isdigit() else _id(*entry[2:3]) if entry else None
    if group:
        row = account(root, "group", group)
        gid = _id(group) if group.isdigit() else _id(*row[2:3]) if row else None
    else:
        gid = _id(*entry[3:4]) if entry else 0
    if uid is None or gid is None:
        raise Refused("content", f"the image has no account {text!r}")
    return uid, gid


def _id(text: str = ""):  # type: ignore[no-untyped-def]
    """The number of an account, None where it is none: to the kernel, -1 means that the owner stays."""
    return int(text) if re.fullmatch("[0-9]{1,10}", text) and int(text) < (1 << 32) - 1 else None


def account(root: str, table: str, name: str):  # type: ignore[no-untyped-def]
    """The fields of an account in ``/etc/passwd`` or ``/etc/group`` of the image; None where it, or the table, is not there."""
    with contextlib.suppress(FileNotFoundError), open(inside(root, f"/etc/{table}"), encoding="utf-8", errors="replace", newline="\n") as lines:
        for line in lines:
            fields = line.rstrip("\n").split(":")
            if fields[0] == name:
                return fields
    return None
