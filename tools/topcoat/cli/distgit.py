"""``topcoat distgit``: static Containerfiles, committed to git when their content changed.

This module must never push.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

from topcoat.cli._context import Settings, dry_run_option, emit, format_option, pairs
from topcoat.cli._selection import selection_options

if TYPE_CHECKING:
    from topcoat.recipes import Selection


@click.command()
@selection_options
@click.option("--output", required=True, metavar="DIR", help="Git repository (with --layout repositories: folder of them); made when missing.")
@click.option(
    "--layout",
    type=click.Choice(["folders", "branches", "repositories"]),
    default="folders",
    show_default=True,
    help="A folder, a branch or a repository for each image.",
)
@click.option("--branch", default="{image}", show_default=True, help="Name of a branch with --layout branches.")
@click.option("--tag", help="Tag of the parents in FROM, instead of the profile's reference tag.")
@click.option("--label", "labels", multiple=True, metavar="NAME=VALUE", help="Further label; may be repeated.")
@click.option("--component", default="{image}-container", show_default=True, help="Value of the label com.redhat.component.")
@click.option("--without-required-labels", is_flag=True, help="Leave out name, version and com.redhat.component: the image equals a direct build.")
@dry_run_option
@format_option
@click.pass_obj
def command(
    settings: Settings,
    selection: Selection,
    output: str,
    layout: str,
    branch: str,
    tag: str | None,
    labels: tuple[str, ...],
    component: str,
    without_required_labels: bool,
    dry_run: bool,
    output_format: str,
) -> None:
    """Export static Containerfiles into git: Containerfile, context, container.yaml, build order. Commits only when content changed."""
    from topcoat.distgit import ExportOptions, export_tree

    names = selection.with_recipe(settings.recipes)
    options = ExportOptions(tag or settings.profile.reference_tag, component, not without_required_labels, tuple(pairs(labels, "--label").items()))
    done = export_tree(
        settings.recipes,
        names,
        settings.profile,
        options,
        recipes_root=settings.recipes_dir,
        target=Path(output).absolute(),
        layout=layout,
        branch=branch,
        dry_run=dry_run,
    )
    if dry_run:
        emit({"images": list(names), "layout": layout}, output_format, f"would export {len(names)} images to {output}")
        return
    count = len(done.commits)
    sentence = f"{len(names)} images exported to {output}, {count} commit(s)" if count else f"{output} is up to date, no commit"
    emit({"images": len(names), "commits": list(done.commits), "source": done.source}, output_format, sentence)
