"""The build context of an image: the files that its Containerfile copies, and nothing else.

This module must never follow a link out of a copied directory and never write outside the directory it is given.
"""

from __future__ import annotations

import os
import shutil
import stat
from pathlib import Path, PurePosixPath

from topcoat.containerfile.rendered import ContextFile, Rendered
from topcoat.errors import UsageError
from topcoat.model.recipe import CopyFile

_MTIME = 315532800


def context_files(copy: CopyFile) -> list[ContextFile]:
    """Every file of one copy entry, sorted.

    The path in the context is ``files/`` and the target without its first slash, so that it does not depend on where the checkout lies. The mode
    is the entry's, else 0755 for what its owner may execute and 0644 for the rest: the umask of a checkout must not reach an image.

    :raises UsageError: the source is gone since the recipe was loaded.
    """
    inside = f"files{copy.target.rstrip('/')}"
    found = []
    for path in _members(copy.source):
        try:
            information = path.lstat()
        except OSError as error:
            raise UsageError(f"cannot read {path.name}: {error.strerror}", next_step="restore the file that the recipe copies") from error
        plain = 0o755 if information.st_mode & stat.S_IXUSR else 0o644
        relative = path.relative_to(copy.source).as_posix() if path != copy.source else ""
        mode = None if stat.S_ISLNK(information.st_mode) else copy.mode if copy.mode is not None else plain
        name = f"{inside}/{relative}" if relative else f"{inside}/{copy.source.name}" if copy.target.endswith("/") else inside
        found.append((name, path, mode))
    return found


def _members(path: Path) -> list[Path]:
    if path.is_symlink() or not path.is_dir():
        return [path]
    found: list[Path] = []
    for child in sorted(path.iterdir()):
        found += _members(child)
    return found


def write_context(rendered: Rendered, directory: Path) -> None:
    """Write ``Containerfile`` and the copied files into a directory (made when missing).

    Modes and times are those of the recipe and a constant, never those of the checkout.

    :raises UsageError: a file of the context would lie outside the directory.
    """
    directory.mkdir(parents=True, exist_ok=True)
    (directory / "Containerfile").write_text(rendered.containerfile, encoding="utf-8")
    for inside, source, mode in rendered.files:
        if ".." in PurePosixPath(inside).parts or inside.startswith("/"):
            raise UsageError(f"a file of the context would lie outside it: {inside!r}", next_step="correct the copy entry")
        target = directory / inside
        target.parent.mkdir(parents=True, exist_ok=True)
        if mode is None:
            target.unlink(missing_ok=True)
            target.symlink_to(source.readlink())
            continue
        shutil.copyfile(source, target)
        target.chmod(mode)
        os.utime(target, (_MTIME, _MTIME))
    made = {folder for inside, _, _ in rendered.files for folder in PurePosixPath(inside).parents if folder.name}
    for folder in sorted(made, reverse=True):
        (directory / folder).chmod(0o755)
        os.utime(directory / folder, (_MTIME, _MTIME))
