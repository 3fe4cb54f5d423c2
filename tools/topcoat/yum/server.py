"""Serves a frozen view of the repositories on loopback, for dnf inside containers.

This module must never listen on anything but 127.0.0.1, and nothing of it (its port changes from run to run) may end in an image.
"""

from __future__ import annotations

import http.server
import shutil
import sys
import threading
from types import TracebackType
from urllib.parse import quote, unquote, urlsplit

from topcoat.errors import InfrastructureError, TopcoatError, UsageError
from topcoat.process.network import PrivateNetwork
from topcoat.yum.gathered import Gathered
from topcoat.yum.repositories import Snapshot


class RepositoryServer:
    """Context manager around a threaded HTTP server. Packages are fetched, once and verified, when somebody asks for them."""

    def __init__(self, snapshot: Snapshot, network: PrivateNetwork | None = None) -> None:
        """:param network: listen inside this one too, at the same address."""
        self._snapshot = snapshot
        self._network = network
        self._server: http.server.ThreadingHTTPServer | None = None
        self._refused: dict[str, TopcoatError] = {}
        self._running: list[tuple[http.server.ThreadingHTTPServer, threading.Thread]] = []

    def __enter__(self) -> RepositoryServer:
        gathered = Gathered(self._snapshot)

        class Handler(_Handler):
            view = gathered
            refused = self._refused

        self._server = self._serve(_Server(("127.0.0.1", 0), Handler))
        if self._network is not None:
            inside = _Server(("127.0.0.1", self._server.server_address[1]), Handler, bind_and_activate=False)
            inside.socket.close()
            inside.socket = self._network.listen(self._server.server_address[1])
            self._serve(inside)
        return self

    def _serve(self, server: _Server) -> _Server:
        server.daemon_threads = True
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05}, name="repositories", daemon=True)
        thread.start()
        self._running.append((server, thread))
        return server

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        for server, thread in self._running:
            server.shutdown()
            server.server_close()
            thread.join()
        self._running.clear()
        self._server = None

    def url(self, repo_id: str) -> str:
        """Base URL of a frozen repository.

        :raises UsageError: unknown repository, or the server is not running.
        """
        self._snapshot.repository(repo_id)
        if self._server is None:
            raise UsageError("the repository server is not running", next_step="use it as a context manager")
        return f"http://127.0.0.1:{self._server.server_address[1]}/{quote(repo_id, safe='')}/"

    def refusal(self, text: str) -> TopcoatError | None:
        """Why a package was not handed out whose address is in a text: a client sees a number only, its user needs the reason."""
        return next((error for url, error in self._refused.items() if url in text), None)

    def repo_file(self) -> str:
        """The text of a ``.repo`` file with every frozen repository, its priority, include and exclude lists.

        Signatures are checked here, before a package is handed out: the client need not know the keys, and its own configuration cannot weaken it.

        Names of a gated repository's packages are excluded from all others, so that the gated build is the only one there is.
        """
        gated_names = sorted({nevra.name for nevra in self._snapshot.gated()})
        sections = []
        for frozen in self._snapshot.repositories:
            repository = frozen.repository
            excluded = [*repository.excludepkgs, *(() if repository.gated else gated_names)]
            lines = [
                f"[{repository.id}]",
                f"name={repository.id}",
                f"baseurl={self.url(repository.id)}",
                "enabled=1",
                "gpgcheck=0",
                "repo_gpgcheck=0",
                "metadata_expire=-1",
                # what the image's dnf.conf says of the way to other hosts is no way to loopback
                "proxy=",
                "ip_resolve=4",
                # the view behind this server has tried often enough already
                "retries=1",
                "skip_if_unavailable=0",
                f"priority={repository.priority}",
                f"module_hotfixes={int(repository.module_hotfixes)}",
            ]
            if repository.includepkgs:
                lines.append(f"includepkgs={','.join(repository.includepkgs)}")
            if excluded:
                lines.append(f"excludepkgs={','.join(excluded)}")
            sections.append("\n".join(lines) + "\n")
        return "\n".join(sections)


class _Server(http.server.ThreadingHTTPServer):
    def handle_error(self, request, client_address) -> None:  # type: ignore[no-untyped-def]
        """A client that went away (dnf does, once it knows that it must fail) is no error of ours."""
        if not isinstance(sys.exception(), ConnectionError):
            super().handle_error(request, client_address)


class _Handler(http.server.BaseHTTPRequestHandler):
    """GET and HEAD of ``/<repository id>/<href>``."""

    protocol_version = "HTTP/1.1"
    view: Gathered
    refused: dict[str, TopcoatError]

    def do_GET(self) -> None:
        self._answer(body=True)

    def do_HEAD(self) -> None:
        self._answer(body=False)

    def _answer(self, *, body: bool) -> None:
        repo_id, _, href = urlsplit(self.path).path.lstrip("/").partition("/")
        try:
            stream = self.view.fetch(unquote(repo_id), unquote(href)).open("rb")
        except TopcoatError as error:
            self.refused[f"/{repo_id}/{href}"] = error
            # An unreachable repository is our trouble (502); a name that it does not hold is the asker's (404).
            self.send_error(502 if isinstance(error, InfrastructureError) else 404, explain=error.what)
            return
        with stream:
            self.send_response(200)
            self.send_header("Content-Type", "application/octet-stream")
            self.send_header("Content-Length", str(stream.seek(0, 2)))
            self.end_headers()
            if body:
                stream.seek(0)
                shutil.copyfileobj(stream, self.wfile, 1 << 18)

    def log_message(self, format: str, *args: object) -> None:
        """Say nothing: what was fetched is in the cache, what failed is in the client's log."""
