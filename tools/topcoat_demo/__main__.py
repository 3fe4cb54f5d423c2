"""``python -m topcoat_demo``: make the demo distribution, run its registry, set both up for ``topcoat --profile demo``.

This module must never hold logic: arguments and wiring only.
"""

from __future__ import annotations

import signal
import sys
from pathlib import Path

import click

from topcoat.errors import TopcoatError
from topcoat_demo import distribution as distributions
from topcoat_demo import environment as environments
from topcoat_demo.registry import RegistryServer

_DIRECTORY = click.option("--directory", type=click.Path(path_type=Path, file_okay=False), required=True, help="Where it goes.")


def _say(line: str) -> None:
    click.echo(f"  {line}", err=True)


@click.group()
def cli() -> None:
    """The demo distribution: real RPMs, repositories, base images, source trees and a registry on this machine."""


@cli.command()
@_DIRECTORY
@click.option("--cache", type=click.Path(path_type=Path, file_okay=False), help="Downloads and conversions (default: the account's cache).")
@click.option("--quick-only", is_flag=True, help="Only the tiny base image.")
def make(directory: Path, cache: Path | None, quick_only: bool) -> None:
    """Make the distribution, or find it made."""
    made = distributions.make(directory, cache=cache, quick=quick_only, say=_say)
    click.echo(made.directory)


@cli.group()
def registry() -> None:
    """The demo registry on the loopback interface."""


@registry.command()
@_DIRECTORY
@click.option("--port", type=int, default=0, help="0: the one of last time, else any free one.")
@click.option("--tls/--no-tls", default=True)
@click.option("--password/--no-password", default=True)
def start(directory: Path, port: int, tls: bool, password: bool) -> None:
    """Start it and print host, auth file and CA."""
    server = RegistryServer(directory, tls=tls, password=password, port=port).start()
    click.echo(f"host {server.host}\nauthfile {server.authfile}\nca {server.ca_file or '-'}")


@registry.command()
@_DIRECTORY
def stop(directory: Path) -> None:
    """End it; its images stay."""
    RegistryServer(directory).stop()


@cli.command()
@_DIRECTORY
def seed(directory: Path) -> None:
    """Distribution, registry and base images; prints the variables of the demo profile as options."""
    made = environments.prepare(directory, say=_say)
    click.echo(f"authfile {made.authfile}\nca {made.ca_file}\nvariables {made.values_file}")
    for name, value in made.variables.items():
        click.echo(f"  {name}={value}")


@cli.command()
@_DIRECTORY
@click.option("--recipes", type=click.Path(path_type=Path, file_okay=False), default="container-images", show_default=True, help="The recipe tree.")
@click.argument("patterns", nargs=-1, metavar="[REGEX]...")
def demo(directory: Path, recipes: Path, patterns: tuple[str, ...]) -> None:
    """The main job from end to end: full build, promotion, a review with a Depends-On, and the review again."""
    from topcoat_demo import walk

    raise SystemExit(walk.demo(directory, recipes, patterns))


@cli.command()
@_DIRECTORY
@click.option("--recipes", type=click.Path(path_type=Path, file_okay=False), default="container-images", show_default=True, help="The recipe tree.")
@click.option(
    "--from",
    "start",
    type=click.Choice(["build", "ask", "promote", "update", "ask-again", "compare", "promote-again"]),
    default="build",
    show_default=True,
    help="Go on with this step where an earlier run in the folder ended.",
)
@click.argument("images", nargs=-1, metavar="[IMAGE]...")
def real(directory: Path, recipes: Path, start: str, images: tuple[str, ...]) -> None:
    """Images of real software: built, started, asked, promoted, updated, asked again, compared with plain dnf, promoted again."""
    from topcoat_demo import real as real_software

    raise SystemExit(real_software.real(directory, recipes, images, start))


@cli.command()
@click.option("--cache", type=click.Path(path_type=Path, file_okay=False), help="Downloads and conversions (default: the account's cache).")
@click.option("--refresh", is_flag=True, help="Ask Debian's index for today's versions; else those of last time.")
def world(cache: Path | None, refresh: bool) -> None:
    """The real-size world: Debian's software as signed RPMs in two states, and a base image of it."""
    import json

    from topcoat_demo import world as worlds

    with worlds.used(cache or distributions.default_cache(), say=_say, refresh=refresh) as made:
        click.echo(json.dumps({"directory": str(made.directory), "base": made.base.digest, **made.facts}, indent=1))


def main() -> int:
    """Run; errors become one line. Being told to end unwinds, so that registries and containers end too."""
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    try:
        cli(standalone_mode=False)
    except TopcoatError as error:
        click.echo(f"error: {error}", err=True)
        return error.exit_code
    except click.ClickException as error:
        error.show()
        return 2
    except click.Abort:
        return 130
    return 0


if __name__ == "__main__":
    sys.exit(main())
