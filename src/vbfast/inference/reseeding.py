"""Components that have lost their rows begin anew, where the bound a row is worst.

A component that is among rows of others, or far from all, gets no rows back by itself. Here it
becomes a part of a component that has many rows and a low bound: centred at one of its rows, with
its covariance and a share of its weight. These statistics take the place of its own before the
global step, which is thus one of expectation-maximization or of variational Bayes as any other.

A row whose bound is lowest is an outlier as a rule, and a component that begins there dies again.
So it is components that are chosen, by the mean bound of their rows, and then any of these rows.
"""

from __future__ import annotations

import math
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from vbfast.contract import (
    Float64Array,
    Identity,
    Linear,
    LinearAlgebra,
    LogJoint,
    PassResult,
    Quadratic,
    Statistics,
)
from vbfast.inference.runner import RowRunner, searches
from vbfast.passes.hosts import rows_of_hosts
from vbfast.passes.recentring import way_to_the_means

__all__ = ["Reseeding", "reseeded"]

# Iterations between one reseeding and the next, and after the last one.
APART = 5
# Reseedings of a fit.
MOST = 12


class Reseeding:
    """Decides which components begin anew, and where, in the iterations from one start.

    It happens every few iterations, and where the bound has settled, if the bound has gained by the
    time before; where it has settled without, never again.

    Parameters
    ----------
    runner : RowRunner
    fraction : float
        Of the average weight, in (0, 1): a component that has less begins anew.
    seed : int
        Of the draws.
    first : int
        The number of iterations that it leaves alone.
    """

    def __init__(self, runner: RowRunner, fraction: float, seed: int, first: int = 0) -> None:
        self._runner, self._fraction, self._seed = runner, fraction, seed
        self._count = 0
        self._before = -math.inf  # the bound
        self.last = first

    def memory(self) -> dict[str, Any]:
        """Return what the next decision depends on."""
        return {"last": self.last, "count": self._count, "before": self._before}

    def remember(self, memory: dict[str, Any]) -> None:
        """Go on from what :meth:`memory` returned."""
        self.last, self._count = memory["last"], memory["count"]
        self._before = memory["before"]

    def statistics(
        self,
        sums: PassResult,
        log_joint: LogJoint,
        bounds: list[float],
        *,
        settled: bool,
        threshold: float,
        n_left: int,
    ) -> Statistics | None:
        """Return the statistics of a pass with those of components that begin anew, if any do.

        Parameters
        ----------
        sums : PassResult
            With statistics.
        log_joint : LogJoint
            That the pass was run with.
        bounds : list of float
            Of all iterations so far.
        settled : bool
            Whether they have.
        threshold : float
            What the bound has to gain by one reseeding for another.
        n_left : int
            Iterations that may follow.

        Raises
        ------
        NotImplementedError
            If the components have no means.
        """
        n_iter = len(bounds)
        if self._count == MOST or n_left < APART or not (settled or n_iter - self.last >= APART):
            return None
        if not bounds[-1] - self._before >= threshold:
            if settled:
                self._count = MOST
            return None
        assert sums.statistics is not None
        weight = sums.statistics.weight
        small = weight < self._fraction * weight.sum() / len(weight)
        if not small.any():
            return None
        if not isinstance(log_joint.link, Identity) or not isinstance(
            log_joint.form, Quadratic | Linear
        ):
            raise NotImplementedError(
                "reseeding needs Gaussian components, or others of a linear form; got "
                f"{type(log_joint.form).__name__} under {type(log_joint.link).__name__}: use "
                "reseeding=None"
            )
        random_state = np.random.RandomState([self._seed, self._count])
        runner = self._runner
        best, log_evidence = runner.best_components(log_joint)
        bound = _mean_bounds(best, log_evidence, runner.sample_weight, len(weight))
        newcomers = _drawn_hosts(weight, bound, small, random_state)
        if len(newcomers.components) == 0:
            return None
        rows = rows_of_hosts(best, runner.sample_weight, newcomers.hosts, random_state)
        if searches(runner):
            runner.begin_beside(newcomers.components, newcomers.hosts)
        self.last, self._before = n_iter, bounds[-1]
        self._count += 1
        part_of_mean = 0.5 if isinstance(log_joint.form, Linear) else 0.0
        return reseeded(
            sums.statistics, *newcomers, runner.gather(rows), part_of_mean, runner.linalg
        )


class Newcomers(NamedTuple):
    """Components that begin anew, and whose rows they begin at.

    Attributes
    ----------
    components, hosts : ndarray of shape (n_moved,), intp
    """

    components: npt.NDArray[np.intp]
    hosts: npt.NDArray[np.intp]


def _mean_bounds(
    best: npt.NDArray[Any],
    log_evidence: npt.NDArray[Any],
    sample_weight: Float64Array | None,
    n_components: int,
) -> Float64Array:
    """Return the mean bound of the rows whose best component is each; NaN where there are none."""
    counted = (best >= 0) & np.isfinite(log_evidence)
    weight = counted * (1.0 if sample_weight is None else sample_weight)
    index = np.maximum(best, 0)
    total = np.bincount(index, weight, n_components)
    bound = np.where(counted, log_evidence, 0.0).astype(np.float64)
    sums = np.bincount(index, weight * bound, n_components)
    mean = np.full(n_components, np.nan)
    np.divide(sums, total, out=mean, where=total > 0.0)
    return mean


def _drawn_hosts(
    weight: Float64Array,
    bound: Float64Array,
    small: npt.NDArray[np.bool_],
    random_state: np.random.RandomState,
) -> Newcomers:
    """Draw hosts in proportion to what the bound of all their rows lacks of the best component's.

    They are components of more than average weight. None takes in so many that its share would be
    less than half the average; components beyond that stay what they are.
    """
    average = weight.sum() / len(weight)
    able = (weight > average) & np.isfinite(bound)
    moved = np.flatnonzero(small)
    if not able.any():
        return Newcomers(moved[:0], moved[:0])
    lack = np.where(able, weight * (np.max(bound, where=able, initial=-np.inf) - bound), 0.0)
    if not 0.0 < lack.sum() < np.inf:
        lack = np.where(able, weight, 0.0)
    total = np.cumsum(lack)
    wanted = (np.arange(len(moved)) + random_state.uniform(size=len(moved))) / len(moved)
    hosts = np.searchsorted(total, wanted * total[-1], side="right")
    hosts = np.minimum(hosts, np.flatnonzero(lack)[-1])  # in ascending order
    nth = np.arange(len(hosts)) - np.searchsorted(hosts, hosts)
    taken = nth < np.floor(weight[hosts] / average)
    return Newcomers(moved[taken], hosts[taken])


def reseeded(
    statistics: Statistics,
    components: npt.NDArray[np.intp],
    hosts: npt.NDArray[np.intp],
    rows: Float64Array,
    part_of_mean: float = 0.0,
    linalg: LinearAlgebra | None = None,
) -> Statistics:
    """Return statistics in which components are parts of others, centred elsewhere.

    A host and those that begin in it have equal shares of its weight, and the host what these had:
    the sum of weights stays. Each has the host's covariance.

    Parameters
    ----------
    statistics : Statistics
    components, hosts : ndarray of shape (n_moved,), intp
        No component is a host.
    rows : ndarray of shape (n_moved, n_features)
        Where components are centred.
    part_of_mean : float
        How far from there they are moved to the host's mean. A mean of one row may be impossible,
        as a frequency of zero is.
    linalg : LinearAlgebra, optional

    Examples
    --------
    >>> import numpy as np
    >>> import vbfast
    >>> from vbfast.inference.reseeding import reseeded
    >>> zeros, weight, second = np.zeros((2, 1)), np.array([9.0, 1.0]), np.array([9.0, 0.0])
    >>> statistics = vbfast.Statistics("spherical", zeros, weight, zeros, second)
    >>> moved = reseeded(statistics, np.array([1]), np.array([0]), np.array([[2.0]]))
    >>> moved.weight, moved.centres[:, 0], moved.second
    (array([5.5, 4.5]), array([0., 2.]), array([5.5, 4.5]))
    """
    means = statistics.centres + way_to_the_means(statistics)
    about = statistics.about(means, linalg)
    before, K = about.weight, len(about.weight)
    share = before / (1.0 + np.bincount(hosts, minlength=K))
    weight = np.asarray(share + np.bincount(hosts, before[components], K), np.float64)
    weight[components] = share[hosts]
    source = np.arange(K)
    source[components] = hosts
    scale = weight / np.where(before[source] > 0.0, before[source], 1.0)
    centres, first = about.centres.copy(), about.first * scale[:, np.newaxis]
    centres[components] = rows + part_of_mean * (means[hosts] - rows)
    first[components] = 0.0
    second = about.second
    if second is not None and about.moments != "pooled":
        second = np.ascontiguousarray((second[source].T * scale).T)
    return Statistics(about.moments, centres, weight, first, second)
