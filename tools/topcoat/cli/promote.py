"""``topcoat promote``: move the floating tag of a whole set of images, all or nothing.

This module must never touch a registry by itself; ``topcoat.promotion`` does.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

import click

from topcoat.cli._context import Settings, dry_run_option, emit, format_option
from topcoat.cli._selection import selection_options
from topcoat.errors import UsageError

if TYPE_CHECKING:
    from topcoat.promotion import Criteria, Outcome, Place
    from topcoat.recipes import Selection
    from topcoat.registry import Manifest
    from topcoat.trunk import DlrnApi, DlrnPromotion


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
@click.option("--without-inventories", is_flag=True, help="Do not ask for an attached inventory with each image.")
@click.option("--older", is_flag=True, help="The tag may go back to a set that is older than what it shows.")
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
    without_inventories: bool,
    older: bool,
    wait: float,
    rollback: bool,
    output: str | None,
    dry_run: bool,
    output_format: str,
) -> None:
    """Promote a whole set of images to a floating tag, registry-side, all or nothing."""
    from topcoat.errors import TopcoatError
    from topcoat.promotion import Promoter, Request, Target
    from topcoat.report import load

    name = name or settings.profile.reference_tag
    images = selection.of(settings.recipes)
    places = [_own_place(settings, images), *(_other_place(settings, images, text) for text in also)]
    names = [str(place) for place in places]
    if len(set(names)) < len(names):
        raise UsageError(f"one place is named twice: {', '.join(names)}", next_step="--also takes further registries or namespaces")
    targets = [Target(place, settings.registries.client(place.host)) for place in places]
    promoter = Promoter(targets, say=lambda line: click.echo(line, err=True))
    try:
        if rollback:
            if source or criteria_file:
                raise UsageError("--rollback takes neither --from nor --criteria", next_step="it goes back to the recorded set")
            outcome = promoter.rollback(name, dry_run=dry_run, wait_seconds=wait)
        else:
            api = _dlrn(settings, dlrn) if dlrn else None
            criteria = _criteria(settings, criteria_file, name, api)
            candidate = _candidate(api, criteria, source)
            if source is None and candidate is None:
                emit({"state": "unchanged", "name": name}, output_format, f"{name}: nothing newer to promote")
                return
            request = Request(
                source or (candidate.tag if candidate else ""),
                name,
                load(Path(receipt_file)) if receipt_file else None,
                not without_inventories,
                wait,
                not selection.is_everything,
                older,
            )
            outcome = promoter.promote(
                request,
                allowed=_rule(api, criteria, candidate),
                examine=_signature_check(settings, places[0], asked_signatures),
                prepare=_copier(settings, places, request.source),
                announce=_announcement(api, candidate, name),
                dry_run=dry_run,
            )
    except TopcoatError as error:
        _write(output, {"state": "failed", "name": name, "source": source, "error": error.as_dict()})
        raise
    _write(output, outcome.as_dict())
    emit(outcome.as_dict(), output_format, _sentence(outcome))


def _own_place(settings: Settings, images: tuple[str, ...]) -> Place:
    return _place(settings, settings.profile.registry, settings.profile.namespace, images)


def _place(settings: Settings, host: str, namespace: str, images: Iterable[str]) -> Place:
    from dataclasses import replace

    from topcoat.lists import old_names
    from topcoat.promotion import Place

    profile = replace(settings.profile, namespace=namespace)
    images = tuple(images)
    aliases = tuple((old, image) for image, names in old_names(settings.recipes_dir, images).items() for old in names)
    names = (*images, *(old for old, _image in aliases))
    return Place(host, namespace, tuple((name, profile.repository_of(name)) for name in names), aliases)


def _other_place(settings: Settings, images: tuple[str, ...], text: str) -> Place:
    host, _, namespace = text.partition("/")
    if not host:
        raise UsageError(f"--also wants HOST/NAMESPACE, not {text!r}", next_step="write quay.example.org/rdo")
    return _place(settings, host, namespace, images)


def _dlrn(settings: Settings, url: str) -> DlrnApi:
    from topcoat.registry import Credentials
    from topcoat.trunk import DlrnApi

    login = Credentials.from_authfile(settings.authfile).find(urlsplit(url).netloc) if settings.authfile else None
    return DlrnApi(url, login=(login.user, login.password) if login else None, ca_file=settings.ca_file)


def _criteria(settings: Settings, given: str | None, name: str, api: DlrnApi | None) -> Criteria | None:
    """The rule of a floating name: from the file given, else from that of the profile."""
    from topcoat.promotion import load_criteria

    if api is None:
        if given:
            raise UsageError("criteria are judged by votes, so --criteria needs --dlrn", next_step="give the URL of the DLRN API")
        return None
    path = Path(given) if given else settings.recipes_dir / "criteria" / f"{settings.profile.name}.yaml"
    if not given and not path.is_file():
        return None
    rules = load_criteria(path)
    if name not in rules:
        raise UsageError(f"{path} has no criteria for {name!r}", next_step=f"it has: {', '.join(sorted(rules))}")
    return rules[name]


def _candidate(api: DlrnApi | None, criteria: Criteria | None, source: str | None) -> DlrnPromotion | None:
    from topcoat.promotion import candidates

    if source is None:
        if api is None or criteria is None:
            raise UsageError("what shall be promoted?", next_step="give --from TAG, or --dlrn and --criteria")
        return candidates.newest(api, criteria, now=time.time(), say=lambda line: click.echo(line, err=True))
    if api is None:
        return None
    if criteria is None:
        raise UsageError("with --dlrn the candidate's name is needed", next_step="give --criteria too, or write criteria/PROFILE.yaml")
    return candidates.by_tag(api, criteria, source)


def _rule(api: DlrnApi | None, criteria: Criteria | None, candidate: DlrnPromotion | None) -> Callable[[], None]:
    def allowed() -> None:
        if api and criteria and candidate:
            from topcoat.promotion import candidates

            click.echo(candidates.require(api, criteria, candidate, now=time.time()).sentence, err=True)

    return allowed


def _signature_check(settings: Settings, place: Place, asked: str | None) -> Callable[[Mapping[str, Manifest]], None]:
    """Reads the package databases of the set, where signatures are required; nothing else asks for a layer."""

    def examine(manifests: Mapping[str, Manifest]) -> None:
        if (asked or settings.profile.promote_signatures) != "required":
            return
        from topcoat.model import ImageReference
        from topcoat.runs.signatures import require_signed

        own = dict(place.repositories)
        client = settings.registries.client(place.host)
        images = {
            image: (ImageReference(place.host, own[image], digest=manifest.digest), client.image(own[image], manifest.digest)[1])
            for image, manifest in manifests.items()
        }
        require_signed(images, settings.registries, settings.profile)

    return examine


def _announcement(api: DlrnApi | None, candidate: DlrnPromotion | None, name: str) -> Callable[[], None]:
    def announce() -> None:
        if api and candidate:
            api.promote(candidate.hash, name)

    return announce


def _copier(settings: Settings, places: list[Place], tag: str) -> Callable[[Mapping[str, Manifest]], None]:
    """Brings the set into the further registries, and renamed images under their old names; what is there already costs one request an image."""

    def copy(manifests: Mapping[str, Manifest]) -> None:
        from topcoat.model import ImageReference
        from topcoat.publisher import Publisher

        own = dict(places[0].repositories)
        aliases = dict(places[0].aliases)
        Publisher(settings.registries).copy_set(
            [
                (
                    ImageReference(places[0].host, own[aliases.get(image, image)], digest=manifests[image].digest),
                    ImageReference(place.host, repository, tag),
                )
                for number, place in enumerate(places)
                for image, repository in place.repositories
                if number or image in aliases
            ]
        )

    return copy


def _write(path: str | None, data: object) -> None:
    if path:
        import json

        Path(path).parent.mkdir(parents=True, exist_ok=True)
        Path(path).write_text(json.dumps(data, indent=2) + "\n", encoding="utf-8")


def _sentence(outcome: Outcome) -> str:
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
