"""What a test needs of the machine: a missing tool is a failure that names the package, because a test that skips proves nothing.

Never skip for a tool here; the few reasons for which a test may skip are in tests/allowed-skips.txt.
"""

from __future__ import annotations

import importlib.util
import os
import shutil
from collections.abc import Callable
from typing import Any

PACKAGES = {
    "ansible-playbook": "ansible-core (extra 'test')",
    "chromium": "chromium",
    "createrepo_c": "createrepo-c",
    "htpasswd": "apache2-utils",
    "ip": "iproute2",
    "nsenter": "util-linux",
    "rpmbuild": "rpm",
    "rpmdb2solv": "libsolv-tools",
    "sshd": "openssh-server",
    "unshare": "util-linux",
}


def missing(*programs: str, root: bool = False, modules: tuple[str, ...] = ()) -> str:
    """One line with what is missing and how to get it; empty when all is there."""
    absent = [name for name in programs if not shutil.which(name, path=f"{os.environ.get('PATH', os.defpath)}:/usr/sbin:/sbin")]
    lines = [f"{name} is missing: install {PACKAGES.get(name, name)} (tools/setup-node --all)" for name in absent]
    lines += [f"the Python module {name} is missing (extra 'test')" for name in modules if not importlib.util.find_spec(name)]
    if root and os.geteuid():
        lines.append("root is needed: run the functional tests as root")
    return "; ".join(lines)


def need(*programs: str, root: bool = False, modules: tuple[str, ...] = ()) -> None:
    """Fail (AssertionError) unless all is there."""
    if found := missing(*programs, root=root, modules=modules):
        raise AssertionError(found)


def needs(*programs: str, root: bool = False, modules: tuple[str, ...] = ()) -> Callable[[Any], Any]:
    """A decorator for test classes and tests: without what is named each of them fails before anything else happens."""

    def decorate(item: Any) -> Any:
        found = missing(*programs, root=root, modules=modules)
        if not found:
            return item

        def refuse(*_: object) -> None:
            raise AssertionError(found)

        if isinstance(item, type):
            item.setUpClass = classmethod(refuse)  # type: ignore[attr-defined]
            return item
        refuse.__name__ = item.__name__
        return refuse

    return decorate
