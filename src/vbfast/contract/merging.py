"""Adding up many summaries in a fixed order."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, Protocol, Self, TypeVar

__all__ = ["merge"]


class _Adds(Protocol):
    def __add__(self, other: Self, /) -> Any: ...


S = TypeVar("S", bound=_Adds)


def merge(summaries: Iterable[S]) -> S:
    """Add up summaries of parts of the rows, in a fixed tree over their order.

    Neighbours are added, then neighbouring sums, and so on: the same summaries in the same order
    give the same bits wherever and whenever each of them was computed, and rounding grows with the
    logarithm of their number. They may come from a generator, of which no more are kept at a time
    than that logarithm.

    Parameters
    ----------
    summaries : iterable of PassResult
        At least one; what :meth:`vbfast.GaussianMixture.summarize` returns, of mixtures with the
        same parameters.

    Returns
    -------
    PassResult
        Of the rows of all.

    Raises
    ------
    TypeError
        If they are no iterable.
    ValueError
        If there are none, or they do not belong together: of other parameters, or of rows of
        another dtype.

    Examples
    --------
    >>> import numpy as np
    >>> import vbfast
    >>> X = np.random.default_rng(0).normal(size=(1000, 2))
    >>> mixture = vbfast.GaussianMixture(2, random_state=0).initialize(X)
    >>> whole = vbfast.merge(mixture.summarize(part) for part in np.split(X, 4))
    >>> whole.total_weight
    1000.0
    """
    if not isinstance(summaries, Iterable):
        raise TypeError(f"summaries must be an iterable of them; got {type(summaries).__name__}")
    waiting: list[tuple[int, S]] = []  # sums with how many they are of, each a power of two
    for summary in summaries:
        count, total = 1, summary
        while waiting and waiting[-1][0] == count:
            total = waiting.pop()[1] + total
            count *= 2
        waiting.append((count, total))
    if not waiting:
        raise ValueError("summaries must have at least one")
    total = waiting.pop()[1]
    while waiting:
        total = waiting.pop()[1] + total
    return total
