"""Where everything of the lab lies: cache, state, logs, names and ports.

This module must never create or read anything but the environment it is given.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

_CHECKOUT = Path(__file__).resolve().parents[2]
# Installed from a wheel, the lab runs the jobs of the checkout that it is started in.
REPOSITORY = _CHECKOUT if (_CHECKOUT / "zuul.d").is_dir() else Path.cwd()

DOMAIN = "topcoat.test"
REVIEW_HOST = f"review.{DOMAIN}"
ZUUL_HOST = f"zuul.{DOMAIN}"
LOGS_HOST = f"logs.{DOMAIN}"
IMAGES_HOST = f"images.{DOMAIN}"
PACKAGES_HOST = f"packages.{DOMAIN}"
LAB_HOSTS = (REVIEW_HOST, ZUUL_HOST, LOGS_HOST)
NODE_HOSTS = (IMAGES_HOST, PACKAGES_HOST)
HOSTS = LAB_HOSTS + NODE_HOSTS

# The lab has a network of its own, so fixed ports can never collide with anything on the machine.
GERRIT_HTTP = 8080
GERRIT_SSH = 29418
ZOOKEEPER = 2281
POSTGRESQL = 5432
ZUUL_WEB = 9000
LOGS_HTTP = 8000
IMAGES_HTTPS = 5443
PACKAGES_HTTP = 8090

# The lab's side of the bridge that joins it with the static nodes, and the nodes themselves: machines of their own, as far as the network goes.
GATEWAY = "10.99.0.1"
_NODE_NETWORK = "10.99.0.{}"
TENANT = "lab"
NODES = 5


def node_address(number: int) -> str:
    """Address of static node ``number`` (from 1)."""
    return _NODE_NETWORK.format(10 + number)


@dataclass(frozen=True)
class Places:
    """Folders of one lab.

    :param cache: what is slow to get and safe to share between labs: virtual environments, jars, the initialised Gerrit site.
    :param state: everything one running lab writes; removed by ``down``.
    :param logs: the one folder that holds every log; kept.
    :param repository: the checkout under test.
    """

    cache: Path
    state: Path
    logs: Path
    repository: Path = REPOSITORY

    @property
    def zuul_venv(self) -> Path:
        """Virtual environment with zuul and zuul-client."""
        return self.cache / "zuul"

    @property
    def ansible_root(self) -> Path:
        """Folder with one virtual environment per Ansible version, as Zuul's executor wants it."""
        return self.cache / "ansible"

    @property
    def gerrit_jars(self) -> Path:
        """Folder with the jars that together are the Gerrit server."""
        return self.cache / "gerrit"

    @property
    def etc(self) -> Path:
        """Keys, certificates and configuration of the running lab."""
        return self.state / "etc"

    def node_home(self, number: int) -> Path:
        """Home folder of root on static node ``number`` (from 1)."""
        return self.state / "nodes" / f"node-{number}" / "root"


def places_from(environment: Mapping[str, str], *, cache: str | None = None, state: str | None = None, logs: str | None = None) -> Places:
    """Decide the folders: arguments first, then ``TOPCOAT_ZUUL_LAB_CACHE``, ``_STATE`` and ``_LOGS``, then defaults."""
    home = Path(environment.get("HOME", "/root"))
    prefix = "TOPCOAT_ZUUL_LAB_"
    return Places(
        cache=Path(cache or environment.get(f"{prefix}CACHE") or home / ".cache/topcoat/zuul-lab").resolve(),
        state=Path(state or environment.get(f"{prefix}STATE") or "/tmp/topcoat-zuul-lab").resolve(),
        logs=Path(logs or environment.get(f"{prefix}LOGS") or "/tmp/topcoat-zuul-lab-logs").resolve(),
    )
