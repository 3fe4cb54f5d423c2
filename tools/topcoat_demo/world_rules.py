"""What single packages of the real-size world get beyond the general rules of the conversion: services as the recipes start them.

This module must never name a version: the same rules hold for both states.
"""

from __future__ import annotations

from collections.abc import Mapping

from topcoat_demo import filesystem
from topcoat_demo.base import PYTHON_ABI
from topcoat_demo.convert import Rules
from topcoat_demo.rpms import RpmSpec, Trigger, config, directory, script, symlink, words

EXTRA = words("dpkg apache2-bin libapache2-mod-wsgi-py3 media-types")
"""Debian's names of what is converted besides the table: dpkg holds update-alternatives."""

BASE_EXTRA = words("dpkg")
"""Debian's names of what the base image holds besides the table."""

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
_PLACEMENT_CONF = """Listen 8778
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

_LDCONFIG = "/usr/sbin/ldconfig"

RULES: Mapping[str, Rules] = {
    "libc6": Rules(requires=("filesystem",)),
    # As glibc of EL has it: once a transaction, when a library came or went.
    "libc-bin": Rules(
        drop=("/etc/nsswitch.conf",),
        triggers=(Trigger("transfiletriggerin", "/usr/lib", _LDCONFIG), Trigger("transfiletriggerpostun", "/usr/lib", _LDCONFIG)),
    ),
    "bash": Rules(provides=("/bin/sh", "/bin/bash"), add=(symlink("/usr/bin/sh", "bash"),)),
    "dash": Rules(drop=("/usr/bin/sh/",)),
    "python3": Rules(provides=(PYTHON_ABI, "/usr/bin/python3")),
    "dnf-data": Rules(drop=("/etc/dnf/dnf.conf",)),
    "dnf": Rules(provides=("yum",), add=(symlink("/usr/bin/yum", "dnf-3"),)),
    "coreutils": Rules(provides=("/bin/sleep",)),
    "dpkg": Rules(
        rename="alternatives",
        keep=("/usr/bin/update-alternatives/",),
        add=(directory("/etc/alternatives"), directory("/var/lib/dpkg"), directory("/var/lib/dpkg/alternatives")),
    ),
    "cron": Rules(add=(script("/usr/sbin/crond", '# In a container it stays in the foreground.\nexec /usr/sbin/cron -f "$@"'),)),
    "frr": Rules(
        own=(("/etc/frr", "frr"), ("/var/log/frr", "frr")),
        add=(symlink("/usr/libexec/frr", "../lib/frr"),),
    ),
    "redis-server": Rules(
        own=(("/etc/redis", "redis"), ("/var/lib/redis", "redis"), ("/var/log/redis", "redis"), ("/run/redis", "redis")),
        add=(directory("/var/lib/redis", mode=0o750), directory("/var/log/redis", mode=0o750)),
        # In a container the log belongs on standard output, and nothing forks.
        edit=(("/etc/redis/redis.conf", "logfile /var/log/redis/redis-server.log", 'logfile ""'), ("/etc/redis/redis.conf", "pidfile", "# pidfile")),
    ),
    "haproxy": Rules(own=(("/var/lib/haproxy", "haproxy"),)),
    "mariadb-server-core": Rules(
        own=(("/var/lib/mysql", "mysql"), ("/run/mysqld", "mysql")),
        pre="getent group mysql >/dev/null || groupadd -r mysql\n"
        "getent passwd mysql >/dev/null || useradd -r -M -g mysql -d /var/lib/mysql -s /sbin/nologin mysql\n",
        requires=("shadow-utils",),
        add=(directory("/var/lib/mysql", mode=0o750), directory("/run/mysqld"), symlink("/usr/libexec/mysqld", "../sbin/mariadbd")),
    ),
    "apache2-bin": Rules(
        provides=("httpd-core",),
        pre="getent group apache >/dev/null || groupadd -r -g 48 apache\n"
        "getent passwd apache >/dev/null || useradd -r -u 48 -g apache -d /usr/share/httpd -s /sbin/nologin apache\n",
        add=(
            script("/usr/sbin/httpd", 'exec /usr/sbin/apache2 -f /etc/httpd/conf/httpd.conf "$@"'),
            config("/etc/httpd/conf/httpd.conf", _HTTPD_CONF),
            config("/etc/httpd/conf.modules.d/00-base.conf", _load(*_MODULES)),
            directory("/etc/httpd/conf.d"),
            directory("/run/httpd"),
        ),
        requires=("shadow-utils", "media-types"),
    ),
    "libapache2-mod-wsgi-py3": Rules(
        drop=("/usr/share/python3/runtime.d/",),
        add=(config("/etc/httpd/conf.modules.d/10-wsgi-python3.conf", f"{_load('wsgi')}WSGISocketPrefix /run/httpd/wsgi\n"),),
    ),
    "placement-api": Rules(add=(config("/etc/httpd/conf.d/00-placement-api.conf", _PLACEMENT_CONF),)),
}

# Fixed accounts that Debian's base-passwd makes and packages own files by; numbers as there, where EL's own accounts leave them free.
_PASSWD = """games:x:5:60:games:/usr/games:/sbin/nologin
man:x:6:15:man:/var/cache/man:/sbin/nologin
www-data:x:33:33:www-data:/var/www:/sbin/nologin
backup:x:34:34:backup:/var/backups:/sbin/nologin
irc:x:39:39:ircd:/run/ircd:/sbin/nologin
"""
_GROUP = """man:x:15:
uucp:x:14:
dialout:x:20:
cdrom:x:24:
audio:x:29:
www-data:x:33:
backup:x:34:
irc:x:39:
src:x:40:
shadow:x:42:
utmp:x:43:
video:x:44:
sasl:x:45:
plugdev:x:46:
staff:x:50:
games:x:60:
nogroup:x:65533:
"""


def specifications() -> tuple[RpmSpec, ...]:
    """Packages of our own in the world."""
    mod_ssl = RpmSpec(
        "mod_ssl",
        "2.4.57",
        "2.el9",
        epoch=1,
        requires=("httpd",),
        files=(
            config("/etc/httpd/conf.d/ssl.conf", "# The deployment says where TLS listens.\n"),
            config("/etc/httpd/conf.modules.d/00-ssl.conf", _load("socache_shmcb", "ssl")),
        ),
        summary="The module is part of Debian's apache2-bin; this loads it",
    )
    return (filesystem.filesystem(passwd=_PASSWD, group=_GROUP), mod_ssl)
