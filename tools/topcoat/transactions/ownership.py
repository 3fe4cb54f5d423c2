"""Who owns what a transaction or a build left behind: what a package brought enters the layer, wherever it lies.

This module must never change a file.
"""

from __future__ import annotations

import tempfile
from collections.abc import Iterable
from pathlib import Path
from posixpath import basename

from topcoat.layers import LowerView
from topcoat.layers.leftovers import may_be_owned
from topcoat.rpm import rpmdb
from topcoat.transactions.pool import Facts, Transactions


def database_root(upper: Path, lower: tuple[Path, ...]) -> Path | None:
    """The directory, of those that make up a tree, whose package database is the visible one; None when there is none."""
    view = LowerView((upper, *lower))
    for folder in rpmdb.FOLDERS:
        found = view.entry(f"{folder}/{rpmdb.SQLITE}")
        if found is not None:
            return Path(found.path.removesuffix(f"/{folder}/{rpmdb.SQLITE}"))
    return None


def ask(
    transactions: Transactions, upper: Path, lower: tuple[Path, ...], suspects: Iterable[str], scratch: Path, *, image: str | None
) -> tuple[Facts, frozenset[str]]:
    """What the package database of the tree says, and which of some entries of its upper directory no package owns.

    :param suspects: paths relative to the root, without leading slash.
    :param scratch: folder for the time of the call.
    """
    suspects = frozenset(suspects)
    worth_asking = {basename(path) for path in suspects if may_be_owned(path)}
    root = database_root(upper, lower)
    if root is None:
        return Facts(0, frozenset(), ()), suspects
    with tempfile.TemporaryDirectory(prefix="facts-", dir=scratch) as folder:
        # A copy: reading may write beside the file, and a layer below never changes.
        copy, work = Path(folder) / "root", Path(folder) / "work"
        work.mkdir()
        rpmdb.place(rpmdb.read_root(root), copy)
        facts = transactions.facts(copy, work, worth_asking, image=image)
    view = LowerView((upper, *lower))
    return facts, suspects - {view.real(path) for path in facts.owned}
