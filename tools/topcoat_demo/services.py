"""The real services of the demo and what each must answer: files it is given, commands before it starts, one question and the words of its answer.

This module must never run anything; ``real`` does.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

_HTTP = """
import sys, urllib.error, urllib.request
try:
    answer = urllib.request.urlopen(sys.argv[1], timeout=20)
except urllib.error.HTTPError as error:  # 300 lists versions; 401 asks who we are
    if error.code not in (300, 401):
        raise
    answer = error
print(answer.status, answer.read().decode(errors="replace")[:4000])
"""
_MEMCACHED = """
import socket
connection = socket.create_connection(("127.0.0.1", 11211), timeout=5)
connection.sendall(b"set greeting 0 0 5\\r\\nhello\\r\\nget greeting\\r\\nstats\\r\\n")
answer = b""
while b"END\\r\\n" not in answer.partition(b"STAT")[2]:
    answer += connection.recv(4096)
print(answer.decode())
"""
_TOKEN = """
import json, urllib.request
body = {"auth": {"identity": {"methods": ["password"], "password": {"user": {"name": "admin", "domain": {"id": "default"}, "password": "demo"}}}}}
request = urllib.request.Request("http://127.0.0.1:5000/v3/auth/tokens", json.dumps(body).encode(), {"Content-Type": "application/json"})
answer = urllib.request.urlopen(request, timeout=20)
print(answer.status, "token of", len(answer.headers["X-Subject-Token"]), "characters")
print(urllib.request.urlopen("http://127.0.0.1:5000/v3", timeout=5).read().decode())
"""
_HAPROXY = """
defaults
    mode http
    timeout client 5s
    timeout server 5s
    timeout connect 5s
frontend demo
    bind 127.0.0.1:8080
    http-request return status 200 content-type text/plain string "served by haproxy"
"""
_KEYSTONE = """
[DEFAULT]
use_stderr = true
[database]
connection = sqlite:////var/lib/keystone/keystone.db
[fernet_tokens]
key_repository = /var/lib/keystone/fernet-keys
[fernet_receipts]
key_repository = /var/lib/keystone/fernet-keys
[credential]
key_repository = /var/lib/keystone/credential-keys
[cache]
enabled = false
"""
_PLACEMENT = """
[DEFAULT]
use_stderr = true
[api]
auth_strategy = noauth2
[placement_database]
connection = sqlite:////var/lib/placement/placement.db
"""
_NOVA = """
[DEFAULT]
state_path = /var/lib/nova
use_stderr = true
[oslo_concurrency]
lock_path = /var/lib/nova/tmp
"""


@dataclass(frozen=True)
class Service:
    """One image of real software and how to see that it works."""

    image: str
    package: str
    """Whose version is shown, and which the update must change."""
    question: tuple[str, ...]
    """Command inside the running container."""
    answer: str
    """What the output must hold."""
    files: Mapping[str, str] = field(default_factory=dict)
    """Path in the container -> content, mounted read-only: the deployment's configuration."""
    state: str | None = None
    """Directory that is mounted and keeps the data over the update."""
    owner: int = 0
    """uid and gid of the state."""
    before: tuple[tuple[str, ...], ...] = ()
    """Commands in the image before the first start, as a deployment runs them."""
    arguments: tuple[str, ...] = ()
    """Instead of the image's command."""
    options: tuple[str, ...] = ()
    """Of podman: what a deployment gives beside files."""
    changes: bool = True
    """The update must change the package; False where Debian changed only what it needs."""


def _python(code: str, *arguments: str) -> tuple[str, ...]:
    return ("python3", "-c", code, *arguments)


def _api(image: str, package: str, port: int, answer: str, *, path: str = "/", **more: object) -> Service:
    """An API under httpd: its list of versions, which needs no database and no identity service."""
    return Service(image, package, _python(_HTTP, f"http://127.0.0.1:{port}{path}"), answer, changes=False, **more)  # type: ignore[arg-type]


def _database(image: str, name: str, answer: str) -> Service:
    """A database of OVN, which makes itself when it is empty."""
    return Service(image, "openvswitch-ovn-central", ("ovsdb-client", "list-dbs", f"unix:/var/run/ovn/{name}.sock"), answer, changes=False)


def _help(*programs: str) -> dict[str, tuple[str, ...]]:
    return {program: (program, "--help") for program in programs}


# How programs say what they are, where it is not --version.
PROGRAMS: Mapping[str, tuple[str, ...]] = {
    "/bin/sh": ("rpm", "-q", "rpm"),
    "/usr/sbin/httpd": ("/usr/sbin/httpd", "-v"),
    "/usr/sbin/named": ("/usr/sbin/named", "-v"),
    "/usr/sbin/collectd": ("/usr/sbin/collectd", "-h"),
    # These have no such option and do nothing useful without their devices.
    "/usr/sbin/crond": ("rpm", "-qf", "/usr/sbin/crond"),
    "/usr/sbin/multipathd": ("rpm", "-qf", "/usr/sbin/multipathd"),
    "/usr/sbin/rsyslogd": ("/usr/sbin/rsyslogd", "-v"),
    "/usr/sbin/unbound": ("/usr/sbin/unbound", "-V"),
    "/usr/sbin/qdrouterd": ("/usr/sbin/qdrouterd", "-v"),
    "/usr/sbin/rabbitmq-server": ("rpm", "-q", "rabbitmq-server"),
    "/usr/share/ovn/scripts/ovn-ctl": ("/usr/sbin/ovsdb-server", "--version"),
    # Debian's barbican fails at its own --version.
    "/usr/bin/barbican-keystone-listener": ("rpm", "-qf", "/usr/bin/barbican-keystone-listener"),
    "/usr/bin/barbican-worker": ("rpm", "-qf", "/usr/bin/barbican-worker"),
    **_help(*(f"/usr/bin/designate-{name}" for name in ("central", "mdns", "producer", "sink", "worker"))),
    **_help(*(f"/usr/bin/swift-{name}-server" for name in ("account", "container", "object", "proxy"))),
}


SERVICES = (
    Service("memcached", "memcached", _python(_MEMCACHED), "hello"),
    Service("redis", "redis", ("redis-cli", "ping"), "PONG"),
    Service(
        "haproxy",
        "haproxy",
        ("sh", "-c", 'haproxy -v | head -1; haproxy -c -f /etc/haproxy/haproxy.cfg; exec python3 -c "$0" http://127.0.0.1:8080/', _HTTP),
        "served by haproxy",
        files={"/etc/haproxy/haproxy.cfg": _HAPROXY},
    ),
    Service(
        "mariadb",
        "mariadb-server-core",
        ("mariadb", "--user=root", "--batch", "--execute=SELECT 40 + 2 AS answer, VERSION()"),
        "42\t",
        state="/var/lib/mysql",
        owner=42434,
        before=(("mariadb-install-db", "--skip-test-db", "--auth-root-authentication-method=normal"),),
    ),
    Service(
        "keystone",
        "openstack-keystone",
        _python(_TOKEN),
        "201 token of",
        files={"/etc/keystone/keystone.conf": _KEYSTONE},
        state="/var/lib/keystone",
        owner=42425,
        before=(
            ("keystone-manage", "db_sync"),
            ("keystone-manage", "fernet_setup", "--keystone-user", "keystone", "--keystone-group", "keystone"),
            # A throw-away identity service without a network: this password protects nothing.
            ("keystone-manage", "bootstrap", "--bootstrap-password", "demo", "--bootstrap-public-url", "http://127.0.0.1:5000/v3"),
            ("chown", "-R", "keystone:keystone", "/var/lib/keystone"),
        ),
    ),
    Service(
        "placement-api",
        "openstack-placement-api",
        _python(_HTTP, "http://127.0.0.1:8778/"),
        '"max_version"',
        files={"/etc/placement/placement.conf": _PLACEMENT},
        state="/var/lib/placement",
        owner=42482,
        changes=False,
        before=(("placement-manage", "db", "sync"), ("chown", "-R", "placement:placement", "/var/lib/placement")),
    ),
    Service(
        "nova-novncproxy",
        "openstack-nova-novncproxy",
        _python(_HTTP, "http://127.0.0.1:6080/vnc_lite.html"),
        "noVNC",
        files={"/etc/nova/nova.conf": _NOVA},
        state="/var/lib/nova",
        owner=42436,
    ),
    Service(
        "etcd",
        "etcd",
        _python(_HTTP, "http://127.0.0.1:2379/version"),
        "etcdserver",
        state="/var/lib/etcd",
        owner=42413,
        arguments=("--data-dir", "/var/lib/etcd"),
        changes=False,
    ),
    _database("ovn-nb-db-server", "ovnnb_db", "OVN_Northbound"),
    _database("ovn-sb-db-server", "ovnsb_db", "OVN_Southbound"),
    _api("octavia-api", "openstack-octavia-api", 9876, '"v2.0"'),
    _api("heat-api", "openstack-heat-api", 8004, '"CURRENT"'),
    _api("heat-api-cfn", "openstack-heat-api-cfn", 8000, '"CURRENT"'),
    _api("ironic-api", "openstack-ironic-api", 6385, "OpenStack Ironic API"),
    _api("manila-api", "manila-api", 8786, '"v1.0"'),
    _api("designate-api", "openstack-designate-api", 9001, "api-ref/dns"),
    _api("barbican-api", "openstack-barbican-api", 9311, "key-manager"),
)
