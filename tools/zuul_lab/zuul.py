"""The real Zuul: its configuration, its four services, and what the lab asks its REST API.

This module must never read Zuul's database or ZooKeeper; it sees what a person at the web interface sees.
"""

from __future__ import annotations

import base64
import hashlib
import hmac
import json
import secrets
import sys
import time
from collections.abc import Mapping, Sequence
from pathlib import Path

import httpx

from topcoat.errors import InfrastructureError
from zuul_lab import layout as at
from zuul_lab.layout import Places
from zuul_lab.services import Service, start

SERVICES = ("scheduler", "executor", "launcher", "web")
WEB = f"http://{at.ZUUL_HOST}:{at.ZUUL_WEB}"


def write_configuration(places: Places, *, password: str, tenant: Mapping[str, object]) -> None:
    """zuul.conf and the tenant file.

    :param password: HTTP password of Gerrit's account ``zuul``.
    :param tenant: the one entry of the tenant configuration.
    """
    etc, state = places.etc, places.state / "zuul"
    state.mkdir(exist_ok=True)
    (places.logs / "builds").mkdir(parents=True, exist_ok=True)
    python = Path(sys.base_prefix).resolve()
    readable = [places.cache.resolve(), (places.zuul_venv).resolve(), (places.ansible_root / "11").resolve(), python]
    paths = ":".join(dict.fromkeys(str(path) for path in readable if not path.is_relative_to("/usr")))
    token = secrets.token_hex(16)
    (etc / "operator.secret").write_text(token)
    (etc / "zuul.conf").write_text(
        f"""[zookeeper]
hosts=127.0.0.1:{at.ZOOKEEPER}
tls_ca={etc}/tls/ca.pem
tls_cert={etc}/tls/server.pem
tls_key={etc}/tls/server.key

[database]
dburi=postgresql+psycopg2://postgres@127.0.0.1:{at.POSTGRESQL}/zuul

[keystore]
password={secrets.token_hex(16)}

[scheduler]
tenant_config={etc}/tenants.yaml
state_dir={state}/scheduler
pidfile={state}/scheduler.pid
command_socket={state}/scheduler.socket

[merger]
git_user_email=zuul@{at.DOMAIN}
git_user_name=Zuul
git_dir={state}/merger-git

[executor]
hostname=executor.{at.DOMAIN}
state_dir={state}/executor
pidfile={state}/executor.pid
command_socket={state}/executor.socket
private_key_file={etc}/node.key
default_username=root
job_dir={state}/builds
git_dir={state}/executor-git
ansible_root={places.ansible_root}
manage_ansible=false
trusted_ro_paths={paths}
untrusted_ro_paths={paths}
trusted_rw_paths={places.logs}/builds
load_multiplier=100
min_avail_mem=1
disk_limit_per_job=-1

[launcher]
pidfile={state}/launcher.pid
command_socket={state}/launcher.socket
temp_dir={state}

[web]
listen_address=127.0.0.1
port={at.ZUUL_WEB}
root={WEB}/
pidfile={state}/web.pid
command_socket={state}/web.socket
static_path={state}/static

[auth operator]
driver=HS256
allow_authz_override=true
realm=lab
default=true
client_id=lab
issuer_id=lab
secret={token}

[connection gerrit]
driver=gerrit
server={at.REVIEW_HOST}
canonical_hostname={at.REVIEW_HOST}
port={at.GERRIT_SSH}
baseurl=http://{at.REVIEW_HOST}:{at.GERRIT_HTTP}
user=zuul
sshkey={etc}/zuul.key
password={password}
auth_type=basic

[connection static]
driver=static
"""
    )
    for folder in ("scheduler", "executor", "builds", "executor-git", "merger-git", "static"):
        (state / folder).mkdir(exist_ok=True)
    (etc / "tenants.yaml").write_text(json.dumps([{"tenant": tenant}], indent=2) + "\n")


def start_service(places: Places, name: str) -> Service:
    """Start one of :data:`SERVICES` in the foreground of its own session."""
    program = places.zuul_venv / "bin" / f"zuul-{name}"
    # The virtual environment's ansible and git come first; HOME must be writable for Ansible's temporary files.
    home = places.state / "zuul"
    return start(places, f"zuul-{name}", [program, "-c", places.etc / "zuul.conf", "-f", "-d"], env={"HOME": str(home)}, cwd=home)


class Zuul:
    """Questions to Zuul's REST API, and the one order that people with a token may give."""

    def __init__(self, places: Places, tenant: str = at.TENANT) -> None:
        self._places = places
        self._tenant = tenant
        self._http = httpx.Client(base_url=f"{WEB}/api/tenant/{tenant}", timeout=60)

    def get(self, path: str, parameters: Mapping[str, str] | None = None) -> object:
        """A JSON answer.

        :raises InfrastructureError: any status but 200.
        """
        answer = self._http.get(path, params=dict(parameters or {}))
        if answer.status_code != 200:
            raise InfrastructureError(f"Zuul answered {path} with {answer.status_code}: {answer.text[:300]}", retriable=False)
        return answer.json()

    def ready(self, jobs: Sequence[str]) -> bool:
        """Whether the tenant is loaded and knows these jobs."""
        try:
            found = self.get("/jobs")
        except (httpx.HTTPError, InfrastructureError):
            return False
        assert isinstance(found, list)
        return set(jobs) <= {job["name"] for job in found}

    def config_errors(self) -> list[str]:
        """What Zuul has to say against the loaded configuration."""
        found = self.get("/config-errors")
        assert isinstance(found, list)
        return [str(item.get("error", item)) for item in found]

    def nodes(self) -> list[dict[str, object]]:
        """The nodes that the launcher knows."""
        found = self.get("/nodes")
        assert isinstance(found, list)
        return found

    def builds(self, **selection: str) -> list[dict[str, object]]:
        """Builds, newest first; selected by ``change``, ``pipeline``, ``job_name``, ``project`` and so on."""
        found = self.get("/builds", {"limit": "200", **selection})
        assert isinstance(found, list)
        return found

    def buildsets(self, **selection: str) -> list[dict[str, object]]:
        """Buildsets, newest first."""
        found = self.get("/buildsets", {"limit": "50", **selection})
        assert isinstance(found, list)
        return found

    def buildset(self, uuid: str) -> dict[str, object]:
        """One buildset with its builds."""
        found = self.get(f"/buildset/{uuid}")
        assert isinstance(found, dict)
        return found

    def running(self) -> list[str]:
        """Names of the jobs in all pipelines that have not ended, with their item; for messages to people."""
        status = self.get("/status")
        assert isinstance(status, dict)
        names = []
        for pipeline in status.get("pipelines", []):
            for queue in pipeline.get("change_queues", []):
                for head in queue.get("heads", []):
                    for item in head:
                        names += [f"{pipeline['name']} {job['name']}" for job in item.get("jobs", []) if not job.get("result")]
        return names

    def enqueue_ref(self, pipeline: str, project: str, ref: str, newrev: str) -> None:
        """Put a branch into a pipeline, as the timer would; needs the operator's token."""
        order = {"trigger": "gerrit", "pipeline": pipeline, "ref": ref, "oldrev": "0" * 40, "newrev": newrev}
        answer = self._http.post(f"/project/{project}/enqueue", json=order, headers={"Authorization": f"Bearer {self._token()}"})
        if answer.status_code != 200:
            raise InfrastructureError(f"Zuul refused to enqueue {project}: {answer.status_code} {answer.text[:300]}", retriable=False)

    def _token(self) -> str:
        """A signed token (RFC 7519, HS256) that lasts ten minutes."""
        now = int(time.time())
        claims = {"iss": "lab", "aud": "lab", "sub": "operator", "iat": now, "exp": now + 600, "zuul": {"admin": [self._tenant]}}
        words = [_encode(json.dumps(part).encode()) for part in ({"alg": "HS256", "typ": "JWT"}, claims)]
        secret = (self._places.etc / "operator.secret").read_text().encode()
        signature = hmac.new(secret, ".".join(words).encode(), hashlib.sha256).digest()
        return ".".join([*words, _encode(signature)])


def _encode(data: bytes) -> str:
    return base64.urlsafe_b64encode(data).rstrip(b"=").decode()
