"""The version of a tree whose spec file leaves it open: told by its tags, as DLRN and pbr tell it.

This module must never run anything of the tree: ``setup.py --version`` would be code that nobody has reviewed.
"""

from __future__ import annotations

import re
from pathlib import Path

from packaging.version import InvalidVersion, Version

from topcoat.documents import Door
from topcoat.errors import ContentError
from topcoat.gating.source import git_of

_DOOR = Door(ContentError, "mend metadata.json")

# Tags that name no version: DLRN leaves them out as well.
_NO_VERSION = ("*-eol", "*-em", "*-eom", "private-*")
_TRAILER = re.compile(r"^sem-ver:\s*(.+)$", re.IGNORECASE | re.MULTILINE)
_FIXED = re.compile(r"^Version:[ \t]*([0-9][\w.~^]*)[ \t]*$", re.MULTILINE)


def upstream_version(directory: Path, spec: Path) -> tuple[str, str]:
    """(version of the package, version that the source calls itself).

    :raises ContentError: no tag, no metadata and no spec file says one.
    """
    git = git_of(directory)
    patterns = [word for pattern in _NO_VERSION for word in ("--exclude", pattern)]
    tagged = git.run("describe", "--tags", "--abbrev=0", *patterns, "HEAD", check=False)
    if tagged.code == 0:
        tag = tagged.output.strip()
        # Merges are Zuul's, and there are as many as it needs.
        count = int(git("rev-list", "--count", "--no-merges", f"{tag}..HEAD"))
        return from_tag(tag, count, git("log", "--no-merges", "--format=%B", f"{tag}..HEAD"))
    metadata = directory / "metadata.json"
    if metadata.is_file():
        shape = _DOOR.shape("metadata.json", where=str(metadata))
        if found := shape.text(shape.table(_DOOR.json_file(metadata, "metadata.json"), "it").get("version"), "version"):
            return found, found
    fixed = _FIXED.search(spec.read_text(encoding="utf-8", errors="replace"))
    if fixed:
        return fixed[1], fixed[1]
    raise ContentError(
        f"{directory.name} has no tag that says a version", where=str(directory), next_step="fetch its tags, or let the spec file name a version"
    )


def from_tag(tag: str, count: int, messages: str) -> tuple[str, str]:
    """What a tree is called that is ``count`` changes behind a tag.

    :param messages: the words of these changes; a line ``Sem-Ver: feature`` or ``api-break`` raises more than the last number.
    :returns: (version of the package, version of the source, PEP 440).
    :raises ContentError: the tag is no version.

    >>> from_tag("1.2.3", 5, "")
    ('1.2.4', '1.2.4.dev5')
    """
    name = re.sub(r"^[vVrR]", "", tag)
    try:
        version = Version(name)
    except InvalidVersion as error:
        raise ContentError(f"the tag {tag} is no version", next_step="name versions as PEP 440 does") from error
    numbers = list(version.release) + [0] * (3 - len(version.release))
    if version.pre:
        base = ".".join(map(str, numbers[:3]))
        mark, number = version.pre
        return base, name if not count else f"{base}.0{mark}{number + 1}.dev{count}"
    if not count:
        return ".".join(map(str, version.release)), name
    words = {word.strip().lower() for line in _TRAILER.findall(messages) for word in line.split(",")}
    if "api-break" in words:
        numbers = [numbers[0] + 1, 0, 0]
    elif words & {"feature", "deprecation"}:
        numbers = [numbers[0], numbers[1] + 1, 0]
    else:
        numbers[-1] += 1
    base = ".".join(map(str, numbers))
    return base, f"{base}.dev{count}"
