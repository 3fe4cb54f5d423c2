"""The error classes of the product, one for each thing a reader can do about a failure.

This module must never import another room and never print.

Every error says what happened, to which image (where there is one), and what to do next; the class decides the exit code, whether the engine
retries, and whether a ``recheck`` of the review can help.
"""

from __future__ import annotations

import datetime
import email.utils
import errno
import re

_LONGEST = 4000
"""Letters of an error. What is longer is a document that somebody put where a word belongs."""


def one_line(text: str) -> str:
    """A text as one line that a terminal shows and any encoding writes: what cannot be printed is escaped, what is endless cut."""
    if not text.isprintable():
        text = " ".join(text.split())
        text = "".join(letter if letter.isprintable() else letter.encode("unicode_escape", "surrogatepass").decode() for letter in text)
    return text if len(text) <= _LONGEST else f"{text[:_LONGEST]} [{len(text) - _LONGEST} more letters]"


class TopcoatError(Exception):
    """Base of every error that a command turns into a line for people.

    :param what: one sentence, what happened.
    :param image: name of the image it happened to, or None.
    :param next_step: one sentence, what the reader can do; may be empty.
    :param where: ``file:line`` of the input at fault, or None.
    :param log: path of the log that holds the whole story, or None.
    """

    code = "error"
    exit_code = 1
    retriable = False
    recheck_helps = False
    usual_step = ""
    """What to do next where whoever raises it says nothing better."""

    def __init__(
        self,
        what: str,
        *,
        image: str | None = None,
        next_step: str = "",
        where: str | None = None,
        log: str | None = None,
    ) -> None:
        super().__init__(what)
        self.what = what
        self.image = image
        self.next_step = next_step or self.usual_step
        self.where = where
        self.log = log

    def __str__(self) -> str:
        """One line: where, image, what, next step."""
        head = "".join(f"{part}: " for part in (self.where, self.image) if part)
        tail = f" -> {self.next_step}" if self.next_step else ""
        return one_line(f"{head}{self.what}{tail}")

    def as_dict(self) -> dict[str, object]:
        """The shape that receipts and ``--format json`` carry."""
        return {
            "class": self.code,
            "what": one_line(self.what),
            "image": self.image,
            "next_step": self.next_step,
            "where": self.where,
            "log": self.log,
            "recheck_helps": self.recheck_helps,
        }


class ContentError(TopcoatError):
    """What was asked for cannot be built: a failed step, unsatisfiable packages, an uncovered RPM. Never retried."""

    code = "content"
    exit_code = 1


class UsageError(TopcoatError):
    """Bad arguments, a bad recipe or bad configuration, found before any work. Never retried."""

    code = "usage"
    exit_code = 2


class InfrastructureError(TopcoatError):
    """Network, registry, lock, disk or timeout: the change is not at fault, so a retry or a ``recheck`` can help."""

    code = "infrastructure"
    exit_code = 3
    retriable = True
    recheck_helps = True
    usual_step = "run again; when it comes back, look at what is named here"

    def __init__(self, what: str, *, retry_after: float | None = None, retriable: bool = True, **details: str | None) -> None:
        """:param retry_after: seconds the server asked us to wait (RFC 9110, 10.2.3), or None.

        :param retriable: False where trying again inside this run is useless (disk full, retries used up).
        """
        super().__init__(what, **details)  # type: ignore[arg-type]
        self.retry_after = retry_after
        self.retriable = retriable


def seconds_to_wait(retry_after: str | None) -> float | None:
    """Seconds until the moment that the header Retry-After names, as a number or as a date (RFC 9110, 10.2.3); None when it names none."""
    text = (retry_after or "").strip()
    if re.fullmatch(r"[0-9]+(\.[0-9]+)?", text):
        return float(text[:9])
    try:
        moment = email.utils.parsedate_to_datetime(text)
    except (ValueError, OverflowError, TypeError):
        return None
    if moment.tzinfo is None:
        moment = moment.replace(tzinfo=datetime.UTC)
    return max(0.0, (moment - datetime.datetime.now(datetime.UTC)).total_seconds())


_MACHINE = {
    errno.ENOSPC: "the disk is full",
    errno.EDQUOT: "the disk quota is used up",
    errno.EROFS: "the disk is read-only",
    errno.EIO: "the disk has an error",
    errno.EMFILE: "too many files are open",
    errno.ENFILE: "the machine has too many files open",
    errno.ENOMEM: "there is no memory left",
    errno.EAGAIN: "there are no processes or threads left",
}
_REMEDIES = {
    errno.EMFILE: "raise the limit of open files (ulimit -n), or work on fewer images at once",
    errno.ENFILE: "end what holds them open",
    errno.ENOMEM: "use a larger node, or work on fewer images at once",
    errno.EAGAIN: "raise the limit of processes (ulimit -u), or work on fewer images at once",
}


def machine_error(error: BaseException | None, *, image: str | None = None, log: str | None = None) -> InfrastructureError | None:
    """The error of a machine that has run out of something, when that is at the bottom of an exception; None when it is not."""
    seen: set[int] = set()
    while error is not None and id(error) not in seen:
        seen.add(id(error))
        number = error.errno if isinstance(error, OSError) else errno.ENOMEM if isinstance(error, MemoryError) else None
        if number in _MACHINE:
            name = getattr(error, "filename", None)
            what = f"{_MACHINE[number]} ({name})" if isinstance(name, str) else _MACHINE[number]
            step = _REMEDIES.get(number, "make room, or name another work folder (--work-dir)")
            return InfrastructureError(what, image=image, log=log, retriable=False, next_step=step)
        error = error.__cause__ or error.__context__
    return None


class PartialError(TopcoatError):
    """Only images that are allowed to fail have failed."""

    code = "partial"
    exit_code = 4
