"""buildah, and the storage it builds in.

This module must never touch another storage than its own, and never remove an image while builds may run.
"""

from __future__ import annotations

import base64
import json
import os
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from topcoat.errors import ContentError, InfrastructureError, TopcoatError
from topcoat.layers import mounts
from topcoat.process import Processes, run

# What buildah says when the fault is not the Containerfile's.
_INFRASTRUCTURE = re.compile(
    r"no space left on device|connection re(?:fused|set)|i/o timeout|TLS handshake|\b(?:429|500|502|503|504)\b[^\n]*(?:registry|manifest|blob)"
    r"|pinging container registry|initializing source|reading blob|layer not known|unexpected EOF|permission denied.*mount",
    re.IGNORECASE,
)


# Lines that tell nothing about a failure.
_NOISE = re.compile(r"STEP \d|subprocess exited|Trying to pull|Getting image source|Copying (?:blob|config)|Writing manifest|Storing signatures")
_CLEAN_SECONDS = 120.0


@dataclass(frozen=True)
class StoredImage:
    """One built image in the storage."""

    config: dict[str, object]
    """Its configuration, in docker's or OCI's form."""
    upper: Path
    """What its topmost layer changes, as overlayfs wants it."""
    lower: tuple[Path, ...]
    """The layers below, topmost first."""


class Buildah:
    """Builds Containerfiles in a storage of its own (``--root``, ``--runroot``), without running a container engine."""

    def __init__(
        self,
        directory: Path,
        *,
        authfile: Path | None = None,
        certificates: Path | None = None,
        plain_http: tuple[str, ...] = (),
        processes: Processes | None = None,
    ) -> None:
        """:param certificates: folder with the registry's CA as ``ca.crt`` (containers-certs.d(5)). :param plain_http: hosts without TLS."""
        self._root = directory.resolve() / "root"
        self._runroot = directory.resolve() / "run"
        self._authfile = authfile
        self._certificates = certificates
        self._plain_http = plain_http
        self._processes = processes
        for path in (self._root, self._runroot):
            path.mkdir(parents=True, exist_ok=True)
            path.chmod(0o700)  # nobody may start the set-user-ID programs of an image on this machine

    @property
    def command(self) -> list[str]:
        """buildah with the options that name our storage."""
        # metacopy would leave files without content in the layers that we read.
        options = ["--storage-driver", "overlay", "--storage-opt", "overlay.mountopt=nodev"]
        return ["buildah", "--root", os.fspath(self._root), "--runroot", os.fspath(self._runroot), *options]

    def _access(self, host: str) -> list[str]:
        words = [] if not self._authfile else ["--authfile", os.fspath(self._authfile)]
        words += [] if not self._certificates else ["--cert-dir", os.fspath(self._certificates)]
        return words + (["--tls-verify=false"] if host in self._plain_http else [])

    def build(
        self,
        context: Path,
        *,
        timeout: float,
        host: str = "",
        volumes: Sequence[str] = (),
        arguments: Mapping[str, str] | None = None,
        log: Path | None = None,
        image: str | None = None,
    ) -> StoredImage:
        """Build the Containerfile of a context; everything it changes is one layer.

        :param host: the registry that the image below comes from.
        :param volumes: ``host:container[:options]`` as of buildah.
        :raises ContentError: a step failed. :raises InfrastructureError: registry, disk, timeout.
        """
        identity = context / ".image-id"
        command = [*self.command, "build", "--isolation", "chroot", "--layers=false", "--pull=false", "--format", "docker", "--identity-label=false"]
        command += ["--iidfile", os.fspath(identity), "--file", os.fspath(context / "Containerfile"), "--force-rm", *self._access(host)]
        for volume in volumes:
            command += ["--volume", volume]
        for name, value in sorted((arguments or {}).items()):
            command += ["--build-arg", f"{name}={value}"]
        try:
            run([*command, os.fspath(context)], timeout=timeout, log=log, image=image, processes=self._processes)
        except ContentError as error:
            raise _classified(error) from error
        return self._stored(identity.read_text().strip().removeprefix("sha256:"))

    def clean(self) -> int:
        """Remove working containers that a killed run left in our storage. Call it only when nobody builds here. Returns how many there were.

        Images stay until the whole storage is deleted: removing one while another is built breaks that build.
        """
        listed = self._root / "overlay-containers" / "containers.json"
        left = json.loads(listed.read_text()) if listed.exists() else []
        if left:
            run([*self.command, "rm", "--all"], timeout=_CLEAN_SECONDS, check=False, processes=self._processes)
        for folder in (self._root, self._runroot):
            mounts.unmount_all(mounts.mounts_below(os.fspath(folder)))
        return len(left)

    def _stored(self, identity: str) -> StoredImage:
        """Read an image's parts out of the storage (containers/storage, "overlay" driver)."""
        images = json.loads((self._root / "overlay-images" / "images.json").read_text())
        entry = next((entry for entry in images if entry["id"] == identity), None)
        if entry is None:
            raise InfrastructureError(f"buildah built {identity}, but its storage does not list it", next_step="run again")
        key = base64.b64encode(f"sha256:{identity}".encode()).decode()
        config = json.loads((self._root / "overlay-images" / identity / f"={key}").read_text())
        layers = self._root / "overlay"
        top = layers / entry["layer"]
        chain = (top / "lower").read_text().split(":") if (top / "lower").exists() else []
        return StoredImage(config, top / "diff", tuple((layers / link).resolve() for link in chain))


def _classified(error: ContentError) -> TopcoatError:
    """buildah ends with the same code whatever went wrong: its words tell. A person gets the last words of the failed step, the log has the rest."""
    details = {"image": error.image, "log": error.log, "where": error.where}
    _, _, text = error.what.partition("its last lines:")
    # Earlier steps went well; what the failed one said comes after its heading.
    last_step = re.split(r"^STEP \d.*$", text, flags=re.MULTILINE)[-1] if "Error: building at STEP" in text else text
    lines = [line.strip() for line in last_step.splitlines() if line.strip() and not _NOISE.match(line.strip())]
    verdict = next((line for line in reversed(lines) if line.startswith("Error:")), "")
    step = re.match(r"Error: building at STEP \"(\w+)", verdict)
    if step and not _INFRASTRUCTURE.search(verdict.rpartition('":')[2]):
        last = "; ".join([line for line in lines if line != verdict][-3:])
        return ContentError(f"{step[1]} failed: {last}", next_step="read the failed step in the log, correct the recipe or its packages", **details)
    what = f"buildah failed: {verdict.removeprefix('Error: ') or '; '.join(lines[-3:])}"
    if _INFRASTRUCTURE.search(what):
        return InfrastructureError(what, next_step="run again; if it stays, look at the registry and the disk", **details)
    return ContentError(what, next_step="read the log, correct the recipe", **details)
