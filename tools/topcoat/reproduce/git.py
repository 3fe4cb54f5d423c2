"""The git calls that a workspace needs.

This module must never read the user's or the system's git configuration and never ask for a password: what is fetched is what anyone can fetch.
"""

from __future__ import annotations

import os
from pathlib import Path
from urllib.parse import urlsplit

from topcoat.errors import InfrastructureError, UsageError
from topcoat.process.git import Git

_SCHEMES = ("https", "http", "ssh", "git", "file")


def check_url(url: str) -> str:
    """The URL when git may fetch from it, else UsageError: ``ext::`` and options would run programs."""
    if urlsplit(url).scheme not in _SCHEMES or url.startswith("-"):
        raise UsageError(f"not a git URL: {url!r}", next_step=f"use one of {', '.join(_SCHEMES)}")
    return url


class WorkGit(Git):
    """One repository below the work folder."""

    def __init__(self, directory: Path, log: Path) -> None:
        environment = {
            "PATH": os.environ.get("PATH", "/usr/bin:/bin"),
            "HOME": str(log.parent),
            "LC_ALL": "C.UTF-8",
            "GIT_CONFIG_GLOBAL": os.devnull,
            "GIT_CONFIG_NOSYSTEM": "1",
            "GIT_TERMINAL_PROMPT": "0",
            **{name: os.environ[name] for name in ("SSH_AUTH_SOCK", "https_proxy", "http_proxy", "no_proxy", "SSL_CERT_FILE") if name in os.environ},
        }
        settings = ("advice.detachedHead=false", "gc.auto=0")
        super().__init__(directory, settings=settings, environment=environment, seconds=900, log=log, failure=UsageError)

    def fetch(self, url: str, *references: str) -> None:
        """Fetch refs (or commits) into the object store.

        :raises InfrastructureError: the server does not answer or has no such ref.
        """
        self.run("fetch", "--quiet", "--no-tags", check_url(url), *references, failure=InfrastructureError)

    def has(self, commit: str) -> bool:
        """Whether a commit is in the object store."""
        return self.run("cat-file", "-e", f"{commit}^{{commit}}", check=False).code == 0
