"""Real software under the package names that the recipes use: Debian's memcached, redis, haproxy, mariadb, apache, keystone, placement, nova.

This module must never start anything; ``real`` does.

The RPMs go into two repositories of their own: ``real``, and ``real-next``, which holds the services once more with a newer release, so that there is
something to update.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from topcoat_demo import base
from topcoat_demo.convert import Rules
from topcoat_demo.rpms import File, RpmSpec, config, directory, make_repository, script, symlink, words

ROOTS = words(
    "memcached redis-server haproxy mariadb-server-core mariadb-client-core galera-4 apache2-bin libapache2-mod-wsgi-py3 keystone "
    "placement-api nova-consoleproxy novnc "
)
"""Debian's names of the services."""

LEFT_OUT = words(
    "uwsgi-plugin-python3 uwsgi-plugin-apparmor uwsgi-core python3-pastescript q-text-as-data dbconfig-common python3-openstackclient "
    "iptables sudo apache2-data apache2-utils ssl-cert procps psmisc python3-libvirt lsof gawk iproute2 libdbi-perl rsync socat python3-all "
    "alembic openvswitch-switch mariadb-common mysql-common nodejs python3-mypy python3-numpy python3-sphinx python3-ceph python3-rbd "
    "python3-rados python3-grpcio python3-etcd3 python3-etcd3gw python3-gevent python3-confluent-kafka xclip python3-pil wget openssh-client "
    "python3-kerberos python-babel-localedata spice-html5 e2fsprogs bridge-utils open-iscsi ca-certificates openssl python3-zmq "
    "python3-redis python3-kazoo python3-pyinotify python3-cephfs libjs-sphinxdoc libjs-underscore libjs-jquery sphinx-common "
    "python3-docutils python3-psycopg2 python3-mysqldb python3-colorama python3-secretstorage python3-keyring python3-unittest2 mailcap "
    "mime-support ieee-data lsb-release python3-pygments libldap-common sgml-base xml-core docutils-common libjson-perl "
    "python3-zake python3-consul python3-prometheus-client netbase python3-babel net-tools python3-future python3-setuptools "
)
"""Optional parts that would make the set three times as large: the checks prove that the services run without them."""

REBUILT = words("memcached redis-server haproxy mariadb-server-core apache2-bin libapache2-mod-wsgi-py3 keystone placement-api nova-consoleproxy")
"""Debian names that ``real-next`` has a newer release of; nothing requires an exact release of these."""

_MODULES = words(
    "mpm_event access_compat alias auth_basic authn_core authn_file authz_core authz_host authz_user autoindex deflate dir env filter "
    "headers mime negotiation reqtimeout rewrite setenvif status "
)


def _load(*modules: str) -> str:
    return "".join(f"LoadModule {name}_module /usr/lib/apache2/modules/mod_{name}.so\n" for name in modules)


_HTTPD_CONF = """# Main configuration: modules, then what services bring.
ServerRoot /etc/httpd
Mutex file:/run/httpd default
PidFile /run/httpd/httpd.pid
User apache
Group apache
Include conf.modules.d/*.conf
TypesConfig /etc/mime.types
LogFormat "%h %l %u %t \\"%r\\" %>s %b" combined
<Directory />
    AllowOverride none
    Require all denied
</Directory>
IncludeOptional conf.d/*.conf
"""
PLACEMENT_CONF = """Listen 8778
<VirtualHost *:8778>
    WSGIDaemonProcess placement-api processes=1 threads=1 user=placement group=placement
    WSGIProcessGroup placement-api
    WSGIScriptAlias / /usr/bin/placement-api
    WSGIApplicationGroup %{GLOBAL}
    WSGIPassAuthorization On
    <Directory /usr/bin>
        <Files placement-api>
            Require all granted
        </Files>
    </Directory>
</VirtualHost>
"""
"""The package brings it, as its RPM does in the field: the recipe copies none."""

RULES: Mapping[str, Rules] = {
    **base.RULES,
    "memcached": Rules(drop=("/usr/include/",)),
    "redis-server": Rules(
        rename="redis",
        own=(("/etc/redis", "redis"), ("/var/lib/redis", "redis"), ("/var/log/redis", "redis"), ("/run/redis", "redis")),
        add=(directory("/var/lib/redis", mode=0o750), directory("/var/log/redis", mode=0o750)),
        # In a container the log belongs on standard output, and nothing forks.
        edit=(("/etc/redis/redis.conf", "logfile /var/log/redis/redis-server.log", 'logfile ""'), ("/etc/redis/redis.conf", "pidfile", "# pidfile")),
    ),
    "haproxy": Rules(own=(("/var/lib/haproxy", "haproxy"),)),
    "mariadb-server-core": Rules(
        rename="mariadb-server",
        own=(("/var/lib/mysql", "mysql"), ("/run/mysqld", "mysql")),
        add=(directory("/var/lib/mysql", mode=0o750), directory("/run/mysqld"), symlink("/usr/libexec/mysqld", "../sbin/mariadbd")),
    ),
    "mariadb-client-core": Rules(rename="mariadb"),
    "galera-4": Rules(rename="galera"),
    "apache2-bin": Rules(
        rename="httpd",
        provides=("httpd-core",),
        pre="getent group apache >/dev/null || groupadd -r -g 48 apache\n"
        "getent passwd apache >/dev/null || useradd -r -u 48 -g apache -d /usr/share/httpd -s /sbin/nologin apache\n",
        add=(
            script("/usr/sbin/httpd", 'exec /usr/sbin/apache2 -f /etc/httpd/conf/httpd.conf "$@"'),
            config("/etc/httpd/conf/httpd.conf", _HTTPD_CONF),
            config(
                "/etc/httpd/conf.modules.d/00-base.conf",
                "".join(f"LoadModule {name}_module /usr/lib/apache2/modules/mod_{name}.so\n" for name in _MODULES),
            ),
            File("/etc/mime.types", "text/html html\ntext/plain txt\napplication/json json\n"),
            directory("/etc/httpd/conf.d"),
            directory("/run/httpd"),
        ),
        requires=("shadow-utils",),
    ),
    "libapache2-mod-wsgi-py3": Rules(
        rename="python3-mod_wsgi",
        drop=("/etc/apache2/", "/usr/share/python3/runtime.d/"),
        add=(config("/etc/httpd/conf.modules.d/10-wsgi-python3.conf", f"{_load('wsgi')}WSGISocketPrefix /run/httpd/wsgi\n"),),
    ),
    "keystone": Rules(
        rename="openstack-keystone",
        drop=("/etc/apparmor.d/",),
        own=(("/etc/keystone", "keystone"), ("/var/lib/keystone", "keystone"), ("/var/log/keystone", "keystone")),
        add=(
            config("/etc/keystone/keystone.conf", "[database]\nconnection = sqlite:////var/lib/keystone/keystone.db\n"),
            directory("/var/log/keystone", mode=0o750),
            directory("/var/lib/keystone", mode=0o750),
        ),
    ),
    "placement-common": Rules(
        rename="openstack-placement-common",
        own=(("/etc/placement", "placement"), ("/var/lib/placement", "placement")),
        add=(
            config("/etc/placement/placement.conf", "[placement_database]\nconnection = sqlite:////var/lib/placement/placement.db\n"),
            directory("/var/lib/placement", mode=0o750),
        ),
    ),
    "placement-api": Rules(
        rename="openstack-placement-api",
        own=(("/etc/placement", "placement"),),
        add=(config("/etc/httpd/conf.d/00-placement-api.conf", PLACEMENT_CONF),),
    ),
    "nova-common": Rules(
        rename="openstack-nova-common",
        drop=("/etc/sudoers.d/",),
        own=(("/etc/nova", "nova"), ("/var/lib/nova", "nova")),
        add=(config("/etc/nova/nova.conf", "[DEFAULT]\nstate_path = /var/lib/nova\n"),),
    ),
    "nova-consoleproxy": Rules(rename="openstack-nova-novncproxy"),
}


def make(cache: Path, folder: Path) -> None:
    """Write the repositories ``real`` and ``real-next`` below a folder; nothing is fetched or converted twice.

    :raises InfrastructureError: the Debian registry is needed and cannot be reached.
    """
    # nova imports distutils.
    without = (*(name for name in base.WITHOUT if name not in ("python3-distutils", "python3-lib2to3")), *LEFT_OUT)
    rpms = base.converted("software", ROOTS, cache, without=without, rules=RULES, leave=base.versions(cache))
    newer = base.converted("software", ROOTS, cache, without=without, rules=RULES, only=REBUILT, release_suffix=".1")
    make_repository(folder / "real", [*rpms, _mod_ssl()])
    make_repository(folder / "real-next", [*rpms, *newer, _mod_ssl()])


def _mod_ssl() -> RpmSpec:
    """The module is part of Debian's apache2-bin; the name must exist."""
    return RpmSpec(
        "mod_ssl",
        "2.4.57",
        "2.el9",
        epoch=1,
        requires=("httpd",),
        files=(
            config("/etc/httpd/conf.d/ssl.conf", "# The deployment says where TLS listens.\n"),
            config("/etc/httpd/conf.modules.d/00-ssl.conf", _load("socache_shmcb", "ssl")),
        ),
    )
