"""What every scenario of the lab needs: wait for a buildset, read a vote, the logs of a build, its artifacts.

This module must never look into the product's memory: it knows what Gerrit, Zuul, the registries and the log folder show.
"""

from __future__ import annotations

import json
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from topcoat.errors import InfrastructureError
from zuul_lab import services
from zuul_lab.lab import Lab
from zuul_lab.review import Change
from zuul_lab.verdict import Verdict
from zuul_lab.zuul import SERVICES

PROVIDER = "container-images-provider"
CONSUMER = "container-images-consumer"
REVIEW_JOBS = {"container-images-registry", PROVIDER, CONSUMER}
# Seconds for one buildset; on two cores with eight other builds a scene took 15 minutes.
LIMIT = 3600.0


@dataclass(frozen=True)
class Finished:
    """A buildset that has ended: its result and its builds by job name (the last attempt of each)."""

    result: str
    builds: dict[str, dict[str, object]]
    uuid: str

    def artifacts(self, job: str = PROVIDER) -> dict[str, dict[str, object]]:
        """Metadata of the images that a job returned, by image name; the address is added as ``host``."""
        found = {}
        for artifact in self.builds[job].get("artifacts", []):  # type: ignore[attr-defined]
            metadata = dict(artifact.get("metadata") or {})
            if metadata.get("type") == "container_image":
                host = artifact["url"].removeprefix("docker://").partition("/")[0]
                found[str(metadata["image"])] = {
                    **metadata,
                    "host": host,
                    "path": artifact["url"].removeprefix(f"docker://{host}/").rpartition(":")[0],
                }
        return found


class Scenes:
    """One scenario in a running lab."""

    def __init__(self, lab: Lab, verdict: Verdict, say: Callable[[str], None]) -> None:
        self._lab = lab
        self._verdict = verdict
        self._say = say

    def tell(self) -> None:
        """Everything, first to last; a scene that fails leaves the others their turn."""
        raise NotImplementedError

    def _wait(self, pipeline: str, change: Change | None, known: set[str] = frozenset()) -> Finished:  # type: ignore[assignment]
        """Wait for the end of the newest buildset of a change (or a new one of the pipeline)."""
        selection = {"pipeline": pipeline, **({"change": str(change.number)} if change else {})}
        started = time.monotonic()
        told = started
        while True:
            ended = [item for item in self._lab.zuul.buildsets(**selection) if item.get("result") and item["uuid"] not in known]
            if ended:
                found = self._lab.zuul.buildset(str(ended[0]["uuid"]))
                builds: dict[str, dict[str, object]] = {}
                for build in found["builds"]:  # type: ignore[attr-defined]
                    if build.get("final", True):
                        builds[build["job_name"]] = build
                took = time.monotonic() - started
                self._say(f"      {pipeline} {change.number if change else ''} {ended[0]['result']} after {took:.0f} s: " + _sentence(builds))
                return Finished(str(ended[0]["result"]), builds, str(ended[0]["uuid"]))
            self._all_alive()
            if time.monotonic() - started > LIMIT:
                raise InfrastructureError(f"no end of {pipeline} in {LIMIT:.0f} s; still running: {self._lab.zuul.running()}", retriable=False)
            if time.monotonic() - told > 60:
                told = time.monotonic()
                self._say(f"      waiting for {pipeline}: {', '.join(sorted(set(self._lab.zuul.running()))) or 'nothing runs'}")
            time.sleep(1)

    def _all_alive(self) -> None:
        """Waiting for a Zuul that has died would only tell that the time is up."""
        running = services.known(self._lab.places)
        for name in (f"zuul-{name}" for name in SERVICES):
            if not running[name].alive():
                raise InfrastructureError(f"{name} has ended: {running[name].tail()}", log=str(running[name].log), retriable=False)

    def _vote(self, change: Change) -> int:
        """Zuul's vote; it arrives a moment after the buildset's end."""
        self._until(lambda: self._lab.review.vote_of(change, "Verified") != 0, 60)
        return self._lab.review.vote_of(change, "Verified")

    @staticmethod
    def _until(test: Callable[[], bool], limit: float) -> None:
        deadline = time.monotonic() + limit
        while not test() and time.monotonic() < deadline:
            time.sleep(0.5)

    def _through_the_gate(self, change: Change, jobs: set[str], sentence: str) -> Finished:
        """Approve a change; it passes with exactly these jobs and is merged. :param sentence: what that is called among the checks."""
        verdict, review = self._verdict, self._lab.review
        review.approve(change)
        done = self._wait("gate", change)
        verdict.equal(sentence, set(done.builds), jobs)
        verdict.equal("gate: it succeeded", done.result, "SUCCESS")
        self._until(lambda: review.status(change) == "MERGED", 60)
        verdict.equal("gate: Gerrit merged it", review.status(change), "MERGED")
        return done

    def _log_of(self, done: Finished, job: str, name: str) -> dict:  # type: ignore[type-arg]
        """A JSON file of a build's logs, as the log server would give it."""
        folder = self._lab.places.logs / "builds" / str(done.builds[job]["uuid"])
        found = sorted(Path(folder).glob(f"container-images/*/{name}"))
        if not found:
            raise InfrastructureError(f"{job} left no {name} in {folder}", retriable=False)
        return json.loads(found[0].read_text())


def _sentence(builds: dict[str, dict[str, object]]) -> str:
    words = []
    for name, build in sorted(builds.items()):
        words.append(f"{name.removeprefix('container-images-')} {build['result']} {build.get('duration') or 0:.0f} s")
    return ", ".join(words)
