"""``topcoat base``: a newer base image, checked, mirrored and pinned.

This module must never pin an image that did not pass its checks.
"""

from __future__ import annotations

import contextlib
from pathlib import Path

import click

from topcoat.cli._context import Settings, dry_run_option, emit, format_option
from topcoat.errors import ContentError, UsageError
from topcoat.model import ImageReference


@click.command()
@click.option(
    "--mirror",
    "mirror_to",
    metavar="HOST/REPOSITORY",
    help="Copy the base there, so that it cannot vanish upstream.  [default: the profile's mirror]",
)
@click.option("--write", is_flag=True, help="Write the new pin into the profile.")
@click.option("--commit", is_flag=True, help="Write it and make a git commit of it.")
@click.option("--growth", default=1.5, show_default=True, help="Largest accepted ratio between the new and the pinned image's size, either way.")
@click.option("--profile-file", metavar="FILE", help="The profile's file, when it does not lie under container-images/profiles.")
@dry_run_option
@format_option
@click.pass_obj
def command(
    settings: Settings,
    mirror_to: str | None,
    write: bool,
    commit: bool,
    growth: float,
    profile_file: str | None,
    dry_run: bool,
    output_format: str,
) -> None:
    """Look whether the tag of the profile's base image shows a newer digest; check, mirror and pin it."""
    from topcoat.promotion import base_image

    if growth <= 1:
        raise UsageError("--growth must be above 1", next_step="1.5 accepts half as much again")
    profile = settings.profile
    if not profile.base.image and settings.recipes:  # which is an error where one of them needs a base
        emit({"image": None, "changed": False}, output_format, "the profile has no base image and no image needs one: nothing to look after")
        return
    mirror_to = mirror_to or profile.base.mirror
    report = base_image.examine(settings.registries, profile.base.image, profile.base.digest, platform=profile.platform, growth=growth)
    data = {**report.__dict__, "problems": list(report.problems), "changed": report.changed, "mirrored": None, "written": None}
    keep = ImageReference.parse(mirror_to) if mirror_to and not dry_run else None
    if keep and report.pinned and report.changed:
        # whatever becomes of the new one, this one is in use; where upstream has removed it only the new one can help
        with contextlib.suppress(ContentError):
            base_image.mirror(settings.registries, report.image, report.pinned, keep)
    if report.problems:
        raise ContentError(
            f"{report.image} shows {report.newest}, which cannot be a base: {'; '.join(report.problems)}",
            next_step="stay with the pinned digest and tell the image's owners",
        )
    lines = [f"{report.image} is {report.newest}" + ("" if report.changed else ", as pinned")]
    if report.changed:
        lines.append(f"pinned is {report.pinned or '(nothing)'}; the new one has a shell, an RPM database and a package manager, {report.size} bytes")
    if keep:
        data["mirrored"] = str(base_image.mirror(settings.registries, report.image, report.newest, keep))
        lines.append(f"mirrored to {data['mirrored']}")
    if report.changed and (write or commit) and not dry_run:
        path = Path(profile_file) if profile_file else _profile_path(settings)
        base_image.write_pin(path, report.newest)
        data["written"] = str(path)
        lines.append(f"written to {path}")
        if commit:
            _commit(path, report.image, report.pinned, report.newest)
            lines.append("committed")
    emit(data, output_format, "\n".join(lines))


def _profile_path(settings: Settings) -> Path:
    name = settings.profile_name
    path = Path(name) if "/" in name or name.endswith(".yaml") else settings.recipes_dir / "profiles" / f"{name}.yaml"
    if not path.is_file():
        raise UsageError(f"no such profile file: {path}", next_step="give it with --profile-file")
    return path


def _commit(path: Path, image: str, old: str | None, new: str) -> None:
    from topcoat.process.git import Git, identity

    checked = f"{image} shows a newer image; shell, RPM database, package manager and size were checked."
    message = f"Pin the base image to {new[7:19]}\n\n{checked}\n\nold: {old or '(none)'}\nnew: {new}"
    git = Git(path.resolve().parent, seconds=60)
    known = git.run("config", "user.email", check=False).output.strip()
    git("add", "--", path.name)
    # a node has no identity
    git.run("commit", "-q", "-m", message, "--", path.name, environment={} if known else identity("Topcoat", "topcoat@localhost"))
