"""Packages whose update is composed without their image, and packages whose update must not be, with the reason.

This module must never hold a case that no other one differs from.
"""

from __future__ import annotations

from dataclasses import dataclass, field

from tests.functional.equality import zoo
from topcoat_demo.rpms import EPOCH, File, RpmSpec, Trigger, config, directory, ghost, script, symlink

HELPER = "/usr/lib/systemd/systemd-update-helper"


def systemd(count: str, verb: str) -> str:
    """What systemd's macros expand to."""
    return f'\nif [ $1 -{count} ] && [ -x "{HELPER}" ]; then \n    # of a macro\n    {HELPER} {verb} odd@.service other.socket || : \nfi\n'


GETENT = 'grep "^$2:" "/etc/$1"'
# Had the first half of a line not decided, the second would fail: there is no such program.
ACCOUNTS = """
getent group daemon >/dev/null || groupadd -r daemon
getent passwd daemon >/dev/null 2>&1 || \\
    useradd -r -g daemon -d /var/lib/daemon -s /sbin/nologin -c "Of a test" daemon
exit 0
"""
PRESET = "[ ! -x /usr/bin/systemctl ] || systemctl preset account.service || :\n[ -x /usr/bin/other ] && other --now || :"


SEVERAL = ("stays", "stays-mine", "same", "same-mine", "mine", "new", "replaced")


def twins(caps: str | None = None) -> tuple[File, ...]:
    """Files that two packages bring alike, but for what rpm does not compare."""
    return (File("/usr/bin/twin", "1", mode=0o755, caps=caps), symlink("/usr/bin/twin-link", "twin"), config("/etc/twin", "1"))


@dataclass(frozen=True)
class Case:
    """``old`` is in the image, ``new`` in the repository. ``refused``: part of the reason, empty where the update can be composed."""

    name: str
    old: tuple[RpmSpec, ...]
    new: tuple[RpmSpec, ...]
    refused: str = ""
    changed: tuple[tuple[str, str], ...] = field(default=())
    """(path, text) written into the image after its packages."""

    @property
    def pair(self) -> tuple[tuple[RpmSpec, ...], tuple[RpmSpec, ...]]:
        """Old and new packages."""
        return self.old, self.new


def of_zoo(name: str, refused: str = "") -> Case:
    """The packages of the common zoo with this name."""
    old, new = (tuple(spec for spec in specs if spec.name == name) for specs in (zoo.OLD, zoo.NEW))
    return Case(name, old, new, refused)


def plain(name: str, *old: File, new: tuple[File, ...], **more: object) -> tuple[tuple[RpmSpec, ...], tuple[RpmSpec, ...]]:
    """One package in two versions."""
    return (RpmSpec(name, "1", files=old),), (RpmSpec(name, "2", files=new, **more),)  # type: ignore[arg-type]


COMPOSED = (
    of_zoo("hardlinks"),
    of_zoo("hardlinks-special"),
    of_zoo("hardlinks-capable"),
    of_zoo("hardlinks-broken"),
    Case(
        "hardlinks-parted",  # two files now, and nothing else is new of them
        *plain(
            "parted", *(File(f"/opt/parted-{name}", "p", hardlink="g") for name in "ab"), new=tuple(File(f"/opt/parted-{name}", "p") for name in "ab")
        ),
    ),
    of_zoo("special"),
    of_zoo("names"),
    of_zoo("long"),
    of_zoo("dates"),
    of_zoo("lib32"),
    of_zoo("documented"),
    Case(
        "documented-folders",
        *plain(
            "folders-of-docs",
            File("/usr/share/doc/fod/README", "r", doc=True),
            new=(
                directory("/usr/share/doc/fod"),
                File("/usr/share/doc/fod/README", "r2", doc=True),
                directory("/usr/share/doc/fod/sub"),
                File("/usr/share/doc/fod/sub/more", "m", doc=True),
                directory("/opt/fod"),
                directory("/opt/fod/inner"),
                File("/opt/fod/inner/doc", "d", doc=True),
                directory("/opt/fod-kept"),
                File("/opt/fod-kept/doc", "d", doc=True),
                File("/opt/fod-kept/file", "f"),
                directory("/opt/fod-empty"),
                ghost("/opt/fod-ghost/log"),
                config("/etc/fod", "c"),
            ),
        ),
    ),
    Case(
        "languages",
        *plain(
            "spoken",
            File("/opt/spoken/de", "1", language="de"),
            new=(
                directory("/opt/spoken"),
                *(File(f"/opt/spoken/{name}", name, language=name) for name in ("de", "de_DE", "en", "fr")),
                directory("/opt/spoken-fr"),
                File("/opt/spoken-fr/only", "fr", language="fr"),
                File("/opt/spoken/all", "all"),
            ),
        ),
        changed=(("etc/rpm/macros.image-language-conf", "%_install_langs de_DE.UTF-8:en\n"),),
    ),
    of_zoo("kinds"),
    Case("folders", *of_zoo("folders").pair, changed=(("opt/f/sub/unowned", "of nobody"),)),
    Case("obsoleted", (RpmSpec("replaced", "1", files=(File("/opt/replaced", "1"),)),), (zoo.NEW[-1],)),
    Case(
        "folders-shared",
        (
            RpmSpec("one", "1", files=(directory("/opt/shared"), File("/opt/shared/one", "1"), directory("/opt/alone"))),
            RpmSpec("two", "1", files=(directory("/opt/shared"), File("/opt/shared/two", "1"), File("/opt/same", "same"))),
            RpmSpec("three", "1", files=(File("/opt/same", "same"),)),
        ),
        (RpmSpec("one", "2", files=(File("/opt/one", "2"),)), RpmSpec("two", "2", files=(directory("/opt/shared", mode=0o700),))),
    ),
    Case(
        "folders-new",
        *plain(
            "deep",
            File("/opt/a/x", "1"),
            new=(
                directory("/opt/full"),
                File("/opt/full/x", "1"),
                directory("/opt/empty", mode=0o2770, group="adm"),
                File("/opt/a/b/c/d", "1"),
                directory("/opt/full/sub"),
            ),
        ),
    ),
    Case("links", *plain("links", symlink("/opt/l/link", "a"), File("/opt/l/a", "1"), new=(File("/opt/l/link", "2"), symlink("/opt/l/a", "link")))),
    Case("config-kept", *plain("kept-1", config("/etc/kept-1", "1\n"), new=(config("/etc/kept-1", "2\n"),))),
    Case("config-new", *plain("kept-2", config("/etc/kept-2", "1\n"), new=(config("/etc/kept-2", "2\n"),)), changed=(("etc/kept-2", "mine\n"),)),
    Case("config-same", *plain("kept-3", config("/etc/kept-3", "1\n"), new=(config("/etc/kept-3", "1\n"),)), changed=(("etc/kept-3", "mine\n"),)),
    Case("config-dropped", *plain("kept-4", config("/etc/kept-4", "1\n"), new=(File("/etc/other-4", "2\n"),))),
    Case(
        "config-added",
        *plain("kept-5", File("/etc/other-5", "1\n"), new=(config("/etc/kept-5", "2\n"), config("/etc/other-5", "3\n", noreplace=False))),
    ),
    Case(
        "ghosts",
        *plain("ghosts", ghost("/opt/g/old"), File("/opt/g/both", "1"), new=(ghost("/opt/g/new"), ghost("/opt/g/both"), File("/opt/g/f", "2"))),
        changed=(("opt/g/old", "made by the service"),),
    ),
    Case("requires", *plain("needs", File("/opt/needs", "1"), new=(File("/opt/needs", "2"),), requires=("fresh",))),
    Case(
        "harmless-scripts",
        (RpmSpec("harmless", "1", files=(File("/opt/h", "1"),), postun=systemd("ge 1", "mark-restart-system-units"), post="exit 1"),),
        (
            RpmSpec(
                "harmless", "2", files=(File("/opt/h", "2"),), post=systemd("eq 1", "install-system-units") + ":\n# nothing\nexit 0", preun="exit 1"
            ),
        ),
    ),
    Case(
        "accounts-there",
        (RpmSpec("account", "1", files=(File("/opt/ac", "1"),)), RpmSpec("getent", "1", files=(script("/usr/bin/getent", GETENT),))),
        (RpmSpec("account", "2", files=(File("/opt/ac", "2", user="daemon"),), pre=ACCOUNTS, post=PRESET),),
    ),
    Case(
        "shared-by-two",  # the first of them, as rpm takes them, makes what both bring
        (RpmSpec("twin-a", "1"), RpmSpec("twin-b", "1")),
        (
            RpmSpec("twin-a", "2", files=(directory("/opt/twin"), *twins(caps="cap_net_raw=ep"))),
            RpmSpec("twin-b", "2", files=(directory("/opt/twin"), *twins()), time=EPOCH + 500),
        ),
    ),
    Case(
        "shared-by-two-before",
        (RpmSpec("known-a", "1", files=(File("/opt/known", "1"),)), RpmSpec("known-b", "1", files=(File("/opt/known", "1"),))),
        (
            RpmSpec("known-a", "2", files=(File("/opt/known", "1"),)),
            RpmSpec("known-b", "2", files=(File("/opt/known", "1"),), time=EPOCH + 500),
        ),
    ),
    Case(
        "shared-by-four",  # the third writes it again: rpm looks at the second, which left it out
        tuple(RpmSpec(f"four-{letter}", "1", files=(File("/opt/four-known", "1"), directory("/opt/four-folder"))) for letter in "abcd"),
        tuple(
            RpmSpec(
                f"four-{letter}",
                "2",
                files=(
                    File("/opt/four-known", "1"),
                    symlink("/opt/four-link", "four-known"),
                    directory("/opt/four-folder"),
                    directory("/opt/four-new"),
                    directory("/opt/four-own", mode=0o700),
                    *((File("/opt/four-new/own", "1"), config("/opt/four-config", "1")) if letter != "c" else ()),
                ),
                time=EPOCH + moment,
            )
            for letter, moment in zip("abcd", (0, 500, 700, 900), strict=True)
        ),
    ),
    Case(
        "shared-with-a-ghost",  # which nobody writes, and after which the next one does
        tuple(RpmSpec(f"spook-{letter}", "1") for letter in "abc"),
        (
            RpmSpec("spook-a", "2", files=(File("/opt/spook-1", "1"), ghost("/opt/spook-2"))),
            RpmSpec("spook-b", "2", files=(ghost("/opt/spook-1"), File("/opt/spook-2", "2")), time=EPOCH + 500),
            RpmSpec("spook-c", "2", files=(File("/opt/spook-1", "1"), File("/opt/spook-2", "2")), time=EPOCH + 700),
        ),
    ),
    Case(
        "moved-settings",  # from a package to another one
        (RpmSpec("mover-a", "1", files=(config("/etc/mover", "1\n"), config("/etc/mover-mine", "1\n"))), RpmSpec("mover-b", "1")),
        (RpmSpec("mover-a", "2"), RpmSpec("mover-b", "2", files=(config("/etc/mover", "2\n"), config("/etc/mover-mine", "2\n")))),
        changed=(("etc/mover-mine", "mine\n"),),
    ),
    Case(
        "settings-of-several",  # which one of them writes it, and of what they had before, does not matter: they had the same
        tuple(
            RpmSpec(
                f"several-{letter}",
                "1",
                files=tuple(config(f"/etc/several-{name}", "1\n", noreplace=letter != "b") for name in SEVERAL if letter != "d" or "stays" in name),
            )
            for letter in "abcd"
        ),
        tuple(
            RpmSpec(
                f"several-{letter}",
                "2",
                files=tuple(
                    config(f"/etc/several-{name}", "1\n" if "same" in name or "stays" in name else "2\n", noreplace="replaced" not in name)
                    for name in SEVERAL
                    if letter == "c" or "stays" not in name
                ),
                time=EPOCH + moment,
            )
            for letter, moment in zip("abc", (0, 500, 700), strict=True)
        ),
        changed=tuple((f"etc/several-{name}", "mine\n") for name in ("stays-mine", "same-mine", "mine")),
    ),
    Case(
        "config-exists",  # nobody's before
        *plain("kept-9", File("/etc/other-9", "1\n"), new=(config("/etc/kept-9", "2\n"), config("/etc/same-9", "3\n"))),
        changed=(("etc/kept-9", "mine\n"), ("etc/same-9", "3\n")),
    ),
    Case(
        "config-missingok",
        *plain(
            "kept-10",
            config("/etc/kept-10", "1\n", missingok=True, doc=True),
            new=(config("/etc/kept-10", "2\n", missingok=True), config("/etc/new-10", "2\n", missingok=True)),
        ),
    ),
    Case(
        "config-ghosts",  # rpm never takes them away, changed or not
        *plain(
            "kept-11",
            *(ghost(f"/etc/kept-11{name}", config=True) for name in ("", "-made", "-link")),
            config("/etc/became-11", "1\n"),
            new=(ghost("/etc/became-11", config=True), ghost("/etc/new-11", config=True)),
        ),
        changed=(("etc/kept-11-made", "by the service\n"), ("etc/new-11", "by the image\n")),
    ),
    Case(
        "unverified",
        *plain(
            "verified",
            config("/etc/verified", "1\n", unverified=("md5", "size", "mtime")),
            new=(
                config("/etc/verified", "2\n", unverified=("md5", "size", "mtime", "user", "group", "mode")),
                File("/opt/verified", "1", unverified=("caps", "link")),
            ),
        ),
        changed=(("etc/verified", "mine\n"), ("etc/verified.rpmnew", "of an earlier update\n")),
    ),
    Case(
        "order-of-two",  # a directory that is not empty by its turn stays
        tuple(
            RpmSpec(f"order-{letter}", "1", files=(*map(directory, folders), *(File(f"{folder}/{letter}", "1") for folder in within)))
            for letter, folders, within in (
                ("a", ("/opt/o1", "/opt/o3", "/opt/o3/sub", "/opt/o5"), ("/opt/o2", "/opt/o4/sub", "/opt/o5")),
                ("b", ("/opt/o2", "/opt/o4", "/opt/o4/sub", "/opt/o5"), ("/opt/o1", "/opt/o3/sub", "/opt/o5")),
                ("c", ("/opt/o3", "/opt/o5"), ("/opt/o1", "/opt/o4", "/opt/o5")),
            )
        ),
        tuple(RpmSpec(f"order-{letter}", "2", requires=needs) for letter, needs in (("a", ()), ("b", ("order-a",)), ("c", ()))),
    ),
    Case(
        "inherited-group",  # directories that nobody owns, below one whose group they get
        *plain(
            "inherits",
            directory("/opt/inherits", mode=0o2775),
            new=(directory("/opt/inherits", mode=0o2775), File("/opt/inherits/one/two/f", "2")),
        ),
    ),
    Case(
        "triggers-elsewhere",
        (*plain("moved", File("/opt/m", "1"), new=())[0], RpmSpec("watches", "1", triggers=(Trigger("triggerin", "absent-too", "exit 1"),))),
        (*plain("moved", new=(File("/opt/m", "2"),))[1], RpmSpec("watches", "2", triggers=(Trigger("triggerin", "absent", "exit 1"),))),
    ),
)
REFUSED = (
    of_zoo("volatile", "is a link"),
    of_zoo("scripted", "has a scriptlet"),
    of_zoo("watcher", "has triggers"),
    Case(
        "config-replaced",
        *plain("kept-6", config("/etc/kept-6", "1", noreplace=False), new=(config("/etc/kept-6", "2", noreplace=False),)),
        "was changed",
        (("etc/kept-6", "mine"),),
    ),
    Case(
        "config-dropped",
        *plain("kept-7", config("/etc/kept-7", "1"), new=(File("/etc/other-7", "2"),)),
        "was changed in the image, and goes",
        (("etc/kept-7", "mine"),),
    ),
    Case(
        "config-unowned",
        *plain("kept-8", File("/etc/other-8", "1"), new=(config("/etc/kept-8", "2", noreplace=False),)),
        "exists already",
        (("etc/kept-8", "mine"),),
    ),
    Case(
        "config-no-more",
        *plain("kept-12", config("/etc/kept-12", "1"), new=(File("/etc/kept-12", "1"),)),
        "was changed",
        (("etc/kept-12", "mine"),),
    ),
    Case(
        "config-of-another-one",
        (RpmSpec("kept-13", "1", files=(config("/etc/kept-13", "1"),)), RpmSpec("other-13", "1")),
        (RpmSpec("other-13", "2", files=(File("/etc/kept-13", "1"),)),),
        "was changed in the image",
        (("etc/kept-13", "mine"),),
    ),
    Case(
        "colours",
        (RpmSpec("bits", "1", arch="i686"), RpmSpec("bits", "1", arch="x86_64")),
        (
            RpmSpec("bits", "2", arch="i686", files=(File("/usr/bin/bits", "32", color=1),)),
            RpmSpec("bits", "2", arch="x86_64", files=(File("/usr/bin/bits", "64", color=2),)),
        ),
        "comes with two packages, and differs",
    ),
    Case(
        "group-in-between",
        *plain(
            "between",
            directory("/opt/between", mode=0o755),
            new=(directory("/opt/between", mode=0o2775), File("/opt/between/one/f", "2")),
        ),
        "whether /opt/between/one inherits the group",
    ),
    Case("accounts", *plain("account", File("/opt/a", "1"), new=(File("/opt/a", "2", user="nobody-knows"),)), "needs the user nobody-knows"),
    Case(
        "accounts-made",
        *plain("account-made", File("/opt/am", "1"), new=(File("/opt/am", "2"),), provides=("user(odd)",)),
        "makes the account user(odd)",
    ),
    Case(
        "accounts-by-script",
        *plain("of-account", File("/opt/oa", "1"), new=(File("/opt/oa", "2"),), pre="getent group nobody-knows >/dev/null || groupadd nobody-knows"),
        "of-account has a scriptlet (%pre)",
    ),
    Case(
        "ldconfig-like",
        *plain("lib", File("/usr/lib64/lib.so", "1"), new=(File("/usr/lib64/lib.so", "2"),), post="/sbin/ldconfig"),
        "has a scriptlet (%post)",
    ),
    Case(
        "trigger-on-name",
        (
            RpmSpec("moved-name", "1", files=(File("/opt/mn", "1"),)),
            RpmSpec("watcher-name", "1", triggers=(Trigger("triggerin", "moved-name", "true"),)),
        ),
        (RpmSpec("moved-name", "2", files=(File("/opt/mn", "2"),)),),
        "watcher-name has a trigger on moved-name",
    ),
    Case(
        "trigger-on-file",
        (
            RpmSpec("moved-below", "1", files=(File("/opt/mb/x", "1"),)),
            RpmSpec("watcher-below", "1", triggers=(Trigger("transfiletriggerin", "/opt/mb", "touch /opt/mb-ran"),)),
        ),
        (RpmSpec("moved-below", "2", files=(File("/opt/mb/x", "2"),)),),
        "watcher-below has a trigger on files below /opt/mb",
    ),
    Case(
        "systemd-there",
        (RpmSpec("unit", "1"), RpmSpec("systemd", "1", files=(File(HELPER, "#!/bin/sh", mode=0o755),))),
        (RpmSpec("unit", "2", post=systemd("eq 1", "install-system-units")),),
        "unit has a scriptlet",
    ),
)
