"""Random updates: a few packages in an older and a newer build, and what an administrator made of the image between the two.

This module must never draw from anything but the numbers it is given: the same seed is the same update, on any machine.
"""

from __future__ import annotations

import base64
import random
from collections.abc import Iterable
from dataclasses import dataclass, replace

from topcoat_demo.rpms import EPOCH, File, RpmSpec, Trigger, config, directory, ghost, symlink

NAMES = ("a", "b", "c", "odd name", "ünï", "-dash", ".hidden", "%x", "new\nline", "[glob]*", "back\\slash", "quote'\"")
FOLDERS = ("/opt/r", "/opt/r/sub", "/opt/r/sub/deep", "/usr/lib/r", "/etc/r", "/usr/share/doc/r", "/usr/lib64/r")
MODES = (0o644, 0o644, 0o755, 0o600, 0o4755, 0o2755, 0o444)
OWNERS = (("root", "root"), ("root", "root"), ("daemon", "adm"), ("bin", "mail"), ("unknown-user", "root"))
CAPABILITIES = (None, None, None, "cap_net_raw=ep", "cap_net_bind_service,cap_net_raw=p")
EDITS = ("edited", "edited", "removed", "as new", "link", "beside", "owner")
UNVERIFIED = ("md5", "size", "mtime", "user", "group", "mode", "caps", "link")
LANGUAGES = ("", "", "", "de_DE.UTF-8:en", "fr")
ACCOUNTS = ("u daemon -", "u of-package - - - -", "g daemon", "g of-package", "m daemon adm")
"""Lines of sysusers.d(5), of accounts that the image has and of such that it has not."""
FIRST = ("filesystem", "/bin/sh")
"""What lies in an image before its packages do."""
LOG = "opt/ran"
"""What the scriptlets write: their name, their package and their argument, in the order in which they ran."""


@dataclass(frozen=True)
class Edit:
    """``how``: one of ``EDITS``; ``path`` without leading slash; ``text`` where something is written."""

    how: str
    path: str
    text: str = ""


@dataclass(frozen=True)
class Update:
    """``old`` is in the image, ``new`` in the repository of updates, ``gated`` in the one under test, which may go back or stay."""

    old: tuple[RpmSpec, ...]
    new: tuple[RpmSpec, ...]
    gated: tuple[RpmSpec, ...]
    edits: tuple[Edit, ...]
    signed: frozenset[str] = frozenset()
    """Names of files of packages that a key signed."""
    languages: str = ""
    """``%_install_langs`` of the image; empty: all."""


class _Draw:
    def __init__(self, seed: str) -> None:
        self.random = random.Random(seed)
        # One for all packages of an update: rpm refuses to install two that disagree.
        self.modes = {folder: self.random.choice((0o755, 0o755, 0o755, 0o750, 0o1777, 0o2775)) for folder in FOLDERS}

    def chance(self, of_ten: int) -> bool:
        return self.random.randrange(10) < of_ten

    def file(self, path: str, text: str) -> File:
        """One entry at a path; mostly a plain file."""
        item = self.kind(path, text)
        if item.target is None and self.chance(2):
            item = replace(item, unverified=tuple(sorted(self.random.sample(UNVERIFIED, self.random.choice((1, 3))))))
        return item

    def kind(self, path: str, text: str) -> File:
        """The same, verified as a whole."""
        user, group = self.random.choice(OWNERS) if self.chance(2) else OWNERS[0]
        if user == "unknown-user" and self.chance(7):
            user = "daemon"
        kind = self.random.randrange(12)
        if (path.startswith("/etc") or kind == 0) and self.chance(8):
            return config(path, text, noreplace=self.chance(5), missingok=self.chance(2), mode=self.random.choice(MODES), user=user, group=group)
        if kind == 1:
            return symlink(path, self.random.choice(("a", "b", "../r", "/etc/r", "nowhere", "sub")))
        if kind == 2:
            return ghost(path, user=user, group=group, config=self.chance(4), noreplace=self.chance(5))
        mode = self.random.choice(MODES)
        caps = self.random.choice(CAPABILITIES) if mode & 0o111 else None
        doc = path.startswith("/usr/share/doc") and self.chance(7)
        language = self.random.choice(("de", "fr")) if self.chance(1) else None
        return File(path, text, mode=mode, user=user, group=group, caps=caps, doc=doc, language=language)

    def files(self, package: str) -> tuple[File, ...]:
        """The files of a first build: of its own, and some that others have as well."""
        found: dict[str, File] = {}
        for folder in FOLDERS:
            if self.chance(4):
                found[folder] = directory(folder, mode=self.modes[folder])
            if self.chance(3):
                path = f"{folder}/{package}-{self.random.choice(NAMES)}"
                found[path] = self.file(path, self.random.choice("123"))
        for name in ("same", "twin"):
            if self.chance(3):
                found[f"/opt/r/{name}"] = File(f"/opt/r/{name}", name, mode=0o644) if self.chance(8) else ghost(f"/opt/r/{name}")
        if self.chance(3):
            found["/etc/r/shared.conf"] = config("/etc/r/shared.conf", "shared\n", noreplace=self.chance(5))
        if self.chance(1):  # the image's /bin and /var/run are links
            path = self.random.choice((f"/bin/{package}", f"/var/run/{package}"))
            found[path] = self.file(path, "1") if self.chance(2) else ghost(path)
        if self.chance(2):
            inside = [f"{folder}/{package}-hard{number}" for number, folder in enumerate(self.random.sample(FOLDERS, self.random.choice((2, 3))))]
            mode, caps = self.random.choice(MODES), self.random.choice(CAPABILITIES)
            found |= {path: File(path, "hard", mode=mode, hardlink="g", caps=caps if mode & 0o111 else None) for path in inside}
        return tuple(found.values())

    def next_files(self, package: str, files: tuple[File, ...]) -> tuple[File, ...]:
        """The files of the next build: most change a little, some go, some come, some become another kind."""
        found: dict[str, File] = {}
        regroup = self.chance(2)
        for item in files:
            way = self.random.randrange(12)
            if "/same" in item.path or "/twin" in item.path or item.path == "/etc/r/shared.conf":
                if way:
                    found[item.path] = item
            elif item.hardlink:
                found[item.path] = replace(item, hardlink=None) if regroup and way < 6 else replace(item, content="hard2" if not regroup else "hard")
            elif way == 0:
                continue
            elif way == 1 and item.kind != "directory":
                found[item.path] = self.file(item.path, self.random.choice("123"))
            elif way == 2 and item.kind == "directory" and self.chance(5):
                found[item.path] = replace(item, mode=self.random.choice((0o700, 0o2770)), group="adm")
            elif way == 3 and self.chance(1):
                found[item.path] = symlink(item.path, "a") if item.kind == "directory" else directory(item.path)
            elif way < 8 and item.kind == "file" and item.target is None:
                found[item.path] = replace(item, content=self.random.choice("123"), mode=self.random.choice((item.mode, *MODES)))
            else:
                found[item.path] = item
        for item in self.files(package) if self.chance(5) else ():
            if self.chance(3):
                found.setdefault(item.path, item)
        return _whole(item for item in found.values() if not _below_no_folder(item.path, found))

    def scripts(self, package: RpmSpec, *kinds: str) -> RpmSpec:
        """Scriptlets and triggers that write down that they ran."""
        kinds = tuple(kind for kind in (*kinds, "pre", "post", "preun", "postun", "posttrans") if self.chance(4))
        more: dict[str, object] = {kind: f"echo {kind} {package.name} {package.version} $1 >> /{LOG}" for kind in kinds}
        return replace(package, triggers=self.triggers(package, "stays"), **more)  # type: ignore[arg-type]

    def triggers(self, package: RpmSpec, *others: str) -> tuple[Trigger, ...]:
        """Triggers on files and on other packages."""
        triggers = []
        for kind in ("filetriggerin", "filetriggerpostun", "transfiletriggerin", "transfiletriggerun"):
            if self.chance(1):
                triggers.append(Trigger(kind, self.random.choice(("/opt/r", "/usr/lib/r", "/etc")), f"echo {kind} {package.name} $1 >> /{LOG}"))
        if self.chance(1):
            kind = self.random.choice(("triggerin", "triggerun", "triggerpostun", "triggerprein"))
            triggers.append(Trigger(kind, self.random.choice(others), f"echo {kind} {package.name} $1 $2 >> /{LOG}"))
        return tuple(triggers)

    def accounts(self) -> tuple[str, ...]:
        """What a package with a line of sysusers.d(5) provides, as its build writes it."""
        line = self.random.choice(ACCOUNTS)
        kind, name, *more = line.split()
        what = {"u": f"user({name})", "g": f"group({name})", "m": f"groupmember({name}/{more[0] if more else ''})"}[kind]
        return (f"{what} = {base64.b64encode(line.encode()).decode()}",)


def _whole(files: Iterable[File]) -> tuple[File, ...]:
    """The same files; those of a group of hard links are alike, and more than one."""
    files = tuple(files)
    linked = [item for item in files if item.hardlink]
    alike = {} if len(linked) < 2 else {"content": linked[0].content, "mode": linked[0].mode, "caps": linked[0].caps, "hardlink": "g"}
    return tuple(replace(item, **(alike or {"hardlink": None})) if item.hardlink else item for item in files)


def _below_no_folder(path: str, found: dict[str, File]) -> bool:
    parts = path.split("/")
    above = ["/".join(parts[:count]) for count in range(2, len(parts))]
    return any(folder in found and found[folder].kind != "directory" for folder in above)


def update(seed: int, number: int) -> Update:
    """The update with this number; its packages have names that no other one uses."""
    draw = _Draw(f"{seed} {number}")
    old: list[RpmSpec] = []
    new: list[RpmSpec] = []
    gated: list[RpmSpec] = []
    scripted = draw.chance(1)
    letters = "wxyz"[: draw.random.choice((1, 1, 2, 3, 4))]
    specs = [_first(draw, f"r{number}{letter}", scripted) for letter in letters]
    laters = [_next(draw, spec, scripted) for spec in specs]
    if len(specs) > 1 and draw.chance(4):
        _move(draw, laters)
    for letter, spec, later in zip(letters, specs, laters, strict=True):
        old.append(spec)
        way = draw.random.randrange(12)
        if way == 0:
            later = replace(later, arch="x86_64" if spec.arch == "noarch" else "noarch")
        elif way == 1:
            later = replace(later, version="1", epoch=1)
        elif way == 2:  # another package takes its place
            later = replace(later, name=f"{spec.name}new", obsoletes=(f"{spec.name} < 3",), provides=(f"{spec.name} = 3",))
        elif way == 7 and new:  # one that is there takes its place, and some of its files
            known = {item.path for item in new[-1].files}
            taken = tuple(item for item in later.files if item.path not in known and not item.hardlink)[::2]
            new[-1] = replace(new[-1], obsoletes=(*new[-1].obsoletes, f"{spec.name} < 3"), files=(*new[-1].files, *taken))
            continue
        elif way == 8:  # needs one that the image does not have
            later = replace(later, requires=(*FIRST, f"{spec.name}more"))
            new.append(RpmSpec(f"{spec.name}more", "1", files=draw.files(f"{spec.name}more"), time=later.time + draw.random.choice((0, 100))))
        if way in (3, 4):
            gated.append(replace(later, version="2" if way == 3 else "1", time=later.time + 1))
        elif way == 5 and letter != "w":
            continue  # it stays as it is
        else:
            new.append(later)
        if way == 6:  # both architectures side by side
            old[-1], new[-1] = replace(spec, arch="x86_64"), replace(later, arch="x86_64")
            coloured = draw.chance(5)
            for packages in (old, new):
                files = _whole(item for item in packages[-1].files if not item.path.startswith("/usr/lib64") and not item.caps)
                packages.append(replace(packages[-1], arch="i686", files=files))
                if coloured:
                    for place, color in ((-2, 2), (-1, 1)):
                        item = File(f"/usr/bin/{spec.name}", f"{packages[place].arch} {packages[place].version}", mode=0o755, color=color)
                        packages[place] = replace(packages[place], files=(*packages[place].files, item))
    if draw.chance(2):  # one that stays looks at the others
        watcher = RpmSpec(f"r{number}watcher", "1")
        old.append(replace(watcher, triggers=draw.triggers(watcher, *(spec.name for spec in specs))))
    everything = (*new, *gated)
    signed = frozenset(spec.filename for spec in everything) if draw.chance(2) else frozenset(s.filename for s in everything if draw.chance(1))
    return Update(tuple(old), tuple(new), tuple(gated), tuple(_edits(draw, old, everything)), signed, draw.random.choice(LANGUAGES))


def _first(draw: _Draw, name: str, scripted: bool) -> RpmSpec:
    arch = draw.random.choice(("noarch", "noarch", "x86_64"))
    epoch = draw.random.choice((0, 0, 0, 0, 1))
    spec = RpmSpec(name, "2", epoch=epoch, arch=arch, files=draw.files(name), requires=FIRST, time=EPOCH - draw.random.choice((0, 500)))
    return draw.scripts(spec) if scripted else spec


def _next(draw: _Draw, spec: RpmSpec, scripted: bool) -> RpmSpec:
    time = EPOCH + draw.random.choice((0, 700, 30 * 365 * 86400))
    later = replace(spec, version="3", files=draw.next_files(spec.name, spec.files), time=time)
    if draw.chance(1):
        later = replace(later, provides=draw.accounts())
    return draw.scripts(later, "pretrans") if scripted else later


def _move(draw: _Draw, laters: list[RpmSpec]) -> None:
    """Files that one package had come with another one."""
    giver, taker = draw.random.sample(range(len(laters)), 2)
    known = {item.path for item in laters[taker].files}
    moved = [item for item in laters[giver].files if item.path not in known and not item.hardlink and draw.chance(4)]
    files = {item.path: item for item in (*laters[taker].files, *moved)}
    laters[giver] = replace(laters[giver], files=tuple(item for item in laters[giver].files if item not in moved))
    laters[taker] = replace(laters[taker], files=_whole(item for item in files.values() if not _below_no_folder(item.path, files)))


def _edits(draw: _Draw, old: Iterable[RpmSpec], new: Iterable[RpmSpec]) -> Iterable[Edit]:
    """What an administrator, or a service, made of the files of packages, and what lies where files will come."""
    after = {item.path: item for spec in new for item in spec.files}
    before = {item.path: item for spec in old for item in spec.files}
    for item in sorted(before.values(), key=lambda item: item.path):
        if item.kind == "directory":
            if draw.chance(1) and draw.chance(1):
                yield Edit("moved", item.path[1:])
            continue
        if item.target is not None or item.hardlink:
            continue
        if not draw.chance(6 if item.config or item.kind == "ghost" else 1 if draw.chance(3) else 0):
            continue
        how = draw.random.choice(EDITS)
        content = after[item.path].content if item.path in after else ""
        yield Edit(how, item.path[1:], content if how == "as new" and isinstance(content, str) else "mine\n")
    for path in sorted(after.keys() - before.keys()):
        if after[path].kind != "directory" and draw.chance(1):
            yield Edit(draw.random.choice(("edited", "as new")), path[1:], draw.random.choice("123"))
    if draw.chance(2):
        yield Edit("edited", f"opt/r/sub/{draw.random.choice('ab')}", "of nobody\n")
