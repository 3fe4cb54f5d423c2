"""What dnf decides and rpm does.

This module must never run a transaction that is not the expected one, and never take a scriptlet's failure for a success.
"""

# ruff: noqa: PTH103, PTH118, PTH119, SIM115

from __future__ import annotations

import contextlib
import errno
import os
import re
import tempfile
from urllib.parse import unquote, urlsplit

import database
import dnf
import dnf.conf
import dnf.exceptions
import dnf.repo
import dnf.transaction
import files
import image
import rpm
from protocol import Clock, Refused, environment

_INSTALLS = (
    dnf.transaction.PKG_INSTALL,
    dnf.transaction.PKG_REINSTALL,
    dnf.transaction.PKG_UPGRADE,
    dnf.transaction.PKG_DOWNGRADE,
    dnf.transaction.PKG_OBSOLETE,
)
_ERASES = (
    dnf.transaction.PKG_ERASE,
    dnf.transaction.PKG_REINSTALLED,
    dnf.transaction.PKG_UPGRADED,
    dnf.transaction.PKG_DOWNGRADED,
    dnf.transaction.PKG_OBSOLETED,
)
_SCRIPTLET_ENVIRONMENT = {
    "HOME": "/root",
    "LANG": "C.UTF-8",
    "PATH": "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin",
    # Compiled modules differ from run to run; a package that wants them brings them.
    "PYTHONDONTWRITEBYTECODE": "1",
}


def run(request: dict, root: str, place: str, clock: Clock, fetch) -> dict:
    with clock.step("read"):
        before = database.installed(root)
    base = _base(request, root)
    image.configure(base.conf, root)
    image.lend_module_data(base.conf, root)
    try:
        with clock.step("metadata"):
            base.fill_sack(load_system_repo=True)
        with clock.step("resolve"):
            _prefer_gated(base, request)
            _ask(base, request)
            try:
                base.resolve(allow_erasing=request.get("erasing", False))
            except dnf.exceptions.DepsolveError as error:
                raise Refused("content", str(error).strip()) from error
            installs, erases = _resolved(base)
        _check_promise(request.get("expect"), installs, erases)
        if not request.get("database_only"):
            _check_room(root, installs)
        with clock.step("fetch"):
            fetch(sorted([package.reponame, package.location] for package, _ in installs))
        with clock.step("transaction"), environment(**_SCRIPTLET_ENVIRONMENT):
            made: dict = {}
            dates, order, gone = _transaction(
                base, root, installs, erases, request["options"], fetch.doing, made, database_only=request.get("database_only", False)
            )
            if not request.get("database_only"):
                _check_accounts(base, root, made)
            if installs or erases:
                image.keep_module_data(base, root)
    finally:
        base.close()
    with clock.step("read"):
        after = database.installed(root)
        database.checkpoint(os.path.join(root, place))
    return {"ok": True, "before": before, "after": after, "order": order, "gone": gone, **dates.answer(), "times": clock.times}


def warm_up() -> None:
    """Load what dnf and rpm load at first use, so that every child has it already; reads nothing but an empty folder."""
    with tempfile.TemporaryDirectory() as empty:
        request = {"work": empty, "cache": os.path.join(empty, "cache"), "repositories": [], "options": {"release": "", "arch": "noarch"}}
        base = _base(request, os.path.join(empty, "root"))
        try:
            base.fill_sack(load_system_repo=False)
            base.resolve()
        finally:
            base.close()


def fill_cache(request: dict, _fetch) -> dict:  # type: ignore[no-untyped-def]
    """Read the repositories, so that dnf's own form of their metadata lies in the cache."""
    base = _base(request, os.path.join(request["work"], "root"))
    try:
        base.fill_sack(load_system_repo=False)
    finally:
        base.close()
    return {"ok": True}


def _base(request: dict, root: str) -> dnf.Base:
    """A dnf that knows nothing of this host: no configuration file, no plugin, no history in the image. What the image says comes later."""
    options = request["options"]
    base = dnf.Base(dnf.conf.Conf())  # a configuration that is given is taken as it is: nothing of the host is looked up
    conf = base.conf
    conf.installroot = root
    conf.cachedir = request["cache"]
    conf.persistdir = os.path.join(request["work"], "dnf")
    conf.logdir = os.path.join(request["work"], "log")
    for path in (conf.persistdir, conf.logdir):
        os.makedirs(path, exist_ok=True)
    conf.reposdir = []
    conf.varsdir = []
    conf.pluginpath = []
    conf.plugins = False
    conf.substitutions["releasever"] = options["release"]
    conf.substitutions["arch"] = options["arch"]
    conf.substitutions["basearch"] = dnf.rpm.basearch(options["arch"])
    conf.assumeyes = True
    conf.best = True
    conf.obsoletes = True
    conf.install_weak_deps = options.get("weak_dependencies", False)
    conf.clean_requirements_on_remove = False
    conf.history_record = False
    conf.protected_packages = []
    conf.gpgcheck = False  # the caller checks packages by their repositories' policies before he hands them over
    conf.zchunk = False
    # dnf 4.19 and newer leave file lists out unless asked, and then refuse what requires a file that only they name; older ones always read them.
    if hasattr(conf, "optional_metadata_types"):
        conf.optional_metadata_types = ["filelists"]
    for entry in request["repositories"]:
        repository = dnf.repo.Repo(entry["id"], conf)
        repository.baseurl = [entry["url"]]
        repository.priority = entry["priority"]
        repository.includepkgs = entry["include"]
        repository.excludepkgs = entry["exclude"]
        repository.module_hotfixes = entry["module_hotfixes"]
        repository.gpgcheck = False
        repository.metadata_expire = -1  # the caller froze it: the folder never changes
        repository.skip_if_unavailable = False
        base.repos.add(repository)
    return base


def _prefer_gated(base: dnf.Base, request: dict) -> None:
    """A package that is under test comes from the gating repository and from nowhere else, also when another one has a newer build."""
    gated = [entry["id"] for entry in request["repositories"] if entry.get("gated")]
    if gated:
        names = {package.name for package in base.sack.query().available().filter(reponame=gated)}
        others = base.sack.query().available().filter(name=sorted(names)).filter(reponame__neq=gated)
        base.sack.add_excludes(others)


def _ask(base: dnf.Base, request: dict) -> None:
    """Put exactly the caller's request into dnf's goal."""
    for name in request["names"]:
        try:
            base.install(name)
        except dnf.exceptions.MarkingError as error:
            raise Refused("content", f"no package {name} in any repository ({error})") from error
    for wanted in request["install"]:
        base.package_install(_package(base, wanted))
    for wanted in request["reinstall"]:
        base.package_reinstall(_package(base, wanted))
    for name in request["upgrade"]:
        with contextlib.suppress(dnf.exceptions.MarkingError):  # nothing newer: the comparison with the plan will tell
            base.upgrade(name)


def _package(base: dnf.Base, wanted: dict):  # type: ignore[no-untyped-def]
    """The one package that a request names exactly."""
    match = re.fullmatch(r"(.+)-(?:(\d+):)?([^-:]+)-([^-]+)\.([^.-]+)", wanted["nevra"])
    if not match:
        raise Refused("content", f"not a package: {wanted['nevra']!r}")
    name, epoch, version, release, arch = match.groups()
    query = base.sack.query().available().filter(name=name, epoch=int(epoch or 0), version=version, release=release, arch=arch)
    if wanted.get("repository"):
        query = query.filter(reponame=wanted["repository"])
    if not query:
        raise Refused("content", f"{wanted['nevra']} is in no repository (asked: {wanted.get('repository') or 'any'})")
    return query[0]


def _resolved(base: dnf.Base) -> tuple[list, list]:
    """(packages to install with "replaces an installed one", packages to erase).

    In dnf's own order: rpm breaks ties by it, so that a build from the host has the same package database as one in a container, byte for byte.
    """
    installs, erases = [], []
    for item in base.transaction:
        if item.action in _INSTALLS:
            installs.append((item.pkg, item.action != dnf.transaction.PKG_INSTALL))
        elif item.action in _ERASES:
            erases.append(item.pkg)
    return installs, erases


def _name(package) -> str:  # type: ignore[no-untyped-def]
    return f"{package.name}-{package.epoch}:{package.version}-{package.release}.{package.arch}"


def _check_promise(expect, installs: list, erases: list) -> None:  # type: ignore[no-untyped-def]
    """The plan is a promise: before anything is changed, what dnf would do must be what the plan named."""
    if expect is None:
        return
    found = {"install": {_name(package) for package, _ in installs}, "remove": {_name(package) for package in erases}}
    problems = []
    for side in ("install", "remove"):
        planned = set(expect[side])
        problems += [f"would {side} {nevra}, which the plan does not name" for nevra in sorted(found[side] - planned)]
        problems += [f"would not {side} {nevra}, which the plan names" for nevra in sorted(planned - found[side])]
    if problems:
        raise Refused("promise", "; ".join(problems))


def _check_room(root: str, installs: list) -> None:
    """rpm blames the package in many words when the disk is full, so whether there is room is asked before."""
    found = os.statvfs(root)
    needed, room = sum(package.installsize for package, _ in installs), found.f_bavail * found.f_frsize
    if needed > room:
        what = f"the disk is full: the packages need {needed >> 20} MiB, and the work folder has room for {room >> 20} MiB"
        raise Refused("infrastructure", what, errno.ENOSPC)


_MAKES_ACCOUNTS = "4.19"
# Tags that rpm gives to the scripts of triggers and file triggers alike, and has no names for (rpmtag.h: RPMTAG_TRIGGERIN and its kin).
_TRIGGERS = {1100: "triggerin", 1101: "triggerun", 1102: "triggerpostun", 1171: "triggerprein"}


class _Callback:
    """rpm's callback: opens packages, and remembers what went wrong in scriptlets (rpm itself only warns of most)."""

    def __init__(self, doing) -> None:  # type: ignore[no-untyped-def]
        self.failures: list[str] = []
        self._doing = doing
        self._open = None

    def __call__(self, what, amount, total, key, _data):  # type: ignore[no-untyped-def]
        if what == rpm.RPMCALLBACK_INST_OPEN_FILE:
            self._open = open(key, "rb")
            return self._open.fileno()
        if what == rpm.RPMCALLBACK_INST_CLOSE_FILE and self._open:
            self._open.close()
        elif what == rpm.RPMCALLBACK_SCRIPT_START:
            self._doing(_scriptlet(amount, key))
        elif what == rpm.RPMCALLBACK_SCRIPT_STOP:
            self._doing("")
        elif what == rpm.RPMCALLBACK_SCRIPT_ERROR:
            self.failures.append(f"{_scriptlet(amount, key)} failed")
        elif what in (rpm.RPMCALLBACK_CPIO_ERROR, rpm.RPMCALLBACK_UNPACK_ERROR):
            self.failures.append(f"unpacking {_package_of(key)} failed")
        return None


def _scriptlet(tag: int, key) -> str:  # type: ignore[no-untyped-def]
    name = str(rpm.tagnames.get(tag) or _TRIGGERS.get(tag, f"number {tag}")).lower()
    return f"scriptlet {name} of {_package_of(key)}"


def _package_of(key) -> str:  # type: ignore[no-untyped-def]
    return os.path.basename(key).removesuffix(".rpm") if isinstance(key, str) else str(key or "a package")


def _transaction(base: dnf.Base, root: str, installs: list, erases: list, options: dict, doing, made: dict, *, database_only: bool) -> tuple:  # type: ignore[no-untyped-def]
    """Run rpm. dnf's own do_transaction runs everything twice (a test first) and writes a history; rpm checks conflicts by itself before it starts.

    :param doing: told which scriptlet runs.
    :param made: gets the accounts that packages make, with the name of the package.
    :param database_only: change the package database and nothing else; no scriptlet and no trigger runs.
    :returns: the dates of the new packages; the names with versions of those that came, and of those that went, in the order in which rpm took them.
    """
    dates, order, gone = database.Dates(), [], []
    if not installs and not erases:
        return dates, order, gone
    # Whether a package's signature is good enough was decided before it was handed to us, by the repository's own policy and keys. Left alone, rpm
    # decides a second time by the keys that happen to be in the image and by the level that this host's macros ask for. Digests are still compared.
    transaction = rpm.TransactionSet(root, rpm._RPMVSF_NOSIGNATURES)
    transaction.setVfyFlags(rpm._RPMVSF_NOSIGNATURES)
    transaction.setVfyLevel(rpm.RPMSIG_DIGEST_TYPE)
    try:
        flags = rpm.RPMTRANS_FLAG_NODOCS if options.get("nodocs", True) else 0
        ignored = rpm.RPMPROB_FILTER_OLDPACKAGE | rpm.RPMPROB_FILTER_REPLACEPKG | rpm.RPMPROB_FILTER_DISKSPACE
        if database_only:
            flags |= rpm.RPMTRANS_FLAG_JUSTDB | rpm.RPMTRANS_FLAG_NOSCRIPTS | rpm.RPMTRANS_FLAG_NOTRIGGERS
            ignored |= rpm.RPMPROB_FILTER_IGNOREARCH  # nothing of it runs on this machine
        transaction.setFlags(flags)
        transaction.setProbFilter(ignored)
        for package, replaces in installs:
            path = _file(package)
            with open(path, "rb") as stream:
                try:
                    header = transaction.hdrFromFdno(stream.fileno())
                except rpm.error as error:
                    raise Refused("content", f"{package}: {error}") from error
            _check_module(package, header)
            dates.add(header)
            made.update(dict.fromkeys(_accounts(header), _name(package)))
            transaction.addInstall(header, path, "u" if replaces else "i")
        for package in erases:
            transaction.addErase(package.idx)
        transaction.check()
        problems = [str(problem) for problem in transaction.problems()]
        if problems:
            raise Refused("content", "; ".join(problems))
        transaction.order()
        order = [_element(element) for element in transaction if element.Type() == rpm.TR_ADDED]
        gone = [_element(element) for element in transaction if element.Type() == rpm.TR_REMOVED]
        transaction.clean()
        callback = _Callback(doing)
        rpm.setVerbosity(rpm.RPMLOG_INFO)
        transaction.scriptFd = 2
        errors = transaction.run(callback, "")
        if callback.failures:
            raise Refused("scriptlet", "; ".join(callback.failures))
        if errors is not None:
            raise Refused("content", "; ".join(str(entry[0] if isinstance(entry, tuple) else entry) for entry in errors) or "rpm could not finish")
    finally:
        transaction.closeDB()
    return dates, order, gone


_ACCOUNT = re.compile(r"(user|group)\(([^()/]+)\)|(groupmember)\(([^()/]+/[^()/]+)\)")
_TABLES = {"user": "passwd", "group": "group", "groupmember": "member"}


def _accounts(header) -> list:  # type: ignore[no-untyped-def]
    """(table, name) of the accounts that rpm makes for a package: what it provides as ``user(NAME)``, ``group(NAME)`` or ``groupmember(USER/GROUP)``
    with a line of sysusers.d(5) for its version (rpm's manual, "Users and groups")."""
    versions, found = header[rpm.RPMTAG_PROVIDEVERSION] or (), []
    for number, provided in enumerate(header[rpm.RPMTAG_PROVIDENAME] or ()):
        match = _ACCOUNT.fullmatch(provided)
        if match and versions[number]:
            found.append((_TABLES[match.group(1) or match.group(3)], match.group(2) or match.group(4)))
    return found


def _check_accounts(base: dnf.Base, root: str, made: dict) -> None:
    """rpm makes accounts from 4.19 on. An older one on this host warns, and gives their files to root. What the image's own rpm would not make either
    is left as it is."""
    own = [package.version for package in base.sack.query().installed().filter(name="rpm")]
    if own and all(rpm.labelCompare(("0", version, ""), ("0", _MAKES_ACCOUNTS, "")) < 0 for version in own):
        return
    for (table, name), package in sorted(made.items()):
        if table == "member":
            user, _, group = name.partition("/")
            fields = files.account(root, "group", group)
            if fields and user in ",".join(fields[3:]).split(","):
                continue
            what = f"{package} puts {user} into the group {group}, and rpm {rpm.__version__} of this host does not"
        elif files.account(root, table, name) is None:
            kind = "user" if table == "passwd" else "group"
            what = f"{package} makes the {kind} {name}, and rpm {rpm.__version__} of this host does not: its files would be root's"
        else:
            continue
        raise Refused("content", f"{what} (rpm {_MAKES_ACCOUNTS} and newer do, and so does a build with buildah, by the image's own rpm)")


def _file(package) -> str:  # type: ignore[no-untyped-def]
    """Where the caller put a package: below its repository, also where the metadata says that it lies elsewhere (``xml:base``)."""
    return os.path.join(unquote(urlsplit(package.repo.baseurl[0]).path), package.location)


def _check_module(package, header) -> None:  # type: ignore[no-untyped-def]
    """dnf's fail-safe (its documentation of modularity): a package that was built for a module stream is installed only where that stream is active,
    as the metadata of the stream decides which packages it may be replaced by."""
    if header["modularitylabel"] and not package.repo.module_hotfixes and not package._is_in_active_module():
        what = f"{_name(package)} belongs to the module {header['modularitylabel']}, and no repository describes that stream as active"
        raise Refused("content", f"{what}; dnf refuses it too")


def _element(element) -> str:  # type: ignore[no-untyped-def]
    return f"{element.N()}-{element.E() or 0}:{element.V()}-{element.R()}.{element.A()}"
