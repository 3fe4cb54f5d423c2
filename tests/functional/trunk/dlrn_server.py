"""A real DLRN API server on loopback: SQLite, a few commits, a user.

Its virtual environment is made once and kept (``TOPCOAT_TEST_CACHE``, default ~/.cache/topcoat-tests): DLRN needs Python 3.11 or older (distutils)
and SQLAlchemy below 2, which nothing else of ours wants.
"""

from __future__ import annotations

import fcntl
import os
import secrets
import shutil
import subprocess
import sys
import time
import unittest
import urllib.request
from pathlib import Path

from topcoat.process.network import free_port

VERSION = "0.26.1"

_SEED = """
import sys
from dlrn.db import Commit, User, getSession
from passlib.hash import sha512_crypt
session = getSession(sys.argv[1])
# As dlrn-user does, with fewer rounds of the hash: with its own each call of a client costs the server four tenths of a second.
session.add(User(username=sys.argv[2], password=sha512_crypt.using(rounds=1000).hash(sys.argv[3])))
for number, (commit, distro) in enumerate(zip(sys.argv[4::2], sys.argv[5::2])):
    session.add(Commit(dt_commit=1000 + number, dt_distro=1000 + number, dt_extended=0, dt_build=2000 + number, project_name="p%d" % number,
        type="rpm", repo_dir="/x", distgit_dir="/y", commit_hash=commit, distro_hash=distro, extended_hash=None, commit_branch="master",
        status="SUCCESS", notes="OK", artifacts="a.rpm", flags=0, component=None))
session.commit()
"""


def environment() -> Path:
    """The virtual environment with DLRN; SkipTest where no Python is old enough. Of several workers that want it one makes it."""
    cache = Path(os.environ.get("TOPCOAT_TEST_CACHE", Path.home() / ".cache/topcoat-tests")) / f"dlrn-{VERSION}"
    cache.parent.mkdir(parents=True, exist_ok=True)
    with cache.with_name(f".{cache.name}.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        whole = cache / "whole"
        if whole.exists():
            return cache
        python = shutil.which("python3.11") or (sys.executable if sys.version_info < (3, 12) else None)
        if python is None:
            raise unittest.SkipTest("DLRN needs Python 3.11 or older")
        shutil.rmtree(cache, ignore_errors=True)  # of a run that was ended
        subprocess.run([python, "-m", "venv", str(cache)], check=True, capture_output=True)
        packages = [f"DLRN=={VERSION}", "SQLAlchemy<2", "setuptools<81"]
        done = subprocess.run([str(cache / "bin/python"), "-m", "pip", "install", "-q", *packages], capture_output=True, text=True)
        if done.returncode:
            raise RuntimeError(f"DLRN cannot be installed: {done.stderr.strip().splitlines()[-1:]}")
        whole.touch()
    return cache


class DlrnServer:
    """Started with ``with``; ``url``, ``user`` and ``password`` are for clients."""

    def __init__(self, directory: Path, commits: list[tuple[str, str]]) -> None:
        self.directory = directory
        self.user, self.password = "ci", secrets.token_hex(8)
        self._commits = commits
        self._venv = environment()
        self.port = free_port()
        self.url = f"http://127.0.0.1:{self.port}"
        self._child: subprocess.Popen[bytes] | None = None

    def __enter__(self) -> DlrnServer:
        repos = self.directory / "data/repos"
        repos.mkdir(parents=True)
        database = f"sqlite:///{self.directory}/commits.sqlite"
        (self.directory / "projects.ini").write_text(
            f"[DEFAULT]\ndatadir={self.directory}/data\nscriptsdir={self.directory}\nbaseurl=http://localhost\n"
            f"database_connection={database}\ndistro=rpm-master\nsource=master\ntarget=centos9\nreponame=delorean\nuse_components=false\n"
        )
        (self.directory / "api.cfg").write_text(
            f"DB_PATH = {database!r}\nREPO_PATH = {str(repos)!r}\nCONFIG_FILE = {str(self.directory / 'projects.ini')!r}\n"
        )
        flat = [word for pair in self._commits for word in pair]
        self._run("python", "-c", _SEED, database, self.user, self.password, *flat)
        environ = {**os.environ, "CONFIG_FILE": str(self.directory / "api.cfg"), "FLASK_APP": "dlrn.api"}
        with (self.directory / "server.log").open("wb") as log:
            command = [str(self._venv / "bin/flask"), "run", "--host", "127.0.0.1", "--port", str(self.port)]
            self._child = subprocess.Popen(command, env=environ, cwd=self.directory, stdout=log, stderr=log)
        for _ in range(300):
            try:
                urllib.request.urlopen(f"{self.url}/api/health", timeout=2).read()
                return self
            except OSError:
                if self._child.poll() is not None:
                    break
                time.sleep(0.1)
        self.__exit__()
        raise AssertionError((self.directory / "server.log").read_text()[-2000:])

    def _run(self, program: str, *words: str) -> None:
        done = subprocess.run([str(self._venv / "bin" / program), *words], cwd=self.directory, capture_output=True, text=True)
        if done.returncode:
            raise AssertionError(done.stderr[-2000:])

    def __exit__(self, *_error: object) -> None:
        if self._child:
            self._child.terminate()
            self._child.wait(10)
