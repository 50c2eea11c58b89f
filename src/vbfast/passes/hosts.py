"""Rows of some components, where others are to begin anew."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from vbfast.contract import Float64Array

__all__ = ["rows_of_hosts"]


def rows_of_hosts(
    best: npt.NDArray[Any],
    sample_weight: Float64Array | None,
    hosts: npt.NDArray[np.intp],
    random_state: np.random.RandomState,
) -> npt.NDArray[np.intp]:
    """Draw a row of each host, of the same host others as long as it has them.

    Parameters
    ----------
    best : ndarray of shape (n_samples,), int
        The best component of each row.
    sample_weight : ndarray of shape (n_samples,), float64, or None
    hosts : ndarray of shape (n_drawn,), intp
        Each is the best component of some row of positive weight.
    random_state : numpy.random.RandomState

    Returns
    -------
    rows : ndarray of shape (n_drawn,), intp

    Examples
    --------
    >>> import numpy as np
    >>> from vbfast.passes.hosts import rows_of_hosts
    >>> best, hosts = np.array([0, 1, 1, 0]), np.array([1, 1])
    >>> rows_of_hosts(best, None, hosts, np.random.RandomState(0))
    array([2, 1])
    """
    rows = np.arange(len(best)) if sample_weight is None else np.flatnonzero(sample_weight)
    rows = random_state.permutation(rows)
    rows = rows[np.argsort(best[rows], kind="stable")]
    first, end = (np.searchsorted(best[rows], hosts, side) for side in ("left", "right"))
    order = np.argsort(hosts, kind="stable")
    nth = np.empty_like(order)  # of those that begin in the same host
    nth[order] = np.arange(len(order)) - np.searchsorted(hosts[order], hosts[order])
    return np.asarray(rows[first + nth % (end - first)])
