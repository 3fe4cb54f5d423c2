"""The variable ``zuul`` as Zuul 14 gives it to a job, for the situations that jobs of this repository meet.

This module must never invent a shape: the keys are those of ``construct_build_params`` and of the executor.
"""

from __future__ import annotations

from collections.abc import Sequence

HOST = "review.example.org"
BUILDSET = "b" * 32


def project(name: str) -> dict[str, str]:
    """The short description of a project that items carry."""
    return {
        "name": name,
        "short_name": name.rpartition("/")[2],
        "canonical_hostname": HOST,
        "canonical_name": f"{HOST}/{name}",
        "src_dir": f"src/{HOST}/{name}",
    }


def change(name: str, number: int, *, patchset: int = 1, branch: str = "master", message: str = "a change") -> dict[str, object]:
    """One change under test; numbers are text, as Zuul gives them."""
    return {
        "project": project(name),
        "branch": branch,
        "change": str(number),
        "patchset": str(patchset),
        "ref": f"refs/changes/{number % 100:02}/{number}/{patchset}",
        "commit_id": f"{number:040x}",
        "change_url": f"https://{HOST}/c/{name}/+/{number}",
        "change_message": message,
        "topic": None,
    }


def branch_tip(name: str, branch: str = "master") -> dict[str, object]:
    """What a periodic pipeline has instead of a change."""
    return {
        "project": project(name),
        "branch": branch,
        "ref": f"refs/heads/{branch}",
        "change_url": f"https://{HOST}/q/project:{name}",
        "topic": None,
    }


def variables(
    pipeline: str, items: Sequence[dict[str, object]], *, required: Sequence[str] = (), own: int = 1, branch: str = "master"
) -> dict[str, object]:
    """The whole variable.

    :param required: projects that the job checks out although no item names them.
    :param own: how many items at the end are this queue item's own (more than one: circular changes).
    """
    last = items[-1]
    names = dict.fromkeys([*(str(item["project"]["name"]) for item in items), *required])  # type: ignore[index]
    zuul: dict[str, object] = {
        "_inheritance_path": [],
        "build": "a" * 32,
        "buildset": BUILDSET,
        "buildset_refs": [dict(item) for item in items[-own:]],
        "build_refs": [dict(item) for item in items[-own:]],
        "pipeline": pipeline,
        "post_review": pipeline != "check",
        "tenant": "test",
        "job": "container-images-provider",
        "jobtags": [],
        "voting": True,
        "timeout": 5400,
        "attempts": 1,
        "max_attempts": 3,
        "branch": branch,
        "ref": last["ref"],
        "project": last["project"],
        "event_id": "e" * 32,
        "items": [dict(item) for item in items],
        "projects": {
            f"{HOST}/{name}": {
                **project(name),
                "required": name in required,
                "checkout": branch,
                "checkout_description": "zuul branch",
                "commit": "0" * 40,
            }
            for name in names
        },
        "child_jobs": ["container-images-consumer"],
        "playbook_context": {},
        "ansible_version": "11",
        "resources": {},
        "include_vars": [],
    }
    if "change" in last:
        zuul |= {name: last[name] for name in ("change", "patchset", "commit_id", "change_url", "change_message", "topic")}
    return zuul


def depends_on() -> dict[str, object]:
    """A check job on nova; its change depends on one of oslo.config."""
    message = "use it\n\nDepends-On: https://review.example.org/c/openstack/oslo.config/+/101\n{{ not_jinja }}"
    return variables("check", [change("openstack/oslo.config", 101, patchset=2), change("openstack/nova", 205, message=message)])


def gate() -> dict[str, object]:
    """A gate job on nova with a change of keystone ahead in the queue."""
    return variables("gate", [change("openstack/keystone", 300), change("openstack/nova", 205)])


def periodic() -> dict[str, object]:
    """A periodic job on this repository: an item without a change."""
    return variables("periodic", [branch_tip("team/topcoat")])


def circular() -> dict[str, object]:
    """Two changes that depend on each other, tested as one."""
    return variables("check", [change("openstack/nova", 205), change("openstack/oslo.config", 101)], own=2)


def two_of_one_project() -> dict[str, object]:
    """A change of nova on top of another change of nova."""
    return variables("check", [change("openstack/nova", 204), change("openstack/nova", 205)])


def own_repository_ahead() -> dict[str, object]:
    """A change of nova that depends on one of this repository."""
    return variables("check", [change("team/topcoat", 400), change("openstack/nova", 205)])


def own_repository() -> dict[str, object]:
    """A change of this repository alone."""
    return variables("check", [change("team/topcoat", 400)])


def other_branch() -> dict[str, object]:
    """A change of nova's master that depends on one of oslo.config's stable branch."""
    return variables("check", [change("openstack/oslo.config", 101, branch="stable/x"), change("openstack/nova", 205)])


ALL = {made.__name__: made for made in (depends_on, gate, periodic, circular, two_of_one_project, own_repository_ahead, own_repository, other_branch)}
