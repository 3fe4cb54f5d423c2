"""The plain services under Zuul: certificates, ZooKeeper, PostgreSQL, the static nodes' sshd, the log server.

This module must never start anything on another address than loopback of the lab's own network.
"""

from __future__ import annotations

import os
import pwd
import shutil
import sys
from pathlib import Path

from topcoat.errors import InfrastructureError
from topcoat.process import run
from zuul_lab import layout as at
from zuul_lab.layout import Places
from zuul_lab.services import Service, start, wait_until

_JAVA = Path("/usr/share/java")
_ZOOKEEPER_JARS = ("zookeeper.jar", "zookeeper-jute.jar", "slf4j-api.jar", "slf4j-simple.jar", "metrics-core.jar", "snappy-java.jar")


def make_certificates(places: Places) -> None:
    """A CA and one server certificate for every name of the lab (RFC 5280), as PEM: ca.pem, server.pem, server.key, server-store.pem."""
    folder = places.etc / "tls"
    folder.mkdir()
    names = ",".join(["DNS:localhost", "IP:127.0.0.1", *(f"DNS:{host}" for host in at.HOSTS)])
    ca = ["-x509", "-days", "30", "-subj", "/CN=topcoat lab CA", "-keyout", folder / "ca.key", "-out", folder / "ca.pem"]
    new = ["openssl", "req", "-newkey", "rsa:2048", "-nodes", "-sha256"]
    run([*new, *ca, "-addext", "basicConstraints=critical,CA:TRUE"], timeout=60)
    run([*new, "-subj", "/CN=localhost", "-keyout", folder / "server.key", "-out", folder / "server.csr"], timeout=60)
    (folder / "server.ext").write_text(f"subjectAltName={names}\nextendedKeyUsage=serverAuth,clientAuth\nbasicConstraints=CA:FALSE\n")
    sign = ["openssl", "x509", "-req", "-in", folder / "server.csr", "-CA", folder / "ca.pem", "-CAkey", folder / "ca.key", "-CAcreateserial"]
    run([*sign, "-days", "30", "-sha256", "-extfile", folder / "server.ext", "-out", folder / "server.pem"], timeout=60)
    (folder / "server-store.pem").write_text((folder / "server.pem").read_text() + (folder / "server.key").read_text())


def make_keys(places: Places) -> None:
    """Key pairs: ``admin`` and ``zuul`` for Gerrit, ``node`` for the executor, ``host`` as every node's host key."""
    for name in ("admin", "zuul", "node", "host"):
        run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-C", f"{name}@topcoat-lab", "-f", places.etc / f"{name}.key"], timeout=30)


def start_zookeeper(places: Places) -> Service:
    """ZooKeeper with TLS only. Every netty jar is needed: netty-all of Debian lacks the codecs."""
    data = places.state / "zookeeper"
    data.mkdir()
    tls = places.etc / "tls"
    (places.etc / "zoo.cfg").write_text(
        f"""tickTime=2000
dataDir={data}
secureClientPort={at.ZOOKEEPER}
secureClientPortAddress=127.0.0.1
serverCnxnFactory=org.apache.zookeeper.server.NettyServerCnxnFactory
admin.enableServer=false
ssl.keyStore.location={tls}/server-store.pem
ssl.trustStore.location={tls}/ca.pem
maxClientCnxns=0
"""
    )
    jars = [_JAVA / name for name in _ZOOKEEPER_JARS] + sorted(path for path in _JAVA.glob("netty-*.jar") if path.is_symlink())
    missing = [path.name for path in jars if not path.exists()]
    if missing:
        raise InfrastructureError(f"ZooKeeper's jars are missing: {', '.join(missing)}", retriable=False, next_step="`python -m zuul_lab prepare`")
    options = ["-Xmx256m", "-Dzookeeper.forceSync=no", "-Dorg.slf4j.simpleLogger.logFile=System.out"]
    main = "org.apache.zookeeper.server.ZooKeeperServerMain"
    return start(places, "zookeeper", ["java", *options, "-cp", ":".join(map(str, jars)), main, places.etc / "zoo.cfg"])


def postgresql_bin() -> Path:
    """Folder with initdb and postgres, the newest that Debian installed."""
    found = sorted(Path("/usr/lib/postgresql").glob("*/bin"), key=lambda path: int(path.parent.name)) if Path("/usr/lib/postgresql").is_dir() else []
    if not found:
        raise InfrastructureError("PostgreSQL is not installed", retriable=False, next_step="`python -m zuul_lab prepare`")
    return found[-1]


def as_postgres(*argv: str | os.PathLike[str]) -> list[str | os.PathLike[str]]:
    """PostgreSQL refuses root."""
    return ["setpriv", "--reuid=postgres", "--regid=postgres", "--init-groups", *argv]


def start_postgresql(places: Places) -> Service:
    """PostgreSQL without fsync, trust on loopback, one database ``zuul``."""
    data = places.state / "postgresql"
    data.mkdir()
    account = pwd.getpwnam("postgres")
    os.chown(data, account.pw_uid, account.pw_gid)
    binaries = postgresql_bin()
    run(as_postgres(binaries / "initdb", "-D", data, "-A", "trust", "--no-sync", "-E", "UTF8", "--locale=C"), timeout=120)
    options = {"listen_addresses": "127.0.0.1", "port": at.POSTGRESQL, "fsync": "off", "unix_socket_directories": data, "max_connections": 200}
    words = [word for key, value in options.items() for word in ("-c", f"{key}={value}")]
    service = start(places, "postgresql", as_postgres(binaries / "postgres", "-D", data, *words))
    socket = ["-h", "127.0.0.1", "-p", str(at.POSTGRESQL)]
    # The port is open before the server takes connections.
    asking = [binaries / "pg_isready", "-q", *socket]
    wait_until("PostgreSQL takes connections", lambda: run(asking, timeout=30, check=False).code == 0, service=service)
    run(as_postgres(binaries / "createdb", *socket, "zuul"), timeout=120)
    return service


_NODE_SCRIPT = """set -e
# $1 folder of the node, $2 its hosts file, $3 its address, $4 the gateway, $5 its name
while ! ip -br link show eth0 >/dev/null 2>&1; do sleep 0.05; done
ip link set lo up
ip addr add "$3/24" dev eth0
ip link set eth0 up
ip route add default via "$4"
mount --make-rprivate /
for name in etc usr/local; do
    upper=$1/upper/$name work=$1/work/$name
    mkdir -p "$upper" "$work"
    mount -t overlay "node-$name" -o "lowerdir=/$name,upperdir=$upper,workdir=$work" "/$name"
done
for name in var/lib/containers var/tmp tmp run; do
    case $1 in /$name/*) continue ;; esac
    mkdir -p "$1/$name" "/$name"
    chmod 1777 "$1/$name"
    mount --bind "$1/$name" "/$name"
done
sed -i "s|^root:\\(.*\\):/root:|root:\\1:$1/root:|" /etc/passwd
cp "$2" /etc/hosts
echo "127.0.0.1 $5" >>/etc/hosts
cp "${2%/*}/resolv.conf" /etc/resolv.conf
hostname "$5"
mkdir -p -m 0755 /run/sshd
exec /usr/sbin/sshd -D -e -f "$1/sshd_config"
"""


def make_bridge(places: Places) -> None:
    """The network between the lab and its nodes."""
    for words in (["link", "add", "nodes", "type", "bridge"], ["addr", "add", f"{at.GATEWAY}/24", "dev", "nodes"], ["link", "set", "nodes", "up"]):
        run(["ip", *words], timeout=10, failure=InfrastructureError)
    (places.etc / "node-hosts").write_text("127.0.0.1 localhost\n" + f"{at.GATEWAY} " + " ".join(at.NODE_HOSTS) + "\n")


def start_node(places: Places, number: int) -> Service:
    """One static node: this machine over ssh, with a network, a home, an /etc, container storage and temporary folders of its own.

    What a job writes there never reaches the machine: the folders are overlays and binds of a private mount namespace. An overlay shows its
    lower folder without what is mounted inside, so the lab's host names are written once more.
    """
    folder = places.node_home(number).parent
    home = places.node_home(number)
    (home / ".ssh").mkdir(parents=True, mode=0o700)
    home.chmod(0o700)
    shutil.copy(places.etc / "node.key.pub", home / ".ssh/authorized_keys")
    (folder / "sshd_config").write_text(
        f"""Port 22
ListenAddress {at.node_address(number)}
HostKey {places.etc}/host.key
PidFile none
StrictModes no
AuthorizedKeysFile {home}/.ssh/authorized_keys
PasswordAuthentication no
UsePAM no
PermitRootLogin yes
MaxStartups 100
MaxSessions 100
SetEnv HOME={home} PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin
Subsystem sftp internal-sftp
"""
    )
    argv = ["unshare", "--mount", "--net", "--uts", "sh", "-c", _NODE_SCRIPT, "node", folder]
    argv += [places.etc / "node-hosts", at.node_address(number), at.GATEWAY, f"node-{number}"]
    service = start(places, f"node-{number}", argv)
    _wait_for_namespace(service)
    link = ["link", "add", f"node-{number}", "type", "veth", "peer", "name", "eth0", "netns", str(service.pid)]
    for words in (link, ["link", "set", f"node-{number}", "master", "nodes", "up"]):
        run(["ip", *words], timeout=10, failure=InfrastructureError)
    return service


def _wait_for_namespace(service: Service) -> None:
    """Wait until the started program has left our network namespace."""
    ours = Path("/proc/self/ns/net").readlink()
    wait_until("the node has its own network", lambda: Path(f"/proc/{service.pid}/ns/net").readlink() != ours, service=service, pause=0.02)


def start_log_server(places: Places) -> Service:
    """Build logs over HTTP, so that Zuul's log addresses lead somewhere."""
    folder = places.logs / "builds"
    folder.mkdir(parents=True, exist_ok=True)
    return start(places, "log-server", [sys.executable, "-m", "http.server", str(at.LOGS_HTTP), "--bind", "127.0.0.1", "--directory", folder])
