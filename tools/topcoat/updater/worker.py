"""The package transactions, run under the system's own Python, which has dnf's and rpm's bindings: JSON lines in, JSON lines out.

This program must never import anything but the standard library, dnf and rpm, and never write outside the folder that a request names.

It is started in mount, process and network namespaces of its own. So its mounts and whatever a scriptlet starts end with it, however it ends, and
a scriptlet that wants the network fails on every machine alike.

Request ``{"op": "transact", "lower": [...], "work": dir, "cache": dir, "repositories": [...], "upgrade": [name...],
"install": [{"nevra", "repository"}...], "reinstall": [the same], "names": [package name...],
"expect": {"install": [nevra...], "remove": [nevra...]} | null, "epoch": seconds, "options": {...}, "log": file}`` (or
``{"op": "facts", "root": dir, "work": dir, "paths": [path...]}``, answered with ``newest`` and ``unowned``);
answer ``{"ok": true, "before": [[nevra, build time]...], "after": [...], "newest": seconds, "times": {...}}`` or
``{"ok": false, "kind": "content" | "promise" | "scriptlet" | "infrastructure", "what": text}``.
"""

# Plain strings throughout: the bindings want them. This file also has to run on the Python 3.9 of CentOS Stream 9.
# ruff: noqa: PTH103, PTH108, PTH113, PTH114, PTH118, PTH119, PTH120, PTH207, SIM115, BLE001

from __future__ import annotations

import contextlib
import glob
import importlib.util
import json
import logging
import os
import re
import select
import sqlite3
import sys
import threading
import time
import traceback

import dnf
import dnf.exceptions
import dnf.repo
import dnf.transaction
import rpm

DATABASES = ("usr/lib/sysimage/rpm", "var/lib/rpm")
# What an image's own macro files may say about how packages are laid out in it (rpm's macros file: "%name value").
_IMAGE_MACROS = ("_install_langs", "_netsharedpath", "_excludedocs")
_INSTALLS = (dnf.transaction.PKG_INSTALL, dnf.transaction.PKG_UPGRADE, dnf.transaction.PKG_DOWNGRADE, dnf.transaction.PKG_OBSOLETE)
_ERASES = (dnf.transaction.PKG_ERASE, dnf.transaction.PKG_UPGRADED, dnf.transaction.PKG_DOWNGRADED, dnf.transaction.PKG_OBSOLETED)
_SCRIPTLET_ENVIRONMENT = {
    "HOME": "/root",
    "LANG": "C.UTF-8",
    "PATH": "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin",
    # Compiled modules differ from run to run; a package that wants them brings them.
    "PYTHONDONTWRITEBYTECODE": "1",
}


class Refused(Exception):
    """The request cannot be carried out; ``kind`` tells the caller whose fault it is."""

    def __init__(self, kind: str, what: str) -> None:
        super().__init__(what)
        self.kind = kind
        self.what = what


class Clock:
    """Where the time of a request goes, in seconds by step."""

    def __init__(self) -> None:
        self.times: dict[str, float] = {}

    @contextlib.contextmanager
    def step(self, name: str):  # type: ignore[no-untyped-def]
        start = time.monotonic()
        try:
            yield
        finally:
            self.times[name] = round(self.times.get(name, 0.0) + time.monotonic() - start, 4)


def main() -> int:
    """Serve requests until the input ends."""
    answers = os.fdopen(os.dup(1), "w", buffering=1)
    os.dup2(2, 1)  # whatever prints to standard output must not disturb the protocol
    os.umask(0o022)
    mounts = _load(sys.argv[1])
    # A caller that died can neither read the answer nor unmount: do not go on without him. (Process 1 of a namespace cannot be killed from inside.)
    threading.Thread(target=_leave_with_caller, daemon=True).start()
    answers.write(json.dumps({"ok": True, "rpm": rpm.__version__, "dnf": dnf.VERSION}) + "\n")
    for line in sys.stdin:
        answers.write(json.dumps(_answer(json.loads(line), mounts)) + "\n")
    return 0


def _load(path: str):  # type: ignore[no-untyped-def]
    specification = importlib.util.spec_from_file_location("mounts", path)
    module = importlib.util.module_from_spec(specification)  # type: ignore[arg-type]
    specification.loader.exec_module(module)  # type: ignore[union-attr]
    return module


def _leave_with_caller() -> None:
    poller = select.poll()
    poller.register(0, 0)  # only POLLHUP and POLLERR
    poller.poll()
    os._exit(1)


def _answer(request: dict, mounts) -> dict:  # type: ignore[no-untyped-def]
    try:
        with _log(request.get("log")):
            if request["op"] == "transact":
                return _transact(request, mounts)
            if request["op"] == "facts":
                return _facts(request)
            raise Refused("infrastructure", f"unknown request {request['op']!r}")
    except Refused as error:
        return {"ok": False, "kind": error.kind, "what": error.what}
    except dnf.exceptions.Error as error:
        return {"ok": False, "kind": "content", "what": str(error).strip()}
    except OSError as error:
        return {"ok": False, "kind": "infrastructure", "what": str(error), "errno": error.errno}
    except Exception as error:  # the caller turns it into one line; the log has the rest
        traceback.print_exc()
        return {"ok": False, "kind": "infrastructure", "what": f"{type(error).__name__}: {error}"}


@contextlib.contextmanager
def _log(path):  # type: ignore[no-untyped-def]
    """Everything that anybody prints goes to the image's log for the time of a request."""
    if not path:
        yield
        return
    os.makedirs(os.path.dirname(path), exist_ok=True)
    saved = [os.dup(1), os.dup(2)]
    with open(path, "ab", buffering=0) as sink:
        os.dup2(sink.fileno(), 1)
        os.dup2(sink.fileno(), 2)
        try:
            yield
        finally:
            sys.stderr.flush()
            for number, handle in enumerate(saved, 1):
                os.dup2(handle, number)
                os.close(handle)


def _facts(request: dict) -> dict:
    """The latest build or file time of any installed package (a layer's times may not be earlier without ``rpm -V`` noticing), and which of some
    paths no package owns.
    """
    root = request["root"]
    with _macros(root, _database(root), request["work"]):
        newest = 0
        owned = set()
        transaction = rpm.TransactionSet(root, rpm._RPMVSF_NOSIGNATURES | rpm._RPMVSF_NODIGESTS)
        try:
            for header in transaction.dbMatch():
                newest = max([newest, header[rpm.RPMTAG_BUILDTIME] or 0, *(header[rpm.RPMTAG_FILEMTIMES] or ())])
                if request["paths"]:
                    owned.update(header[rpm.RPMTAG_FILENAMES] or ())
        finally:
            transaction.closeDB()
    return {"ok": True, "newest": newest, "unowned": [path for path in request["paths"] if "/" + path not in owned]}


def _transact(request: dict, mounts) -> dict:  # type: ignore[no-untyped-def]
    clock = Clock()
    mounted: list[str] = []
    try:
        with clock.step("mount"):
            _, root = mounts.prepare_overlay(request["lower"], request["work"])
            mounted.append(root)
            mounted[:0] = mounts.mount_devices(root)
        database = _database(root)
        with _macros(root, database, request["work"]), _environment(SOURCE_DATE_EPOCH=str(request["epoch"])):
            return _run(request, root, database, clock)
    finally:
        with clock.step("unmount"):
            mounts.unmount_all(mounted)


def _run(request: dict, root: str, database: str, clock: Clock) -> dict:
    with clock.step("read"):
        before = _installed(root)
    base = _base(request, root)
    try:
        with clock.step("metadata"):
            base.fill_sack(load_system_repo=True)
        with clock.step("resolve"):
            _prefer_gated(base, request)
            _ask(base, request)
            try:
                base.resolve(allow_erasing=True)
            except dnf.exceptions.DepsolveError as error:
                raise Refused("content", str(error).strip()) from error
            installs, erases = _resolved(base)
        _check_promise(request.get("expect"), installs, erases)
        with clock.step("transaction"), _environment(**_SCRIPTLET_ENVIRONMENT):
            newest = _transaction(base, root, installs, erases, request["options"])
    finally:
        base.close()
    with clock.step("read"):
        after = _installed(root)
        _checkpoint(os.path.join(root, database))
    return {"ok": True, "before": before, "after": after, "newest": newest, "times": clock.times}


def _base(request: dict, root: str) -> dnf.Base:
    """A dnf that knows nothing of this host: no configuration file, no plugin, no history in the image."""
    options = request["options"]
    base = dnf.Base()
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
    conf.gpgcheck = options.get("gpgcheck", False)
    conf.zchunk = False
    for entry in request["repositories"]:
        repository = dnf.repo.Repo(entry["id"], conf)
        repository.baseurl = [entry["url"]]
        repository.priority = entry["priority"]
        repository.includepkgs = entry["include"]
        repository.excludepkgs = entry["exclude"]
        repository.module_hotfixes = entry["module_hotfixes"]
        repository.gpgcheck = conf.gpgcheck
        repository.gpgkey = entry.get("gpgkey", [])
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
    """(packages to install with "replaces an installed one", packages to erase), sorted."""
    installs, erases = [], []
    for item in base.transaction:
        if item.action in _INSTALLS:
            installs.append((item.pkg, item.action != dnf.transaction.PKG_INSTALL))
        elif item.action in _ERASES:
            erases.append(item.pkg)
        elif item.action in (dnf.transaction.PKG_REINSTALL,):
            installs.append((item.pkg, True))
        elif item.action in (dnf.transaction.PKG_REINSTALLED,):
            erases.append(item.pkg)
    return sorted(installs, key=lambda entry: _name(entry[0])), sorted(erases, key=_name)


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


class _Callback:
    """rpm's callback: opens packages, and remembers what went wrong in scriptlets (rpm itself only warns of most)."""

    def __init__(self) -> None:
        self.failures: list[str] = []
        self._open = None

    def __call__(self, what, amount, total, key, _data):  # type: ignore[no-untyped-def]
        if what == rpm.RPMCALLBACK_INST_OPEN_FILE:
            self._open = open(key, "rb")
            return self._open.fileno()
        if what == rpm.RPMCALLBACK_INST_CLOSE_FILE and self._open:
            self._open.close()
        elif what == rpm.RPMCALLBACK_SCRIPT_ERROR:
            scriptlet = str(rpm.tagnames.get(amount, amount)).lower()
            self.failures.append(f"scriptlet {scriptlet} of {_package_of(key)} failed")
        elif what in (rpm.RPMCALLBACK_CPIO_ERROR, rpm.RPMCALLBACK_UNPACK_ERROR):
            self.failures.append(f"unpacking {_package_of(key)} failed")
        return None


def _package_of(key) -> str:  # type: ignore[no-untyped-def]
    return os.path.basename(key).removesuffix(".rpm") if isinstance(key, str) else str(key or "a package")


def _transaction(base: dnf.Base, root: str, installs: list, erases: list, options: dict) -> int:
    """Run rpm. dnf's own do_transaction runs everything twice (a test first) and writes a history; rpm checks conflicts by itself before it starts.

    :returns: the latest build or file time among the new packages, seconds since 1970.
    """
    newest = 0
    if not installs and not erases:
        return newest
    transaction = rpm.TransactionSet(root)
    try:
        flags = rpm.RPMTRANS_FLAG_NODOCS if options.get("nodocs", True) else 0
        transaction.setFlags(flags)
        transaction.setProbFilter(rpm.RPMPROB_FILTER_OLDPACKAGE | rpm.RPMPROB_FILTER_REPLACEPKG | rpm.RPMPROB_FILTER_DISKSPACE)
        for package, replaces in installs:
            path = package.localPkg()
            if options.get("gpgcheck"):
                result, message = base.package_signature_check(package)
                if result != 0:
                    raise Refused("content", message or f"{package}: signature check failed")
            with open(path, "rb") as stream:
                try:
                    header = transaction.hdrFromFdno(stream.fileno())
                except rpm.error as error:
                    raise Refused("content", f"{package}: {error}") from error
            newest = max([newest, header[rpm.RPMTAG_BUILDTIME] or 0, *(header[rpm.RPMTAG_FILEMTIMES] or ())])
            transaction.addInstall(header, path, "u" if replaces else "i")
        for package in erases:
            transaction.addErase(package.idx)
        transaction.check()
        problems = [str(problem) for problem in transaction.problems()]
        if problems:
            raise Refused("content", "; ".join(problems))
        transaction.order()
        transaction.clean()
        callback = _Callback()
        rpm.setVerbosity(rpm.RPMLOG_INFO)
        transaction.scriptFd = 2
        errors = transaction.run(callback, "")
        if callback.failures:
            raise Refused("scriptlet", "; ".join(callback.failures))
        if errors is not None:
            raise Refused("content", "; ".join(str(entry[0] if isinstance(entry, tuple) else entry) for entry in errors) or "rpm could not finish")
    finally:
        transaction.closeDB()
    return newest


def _installed(root: str) -> list:
    """Every installed package: (name-epoch:version-release.arch, build time); two builds of one name differ in the second."""
    transaction = rpm.TransactionSet(root, rpm._RPMVSF_NOSIGNATURES | rpm._RPMVSF_NODIGESTS)
    try:
        found = []
        for header in transaction.dbMatch():
            name = header[rpm.RPMTAG_NAME]
            if name == "gpg-pubkey":
                continue
            nevra = f"{name}-{header[rpm.RPMTAG_EPOCH] or 0}:{header[rpm.RPMTAG_VERSION]}-{header[rpm.RPMTAG_RELEASE]}.{header[rpm.RPMTAG_ARCH]}"
            found.append((nevra, header[rpm.RPMTAG_BUILDTIME] or 0))
        return sorted(found)
    finally:
        transaction.closeDB()


def _database(root: str) -> str:
    """Where the image keeps its package database, relative to the root; only what this host's rpm can write."""
    for path in DATABASES:
        place = os.path.join(root, path)
        if os.path.islink(place):
            continue
        if os.path.isfile(os.path.join(place, "rpmdb.sqlite")):
            return path
        for other in ("Packages", "Packages.db"):
            if os.path.isfile(os.path.join(place, other)):
                raise Refused("content", f"the image's package database /{path}/{other} has a format that this host's rpm does not write")
    raise Refused("content", "the image holds no package database (looked in /" + " and /".join(DATABASES) + ")")


def _checkpoint(directory: str) -> None:
    """Bring the write-ahead log into the database file: layers hold one consistent file, nothing beside it."""
    with contextlib.closing(sqlite3.connect(os.path.join(directory, "rpmdb.sqlite"))) as database:
        database.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchall()
    for name in ("rpmdb.sqlite-wal", "rpmdb.sqlite-shm"):
        with contextlib.suppress(FileNotFoundError):
            os.unlink(os.path.join(directory, name))


@contextlib.contextmanager
def _macros(root: str, database: str, work: str):  # type: ignore[no-untyped-def]
    """rpm's settings for this image: where its database is, and what its own macro files say about languages and documentation."""
    values = {"_dbpath": f"/{database}", "_db_backend": "sqlite"}
    pattern = re.compile(r"%(\w+)\s+(\S.*)")
    for path in sorted(glob.glob(f"{root}/usr/lib/rpm/macros.d/macros*") + glob.glob(f"{root}/etc/rpm/macros*")):
        if os.path.islink(path) or not os.path.isfile(path):
            continue  # a link could lead out of the image
        with open(path, encoding="utf-8", errors="replace") as lines:
            for line in lines:
                match = pattern.match(line)
                if match and match.group(1) in _IMAGE_MACROS and "%" not in match.group(2):
                    values[match.group(1)] = match.group(2).strip()
    # A file, not addMacro: libdnf reads rpm's configuration anew whenever it makes a sack, and forgets what was added.
    home = os.path.join(work, "home")
    os.makedirs(home)
    with open(os.path.join(home, ".rpmmacros"), "w", encoding="utf-8") as sink:
        sink.writelines(f"%{name} {value}\n" for name, value in sorted(values.items()))
    with _environment(HOME=home):
        rpm.reloadConfig()
        yield


@contextlib.contextmanager
def _environment(**values: str):  # type: ignore[no-untyped-def]
    before = {name: os.environ.get(name) for name in values}
    os.environ.update(values)
    try:
        yield
    finally:
        for name, value in before.items():
            if value is None:
                del os.environ[name]
            else:
                os.environ[name] = value


if __name__ == "__main__":
    logging.disable(logging.CRITICAL)
    sys.exit(main())
