"""What a run with failures comes to: the one error that speaks for it, and the status in its receipt.

This module must never look at anything but results: no clock, no registry, no file.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from fnmatch import fnmatchcase

from topcoat.engine import TaskResult
from topcoat.errors import ContentError, PartialError, TopcoatError, machine_error
from topcoat.model import Status


def error_of(results: Mapping[str, TaskResult], allowed_to_fail: Iterable[str]) -> TopcoatError | None:
    """The error that decides the run's exit code: a forbidden failure before an allowed one, content before infrastructure.

    :param allowed_to_fail: patterns of image names; an image that is skipped counts as the one that failed below it.
    :returns: None when everything was done.
    """
    failed = {name: result for name, result in results.items() if result.status is not Status.DONE}
    if not failed:
        return None
    if any(result.status is Status.CANCELLED for result in failed.values()):
        return cancelled()
    patterns = tuple(allowed_to_fail)
    forbidden = {name for name, result in failed.items() if not any(fnmatchcase(result.blocked_by or name, pattern) for pattern in patterns)}
    if not forbidden:
        return PartialError(f"{len(failed)} image(s) failed that are allowed to: {', '.join(sorted(failed))}", next_step="see the receipt")
    errors = [(name, error) for name, result in results.items() if name in forbidden and (error := result.error) is not None]
    errors.sort(key=lambda entry: entry[1].retriable)
    if not errors:
        return ContentError(f"{len(forbidden)} image(s) were not done: {', '.join(sorted(forbidden))}", next_step="see the receipt")
    name, first = errors[0]
    first.image = first.image or name
    if len(errors) > 1:
        others = ", ".join(other for other, _ in errors[1:6])
        more = f" and {len(errors) - 6} more" if len(errors) > 6 else ""
        first.what += f" ({len(errors)} images failed: also {others}{more})"
    return first


def status_of(error: TopcoatError | None, results: Mapping[str, TaskResult], *, stopped: bool) -> Status:
    """The status of a whole run.

    :param error: what speaks for it. :param stopped: somebody ended it.
    """
    if error is None:
        return Status.DONE
    if isinstance(error, PartialError):
        return Status.PARTIAL
    return Status.CANCELLED if stopped or any(result.status is Status.CANCELLED for result in results.values()) else Status.FAILED


def cancelled() -> TopcoatError:
    """Somebody ended the run."""
    return TopcoatError("the run was cancelled", next_step="run it again: what is finished is found in the registry and not done twice")


def broken(caught: BaseException) -> TopcoatError:
    """The tool itself failed, or the machine below it."""
    return machine_error(caught) or TopcoatError(f"the run broke: {caught!r}", next_step="this is a defect of the tool; report it with the log")
