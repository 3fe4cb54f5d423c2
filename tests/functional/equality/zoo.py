"""Odd packages in an older and a newer build: each kind of file that once came out of an update different from plain dnf's.

This module must never hold a package without the oddity that its name says.
"""

from __future__ import annotations

from topcoat_demo.rpms import EPOCH, File, RpmSpec, Trigger, config, directory, ghost, script, symlink

FUTURE = EPOCH + 30 * 365 * 86400
LONG = "/usr/lib/" + "/".join(letter * 60 for letter in "abcde")
SEEN = Trigger("triggerin", "hardlinks", "echo in $2 >> /opt/seen")
CAPABLE = "cap_net_bind_service,cap_net_raw=ep"


def linked(version: str) -> tuple[RpmSpec, ...]:
    """Hard links across folders: plain ones, set-user-ID ones of another owner, ones with capabilities."""
    plain = [File(path, version, mode=0o755, hardlink="g") for path in ("/opt/hl/a", "/opt/hl/b", "/usr/lib/hl/c")]
    special = [File(path, version, mode=0o4755, user="daemon", group="adm", hardlink="g") for path in ("/usr/bin/su-1", "/usr/sbin/su-2")]
    capable = [File(path, version, mode=0o750, caps=CAPABLE, hardlink="g") for path in ("/usr/bin/cap-1", "/opt/cap-2")]
    kinds = {"hardlinks": plain, "hardlinks-special": special, "hardlinks-capable": capable}
    return tuple(RpmSpec(name, version, files=tuple(files)) for name, files in kinds.items())


def volatile(text: str) -> tuple[File, ...]:
    """Where mostly nobody's files lie, also through a link of the image (/var/run)."""
    return (
        directory("/run/owned"),
        File("/run/owned/file", text),
        symlink("/run/owned/link", "file"),
        File("/var/run/alias", text),
        File("/tmp/owned.txt", text),
        directory("/tmp/folder", mode=0o700),
        File("/tmp/folder/deep/er", text),
        File("/var/tmp/owned", text),
        File("/dev/owned", text),
        symlink("/dev/owned-link", "null"),
        File("/var/cache/dnf/owned", text),
        File("/var/cache/ldconfig/owned", text),
        File("/var/log/dnf-owned.log", text),
        File("/etc/machine-id", "", mode=0o444),
        ghost("/var/log/dnf.log"),
        ghost("/run/ghost"),
    )


OLD = (
    *linked("1"),
    RpmSpec("hardlinks-broken", "1", files=(File("/opt/hb/a", "x", hardlink="g"), File("/opt/hb/b", "x", hardlink="g"))),
    RpmSpec("volatile", "1", files=(directory("/run/owned"),)),
    RpmSpec("special", "1", files=(File("/usr/bin/special", "s", mode=0o755), File("/usr/bin/plain", "p", mode=0o6755))),
    RpmSpec("kinds", "1", files=(File("/opt/k/file", "f"), symlink("/opt/k/link", "file"), directory("/opt/k/folder"), File("/opt/k/gone", "g"))),
    RpmSpec("folders", "1", files=(directory("/opt/f"), directory("/opt/f/sub"), File("/opt/f/sub/x", "x"))),
    RpmSpec(
        "configured", "1", files=(config("/etc/kept", "old\n"), config("/etc/replaced", "old\n", noreplace=False), config("/etc/dropped", "d\n"))
    ),
    RpmSpec("names", "1", files=(File("/opt/n/-dash", "1"), File("/opt/n/ünï ☃", "1"))),
    RpmSpec("long", "1", files=(File(f"{LONG}/one", "1"),)),
    RpmSpec("dates", "1", time=0, files=(File("/opt/d/zero", "0"),)),
    RpmSpec("documented", "1", files=(File("/usr/share/doc/documented/README", "r", doc=True), File("/opt/documented", "1"))),
    RpmSpec(
        "watcher",
        "1",
        files=(),
        triggers=(SEEN, Trigger("filetriggerin", "/opt/hl", "cat > /opt/files")),
    ),
    RpmSpec("scripted", "1", files=(File("/opt/scripted", "1"),)),
    RpmSpec("lib32", "1", arch="i686", files=(File("/usr/lib/lib32.so", "32"),)),
    RpmSpec("lib32", "1", arch="x86_64", files=(File("/usr/lib64/lib32.so", "64"),)),
    RpmSpec("replaced", "1", files=(File("/opt/replaced", "1"),)),
)
NEW = (
    *linked("2"),
    RpmSpec("hardlinks-broken", "2", files=(File("/opt/hb/a", "x"), File("/opt/hb/b", "y"))),
    RpmSpec("volatile", "2", files=volatile("new")),
    RpmSpec("special", "2", files=(File("/usr/bin/special", "s", mode=0o2711, group="adm", caps=CAPABLE), File("/usr/bin/plain", "p", mode=0o755))),
    RpmSpec("kinds", "2", files=(symlink("/opt/k/file", "link"), File("/opt/k/link", "now a file"), directory("/opt/k/new", mode=0o1777))),
    RpmSpec("folders", "2", files=(directory("/opt/f"), directory("/opt/f/other", mode=0o2750, group="adm"))),
    RpmSpec(
        "configured",
        "2",
        files=(config("/etc/kept", "new\n"), config("/etc/replaced", "new\n", noreplace=False), config("/etc/added", "a\n", mode=0o600)),
    ),
    RpmSpec("names", "2", files=(File("/opt/n/-dash", "2"), File("/opt/n/ünï ☃", "2"), File("/opt/n/new\nline", "2"), File("/opt/n/.wh", "2"))),
    RpmSpec("long", "2", files=(File(f"{LONG}/one", "2"), File(f"{LONG}/{'n' * 200}", "2"), symlink("/opt/far", f"{LONG}/one"))),
    RpmSpec("dates", "2", time=FUTURE, files=(File("/opt/d/zero", "1"), File("/opt/d/future", "f"), symlink("/opt/d/link", "future"))),
    RpmSpec("documented", "2", files=(File("/usr/share/doc/documented/README", "r2", doc=True), File("/opt/documented", "2"))),
    RpmSpec("watcher", "2", files=(File("/opt/watcher", "2"),), triggers=(SEEN,)),
    RpmSpec(
        "scripted",
        "2",
        files=(File("/opt/scripted", "2"),),
        pre="mkdir -p /opt/made/by && echo pre > /opt/made/by/pre",
        post="ln -s pre /opt/made/by/link; chmod 4755 /opt/made/by/pre; ln /opt/made/by/pre /opt/made/hard; mkdir /tmp/litter; >/tmp/litter/x",
        posttrans="echo x > /run/litter; echo > /var/log/dnf.log",
    ),
    RpmSpec("lib32", "2", arch="i686", files=(File("/usr/lib/lib32.so", "32b"),)),
    RpmSpec("lib32", "2", arch="x86_64", files=(File("/usr/lib64/lib32.so", "64b"),)),
    RpmSpec("replacer", "2", obsoletes=("replaced < 2",), files=(script("/opt/replacer", "true"),)),
)
MADE = ("opt/made", "opt/seen", "opt/files")
"""Written by scriptlets: their time is the day's in one image, and the base image's in the other."""
LITTER = (
    "tmp/litter",
    "run/litter",
    "run/ghost",
    "var/log/dnf.log",
    "var/log/hawkey.log",
    "var/log/dnf.librepo.log",
    "var/log/dnf.rpm.log",
    "var/lib/dnf",
    "var/lib/rpm",
)
"""What nobody owns, and the package database, which is compared by rpm."""
