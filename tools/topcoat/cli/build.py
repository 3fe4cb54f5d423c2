"""``topcoat build``: do what the plan says, push, prove, write the receipt."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING

import click

from topcoat.cli._context import Settings, dry_run_option, emit_plan, emit_receipt, format_option
from topcoat.cli._selection import Sources, request_of, selection_options, source_options, under_test
from topcoat.errors import UsageError

if TYPE_CHECKING:
    from topcoat.recipes import Selection


@click.command()
@selection_options
@source_options
@click.option("--tag", required=True, help="Unique tag of this run: the buildset of a review, the hash of a periodic run.")
@click.option("--floating-tag", "floating_tags", multiple=True, metavar="TAG", help="Tag that moves to the whole set at the end; may be repeated.")
@click.option("--plan", "plan_file", metavar="FILE", help="A plan made before: the run fails if it would be another one now.")
@click.option("--locked", metavar="DIR", help="Folder of 'topcoat lock': the run fails where an image would take a package that is not locked.")
@click.option("--receipt", "receipt_file", metavar="FILE", help="Where the receipt goes.  [default: WORK_DIR/receipt.json]")
@click.option("--logs-dir", metavar="DIR", help="Folder of the logs, one an image.  [default: WORK_DIR/logs]")
@click.option("--events", "events_file", metavar="FILE", help="Also write every event as a line of JSON.")
@click.option("--threads", "-T", default=0, metavar="N", help="Images worked on at a time.  [default: one a core]")
@click.option("--build-way", type=click.Choice(["auto", "containerfile", "direct"]), default="auto", show_default=True, help="How images are made.")
@click.option(
    "--update-way",
    type=click.Choice(["auto", "transaction"]),
    default="auto",
    show_default=True,
    help="How updates are made; auto: composed without the image where that is proven to be the same, else by a transaction on it.",
)
@click.option("--only", multiple=True, type=click.Choice(["build", "update", "reuse"]), help="Only these actions of the plan; may be repeated.")
@click.option("--shard", metavar="N/M", help="Only part N of M of the plan; all parts meet in the registry.")
@click.option("--fail-fast", is_flag=True, help="Start nothing new after the first failure.")
@click.option("--no-coverage", is_flag=True, help="Leave the proof to 'topcoat coverage' (shards, selections).")
@click.option(
    "--sbom",
    type=click.Choice(["none", "spdx", "cyclonedx", "both"]),
    default="spdx",
    show_default=True,
    help="Bill of materials to attach to each image that is built or updated.",
)
@click.option("--zuul", "--zuul-items", "zuul_file", metavar="FILE", help="What Zuul handed over, for the receipt: an inventory or its variables.")
@dry_run_option
@format_option
@click.pass_obj
def command(
    settings: Settings,
    selection: Selection,
    sources: Sources,
    tag: str,
    floating_tags: tuple[str, ...],
    plan_file: str | None,
    locked: str | None,
    receipt_file: str | None,
    logs_dir: str | None,
    events_file: str | None,
    threads: int,
    build_way: str,
    update_way: str,
    only: tuple[str, ...],
    shard: str | None,
    fail_fast: bool,
    no_coverage: bool,
    sbom: str,
    zuul_file: str | None,
    dry_run: bool,
    output_format: str,
) -> None:
    """Build, update or re-tag every selected image as the plan says, push it under a unique tag, prove it, and write a receipt."""
    from contextlib import nullcontext
    from dataclasses import replace

    from topcoat.model import Action
    from topcoat.report import console, document
    from topcoat.runs import bills
    from topcoat.runs.planning import decide
    from topcoat.runs.run import recorded, run
    from topcoat.runs.shards import parse_shard

    if dry_run:
        request = request_of(settings, selection, sources)
        emit_plan(decide(request, registries=settings.registries, work=settings.work_dir).plan, output_format)
        return
    if settings.profile.architectures and floating_tags:
        raise UsageError(
            "a run for one of several architectures moves no floating tag",
            next_step="join the architectures with 'topcoat index', then promote the set",
        )
    options = settings.run_options(
        tag=settings.profile.run_tag(tag),
        floating_tags=floating_tags,
        expected_plan=Path(plan_file) if plan_file else None,
        locks=Path(locked) if locked else None,
        **({"receipt": Path(receipt_file)} if receipt_file else {}),
        **({"logs": Path(logs_dir).absolute()} if logs_dir else {}),
        events=Path(events_file) if events_file else None,
        workers=threads,
        way=build_way,
        update_way=update_way,
        keep_going=not fail_fast,
        check_coverage=not no_coverage and shard is None,
        only=frozenset(Action(word) for word in only) or frozenset(Action),
        shard=parse_shard(shard) if shard else None,
        zuul=under_test(Path(zuul_file)) if zuul_file else {},
        bills=bills.CHOICES[sbom],
    )
    # bad input writes nothing, but it may not leave an earlier receipt to speak for this run
    with recorded(options, settings.profile_name, settings.recipes_dir) if options.receipt.exists() else nullcontext():
        request = request_of(settings, selection, sources)
        options = replace(options, old_names={name: names for name, names in settings.old_names.items() if name in settings.recipes})
    try:
        receipt = run(request, options, registries=settings.registries, progress_mode=settings.progress, stream=sys.stderr)
    except BaseException:
        if options.receipt.is_file() and output_format == "text":
            console.show(document.load(options.receipt))
        raise
    emit_receipt(receipt, output_format)
