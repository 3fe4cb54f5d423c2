"""The same work for many things, a few at a time.

This module must never return or raise while something that it began still runs.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar

A = TypeVar("A")
B = TypeVar("B")


def each(items: Iterable[A], work: Callable[[A], B], *, workers: int) -> list[B]:
    """Do the work for each item; results in the order of the items.

    After an error nothing more is begun; when all that had begun has ended, the error of the first item that has one is raised.

    :param workers: how many at a time; one at least.
    """
    items = list(items)
    if len(items) < 2:
        return [work(item) for item in items]
    with ThreadPoolExecutor(max(1, min(workers, len(items)))) as pool:
        futures = [pool.submit(work, item) for item in items]
        try:
            return [future.result() for future in futures]
        except BaseException:
            for future in futures:
                future.cancel()
            raise
