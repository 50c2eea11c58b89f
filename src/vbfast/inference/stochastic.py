"""Inference from rows that come in batches: stepwise EM, and stochastic variational inference.

Both keep a running average of the statistics of a row. A batch moves it by a step ``rho_t``,

    s_t = (1 - rho_t) s_(t-1) + rho_t sum_n w_n T(x_n) / sum_n w_n,

over the rows of the batch, and the global step goes by ``N s_t``, as if that were the sums over
``N`` rows. For maximum likelihood that is stepwise EM (Cappe and Moulines 2009, eq. 12). A
posterior has the natural parameters of its prior plus ``N s_t``, which is a step along the natural
gradient of the bound (Hoffman, Blei, Wang and Paisley 2013, eq. 23).
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any, Generic, TypeVar

import numpy as np

from vbfast.contract import LinearAlgebra, PassResult, Quadratic, Request, Statistics
from vbfast.families.family import Family, Parameters
from vbfast.inference.errors import DistantRowError
from vbfast.inference.runner import Runner

__all__ = ["StepSizes", "Stream", "after_batch", "average_of"]

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
        the rows' evidence. It smooths the bounds of single batches.
    """

    parameters: P
    average: PassResult | None
    total_weight: float
    n_batches: int
    lower_bounds: list[float]


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
        form.
    """
    log_joint = stream.parameters.log_joint()
    sums = runner.iterate(
        log_joint, Request(moments=family.moments), scatter_floor=family.scatter_floor
    )
    if sums.log_evidence == -np.inf and isinstance(log_joint.form, Quadratic):
        raise DistantRowError.of_iteration(runner.impossible_row(log_joint), runner.dtype)
    step = steps.after(max(1, stream.n_batches))  # a fit that is gone on from counts as one
    average = _moved(stream.average, sums * (1.0 / sums.total_weight), step, runner.linalg)
    seen = stream.total_weight + weight
    whole_weight = seen if total_weight is None else total_weight
    if family.scale_free:
        # Nothing but that a component of too little weight counts as one that has lost its rows.
        whole_weight = max(whole_weight, sums.total_weight)
    whole = average * whole_weight
    return Stream(
        family.global_step(whole, stream.parameters, runner.linalg),
        average,
        seen,
        stream.n_batches + 1,
        [*stream.lower_bounds, family.bound_at(whole, stream.parameters)],
    )


def _moved(
    average: PassResult | None, batch: PassResult, step: float, linalg: LinearAlgebra
) -> PassResult:
    """Return the running average, moved towards that of a batch."""
    if average is None:
        return batch
    # It is not known of statistics without rows, nor after a row that was impossible.
    if not np.isfinite(average.log_evidence):
        average = replace(average, log_evidence=batch.log_evidence)
    assert average.statistics is not None
    assert batch.statistics is not None
    statistics = average.statistics.about(batch.statistics.centres, linalg)
    average = replace(average, statistics=statistics, dtype=batch.dtype)
    return average * (1.0 - step) + batch * step


def average_of(statistics: Statistics, dtype: np.dtype[Any]) -> PassResult:
    """Return the running average that statistics make whose rows are not there any more."""
    total = float(statistics.weight.sum())
    return PassResult(
        1.0, np.nan, np.nan, np.nan, np.nan, statistics * (1.0 / total), np.nan, dtype
    )
