"""``topcoat verify``: whether built images keep the contract: program, user, accounts, modes, labels, leftovers; and who signed what is inside.

This module must never start a service.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

from topcoat.cli import _complete
from topcoat.cli._context import Settings, emit, format_option

if TYPE_CHECKING:
    from topcoat.inspection.remote import RemoteImages
    from topcoat.inspection.targets import ImageToInspect


@click.command()
@click.argument("images", nargs=-1, metavar="[IMAGE]...", shell_complete=_complete.images)
@click.option("--tag", help="Tag of images that are named by recipe, instead of the profile's reference tag.")
@click.option("--allow", multiple=True, metavar="PATTERN", help="Setuid or world-writable path to accept, no leading slash; may be repeated.")
@click.option("--run", "also_run", is_flag=True, help="Also pull each image and ask its program for the version, with podman; no service is started.")
@click.option(
    "--signatures", "with_signatures", is_flag=True, help="Also check the signatures of installed packages against the keys that the profile names."
)
@click.option(
    "--signed",
    "signed_by",
    metavar="FILE",
    help="Also ask skopeo whether each image is signed as it must be: by a public key (PEM), or as a policy.json of podman says.",
)
@format_option
@click.pass_obj
def command(
    settings: Settings,
    images: tuple[str, ...],
    tag: str | None,
    allow: tuple[str, ...],
    also_run: bool,
    with_signatures: bool,
    signed_by: str | None,
    output_format: str,
) -> None:
    """Check built images: references, or regular expressions for recipe names (none: every recipe). Exit 1 when a promise is broken."""
    from topcoat.errors import ContentError
    from topcoat.inspection import check
    from topcoat.inspection.remote import RemoteImages
    from topcoat.inspection.running import Probe
    from topcoat.inspection.targets import ancestors, targets

    remote = RemoteImages(settings.registries, settings.profile.platform)
    rows: list[dict[str, object]] = []
    lines: list[str] = []
    wanted = targets(images, recipes=settings.recipes, profile=settings.profile, tag=tag or settings.profile.reference_tag)

    def verified(target: ImageToInspect) -> dict[str, object]:
        image = remote.image(target.reference)
        tree = remote.tree(target.reference, image)
        above = ancestors(target.recipe, settings.recipes) if target.recipe else []

        def owned(names: frozenset[str]) -> frozenset[str]:
            return remote.owned(target.reference, image, names)

        found = check(tree, image.config.get("config") or {}, recipe=target.recipe, ancestors=above, allow=allow, owned=owned)
        problems = [{"code": problem.code, "sentence": problem.sentence} for problem in found]
        row: dict[str, object] = {"name": target.name, "reference": str(target.reference), "known": target.recipe is not None, "problems": problems}
        config = image.config.get("config") or {}
        if probe is not None and config.get("Entrypoint"):
            try:
                code, line = probe.version(target.reference, config["Entrypoint"][0], config.get("User") or "")
                row["ran"] = {"exit": code, "output": line}
            except ContentError as error:
                problems.append({"code": "run", "sentence": error.what})
        return row

    probe = None
    if also_run:
        probe = Probe(settings.work_dir / "verify", authfile=settings.authfile, ca_file=settings.ca_file, plain_http=settings.plain_http)
    try:
        rows += [verified(target) for target in wanted]
    finally:
        if probe is not None:
            probe.close()
    if with_signatures:
        _add_signatures(settings, remote, wanted, rows)
    if signed_by:
        _add_signed(settings, remote, wanted, rows, Path(signed_by))
    for row in rows:
        problems: list[dict[str, str]] = row["problems"]  # type: ignore[assignment]
        lines.append(f"{'ok  ' if not problems else 'FAIL'}  {row['name']}{_ran(row)}")
        lines += [f"      {problem['code']}: {problem['sentence']}" for problem in problems]
        lines += [f"      signatures: {note}" for note in row.get("notes", ())]  # type: ignore[attr-defined]
    broken = [row for row in rows if row["problems"]]
    lines.append(f"{len(rows) - len(broken)} of {len(rows)} images keep the contract.")
    emit({"images": rows}, output_format, "\n".join(lines))
    if broken:
        click.get_current_context().exit(1)


def _add_signatures(settings: Settings, remote: RemoteImages, wanted: list[ImageToInspect], rows: list[dict[str, object]]) -> None:
    """What is wrong is a problem; unsigned packages and unknown keys are one where no repository of the profile would accept them, else a note."""
    from topcoat.runs import signatures

    strict = settings.profile.promote_signatures == "required" or not signatures.accepts_unsigned(settings.profile)
    keyring = signatures.profile_keyring(settings.profile)
    try:
        images = {str(target.reference): (target.reference, remote.image(target.reference)) for target in wanted}
        found = signatures.examine(images, settings.registries, keyring)
    finally:
        keyring.close()
    for row in rows:
        signers = found[str(row["reference"])]
        row["signatures"] = signers.as_dict()
        wrong = len(signers.wrong)
        for number, line in enumerate(signers.faults()):
            if strict or number < wrong:
                row["problems"].append({"code": "signature", "sentence": line})  # type: ignore[attr-defined]
            else:
                row.setdefault("notes", []).append(line)  # type: ignore[attr-defined]


def _add_signed(settings: Settings, remote: RemoteImages, wanted: list[ImageToInspect], rows: list[dict[str, object]], file: Path) -> None:
    """Whoever gives a key gets our own words for what is missing, beside the judgement of the code that podman runs."""
    from topcoat.signing.check import SignedCheck

    with SignedCheck(
        settings.registries,
        settings.profile.platform,
        file,
        [target.reference for target in wanted],
        authfile=settings.authfile,
        ca_file=settings.ca_file,
        plain_http=settings.plain_http,
    ) as check:
        for target, row in zip(wanted, rows, strict=True):
            found = check.of(target.reference, remote.image(target.reference).layers)
            row["problems"] += [{"code": "signed", "sentence": sentence} for sentence in found.problems]  # type: ignore[operator]
            if found.note:
                row.setdefault("notes", []).append(found.note)  # type: ignore[attr-defined]


def _ran(row: dict[str, object]) -> str:
    """What the program said, where it was asked."""
    ran = row.get("ran")
    if not isinstance(ran, dict):
        return ""
    return f"  {ran['output'] or 'no output'}" + (
        "" if ran["exit"] == 0 else "  (keeps running)" if ran["exit"] is None else f"  (exit {ran['exit']})"
    )
