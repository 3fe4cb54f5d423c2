"""Named checks with their results, and the summary that a person reads last.

This module must never stop at the first failure: all that can still be known is worth knowing.
"""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from topcoat.errors import TopcoatError

_SHOWN = 1000


@dataclass
class Verdict:
    """Collects checks; ``say`` receives one line for each."""

    say: Callable[[str], None]
    passed: list[str] = field(default_factory=list)
    failed: list[tuple[str, str]] = field(default_factory=list)
    phases: dict[str, float] = field(default_factory=dict)

    def check(self, name: str, holds: bool, otherwise: object = "") -> bool:
        """Note one result.

        :param name: a sentence that is true when it holds.
        :param otherwise: what was found instead, for the reader of a failure.
        """
        if holds:
            self.passed.append(name)
            self.say(f"pass  {name}")
        else:
            self.failed.append((name, str(otherwise)))
            text = str(otherwise)
            self.say(f"FAIL  {name}: {text if len(text) <= _SHOWN else text[:_SHOWN] + ' ... (all of it is in summary.json)'}")
        return holds

    def equal(self, name: str, found: object, wanted: object) -> bool:
        """Note whether two values are the same."""
        return self.check(name, found == wanted, f"found {found!r}, wanted {wanted!r}")

    @contextmanager
    def scene(self, name: str) -> Iterator[None]:
        """A part of the story; an error in it fails the scene, not the whole story."""
        self.say(f"----  {name}")
        started = time.monotonic()
        try:
            yield
        except (TopcoatError, KeyError, IndexError, ValueError, OSError) as error:
            self.check(f"{name}: came to its end", False, f"{type(error).__name__}: {error}")
        finally:
            self.phases[name] = round(time.monotonic() - started, 1)
            self.say(f"----  {name}: {self.phases[name]} s")

    def summary(self, file: Path) -> int:
        """Say the result, write it as JSON, and give the exit code."""
        document = {"passed": self.passed, "failed": [{"check": name, "found": found} for name, found in self.failed], "seconds": self.phases}
        file.write_text(json.dumps(document, indent=1) + "\n")
        for name, _ in self.failed:
            self.say(f"FAIL  {name}")
        self.say(f"{len(self.passed)} passed, {len(self.failed)} failed")
        return 1 if self.failed or not self.passed else 0
