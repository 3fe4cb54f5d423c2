"""What Debian's maintainer scripts do, as an RPM does it: accounts, owned directories, owners, configuration, capabilities, alternatives, units.

This module must never carry over a command that it does not understand: those are counted, and the counts are told.

Formats: deb-postinst(5) and its companions, deb-triggers(5), sysusers.d(5); the RPM side follows the macros of systemd.rpm and what EL packages do.
"""

from __future__ import annotations

import re
import shlex
from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

_SCRIPTS = ("preinst", "postinst", "prerm", "postrm")
_HELPER = re.compile(r"^# Automatically added by (\w+)[^\n]*\n(.*?)^# End automatically added section$", re.MULTILINE | re.DOTALL)
_LIBRARY = re.compile(r"^### Start of included pkgos_func library$.*?^### End of included pkgos_func library$", re.MULTILINE | re.DOTALL)
_ASSIGNMENT = re.compile(r"""^\s*(?:readonly\s+|local\s+)?([A-Za-z_]\w*)=(["']?)([\w/.,:-]*)\2\s*$""")
_VARIABLE = re.compile(r"\$(?:\{(\w+)\}|(\w+))")
_UNIT = re.compile(r"deb-systemd-(?:helper|invoke)[^\n]*'([^'\n]+\.(?:service|socket|timer|path|target))'")
_TMPFILES = re.compile(r"--create\s+(\S+\.conf)")
_CONTROL = re.compile(
    r"^(if|then|else|elif|fi|case|esac|for|while|do|done|\{|\}|;;|set\s|exit\b|return\b|true\b|:|umask\b|[\w|*\"-]+\)|\w+\s*\(\)|\.\s)"
)
_NAME = re.compile(r"[a-z_][a-z0-9_-]*")
_DONE = {
    "dh_python3": "byte code: in the package",
    "dh_installsystemd": "systemd units",
    "dh_installsystemduser": "systemd units",
    "dh_systemd_enable": "systemd units",
    "dh_systemd_start": "systemd units",
    "dh_installinit": "systemd units",
    "dh_installtmpfiles": "temporary files",
    "dh_installsysusers": "accounts",
    "dh_makeshlibs": "library cache",
}
"""Helper of Debian's build -> what stands for its lines."""


@dataclass
class Owned:
    """Owner, group and mode of a path; None: as packed."""

    user: str | None = None
    group: str | None = None
    mode: int | None = None
    below: bool = False
    """Owner and group hold for everything below as well (chown -R)."""
    directory: bool = False
    """The script makes it."""


@dataclass
class Translation:
    """The scripts of one package."""

    groups: dict[str, str] = field(default_factory=dict)
    """Name -> the options of groupadd."""
    users: dict[str, tuple[str, str, str]] = field(default_factory=dict)
    """Name -> primary group, home, shell."""
    members: list[tuple[str, str]] = field(default_factory=list)
    """(user, further group)."""
    paths: dict[str, Owned] = field(default_factory=dict)
    copies: dict[str, tuple[str, Owned]] = field(default_factory=dict)
    """Path of a configuration file -> the file of the package that it starts as."""
    capabilities: dict[str, str] = field(default_factory=dict)
    alternatives: list[tuple[str, str, str]] = field(default_factory=list)
    """(arguments of --install, name, path)."""
    units: list[str] = field(default_factory=list)
    temporary: list[str] = field(default_factory=list)
    done: Counter[str] = field(default_factory=Counter)
    """What was translated, by kind."""
    left: Counter[str] = field(default_factory=Counter)
    """What was left out, by kind; lines that people wrote are counted one by one."""

    def owned(self, path: str) -> Owned:
        """The entry of a path, made when missing."""
        return self.paths.setdefault(path.rstrip("/") or "/", Owned())

    def scriptlets(self) -> dict[str, str]:
        """Bodies by the field of a specification: pre, post, preun, postun."""
        found = {"pre": self._accounts(), "post": self._after(), "preun": self._before_removal(), "postun": self._after_removal()}
        return {name: body for name, body in found.items() if body}

    def _accounts(self) -> str:
        lines = [f"getent group {name} >/dev/null || groupadd -r {options}{name}" for name, options in self.groups.items()]
        for name, (group, home, shell) in self.users.items():
            lines.append(f"getent passwd {name} >/dev/null || useradd -r -M -g {group} -d {home} -s {shell} {name}")
        lines += [f"usermod -a -G {group} {user}" for user, group in self.members if user in self.users]
        return "".join(f"{line}\n" for line in lines) + ("exit 0\n" if lines else "")

    def _after(self) -> str:
        lines = [f"update-alternatives --quiet --log /dev/null --install {arguments}\n" for arguments, _, _ in self.alternatives]
        if self.units:
            lines.append(_macro("$1 -eq 1", "Initial installation", "install-system-units", self.units))
        for name in self.temporary:
            lines.append(f"[ -x /usr/bin/systemd-tmpfiles ] && systemd-tmpfiles --create {name} >/dev/null 2>&1 || :\n")
        return "".join(lines)

    def _before_removal(self) -> str:
        lines = []
        if self.alternatives:
            removals = "".join(
                f"    update-alternatives --quiet --log /dev/null --remove {name} {path} || :\n" for _, name, path in self.alternatives
            )
            lines.append(f"if [ $1 -eq 0 ]; then\n{removals}fi\n")
        if self.units:
            lines.append(_macro("$1 -eq 0", "Package removal, not upgrade", "remove-system-units", self.units))
        return "".join(lines)

    def _after_removal(self) -> str:
        return _macro("$1 -ge 1", "Package upgrade, not uninstall", "mark-restart-system-units", self.units) if self.units else ""


def _macro(condition: str, comment: str, verb: str, units: Iterable[str]) -> str:
    """As the macros of systemd 250 and newer expand (systemd.rpm macros: %systemd_post, %systemd_preun, %systemd_postun_with_restart)."""
    helper = "/usr/lib/systemd/systemd-update-helper"
    return f'\nif [ {condition} ] && [ -x "{helper}" ]; then\n    # {comment}\n    {helper} {verb} {" ".join(units)} || :\nfi\n'


def translate(package: str, control: Mapping[str, str], files: Mapping[str, bytes]) -> Translation:
    """What the scripts of a package do.

    :param control: its control files by name.
    :param files: content of its regular files by path (merged /usr), at least those of sysusers.d.
    """
    made = Translation()
    for path, content in files.items():
        if path.startswith("/usr/lib/sysusers.d/"):
            _sysusers(content.decode("utf-8", "replace"), made)
    for name in _SCRIPTS:
        text = _LIBRARY.sub("", control.get(name, ""))
        for helper, body in _HELPER.findall(text):
            _generated(helper, body, name == "postinst", made)
        _written(package, _HELPER.sub("", text), name == "postinst", files, made)
    for name in made.temporary:
        _tmpfiles(files.get(f"/usr/lib/tmpfiles.d/{name}", b"").decode("utf-8", "replace"), made)
    for line in control.get("triggers", "").splitlines():
        words = line.split()
        if len(words) == 2 and not words[0].startswith("#"):
            known = words[0].startswith("activate") and words[1] == "ldconfig"
            (made.done if known else made.left)["library cache" if known else "trigger"] += 1
    if "templates" in control:
        made.left["questions (debconf)"] += 1
    return made


class _Everything(dict[str, bytes]):
    """Stands for the files of a package that nobody unpacked: whatever is asked for is there, and empty."""

    def __contains__(self, path: object) -> bool:
        return True


def claims(package: str, control: Mapping[str, str]) -> dict[str, Owned]:
    """Paths whose owner or mode the scripts of a package decide, whatever files it has."""
    paths = translate(package, control, _Everything()).paths
    return {path: owned for path, owned in paths.items() if (owned.user, owned.group, owned.mode) != (None, None, None)}


def _generated(helper: str, body: str, installs: bool, made: Translation) -> None:
    if helper not in _DONE:
        made.left[f"lines of {helper}"] += 1
        return
    made.done[_DONE[helper]] += 1
    if not installs:
        return
    for unit in _UNIT.findall(body):
        if unit not in made.units and "@" not in unit:
            made.units.append(unit)
    for name in _TMPFILES.findall(body):
        if name not in made.temporary:
            made.temporary.append(name)


def _tmpfiles(text: str, made: Translation) -> None:
    """tmpfiles.d(5): the owners and modes that a first start would give to directories, so that the package has them from the beginning."""
    for line in text.splitlines():
        words = line.split()
        if len(words) < 5 or words[0] not in ("d", "D", "z") or not _usable(words[1]) or not re.fullmatch("[0-7]{3,4}", words[2]):
            continue
        user, group = (None if name == "-" else name for name in words[3:5])
        if all(name is None or _NAME.fullmatch(name) for name in (user, group)):
            made.paths.setdefault(words[1].rstrip("/"), Owned(user, group, int(words[2], 8)))


def _sysusers(text: str, made: Translation) -> None:
    for line in text.splitlines():
        words = shlex.split(line, comments=True)
        if len(words) >= 2 and words[0].rstrip("!") in ("u", "g") and _NAME.fullmatch(words[1]):
            made.groups.setdefault(words[1], "")
            if words[0].startswith("u"):
                shell = words[5] if len(words) > 5 and words[5] != "-" else "/usr/sbin/nologin"
                made.users.setdefault(words[1], (words[1], words[4] if len(words) > 4 and words[4] != "-" else "/", shell))
            made.done["accounts"] += 1
        elif len(words) >= 3 and words[0] == "m":
            made.members.append((words[1], words[2]))


def _written(package: str, text: str, installs: bool, files: Mapping[str, bytes], made: Translation) -> None:
    """Lines that people wrote, one command each; loops and conditions are read as on a first installation."""
    values = {"DPKG_MAINTSCRIPT_PACKAGE": package}
    for line in text.replace("\\\n", " ").splitlines():
        line = line.strip()
        if not line or line.startswith("#"):
            continue
        assignment = _ASSIGNMENT.match(line)
        if assignment:
            values[assignment[1]] = assignment[3]
            continue
        if _CONTROL.match(line):
            continue
        line = _VARIABLE.sub(lambda match: values.get(match[1] or match[2], match[0]), line)
        try:
            words = shlex.split(line, comments=True)
        except ValueError:
            words = []
        while words and (words[-1] in ("||", "true", ":", "&&", ";", "then", "do") or words[-1].startswith((">", "2>"))):
            words.pop()
        # What follows another command's end is read as a command of its own only where nothing else is on the line.
        if words and installs and not any("$" in word or "*" in word for word in words) and _command(package, words, files, made):
            continue
        made.left["lines that people wrote"] += 1


def _split(words: list[str], valued: Iterable[str]) -> tuple[dict[str, str], list[str]]:
    """(options, other words); those in ``valued`` take the next word."""
    options: dict[str, str] = {}
    rest: list[str] = []
    queue = list(words)
    while queue:
        word = queue.pop(0)
        if word.startswith("-") and len(word) > 1:
            name, equals, value = word.partition("=")
            options[name] = value if equals else (queue.pop(0) if name in valued and queue else "")
        else:
            rest.append(word)
    return options, rest


def _command(package: str, words: list[str], files: Mapping[str, bytes], made: Translation) -> bool:
    known = {
        "adduser": _adduser,
        "useradd": _adduser,
        "addgroup": _addgroup,
        "groupadd": _addgroup,
        "usermod": _usermod,
        "chown": _chown,
        "chgrp": _chown,
        "chmod": _chmod,
        "mkdir": _mkdir,
        "install": _install,
        "cp": _copy,
        "ucf": _copy,
        "setcap": _setcap,
        "dpkg-statoverride": _override,
        "update-alternatives": _alternative,
    }
    name = words[0].rpartition("/")[2]
    if name in ("pkgos_var_user_group", "pkgos_adduser") and len(words) > 1 and _NAME.fullmatch(words[1]):
        return _openstack_account(words, name == "pkgos_var_user_group", made)
    if name == "pkgos_write_new_conf" and len(words) == 3:
        return _openstack_file(package, words[1], words[2], files, made)
    return name in known and known[name](words, files, made)


def _openstack_account(words: list[str], folders: bool, made: Translation) -> bool:
    name = words[1]
    made.groups.setdefault(name, "")
    made.users.setdefault(name, (name, f"/var/lib/{name}", words[2] if len(words) > 2 else "/usr/bin/false"))
    made.done["accounts"] += 1
    if folders:
        made.paths[f"/var/lib/{name}"] = Owned(name, name, 0o755 if name == "nova" else 0o750, directory=True)
        made.paths[f"/var/log/{name}"] = Owned(name, "adm", 0o750, directory=True)
    return True


def _openstack_file(package: str, name: str, file: str, files: Mapping[str, bytes], made: Translation) -> bool:
    source = f"/usr/share/{package}/{file}"
    if source not in files:
        return False
    made.paths[f"/etc/{name}"] = Owned(name, name, 0o750, directory=True)
    made.copies[f"/etc/{name}/{file}"] = (source, Owned("root", name, 0o640))
    made.done["configuration files"] += 1
    return True


def _adduser(words: list[str], files: Mapping[str, bytes], made: Translation) -> bool:
    valued = (
        "--home",
        "--ingroup",
        "--gid",
        "--uid",
        "--shell",
        "--gecos",
        "--comment",
        "-d",
        "-g",
        "-s",
        "-c",
        "-u",
        "--home-dir",
        "-G",
        "--firstuid",
    )
    options, rest = _split(words[1:], valued)
    if not rest or not all(map(_NAME.fullmatch, rest)):
        return False
    if len(rest) == 2:
        made.members.append((rest[0], rest[1]))
        made.done["accounts"] += 1
        return True
    if "--system" not in options and "-r" not in options:
        return False
    name = rest[0]
    group = options.get("--ingroup") or options.get("-g") or (name if "--group" in options or "-U" in options else "nogroup")
    if not _NAME.fullmatch(group):
        group = name
    made.groups.setdefault(group, "")
    home = options.get("--home") or options.get("-d") or options.get("--home-dir") or "/nonexistent"
    made.users.setdefault(name, (group, home, options.get("--shell") or options.get("-s") or "/usr/sbin/nologin"))
    made.done["accounts"] += 1
    return True


def _addgroup(words: list[str], files: Mapping[str, bytes], made: Translation) -> bool:
    _, rest = _split(words[1:], ("--gid", "-g"))
    if len(rest) != 1 or not _NAME.fullmatch(rest[0]):
        return False
    made.groups.setdefault(rest[0], "")
    made.done["accounts"] += 1
    return True


def _usermod(words: list[str], files: Mapping[str, bytes], made: Translation) -> bool:
    options, rest = _split(words[1:], ("-G", "--groups"))
    group = options.get("-G") or options.get("--groups")
    if len(rest) != 1 or not group or not _NAME.fullmatch(group):
        return False
    made.members.append((rest[0], group))
    made.done["accounts"] += 1
    return True


def _usable(path: str) -> bool:
    return path.startswith(("/etc/", "/var/lib/", "/var/log/", "/var/cache/", "/var/spool/", "/run/", "/usr/"))


def _chown(words: list[str], files: Mapping[str, bytes], made: Translation) -> bool:
    options, rest = _split(words[1:], ())
    if len(rest) < 2 or not all(map(_usable, rest[1:])):
        return False
    user, colon, group = rest[0].replace(".", ":").partition(":")
    if words[0] == "chgrp":
        user, group, colon = "", user, ":"
    if not all(not name or _NAME.fullmatch(name) for name in (user, group)):
        return False
    for path in rest[1:]:
        entry = made.owned(path)
        entry.user = user or entry.user
        entry.group = group or (user if colon and not group else entry.group)
        entry.below = entry.below or "-R" in options or "--recursive" in options
    made.done["owners and modes"] += 1
    return True


def _chmod(words: list[str], files: Mapping[str, bytes], made: Translation) -> bool:
    options, rest = _split(words[1:], ())
    if options or len(rest) < 2 or not re.fullmatch("[0-7]{3,4}", rest[0]) or not all(map(_usable, rest[1:])):
        return False
    for path in rest[1:]:
        made.owned(path).mode = int(rest[0], 8)
    made.done["owners and modes"] += 1
    return True


def _mkdir(words: list[str], files: Mapping[str, bytes], made: Translation) -> bool:
    options, rest = _split(words[1:], ("-m", "--mode"))
    if not rest or not all(map(_usable, rest)):
        return False
    for path in rest:
        entry = made.owned(path)
        entry.directory = True
        mode = options.get("-m") or options.get("--mode")
        if mode and re.fullmatch("[0-7]{3,4}", mode):
            entry.mode = int(mode, 8)
    made.done["directories"] += 1
    return True


def _install(words: list[str], files: Mapping[str, bytes], made: Translation) -> bool:
    options, rest = _split(words[1:], ("-m", "-o", "-g", "--mode", "--owner", "--group"))
    mode = options.get("-m") or options.get("--mode") or "0755"
    owner = Owned(options.get("-o") or options.get("--owner"), options.get("-g") or options.get("--group"), None)
    if not re.fullmatch("[0-7]{3,4}", mode) or not all(name is None or _NAME.fullmatch(name) for name in (owner.user, owner.group)):
        return False
    owner.mode = int(mode, 8)
    if "-d" in options or "--directory" in options:
        if not rest or not all(map(_usable, rest)):
            return False
        for path in rest:
            made.paths[path.rstrip("/")] = Owned(owner.user, owner.group, owner.mode, directory=True)
        made.done["directories"] += 1
        return True
    return _copied(rest, owner, files, made)


def _copy(words: list[str], files: Mapping[str, bytes], made: Translation) -> bool:
    _, rest = _split(words[1:], ())
    return _copied(rest, Owned(), files, made)


def _copied(rest: list[str], owner: Owned, files: Mapping[str, bytes], made: Translation) -> bool:
    if len(rest) != 2 or rest[0] not in files or not rest[1].startswith("/etc/"):
        return False
    source, target = rest
    if target.endswith("/"):
        target += source.rpartition("/")[2]
    made.copies.setdefault(target, (source, owner))
    made.done["configuration files"] += 1
    return True


def _setcap(words: list[str], files: Mapping[str, bytes], made: Translation) -> bool:
    _, rest = _split(words[1:], ())
    if len(rest) != 2 or not rest[1].startswith("/"):
        return False
    made.capabilities[rest[1]] = rest[0]
    made.done["capabilities"] += 1
    return True


def _override(words: list[str], files: Mapping[str, bytes], made: Translation) -> bool:
    _, rest = _split(words[1:], ())
    if len(rest) != 4 or "--add" not in words or not re.fullmatch("[0-7]{3,4}", rest[2]) or not _usable(rest[3]):
        return False
    entry = made.owned(rest[3])
    entry.user, entry.group, entry.mode = rest[0], rest[1], int(rest[2], 8)
    made.done["owners and modes"] += 1
    return True


def _alternative(words: list[str], files: Mapping[str, bytes], made: Translation) -> bool:
    if "--install" not in words:
        return False
    arguments = words[words.index("--install") + 1 :]
    if len(arguments) < 4 or not arguments[3].isdigit():
        return False
    made.alternatives.append((shlex.join(arguments), arguments[1], arguments[2]))
    made.done["alternatives"] += 1
    return True
