"""A real image registry on the loopback interface, with TLS and a password, for the demo and for functional tests.

This module must never listen on another interface, put the password on a command line, or end a process it did not start.

In a test::

    with RegistryServer(tmp / "registry") as server:
        client = RegistryClient(server.host, credentials=Credentials.from_authfile(server.authfile), ca_file=server.ca_file)
        push_layout(server, layout, "demo/base", "current")

``storage`` stays when the server stops; started again on the same directory it comes back on the same port with the same password and certificate.
"""

from __future__ import annotations

import base64
import http.client
import json
import os
import secrets
import signal
import socket
import ssl
import subprocess
import time
from collections.abc import Mapping
from pathlib import Path

import trustme
import yaml

from topcoat.errors import InfrastructureError
from topcoat.model import Digest
from topcoat.process import run
from topcoat.process.network import free_port

USERNAME = "demo"
_START_SECONDS = 20.0
_STOP_SECONDS = 10.0
_PORT_TRIES = 5
# The registry's heap is a few megabytes, so that Go collects it many times a second: a third of the time of each small request.
_ENVIRONMENT = {"GOGC": "400"}


def configuration_of(storage: Path, address: str, *, tls: tuple[Path, Path] | None = None, readonly: bool = False) -> dict[str, object]:
    """What docker-registry is told, wherever one is started.

    :param address: ``host:port`` to listen on. :param tls: certificate and key. :param readonly: it takes nothing and deletes nothing.
    """
    kind: dict[str, object] = {"maintenance": {"readonly": {"enabled": True}}} if readonly else {"delete": {"enabled": True}}
    http: dict[str, object] = {"addr": address, "secret": secrets.token_hex(16), "headers": {"X-Content-Type-Options": ["nosniff"]}}
    if tls:
        http["tls"] = {"certificate": str(tls[0]), "key": str(tls[1])}
    return {
        "version": 0.1,
        "log": {"level": "warn", "accesslog": {"disabled": False}},
        "storage": {"filesystem": {"rootdirectory": str(storage)}, **kind},
        "http": http,
    }


def _is_free(port: int) -> bool:
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind(("127.0.0.1", port))
        except OSError:
            return False
    return True


def _write_private(path: Path, text: str) -> None:
    """Mode 0600 from the first byte on."""
    with os.fdopen(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "w") as stream:
        stream.write(text)


class RegistryServer:
    """One docker-registry process and the files that clients need.

    :param directory: holds everything: storage, certificates, auth file, log, state.
    :param tls: HTTPS with a certificate of an own CA; False: plain HTTP.
    :param password: HTTP basic authentication with a random password.
    :param port: 0: the port of last time when it is free, else any free one.
    :param options: merged over the registry's configuration, one level deep (``{"storage": {"maintenance": {"readonly": {"enabled": True}}}}``).
    """

    def __init__(
        self, directory: Path, *, tls: bool = True, password: bool = True, port: int = 0, options: Mapping[str, Mapping[str, object]] | None = None
    ) -> None:
        self.directory = Path(directory)
        self.tls = tls
        self.with_password = password
        self.port = port or self._state().get("port", 0)
        self.fixed_port = bool(port)
        self.options = dict(options or {})
        self.storage = self.directory / "storage"
        self.log = self.directory / "registry.log"
        self.authfile = self.directory / "auth.json"
        self.certificates = self.directory / "certificates"
        """For ``--cert-dir`` of skopeo, buildah and podman: holds ca.crt and nothing else."""
        self._child: subprocess.Popen[bytes] | None = None

    @property
    def host(self) -> str:
        """``127.0.0.1:port``, as it stands in image names."""
        return f"127.0.0.1:{self.port}"

    @property
    def url(self) -> str:
        """Scheme and host."""
        return f"{'https' if self.tls else 'http'}://{self.host}"

    @property
    def ca_file(self) -> Path | None:
        """Certificate of the CA (PEM); None without TLS."""
        return self.certificates / "ca.crt" if self.tls else None

    def stored_blobs(self) -> set[str]:
        """Digests of all blobs in its storage. Only their own folders are walked, which stay: those of uploads come and go while it works."""
        return {f"sha256:{path.parent.name}" for path in self.storage.glob("docker/registry/v2/blobs/sha256/*/*/data")}

    @property
    def username(self) -> str:
        """Name of the one account."""
        return USERNAME

    @property
    def password(self) -> str | None:
        """The random password, read from its file; None without authentication."""
        path = self.directory / "password"
        return path.read_text() if self.with_password and path.exists() else None

    @property
    def pid(self) -> int | None:
        """Process id of our running server, or None. A process that only inherited the number is not ours."""
        pid = self._state().get("pid")
        if not pid:
            return None
        try:
            command = Path(f"/proc/{pid}/cmdline").read_bytes()
        except OSError:
            return None
        return pid if os.fsencode(self._configuration) in command else None

    def start(self) -> RegistryServer:
        """Start the server and wait until it answers; nothing happens when it runs already.

        :raises InfrastructureError: docker-registry or htpasswd is missing, or the server does not come up.
        """
        if self.pid:
            return self
        self.directory.mkdir(parents=True, exist_ok=True)
        self.storage.mkdir(exist_ok=True)
        self._make_certificates()
        self._make_password()
        for _ in range(_PORT_TRIES):
            if not self.fixed_port and (not self.port or not _is_free(self.port)):
                self.port = free_port()
            self._write_authfile()
            self._write_configuration()
            if self._launch():
                return self
            if self.fixed_port:
                break
            self.port = 0
        raise InfrastructureError(
            "the demo registry did not start", log=str(self.log), next_step="read the log; the port may be taken", retriable=False
        )

    def stop(self) -> None:
        """End the server and wait for it; storage and password stay."""
        pid = self.pid
        if pid:
            os.kill(pid, signal.SIGTERM)
            deadline = time.monotonic() + _STOP_SECONDS
            while self._alive(pid) and time.monotonic() < deadline:
                time.sleep(0.02)
            if self._alive(pid):
                os.kill(pid, signal.SIGKILL)
                self._alive(pid)
            self._child = None
        self._write_state(None)

    def __enter__(self) -> RegistryServer:
        return self.start()

    def __exit__(self, *_: object) -> None:
        self.stop()

    def skopeo_options(self, side: str = "dest") -> list[str]:
        """``--dest-...`` (or ``--src-...``) options of ``skopeo copy``; pass ``--authfile`` beside them."""
        return [f"--{side}-cert-dir={self.certificates}"] if self.tls else [f"--{side}-tls-verify=false"]

    def ping(self) -> int:
        """Status of ``GET /v2/`` with our credentials; 0 when nothing answers."""
        connection: http.client.HTTPConnection
        if self.tls:
            connection = http.client.HTTPSConnection("127.0.0.1", self.port, timeout=5, context=ssl.create_default_context(cafile=str(self.ca_file)))
        else:
            connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=5)
        headers = {"Authorization": f"Basic {self._token()}"} if self.with_password else {}
        try:
            connection.request("GET", "/v2/", headers=headers)
            return connection.getresponse().status
        except (OSError, http.client.HTTPException):
            return 0
        finally:
            connection.close()

    @property
    def _configuration(self) -> Path:
        return self.directory.absolute() / "config.yaml"

    def _state(self) -> dict[str, int]:
        try:
            return json.loads((self.directory / "state.json").read_text())
        except (OSError, ValueError):
            return {}

    def _write_state(self, pid: int | None) -> None:
        partial = self.directory / ".state.json"
        partial.write_text(json.dumps({"port": self.port, "pid": pid}))
        partial.replace(self.directory / "state.json")

    def _token(self) -> str:
        return base64.b64encode(f"{USERNAME}:{self.password}".encode()).decode()

    def _make_certificates(self) -> None:
        if not self.tls or (self.directory / "server.key").exists():
            return
        self.certificates.mkdir(exist_ok=True)
        authority = trustme.CA(organization_name="Demo registry")
        server = authority.issue_cert("127.0.0.1", "localhost", "::1")
        authority.cert_pem.write_to_path(str(self.certificates / "ca.crt"))
        (self.directory / "server.crt").write_bytes(b"".join(blob.bytes() for blob in server.cert_chain_pems))
        _write_private(self.directory / "server.key", server.private_key_pem.bytes().decode())

    def _make_password(self) -> None:
        if not self.with_password or (self.directory / "htpasswd").exists():
            return
        password = secrets.token_urlsafe(24)
        # Cost 4 is bcrypt's least: the registry hashes on every request, and the password is random anyway.
        line = run(["htpasswd", "-n", "-i", "-B", "-C", "4", USERNAME], timeout=30, stdin=password, failure=InfrastructureError).output.strip()
        _write_private(self.directory / "password", password)
        _write_private(self.directory / "htpasswd", f"{line}\n")

    def _write_authfile(self) -> None:
        accounts = {self.host: {"auth": self._token()}} if self.with_password else {}
        _write_private(self.authfile, json.dumps({"auths": accounts}))

    def _write_configuration(self) -> None:
        folder = self.directory.absolute()
        tls = (folder / "server.crt", folder / "server.key") if self.tls else None
        configuration = configuration_of(self.storage.absolute(), self.host, tls=tls)
        if self.with_password:
            configuration["auth"] = {"htpasswd": {"realm": "demo", "path": str(folder / "htpasswd")}}
        for section, values in self.options.items():
            configuration.setdefault(section, {}).update(values)  # type: ignore[attr-defined]
        _write_private(self._configuration, yaml.safe_dump(configuration))

    def _launch(self) -> bool:
        with self.log.open("ab") as log:
            try:
                # A server outlives this call, so the run-to-the-end helper does not fit.
                child = subprocess.Popen(
                    ["docker-registry", "serve", str(self._configuration)],
                    stdin=subprocess.DEVNULL,
                    stdout=log,
                    stderr=log,
                    start_new_session=True,
                    env={**_ENVIRONMENT, **os.environ},
                )
            except FileNotFoundError as error:
                raise InfrastructureError("docker-registry is not installed", retriable=False, next_step="run tools/setup-node demo") from error
        self._child = child
        self._write_state(child.pid)
        deadline = time.monotonic() + _START_SECONDS
        while time.monotonic() < deadline:
            if child.poll() is not None:
                return False
            if self.ping() == 200:
                return True
            time.sleep(0.02)
        self.stop()
        return False

    def _alive(self, pid: int) -> bool:
        """Whether the process still runs; reaps it when it is our child."""
        if self._child and self._child.pid == pid:
            return self._child.poll() is None
        return Path(f"/proc/{pid}").exists()


def push_layout(server: RegistryServer, layout: Path, repository: str, tag: str) -> Digest:
    """Copy the one image of an OCI layout into the registry, bytes unchanged.

    :param layout: directory with oci-layout, index.json and blobs.
    :returns: digest of the manifest in the registry.
    :raises InfrastructureError: skopeo failed.
    """
    digest = server.directory / f".digest-{secrets.token_hex(4)}"
    command = ["skopeo", "copy", "--quiet", "--preserve-digests", f"--authfile={server.authfile}", f"--digestfile={digest}", *server.skopeo_options()]
    try:
        run([*command, f"oci:{layout}", f"docker://{server.host}/{repository}:{tag}"], timeout=300, failure=InfrastructureError)
        return digest.read_text().strip()
    finally:
        digest.unlink(missing_ok=True)
