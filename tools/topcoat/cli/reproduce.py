"""``topcoat reproduce``: a job of a review again, here."""

from __future__ import annotations

from pathlib import Path

import click

from topcoat.cli._context import Settings, emit, format_option, pairs, say
from topcoat.cli._selection import read_artifacts


@click.command()
@click.argument("what", nargs=-1, required=True, metavar="WHAT...")
@click.option(
    "--until",
    type=click.Choice(["sources", "plan", "run"]),
    default="run",
    show_default=True,
    help="Stop when the sources are there, or when the plan is made.",
)
@click.option("--job", default="container-images-provider", show_default=True, help="Job to run for changes; a recording names its own.")
@click.option("--job-checkout", metavar="DIR", help="Take the job's playbooks from this checkout instead of the recorded project.")
@click.option(
    "--git", multiple=True, metavar="NAME=URL", help="Fetch a project (host/name) or all projects of a host from this URL; may be repeated."
)
@click.option("--canonical", multiple=True, metavar="HOST[:PORT]=NAME", help="Canonical host name of a Gerrit, where it is another; may be repeated.")
@click.option(
    "--merged-as",
    multiple=True,
    metavar="'NAME <MAIL>'",
    help="Identity of the recorded Zuul's merger, to find its merge commits again; may be repeated.",
)
@click.option("--var", "variables", multiple=True, metavar="NAME=YAML", help="Variable of the job that wins over the recorded one; may be repeated.")
@click.option("--artifacts", metavar="FILE", help="zuul.artifacts as JSON, instead of the recorded ones: images of changes ahead.")
@click.option("--receipt", metavar="FILE", help="Receipt of the original, to compare with; else it is looked for beside the recording.")
@click.option("--no-registry", is_flag=True, help="Do not start a registry; the variables name one.")
@click.option(
    "--node",
    default="local",
    show_default=True,
    metavar="local|ssh://[USER@]HOST[:PORT][/DIR]|container:NAME[/DIR]",
    help="Machine, or running podman container, that the job runs on.",
)
@click.option("--node-key", metavar="FILE", help="Private key for it.")
@click.option("--directory", metavar="DIR", help="Folder that everything is written to.  [default: WORK_DIR/reproduce]")
@format_option
@click.pass_obj
def command(
    settings: Settings,
    what: tuple[str, ...],
    until: str,
    job: str,
    job_checkout: str | None,
    git: tuple[str, ...],
    canonical: tuple[str, ...],
    merged_as: tuple[str, ...],
    variables: tuple[str, ...],
    artifacts: str | None,
    receipt: str | None,
    no_registry: bool,
    node: str,
    node_key: str | None,
    directory: str | None,
    output_format: str,
) -> None:
    """Run a job of a review again on this machine, and compare the result with the original.

    WHAT is the zuul-info/inventory.yaml of a build (file or URL), the page of a build, or the URLs of one or more changes; what they depend on is
    found and put ahead, as Zuul does. The job's code runs here without a sandbox: use a machine that you can throw away.
    """
    from topcoat.documents import Door
    from topcoat.errors import ContentError, UsageError
    from topcoat.process import Processes
    from topcoat.report import console, document
    from topcoat.report.plans import plan_from_dict, table
    from topcoat.reproduce.node import Node
    from topcoat.reproduce.recorded import Committer
    from topcoat.reproduce.run import ReproduceOptions, reproduce

    identities = [Committer.parse(text) for text in merged_as]
    if None in identities:
        raise UsageError("--merged-as wants 'NAME <MAIL>'", next_step="write the git_user_name and git_user_email of that Zuul")
    values = Door(UsageError, "write a YAML value")
    given = {name: values.yaml(value, f"--var {name}") for name, value in pairs(variables, "--var", empty=False).items()}
    ahead = read_artifacts(Path(artifacts)) if artifacts else None
    options = ReproduceOptions(
        work=Path(directory).absolute() if directory else settings.work_dir / "reproduce",
        until=until,
        job=job,
        job_checkout=Path(job_checkout) if job_checkout else None,
        git=pairs(git, "--git", empty=False),
        identities=tuple(identity for identity in identities if identity),
        variables=given,
        artifacts=ahead,
        registry=not no_registry,
        node=Node.parse(node, Path(node_key) if node_key else None),
        receipt=Path(receipt) if receipt else None,
        canonical=pairs(canonical, "--canonical", empty=False),
    )
    outcome = reproduce(what, options, say=say, processes=Processes())
    shape = outcome.as_dict()
    text = "\n".join(f"{checkout.canonical_name} {checkout.commit} {checkout.directory}" for checkout in outcome.checkouts)
    if until == "plan" and outcome.plan:
        text = table(plan_from_dict(outcome.plan))
    if outcome.receipt:
        text = ""
        if output_format == "text":
            console.show(outcome.receipt)
        else:
            shape["receipt"] = document.receipt_to_dict(outcome.receipt)
    if outcome.comparison:
        text = outcome.comparison.text()
    emit(shape, output_format, text)
    if outcome.comparison and not outcome.comparison.holds:
        raise ContentError("the reproduction differs from the original", next_step="look at the differences that are marked UNEXPLAINED")
