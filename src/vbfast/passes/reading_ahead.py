"""The next rows are read while the backend computes on those that are there."""

from __future__ import annotations

import contextvars
from collections import deque
from collections.abc import Generator, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any, TypeVar

__all__ = ["end", "read_ahead"]

T = TypeVar("T")


# How many items: what a disk is late with the first of two makes up for.
AHEAD = 2


def read_ahead(items: Iterator[T]) -> Iterator[T]:
    """Yield items, while the next ones are made in a thread.

    No more than two wait. What making one raises is raised here, in its turn. The thread ends with
    the iteration, however that ends.

    Examples
    --------
    >>> from vbfast.passes.reading_ahead import read_ahead
    >>> list(read_ahead(iter("abc")))
    ['a', 'b', 'c']
    """
    context, nothing = contextvars.copy_context(), object()

    def make_next() -> Any:
        return context.run(next, items, nothing)

    reader = ThreadPoolExecutor(1, thread_name_prefix="vbfast-reader")
    try:
        coming = deque(reader.submit(make_next) for _ in range(AHEAD))
        while (item := coming.popleft().result()) is not nothing:
            coming.append(reader.submit(make_next))
            yield item
            del item  # before the next one is waited for
    finally:
        reader.shutdown(cancel_futures=True)


def end(items: Iterable[T]) -> None:
    """End an iteration whose further items are not needed: nothing more is read for it."""
    if isinstance(items, Generator):
        items.close()
