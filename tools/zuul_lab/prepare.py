"""Everything slow that a lab needs and that outlives it: packages of the system, virtual environments, Gerrit, wheels.

This module must never start a service.
"""

from __future__ import annotations

import json
import os
import shutil
import time
import tomllib
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

from topcoat.errors import InfrastructureError
from topcoat.process import run
from topcoat_demo.distribution import shared
from zuul_lab import gerrit
from zuul_lab.backing import postgresql_bin
from zuul_lab.layout import Places

PYTHON = "/usr/bin/python3"
ZUUL = ("zuul>=14.3,<15", "zuul-client")
# What Zuul itself installs for its Ansible 11, without the collections: 20 s instead of 4 minutes.
ANSIBLE = ("ansible-core>=2.18,<2.19", "google-re2", "jmespath", "netaddr", "passlib", "voluptuous", "requests", "openstacksdk")
_PROGRAMS = ("java", "mvn", "sshd", "ssh-keygen", "bwrap", "openssl", "setpriv", "nsenter", "unshare", "ip", "git", "docker-registry", "rpmbuild")


def prepare(places: Places, environment: Mapping[str, str], say: Callable[[str], None], further: Sequence[str] = ()) -> None:
    """Install and cache what is missing; quick when nothing is.

    :param further: what the nodes install from a package index beside the tool.

    :param say: receives one line for each step that took time.
    :raises InfrastructureError: something cannot be had; the message names it.
    """
    places.cache.mkdir(parents=True, exist_ok=True)
    places.logs.mkdir(parents=True, exist_ok=True)
    steps: tuple[tuple[str, Callable[[], None]], ...] = (
        ("packages of the system", lambda: _system(places)),
        ("Gerrit", lambda: gerrit.fetch(places, environment)),
        ("Zuul", lambda: _venv(places.zuul_venv, ZUUL, places)),
        ("Ansible", lambda: _ansible(places)),
        ("wheels of the tool", lambda: _wheels(places)),
        ("wheels of DLRN", lambda: _further_wheels(places, further)),
        ("the demo distribution", _distribution),
    )
    for name, step in steps:
        started = time.monotonic()
        step()
        took = time.monotonic() - started
        if took > 1:
            say(f"prepared {name} in {took:.0f} s")


def missing() -> list[str]:
    """Programs and packages that are not installed."""
    found = [name for name in _PROGRAMS if not shutil.which(name, path=os.environ.get("PATH", "") + ":/usr/sbin:/sbin")]
    if not Path("/usr/share/java/zookeeper.jar").exists():
        found.append("zookeeper")
    try:
        postgresql_bin()
    except InfrastructureError:
        found.append("postgresql")
    return found


def _system(places: Places) -> None:
    if not missing():
        return
    log = places.logs / "packages.log"
    step = "run `tools/setup-node zuul` as root and read what it says"
    try:
        run([places.repository / "tools/setup-node", "zuul"], timeout=1500, log=log, failure=InfrastructureError)
    except InfrastructureError as error:
        raise InfrastructureError(f"the system's packages cannot be installed: {error.what[-300:]}", log=str(log), next_step=step) from error
    names = ", ".join(missing())
    if names:
        raise InfrastructureError(f"still missing after the installation: {names}", log=str(log), retriable=False, next_step=step)


def _distribution() -> None:
    shared()


def _venv(folder: Path, requirements: tuple[str, ...], places: Places) -> None:
    ready = folder / "READY"
    if ready.exists():
        return
    log = places.logs / "pip.log"
    run([PYTHON, "-m", "venv", folder], timeout=120, log=log, failure=InfrastructureError)
    run([folder / "bin/pip", "install", "-q", "--disable-pip-version-check", *requirements], timeout=1800, log=log, failure=InfrastructureError)
    ready.touch()


def _ansible(places: Places) -> None:
    """Zuul wants one environment for each Ansible version it knows; both names lead to the same one."""
    places.ansible_root.mkdir(exist_ok=True)
    _venv(places.ansible_root / "11", ANSIBLE, places)
    packages_of_11 = next((places.ansible_root / "11/lib").glob("python3.*/site-packages"))
    # Zuul's log thread imports these when it first connects to a node, and Ansible forks at the same moment: a child that is born while the
    # import holds its lock waits for ever as soon as passlib imports stringprep. Imported at start, there is no lock to inherit.
    (packages_of_11 / "early-imports.pth").write_text("import encodings.idna, stringprep\n")
    link = places.ansible_root / "9"
    if not link.is_symlink():
        link.symlink_to("11")


def _wheels(places: Places) -> None:
    """The tool's dependencies as wheels, since the nodes have no way to a package index."""
    folder = places.cache / "wheels"
    kept = folder / "dependencies.json"
    project = tomllib.loads((places.repository / "pyproject.toml").read_text())
    current = json.dumps([project["project"]["dependencies"], project["build-system"]["requires"]])
    if kept.exists() and kept.read_text() == current:
        return
    folder.mkdir(exist_ok=True)
    pip = [places.ansible_root / "11/bin/pip", "wheel", "-q", "--disable-pip-version-check", "-w", folder]
    log = places.logs / "pip.log"
    run([*pip, *project["build-system"]["requires"], "wheel", places.repository], timeout=900, log=log, failure=InfrastructureError)
    for own in folder.glob("topcoat-*.whl"):
        own.unlink()
    kept.write_text(current)


def _further_wheels(places: Places, requirements: Sequence[str]) -> None:
    folder = places.cache / "wheels-dlrn"
    ready = folder / "READY"
    if not requirements or (ready.exists() and ready.read_text() == json.dumps(requirements)):
        return
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir()
    words = [PYTHON, "-m", "venv", folder / "venv"]
    run(words, timeout=120, log=places.logs / "pip.log", failure=InfrastructureError)
    # pip of the nodes' own Python: it is what asks for them there.
    pip = [folder / "venv/bin/pip", "wheel", "-q", "--disable-pip-version-check", "-w", folder, *requirements]
    run(pip, timeout=900, log=places.logs / "pip.log", failure=InfrastructureError)
    shutil.rmtree(folder / "venv")
    ready.write_text(json.dumps(requirements))
