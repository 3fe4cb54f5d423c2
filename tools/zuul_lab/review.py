"""What the lab says to Gerrit: accounts, labels, projects, changes, votes; and what it hears back.

This module must never decide what is right; it carries words between the checks and the server.
"""

from __future__ import annotations

import base64
import json
import secrets
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import quote

import httpx

from topcoat.errors import InfrastructureError
from topcoat.process import run
from zuul_lab import layout as at
from zuul_lab.layout import Places

BASE = f"http://{at.REVIEW_HOST}:{at.GERRIT_HTTP}"
_MAGIC = ")]}'"


@dataclass(frozen=True)
class Change:
    """An uploaded change: its number, Change-Id, project and address."""

    number: int
    change_id: str
    project: str

    @property
    def url(self) -> str:
        """What ``Depends-On`` names."""
        return f"{BASE}/c/{self.project}/+/{self.number}"


@dataclass(frozen=True)
class Message:
    """One message of the review: who wrote it, what it says."""

    author: str
    text: str


class Review:
    """One account's view of the server.

    :param user: account name; ``admin`` exists from the start with the password ``secret``.
    """

    def __init__(self, user: str = "admin", password: str = "secret") -> None:
        self._auth = (user, password)
        self._http = httpx.Client(base_url=f"{BASE}/a", auth=self._auth, timeout=60)

    def ready(self) -> bool:
        """Whether the server answers an authenticated question."""
        try:
            return self._http.get("/config/server/version").status_code == 200
        except httpx.HTTPError:
            return False

    def ask(self, method: str, path: str, body: object = None, *, accept: Sequence[int] = (200, 201, 204)) -> object:
        """One REST call; the decoded answer or None.

        :raises InfrastructureError: the server answers with another status.
        """
        kind = {"json": body} if not isinstance(body, str) else {"content": body, "headers": {"Content-Type": "text/plain"}}
        answer = self._http.request(method, path, **(kind if body is not None else {}))  # type: ignore[arg-type]
        if answer.status_code not in accept:
            raise InfrastructureError(f"Gerrit answered {method} {path} with {answer.status_code}: {answer.text[:300]}", retriable=False)
        text = answer.text.removeprefix(_MAGIC)
        return json.loads(text) if text.strip() and answer.headers.get("content-type", "").startswith("application/json") else None

    def add_account(self, name: str, *, key: Path, password: str, groups: Sequence[str]) -> None:
        """An account with a public key and an HTTP password."""
        self.ask("PUT", f"/accounts/{name}", {"name": name, "email": f"{name}@{at.DOMAIN}", "ssh_key": key.read_text(), "groups": list(groups)})
        self.ask("PUT", f"/accounts/{name}/password.http", {"http_password": password})

    def add_key(self, key: Path) -> None:
        """A public key for the own account."""
        self.ask("POST", "/accounts/self/sshkeys", key.read_text())

    def add_verified_label(self) -> None:
        """The label Verified with a requirement, and who may vote, submit and stream events."""
        values = {"-2": "Fails", "-1": "Doesn't seem to work", " 0": "No score", "+1": "Works for me", "+2": "Verified"}
        self.ask(
            "PUT",
            "/projects/All-Projects/labels/Verified",
            {"values": values, "default_value": 0, "function": "NoBlock", "copy_condition": "changekind:NO_CODE_CHANGE"},
        )
        needs = "label:Verified=MAX AND -label:Verified=MIN"
        self.ask(
            "PUT",
            "/projects/All-Projects/submit_requirements/Verified",
            {"name": "Verified", "submittability_expression": needs, "allow_override_in_child_projects": True},
        )
        groups = {name: self._group(name) for name in ("Service Users", "Administrators")}

        def rule(low: int | None = None, high: int | None = None) -> dict[str, object]:
            limits = {} if low is None else {"min": low, "max": high}
            return {"rules": {group: {"action": "ALLOW", "force": False, **limits} for group in groups.values()}}

        votes = {"label-Verified": {"label": "Verified", **rule(-2, 2)}, "label-Code-Review": {"label": "Code-Review", **rule(-2, 2)}}
        heads = {"permissions": {**votes, "submit": rule(), "push": rule(), "create": rule(), "forgeCommitter": rule(), "forgeAuthor": rule()}}
        capabilities = {"permissions": {"streamEvents": rule()}}
        access = {"add": {"refs/heads/*": heads, "GLOBAL_CAPABILITIES": capabilities}}
        self.ask("POST", "/projects/All-Projects/access", access)

    def _group(self, name: str) -> str:
        found = self.ask("GET", f"/groups/{quote(name)}")
        assert isinstance(found, dict)
        return str(found["id"])

    def add_project(self, name: str) -> None:
        """An empty project with the branch master."""
        self.ask(
            "PUT", f"/projects/{quote(name, safe='')}", {"create_empty_commit": True, "branches": ["master"], "submit_type": "MERGE_IF_NECESSARY"}
        )

    def git_url(self, project: str) -> str:
        """Where this account pushes; the password of the throw-away lab account is part of it."""
        return f"http://{self._auth[0]}:{self._auth[1]}@{at.REVIEW_HOST}:{at.GERRIT_HTTP}/a/{project}"

    def login(self) -> dict[str, str]:
        """This account as an auth file has it."""
        return {"auth": base64.b64encode(":".join(self._auth).encode()).decode()}

    def details(self, change: Change) -> dict[str, object]:
        """Labels, status and messages of a change."""
        answer = self.ask("GET", f"/changes/{change.number}/?o=DETAILED_LABELS&o=MESSAGES&o=DETAILED_ACCOUNTS&o=CURRENT_REVISION")
        assert isinstance(answer, dict)
        return answer

    def vote_of(self, change: Change, label: str, voter: str = "zuul") -> int:
        """The value that an account gave; 0 when none."""
        labels = self.details(change)["labels"]
        assert isinstance(labels, dict)
        votes = labels.get(label, {}).get("all", [])
        return next((int(vote.get("value", 0)) for vote in votes if vote.get("username") == voter or vote.get("name") == voter), 0)

    def status(self, change: Change) -> str:
        """NEW, MERGED or ABANDONED."""
        return str(self.details(change)["status"])

    def messages(self, change: Change, author: str = "zuul") -> list[Message]:
        """What an account wrote on the change, oldest first."""
        found = self.details(change).get("messages", [])
        assert isinstance(found, list)
        said = [Message(str(item.get("author", {}).get("username", "")), str(item["message"])) for item in found]
        return [message for message in said if message.author == author]

    def approve(self, change: Change) -> None:
        """Code-Review +2, the vote that starts gate."""
        self.ask("POST", f"/changes/{change.number}/revisions/current/review", {"labels": {"Code-Review": 2}})

    def comment(self, change: Change, text: str) -> None:
        """Write something on the change, ``recheck`` for instance."""
        self.ask("POST", f"/changes/{change.number}/revisions/current/review", {"message": text})

    def open_changes(self, project: str) -> list[dict[str, object]]:
        """What waits in a project, with the files of the newest patch set."""
        query = quote(f"project:{project} status:open", safe="")
        found = self.ask("GET", f"/changes/?q={query}&o=CURRENT_REVISION&o=CURRENT_FILES")
        assert isinstance(found, list)
        return found

    def abandon(self, change: Change) -> None:
        """Give the change up."""
        self.ask("POST", f"/changes/{change.number}/abandon", {})


class Workspace:
    """Local clones from which the lab uploads changes.

    :param folder: where the clones lie.
    """

    def __init__(self, places: Places, review: Review) -> None:
        self._folder = places.state / "workspace"
        self._folder.mkdir(parents=True, exist_ok=True)
        self._review = review
        self._log = places.logs / "git.log"
        self._identity = ["-c", "user.name=Lab Developer", "-c", f"user.email=admin@{at.DOMAIN}", "-c", "advice.detachedHead=false"]

    def _git(self, folder: Path, *words: str) -> str:
        argv = ["git", *self._identity, *words]
        return run(argv, timeout=300, cwd=folder, log=self._log, failure=InfrastructureError).output.strip()

    def seed(self, project: str, files: Mapping[str, str | bytes], message: str) -> str:
        """Replace the whole content of master without review (the state before the story begins); the commit."""
        folder = self._clone(project)
        self._write(folder, files)
        return self._push_seed(folder, message)

    def seed_from_checkout(self, project: str, checkout: Path) -> str:
        """Put the committed files of a checkout on master; the commit."""
        folder = self._clone(project)
        archive = folder.parent / f"{folder.name}.tar"
        run(["git", "archive", "--format=tar", "-o", archive, "HEAD"], timeout=60, cwd=checkout, failure=InfrastructureError)
        run(["tar", "-xf", archive, "-C", folder], timeout=60, failure=InfrastructureError)
        archive.unlink()
        return self._push_seed(folder, "The state of the checkout")

    def _push_seed(self, folder: Path, message: str) -> str:
        self._git(folder, "add", "-A", "-f")
        self._git(folder, "commit", "-q", "-m", message)
        self._git(folder, "push", "-q", "origin", "HEAD:refs/heads/master")
        return self._git(folder, "rev-parse", "HEAD")

    def _clone(self, project: str) -> Path:
        folder = self._folder / project.replace("/", "_")
        if not folder.is_dir():
            run(["git", "clone", "-q", self._review.git_url(project), folder], timeout=120, log=self._log, failure=InfrastructureError)
        return folder

    @staticmethod
    def _write(folder: Path, files: Mapping[str, str | bytes]) -> None:
        for name, content in files.items():
            path = folder / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(content.encode() if isinstance(content, str) else content)

    def head(self, project: str) -> str:
        """The commit of master."""
        folder = self._clone(project)
        self._git(folder, "fetch", "-q", "origin")
        return self._git(folder, "rev-parse", "origin/master")

    def tree_of(self, project: str) -> str:
        """Git's id of the files of what was uploaded last."""
        return self._git(self._clone(project), "rev-parse", "HEAD^{tree}")

    def read(self, project: str, name: str) -> str:
        """A file of master."""
        folder = self._clone(project)
        self._git(folder, "fetch", "-q", "origin")
        return self._git(folder, "show", f"origin/master:{name}")

    def show(self, project: str, ref: str, name: str) -> str:
        """A file of any ref, a patch set for instance."""
        folder = self._clone(project)
        self._git(folder, "fetch", "-q", "origin", ref)
        return self._git(folder, "show", f"FETCH_HEAD:{name}")

    def upload(
        self, project: str, files: Mapping[str, str | bytes], subject: str, *, depends_on: Sequence[Change] = (), amend: Change | None = None
    ) -> Change:
        """Upload a change on top of master, as ``git review`` does.

        :param files: new content by path.
        :param amend: upload a new patch set of this change instead.
        """
        folder = self._clone(project)
        self._git(folder, "fetch", "-q", "origin")
        self._git(folder, "checkout", "-q", "-B", "topic", "origin/master")
        self._write(folder, files)
        change_id = amend.change_id if amend else "I" + secrets.token_hex(20)
        footers = "\n".join([*(f"Depends-On: {other.url}" for other in depends_on), f"Change-Id: {change_id}"])
        self._git(folder, "add", "-A", "-f")
        self._git(folder, "commit", "-q", "-m", f"{subject}\n\n{footers}")
        self._git(folder, "push", "-q", "origin", "HEAD:refs/for/master")
        found = self._review.ask("GET", f"/changes/?q=change:{change_id}+project:{quote(project, safe='')}")
        assert isinstance(found, list)
        return Change(int(found[0]["_number"]), change_id, project)
