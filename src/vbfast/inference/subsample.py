"""Some of the rows, for a start whose cost does not grow with the number of rows."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Literal

import numpy as np
import numpy.typing as npt

from vbfast.contract import Float64Array, NonFiniteRowError
from vbfast.inference.runner import RowRunner
from vbfast.inputs.weights import n_weighted_rows

__all__ = ["InitSize", "check_enough_rows", "named_among_all", "subsample"]

InitSize = int | Literal["all"] | None

# The rows of a start that chooses its number itself: for each component, and at least. A mean of n
# rows is off by D / n variances, which costs half as many nats a row.
ROWS_PER_COMPONENT = 256
ROWS_PER_FEATURE = 4
LEAST_ROWS = 8192
# How many times as many all rows have to be: with fewer, going over all of them takes as long.
SAVING = 2


def subsample(
    runner: RowRunner,
    n_components: int,
    init_size: InitSize,
    random_state: np.random.RandomState,
) -> tuple[RowRunner, npt.NDArray[np.intp]] | None:
    """Draw the rows that a start goes by, with probabilities proportional to their weights.

    One is drawn from each of ``n`` parts of equal weight, in the order of the rows (systematic
    strata, Cochran 1977, section 5A). Draws invert the cumulative weights, so that a row of integer
    weight w is drawn as often as w copies of it would be.

    Parameters
    ----------
    runner : RowRunner
    n_components : int
    init_size : int, 'all' or None
        How many rows; by default 256 a component, four a component and feature where that is more,
        and at least 8,192, but all where they are less than twice as many. A row whose
        weight is a whole number counts as that many rows, every other row as one.
    random_state : numpy.random.RandomState

    Raises
    ------
    ValueError
        If ``init_size`` is less than ``n_components``.

    Returns
    -------
    (sample, rows) : (RowRunner, ndarray of shape (n_drawn,), intp), or None
        A runner over the drawn rows, each of weight one, and which rows they are. None where all
        rows are to be taken: they are no more than ``n``, or too few of them have all the weight.
    """
    if init_size == "all":
        return None
    if init_size is not None and init_size < n_components:
        raise ValueError(f"init_size must be at least n_components={n_components}; got {init_size}")
    weights = runner.sample_weight
    n_rows = n_weighted_rows(weights, runner.n_samples)
    per_component = max(ROWS_PER_COMPONENT, ROWS_PER_FEATURE * runner.n_features)
    size = init_size or max(LEAST_ROWS, per_component * n_components)
    if _counts_rows(weights):
        n_rows = round(runner.total_weight)
    if n_rows <= size or (init_size is None and n_rows < SAVING * size):
        return None
    quantiles = (np.arange(size) + random_state.uniform(size=size)) / size
    if weights is None:
        rows = np.minimum(quantiles * runner.n_samples, runner.n_samples - 1).astype(np.intp)
    else:
        reached = np.cumsum(weights)
        last = np.searchsorted(reached, reached[-1])
        rows = np.minimum(np.searchsorted(reached, quantiles * reached[-1], side="right"), last)
        if len(np.unique(rows)) < n_components:
            return None
    return runner.only(rows), rows


def _counts_rows(weights: Float64Array | None) -> bool:
    """Tell whether weights may stand for repeated rows: whole numbers. Others have any scale."""
    if weights is None:
        return True
    return bool(weights.sum() < 2.0**53 and np.all(weights == np.floor(weights)))


def check_enough_rows(runner: RowRunner, n_components: int) -> None:
    """Check that each component may have a row of positive weight to itself.

    Raises
    ------
    ValueError
        If they are too few.
    """
    n_rows = n_weighted_rows(runner.sample_weight, runner.n_samples)
    if n_rows < n_components:
        raise ValueError(
            f"{n_components} components need as many rows of positive weight; got {n_rows}"
        )


@contextmanager
def named_among_all(runner: RowRunner) -> Iterator[None]:
    """Let errors about rows of a sample name the first such row of all."""
    try:
        yield
    except NonFiniteRowError:
        runner.column_moments()  # meets that row, or one before it
        raise
