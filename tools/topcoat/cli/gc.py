"""``topcoat gc``: remove images from the registry that nothing needs any more.

This module must never decide what is kept; ``topcoat.garbage`` does.
"""

from __future__ import annotations

from pathlib import Path

import click

from topcoat.cli._context import Settings, emit, format_option, say
from topcoat.errors import UsageError


@click.command()
@click.option("--delete", is_flag=True, help="Really remove; without it nothing is changed.")
@click.option("--dry-run", is_flag=True, help="Say what would be removed; this is the default.")
@click.option("--keep-tag", multiple=True, metavar="TAG", help="Keep this tag: a floating name, an open buildset. May be repeated.")
@click.option("--keep-tags-file", metavar="FILE", help="File with such tags, one a line.")
@click.option("--keep-pattern", multiple=True, metavar="REGEX", help="Keep tags that match as a whole. May be repeated.")
@click.option("--older-than", default=14.0, show_default=True, metavar="DAYS", help="Remove only tags that the registry has shown for longer.")
@click.option("--keep-newest", default=2, show_default=True, metavar="N", help="Keep so many of the newest removable tags in each repository.")
@click.option("--repository", "repositories", multiple=True, metavar="PATH", help="Collect here instead of in the profile's repositories.")
@format_option
@click.pass_obj
def command(
    settings: Settings,
    delete: bool,
    dry_run: bool,
    keep_tag: tuple[str, ...],
    keep_tags_file: str | None,
    keep_pattern: tuple[str, ...],
    older_than: float,
    keep_newest: int,
    repositories: tuple[str, ...],
    output_format: str,
) -> None:
    """Remove what neither open buildsets nor promoted sets need. Promoted sets are read from the registry's own records."""
    from topcoat.garbage import Collector, scope

    if delete and dry_run:
        raise UsageError("--delete and --dry-run exclude each other", next_step="choose one")
    profile, client = settings.profile, settings.registries.client(settings.profile.registry)
    rules = scope.rules_of(profile, (*keep_tag, *_lines(keep_tags_file)), keep_pattern, days=older_than, newest=keep_newest)
    aliases = scope.aliases_of(profile, settings.old_names)
    names = repositories or scope.repositories_of(client, profile, settings.all_recipes, aliases, say=say)
    result = Collector(client, profile.namespace, say=say).collect(names, rules, dry_run=not delete, aliases=aliases)
    word = "removed" if delete else "would remove"
    lines = [f"{word} {entry}" for entry in (*result.untagged, *result.deleted)]
    if result.condemned:
        lines.append(
            f"{len(result.condemned)} manifests {'have' if delete else 'would have'} no tag any more; a collection an hour later deletes them"
        )
    lines.append(
        f"{word} {len(result.untagged)} tags and {len(result.deleted)} manifests of {result.tags} tags in {result.repositories} repositories; "
        f"{result.kept} tags kept{f', all {result.checked} checked' if delete else ''}, {result.seconds:.1f} s"
    )
    emit(result.as_dict(), output_format, "\n".join(lines))


def _lines(path: str | None) -> list[str]:
    if path is None:
        return []
    try:
        return [line.strip() for line in Path(path).read_text(encoding="utf-8").splitlines() if line.strip()]
    except (OSError, UnicodeDecodeError) as error:
        raise UsageError(f"cannot read {path}: {error}", next_step="give a file with one tag a line") from error
