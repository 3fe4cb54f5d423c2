"""buildah, and the storage it builds in.

This module must never touch another storage than its own, and never remove an image while builds may run.
"""

from __future__ import annotations

import base64
import contextlib
import json
import os
import re
import tempfile
import threading
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from topcoat.builder import named
from topcoat.errors import ContentError, InfrastructureError, TopcoatError
from topcoat.layers import mounts
from topcoat.layers.adopt import adopt
from topcoat.process import Processes, confined, run
from topcoat.process.bounds import Bounds

# What buildah says when the fault is not the Containerfile's.
_INFRASTRUCTURE = re.compile(
    r"no space left on device|connection re(?:fused|set)|i/o timeout|TLS handshake|\b(?:429|500|502|503|504)\b[^\n]*(?:registry|manifest|blob)"
    r"|pinging container registry|initializing source|reading blob|layer not known|unexpected EOF|permission denied.*mount",
    re.IGNORECASE,
)


# How a step's own program ended; whatever else buildah says of a step is about the step's surroundings.
_ENDED = re.compile(r"exit status \d|signal: ")
_DENIED = re.compile(r"operation not permitted|permission denied|resource temporarily unavailable|cannot allocate memory|too many open files")
# Lines that tell nothing about a failure.
_NOISE = re.compile(r"STEP \d|subprocess exited|Trying to pull|Getting image source|Copying (?:blob|config)|Writing manifest|Storing signatures")
# Colours and cursor movements of a progress display, and other characters that nobody sees: a line of nothing else is empty.
_UNSEEN = re.compile(r"\x1b\[[0-9;?]*[ -/]*[@-~]|[\x00-\x1f\x7f\u200b]")
_CLEAN_SECONDS = 120.0
_FULL = 1 << 20  # bytes left
# Of what buildah leaves to a step: the way out of its root, the way to the machine's disks, and what no build needs.
_NOT_IN_STEPS = ("CAP_SYS_CHROOT", "CAP_MKNOD", "CAP_NET_RAW", "CAP_AUDIT_WRITE")


@dataclass(frozen=True)
class LocalImage:
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
        bounds: Bounds | None = None,
    ) -> None:
        """:param certificates: folder with the registry's CA as ``ca.crt`` (containers-certs.d(5)). :param plain_http: hosts without TLS.

        :param bounds: what the steps of one build may take, beside its time.
        """
        self._root = directory.resolve() / "root"
        self._runroot = directory.resolve() / "run"
        self._authfile = authfile
        self._certificates = certificates
        self._plain_http = plain_http
        self._processes = processes
        self._bounds = bounds or Bounds()
        self._temporary = directory.resolve() / "tmp"
        self._lock = threading.Lock()
        self._fetching: dict[str, threading.Lock] = {}
        self._fetched: set[str] = set()
        self._root.parent.mkdir(parents=True, exist_ok=True)
        self._root.parent.chmod(0o700)  # the layers hold set-user-id files of images, for nobody on this machine to run
        for path in (self._root, self._runroot, self._temporary):
            path.mkdir(exist_ok=True)
            path.chmod(0o700)

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
        network: str | None = None,
        volumes: Sequence[str] = (),
        cache: tuple[Path, str] | None = None,
        arguments: Mapping[str, str] | None = None,
        log: Path | None = None,
        image: str | None = None,
    ) -> LocalImage:
        """Build the Containerfile of a context; everything it changes is one layer.

        buildah runs in a root of its own (``process/jail/confine.py``): it sees its storage, the context and the volumes. Images that the
        Containerfile names are fetched before, outside: a build has no registry and no password in reach.

        :param host: the registry that the image below comes from.
        :param network: path of the network namespace for the steps; None: the machine's own network.
        :param volumes: ``host:container[:options]`` as of buildah.
        :param cache: a folder of this machine, and the folder of the image (without leading slash) in which the steps find what it holds. It stays as
            it is; what the steps write there is the image's, as it would be without it.
        :raises ContentError: a step failed, or ran into a limit.
        :raises InfrastructureError: registry, disk; time, where the network is the machine's.
        """
        identity = context / ".image-id"
        self._fetch(named.images((context / "Containerfile").read_text(), arguments or {}), host, timeout=timeout, log=log, image=image)
        command = [*self.command, "build", "--isolation", "chroot", "--network", "host", "--layers=false", "--pull=never", "--format", "docker"]
        command += ["--identity-label=false", "--iidfile", os.fspath(identity), "--file", os.fspath(context / "Containerfile"), "--force-rm"]
        for capability in _NOT_IN_STEPS:
            command += ["--cap-drop", capability]
        for volume in volumes:
            command += ["--volume", volume]
        for name, value in sorted((arguments or {}).items()):
            command += ["--build-arg", f"{name}={value}"]
        folders = [(os.fspath(path), "rw") for path in (self._root.parent, context.resolve())]
        folders += [(volume.partition(":")[0], "ro") for volume in volumes]
        with self._written() as (added, work):
            if cache is not None:
                folders.append((os.fspath(cache[0]), "ro"))
                command += ["--volume", f"{cache[0]}:/{cache[1]}:O,upperdir={added},workdir={work}"]
            try:
                confined.run(
                    [*command, os.fspath(context)],
                    folders=folders,
                    env=confined.environment(TMPDIR=os.fspath(self._temporary)),
                    bounds=replace(self._bounds, seconds=timeout),
                    scratch=self._temporary,
                    network=network,
                    mounts=True,
                    log=log,
                    image=image,
                    processes=self._processes,
                    ordered=True,
                )
            except confined.LimitError as error:
                raise _at_step(error) from error
            except ContentError as error:
                raise self._full(error) or _classified(error) from error
            stored = self._stored(identity.read_text().strip().removeprefix("sha256:"))
            if cache is not None:
                adopt(added, stored.upper, stored.lower, cache[1])
            return stored

    @contextlib.contextmanager
    def _written(self) -> Iterator[tuple[Path, Path]]:
        """Two empty directories for an overlay, on the file system of the storage."""
        with tempfile.TemporaryDirectory(prefix="written-", dir=self._temporary) as folder:
            added, work = Path(folder) / "added", Path(folder) / "work"
            added.mkdir(0o755)
            work.mkdir()
            yield added, work

    def _full(self, error: ContentError) -> InfrastructureError | None:
        """A step fails in its own words when the disk is full; whether it is, the file system knows."""
        found = os.statvfs(self._root)
        if found.f_bfree * found.f_frsize >= _FULL and (not found.f_files or found.f_ffree):
            return None
        return InfrastructureError(
            f"the disk is full ({self._root})",
            image=error.image,
            log=error.log,
            retriable=False,
            next_step="make room, or name another work folder (--work-dir)",
        )

    def _fetch(self, references: Iterable[str], host: str, *, timeout: float, log: Path | None, image: str | None) -> None:
        """Have images in the storage."""
        for reference in references:
            with self._lock:
                lock = self._fetching.setdefault(reference, threading.Lock())
            with lock:
                if reference in self._fetched:
                    continue
                try:
                    run(
                        [*self.command, "pull", "--quiet", *self._access(host), reference],
                        timeout=timeout,
                        log=log,
                        image=image,
                        processes=self._processes,
                    )
                except ContentError as error:
                    raise _classified(error) from error
                self._fetched.add(reference)

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

    def _stored(self, identity: str) -> LocalImage:
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
        return LocalImage(config, top / "diff", tuple((layers / link).resolve() for link in chain))


def _at_step(error: confined.LimitError) -> confined.LimitError:
    """With the step that took too much instead of all that was printed."""
    what, _, printed = error.what.partition("; its last lines:")
    step = (re.findall(r"^STEP \d+/\d+: (.*)$", printed, flags=re.MULTILINE) or [""])[-1]
    return confined.LimitError(f"{what}; its last step: {step[:200]}" if step else error.what, image=error.image, log=error.log)


def _classified(error: ContentError) -> TopcoatError:
    """buildah ends with the same code whatever went wrong: its words tell. A person gets the last words of the failed step, the log has the rest."""
    details = {"image": error.image, "log": error.log, "where": error.where}
    _, _, text = error.what.partition("its last lines:")
    # Earlier steps went well; what the failed one said comes after its heading.
    last_step = re.split(r"^STEP \d.*$", text, flags=re.MULTILINE)[-1] if "Error: building at STEP" in text else text
    shown = (_UNSEEN.sub("", line).strip() for line in last_step.splitlines())
    lines = [line for line in shown if line and not _NOISE.match(line)]
    verdict = next((line for line in reversed(lines) if line.startswith("Error:")), "")
    step = re.match(r"Error: building at STEP \"(\w+)", verdict)
    end = verdict.rpartition('":')[2].strip()
    if step and not _ENDED.search(end) and _DENIED.search(end):
        return InfrastructureError(
            f"buildah could not start a {step[1]} step: {end}",
            next_step="let the machine grant what it names, or build on another one",
            **details,  # type: ignore[arg-type]
        )
    if step and not _INFRASTRUCTURE.search(end):
        last = "; ".join([line for line in lines if line != verdict][-3:]) or end or verdict.removeprefix("Error: ")
        return ContentError(f"{step[1]} failed: {last}", next_step="read the failed step in the log, correct the recipe or its packages", **details)
    what = f"buildah failed: {verdict.removeprefix('Error: ') or '; '.join(lines[-3:]) or _UNSEEN.sub('', error.what) + ' (nothing)'}"
    if _INFRASTRUCTURE.search(what):
        return InfrastructureError(what, next_step="run again; if it stays, look at the registry and the disk", **details)  # type: ignore[arg-type]
    return ContentError(what, next_step="read the log, correct the recipe", **details)
