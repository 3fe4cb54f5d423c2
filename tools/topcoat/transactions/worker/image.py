"""What an image's own files tell dnf: its dnf.conf, what it protects, the state of its module streams.

This module must never follow a link of the image, and never take an option that names a path, a host or a key.
"""

# ruff: noqa: PTH103, PTH108, PTH110, PTH112, PTH113, PTH114, PTH118, PTH207, PTH208

from __future__ import annotations

import glob
import os
import shutil

import dnf
import dnf.conf
import dnf.exceptions
from protocol import Refused

_CONFIGURATION = "etc/dnf/dnf.conf"
_PROTECTED = ("etc/yum/protected.d", "etc/dnf/protected.d")
_STATE = "etc/dnf/modules.d"
_FAIL_SAFE = "var/lib/dnf/modulefailsafe"
# Options about packages alone. How failures are taken (best, strict, skip_if_unavailable), weak dependencies and documentation are the run's.
_OPTIONS = (
    "allow_vendor_change",
    "disable_excludes",
    "excludepkgs",
    "includepkgs",
    "installonly_limit",
    "installonlypkgs",
    "module_platform_id",
    "multilib_policy",
    "obsoletes",
)


def configure(conf, root: str) -> None:  # type: ignore[no-untyped-def]
    """Give dnf the options about packages that the image's dnf.conf holds, and the packages that the image protects."""
    found = dnf.conf.Conf()
    found.protected_packages = ["dnf", *_names(root, [f"{folder}/*.conf" for folder in _PROTECTED])]
    path = os.path.join(root, _CONFIGURATION)
    if _is_file(root, _CONFIGURATION):
        with open(path, encoding="utf-8", errors="surrogateescape") as lines:
            own = _protected_line(lines)
        try:
            found.read(path)
        except dnf.exceptions.Error as error:
            raise Refused("content", f"the image's dnf.conf cannot be read: {error}") from error
        if own is not None:
            words = own.replace(",", " ").split()
            globs = [word[5:].lstrip("/") for word in words if word.startswith("glob:")]
            found.protected_packages = [word for word in words if not word.startswith("glob:")] + _names(root, globs)
        for name in _OPTIONS:
            value = getattr(found, name)
            setattr(conf, name, list(value) if isinstance(value, (list, tuple)) else value)
    conf.protected_packages = list(found.protected_packages)
    conf.protect_running_kernel = False  # what runs is the host's
    conf.module_obsoletes = False
    conf.module_stream_switch = False


def _protected_line(lines):  # type: ignore[no-untyped-def]
    """``protected_packages`` as it is written: dnf itself would look for its files on the host."""
    section, value = "", None
    for line in lines:
        text = line.strip()
        if text.startswith("["):
            section = text
        elif section == "[main]" and not line[:1].isspace() and text.partition("=")[0].strip() == "protected_packages":
            value = text.partition("=")[2]
        elif value is not None and line[:1].isspace() and text:
            value += " " + text
        elif value is not None and not text.startswith(("#", ";")):
            break
    return value


def _names(root: str, patterns: list) -> list:
    """The names in files of the image: one or more a line, # starts a comment line."""
    found = []
    for pattern in patterns:
        for path in sorted(glob.glob(os.path.join(glob.escape(root), pattern))):
            if _is_file(root, os.path.relpath(path, root)):
                with open(path, encoding="utf-8", errors="surrogateescape") as lines:
                    found += [word for line in lines if not line.lstrip().startswith("#") for word in line.replace(",", " ").split()]
    return found


def _is_file(root: str, path: str) -> bool:
    """A regular file that no link leads to."""
    place = root
    for part in path.split("/"):
        place = os.path.join(place, part)
        if os.path.islink(place):
            return False
    return os.path.isfile(place)


def lend_module_data(conf, root: str) -> None:  # type: ignore[no-untyped-def]
    """dnf keeps the metadata of enabled streams below its persistdir, which is ours: it gets the image's."""
    place = os.path.join(conf.persistdir, "modulefailsafe")
    os.makedirs(place, exist_ok=True)
    folder = os.path.join(root, _FAIL_SAFE)
    for name in sorted(os.listdir(folder)) if os.path.isdir(folder) else ():
        if name.endswith(".yaml") and _is_file(root, f"{_FAIL_SAFE}/{name}"):
            shutil.copyfile(os.path.join(folder, name), os.path.join(place, name))


def keep_module_data(base, root: str) -> None:  # type: ignore[no-untyped-def]
    """What dnf itself does around a transaction: streams whose packages came are enabled from now on, and their metadata is kept."""
    container = base._moduleContainer
    if not container.getModulePackages():
        return
    for path in (_STATE, _FAIL_SAFE):
        if _through_link(root, path):
            raise Refused("content", f"/{path} of the image lies behind a link, and the state of its modules cannot be written")
    container.save()
    container.updateFailSafeData()
    kept = os.path.join(base.conf.persistdir, "modulefailsafe")
    folder = os.path.join(root, _FAIL_SAFE)
    names = set(os.listdir(kept))
    if names:
        os.makedirs(folder, exist_ok=True)
    for name in sorted(names):
        source, target = os.path.join(kept, name), os.path.join(folder, name)
        if not os.path.exists(target) or _content(source) != _content(target):
            shutil.copyfile(source, target)
    for name in sorted(os.listdir(folder)) if os.path.isdir(folder) else ():
        if name.endswith(".yaml") and name not in names:
            os.unlink(os.path.join(folder, name))


def _through_link(root: str, path: str) -> bool:
    place = root
    for part in path.split("/"):
        place = os.path.join(place, part)
        if os.path.islink(place):
            return True
    return False


def _content(path: str) -> bytes:
    with open(path, "rb") as stream:
        return stream.read()
