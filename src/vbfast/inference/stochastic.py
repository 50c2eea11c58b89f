"""Inference from rows that come in batches: stepwise EM, and stochastic variational inference.

Both keep a running average of the statistics of a row. A batch moves it by a step ``rho_t``,

    s_t = (1 - rho_t) s_(t-1) + rho_t sum_n w_n T(x_n) / sum_n w_n,

over the rows of the batch, and the global step goes by ``N s_t``, as if that were the sums over
``N`` rows. For maximum likelihood that is stepwise EM (Cappe and Moulines 2009, eq. 12). A
posterior has the natural parameters of its prior plus ``N s_t``, which is a step along the natural
gradient of the bound (Hoffman, Blei, Wang and Paisley 2013, eq. 23).
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any, Generic, TypeVar

import numpy as np

from vbfast.contract import (
    Float64Array,
    LinearAlgebra,
    NotPositiveDefiniteError,
    PassResult,
    Quadratic,
    Request,
)
from vbfast.families.family import Family, Parameters
from vbfast.inference.errors import DistantRowError, check_reach
from vbfast.inference.runner import Runner
from vbfast.inference.sums_of_squares import sums_of_squares

__all__ = ["StepSizes", "Stream", "after_batch"]

P = TypeVar("P", bound=Parameters)


@dataclass(frozen=True)
class StepSizes:
    """How far a batch moves the running average.

    Attributes
    ----------
    decay, offset : float
        A batch after ``t`` others moves it by ``(offset + t) ** -decay``. That converges where
        ``decay`` is above 0.5 and at most one (Robbins and Monro 1951).
    constant : float or None
        By how much every batch moves it instead: a stream that drifts is followed.
    """

    decay: float
    offset: float
    constant: float | None = None

    def after(self, n_batches: int) -> float:
        """Return the step of the batch that comes after others."""
        if self.constant is not None:
            return float(self.constant)
        # NumPy's integers have no negative powers, and its float32 would round.
        return float((float(self.offset) + n_batches) ** -float(self.decay))


@dataclass(frozen=True)
class Stream(Generic[P]):
    """Where a stream of batches has led.

    Attributes
    ----------
    parameters : parameters
        The last global step's.
    average : PassResult or None
        The running average, of rows that weigh one together; ``None`` before the first batch.
    total_weight : float
        Of the rows that have come.
    n_batches : int
    lower_bounds : list of float
        After each batch, nats: the bound at the parameters that it met, with the running average of
        the rows' evidence. It smooths the bounds of single batches. :func:`after_batch` appends to
        it, so that many batches do not copy it as often.
    """

    parameters: P
    average: PassResult | None
    total_weight: float
    n_batches: int
    lower_bounds: list[float]

    @classmethod
    def of_start(cls, parameters: P) -> Stream[P]:
        """Return a stream before its first batch."""
        return cls(parameters, None, 0.0, 0, [])

    @classmethod
    def of_fit(cls, parameters: P, family: Family[P], dtype: np.dtype[Any]) -> Stream[P]:
        """Return a stream that goes on from parameters as if a batch had led to them.

        Where it is not known of which statistics they are, or the posterior is the prior, the first
        batch is the average.

        Parameters
        ----------
        parameters : parameters
        family : Family
        dtype : float32 or float64
            Of the rows that will come.
        """
        statistics = family.statistics_of(parameters)
        if statistics is None or not statistics.weight.any():
            return cls.of_start(parameters)
        total = float(statistics.weight.sum())
        unknown = np.nan
        each = statistics * (1.0 / total)
        average = PassResult(1.0, unknown, unknown, unknown, unknown, each, unknown, dtype)
        return cls(parameters, average, 0.0 if family.per_unit_of_weight else total, 0, [])


def after_batch(
    stream: Stream[P],
    runner: Runner,
    family: Family[P],
    steps: StepSizes,
    weight: float,
    total_weight: float | None = None,
) -> Stream[P]:
    """Return where a batch leads: one pass over it, and the global step.

    Parameters
    ----------
    stream : Stream
    runner : Runner
        Over the rows of the batch.
    family : Family
    steps : StepSizes
        The first batch is the average, where there is none.
    weight : float
        Of the batch. The runner's weights may be on another scale, where the family is scale-free.
    total_weight : float, optional
        What a prior is weighed against: of all rows that the stream stands for. By default of those
        that have come so far.

    Returns
    -------
    Stream

    Raises
    ------
    NonFiniteRowError
        If a row is not finite.
    NotPositiveDefiniteError
        If the global step met a covariance that is not positive definite.
    DistantRowError
        If a row of positive weight has log-density ``-inf`` under all components, of a quadratic
        form, or squared distances overflow.
    """
    log_joint = stream.parameters.log_joint()
    step = steps.after(max(1, stream.n_batches))  # a fit that is gone on from counts as one
    sums = runner.iterate(
        log_joint,
        Request(moments=family.moments),
        scatter_floor=_scatter_floor(family, stream.average, step),
    )
    if sums.log_evidence == -np.inf and isinstance(log_joint.form, Quadratic):
        raise DistantRowError.of_iteration(runner.impossible_row(log_joint), runner.dtype)
    average = _moved(stream.average, sums, step, runner.linalg)
    seen = stream.total_weight + weight
    whole_weight = seen if total_weight is None else total_weight
    if family.scale_free:
        # Nothing but that a component of too little weight counts as one that has lost its rows.
        whole_weight = max(whole_weight, sums.total_weight)
    whole = average * whole_weight
    try:
        parameters = family.global_step(whole, stream.parameters, runner.linalg)
    except NotPositiveDefiniteError:
        check_reach(sums, runner)
        raise
    bound = family.bound_at(whole, stream.parameters)
    stream.lower_bounds.append(bound)  # last, as whatever fails leaves the stream as it was
    return Stream(parameters, average, seen, stream.n_batches + 1, stream.lower_bounds)


def _scatter_floor(
    family: Family[Any], average: PassResult | None, step: float
) -> Callable[[Float64Array], Float64Array] | None:
    """Return what a step adds to the sums of squares of a batch: those of the average as well."""
    floor = family.scatter_floor
    if floor is None or average is None:
        return floor
    assert average.statistics is not None
    squares = (1.0 - step) / step * sums_of_squares(average.statistics)
    return lambda counts: floor(counts) + counts.sum() * squares


def _moved(
    average: PassResult | None, sums: PassResult, step: float, linalg: LinearAlgebra
) -> PassResult:
    """Return the running average, moved towards that of a batch, of which there are the sums."""
    each = 1.0 / sums.total_weight
    if average is None:
        return sums * each
    # It is not known of statistics without rows, nor after a row that was impossible.
    if not np.isfinite(average.log_evidence):
        average = replace(average, log_evidence=each * sums.log_evidence)
    return average.averaged_with(1.0 - step, sums, step * each, linalg)
