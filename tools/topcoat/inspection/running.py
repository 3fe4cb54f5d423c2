"""Starts the program of an image for a moment, to see that it can be started at all: loader, libraries, interpreter, modules.

This module must never start the service: the program is asked for its version, without network and without configuration.
"""

from __future__ import annotations

import shutil
from collections.abc import Sequence
from pathlib import Path

from topcoat.errors import ContentError, InfrastructureError
from topcoat.model.image import ImageReference
from topcoat.process import Result, run

_TRY_SECONDS = 20
# podman-run(1), exit status.
_ENGINE, _NOT_EXECUTABLE, _NOT_FOUND = 125, 126, 127


class Probe:
    """podman in a storage of its own that is removed at the end."""

    def __init__(self, storage: Path, *, authfile: Path | None = None, ca_file: Path | None = None, plain_http: Sequence[str] = ()) -> None:
        """:param storage: folder for images and containers; made here, removed by ``close``.

        :raises InfrastructureError: podman is not installed.
        """
        if shutil.which("podman") is None:
            raise InfrastructureError("podman is not installed", retriable=False, next_step="install podman, or verify without --run")
        self._storage = storage
        self._plain_http = frozenset(plain_http)
        storage.mkdir(parents=True, exist_ok=True)
        certificates = storage / "certificates"
        if ca_file is not None:
            certificates.mkdir(exist_ok=True)
            shutil.copyfile(ca_file, certificates / "ca.crt")
        self._podman = ["podman", "--root", str(storage / "root"), "--runroot", str(storage / "run")]
        self._access = [*(["--authfile", str(authfile)] if authfile else []), *(["--cert-dir", str(certificates)] if ca_file else [])]

    def version(self, reference: ImageReference, program: str, user: str) -> tuple[int | None, str]:
        """Start ``program --version`` in the image.

        :param user: as the image's configuration has it.
        :returns: (exit code, first line of its output); the code is None when it was still running after a while.
        :raises ContentError: the program cannot be executed. :raises InfrastructureError: podman cannot do it.
        """
        insecure = ["--tls-verify=false"] if reference.host in self._plain_http else []
        run([*self._podman, "pull", "--quiet", *self._access, *insecure, str(reference)], timeout=600, failure=InfrastructureError)
        limits = ["--ulimit", "nofile=1024:1024", "--ulimit", "nproc=1024:1024", "--network", "none"]
        # The time limit is inside the container's process, so that podman itself ends in order.
        command = [*self._podman, "run", "--rm", "--timeout", str(_TRY_SECONDS), *limits, *(["--user", user] if user else [])]
        result = run([*command, "--entrypoint", program, str(reference), "--version"], timeout=_TRY_SECONDS + 60, check=False)
        return self._judge(result, program)

    @staticmethod
    def _judge(result: Result, program: str) -> tuple[int | None, str]:
        last = (result.errors.strip().splitlines() or ["no output"])[-1]
        first = ((result.output.strip() or result.errors.strip()).splitlines() or [""])[0]
        if result.code in (_NOT_EXECUTABLE, _NOT_FOUND):
            raise ContentError(f"{program} cannot be executed: {last}", next_step="check the program and what it is linked with")
        if result.code == _ENGINE:
            raise InfrastructureError(f"podman cannot start a container: {last}", retriable=False, next_step="see what podman needs on this machine")
        return (None if result.code in (137, 255) and not first else result.code), first[:120]

    def close(self) -> None:
        """Remove the storage."""
        run([*self._podman, "rmi", "--all", "--force"], timeout=300, check=False)
        shutil.rmtree(self._storage, ignore_errors=True)
