"""What a registry can answer with, as error classes.

This module must never put a request header into a message: headers carry passwords.
"""

from __future__ import annotations

from topcoat.errors import ContentError, InfrastructureError, UsageError


class NotFoundError(ContentError):
    """The registry does not hold what was asked for."""


class AccessError(UsageError):
    """The registry refuses our credentials, or has none from us. Trying again cannot help."""


class HiddenError(AccessError):
    """Our login is good, but this repository is refused: it does not exist, or it is not for us; a registry that hides names does not say which."""


class PlatformError(ContentError):
    """There is an image, and not for the platform that was asked for."""


class DigestMismatchError(InfrastructureError):
    """What came over the wire is not what its digest says. Retried: a transfer can be damaged, a second one rarely is."""

    usual_step = "run again; when it comes back, look at the registry's storage and at proxies on the way"


class BrokenConnectionError(InfrastructureError):
    """The connection was refused, reset, or ended before the answer was complete."""

    usual_step = "check that the registry runs and can be reached"


class DeadlineError(InfrastructureError):
    """The total time of one operation is used up, whatever the single reads did."""

    def __init__(self, what: str, *, next_step: str = "check the registry's load and the network") -> None:
        super().__init__(what, retriable=False, next_step=next_step)


class RefusedError(InfrastructureError):
    """The registry cannot do it now or ever: disk full, read-only, operation not supported. Not retried inside a run."""

    def __init__(self, what: str, *, next_step: str) -> None:
        super().__init__(what, retriable=False, next_step=next_step)
