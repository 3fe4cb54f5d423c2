"""``topcoat update``: any images of RPM distributions, in any registry, brought up to date from given repositories."""

from __future__ import annotations

import platform
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import click

from topcoat.cli._context import Settings, dry_run_option, emit_plan, emit_receipt, format_option

if TYPE_CHECKING:
    from topcoat.runs.planning import Decision


@click.command()
@click.argument("images", nargs=-1, required=True, metavar="HOST/REPOSITORY:TAG...")
@click.option("--repo", "urls", multiple=True, required=True, metavar="URL", help="Yum repository, a URL or a folder; may be repeated.")
@click.option("--tag", required=True, help="Tag of the results, in the repositories of the images.")
@click.option("--key", "keys", multiple=True, metavar="URL", help="Key file: every package must be signed by such a key; may be repeated.")
@click.option("--arch", default=platform.machine(), show_default="this machine's", help="Architecture of the images, as RPM names it.")
@click.option("--release", default="", help="Value of $releasever in the packages' modules and repositories.")
@click.option(
    "--update-way",
    type=click.Choice(["composed", "auto", "transaction"]),
    default="auto",
    show_default=True,
    help="auto: composed without the image where that is proven to be the same, else by a transaction on it, for which one must be root.",
)
@dry_run_option
@format_option
@click.pass_obj
def command(
    settings: Settings,
    images: tuple[str, ...],
    urls: tuple[str, ...],
    tag: str,
    keys: tuple[str, ...],
    arch: str,
    release: str,
    update_way: str,
    dry_run: bool,
    output_format: str,
) -> None:
    """Update images from given repositories, prove and push them under another tag. What needs more than packages needs root, or is refused."""
    from topcoat.model import ImageReference, Repository
    from topcoat.model.profile import SignaturePolicy
    from topcoat.runs import given
    from topcoat.runs.run import update

    policy = SignaturePolicy("required", tuple(map(_url, keys))) if keys else SignaturePolicy()
    repositories = [Repository(f"repo-{number}", _url(url), signatures=policy) for number, url in enumerate(urls, 1)]

    def decide() -> Decision:
        references = [ImageReference.parse(text) for text in images]
        return given.decide(references, repositories, arch=arch, release=release, registries=settings.registries, work=settings.work_dir)

    if dry_run:
        decision = decide()
        decision.snapshot.close()
        emit_plan(decision.plan, output_format)
        return
    # A bill of materials hangs its packages on the operating system that a profile names, and there is none.
    options = settings.run_options(tag=tag, update_way=update_way, bills=())
    receipt = update(decide, options, registries=settings.registries, progress_mode=settings.progress, stream=sys.stderr)
    emit_receipt(receipt, output_format)


def _url(text: str) -> str:
    return text if "://" in text else Path(text).absolute().as_uri()
