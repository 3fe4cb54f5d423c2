"""``topcoat promote``: move the floating tag of a whole set of images, all or nothing.

This module must never touch a registry by itself; ``topcoat.promotion`` does.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING

import click

from topcoat.cli._context import Settings, dry_run_option, emit, format_option, say
from topcoat.cli._selection import selection_options
from topcoat.cli._signing import key_options
from topcoat.errors import UsageError

if TYPE_CHECKING:
    from topcoat.promotion import Promoted
    from topcoat.recipes import Selection
    from topcoat.signing import Identity, SigningKey


@click.command()
@selection_options
@click.option(
    "--from", "source", metavar="TAG", help="Tag to promote: a trunk hash or a buildset. Without it: DLRN's newest candidate that meets the criteria."
)
@click.option("--to", "name", metavar="NAME", help="Floating tag to move, instead of the profile's reference tag.")
@click.option("--receipt", "receipt_file", metavar="FILE", help="Receipt of the run that made the set; its digests must be what the registry shows.")
@click.option("--criteria", "criteria_file", metavar="FILE", help="Promotion criteria; needs --dlrn.  [default: criteria/PROFILE.yaml]")
@click.option("--dlrn", metavar="URL", help="DLRN API: votes are read there, and it is told last.")
@click.option(
    "--also",
    "also",
    multiple=True,
    metavar="HOST/NAMESPACE",
    help="Promote there too, as one step; missing images are copied first. May be repeated.",
)
@click.option(
    "--signatures",
    "asked_signatures",
    type=click.Choice(["required", "optional"]),
    help="required: refuse a set that holds a package which no key of the profile signed.  [default: the profile's promote_signatures]",
)
@key_options(required=False)
@click.option("--verifier", metavar="URI", help="Who judged, as a URI that policies trust: the Zuul of your site; for the summary that is signed.")
@click.option("--without-inventories", is_flag=True, help="Do not ask for an attached inventory with each image.")
@click.option("--older", is_flag=True, help="The tag may go back to a set that is older than what it shows.")
@click.option("--override", metavar="REASON", help="Promote although the criteria are not met; the reason is kept for ever. Needs --from and --dlrn.")
@click.option("--wait", default=0.0, metavar="SECONDS", help="How long to wait for another promoter of the same name.")
@click.option("--rollback", is_flag=True, help="Bring the set back that was there before the last promotion.")
@click.option("--output", metavar="FILE", help="Write what was done (JSON), whatever happens.")
@dry_run_option
@format_option
@click.pass_obj
def command(
    settings: Settings,
    selection: Selection,
    source: str | None,
    name: str | None,
    receipt_file: str | None,
    criteria_file: str | None,
    dlrn: str | None,
    also: tuple[str, ...],
    asked_signatures: str | None,
    key: SigningKey | Identity | None,
    verifier: str | None,
    without_inventories: bool,
    older: bool,
    override: str | None,
    wait: float,
    rollback: bool,
    output: str | None,
    dry_run: bool,
    output_format: str,
) -> None:
    """Promote a whole set of images to a floating tag, registry-side, all or nothing."""
    from topcoat.model import PromotionRequest
    from topcoat.report import load
    from topcoat.sets.promoting import Promotable, Promoting, recorded, unchanged

    name = name or settings.profile.reference_tag
    promotable = Promotable(settings.registries, settings.profile, settings.recipes_dir, selection.of(settings.set_recipes), also)
    promoting = Promoting(promotable, work=settings.work_dir, say=say)

    def record(data: Mapping[str, object]) -> None:
        if output:
            Path(output).parent.mkdir(parents=True, exist_ok=True)
            Path(output).write_text(json.dumps(data, indent=2) + "\n", encoding="utf-8")

    with recorded(name, source, record):
        request = PromotionRequest(
            name,
            source,
            receipt=load(Path(receipt_file)) if receipt_file else None,
            criteria=Path(criteria_file) if criteria_file else None,
            dlrn=dlrn,
            inventories=not without_inventories,
            wait_seconds=wait,
            partial=not selection.is_everything,
            older=older,
            override=override,
        )
        if rollback:
            if source or criteria_file:
                raise UsageError("--rollback takes neither --from nor --criteria", next_step="it goes back to the recorded set")
            if key:
                raise UsageError("--rollback signs nothing: its set was signed when it was promoted", next_step="leave --sign-key out")
            outcome: Promoted | None = promoting.rollback(request, dry_run=dry_run, record=record)
        else:
            signed = (asked_signatures or settings.profile.promote_signatures) == "required"
            outcome = promoting.run(request, signed=signed, key=key, verifier=verifier, dry_run=dry_run, record=record)
    if outcome is None:
        emit(unchanged(request), output_format, f"{request.name}: nothing newer to promote")
    else:
        emit(outcome.as_dict(), output_format, outcome.text())
