"""``topcoat consume``: pull what a provider returned, by digest, and prove it; or prove what containers and pods run."""

from __future__ import annotations

import json
import shutil
import tempfile
from dataclasses import asdict
from pathlib import Path

import click

from topcoat.cli._context import Settings, emit, format_option
from topcoat.cli._selection import images_handed_over
from topcoat.errors import UsageError


@click.command()
@click.argument("images", nargs=-1, metavar="[IMAGE...]")
@click.option("--zuul", "--artifacts", "artifacts", metavar="FILE", help="What Zuul handed over: its variables, or the list zuul.artifacts.")
@click.option("--receipt", metavar="FILE", help="Receipt of the run that published the images.")
@click.option("--pull/--no-pull", default=True, help="Pull first, or only prove what the storage holds.")
@click.option("--running", is_flag=True, help="Prove running containers instead of the storage; a named IMAGE must be running.")
@click.option(
    "--pods",
    "pods_file",
    metavar="FILE",
    help="Prove the pods of a cluster, as 'kubectl get nodes,pods --all-namespaces -o json' prints them; a named IMAGE must be running.",
)
@click.option(
    "--mirror",
    "mirror_words",
    multiple=True,
    metavar="SOURCE=MIRROR",
    help="Pods name images of SOURCE as those of MIRROR (host/path); may be repeated. A mirror that ends in the same path is known.",
)
@click.option("--output", metavar="FILE", help="Write the result as JSON: references by image name.")
@click.option("--jobs", default=4, show_default=True, help="Pulls at the same time.")
@click.option("--storage-root", metavar="DIR", help="Folder of the container storage, instead of the system's.")
@click.option("--storage-runroot", metavar="DIR", help="Its folder for running state.")
@format_option
@click.pass_obj
def command(
    settings: Settings,
    images: tuple[str, ...],
    artifacts: str | None,
    receipt: str | None,
    pull: bool,
    running: bool,
    pods_file: str | None,
    mirror_words: tuple[str, ...],
    output: str | None,
    jobs: int,
    storage_root: str | None,
    storage_runroot: str | None,
    output_format: str,
) -> None:
    """Pull images by the digests that a provider returned, for the profile's platform, and prove that the storage holds or containers run these.

    With --pods nothing is pulled: each container of a cluster that has an image of the set must run its digest; of an index the child of the node
    that it runs on is named.
    """
    from topcoat import consumer
    from topcoat.report.document import load_finished

    if bool(artifacts) == bool(receipt):
        raise UsageError("the images come from --zuul or from --receipt, one of them", next_step="name one file")
    if running and pods_file:
        raise UsageError("--running is of this node, --pods of a cluster", next_step="give one of them")
    # What runs is proved for every image of the set; the named ones must be among it.
    wanted = () if running or pods_file else images
    if artifacts:
        expected = consumer.expected_from_artifacts(images_handed_over(Path(artifacts)), wanted)
    else:
        expected = consumer.expected_from_receipt(load_finished(Path(str(receipt))), wanted)
    if pods_file:
        result, lines, end = consumer.proved_pods(
            expected, Path(pods_file), settings.registries, platform=settings.profile.platform, mirror_words=mirror_words, required=images
        )
        if output:
            Path(output).write_text(json.dumps(result, indent=1) + "\n", encoding="utf-8")
        emit(result, output_format, "\n".join(lines))
        if end:
            raise end
        return
    with tempfile.TemporaryDirectory(prefix="topcoat-certificates-") as certificates:
        if settings.ca_file:
            shutil.copyfile(settings.ca_file, Path(certificates) / "ca.crt")
        podman = consumer.Podman(
            platform=settings.profile.platform,
            authfile=settings.authfile,
            certificates=Path(certificates) if settings.ca_file else None,
            plain_http=settings.plain_http,
            root=Path(storage_root) if storage_root else None,
            runroot=Path(storage_runroot) if storage_runroot else None,
        )
        proved = consumer.prove_running(expected, podman, required=images) if running else consumer.consume(expected, podman, pull=pull, jobs=jobs)
    result = {"images": [asdict(image) for image in proved], "references": {image.name: image.reference for image in proved}}
    if output:
        Path(output).write_text(json.dumps(result, indent=1) + "\n", encoding="utf-8")
    where = " in running containers" if running else ""
    emit(result, output_format, "\n".join([*(f"{image.name}  {image.digest}" for image in proved), f"{len(proved)} images proved{where}"]))
