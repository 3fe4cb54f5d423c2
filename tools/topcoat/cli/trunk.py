"""``topcoat trunk``: the trunk hash of a repository, which is the tag of the images made from it.

This module must never guess: no hash is an error.
"""

from __future__ import annotations

import click

from topcoat.cli._context import Settings, emit, format_option


@click.command()
@click.argument("location", metavar="DIR|URL")
@format_option
@click.pass_obj
def command(settings: Settings, location: str, output_format: str) -> None:
    """Print the trunk hash of a repository laid out by DLRN, e.g. .../current: the unique tag of images made from it."""
    from topcoat.trunk import read_trunk

    trunk = read_trunk(location, ca_file=settings.ca_file)
    data = {
        "tag": trunk.hash.tag,
        "moving_tag": trunk.name,
        "commit": trunk.hash.commit or None,
        "distro": trunk.hash.distro or None,
        "extended": trunk.hash.extended or None,
        "aggregate": trunk.hash.aggregate or None,
        "component": trunk.hash.component or None,
        "directory": trunk.hash.directory,
    }
    emit(data, output_format, trunk.hash.tag)
