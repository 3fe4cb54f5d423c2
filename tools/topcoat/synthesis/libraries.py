"""Whether ldconfig would change anything: the cache of libraries in an image is told by name to be current, and nothing that it looks at moves.

This module must never take a cache for current that does not name every library which ldconfig would find.

The rules are those of glibc 2.34 to 2.41 (elf/ldconfig.c, elf/cache.c; ``struct cache_file_new`` in dl-cache.h).
"""

from __future__ import annotations

import fnmatch
import struct
from collections.abc import Iterable, Iterator

from topcoat.synthesis.tree import Tree

CACHE, SETTINGS, MORE_SETTINGS = "etc/ld.so.cache", "etc/ld.so.conf", "etc/ld.so.conf.d"
_DEFAULT = ("lib", "usr/lib", "lib64", "usr/lib64", "libx32", "usr/libx32")
_INCLUDES = (f"{MORE_SETTINGS}/*.conf", "ld.so.conf.d/*.conf", f"/{MORE_SETTINGS}/*.conf")
_MAGIC = b"glibc-ld.so.cache1.1"
_HEAD, _ENTRY = 48, struct.Struct("<iIIIQ")
_LITTLE_ENDIAN = (0, 2)
"""Values of the header's flags: not said, little-endian."""
_SPECIAL = "glibc-hwcaps"


def unchanged(tree: Tree, moved: Iterable[str], program: str) -> bool:
    """Whether a run of ldconfig after a transaction leaves everything as it was.

    :param moved: paths of all files of the packages that come and go, without leading slash.
    :param program: where ldconfig lies, as a path without links.
    """
    folders = _folders(tree)
    if folders is None or not _is_current(tree, folders):
        return False
    return not any(_matters(path, tree, folders, program) for path in moved)


def _folders(tree: Tree) -> set[str] | None:
    """Where ldconfig looks, as paths without links; None where the settings are of a kind that is left to it."""
    named = list(_DEFAULT)
    for content in _settings(tree):
        if content is None:
            return None
        for line in content.decode("utf-8", "replace").splitlines():
            text = line.partition("#")[0].strip()
            words = text.split()
            if not words or (words[0] == "include" and len(words) == 2 and words[1] in _INCLUDES):
                continue
            if words[0] in ("include", "hwcap") or "=" in text or not text.startswith("/"):
                return None
            named += text.replace(",", " ").replace(":", " ").split()
    found = {tree.resolve(folder) for folder in named}
    for folder in tuple(found):
        found |= {tree.resolve(f"{folder}/{_SPECIAL}/{name}") for name in tree.children(f"{folder}/{_SPECIAL}")}
    return found


def _settings(tree: Tree) -> Iterator[bytes | None]:
    """The texts of the settings; None for one that is no plain file."""
    if tree.has(SETTINGS):
        yield tree.contents.get(SETTINGS)
    if tree.resolve(MORE_SETTINGS) != MORE_SETTINGS:
        yield None
    for name in tree.children(MORE_SETTINGS):
        if fnmatch.fnmatchcase(name, "*.conf"):
            yield tree.contents.get(f"{MORE_SETTINGS}/{name}")


def _is_current(tree: Tree, folders: set[str]) -> bool:
    """Whether the cache names what is there, all of it, and nothing else."""
    node = tree.nodes.get(CACHE)
    if node is None or (node.kind, node.mode, node.uid, node.gid, node.attributed) != ("f", 0o644, 0, 0, False):
        return False
    named = _named(tree.contents.get(CACHE, b""))
    if named is None:
        return False
    targets = set()
    for path in named:
        folder, _, name = path.rpartition("/")
        real = tree.resolve(folder)
        target = tree.resolve(path)
        found = tree.nodes.get(target)
        if not {real, real.rpartition("/")[0]} & folders or found is None or found.kind != "f" or not tree.has(f"{real}/{name}"):
            return False
        targets.add(target)
    libraries = (f"{folder}/{name}" for folder in folders for name in tree.children(folder) if _is_library(name))
    return all(_is_named(path, tree, folders, targets) for path in libraries)


def _is_named(path: str, tree: Tree, folders: set[str], targets: set[str]) -> bool:
    real = tree.resolve(path)
    folder, _, name = real.rpartition("/")
    node = tree.nodes.get(real)
    if node is not None and node.kind == "d":
        return True
    # What lies elsewhere or has another name might move without being noticed.
    if folder not in folders or not _is_library(name):
        return False
    # A link that leads nowhere is passed over.
    return real in targets or (node is None and real != path)


def _named(cache: bytes) -> list[str] | None:
    """The paths in the cache; None where it is of another form."""
    if not cache.startswith(_MAGIC) or len(cache) < _HEAD:
        return None
    count, _, flags = struct.unpack_from("<IIB", cache, len(_MAGIC))
    if flags not in _LITTLE_ENDIAN or _HEAD + count * _ENTRY.size > len(cache):
        return None
    found = []
    for number in range(count):
        value = _ENTRY.unpack_from(cache, _HEAD + number * _ENTRY.size)[2]
        end = cache.find(b"\0", value)
        if end < 0:
            return None
        found.append(cache[value:end].decode("utf-8", "surrogateescape"))
    return found


def _is_library(name: str) -> bool:
    return name.startswith(("lib", "ld-", "ld.", "ld64.")) and ".so" in name and not name.endswith("-gdb.py")


def _matters(path: str, tree: Tree, folders: set[str], program: str) -> bool:
    """Whether a file that comes, goes or changes is one that ldconfig reads, writes or is."""
    folder, _, name = path.rpartition("/")
    real = tree.resolve(folder)
    place = f"{real}/{name}" if real else name
    if place in (CACHE, SETTINGS, MORE_SETTINGS, program) or real == MORE_SETTINGS:
        return True
    if _is_library(name) and ({real, real.rpartition("/")[0]} & folders or _SPECIAL in real.split("/")):
        return True
    # A directory on the way that is new, or becomes something else.
    leads = place in folders or any(other.startswith(f"{place}/") for other in folders)
    node = tree.nodes.get(place)
    return leads and (node is None or node.kind != "d")
