"""The whole demo distribution on disk: repositories, base images, source trees. Made once, found again at once.

This module must never mix two states: a new one is made beside the old one and takes its place when it is complete. In the account's cache each
state has a folder of its own, so that what another checkout makes never replaces what a demo or a test runs on.
"""

from __future__ import annotations

import fcntl
import hashlib
import json
import os
import shutil
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path

from topcoat.model import Digest
from topcoat.process.files import link_or_copy
from topcoat_demo import base, debian, images, packages, signing, sources, trunk
from topcoat_demo import cache as caches
from topcoat_demo.catalog import Catalog
from topcoat_demo.images import Layout
from topcoat_demo.rpms import make_repository, words
from topcoat_demo.trunk import HashDirectory

Say = Callable[[str], None]
_IN_USE = ".in-use"
_ENVIRONMENT = {"PATH": "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin", "LANG": "C.UTF-8"}


@dataclass(frozen=True)
class Distribution:
    """Where everything is. ``real`` is None for a quick distribution."""

    directory: Path
    tiny: Layout
    real: Layout | None
    states: tuple[HashDirectory, ...]
    """Of the trunk, oldest first: the first is current-passed-ci, the last is current."""

    @property
    def repositories(self) -> Path:
        """Holds base, current, current-passed-ci and the hash directories: the root of a web server or of file:// addresses."""
        return self.directory / "repos"

    @property
    def base(self) -> Path:
        """Repository of everything that is not built from the trunk."""
        return self.repositories / "base"

    @property
    def key(self) -> Path:
        """The public key that signed every published package; those of changes under test are not signed."""
        return self.repositories / signing.KEY_FILE

    @property
    def current(self) -> Path:
        """Repository of the newest builds."""
        return self.repositories / "current"

    @property
    def current_passed_ci(self) -> Path:
        """Repository of the builds that passed."""
        return self.repositories / "current-passed-ci"

    @property
    def sources(self) -> Path:
        """Git repositories with spec files."""
        return self.directory / "sources"


def default_cache() -> Path:
    """Where downloads, conversions and the shared distribution are kept between runs."""
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "topcoat-demo"


def shared(*, quick: bool = False, cache: Path | None = None, say: Say = lambda line: None) -> Distribution:
    """The distribution of this account's cache, made when it is missing: what tests use.

    It stays for an hour at least, and longer the less others make; ``used`` keeps it for as long as is needed.

    :param quick: without the real base image (a few seconds instead of half a minute when nothing is cached).
    """
    cache = cache or default_cache()
    return _shared(cache, quick, say)


@contextmanager
def used(*, cache: Path | None = None, quick: bool = False, say: Say = lambda line: None) -> Iterator[Distribution]:
    """As ``shared``; nobody removes it before the end of the block."""
    cache = cache or default_cache()
    with ExitStack() as held:
        with lock(_states(cache) / ".lock"):
            made = _shared(cache, quick, say)
            held.enter_context(lock(made.directory / _IN_USE, shared=True))
        yield made


def _states(cache: Path) -> Path:
    return cache / "distributions"


def _shared(cache: Path, quick: bool, say: Say) -> Distribution:
    directory = _states(cache) / f"{'quick' if quick else 'full'}-{_key(quick)[:16]}"
    fresh = not directory.is_dir()
    made = make(directory, cache=cache, quick=quick, say=say)
    caches.mark(directory)
    if fresh:
        others = (path for path in _states(cache).iterdir() if path.is_dir() and path != directory)
        caches.tidy(others, busy=lambda path: not unused(path / _IN_USE))
    return made


def make(directory: Path, *, cache: Path | None = None, quick: bool = False, say: Say = lambda line: None) -> Distribution:
    """Make the distribution, or find it made.

    :param directory: gets repos/, images/, sources/ and distribution.json.
    :param cache: downloads and conversions (default: the account's).
    :param quick: only the tiny base image; the base repository then lacks the converted packages.
    :param say: receives one line a step.
    :raises InfrastructureError: the Debian registry is needed and cannot be reached, or a tool is missing.
    """
    cache = cache or default_cache()
    directory.mkdir(parents=True, exist_ok=True)
    key = _key(quick)
    with lock(directory / ".lock"):
        found = _load(directory, key)
        if found:
            return found
        with lock(cache / ".lock"):
            return _make(directory, cache, quick, key, say)


def _make(directory: Path, cache: Path, quick: bool, key: str, say: Say) -> Distribution:
    staging = directory / ".new"
    shutil.rmtree(staging, ignore_errors=True)
    staging.mkdir()
    catalog = Catalog()
    say("base packages: converting what the cache lacks")
    tiny = base.tiny(cache)
    real = () if quick else base.real(cache)
    say(f"base packages: {len(real) or len(tiny)} ready")
    converted = {path.name.rsplit("-", 2)[0] for path in (*tiny, *real)}
    specs, modules = packages.with_modules(catalog, packages.infra(catalog, converted))
    folder = make_repository(staging / "repos" / "base", [*specs, *real, *tiny], modules=modules, signer=signing.DEMO)
    (staging / "repos" / signing.KEY_FILE).write_text(signing.DEMO.armored())
    say(f"repository base: {len(list(folder.glob('*.rpm')))} packages")
    states = trunk.make_trunk(catalog, staging / "repos")
    say(f"trunk: {len(states)} states, current is {states[-1].full}")
    layouts = {"tiny": _image("tiny", tiny, cache, ["/bin/sh"])}
    if real:
        layouts["real"] = _image("real", real, cache, ["/bin/bash"])
    caches.tidy((cache / "images").iterdir(), {layout.directory.parent for layout in layouts.values()})
    caches.sweep(cache)
    digests: dict[str, Digest] = {}
    for name, layout in layouts.items():
        shutil.copytree(layout.directory, staging / "images" / name, copy_function=link_or_copy)
        digests[name] = layout.digest
        say(f"base image {name}: {layout.digest}")
    for project in catalog.sources:
        sources.make_source(catalog, project, staging / "sources")
    say(f"source trees: {', '.join(catalog.sources)}")
    document = {"key": key, "images": digests, "states": [[state.commit, state.distro_hash, state.project] for state in states]}
    (directory / "distribution.json").unlink(missing_ok=True)
    for name in ("repos", "images", "sources"):
        shutil.rmtree(directory / name, ignore_errors=True)
        (staging / name).rename(directory / name)
    shutil.rmtree(staging)
    partial = directory / ".distribution.json"
    partial.write_text(json.dumps(document, indent=1))
    partial.replace(directory / "distribution.json")
    made = _load(directory, key)
    assert made is not None
    return made


def _load(directory: Path, key: str) -> Distribution | None:
    try:
        document = json.loads((directory / "distribution.json").read_text())
    except (OSError, ValueError):
        return None
    if document["key"] != key:
        return None
    layouts: Mapping[str, Layout] = {name: Layout(directory / "images" / name, digest) for name, digest in document["images"].items()}
    return Distribution(directory, layouts["tiny"], layouts.get("real"), tuple(HashDirectory(*state) for state in document["states"]))


def _image(name: str, rpms: Iterable[Path], cache: Path, command: list[str]) -> Layout:
    """The layout from the cache, or made: named by the packages' content."""
    mark = hashlib.sha256(Path(images.__file__).read_bytes())
    for path in sorted(rpms):
        mark.update(path.name.encode() + hashlib.sha256(path.read_bytes()).digest())
    folder = cache / "images" / f"{name}-{mark.hexdigest()[:16]}"
    record = folder / "digest"
    if not record.exists():
        shutil.rmtree(folder, ignore_errors=True)
        root = folder / "root"
        images.install(rpms, root)
        made = images.write_layout(root, folder / "layout", name=f"demo-{name}", environment=_ENVIRONMENT, command=command)
        shutil.rmtree(root)
        record.write_text(made.digest)
    caches.mark(folder)
    return Layout(folder / "layout", record.read_text())


def _key(quick: bool) -> str:
    """Changes with anything in this package that shapes the distribution."""
    digest = hashlib.sha256(b"quick" if quick else b"full")
    digest.update(debian.python_version().encode())
    folder = Path(__file__).parent
    shaping = words("_header base catalog convert debian distribution filesystem images packages rpms signing sources trunk")
    for name in shaping:
        digest.update((folder / f"{name}.py").read_bytes())
    for path in sorted((folder / "data").glob("*.yaml")):
        digest.update(path.read_bytes())
    return digest.hexdigest()


@contextmanager
def lock(path: Path, *, shared: bool = False) -> Iterator[None]:
    """Hold a file's lock, however long another has it.

    :param shared: beside others that share it.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("w") as stream:
        fcntl.flock(stream, fcntl.LOCK_SH if shared else fcntl.LOCK_EX)
        yield


def unused(path: Path) -> bool:
    """Whether nobody holds a file's lock just now, shared or not."""
    with path.open("w") as stream:
        try:
            fcntl.flock(stream, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            return False
        return True
