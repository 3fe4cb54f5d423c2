"""``topcoat promote``: move the floating tag of a whole set of images, all or nothing.

This module must never touch a registry by itself; ``topcoat.promotion`` does.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from topcoat.cli._context import Settings, dry_run_option, emit, format_option
from topcoat.cli._selection import selection_options
from topcoat.cli._signing import key_options
from topcoat.errors import UsageError

if TYPE_CHECKING:
    from topcoat.model import ImageReference
    from topcoat.promotion import Promoted
    from topcoat.promotion.promotion import Examine, Judgement, Promotion, Sign
    from topcoat.recipes import Selection
    from topcoat.signing import SigningKey
    from topcoat.signing.summary import Judged


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
    key: SigningKey | None,
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
    from topcoat.errors import TopcoatError
    from topcoat.promotion.promoter import SCHEMA
    from topcoat.promotion.promotion import Promotion, Wish
    from topcoat.report import load

    name = name or settings.profile.reference_tag
    promotion = Promotion(
        settings.registries,
        settings.profile,
        settings.recipes_dir,
        selection.of(settings.set_recipes),
        also=also,
        authfile=settings.authfile,
        ca_file=settings.ca_file,
        say=lambda line: click.echo(line, err=True),
    )
    signed = (asked_signatures or settings.profile.promote_signatures) == "required"
    try:
        if rollback:
            if source or criteria_file:
                raise UsageError("--rollback takes neither --from nor --criteria", next_step="it goes back to the recorded set")
            if key:
                raise UsageError("--rollback signs nothing: its set was signed when it was promoted", next_step="leave --sign-key out")
            outcome: Promoted | None = promotion.rollback(name, dry_run=dry_run, wait_seconds=wait)
        else:
            wish = Wish(
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
            outcome = promotion.run(wish, examine=_signed(settings) if signed else None, sign=_signer(settings, key, verifier), dry_run=dry_run)
    except TopcoatError as error:
        _write(output, {"schema": SCHEMA, "state": "failed", "name": name, "source": source, "error": error.as_dict()})
        raise
    if outcome is None:
        emit({"schema": SCHEMA, "state": "unchanged", "name": name, "source": source}, output_format, f"{name}: nothing newer to promote")
        return
    _write(output, outcome.as_dict())  # before anything else is asked: what happened is on record
    shape = _settle(settings, promotion, outcome)
    if shape:
        _write(output, {**outcome.as_dict(), "changes": shape})
    emit(outcome.as_dict(), output_format, _sentence(outcome))


def _signed(settings: Settings) -> Examine:
    """Reads the package databases of the set; nothing else asks for a layer."""
    from topcoat.runs.signatures import require_signed

    return lambda images: require_signed(images, settings.registries, settings.profile)


def _signer(settings: Settings, key: SigningKey | None, verifier: str | None) -> Sign | None:
    """Signs the set with the key that was given, and where criteria were judged what they said of it."""
    if key is None:
        if verifier:
            raise UsageError("--verifier is for the summary that a key signs", next_step="name the key with --sign-key")
        return None
    from topcoat.signing import Signer, summary

    def sign(images: Sequence[ImageReference], judgement: Judgement | None) -> None:
        new = sum(image.new for image in Signer(settings.registries, key).sign(images))
        click.echo(f"{len(images)} images are signed with {key.public.name}, {new} signatures are new", err=True)
        if judgement:
            summary.attest(settings.registries, key, _judged(judgement), images, verifier=verifier or summary.VERIFIER)

    return sign


def _judged(judgement: Judgement) -> Judged:
    from dataclasses import asdict

    from topcoat.promotion.history import notes
    from topcoat.signing.summary import Judged

    verdict = judgement.verdict
    rule = asdict(judgement.criteria) | {"too_old": judgement.criteria.too_old.value}
    jobs = [asdict(job) for job in notes(verdict.jobs)]
    return Judged(judgement.name, judgement.source, verdict.passed, verdict.sentence, rule, jobs, judgement.moment, judgement.override)


def _settle(settings: Settings, promotion: Promotion, outcome: Promoted) -> dict[str, Any] | None:
    """What follows a promotion that moved something."""
    from topcoat.sets import SetReader, promoted

    reader = SetReader(settings.registries, settings.work_dir, settings.profile.platform)
    return promoted.settle(outcome, promotion.histories, reader, settings.registries, settings.profile, say=lambda line: click.echo(line, err=True))


def _write(path: str | None, data: object) -> None:
    if path:
        import json

        Path(path).parent.mkdir(parents=True, exist_ok=True)
        Path(path).write_text(json.dumps(data, indent=2) + "\n", encoding="utf-8")


def _sentence(outcome: Promoted) -> str:
    where = ", ".join(outcome.places)
    lines = list(outcome.recovered)
    if outcome.state == "would-promote":
        lines += [f"{row['image']}: {row['from'] or '(none)'} -> {row['to'] or '(removed)'}" for row in outcome.changes]
        lines.append(f"would move {outcome.name} of {outcome.moved} images to {outcome.source} in {where}")
    elif outcome.state == "unchanged":
        lines.append(f"{outcome.name} is {outcome.source} already, {outcome.images} images in {where}")
    elif outcome.state == "rolled-back":
        lines.append(
            f"{outcome.name} is back at {outcome.source}, {outcome.moved} of {outcome.images} images moved in {where}, {outcome.seconds:.1f} s"
        )
    else:
        before = f" (was {outcome.previous_source})" if outcome.previous_source else ""
        lines.append(
            f"{outcome.name} is {outcome.source} now{before}: {outcome.moved} of {outcome.images} images moved in {where}, {outcome.seconds:.1f} s"
        )
    return "\n".join(lines)
