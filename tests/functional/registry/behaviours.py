"""A small registry in the process whose behaviours can be switched: each was seen on a registry that people use.

It must never know the client; it follows the distribution specification except where a behaviour says otherwise.
"""

from __future__ import annotations

import base64
import copy
import hashlib
import json
import re
import secrets
import threading
import urllib.parse
from collections import Counter
from dataclasses import dataclass, field, fields
from pathlib import Path

from tests.functional.registry.spoiling import QuietServer, SpoiledHandler, Spoiler

_NAME = r"[a-z0-9/._-]+?"
PASSWORD = "known-to-the-test"


@dataclass
class Behaviour:
    """What this registry does otherwise. The default is a registry that follows the specification, with a password."""

    bearer: bool = False
    scopes_refused: tuple[str, ...] = ()
    """Actions (``delete``, ``*``) for which the token server gives no token to anybody."""
    refusal: int = 401
    """Status of that answer."""
    challenges: tuple[str, ...] = ()
    """WWW-Authenticate lines of a 401, instead of the one that fits; ``{bearer}`` stands for that one."""
    silent_401: bool = False
    """A 401 says nothing about how to log in."""
    spurious_401: int = 0
    """Every so many requests with a good password are refused all the same."""
    anonymous: bool = False
    """Everybody may read what is not private; a private repository answers 404 to a stranger."""
    private: tuple[str, ...] = ()
    hides: int = 0
    """Status of an answer about a repository that does not exist, as quay and Docker Hub give it."""
    mount: int = 201
    lose_chunk: int = 0
    """The answer to the chunk of this number gets lost."""
    stored: int = 201
    """Status of a PUT that worked."""
    deleted: int = 202
    redirect_puts: bool = False
    page: int = 1000
    link: str = '<{target}>; rel="next"'
    tag_deletion: str = "tag"
    """``tag``, ``manifest`` (and so its other tags), or ``none``."""
    digests_leave_tags: bool = False
    """A digest that is deleted is gone, the tags on it are not, and are served (go-containerregistry's)."""
    deletion: bool = True
    referrers: str = "api"
    """``api``, ``none``, or ``404`` (so it answers about a repository that it does not know)."""
    hexadecimal_tags: bool = False
    """``sha256-<hex>`` is read as the digest."""
    catalog: bool = True


@dataclass
class _Repository:
    manifests: dict[str, tuple[str, bytes]] = field(default_factory=dict)
    tags: dict[str, str] = field(default_factory=dict)
    left: dict[str, tuple[str, bytes]] = field(default_factory=dict)
    """Deleted manifests that tags still show."""
    blobs: dict[str, bytes] = field(default_factory=dict)


class BehavingRegistry:
    """Serves on loopback without TLS until it is closed."""

    def __init__(self, behaviour: Behaviour) -> None:
        self.behaviour = behaviour
        self.repositories: dict[str, _Repository] = {}
        self.uploads: dict[str, bytearray] = {}
        self.seen: Counter[str] = Counter()
        self.tokens: dict[str, list[str]] = {}
        self.good = 0
        self.chunks = 0
        self.lock = threading.RLock()
        self.spoiler = Spoiler(kind_of)
        outer = self

        class Handler(_Handler):
            registry = outer
            spoiler = outer.spoiler

        self._server = QuietServer(("127.0.0.1", 0), Handler)
        self.host = f"127.0.0.1:{self._server.server_address[1]}"
        threading.Thread(target=self._server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True).start()

    def __enter__(self) -> BehavingRegistry:
        return self

    def __exit__(self, *_error: object) -> None:
        self._server.shutdown()
        self._server.server_close()

    def write_authfile(self, path: Path) -> Path:
        """The one account, as clients read it."""
        path.touch(mode=0o600)
        account = base64.b64encode(f"ci:{PASSWORD}".encode()).decode()
        path.write_text(json.dumps({"auths": {self.host: {"auth": account}}}))
        return path

    def contents(self) -> dict[str, _Repository]:
        """What it holds now, to be put back later; blobs are not copied."""
        with self.lock:
            return _copied(self.repositories)

    def put_back(self, contents: dict[str, _Repository]) -> None:
        """Hold what it held when ``contents`` were taken; uploads and tokens are forgotten."""
        with self.lock:
            self.repositories = _copied(contents)
            self.forget()

    def forget(self) -> None:
        """What a registry forgets when it is started again: uploads on their way, tokens."""
        with self.lock:
            self.uploads.clear()
            self.tokens.clear()


def _copied(contents: dict[str, _Repository]) -> dict[str, _Repository]:
    return {name: _Repository(**{table.name: copy.copy(getattr(one, table.name)) for table in fields(one)}) for name, one in contents.items()}


def kind_of(verb: str, path: str) -> str:
    """What a request to a registry is about: ``GET manifest by tag``."""
    path = path.partition("?")[0]
    for pattern, words in (
        (r"/v2/", "the registry"),
        (r"/token", "token"),
        (r"/v2/_catalog", "catalog"),
        (r".*/manifests/sha256:.*", "manifest by digest"),
        (r".*/manifests/sha256-.*", "referrers tag"),
        (r".*/topcoat-[a-z]+/manifests/.*", "record"),
        (r".*/manifests/.*", "manifest by tag"),
        (r".*/blobs/uploads/.*", "upload"),
        (r".*/blobs/.*", "blob"),
        (r".*/tags/list", "tags"),
        (r".*/referrers/.*", "referrers"),
    ):
        if re.fullmatch(pattern, path):
            return f"{verb} {words}"
    return verb


class _Handler(SpoiledHandler):
    registry: BehavingRegistry

    def do_GET(self) -> None:
        self.body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
        self.spoiled(self.work)

    def work(self) -> None:
        with self.registry.lock:
            self.registry.seen[self.command] += 1
            self.route()

    do_HEAD = do_PUT = do_POST = do_PATCH = do_DELETE = do_GET

    def answer(self, status: int, body: bytes = b"", headers: list[tuple[str, str]] = []) -> None:
        self.send_response(status)
        for name, value in headers:
            self.send_header(name, value)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(body)

    def error(self, status: int, code: str) -> None:
        self.answer(status, json.dumps({"errors": [{"code": code, "message": code.lower()}]}).encode(), [("Content-Type", "application/json")])

    # ---- who may -------------------------------------------------------------------------------------------------------------------------------

    def token(self, query: dict[str, list[str]]) -> None:
        behaviour = self.registry.behaviour
        wanted = query.get("scope", [])
        if self.headers.get("Authorization") not in (None, self.basic()):
            return self.answer(401)
        if any(action in behaviour.scopes_refused for scope in wanted for action in scope.rpartition(":")[2].split(",")):
            return self.answer(behaviour.refusal)
        value = secrets.token_hex(8)
        self.registry.tokens[value] = wanted if self.headers.get("Authorization") else [scope for scope in wanted if scope.endswith(":pull")]
        return self.answer(200, json.dumps({"token": value, "expires_in": 300}).encode())

    @staticmethod
    def basic() -> str:
        return "Basic " + base64.b64encode(f"ci:{PASSWORD}".encode()).decode()

    def refuse(self, *, status: int = 401) -> None:
        behaviour = self.registry.behaviour
        bearer = f'Bearer realm="http://{self.registry.host}/token",service="here"'
        lines = behaviour.challenges or (("{bearer}",) if behaviour.bearer else ('Basic realm="here"',))
        headers = [] if behaviour.silent_401 or status != 401 else [("WWW-Authenticate", line.replace("{bearer}", bearer)) for line in lines]
        self.answer(status, b'{"errors": [{"code": "DENIED", "message": "requested access to the resource is denied"}]}', headers)

    def allowed(self, repository: str, actions: set[str]) -> bool:
        """Whether the request may go on; answers otherwise."""
        behaviour, header = self.registry.behaviour, self.headers.get("Authorization", "")
        if behaviour.anonymous and not header and actions <= {"pull"}:
            if repository in behaviour.private:
                self.error(404, "NAME_UNKNOWN")
                return False
            return True
        if behaviour.bearer:
            granted = self.registry.tokens.get(header.removeprefix("Bearer "))
            have = {a for s in granted or () if s.split(":")[1] in (repository, "catalog") for a in s.rpartition(":")[2].split(",")}
            good = granted is not None and (not actions or "*" in have or all(self.covers(have, action) for action in actions))
        else:
            good = header == self.basic()
        if good:
            self.registry.good += 1
            good = not behaviour.spurious_401 or self.registry.good % behaviour.spurious_401 != 0
        if not good:
            self.refuse()
        elif behaviour.hides and repository and actions == {"pull"} and repository not in self.registry.repositories:
            self.refuse(status=behaviour.hides)
            return False
        return good

    def covers(self, have: set[str], action: str) -> bool:
        return action in have or (action == "delete" and "delete" in self.registry.behaviour.scopes_refused and "push" in have)

    # ---- what ----------------------------------------------------------------------------------------------------------------------------------

    def route(self) -> None:
        parts = urllib.parse.urlsplit(self.path)
        query = urllib.parse.parse_qs(parts.query)
        behaviour = self.registry.behaviour
        if parts.path == "/token":
            return self.token(query)
        if parts.path == "/v2/":
            return self.answer(200, b"{}") if (behaviour.anonymous and not self.headers.get("Authorization")) or self.allowed("", set()) else None
        if parts.path == "/v2/_catalog":
            if not self.allowed("", {"*"} if behaviour.bearer and behaviour.catalog else set()):
                return None
            if not behaviour.catalog:
                return self.error(401, "UNAUTHORIZED")
            return self.page("repositories", sorted(self.registry.repositories), parts.path, query, {})
        for pattern, method in (
            (rf"/v2/({_NAME})/manifests/(.+)", self.manifest),
            (rf"/v2/({_NAME})/blobs/uploads/(.*)", self.upload),
            (rf"/v2/({_NAME})/blobs/(.+)", self.blob),
            (rf"/v2/({_NAME})/tags/list()", self.tag_list),
            (rf"/v2/({_NAME})/referrers/(.+)", self.referrers),
        ):
            match = re.fullmatch(pattern, parts.path)
            if match:
                actions = {"GET": {"pull"}, "HEAD": {"pull"}, "DELETE": {"delete"}}.get(self.command, {"pull", "push"})
                if method == self.upload:
                    actions = {"pull", "push"} if self.command != "DELETE" else {"delete"}
                if not self.allowed(match[1], actions):
                    return None
                if behaviour.redirect_puts and self.command == "PUT" and "moved" not in query:
                    target = f"{self.path}{'&' if parts.query else '?'}moved=1"
                    return self.answer(307, b"", [("Location", target)])
                return method(match[1], match[2], query)
        return self.answer(404, b"404 page not found")

    def page(self, key: str, entries: list, path: str, query: dict[str, list[str]], extra: dict[str, object]) -> None:
        start, size = int(query.get("from", ["0"])[0]), self.registry.behaviour.page
        headers = [("Content-Type", "application/json")]
        if start + size < len(entries):
            target = f"{path}?from={start + size}"
            headers += [("Link", line.replace("{target}", target)) for line in self.registry.behaviour.link.split("\n")]
        self.answer(200, json.dumps({**extra, key: entries[start : start + size]}).encode(), headers)

    def manifest(self, name: str, target: str, _query: dict) -> None:
        behaviour, repository = self.registry.behaviour, self.registry.repositories.get(name)
        if behaviour.hexadecimal_tags and re.fullmatch(r"sha256-[0-9a-f]{64}", target):
            target = target.replace("-", ":", 1)
        if self.command == "PUT":
            repository = self.registry.repositories.setdefault(name, _Repository())
            digest = "sha256:" + hashlib.sha256(self.body).hexdigest()
            if ":" in target and target != digest:
                return self.error(400, "DIGEST_INVALID")
            repository.manifests[digest] = (self.headers["Content-Type"], self.body)
            if ":" not in target:
                repository.tags[target] = digest
            headers = [("Docker-Content-Digest", digest), ("Location", f"/v2/{name}/manifests/{digest}")]
            subject = json.loads(self.body).get("subject")
            if behaviour.referrers != "none" and subject:
                headers.append(("OCI-Subject", subject["digest"]))
            return self.answer(behaviour.stored, b"", headers)
        digest = target if ":" in target else (repository.tags.get(target) if repository else None)
        if self.command == "DELETE" and not behaviour.deletion:
            return self.error(405, "UNSUPPORTED")
        if self.command == "DELETE" and ":" not in target and behaviour.tag_deletion == "none":
            return self.error(400, "DIGEST_INVALID")
        if repository and ":" not in target and digest in repository.left and self.command != "DELETE":
            media_type, body = repository.left[digest]
            return self.answer(200, body, [("Content-Type", media_type), ("Docker-Content-Digest", digest)])
        if repository is None or (digest not in repository.manifests and not (":" not in target and digest in repository.left)):
            return self.error(404, "MANIFEST_UNKNOWN")
        if self.command == "DELETE":
            if ":" not in target and behaviour.tag_deletion == "tag":
                del repository.tags[target]
            elif behaviour.digests_leave_tags:
                repository.left[digest] = repository.manifests.pop(digest)
            else:
                del repository.manifests[digest]
                repository.tags = {tag: one for tag, one in repository.tags.items() if one != digest}
            return self.answer(behaviour.deleted)
        media_type, body = repository.manifests[digest]
        return self.answer(200, body, [("Content-Type", media_type), ("Docker-Content-Digest", digest)])

    def tag_list(self, name: str, _target: str, query: dict) -> None:
        if name not in self.registry.repositories:
            return self.error(404, "NAME_UNKNOWN")
        return self.page("tags", sorted(self.registry.repositories[name].tags), f"/v2/{name}/tags/list", query, {"name": name})

    def referrers(self, name: str, digest: str, query: dict) -> None:
        behaviour = self.registry.behaviour
        if behaviour.referrers == "none" or (behaviour.referrers == "404" and name not in self.registry.repositories):
            return self.answer(404, b"404 page not found")
        entries = []
        for one, (media_type, body) in self.registry.repositories.get(name, _Repository()).manifests.items():
            document = json.loads(body)
            if (document.get("subject") or {}).get("digest") == digest:
                entry = {"mediaType": media_type, "digest": one, "size": len(body), "artifactType": document.get("artifactType", "")}
                entries += [{**entry, "digest": "sha512:" + "0" * 128}, entry]
        extra = {"schemaVersion": 2, "mediaType": "application/vnd.oci.image.index.v1+json"}
        return self.page("manifests", entries, f"/v2/{name}/referrers/{digest}", query, extra)

    def blob(self, name: str, digest: str, _query: dict) -> None:
        repository = self.registry.repositories.get(name)
        if repository is None or digest not in repository.blobs:
            return self.error(404, "BLOB_UNKNOWN")
        return self.answer(200, repository.blobs[digest], [("Docker-Content-Digest", digest)])

    def upload(self, name: str, key: str, query: dict[str, list[str]]) -> None:
        behaviour = self.registry.behaviour
        if self.command == "POST":
            if "mount" in query:
                source = self.registry.repositories.get(query["from"][0])
                if behaviour.mount not in (201, 202):
                    return self.error(behaviour.mount, "DENIED")
                if behaviour.mount == 201 and source and query["mount"][0] in source.blobs:
                    self.registry.repositories.setdefault(name, _Repository()).blobs[query["mount"][0]] = source.blobs[query["mount"][0]]
                    return self.answer(201, b"", [("Location", f"/v2/{name}/blobs/{query['mount'][0]}")])
            key = secrets.token_hex(8)
            self.registry.uploads[key] = bytearray()
            return self.answer(202, b"", [("Location", f"/v2/{name}/blobs/uploads/{key}"), ("Range", "0-0")])
        if key not in self.registry.uploads:
            return self.error(404, "BLOB_UPLOAD_UNKNOWN")
        data = self.registry.uploads[key]
        state = [("Location", f"/v2/{name}/blobs/uploads/{key}"), ("Range", f"0-{max(len(data) - 1, 0)}")]
        if self.command == "GET":
            return self.answer(204, b"", state)
        if self.command == "DELETE":
            del self.registry.uploads[key]
            return self.answer(204)
        if self.command == "PATCH":
            if int(self.headers["Content-Range"].partition("-")[0]) != len(data):
                return self.answer(416, b"", state)
            data += self.body
            self.registry.chunks += 1
            if self.registry.chunks == behaviour.lose_chunk:
                self.close_connection = True
                self.connection.close()
                return None
            return self.answer(202, b"", [state[0], ("Range", f"0-{len(data) - 1}")])
        data += self.body
        digest = query["digest"][0]
        if digest != "sha256:" + hashlib.sha256(data).hexdigest():
            return self.error(400, "DIGEST_INVALID")
        self.registry.repositories.setdefault(name, _Repository()).blobs[digest] = bytes(data)
        del self.registry.uploads[key]
        return self.answer(behaviour.stored, b"", [("Docker-Content-Digest", digest), ("Location", f"/v2/{name}/blobs/{digest}")])
