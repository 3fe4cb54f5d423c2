"""``topcoat sbom``: the bill of materials of an image."""

from __future__ import annotations

from datetime import datetime
from pathlib import Path

import click

from topcoat.cli._context import Settings, dry_run_option


@click.command()
@click.argument("image", metavar="IMAGE")
@click.option(
    "--sbom-format", type=click.Choice(["cyclonedx", "spdx"]), default="cyclonedx", show_default=True, help="CycloneDX 1.6 or SPDX 2.3, as JSON."
)
@click.option("--output", metavar="FILE", help="Write to a file instead of standard output.")
@click.option("--attach", is_flag=True, help="Store it in the registry, attached to the image.")
@dry_run_option
@click.pass_obj
def command(settings: Settings, image: str, sbom_format: str, output: str | None, attach: bool, dry_run: bool) -> None:
    """Print the bill of materials of an image (host/repository:tag or @digest), made from its inventory without pulling it."""
    from topcoat.errors import UsageError
    from topcoat.model import ImageReference
    from topcoat.registry.oci import Descriptor
    from topcoat.report import sbom
    from topcoat.report.document import write_atomically
    from topcoat.runs.references import ImageReader

    reader = ImageReader(settings.registries, settings.work_dir / "cache" / "images")
    reference = ImageReference.parse(image)
    stored = reader.find(reference)
    if stored is None:
        raise UsageError(f"the registry has no image {image}", next_step="check the name and the tag")
    created = str(stored.image.config.get("created") or "1970-01-01T00:00:00Z")
    moment = datetime.fromisoformat(created[:19] + "+00:00").timestamp()
    pinned = ImageReference(reference.host, reference.repository, reference.tag, stored.digest)
    subject = sbom.Subject(pinned, moment, settings.profile.distro)
    materials = [sbom.Material(package.nevra, package.source_rpm) for package in reader.inventory(stored).packages]
    text = sbom.cyclonedx(subject, materials) if sbom_format == "cyclonedx" else sbom.spdx(subject, materials)
    if attach and dry_run:
        click.echo(f"would attach {len(text)} bytes to {stored.reference}", err=True)
    elif attach:
        kind = sbom.CYCLONEDX_TYPE if sbom_format == "cyclonedx" else sbom.SPDX_TYPE
        manifest = stored.manifest
        target = Descriptor(manifest.media_type, manifest.digest, len(manifest.body))
        digest = settings.registries.client(reference.host).attach(reference.repository, target, kind, {f"sbom.{sbom_format}.json": text.encode()})
        click.echo(f"attached {digest} to {stored.reference}", err=True)
    if output and not dry_run:
        write_atomically(Path(output), text)
    elif not output and not attach:
        click.echo(text, nl=False)
