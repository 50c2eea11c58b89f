"""First centres of k-means by Markov chains, of so many that k-means++ takes long.

AFK-MC² (Bachem, Lucic, Hassani and Krause 2016, algorithm 1) draws each centre as k-means++ does, a
row with probability in proportion to its squared distance from the centres before, but for the
error of a Metropolis-Hastings chain of finite length. Its proposals are of the distances from the
first centre alone. A chain evaluates as many rows as it is long under the centres before, so that
all take m K² / 2 distances, however many rows there are.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from vbfast.contract import Float64Array, Request, RowOutputs
from vbfast.inference.kmeans import draw_rows, reached
from vbfast.inference.monitor import SILENT, Monitor
from vbfast.inference.runner import RowRunner
from vbfast.inputs.weights import of_unit_scale
from vbfast.passes.distances import squared_distances

__all__ = ["LENGTH", "chain_rows"]

# Of a chain. Longer ones hardly lead to better clusters (bench/search_choices.py).
LENGTH = 16
# Centres whose chains are evaluated under those before them in one pass.
TOGETHER = 64


@np.errstate(over="ignore")  # such distances are all the same: infinite
def chain_rows(
    runner: RowRunner,
    n_clusters: int,
    random_state: np.random.RandomState,
    *,
    length: int = LENGTH,
    monitor: Monitor = SILENT,
) -> npt.NDArray[np.intp]:
    """Choose rows as first centres.

    Parameters
    ----------
    runner : RowRunner
        An integer weight counts as that many repetitions of the row.
    n_clusters : int
    random_state : numpy.random.RandomState
    length : int, optional
        Rows that a chain visits.
    monitor : Monitor, optional
        Told of the centres.

    Returns
    -------
    rows : ndarray of shape (n_clusters,), intp
        Some may be alike.

    Raises
    ------
    NonFiniteRowError
        If a row is not finite; the first such row.

    Examples
    --------
    >>> import numpy as np
    >>> from vbfast.inference.chains import chain_rows
    >>> from vbfast.passes.rows import as_row_source
    >>> from vbfast.passes.runner import LocalRunner
    >>> runner = LocalRunner(as_row_source([[0.0], [0.1], [9.0], [9.1]]))
    >>> rows = chain_rows(runner, 2, np.random.RandomState(0))
    >>> np.sort(rows // 2)
    array([0, 1])
    """
    sample_weight, _ = of_unit_scale(runner.sample_weight)
    weights = np.ones(runner.n_samples) if sample_weight is None else sample_weight
    rows = np.empty(n_clusters, np.intp)
    rows[:1] = draw_rows(weights, random_state.uniform(size=1))
    proposal = _proposal(runner.weighted(sample_weight), rows[:1], weights)
    quantiles = random_state.uniform(size=(n_clusters - 1) * length)
    cumulative = np.cumsum(proposal)
    drawn = reached(cumulative, quantiles * cumulative[-1]).reshape(-1, length)
    # A row's part of the target's density over that of the proposal, but for its distance.
    favour = weights[drawn] / proposal[drawn]
    dice = random_state.uniform(size=drawn.shape)
    centres = np.empty((n_clusters, runner.n_features))
    centres[:1] = runner.gather(rows[:1])
    for start in range(1, n_clusters, TOGETHER):
        monitor.start_progressed(f"centre {start + 1} of {n_clusters}, by a chain")
        stop = min(start + TOGETHER, n_clusters)
        candidates = drawn[start - 1 : stop - 1]
        points = runner.gather(candidates.ravel()).reshape(*candidates.shape, -1)
        before = _squared_distances_to(runner, candidates.ravel(), centres[:start])
        for k, own, squared in zip(
            range(start, stop), points, before.reshape(candidates.shape), strict=True
        ):
            ways = own[:, np.newaxis] - centres[start:k]
            among = np.square(ways).sum(axis=2).min(axis=1, initial=np.inf)
            ratios = favour[k - 1] * np.minimum(squared, among)
            state = _end_of_chain(ratios.tolist(), dice[k - 1].tolist())
            rows[k], centres[k] = candidates[k - start, state], own[state]
    return rows


@np.errstate(over="ignore", invalid="ignore")
def _proposal(
    runner: RowRunner, first: npt.NDArray[np.intp], weights: Float64Array
) -> Float64Array:
    """Return the density of proposals: half by the distance from the first centre, half even."""
    even = np.asarray(weights / weights.sum())
    closest = np.full(runner.n_samples, np.inf, dtype=runner.dtype)
    lowered = np.empty((1, runner.n_samples), dtype=runner.dtype)
    potential = float(runner.seed(runner.gather(first), closest, lowered=lowered)[0])
    if not 0.0 < potential < np.inf:  # all rows coincide, or squared distances overflow
        return even
    return np.asarray(0.5 * weights * lowered[0] / potential + 0.5 * even)


def _squared_distances_to(
    runner: RowRunner, rows: npt.NDArray[np.intp], centres: Float64Array
) -> Float64Array:
    """Return the squared distances of a few rows to the centre closest to each."""
    extent = float(np.ptp(centres, axis=0).max())
    unit = extent if extent > 0.0 else 1.0
    nearest = np.empty(len(rows), runner.dtype)
    outputs = RowOutputs(expected_log_joint=nearest)
    few = runner.only(rows)
    few.run(squared_distances(centres, unit), Request("hard"), outputs=outputs)
    return np.maximum(-2.0 * unit**2 * nearest.astype(np.float64), 0.0)


def _end_of_chain(ratios: list[float], dice: list[float]) -> int:
    """Return where a chain ends that goes on to each proposal in turn, or stays."""
    state = 0
    for proposed in range(1, len(ratios)):
        if ratios[state] == 0.0 or ratios[proposed] > dice[proposed] * ratios[state]:
            state = proposed
    return state
