"""``topcoat gating``: a gating repository from the source trees under test."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path

import click

from topcoat.cli._context import Settings, dry_run_option, emit, format_option, say
from topcoat.documents import Door
from topcoat.errors import UsageError

_CHANGES = Door(UsageError, "make the file with 'topcoat zuul-items --changes'")


@click.command()
@click.argument("sources", nargs=-1, metavar="SOURCE_DIR...")
@click.option("--output", required=True, metavar="DIR", help="Folder that becomes the repository.")
@click.option("--changes", metavar="FILE", help="JSON of 'topcoat zuul-items --changes': the project and the change that each checkout holds.")
@click.option("--dlrn-config", metavar="FILE", help="DLRN's projects.ini, for trees without a spec file.")
@click.option("--dlrn", default="", metavar="PROGRAM", help="DLRN's program, where it is not on the path.")
@click.option("--checkout", "checkouts", multiple=True, metavar="DIR", help="A checkout beside; a distgit that DLRN names is taken from it.")
@click.option("--store", metavar="REPOSITORY", help="HOST/PATH in a registry where the packages of each tree are looked for, and kept.")
@click.option("--timeout", default=1800, show_default=True, help="Seconds for one tree.")
@dry_run_option
@format_option
@click.pass_obj
def command(
    settings: Settings,
    sources: tuple[str, ...],
    output: str,
    changes: str | None,
    dlrn_config: str | None,
    dlrn: str,
    checkouts: tuple[str, ...],
    store: str | None,
    timeout: int,
    dry_run: bool,
    output_format: str,
) -> None:
    """Build RPMs from SOURCE_DIRs (DLRN finds the spec file where there is none) and make a yum repository of them."""
    from topcoat import gating

    paths = [Path(source) for source in sources]
    if dry_run:
        trees = [gating.SourceTree.at(path) for path in paths]
        rows = [{"project": tree.project, "commit": tree.commit, "release": tree.snapshot, "spec": str(tree.spec or "(DLRN)")} for tree in trees]
        emit(rows, output_format, "\n".join(f"would build {row['project']} {row['release']} from {row['spec']}" for row in rows))
        return
    repository = gating.build(
        paths,
        Path(output).absolute(),
        work=settings.work_dir / "gating",
        changes=_changes(changes) if changes else None,
        dlrn_config=Path(dlrn_config) if dlrn_config else None,
        dlrn=dlrn,
        checkouts=[Path(checkout) for checkout in checkouts],
        store=gating.PackageStore(settings.registries, store) if store else None,
        timeout=timeout,
        say=say,
    )
    emit([asdict(package) for package in repository.packages], output_format, "\n".join(package.nevra for package in repository.packages))


def _changes(path: str) -> dict[str, dict[str, str]]:
    """Absolute path of a checkout → its project and change."""
    shape = _CHANGES.shape("the changes", where=path)
    found = shape.table(_CHANGES.json_file(Path(path), "the changes"), "it")
    return {checkout: shape.texts(entry, checkout) for checkout, entry in found.items()}
