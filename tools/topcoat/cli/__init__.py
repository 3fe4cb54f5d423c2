"""The ``topcoat`` command: one module per command, nothing but arguments and wiring.

This room must never hold logic that another face (a role, a test) could need.
"""

from __future__ import annotations

import importlib
import pkgutil
import signal
import sys
import threading
from gc import set_threshold  # the module's name is that of a command here, once it is loaded
from typing import NoReturn

import click

from topcoat.errors import TopcoatError, machine_error

GROUPS = {
    "Everyday": ("plan", "build", "report", "explain", "list", "graph", "lint", "render", "why", "reproduce", "completion"),
    "Sets of images and their tags": (
        "index",
        "promote",
        "sign",
        "hold",
        "history",
        "discover",
        "changes",
        "lock",
        "copy",
        "adopt",
        "base",
        "gc",
        "trunk",
    ),
    "Images by hand": ("update", "hotfix"),
    "What a registry holds": ("verify", "attest", "diff", "inventory", "sbom", "sizes"),
    "Sets seen whole": ("board", "where", "tell", "bisect", "set"),
    "Steps of CI jobs": ("gating", "distgit", "freeze", "coverage", "consume", "join-receipts", "zuul-items", "zuul-artifacts", "zuul-return"),
}
"""The commands by what somebody wants to do; a test looks that none is forgotten."""


class Commands(click.Group):
    """Finds its commands by module name and imports one only when it is asked for, so that a quick command stays quick."""

    def list_commands(self, context: click.Context) -> list[str]:
        """Every public module of this room, as a command name."""
        return sorted(info.name.replace("_", "-") for info in pkgutil.iter_modules(__path__) if not info.name.startswith("_"))

    def format_commands(self, context: click.Context, formatter: click.HelpFormatter) -> None:
        """The list of commands in ``--help``, by task."""
        known = self.list_commands(context)
        width = max(map(len, known))
        named = {name for names in GROUPS.values() for name in names}
        for title, names in {**GROUPS, "Others": tuple(name for name in known if name not in named)}.items():
            found = [(name, command) for name in names if (command := self.get_command(context, name)) is not None]
            if found:
                with formatter.section(title):
                    limit = formatter.width - 6 - width
                    formatter.write_dl([(name.ljust(width), command.get_short_help_str(limit)) for name, command in found])

    def get_command(self, context: click.Context, name: str) -> click.Command | None:
        """The command of one module, or None so that click reports an unknown command."""
        if name not in self.list_commands(context):
            return None
        command: click.Command = importlib.import_module(f"{__name__}.{name.replace('-', '_')}").command
        return command

    def parse_args(self, context: click.Context, args: list[str]) -> list[str]:
        """As click does, with what a file of options says."""
        if not context.resilient_parsing and any(word.startswith(("--options", "--keep-options")) for word in args):
            from topcoat.cli import _options_file

            args = _options_file.expand(self, context, args)
        return super().parse_args(context, args)

    def resolve_command(self, context: click.Context, args: list[str]):  # type: ignore[no-untyped-def]
        """As click does, but an unknown word names the nearest known one."""
        if args and self.get_command(context, args[0]) is None:
            import difflib

            near = difflib.get_close_matches(args[0], self.list_commands(context), 1)
            hint = f"; did you mean {near[0]!r}?" if near else "; 'topcoat --help' lists the commands"
            raise click.UsageError(f"no such command {args[0]!r}{hint}", context)
        return super().resolve_command(context, args)


def _profiles(context: click.Context, parameter: click.Parameter, incomplete: str) -> list[str]:
    from topcoat.cli import _complete

    return _complete.profiles(context, parameter, incomplete)


@click.group(cls=Commands, context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 120})
@click.version_option(package_name="topcoat", prog_name="topcoat")
@click.option("--options", metavar="FILE", expose_value=False, help="YAML file of options by name, '-': standard input.")
@click.option("--keep-options", metavar="FILE", expose_value=False, help="Where to write down the options of --options.")
@click.option("--profile", default="demo", show_default=True, envvar="TOPCOAT_PROFILE", shell_complete=_profiles, help="Profile: a name or a file.")
@click.option("--recipes", default="container-images", show_default=True, envvar="TOPCOAT_RECIPES", help="Directory of the recipe tree.")
@click.option(
    "--format",
    "--recipe-format",
    "recipe_format",
    type=click.Choice(["auto", "native", "tcib"]),
    default="auto",
    show_default=True,
    help="Syntax of the recipe tree.",
)
@click.option("--arch", envvar="TOPCOAT_ARCH", help="One of the profile's architectures, as RPM names it.  [default: its 'arch']")
@click.option("--set", "settings", multiple=True, metavar="NAME=VALUE", help="Value for a ${NAME} of the profile; may be repeated.")
@click.option("--set-file", "settings_file", envvar="TOPCOAT_SET_FILE", help="YAML file of such values.")
@click.option("--extra-config", envvar="TOPCOAT_EXTRA_CONFIG", metavar="FILE", help="For tcib trees: YAML file of variables for every image.")
@click.option("--registry", envvar="TOPCOAT_REGISTRY", help="Registry to publish to, instead of the profile's.")
@click.option("--namespace", envvar="TOPCOAT_NAMESPACE", help="Namespace to publish to, instead of the profile's.")
@click.option("--authfile", envvar=["TOPCOAT_AUTHFILE", "REGISTRY_AUTH_FILE"], help="Registry passwords (containers-auth.json).")
@click.option("--ca-file", envvar="TOPCOAT_CA_FILE", help="Certificate authority of the registry.")
@click.option("--plain-http", multiple=True, metavar="HOST", help="Registry that is spoken to without TLS; may be repeated.")
@click.option("--work-dir", default="work", show_default=True, envvar="TOPCOAT_WORK_DIR", help="Folder for caches, logs and working trees.")
@click.option(
    "--progress",
    type=click.Choice(["auto", "plain", "tty", "rawjson", "quiet"]),
    default="auto",
    show_default=True,
    envvar="TOPCOAT_PROGRESS",
    help="How a run is shown.",
)
@click.pass_context
def root(context: click.Context, /, **options: object) -> None:
    """Builds, updates, proves and publishes the container images that a review touches."""
    from topcoat.cli._context import Settings

    context.obj = Settings(**options)  # type: ignore[arg-type]


def _interrupt(*_: object) -> None:
    """Being told to end is the same as Ctrl-C: unwinding ends what a command started."""
    raise KeyboardInterrupt


def _say(error: TopcoatError) -> NoReturn:
    click.echo(f"error: {error}", err=True)
    if error.log:
        click.echo(f"log: {error.log}", err=True)
    if error.recheck_helps:
        click.echo("The change is not at fault: a recheck can help.", err=True)
    sys.exit(error.exit_code)


def main(argv: list[str] | None = None) -> None:
    """Console entry point: runs a command and turns errors into one line and the exit codes of the error classes."""
    if threading.current_thread() is threading.main_thread():
        signal.signal(signal.SIGTERM, _interrupt)
    # A command makes many objects, few of them in cycles, and ends: looking for cycles took two fifths of the time in which inventories are read.
    set_threshold(200_000, 20, 100)
    try:
        code = root.main(args=argv, prog_name="topcoat", standalone_mode=False)
    except click.exceptions.Abort:
        click.echo("error: interrupted", err=True)
        sys.exit(130)
    except click.ClickException as error:
        error.show()
        sys.exit(2)
    except TopcoatError as error:
        _say(error)
    except BrokenPipeError:
        sys.exit(0)
    except (OSError, MemoryError) as error:
        machine = machine_error(error)
        if machine is None:
            raise
        _say(machine)
    sys.exit(code if isinstance(code, int) else 0)
