"""Alternating maximisation of a lower bound: expectation-maximisation and its variational kin.

One iteration is one pass over the rows (local step: responsibilities; summary step: sufficient
statistics) and one global step (parameters). Where the global step maximises the likelihood, this
is the algorithm of Dempster, Laird and Rubin (1977); with a posterior over the parameters in their
place the same loop is coordinate-ascent variational Bayes (Neal and Hinton 1998, section 3).

An accelerator may propose other parameters for the next pass than the global step's. That pass
tells the objective's merit there, and a lower one sends the loop back to the global step, which is
known. The merit is the bound where global steps maximise the bound; where they add ``reg_covar``
to variances they may lower it, and climb something else. Where ``reg_covar`` is large they do not
quite climb that either: close to the end plain iterations lead from its maximum, which proposals
have jumped to, back to their own fixed point. Proposals are then compared by how far they are from
being one.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any, Generic, Protocol, TypeVar

import numpy as np

from vbfast.engine.contract import (
    Float64Array,
    KernelParams,
    PassParams,
    PassResult,
    Request,
    RowOutputs,
    Statistics,
)
from vbfast.engine.dormant import run_pass_of_awake
from vbfast.engine.engine import run_pass
from vbfast.engine.rows import RowSource
from vbfast.families.linalg import NotPositiveDefiniteError
from vbfast.inference.acceleration import Accelerator
from vbfast.inference.far_rows import overflowing_row
from vbfast.inference.monitor import SILENT, IterationReport, Monitor
from vbfast.inference.recentring import CentredObjective, recentre

__all__ = ["Ascent", "Objective", "Parameters", "Progress", "Solution", "ascend"]


class Parameters(Protocol):
    """Parameters, or a posterior over them, that the passes can be run with."""

    def kernel_params(self) -> PassParams:
        """Return the log-joint that they imply."""


P = TypeVar("P", bound=Parameters)

# Proposals wait for an iteration that raises the merit, by less than this part of the rise so far:
# before, the map is far from linear, and it is luck whether an extrapolation leads to a good place.
EARLY = 0.1

# A change of the tolerance or more is small if it is less than this part of all change so far. From
# responsibilities that are alike for all components the bound rises by a nat or less, however many
# rows there are, until the components have parted, and only then by what is in the rows. Changes on
# the way, which may get smaller first, would end the fit for being few a row.
SMALL = 0.01


class NoResponsibilityError(ValueError):
    """No component is responsible for any row."""

    def __init__(self) -> None:
        super().__init__(
            "every row has log-density -inf under all components, which leaves nothing to "
            "estimate them from: start from means nearer to the rows"
        )


class ImpossibleRowError(ValueError):
    """A row is too far from all components for its log-density. ``row`` is its index."""

    def __init__(self, row: int, dtype: np.dtype[Any]) -> None:
        wider = "" if dtype == np.float64 else ", pass float64 data"
        super().__init__(
            f"row {row} has log-density -inf under all components: its squared distance from them "
            f"overflows {dtype}. Scale X{wider}, leave the row out, or start from means nearer to "
            "the rows"
        )
        self.row = row


class Objective(Protocol[P]):
    """The bound to climb, and how the global step climbs it."""

    @property
    def request(self) -> Request:
        """What a pass is asked for, to serve the global step and the bound."""

    def maximise(self, statistics: Statistics, previous: P) -> P:
        """Take the global step: maximise the bound at fixed responsibilities."""

    def lower_bound(self, sums: PassResult, previous: P, updated: P) -> float:
        """Return the bound, from a pass's sums, what it was run with and what it led to."""

    def merit(self, lower_bound: float, sums: PassResult, previous: P, updated: P) -> float:
        """Return what the iterations climb, where that is not the bound itself.

        The arguments but the first are those of :meth:`lower_bound`, the first its result.
        """

    @property
    def climbs_merit(self) -> bool:
        """Whether no iteration lowers the merit but by rounding."""

    def threshold(self, tol: float, total_weight: float) -> float:
        """Return the change of the bound below which the ascent has converged."""


@dataclass(frozen=True)
class Ascent:
    """When to stop.

    Attributes
    ----------
    tol : float
        Converged once the bound changes by less than the objective's ``threshold`` for it, and, if
        by ``tol`` or more, by no more than the last time and by less than :data:`SMALL` of what it
        has changed by since the start: changes that grow, or that are most of what there was, are
        the way off a plateau, such as responsibilities that are alike for all components.
    max_iter : int
    """

    tol: float
    max_iter: int


@dataclass(frozen=True)
class Solution(Generic[P]):
    """Where an ascent has come to, or ended.

    Attributes
    ----------
    parameters : the last global step's
    lower_bounds : list of float
        The bound of every iteration, nats.
    converged : bool
    n_passes : int
        The number of passes over the rows: that of iterations, of refused proposals, and of
        iterations whose statistics were taken again (:mod:`vbfast.inference.recentring`).
    """

    parameters: P
    lower_bounds: list[float]
    converged: bool
    n_passes: int

    @property
    def n_iter(self) -> int:
        """The number of iterations."""
        return len(self.lower_bounds)

    @property
    def lower_bound(self) -> float:
        """The last iteration's bound; ``-inf`` without iterations."""
        return self.lower_bounds[-1] if self.lower_bounds else -np.inf


@dataclass
class Progress(Generic[P]):
    """What an ascent leaves when it is interrupted.

    Attributes
    ----------
    reached : Solution or None
        After the last iteration that was finished; ``None`` before the first one was.
    """

    reached: Solution[P] | None = None


def ascend(
    source: RowSource,
    parameters: P,
    objective: Objective[P],
    ascent: Ascent,
    *,
    sample_weight: Float64Array | None = None,
    previous_bound: float = -np.inf,
    accelerator: Accelerator[P] | None = None,
    monitor: Monitor = SILENT,
    progress: Progress[P] | None = None,
    workspace: Any = None,
) -> Solution[P]:
    """Alternate passes and global steps until the bound hardly changes.

    Parameters
    ----------
    source : RowSource
    parameters : Parameters
        The start.
    objective : Objective
    ascent : Ascent
    sample_weight : ndarray of shape (n_samples,), float64, optional
    previous_bound : float
        The bound that the first iteration's is compared with; ``-inf`` for a new start. An ascent
        that goes on from another has had its rise: any change is small beside that.
    accelerator : Accelerator, optional
        Proposes parameters beyond the global step's; to be used by one ascent. A proposal is
        refused if the merit is lower there or, where the plain iterations themselves lower it, if
        it does not settle. Convergence is declared after a plain step only, since a proposal may
        happen not to move.
    monitor : Monitor, optional
        Told of every iteration.
    progress : Progress, optional
        Kept up to date, for the case that the ascent is interrupted.
    workspace : object, optional
        From :func:`vbfast.engine.engine.new_workspace`: memory kept between passes.

    Returns
    -------
    Solution

    Raises
    ------
    NonFiniteRowError
        If a row is not finite.
    NotPositiveDefiniteError
        If a global step met a covariance that is not positive definite.
    ValueError
        If a row of positive weight has log-density ``-inf`` under all components (with custom
        components, if every such row has); if squared distances of rows overflow; or if the bound
        is NaN.
    KeyboardInterrupt
        If the user interrupts.
    """
    progress = Progress() if progress is None else progress
    bounds: list[float] = []
    bound = previous_bound
    change = 0.0
    merit = first_merit = -np.inf
    resumed = previous_bound > -np.inf
    lowest = -np.inf
    converged = False
    n_passes = 0
    fallback: P | None = None  # the global step that the parameters were proposed instead of
    drifts = False  # whether plain iterations lower the merit
    updated = parameters
    centred_objective = objective if isinstance(objective, CentredObjective) else None
    monitor.ascent_begins()
    while not converged and len(bounds) < ascent.max_iter:
        params = parameters.kernel_params()
        sums = run_pass_of_awake(
            source,
            params,
            objective.request,
            lowest_log_evidence=lowest,
            sample_weight=sample_weight,
            workspace=workspace,
        )
        n_passes += 1
        assert sums.statistics is not None
        gaussian = params if isinstance(params, KernelParams) else None
        impossible = gaussian is not None and sums.log_evidence == -np.inf
        try:
            if gaussian is not None and centred_objective is not None:
                centred = recentre(
                    source,
                    gaussian,
                    sums.statistics,
                    floor=centred_objective.scatter_floor(sums.statistics.weight),
                    sample_weight=sample_weight,
                    workspace=workspace,
                )
                if centred is not None:
                    n_passes += 1
                    sums = replace(sums, statistics=centred)
            updated, reached = _global_step(objective, sums, parameters)
            reached_merit = objective.merit(reached, sums, parameters, updated)
        except (NotPositiveDefiniteError, NoResponsibilityError) as error:
            if fallback is None and not impossible:
                assert sums.statistics is not None
                second = sums.statistics.second
                if second is not None and not np.isfinite(second).all():
                    raise overflowing_row(source, sample_weight) from error
                raise
            reached = reached_merit = -np.inf
        if impossible and fallback is None and not np.isnan(reached):
            assert gaussian is not None
            _raise_impossible_row(source, gaussian, sample_weight)
        if fallback is not None:
            assert accelerator is not None
            if drifts and reached > -np.inf:
                better = accelerator.settles(parameters, updated)
            else:
                better = reached_merit >= merit
            if not better:
                accelerator.refused()
                parameters, fallback = fallback, None
                continue
        if np.isnan(reached) or (gaussian is not None and reached == -np.inf):
            raise ValueError(
                f"the lower bound is {reached} in iteration {len(bounds) + 1}: a parameter of the "
                "prior is too large or too small to compute with"
            )

        lowest = sums.lowest_log_evidence
        bound, before = reached, bound
        bounds.append(bound)
        gain, merit = reached_merit - merit, reached_merit
        if len(bounds) == 1:
            first_merit = merit
        change, change_before = bound - before, change if np.isfinite(change) else 0.0
        monitor.iteration_done(IterationReport(len(bounds), bound, change))
        rise = bound - bounds[0]
        slight = EARLY * (merit - first_merit)
        drifts = fallback is None and not objective.climbs_merit and -slight <= gain <= 0.0
        steady = drifts or 0.0 < gain <= slight
        small = resumed or abs(change) < SMALL * abs(rise)
        settled = small and abs(change) <= abs(change_before)
        still = abs(change) < ascent.tol or (
            settled and abs(change) < objective.threshold(ascent.tol, sums.total_weight)
        )
        converged = still and fallback is None
        progress.reached = Solution(updated, bounds.copy(), converged, n_passes)
        proposal = None if accelerator is None else accelerator.propose(parameters, updated)
        if proposal is None or still or not steady:
            parameters, fallback = updated, None
        else:
            parameters, fallback = proposal, updated
    return progress.reached or Solution(parameters, bounds, converged, n_passes)


def _global_step(objective: Objective[P], sums: PassResult, parameters: P) -> tuple[P, float]:
    """Return the updated parameters and the bound."""
    assert sums.statistics is not None
    if not sums.statistics.weight.any():
        raise NoResponsibilityError
    updated = objective.maximise(sums.statistics, parameters)
    return updated, objective.lower_bound(sums, parameters, updated)


def _raise_impossible_row(
    source: RowSource, params: KernelParams, sample_weight: Float64Array | None
) -> None:
    """Raise for the first row of positive weight and log-density ``-inf``."""
    if np.all(params.offset == -np.inf):
        raise NoResponsibilityError
    log_evidence = np.empty(source.n_samples, source.dtype)
    run_pass(source, params, Request(), outputs=RowOutputs(log_evidence=log_evidence))
    impossible = log_evidence == -np.inf
    if sample_weight is not None:
        impossible &= sample_weight > 0.0
    raise ImpossibleRowError(int(np.argmax(impossible)), source.dtype)
