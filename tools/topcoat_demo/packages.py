"""What each generated package holds: modules of plausible size, service commands that say their version and stay up, configuration, dependencies.

This module must never depend on the machine beyond its release of Debian: the same tables give the same packages.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from datetime import UTC, datetime

from topcoat_demo import debian
from topcoat_demo.base import PYTHON_ABI
from topcoat_demo.catalog import Catalog, Commit
from topcoat_demo.rpms import File, RpmSpec, Trigger, config, script

SITE = f"/usr/lib/python{debian.python_version()}/site-packages"
VERSIONS = "/usr/share/demo/versions"
_MODULE_RELEASE = "1.module_el9"
_MODULE_VERSION = 9010020250101000000
_MODULE_BYTES = 6_000

_STAND_IN = """
# A stand-in of the demo distribution: says which packages it runs from, then stays until it is told to end.
name={name}
versions={versions}
own() {{ cat "$versions/{package}" 2>/dev/null || echo "{package}"; }}
printf '%s: %s\\n' "$name" "$(own)"
case "${{1:-}}" in
    --version|-version|-v|-V|-t|version) exit 0 ;;
esac
for library in {libraries}; do
    if [ -r "$versions/$library" ]; then printf '  '; cat "$versions/$library"; fi
done
"""

_TRAP = """
trap 'kill "$!" 2>/dev/null; exit 0' TERM INT QUIT HUP USR1 WINCH
"""

_STAY = """
while :; do
    sleep 10 &
    wait $!
done
"""

_SERVE = """
for application in $(sed -n 's/^ *WSGIScriptAlias  *[^ ]*  *//p' /etc/httpd/conf.d/*.conf 2>/dev/null); do
    if [ -x "$application" ]; then "$application"; else echo "httpd: $application is missing"; exit 1; fi
done
"""


def filler(seed: str, size: int) -> str:
    """Text that compresses to about half, the same for the same seed."""
    text = random.Random(seed).randbytes(size // 2).hex()
    return "\n".join(text[start : start + 100] for start in range(0, len(text), 100))


def command(path: str, package: str, libraries: Iterable[str] = (), *, stays: bool = True, web: bool = False) -> File:
    """A service command: prints its package and what it is made of, and stays up unless it is one that ends."""
    name = path.rpartition("/")[2]
    body = _STAND_IN.format(name=name, package=package, versions=VERSIONS, libraries=" ".join(libraries) or package)
    return script(path, ((_TRAP if stays else "") + body + (_SERVE if web else "") + (_STAY if stays else "")).strip("\n"))


def version_file(package: str, evr: str, subject: str = "") -> File:
    """What the stand-ins print: the package's version and, where it matters, what the last commit did."""
    return File(f"{VERSIONS}/{package}", f"{package} {evr}{f' ({subject})' if subject else ''}\n")


def _modules(name: str, count: int, commit: Commit) -> list[File]:
    """Modules of a Python package; a commit changes two of them."""
    folder = f"{SITE}/{name}"
    files = [File(f"{folder}/__init__.py", f'"""{name} {commit.version}: {commit.subject}."""\n')]
    for number in range(1, count):
        seed = f"{name}/{number}" + (f"/{commit.hash}" if number == 1 else "")
        size = _MODULE_BYTES * (1 + number % 4)
        files.append(File(f"{folder}/module_{number}.py", f'"""Module {number} of {name}."""\n\nDATA = """{filler(seed, size)}"""\n'))
    return [*files, *_compiled(folder, name)]


def _compiled(folder: str, name: str) -> list[File]:
    """Two levels of optimisation in one inode, as byte compilation leaves them. The magic number is nobody's, so that any Python compiles anew."""
    code = b"\0\0\r\n" + bytes(12) + filler(f"{name}/compiled", 1_000).encode()
    return [File(f"{folder}/__pycache__/__init__.cpython-311{level}.pyc", code, hardlink="compiled") for level in ("", ".opt-1")]


def _release(commit: Commit) -> str:
    return f"0.{datetime.fromtimestamp(commit.time, UTC):%Y%m%d%H%M%S}.{commit.hash[:7]}.el9"


class Trunk:
    """Makes the packages of trunk projects at given commits."""

    def __init__(self, catalog: Catalog, commits: Mapping[str, Commit], release: Callable[[Commit], str] = _release) -> None:
        self._catalog = catalog
        self._commits = commits
        self._release = release

    def project(self, name: str) -> tuple[RpmSpec, ...]:
        """All binary packages of one project, its main package first."""
        commit = self._commits[name]
        specs: list[RpmSpec] = []
        for library, entry in self._catalog.libraries.items():
            if entry.get("project", library) == name:
                specs.append(self._library(library, entry, commit))
        for service, entry in self._catalog.services.items():
            if entry.get("project", service) == name:
                specs += self._service(service, entry, commit)
        for package, entry in self._catalog.others.items():
            if entry.get("project", package) == name:
                specs.append(self._other(package, entry, commit))
        main = specs[0]
        specs[0] = main.bump(requires=main.requires + commit.requires, obsoletes=main.obsoletes + commit.obsoletes)
        return tuple(specs)

    def all(self) -> tuple[RpmSpec, ...]:
        """The packages of every project."""
        return tuple(spec for name in self._commits for spec in self.project(name))

    def _needs(self, names: Iterable[str]) -> tuple[str, ...]:
        return (PYTHON_ABI, *(f"python3-{name}" for name in names))

    def _finish(self, spec: RpmSpec, commit: Commit) -> RpmSpec:
        subject = commit.subject if commit.subject != "Initial state" else ""
        return spec.bump(files=(*spec.files, version_file(spec.name, spec.evr, subject)), time=commit.time)

    def _library(self, name: str, entry: Mapping[str, object], commit: Commit) -> RpmSpec:
        package = f"python3-{name}"
        files = _modules(name.replace("-", "_"), int(entry.get("files", 8)), commit)  # type: ignore[call-overload]
        files += [command(path, package) for path in entry.get("commands", ())]  # type: ignore[attr-defined]
        files += [command(path, package, stays=False) for path in entry.get("once", ())]  # type: ignore[attr-defined]
        spec = RpmSpec(
            package,
            commit.version,
            self._release(commit),
            epoch=int(entry.get("epoch", 0)),  # type: ignore[call-overload]
            source=str(entry.get("source") or f"python-{name}"),
            requires=self._needs(entry.get("requires", ())),  # type: ignore[arg-type]
            obsoletes=tuple(entry.get("obsoletes", ())),  # type: ignore[arg-type]
            files=tuple(files),
            summary=f"Library {commit.project}",
        )
        return self._finish(spec, commit)

    def _service(self, name: str, entry: Mapping[str, object], commit: Commit) -> list[RpmSpec]:
        prefix = str(entry.get("prefix", "openstack-"))
        library = f"python3-{entry.get('library', name)}"
        packages: Mapping[str, Mapping[str, object]] = entry["packages"]  # type: ignore[assignment]
        common = f"{prefix}{name}-common" if "common" in packages else f"{prefix}{name}"
        needs = self._needs(entry["requires"])  # type: ignore[arg-type]
        shown = (library, *(item for item in needs if item.startswith("python3-oslo-")))
        shape = RpmSpec(
            library,
            commit.version,
            self._release(commit),
            epoch=int(entry.get("epoch", 0)),  # type: ignore[call-overload]
            source=f"{prefix}{name}",
        )
        files = _modules(name.replace("-", "_"), int(entry.get("files", 30)), commit)  # type: ignore[call-overload]
        specs = [self._finish(shape.bump(requires=needs, files=tuple(files), summary=f"Python code of {name}"), commit)]
        for key, details in packages.items():
            package = str(details.get("name") or f"{prefix}{name}{f'-{key}' if key else ''}")
            parent = library if package == common or common not in self._names(prefix, name, packages) else common
            specs.append(self._finish(self._part(shape, package, parent, name, details, shown), commit))
        return specs

    @staticmethod
    def _names(prefix: str, name: str, packages: Iterable[str]) -> set[str]:
        return {f"{prefix}{name}{f'-{key}' if key else ''}" for key in packages}

    def _part(self, shape: RpmSpec, package: str, parent: str, project: str, details: Mapping[str, object], shown: tuple[str, ...]) -> RpmSpec:
        user = str(details.get("user", project))
        files = [command(path, package, shown) for path in details.get("commands", ())]  # type: ignore[attr-defined]
        files += [command(path, package, shown, stays=False) for key in ("wsgi", "once") for path in details.get(key, ())]  # type: ignore[attr-defined]
        settings = details.get("config")
        if settings:
            target = f"{project}.conf" if settings is True else str(settings)
            path = target if target.startswith("/") else f"/etc/{project}/{target}"
            files.append(config(path, "[DEFAULT]\n# Settings come from the deployment.\n", mode=0o640, group=user))
        if details.get("site"):
            scripts: Sequence[str] = details["wsgi"]  # type: ignore[assignment]
            files.append(config(str(details["site"]), f"# Where the web server finds {project}.\nWSGIScriptAlias / {scripts[0]}\n"))
        runs = bool(details.get("commands"))
        return shape.bump(
            name=package,
            requires=(f"{parent} = {shape.evr}", *details.get("requires", ())),  # type: ignore[misc]
            files=tuple(files),
            # As the packaging macros of services leave it: harmless where no service manager runs.
            post=f"[ ! -x /usr/bin/systemctl ] || systemctl preset {package}.service || :" if runs else None,
            summary=f"{package.removeprefix('openstack-')} of {project}",
        )

    def _other(self, name: str, entry: Mapping[str, object], commit: Commit) -> RpmSpec:
        files = [
            File(f"/usr/share/{name}/part_{number}", filler(f"{name}/{number}" + (commit.hash if number == 0 else ""), _MODULE_BYTES))
            for number in range(int(entry.get("files", 4)))  # type: ignore[call-overload]
        ]
        files += [command(path, name) for path in entry.get("commands", ())]  # type: ignore[attr-defined]
        needs = tuple(entry.get("requires", ()))  # type: ignore[arg-type]
        spec = RpmSpec(
            name, commit.version, self._release(commit), requires=needs, files=tuple(files), source=commit.project, summary=f"{name} of the demo"
        )
        return self._finish(spec, commit)


def infra(catalog: Catalog, taken: Collection[str]) -> tuple[RpmSpec, ...]:
    """The generated packages of the base repository.

    :param taken: names that converted packages have already; those are left out.
    """
    tables = catalog.infra
    specs: dict[str, RpmSpec] = {}
    python_requires: Mapping[str, list[str]] = tables["python_requires"]  # type: ignore[assignment]
    for name in str(tables["python"]).split():
        needs = (PYTHON_ABI, *(f"python3-{item}" for item in python_requires.get(name, ())))
        commit = Commit(name, _some_version(name), 0)
        specs[f"python3-{name}"] = RpmSpec(
            f"python3-{name}",
            commit.version,
            requires=needs,
            files=tuple(_modules(name.replace("-", "_").lower(), 5, commit)),
            source=f"python-{name}",
        )
    for plugin in str(tables["collectd"]).split():
        specs[f"collectd-{plugin}"] = _infra_package(f"collectd-{plugin}", {"version": "5.12.0", "requires": ["collectd"], "source": "collectd"})
    for name in str(tables["plain"]).split():
        specs[name] = _infra_package(name, {"version": _some_version(name)})
    details: Mapping[str, Mapping[str, object]] = tables["packages"]
    for name, entry in details.items():
        specs[name] = _infra_package(name, entry)
    return tuple(spec for name, spec in sorted(specs.items()) if name not in taken)


def _some_version(name: str) -> str:
    chance = random.Random(name)
    return f"{chance.randint(1, 9)}.{chance.randint(0, 30)}.{chance.randint(0, 9)}"


def _infra_package(name: str, entry: Mapping[str, object]) -> RpmSpec:
    def listed(key: str) -> tuple[str, ...]:
        return tuple(entry.get(key, ()))  # type: ignore[arg-type]

    size = int(entry.get("size", 40))  # type: ignore[call-overload]
    parts = max(2, min(12, size // 100))
    files = [File(f"/usr/lib/{name}/part_{number}.dat", filler(f"{name}/{number}", size * 1000 // parts)) for number in range(parts)]
    files += [command(path, name, web=bool(entry.get("web"))) for path in listed("commands")]
    files += [command(path, name, stays=False) for path in listed("once")]
    files += [File(path, filler(f"{name}/hardlink", 4000), 0o755, hardlink=name) for path in listed("hardlinks")]
    capable: Mapping[str, str] = entry.get("caps", {})  # type: ignore[assignment]
    files += [File(path, filler(path, 4000), 0o755, caps=caps) for path, caps in capable.items()]
    if entry.get("config"):
        files.append(config(str(entry["config"]), f"# Settings of {name}.\n"))
    if entry.get("module"):
        files.append(File(f"/usr/lib64/httpd/modules/{entry['module']}", filler(name, 20_000), 0o755))
    version = str(entry["version"])
    spec = RpmSpec(
        name,
        version,
        _MODULE_RELEASE if entry.get("stream") else "1.el9",
        epoch=int(entry.get("epoch", 0)),  # type: ignore[call-overload]
        requires=listed("requires"),
        post=entry.get("post"),  # type: ignore[arg-type]
        triggers=tuple(Trigger(*trigger) for trigger in entry.get("triggers", ())),  # type: ignore[attr-defined]
        source=str(entry.get("source", name)),
    )
    return spec.bump(files=(*files, version_file(name, spec.evr)))


_MODULE = """---
document: modulemd
version: 2
data:
  name: {name}
  stream: "{stream}"
  version: {version}
  context: {context}
  arch: x86_64
  summary: {name} {stream}
  description: Stream {stream} of {name} in the demo distribution.
  license: {{module: [Apache-2.0]}}
  dependencies: [{{requires: {{platform: [el9]}}}}]
  profiles: {{common: {{rpms: [{rpms}]}}}}
  artifacts:
    rpms:
{artifacts}
...
"""
_DEFAULT = """---
document: modulemd-defaults
version: 1
data:
  module: {name}
  stream: "{stream}"
  profiles: {{"{stream}": [common]}}
...
"""


def _context(module: str, stream: str) -> str:
    return f"{random.Random(f'{module}:{stream}').getrandbits(32):08x}"


def with_modules(catalog: Catalog, specs: Iterable[RpmSpec]) -> tuple[tuple[RpmSpec, ...], str]:
    """The packages with those of another stream of each module, and the module metadata (modulemd version 2).

    The stream of the tables is the default one. The other, a major version newer, must reach no image that did not enable it.
    """
    tables: Mapping[str, Mapping[str, object]] = catalog.infra["packages"]  # type: ignore[assignment]
    streams = {name: str(entry["stream"]) for name, entry in tables.items() if entry.get("stream")}
    packages: list[RpmSpec] = []
    members: dict[tuple[str, str], list[RpmSpec]] = {}

    def add(module: str, stream: str, spec: RpmSpec) -> None:
        spec = spec.bump(module=f"{module}:{stream}:{_MODULE_VERSION}:{_context(module, stream)}")
        packages.append(spec)
        members.setdefault((module, stream), []).append(spec)

    for spec in specs:
        if spec.name not in streams:
            packages.append(spec)
            continue
        module, _, stream = streams[spec.name].partition(":")
        major = int(spec.version.partition(".")[0]) + 1
        add(module, stream, spec)
        add(module, f"{major}.0", spec.bump(version=f"{major}.0.0", files=(*spec.files[:-1], version_file(spec.name, f"{major}.0.0"))))
    documents = []
    for (module, stream), inside in sorted(members.items()):
        artifacts = "\n".join(f"      - {spec.name}-{spec.epoch}:{spec.version}-{spec.release}.{spec.arch}" for spec in inside)
        names = ", ".join(spec.name for spec in inside)
        context = f'"{_context(module, stream)}"'
        documents.append(_MODULE.format(name=module, stream=stream, version=_MODULE_VERSION, context=context, rpms=names, artifacts=artifacts))
    documents += [_DEFAULT.format(name=module, stream=stream) for module, _, stream in sorted({item.partition(":") for item in streams.values()})]
    return tuple(packages), "".join(documents)
