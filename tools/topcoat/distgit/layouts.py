"""A whole export: every image's content written once, and committed in the layout that is asked for.

This module must never push, and never commit what did not change.
"""

from __future__ import annotations

import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from topcoat.distgit.export import ORDER_FILE, ExportOptions, order_of, write_image
from topcoat.distgit.git import Commit, ExportRepository, source_commit
from topcoat.errors import UsageError
from topcoat.model import Profile, Recipe


@dataclass(frozen=True)
class Exported:
    """What an export did."""

    commits: tuple[str, ...]
    """What got a commit: ``main``, or names of images (and ``build-order``)."""
    source: str | None
    """Commit of the recipes that were exported; None where they are in no git checkout."""


def export_tree(
    recipes: Mapping[str, Recipe],
    names: Sequence[str],
    profile: Profile,
    options: ExportOptions,
    *,
    recipes_root: Path,
    target: Path,
    layout: str = "folders",
    branch: str = "{image}",
    dry_run: bool = False,
) -> Exported:
    """Export images.

    :param layout: ``folders``, ``branches`` or ``repositories``: what each image gets of its own.
    :param target: git repository, or (``repositories``) the folder of them; made when missing.
    :param branch: name of an image's branch with the layout ``branches``.
    :param dry_run: write the content, for its mistakes, and commit nothing.
    :raises UsageError: the branch name is the same for every image. See ``write_image`` and ``Git`` for others.
    """
    if layout == "branches" and "{image}" not in branch:
        raise UsageError("--branch must hold {image}", next_step="write e.g. rdo-{image}")
    source = source_commit(recipes_root)
    commit = Commit("Export of the recipes")
    if source:
        commit = Commit(f"Export of {source[0][:12]}: {source[2]}\n\nSource: {source[0]}", date=source[1])
    with tempfile.TemporaryDirectory(prefix="topcoat-distgit-") as scratch:
        content = Path(scratch)
        for name in names:
            write_image(recipes[name], profile, options, content / name)
        order = content / ORDER_FILE
        order.write_text(order_of(recipes, names, profile, options), encoding="utf-8")
        commits = () if dry_run else _commit(content, names, commit, target, layout, branch)
    return Exported(tuple(commits), source[0] if source else None)


def _commit(content: Path, names: Sequence[str], commit: Commit, target: Path, layout: str, branch: str) -> Sequence[str]:
    if layout == "folders":
        return ["main"] if ExportRepository(target).commit_folders(content, commit) else []
    if layout == "repositories":
        changed = [name for name in names if ExportRepository(target / name).commit_folders(content / name, commit)]
        (target / ORDER_FILE).write_bytes((content / ORDER_FILE).read_bytes())
        return changed
    repository = ExportRepository(target)
    changed = [name for name in names if repository.commit_branch(branch.replace("{image}", name), content / name, commit)]
    only_order = content / ".order"
    only_order.mkdir()
    (content / ORDER_FILE).rename(only_order / ORDER_FILE)
    return [*changed, "build-order"] if repository.commit_branch("build-order", only_order, commit) else changed
