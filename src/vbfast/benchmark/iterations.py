"""Seconds of one EM iteration, ours and scikit-learn's.

An iteration of ours is what ``fit`` does once more when ``max_iter`` grows by one: fits of 1 and of
1 + n iterations are timed from the same explicit start, and their difference divided by n.
scikit-learn's is one E- and M-step after a fit of one iteration, timed between ours.
"""

from __future__ import annotations

import math
import warnings
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from vbfast.benchmark.cases import Case
from vbfast.benchmark.timing import MatrixProduct, seconds
from vbfast.contract import FloatArray

__all__ = [
    "IterationTime",
    "iteration_seconds",
    "iterations_lasting",
    "peer_iteration",
    "time_iteration",
]


@dataclass(frozen=True)
class IterationTime:
    """Median seconds of an iteration of one case.

    Attributes
    ----------
    case : Case
    dtype : str
    ours : float
    peer : float
        scikit-learn's; NaN where it was not timed or fails.
    peak : float
        Floating-point operations a second of the matrix product.
    floor : float
        What an iteration cannot do without, :meth:`Case.floor`.
    fraction : float
        The floor as a fraction of our time: the median over pairs of an iteration and the product
        timed right after it, because a busy neighbour on the machine slows both down.
    """

    case: Case
    dtype: str
    ours: float
    peer: float
    peak: float
    floor: float
    fraction: float

    @property
    def rows_per_second(self) -> float:
        """Rows that an iteration of ours visits in a second."""
        return self.case.n_samples / self.ours

    @property
    def ratio(self) -> float:
        """How many times as fast as scikit-learn."""
        return self.peer / self.ours


def iteration_seconds(estimator: Any, rows: FloatArray, iterations: int) -> float:
    """Return the seconds that one more iteration of ``fit`` takes, on average over some."""

    def fit(max_iter: int) -> float:
        estimator.set_params(max_iter=max_iter)
        return seconds(lambda: estimator.fit(rows))

    short = fit(1)
    return (fit(1 + iterations) - short) / iterations


def iterations_lasting(estimator: Any, rows: FloatArray, least_seconds: float) -> int:
    """Return how many iterations of ``fit`` take that long together, at least 3 and at most 100.

    A few milliseconds alone would show what the machine did just then.
    """
    one = iteration_seconds(estimator, rows, 2)
    return min(max(3, math.ceil(least_seconds / one) if one > 0 else 100), 100)


def peer_iteration(start: dict[str, Any], rows: FloatArray) -> Callable[[], None] | None:
    """Return an iteration of scikit-learn's mixture as a call; None where its fit fails."""
    from sklearn.mixture import GaussianMixture

    peer = GaussianMixture(**start, max_iter=1)
    try:
        peer.fit(rows)
    except ValueError:  # in float32 it may find covariances ill-defined
        return None

    def iteration() -> None:
        _, log_resp = peer._e_step(rows)
        peer._m_step(rows, log_resp)

    return iteration


def time_iteration(
    case: Case,
    dtype: npt.DTypeLike,
    product: MatrixProduct,
    *,
    repeats: int = 3,
    peer_repeats: int = 1,
    spread: float = 0.7,
    least_seconds: float = 0.5,
) -> IterationTime:
    """Time an iteration of one case.

    Parameters
    ----------
    case : Case
    dtype : float32 or float64
    product : MatrixProduct
        Of the same dtype. It is timed after each of ours, so that both see the same machine.
    repeats : int
        How often ours is timed.
    peer_repeats : int
        How often scikit-learn's is timed, each time after one of ours; 0 leaves it out.
    spread : float
        Of the components, see :meth:`Case.rows`.
    least_seconds : float
        How long iterations of ours go on in one timing.

    Returns
    -------
    IterationTime
    """
    from sklearn.exceptions import ConvergenceWarning

    import vbfast

    rows, start = case.rows(dtype, spread), case.start(spread)
    ours, theirs, products = [], [], []
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)
        peer = peer_iteration(start, rows) if peer_repeats else None
        iterations = iterations_lasting(vbfast.GaussianMixture(**start), rows, least_seconds)
        for repeat in range(repeats):
            mixture = vbfast.GaussianMixture(**start)
            ours.append(iteration_seconds(mixture, rows, iterations))
            products.append(product.seconds())
            if peer is not None and repeat < peer_repeats:
                try:
                    theirs.append(seconds(peer))
                except ValueError:
                    peer = None
    peaks = product.operations / np.array(products)
    floors = [case.floor(peak, dtype, vbfast.get_num_threads()) for peak in peaks]
    return IterationTime(
        case,
        np.dtype(dtype).name,
        float(np.median(ours)),
        float(np.median(theirs)) if theirs else float("nan"),
        float(np.median(peaks)),
        float(np.median(floors)),
        float(np.median(np.array(floors) / ours)),
    )
