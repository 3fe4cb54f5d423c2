"""The files that the variables of a tcib image may name: those of its tree, whatever path the author's machine had.

This module must never read outside the tree, follow a link out of it, or write.
"""

from __future__ import annotations

from fnmatch import fnmatchcase
from pathlib import Path

from topcoat.documents.yamltree import read_text
from topcoat.errors import UsageError
from topcoat.recipes.templating import TemplateError

_MAX_TEXT = 64 << 10


class TreeFiles:
    """The files that one image may name.

    :param folder: the image's directory.
    :param top: the tree's top directory; what lies beside it (``container-images/kolla`` beside ``container-images/tcib``) counts as the tree.
    """

    def __init__(self, folder: Path, top: Path) -> None:
        self.folder = folder
        self.top = top
        self._home = top.resolve().parent

    def find(self, text: str) -> Path | None:
        """A file or directory by its name below the image or the tree, or by a path of another machine that goes through ``container-images/``."""
        _, marker, inside = text.partition("container-images/")
        candidates = [self.folder / text, self.top / text]
        if marker:
            candidates += [self.top.parent / inside, self.top / inside.removeprefix("tcib/")]
        return next((path for path in candidates if _exists(path) and path.resolve().is_relative_to(self._home)), None)

    def lookup(self, plugin: str, *terms: str, wantlist: bool = False, **options: object) -> object:
        """Ansible's ``lookup``: only ``fileglob`` (paths as they were written, sorted) and ``file`` (its text), both inside the tree.

        :raises TemplateError: another plugin, an option, or a file that is not there.
        """
        if plugin not in ("fileglob", "file"):
            raise TemplateError(f"looks up {plugin!r}; only 'fileglob' and 'file', inside the tree, are available")
        if options:
            raise TemplateError(f"gives the lookup {plugin!r} an option that is not available: {', '.join(sorted(options))}")
        found = [one for term in terms for one in (self._matching(str(term)) if plugin == "fileglob" else [self._text(str(term))])]
        return found if wantlist else ",".join(found)

    def _matching(self, pattern: str) -> list[str]:
        head, slash, last = pattern.rpartition("/")
        directory = self.find(head or ".")
        if directory is None or not directory.is_dir():
            return []
        names = sorted(path.name for path in directory.iterdir() if path.is_file() and fnmatchcase(path.name, last))
        return [f"{head}{slash}{name}" for name in names if last.startswith(".") or not name.startswith(".")]

    def _text(self, name: str) -> str:
        path = self.find(name)
        if path is None or not path.is_file():
            raise TemplateError(f"looks up a file outside the tree: {name!r}")
        try:
            return read_text(path, str(path), limit=_MAX_TEXT).rstrip()
        except UsageError as error:
            raise TemplateError(f"looks up {name!r}, which {error.what}") from error


def _exists(path: Path) -> bool:
    try:
        return path.exists()
    except (OSError, ValueError):
        # A name that no file system takes: too long, or with a zero byte.
        return False
