"""The next rows are read while the backend computes on those that are there."""

from __future__ import annotations

import contextvars
from collections.abc import Generator, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any, TypeVar

__all__ = ["end", "read_ahead"]

T = TypeVar("T")


def read_ahead(items: Iterator[T]) -> Iterator[T]:
    """Yield items, while the next one is made in a thread.

    No more than that one waits. What making it raises is raised here, in its turn. The thread ends
    with the iteration, however that ends.

    Examples
    --------
    >>> from vbfast.passes.reading_ahead import read_ahead
    >>> list(read_ahead(iter("abc")))
    ['a', 'b', 'c']
    """
    context, nothing = contextvars.copy_context(), object()

    def make_next() -> Any:
        return context.run(next, items, nothing)

    with ThreadPoolExecutor(1, thread_name_prefix="vbfast-reader") as reader:
        item = reader.submit(make_next).result()
        while item is not nothing:
            coming = reader.submit(make_next)
            yield item
            item = coming.result()


def end(items: Iterable[T]) -> None:
    """End an iteration whose further items are not needed: nothing more is read for it."""
    if isinstance(items, Generator):
        items.close()
