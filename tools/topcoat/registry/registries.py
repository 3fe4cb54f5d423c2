"""Clients for every registry that one run speaks to, with one auth file and one TLS configuration.

This module must never open a connection by itself.
"""

from __future__ import annotations

import threading
from collections.abc import Iterable
from pathlib import Path

from topcoat.registry.auth import Credentials
from topcoat.registry.client import RegistryClient
from topcoat.registry.limits import Limits
from topcoat.registry.tls import Tls


class Registries:
    """Makes one client a host and keeps it."""

    def __init__(
        self, authfile: Path | None = None, ca_file: Path | None = None, *, plain_http_hosts: Iterable[str] = (), limits: Limits | None = None
    ) -> None:
        """:param plain_http_hosts: the only hosts (``name[:port]``) that are spoken to without TLS.

        :raises UsageError: the auth file cannot be read, or by too many; the certificate authority cannot be read.
        """
        self.credentials = Credentials.from_authfile(authfile) if authfile else Credentials()
        """Also of servers that are no registries: their logins stand in the same file."""
        self.ca_file = ca_file
        self._tls = Tls(ca_file)
        self.plain_http = frozenset(plain_http_hosts)
        self._limits = limits
        self._clients: dict[str, RegistryClient] = {}
        self._lock = threading.Lock()

    def client(self, host: str) -> RegistryClient:
        """The client of a registry, the same for every caller."""
        with self._lock:
            if host not in self._clients:
                self._clients[host] = RegistryClient(
                    host,
                    self.credentials,
                    plain_http=host in self.plain_http,
                    tls=self._tls,
                    plain_hosts=self.plain_http,
                    limits=self._limits,
                )
            return self._clients[host]

    @property
    def traffic(self) -> dict[str, dict[str, object]]:
        """What went over the wire, by host."""
        with self._lock:
            clients = dict(self._clients)
        return {host: client.traffic.as_dict() for host, client in sorted(clients.items())}

    def close(self) -> None:
        """Close idle connections."""
        with self._lock:
            clients = list(self._clients.values())
        for client in clients:
            client.close()
