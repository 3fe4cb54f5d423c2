"""The real-size world: Debian's own software as signed RPMs under the names that the recipes use, in two states, and a base image of it.

This module must never mix two states or show a half-made one: everything is made beside and takes its place when it is complete. A world that
somebody uses stays whatever becomes of the next one.

``current-passed-ci`` holds of every package the version before the newest, ``current`` the newest: what point releases and security updates of Debian
changed between them is what an update of the images must bring.
"""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import time
from collections import Counter
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping
from concurrent.futures import ProcessPoolExecutor, as_completed
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path

import yaml
from rich.console import Console
from rich.progress import BarColumn, DownloadColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

from topcoat.errors import ContentError
from topcoat.process.files import write_whole
from topcoat.rpm.evr import Order
from topcoat_demo import _header, clashes, convert, debian, filesystem, images, rpms, scripts, signing, world_rules
from topcoat_demo import cache as caches
from topcoat_demo.convert import Rules, evr
from topcoat_demo.debian import Deb, Index
from topcoat_demo.distribution import lock, unused
from topcoat_demo.images import Layout
from topcoat_demo.packages import command
from topcoat_demo.rpms import RpmSpec, make_repository, write_rpm

Say = Callable[[str], None]
STATES = ("current-passed-ci", "current")
_IN_USE = ".in-use"
_ENVIRONMENT = {"PATH": "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin", "LANG": "C.UTF-8"}
_STAND_IN_VERSION = ("1.0", "0")


@dataclass(frozen=True)
class World:
    """Where everything is."""

    directory: Path
    base: Layout
    facts: Mapping[str, object]
    """Counts of packages, files, bytes and of what became of the maintainer scripts, as they are told to people."""

    @property
    def repositories(self) -> Path:
        """Holds one repository a state and the key."""
        return self.directory / "repos"


class Table:
    """What stands for each name of the recipes (``data/debian.yaml``)."""

    def __init__(self) -> None:
        self._path = Path(__file__).parent / "data" / "debian.yaml"
        document = yaml.safe_load(self._path.read_text())
        same = document["same"].split()
        prefixed = {f"openstack-{name}": name for name in document["prefixed"].split()}
        self.renamed: Mapping[str, str] = {**prefixed, **document["renamed"]}
        """Name of the RPM -> Debian's."""
        self.composed: Mapping[str, list[str]] = document["composed"]
        self.absent: Mapping[str, Mapping[str, list[str]]] = document["absent"]
        self.base: list[str] = document["base"].split()
        self.without: list[str] = document["without"].split() + document["building"].split()
        self.names = frozenset({*same, *self.renamed, *self.composed, *self.absent})
        """Every name that the recipes use."""
        others = {name for names in self.composed.values() for name in names} | {
            n for entry in self.absent.values() for n in entry.get("requires", ())
        }
        self.roots = sorted({*same, *self.renamed.values(), *others, *self.base, *world_rules.EXTRA})

    @cached_property
    def digest(self) -> str:
        """Changes with the table."""
        return hashlib.sha256(self._path.read_bytes()).hexdigest()


@dataclass(frozen=True)
class Chosen:
    """One package of a state, with the requirements of its RPM."""

    deb: Deb
    requires: tuple[str, ...]


def _order() -> Callable[[str, str], int]:
    order = Order()

    def text(version: str) -> str:
        epoch, upstream, revision = evr(version)
        return f"{epoch}:{upstream}-{revision}"

    return lambda a, b: order.compare(text(a), text(b))


def resolve(table: Table) -> dict[str, tuple[Chosen, ...]]:
    """Both states as apt's lists have them today. What Debian lacks of the roots is left out: ``stand_ins`` makes something small of it."""
    order = _order()
    earlier, later = Index.states(order)
    roots = [name for name in table.roots if name in later]
    newest = later.closure(roots, table.without)
    previous = _settled(earlier, later, roots, table.without, order)
    left_out = frozenset(table.without)
    found = {}
    for state, index, chosen in ((STATES[0], earlier, previous), (STATES[1], later, newest)):
        found[state] = tuple(
            Chosen(deb, convert.requires_of(deb, lambda group: index.satisfy(group, chosen, left_out.__contains__)))  # noqa: B023
            for deb in chosen.values()
        )
    return found


def _settled(earlier: Index, later: Index, roots: Iterable[str], without: Iterable[str], order: Callable[[str, str], int]) -> dict[str, Deb]:
    """The closure of the earlier state, where packages that need a newer version of another get it (with all of its source)."""
    roots = list(roots)
    while True:
        chosen = earlier.closure(roots, without)
        short = {
            relation.name
            for deb in chosen.values()
            for group in deb.depends
            for relation in group
            if len(group) == 1 and relation.operator in (">=", "=", ">>") and relation.name in chosen
            if not _meets(chosen[relation.name], relation, order)
        }
        if not short:
            return chosen
        sources = {chosen[name].source for name in short}
        moved = [name for name, deb in chosen.items() if deb.source in sources and later.get(name).version != deb.version]
        if not moved:
            return chosen
        for name in moved:
            earlier.take(later, name)


def _meets(deb: Deb, relation: debian.Relation, order: Callable[[str, str], int]) -> bool:
    if relation.operator == "=":
        return order(deb.version, relation.version) == 0
    return order(deb.version, relation.version) >= 0


def _load(path: Path, key: str) -> dict[str, tuple[Chosen, ...]] | None:
    try:
        document = json.loads(path.read_text())
    except (OSError, ValueError):
        return None
    if document.get("key") != key:
        return None
    return {
        state: tuple(Chosen(Deb.of_document(entry["deb"]), tuple(entry["requires"])) for entry in entries)
        for state, entries in document["states"].items()
    }


def _store(path: Path, key: str, states: Mapping[str, Iterable[Chosen]]) -> None:
    entries = {state: [{"deb": item.deb.as_document(), "requires": item.requires} for item in chosen] for state, chosen in states.items()}
    write_whole(path, json.dumps({"key": key, "states": entries}))


def _code_digest() -> str:
    """Changes whenever the same Debian package could become another RPM."""
    digest = hashlib.sha256()
    for module in (_header, convert, rpms, scripts, filesystem, signing):
        digest.update(Path(str(module.__file__)).read_bytes())
    return digest.hexdigest()


def _rules(table: Table) -> dict[str, Rules]:
    rules = dict(world_rules.RULES)
    for name, of in table.renamed.items():
        rules[of] = replace(rules.get(of, Rules()), rename=name)
    return rules


class _Meter:
    """Progress bars on a terminal, nothing elsewhere."""

    def __init__(self, console: Console) -> None:
        self._console = console

    @contextmanager
    def bar(self, title: str, total: int, *, size: bool) -> Iterator[Callable[[int], None]]:
        columns = (TextColumn("  {task.description}"), BarColumn(), DownloadColumn() if size else MofNCompleteColumn(), TimeElapsedColumn())
        with Progress(*columns, console=self._console, transient=True, disable=not self._console.is_terminal) as progress:
            task = progress.add_task(title, total=total)
            yield lambda amount: progress.advance(task, amount)


@contextmanager
def used(cache: Path, *, say: Say = lambda line: None, console: Console | None = None, refresh: bool = False) -> Iterator[World]:
    """Make the world, or find it made; nobody removes it before the end of the block.

    :param cache: downloads, conversions and the finished world.
    :param refresh: ask Debian's index again; else the versions of last time are used, without a registry.
    :raises InfrastructureError: Debian's registry is needed and cannot be reached.
    """
    with ExitStack() as held:
        with lock(cache / "world.lock"):
            world = _make(cache, say, console or Console(stderr=True), refresh)
            held.enter_context(lock(world.directory / _IN_USE, shared=True))
        yield world


def _make(cache: Path, say: Say, console: Console, refresh: bool) -> World:
    table = Table()
    written = cache / "world.lock.json"
    key = hashlib.sha256(f"{table.digest} {world_rules.EXTRA}".encode()).hexdigest()
    states = None if refresh else _load(written, key)
    if states is None:
        say("Debian: choosing versions")
        states = resolve(table)
        _store(written, key, states)
    meter = _Meter(console)
    rules = _rules(table)
    code = _code_digest()
    seconds: Counter[str] = Counter()
    with _counted(seconds, "fetch"):
        owners = _owners(states, f"{key} {code}", cache, meter, say)
    folders: dict[Chosen, Path] = {}
    for chosen in (*states[STATES[0]], *states[STATES[1]]):
        text = f"world {code} {chosen.deb.sha256} {chosen.deb.version} {chosen.requires} {rules.get(chosen.deb.name)} {owners}"
        mark = hashlib.sha256(text.encode()).hexdigest()
        folders[chosen] = cache / "rpms" / mark[:2] / mark
    caches.use(
        cache, "world", [*dict.fromkeys(folders.values()), *(cache / "debs" / name for name in dict.fromkeys(item.deb.filename for item in folders))]
    )
    whole = hashlib.sha256(repr(sorted(map(str, folders.values()))).encode())
    for module in (__file__, images.__file__, clashes.__file__):
        whole.update(Path(module).read_bytes())
    directory = cache / "world" / whole.hexdigest()[:16]
    found = _find(directory)
    if found:
        return found
    todo = {chosen: folder for chosen, folder in folders.items() if not folder.is_dir()}
    with _counted(seconds, "fetch"):
        archives = _fetch((item.deb for item in todo), cache, meter, say)
    with _counted(seconds, "convert"):
        _convert_all(todo, archives, rules, owners, meter, say)
    made = _assemble(directory, table, states, folders, cache, say, seconds)
    _tidy(directory)
    freed = caches.sweep(cache)
    if freed:
        say(f"cache: {freed / 1e6:.0f} MB of earlier packages removed")
    return made


@contextmanager
def _counted(seconds: Counter[str], name: str) -> Iterator[None]:
    """Adds what the block takes."""
    started = time.monotonic()
    yield
    seconds[name] += round(time.monotonic() - started)


def _tidy(directory: Path) -> None:
    """Remove the worlds before this one, and halves that an interruption left, except those that somebody uses."""
    for old in directory.parent.iterdir():
        if old != directory and unused(old / _IN_USE):
            shutil.rmtree(old, ignore_errors=True)


def _find(directory: Path) -> World | None:
    try:
        document = json.loads((directory / "world.json").read_text())
    except (OSError, ValueError):
        return None
    return World(directory, Layout(directory / "base" / "layout", document["base"]), document["facts"])


def _fetch(debs: Iterable[Deb], cache: Path, meter: _Meter, say: Say) -> dict[Deb, Path]:
    debs = list(dict.fromkeys(debs))
    if not debs:
        return {}
    total = sum(deb.size for deb in debs)
    with meter.bar("fetching from Debian", total, size=True) as advance:
        archives = debian.fetch(debs, cache / "debs", lambda deb: advance(deb.size))
    say(f"Debian: {len(debs)} archives, {total / 1e6:.0f} MB")
    return archives


def _owners(states: Mapping[str, Iterable[Chosen]], key: str, cache: Path, meter: _Meter, say: Say) -> dict[str, str]:
    """Directory -> Debian's name of the one package that owns it: the one whose scripts decide about its owner and mode, as Debian's archives hold it
    in every package on the way to a file. Of two such packages the common one has it."""
    debs = list(dict.fromkeys(item.deb for state in reversed(STATES) for item in states[state]))
    key = hashlib.sha256(f"{key} {[deb.sha256 for deb in debs]}".encode()).hexdigest()
    path = cache / "world.owners.json"
    try:
        document = json.loads(path.read_text())
        if document["key"] == key:
            return document["owners"]
    except (OSError, ValueError, KeyError):
        pass
    archives = _fetch(debs, cache, meter, say)
    owners: dict[str, str] = {}
    for deb in sorted(debs, key=lambda deb: (not deb.name.endswith("-common"), deb.name)):
        for claimed in scripts.claims(deb.name, debian.control(archives[deb])):
            owners.setdefault(convert.merged(claimed), deb.name)
    write_whole(path, json.dumps({"key": key, "owners": owners}))
    return owners


def _convert_all(
    todo: Mapping[Chosen, Path], archives: Mapping[Deb, Path], rules: Mapping[str, Rules], owners: Mapping[str, str], meter: _Meter, say: Say
) -> None:
    if not todo:
        return
    total = sum(deb.size for deb in archives)
    # The largest first, so that the workers end together.
    ordered = sorted(todo, key=lambda item: -archives[item.deb].stat().st_size)
    workers = os.cpu_count() or 1
    with meter.bar("converting", total, size=True) as advance, ProcessPoolExecutor(max_workers=workers) as pool:
        jobs = {
            pool.submit(
                _convert,
                item,
                archives[item.deb],
                todo[item],
                rules.get(item.deb.name, Rules()),
                {path for path, owner in owners.items() if owner != item.deb.name},
            ): item
            for item in ordered
        }
        try:
            for job in as_completed(jobs):
                job.result()
                advance(jobs[job].deb.size)
        except BaseException:
            pool.shutdown(wait=True, cancel_futures=True)
            raise
    say(f"converted: {len(todo)} packages")


def _convert(item: Chosen, archive: Path, folder: Path, rules: Rules, elsewhere: Collection[str]) -> None:
    """One package, signed, and what became of its scripts, into a folder that appears only when it is complete."""
    partial = folder.with_name(f"{folder.name}.{os.getpid()}")
    try:
        spec, made = convert.convert(item.deb, archive, item.requires, rules, whole=True, elsewhere=elsewhere)
        write_rpm(spec, partial, signer=signing.DEMO)
    except (ValueError, OSError, KeyError, TypeError) as error:
        raise ContentError(f"{item.deb.filename} cannot be converted: {error}", next_step="this is a defect: please report it") from error
    size = sum(len(file.content) for file in spec.files if isinstance(file.content, bytes))
    facts = {"files": len(spec.files), "bytes": size, "done": made.done, "left": made.left, "scriptlets": sorted(made.scriptlets())}
    (partial / "facts.json").write_text(json.dumps(facts))
    partial.rename(folder)


def _assemble(
    directory: Path,
    table: Table,
    states: Mapping[str, tuple[Chosen, ...]],
    folders: Mapping[Chosen, Path],
    cache: Path,
    say: Say,
    seconds: Counter[str],
) -> World:
    started = time.monotonic()
    staging = directory.with_name(f".{directory.name}.new")
    shutil.rmtree(staging, ignore_errors=True)
    (staging / "repos").mkdir(parents=True)
    own = [
        write_rpm(spec, cache / "rpms" / "world-own", signer=signing.DEMO)
        for spec in (*stand_ins(table, states["current"]), *world_rules.specifications())
    ]
    facts: dict[str, object] = {"names": len(table.names), "stand-ins": len(own) - len(table.composed) - len(world_rules.specifications())}
    done: Counter[str] = Counter()
    left: Counter[str] = Counter()
    for state in STATES:
        paths = [next(folders[item].glob("*.rpm")) for item in states[state]]
        clashes.refuse(state, [*own, *paths])
        make_repository(staging / "repos" / state, [*own, *paths])
        told = [json.loads((folders[item] / "facts.json").read_text()) for item in states[state]]
        if state == STATES[1]:
            for entry in told:
                done.update(entry["done"])
                left.update(entry["left"])
        facts[state] = {
            "packages": len(own) + len(paths),
            "files": sum(entry["files"] for entry in told),
            "bytes unpacked": sum(entry["bytes"] for entry in told),
            "bytes packed": sum(path.stat().st_size for path in [*own, *paths]),
            "with scriptlets": sum(bool(entry["scriptlets"]) for entry in told),
        }
        say(f"repository {state}: {len(own) + len(paths)} packages")
    versions = {item.deb.name: item.deb.version for item in states[STATES[0]]}
    facts["changed between the states"] = sum(versions.get(item.deb.name) != item.deb.version for item in states[STATES[1]])
    facts["maintainer scripts, translated"] = dict(done.most_common())
    facts["maintainer scripts, left out"] = dict(left.most_common())
    (staging / "repos" / signing.KEY_FILE).write_text(signing.DEMO.armored())
    root = staging / "root"
    installed = _base_packages(table, states[STATES[0]])
    images.install([*(next(folders[item].glob("*.rpm")) for item in installed), *(path for path in own if path.name.startswith("filesystem-"))], root)
    layout = images.write_layout(root, staging / "base" / "layout", name="demo-world", environment=_ENVIRONMENT, command=["/bin/bash"])
    shutil.rmtree(root)
    say(f"base image: {len(installed)} packages, {layout.digest}")
    facts["seconds"] = {**seconds, "assemble": round(time.monotonic() - started)}
    (staging / "world.json").write_text(json.dumps({"base": layout.digest, "facts": facts}, indent=1))
    shutil.rmtree(directory, ignore_errors=True)
    staging.rename(directory)
    made = _find(directory)
    assert made is not None
    return made


def _base_packages(table: Table, state: Iterable[Chosen]) -> list[Chosen]:
    """The packages of the base image: what it is asked to hold and all that those require."""
    by_name = {item.deb.name: item for item in state}
    providers: dict[str, str] = {name: name for name in by_name}
    for item in state:
        for given in item.deb.provides:
            providers.setdefault(given.name, item.deb.name)
    found: dict[str, Chosen] = {}
    queue = [*table.base, *world_rules.BASE_EXTRA]
    while queue:
        name = providers.get(queue.pop())
        if name and name not in found:
            found[name] = by_name[name]
            queue += [requirement.split(" ")[0] for requirement in by_name[name].requires]
    return list(found.values())


def stand_ins(table: Table, state: Iterable[Chosen]) -> list[RpmSpec]:
    """Packages without files that ask for others, and small ones for what Debian lacks: they say so."""
    there = {item.deb.name for item in state}
    version, release = _STAND_IN_VERSION
    specs = []
    missing = dict(table.absent)
    for name, of in table.renamed.items():
        if of not in there:
            missing[name] = {}
    for name, others in table.composed.items():
        requires = tuple(other for other in others if other in there)
        specs.append(
            RpmSpec(name, version, release, arch="noarch", requires=requires, summary=f"Asks for {', '.join(requires) or 'nothing'} of Debian")
        )
    for name, entry in missing.items():
        files = tuple(command(path, name) for path in entry.get("commands", ()))
        summary = "Stand-in: Debian has no package that does this"
        specs.append(RpmSpec(name, version, release, arch="noarch", requires=tuple(entry.get("requires", ())), files=files, summary=summary))
    return specs
