"""Which playbooks make up a job: as Zuul recorded them, or as the job's own configuration names them.

This module must never return a playbook that lies outside of its project's checkout.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from topcoat.documents import Door
from topcoat.errors import UsageError

PHASES = ("pre", "run", "post")
_CONFIGURATION = Door(UsageError, "look at the checkout: Zuul would refuse this file too")
_SECRET_TAGS = frozenset({"!encrypted/pkcs1-oaep", "!override", "!inherit"})
"""Tags of Zuul's own; what they stand on is not looked at."""
_RECORDED = {"pre": "pre_playbooks", "run": "playbooks", "post": "post_playbooks"}
_CONFIGURED = {"pre": "pre-run", "run": "run", "post": "post-run"}


@dataclass(frozen=True)
class Playbook:
    """One playbook of a job: its file and the folders that roles are looked for in."""

    phase: str
    path: Path
    roles: tuple[Path, ...]


@dataclass(frozen=True)
class RecordedProject:
    """A project that a recorded job took playbooks or roles from. ``root`` is where it lay on the executor."""

    root: str
    canonical_name: str
    checkout: str
    commit: str | None
    trusted: bool


@dataclass(frozen=True)
class Job:
    """Playbooks in the order they run, the job's variables, and what was left out and why."""

    playbooks: tuple[Playbook, ...]
    variables: Mapping[str, object]
    left_out: tuple[str, ...] = ()


def recorded_projects(context: Mapping[str, object]) -> list[RecordedProject]:
    """The projects of ``zuul.playbook_context``."""
    found = []
    for root, shape in _mapping(context.get("playbook_projects")).items():
        shape = _mapping(shape)
        commit = shape.get("commit")
        found.append(
            RecordedProject(
                root=str(root).rstrip("/"),
                canonical_name=str(shape.get("canonical_name") or ""),
                checkout=str(shape.get("checkout") or "master"),
                commit=str(commit) if commit else None,
                trusted=str(root).startswith("trusted/"),
            )
        )
    return found


def recorded_job(context: Mapping[str, object], folders: Mapping[str, Path], variables: Mapping[str, object]) -> Job:
    """The job as it was recorded.

    :param folders: executor root of a project → its checkout here; playbooks of other projects are left out (a site's base job prepares nodes).
    :raises UsageError: a recorded path leads out of its project, or no playbook is left.
    """
    playbooks: list[Playbook] = []
    left_out: list[str] = []
    for phase in PHASES:
        for shape in context.get(_RECORDED[phase]) or ():  # type: ignore[attr-defined]
            name = str(_mapping(shape).get("path") or "")
            path = _place(name, folders)
            if path is None:
                left_out.append(f"{phase} playbook {name}: its project is not part of the reproduction")
                continue
            roles = [_place(str(_mapping(role).get("link_target") or ""), folders) for role in _mapping(shape).get("roles") or ()]  # type: ignore[attr-defined]
            own = next(folder for root, folder in folders.items() if name.startswith(root + "/"))
            found = [*(role for role in roles if role is not None), own]
            playbooks.append(Playbook(phase, path, tuple(dict.fromkeys(_roles_of(folder) for folder in found))))
    if not any(playbook.phase == "run" for playbook in playbooks):
        raise UsageError(
            "the recorded job has no run playbook that can be used here", next_step="give the job's project with --git, or name the changes instead"
        )
    return Job(tuple(playbooks), variables, tuple(left_out))


def _roles_of(folder: Path) -> Path:
    """A project's ``roles`` folder, or the project itself where it is one role (as Zuul decides)."""
    return folder / "roles" if (folder / "roles").is_dir() else folder


def _place(name: str, folders: Mapping[str, Path]) -> Path | None:
    for root, folder in folders.items():
        if name == root:
            return folder
        if name.startswith(root + "/"):
            path = (folder / name[len(root) + 1 :]).resolve()
            if not path.is_relative_to(folder.resolve()):
                raise UsageError(f"the recorded path {name!r} leads out of its project", next_step="do not use this inventory")
            return path
    return None


def configured_job(checkout: Path, name: str) -> Job:
    """The job as the ``zuul.d`` folder of a checkout defines it, with its ancestors there; ancestors elsewhere are the site's and left out.

    :raises UsageError: there is no such job, or it is abstract.
    """
    jobs: dict[str, Mapping[str, object]] = {}
    for file in [
        *sorted((checkout / "zuul.d").glob("*.yaml")),
        *(path for path in [checkout / "zuul.yaml", checkout / ".zuul.yaml"] if path.is_file()),
    ]:
        entries = _CONFIGURATION.yaml_file(file, "Zuul's configuration", tags=_SECRET_TAGS)
        for entry in entries if isinstance(entries, list) else ():
            if isinstance(entry, Mapping) and isinstance(entry.get("job"), Mapping):
                jobs[str(entry["job"].get("name"))] = entry["job"]
    if name not in jobs:
        raise UsageError(f"{checkout} defines no job {name!r}", next_step=f"name one of: {', '.join(sorted(jobs)) or '(none)'}")
    if jobs[name].get("abstract"):
        raise UsageError(f"the job {name} is abstract", next_step="name one that inherits from it")
    chain = [name]
    while (parent := str(jobs[chain[0]].get("parent") or "")) in jobs and parent not in chain:
        chain.insert(0, parent)
    variables: dict[str, object] = {}
    found: dict[str, list[Path]] = {phase: [] for phase in PHASES}
    for job in (jobs[link] for link in chain):
        variables |= _mapping(job.get("vars"))
        named = {phase: _playbooks(job.get(_CONFIGURED[phase])) for phase in PHASES}
        found["pre"] += [checkout / path for path in named["pre"]]
        found["run"] = [checkout / path for path in named["run"]] or found["run"]
        found["post"] = [checkout / path for path in named["post"]] + found["post"]
    roles = (checkout / "roles",)
    playbooks = tuple(Playbook(phase, path, roles) for phase in PHASES for path in found[phase])
    site = str(jobs[chain[0]].get("parent") or "base")
    return Job(playbooks, variables, (f"playbooks of the job {site}: they are the site's own",))


def _playbooks(value: object) -> list[str]:
    """The attribute of a job: a name, a mapping with a name, or a list of both."""
    entries: Sequence[object] = value if isinstance(value, list) else [value] if value else []
    return [str(entry["name"]) if isinstance(entry, Mapping) else str(entry) for entry in entries]


def _mapping(value: object) -> Mapping[str, object]:
    return value if isinstance(value, Mapping) else {}
