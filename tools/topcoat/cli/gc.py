"""``topcoat gc``: remove images from the registry that nothing needs any more.

This module must never decide what is kept; ``topcoat.garbage`` does.
"""

from __future__ import annotations

import re
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

import click

from topcoat.cli._context import Settings, emit, format_option
from topcoat.errors import UsageError

if TYPE_CHECKING:
    from topcoat.model import Profile

_DAY = 86400.0


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
    from topcoat.garbage import Collector, KeepRules
    from topcoat.lists import old_names
    from topcoat.publisher.receipts import runs_repository

    if delete and dry_run:
        raise UsageError("--delete and --dry-run exclude each other", next_step="choose one")
    if older_than < 0 or keep_newest < 0:
        raise UsageError("--older-than and --keep-newest cannot be negative", next_step="give a number of days and of tags")
    profile = settings.profile
    aliases = {
        profile.repository_of(name): profile.repository_of(image)
        for image, names in old_names(settings.recipes_dir, settings.all_recipes).items()
        for name in names
    }
    runs = runs_repository(profile.namespace)
    known = {runs, *(profile.repository_of(image) for image in settings.all_recipes), *aliases, *_catalog(settings)}
    # what upstream removed lies only in the mirror of the base, and no tag there says what still needs it
    names = repositories or sorted(known - {profile.base.mirror.removeprefix(f"{profile.registry}/")})
    rules = KeepRules(
        tags=frozenset(tag for kept in (profile.reference_tag, *keep_tag, *_lines(keep_tags_file)) for tag in (kept, *_run_tags(profile, kept))),
        patterns=tuple(_compiled(pattern) for pattern in keep_pattern),
        younger_than=older_than * _DAY,
        newest=keep_newest,
    )
    collector = Collector(settings.registries.client(profile.registry), profile.namespace, say=lambda line: click.echo(line, err=True))
    result = collector.collect(names, rules, dry_run=not delete, aliases=aliases)
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


def _run_tags(profile: Profile, tag: str) -> tuple[str, ...]:
    """The tags that the architectures of a set have: whoever keeps the set keeps what it may still be joined from."""
    return tuple(replace(profile, arch=one.name).run_tag(tag) for one in profile.architectures)


def _catalog(settings: Settings) -> tuple[str, ...]:
    """Repositories of our namespace, those of images that left the tree too; none where the registry has no catalog."""
    from topcoat.promotion import control_repository
    from topcoat.publisher.changelogs import repository_beside
    from topcoat.registry import AccessError, RefusedError

    profile = settings.profile
    try:
        found = settings.registries.client(profile.registry).catalog()
    except (RefusedError, AccessError):
        click.echo("the registry shows no catalog: only repositories of known recipes are looked at", err=True)
        return ()
    inside = f"{profile.namespace}/" if profile.namespace else ""
    ours = (control_repository(profile.namespace), repository_beside(inside))
    return tuple(name for name in found if inside and name.startswith(inside) and name not in ours)


def _lines(path: str | None) -> list[str]:
    if path is None:
        return []
    try:
        return [line.strip() for line in Path(path).read_text(encoding="utf-8").splitlines() if line.strip()]
    except (OSError, UnicodeDecodeError) as error:
        raise UsageError(f"cannot read {path}: {error}", next_step="give a file with one tag a line") from error


def _compiled(pattern: str) -> re.Pattern[str]:
    try:
        return re.compile(pattern)
    except re.error as error:
        raise UsageError(f"not a regular expression: {pattern!r} ({error})", next_step="quote special characters with a backslash") from error
