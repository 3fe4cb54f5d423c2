"""The ``filesystem`` package: it owns the directory links of the merged /usr, the account files, os-release and the rpm and dnf defaults.

This module must never read the host's files.
"""

from __future__ import annotations

from topcoat_demo import signing
from topcoat_demo.rpms import File, RpmSpec, config, directory, symlink, words

RELEASE = "9"
PLATFORM = "platform:el9"

_DIRECTORIES = words(
    "/boot /dev /etc /etc/rpm /etc/dnf /etc/dnf/modules.d /etc/dnf/vars /etc/yum.repos.d /etc/pki /etc/pki/rpm-gpg /home /media /mnt /opt /run /srv "
    "/usr /usr/bin /usr/include /usr/lib /usr/lib64 /usr/libexec /usr/local /usr/local/bin /usr/sbin /usr/share /var /var/cache /var/lib "
    "/var/log /var/spool"
)
_PASSWD = """root:x:0:0:root:/root:/bin/sh
bin:x:1:1:bin:/bin:/sbin/nologin
daemon:x:2:2:daemon:/sbin:/sbin/nologin
nobody:x:65534:65534:Kernel Overflow User:/:/sbin/nologin
"""
_GROUP = """root:x:0:
bin:x:1:
daemon:x:2:
sys:x:3:
adm:x:4:
tty:x:5:
disk:x:6:
lp:x:7:
mem:x:8:
kmem:x:9:
wheel:x:10:
mail:x:12:
users:x:100:
nobody:x:65534:
"""
_OS_RELEASE = f"""NAME="Demo Linux"
ID="demo"
ID_LIKE="rhel centos fedora"
VERSION="{RELEASE}"
VERSION_ID="{RELEASE}"
PLATFORM_ID="{PLATFORM}"
PRETTY_NAME="Demo Linux {RELEASE}"
"""
_LOGIN_DEFS = """UID_MIN 1000
UID_MAX 60000
SYS_UID_MIN 100
SYS_UID_MAX 999
GID_MIN 1000
GID_MAX 60000
USERGROUPS_ENAB yes
CREATE_HOME no
ENCRYPT_METHOD SHA512
"""
_DNF_CONF = f"""[main]
gpgcheck=0
best=1
install_weak_deps=1
skip_if_unavailable=0
clean_requirements_on_remove=1
module_platform_id={PLATFORM}
"""


def filesystem(*, passwd: str = "", group: str = "") -> RpmSpec:
    """The package; install it before anything else (the C library requires it).

    :param passwd: further lines of /etc/passwd. :param group: further lines of /etc/group.
    """
    passwd, group = _PASSWD + passwd, _GROUP + group
    shadow = "".join(f"{line.split(':')[0]}:*::0:99999:7:::\n" for line in passwd.splitlines())
    gshadow = "".join(f"{line.split(':')[0]}:::\n" for line in group.splitlines())
    files = [directory(path) for path in _DIRECTORIES]
    files += [
        directory("/tmp", mode=0o1777),
        directory("/var/tmp", mode=0o1777),
        directory("/root", mode=0o700),
        directory("/proc", mode=0o555),
        directory("/sys", mode=0o555),
    ]
    files += [symlink(f"/{name}", f"usr/{name}") for name in ("bin", "sbin", "lib", "lib64")]
    files += [symlink("/var/run", "../run"), symlink("/var/lock", "../run/lock"), symlink("/etc/os-release", "../usr/lib/os-release")]
    files += [
        config("/etc/passwd", passwd),
        config("/etc/group", group),
        config("/etc/shadow", shadow, mode=0o600),
        config("/etc/gshadow", gshadow, mode=0o600),
        config("/etc/nsswitch.conf", "passwd: files\ngroup: files\nshadow: files\nhosts: files dns\n"),
        config("/etc/hosts", "127.0.0.1 localhost\n::1 localhost\n"),
        config("/etc/profile", "PATH=/usr/local/bin:/usr/sbin:/usr/bin\nexport PATH\n"),
        config("/etc/login.defs", _LOGIN_DEFS),
        config("/etc/dnf/dnf.conf", _DNF_CONF),
        File("/etc/rpm/macros.dbpath", "%_dbpath /var/lib/rpm\n%_db_backend sqlite\n"),
        File("/usr/lib/os-release", _OS_RELEASE),
        File(f"/etc/pki/rpm-gpg/{signing.KEY_FILE}", signing.DEMO.armored()),
        File("/etc/system-release", f"Demo Linux release {RELEASE}\n"),
    ]
    return RpmSpec(
        "filesystem",
        "3.16",
        arch="x86_64",
        files=tuple(files),
        provides=(f"system-release = {RELEASE}", f"system-release(releasever) = {RELEASE}", "setup = 2.13", "demo-release = 9"),
        summary="Directories, links, accounts and defaults of the demo distribution",
    )
