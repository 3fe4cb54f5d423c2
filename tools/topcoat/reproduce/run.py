"""The whole way: what was named → variables and sources → playbooks → comparison with the original.

This module must never be the place of a rule; it calls the modules beside it in order and tells what they did.
"""

from __future__ import annotations

import uuid
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import yaml

from topcoat.documents import Door
from topcoat.errors import ContentError, TopcoatError, UsageError
from topcoat.model import Receipt
from topcoat.process import Processes
from topcoat.process.network import free_port
from topcoat.report import document
from topcoat.reproduce import jobs, resolve
from topcoat.reproduce.compare import Comparison, compare
from topcoat.reproduce.gerrit import Gerrit
from topcoat.reproduce.jobs import Job, Playbook
from topcoat.reproduce.node import Node
from topcoat.reproduce.play import Places, Player
from topcoat.reproduce.recorded import Committer
from topcoat.reproduce.request import ChangeUrl, Recording, open_recording, recognise
from topcoat.reproduce.workspace import Checkout, Merge, Source, prepare
from topcoat.zuul import load_variables, parse_job, read_inventory

_DOOR = Door(ContentError, "look at the log of the job: it wrote this")
_RECORDED = Door(UsageError, "give the zuul-info/inventory.yaml of a build")
_TIMEOUT = 10800.0
_LATEST = 1 << 36
"""Seconds since the epoch that a commit may be of, at most; git itself stops not far behind."""
_HOSTS = ("controller", "node", "primary")
"""Usual names of a job's first node, for recordings that hold the variables only."""


@dataclass(frozen=True)
class ReproduceOptions:
    """How to reproduce; see ``topcoat reproduce --help``."""

    work: Path
    until: str = "run"
    job: str = "container-images-provider"
    job_checkout: Path | None = None
    git: Mapping[str, str] = field(default_factory=dict)
    """Canonical name, or canonical host, → git URL (of the project, or of the host's root)."""
    identities: tuple[Committer, ...] = ()
    variables: Mapping[str, object] = field(default_factory=dict)
    artifacts: Sequence[object] | None = None
    registry: bool = True
    node: Node = field(default_factory=Node)
    receipt: Path | None = None
    canonical: Mapping[str, str] = field(default_factory=dict)
    """``host[:port]`` of a Gerrit → canonical host name."""


@dataclass(frozen=True)
class Inputs:
    """What the job starts from."""

    zuul: dict[str, object]
    variables: dict[str, object]
    sources: tuple[Source, ...]
    host: str = "controller"
    original: Receipt | None = None
    other_hosts: tuple[str, ...] = ()
    """Further nodes of the recording: here the first one does their work too."""
    timeout: float = _TIMEOUT
    """Seconds for each playbook."""


@dataclass(frozen=True)
class Reproduction:
    """What came out. ``comparison`` is None where there is nothing to compare with, or nothing was built."""

    items: tuple[Mapping[str, object], ...]
    checkouts: tuple[Checkout, ...]
    left_out: tuple[str, ...] = ()
    plan: Mapping[str, object] | None = None
    receipt: Receipt | None = None
    comparison: Comparison | None = None
    returned: Mapping[str, object] = field(default_factory=dict)

    def as_dict(self) -> dict[str, object]:
        """For output, without the receipt, which is a document of its own."""
        return {
            "items": list(self.items),
            "sources": [
                {"project": checkout.canonical_name, "folder": str(checkout.directory), "commit": checkout.commit, "note": checkout.note}
                for checkout in self.checkouts
            ],
            "left_out": list(self.left_out),
            "plan": self.plan,
            "returned": self.returned,
            "comparison": asdict(self.comparison) if self.comparison else None,
        }


def reproduce(words: Sequence[str], options: ReproduceOptions, *, say: Callable[[str], None], processes: Processes | None = None) -> Reproduction:
    """Reproduce what was named, as far as ``options.until`` says: ``sources``, ``plan`` or ``run``.

    :raises TopcoatError: what was named cannot be read, sources cannot be made, or the job fails.
    """
    what = recognise(words)
    inputs = from_changes(what, options) if isinstance(what, tuple) else from_recording(open_recording(what), options)
    items: tuple[Any, ...] = tuple(inputs.zuul["items"])  # type: ignore[arg-type]
    for item in items:
        say(f"item: {item['project']['name']} {item.get('change') or item.get('branch')}" + (f",{item['patchset']}" if item.get("patchset") else ""))
    if inputs.other_hosts:
        say(f"nodes: {inputs.host} does the work of {', '.join(inputs.other_hosts)} too")
    places = Places(options.work)
    places.root.mkdir(parents=True, exist_ok=True)
    checkouts = []
    for source in inputs.sources:
        checkouts.append(prepare(places.node, source, log=places.root / "git.log", identities=options.identities))
        say(f"source: {source.canonical_name} at {checkouts[-1].commit[:12]}" + (f" ({checkouts[-1].note})" if checkouts[-1].note else ""))
    commits = {checkout.canonical_name: checkout.commit for checkout in checkouts}
    for name, project in inputs.zuul["projects"].items():  # type: ignore[attr-defined]
        if name in commits:
            project["commit"] = commits[name]
    outcome = Reproduction(items, tuple(checkouts))
    if options.until == "sources":
        return outcome
    job = find_job(inputs, checkouts, options, places)
    for text in job.left_out:
        say(f"left out: {text}")
    player = Player(
        places,
        inputs.zuul,
        {**job.variables, **inputs.variables},
        options.variables,
        host=inputs.host,
        node=options.node,
        processes=processes,
        say=say,
    )
    return play(player, job, inputs, outcome, options)


def play(player: Player, job: Job, inputs: Inputs, outcome: Reproduction, options: ReproduceOptions) -> Reproduction:
    """Run the job's playbooks, with a registry of its own around them."""
    extra = dict(options.variables)
    if options.artifacts is not None:
        player.zuul = {**player.zuul, "artifacts": list(options.artifacts)}
    player.forget()
    player.prepare()
    registry = _registry_playbooks(job) if options.registry and options.until == "run" and "buildset_registry" not in extra else ()
    timeout = inputs.timeout
    failure: TopcoatError | None = None
    try:
        player.send_sources(timeout)
        if registry:
            address = {"run_ci_registry_port": free_port(), "run_ci_registry_listen": "127.0.0.1", "run_ci_registry_address": "127.0.0.1"}
            player.extra = {**address, "run_ci_registry_system_packages": False, **extra}
            player.prepare()
            player.run(registry[0], timeout=timeout)
            player.extra = {**player.extra, "buildset_registry": player.returned()["secret_data"]["buildset_registry"]}
            player.prepare()
        if options.until == "plan":
            player.play(_decide(job, player), timeout=timeout)
        else:
            player.play(job.playbooks, timeout=timeout)
    except TopcoatError as error:
        failure = error
    finally:
        if len(registry) > 1:
            try:
                player.run(registry[1], timeout=timeout)
            except TopcoatError as error:
                player.say(f"the registry could not be stopped: {error}")
    plan_file, receipt_file = player.found("plan.json"), player.found("receipt.json")
    receipt = document.load(receipt_file) if receipt_file and options.until == "run" else None
    notes = [checkout.note for checkout in outcome.checkouts if checkout.note]
    if failure is not None and (inputs.original is None or receipt is None):
        raise failure
    return Reproduction(
        outcome.items,
        outcome.checkouts,
        job.left_out,
        plan=_DOOR.json_object(plan_file.read_bytes(), "the plan", where=str(plan_file)) if plan_file else None,
        receipt=receipt,
        comparison=compare(inputs.original, receipt, notes) if inputs.original and receipt else None,
        returned=player.returned()["data"],
    )


def _decide(job: Job, player: Player) -> list[Playbook]:
    """The job's pre playbooks, then only the roles that decide; from another machine the post playbooks bring the plan."""
    pre = [playbook for playbook in job.playbooks if playbook.phase == "pre"]
    run = next(playbook for playbook in job.playbooks if playbook.phase == "run")
    path = player.places.executor / "decide.yaml"
    post = [playbook for playbook in job.playbooks if playbook.phase == "post"] if player.node.remote else []
    path.write_text(yaml.safe_dump([{"name": "Decide", "hosts": "all[0]", "roles": ["build-gating-repo", "plan-images"]}]), encoding="utf-8")
    return [*pre, Playbook("run", path, run.roles), *post]


def _registry_playbooks(job: Job) -> tuple[Playbook, ...]:
    """The playbooks that start and stop a registry, beside the job's own ones."""
    for playbook in job.playbooks:
        folder = playbook.path.parent.parent / "registry"
        if playbook.phase == "run" and (folder / "pre.yaml").is_file() and (folder / "post.yaml").is_file():
            return Playbook("pre", folder / "pre.yaml", playbook.roles), Playbook("post", folder / "post.yaml", playbook.roles)
    return ()


def find_job(inputs: Inputs, checkouts: Sequence[Checkout], options: ReproduceOptions, places: Places) -> Job:
    """The job's playbooks: from the recording, else from the job configuration of the checkout that was named."""
    folders = {checkout.canonical_name: checkout.directory for checkout in checkouts}
    context = inputs.zuul.get("playbook_context")
    if isinstance(context, Mapping) and options.job_checkout is None:
        known: dict[str, Path] = {}
        for project in jobs.recorded_projects(context):
            if project.trusted:
                continue
            if project.canonical_name not in folders:
                url = git_url(project.canonical_name, options.git)
                source = Source(project.canonical_name, f"playbooks/{project.canonical_name}", url, project.checkout, commit=project.commit)
                folders[project.canonical_name] = prepare(places.executor, source, log=places.root / "git.log").directory
            known[project.root] = folders[project.canonical_name]
        return jobs.recorded_job(context, known, {})
    checkout = options.job_checkout
    if checkout is None:
        checkout = next((folder for folder in folders.values() if (folder / "playbooks" / "provider" / "run.yaml").is_file()), None)
    if checkout is None:
        raise UsageError("no checkout defines the job", next_step="name the checkout of this repository with --job-checkout")
    return jobs.configured_job(checkout.resolve(), options.job)


def git_url(canonical_name: str, given: Mapping[str, str]) -> str:
    """Where a project is fetched from: as the caller says for the project or for its host, else https at its canonical name."""
    if canonical_name in given:
        return given[canonical_name]
    host, _, name = canonical_name.partition("/")
    if host in given:
        return f"{given[host].rstrip('/')}/{name}"
    return f"https://{canonical_name}"


def from_changes(urls: Sequence[ChangeUrl], options: ReproduceOptions) -> Inputs:
    """Resolve changes and what they depend on into the items that Zuul would test."""
    gerrit = Gerrit(options.canonical)
    starts = [gerrit.change(url) for url in urls]
    closed = [change.url for change in starts if change.status == "ABANDONED"]
    if closed:
        raise ContentError(f"{closed[0]} is abandoned", next_step="restore it, or name another change")
    groups = resolve.bundles(starts, gerrit.needs)
    items = resolve.as_items(groups)
    changes = [change for group in groups for change in group]
    projects: dict[str, dict[str, object]] = {}
    sources = []
    for name in dict.fromkeys(change.canonical_name for change in changes):
        own = [change for change in changes if change.canonical_name == name]
        branches = {change.branch for change in own}
        if len(branches) > 1:
            raise ContentError(f"changes of {name} are for different branches: {', '.join(sorted(branches))}", next_step="name changes of one branch")
        url = options.git.get(name) or (git_url(name, options.git) if own[0].host in options.git else own[0].git_url)
        merges = tuple(Merge(change.ref, change.commit) for change in own if change.status != "MERGED")
        sources.append(Source(name, f"src/{name}", url, own[0].branch, merges))
        projects[name] = {**resolve.project_of(name), "checkout": own[0].branch, "checkout_description": "zuul branch", "required": False}
    build = uuid.uuid5(uuid.NAMESPACE_URL, " ".join(f"{change.url}/{change.patchset}" for change in changes)).hex
    zuul = resolve.variables(items, job=options.job, pipeline="check", projects=projects, buildset=build)
    return Inputs(zuul, {}, tuple(sources))


def from_recording(recording: Recording, options: ReproduceOptions) -> Inputs:
    """Read variables, sources and the original receipt out of a recorded job."""
    zuul = dict(load_variables(recording.text, where=recording.where))
    parse_job(zuul)  # proves the shape of what is read below
    asked = _RECORDED.shape("the recording", where=recording.where)
    whole = read_inventory(recording.text, where=recording.where)
    shape = asked.table(whole.get("all"), "all") if isinstance(whole, Mapping) else {}
    variables = {name: value for name, value in asked.table(shape.get("vars"), "vars").items() if name not in ("zuul", "unsafe_vars", "nodepool")}
    others = tuple(asked.table(shape.get("hosts"), "hosts"))
    hosts = list(others) or list(_HOSTS)
    items = [item for item in zuul.get("items") or () if isinstance(item, Mapping)]  # type: ignore[attr-defined]
    zuul["items"] = items
    projects = {str(name): dict(project) for name, project in dict(zuul.get("projects") or {}).items()}  # type: ignore[call-overload]
    zuul["projects"] = projects
    original = _original(recording, hosts, options)
    others = tuple(name for name in others if name != hosts[0])
    sources = []
    for name, project in projects.items():
        own = [item for item in items if item["project"]["canonical_name"] == name and item.get("change")]
        merges = tuple(Merge(str(item.get("ref") or _ref(item)), str(item["commit_id"]) if item.get("commit_id") else None) for item in own)
        branch = str(project.get("checkout") or (own[-1].get("branch") if own else "") or "master")
        commit = str(project["commit"]) if project.get("commit") else None
        url = git_url(name, options.git)
        review = ChangeUrl.parse(str(own[0].get("change_url"))) if own else None
        if review and name not in options.git and name.partition("/")[0] not in options.git:
            url = f"{review.base}/{own[0]['project'].get('name') or name.partition('/')[2]}"
        sources.append(Source(name, str(project.get("src_dir") or f"src/{name}"), url, branch, merges, commit, _times(original, commit)))
    timeout = float(asked.number(zuul.get("timeout") or 0, "timeout")) or _TIMEOUT
    return Inputs(zuul, variables, tuple(sources), host=hosts[0], original=original, other_hosts=others, timeout=timeout)


def _ref(item: Mapping[str, object]) -> str:
    """The ref of a Gerrit change (the last two digits of its number come first)."""
    text = str(item["change"])
    if not (text.isascii() and text.isdigit() and len(text) < 12 and str(item.get("patchset")).isdigit()):
        raise UsageError(f"the item {text[:40]!r} has no ref, and is no change of a Gerrit", next_step=_RECORDED.next_step)
    number = int(text)
    return f"refs/changes/{number % 100:02d}/{number}/{item['patchset']}"


def _original(recording: Recording, hosts: Sequence[str], options: ReproduceOptions) -> Receipt | None:
    """The receipt of the recorded job: named by the caller, else looked for in the log folder where our roles put it."""
    if options.receipt:
        return document.load(options.receipt)
    for host in hosts:
        text = recording.beside(f"container-images/{host}/receipt.json")
        if text:
            return document.from_text(text, "the receipt beside the recording")
    return None


def _times(original: Receipt | None, commit: str | None) -> tuple[int, ...]:
    """Times at which this commit was made, as the original's receipt tells them."""
    entries = original.gated if original and commit else ()
    shape = _RECORDED.shape("the receipt beside the recording")
    found = [entry["committed"] for entry in entries if entry.get("commit") == commit and entry.get("committed")]
    return tuple(sorted({shape.number(time, "committed", most=_LATEST) for time in found}))
