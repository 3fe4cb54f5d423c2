"""One attempt as the history tells it: written down before a tag moves, and again when it has ended, however it ended.

This module must never let an attempt fail because its story cannot be written; but who passes over the criteria has the reason on record first.
"""

from __future__ import annotations

import contextlib
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace

from topcoat.errors import ContentError, TopcoatError, UsageError
from topcoat.promotion.candidates import NotMetError, SupersededError
from topcoat.promotion.history import Entry, History, new_id, notes
from topcoat.promotion.promoter import OlderError, Promoted, who
from topcoat.promotion.sets import SetRecord
from topcoat.trunk.criteria import Verdict


class HeldError(ContentError):
    """The name is held."""


_ENDS = ((SupersededError, "superseded"), (OlderError, "older"), (HeldError, "held"))


class Story:
    """One attempt, in one or several places."""

    def __init__(
        self,
        histories: Sequence[History],
        name: str,
        kind: str,
        places: Sequence[str],
        override: str = "",
        *,
        say: Callable[[str], None] = lambda line: None,
    ) -> None:
        moment = round(time.time(), 3)
        self._histories = histories
        self._entry = Entry("", name, kind, "begun", time=moment, last=moment, by=who(), override=override, places=tuple(places))
        self._say = say
        self._written = False

    @property
    def id(self) -> str:
        """Id of its entry."""
        return self._entry.id

    def about(self, source: str) -> None:
        """Which set it is about; said once, before anything is written."""
        if not self._entry.id:
            self._note(id=new_id(source, self._entry.time), source=source)

    @contextlib.contextmanager
    def told(self, dry_run: bool) -> Iterator[None]:
        """Whatever is raised inside is the end of the story. Of a dry run, of wrong usage and of nothing to do there is none."""
        try:
            yield
        except UsageError:
            raise
        except BaseException as error:
            if not dry_run:
                self._failed(error)
            raise

    def judged(self, verdict: Verdict) -> None:
        """What the criteria said."""
        self._note(jobs=notes(verdict.jobs), sentence=verdict.sentence)

    def begun(self) -> None:
        """From now on tags move. With an override the reason must be on record before."""
        self._written = True
        self._write(must=bool(self._entry.override))

    def ended(self, outcome: Promoted) -> None:
        """It ended well; nothing is written where nothing was moved and nothing had begun."""
        if outcome.state not in ("promoted", "rolled-back"):
            return
        record = SetRecord.from_dict(outcome.record) if outcome.record else None
        moment = round(time.time(), 3)
        self._note(
            state=outcome.state,
            previous_source=outcome.previous_source,
            images=outcome.images,
            moved=outcome.moved,
            record=record,
            last=moment,
        )
        self.about(outcome.source)
        outcome.entry = self.id
        self._write()

    def _failed(self, error: BaseException) -> None:
        if not self._written and not isinstance(error, ContentError):
            return  # nothing was judged and nothing moved: a registry that is away is no part of a set's history
        state = next((word for kind, word in _ENDS if isinstance(error, kind)), "failed")
        said = error.what if isinstance(error, TopcoatError) else f"interrupted ({type(error).__name__})"
        if isinstance(error, NotMetError):
            state, said = error.verdict.phase, error.verdict.sentence
            self.about(error.candidate.tag)
            self._note(jobs=notes(error.verdict.jobs))
        self.about("")
        self._note(state=state, sentence=said, last=round(time.time(), 3))
        self._write(count=not self._written)

    def _note(self, **values: object) -> None:
        self._entry = replace(self._entry, **values)  # type: ignore[arg-type]

    def _write(self, *, must: bool = False, count: bool = False) -> None:
        """:param must: what cannot be written is an error. :param count: an entry before it that says the same counts it instead."""
        for history in self._histories:
            try:
                history.add(self._entry) if count else history.write(self._entry)
            except TopcoatError as error:
                if must:
                    raise
                self._say(f"the history cannot be written: {error.what}")
