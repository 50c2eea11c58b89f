"""Alternating maximization of a lower bound: expectation-maximization and its variational kin.

One iteration is one pass over the rows (local step: responsibilities; summary step: sufficient
statistics) and one global step (parameters). Where the global step maximizes the likelihood, this
is the algorithm of Dempster, Laird and Rubin (1977); with a posterior over the parameters in their
place the same loop is coordinate-ascent variational Bayes (Neal and Hinton 1998, section 3).

An accelerator may propose other parameters for the next pass than the global step's. That pass
tells the objective's merit there, and a lower one sends the loop back to the global step, which is
known. The merit is the bound where global steps maximize the bound; where they add ``reg_covar``
to variances they may lower it, and climb something else. Where ``reg_covar`` is large they do not
quite climb that either: close to the end plain iterations lead from its maximum, which proposals
have jumped to, back to their own fixed point. Proposals are then compared by how far they are from
being one.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any, Generic, TypeVar

import numpy as np

from vbfast.contract import (
    LinearAlgebra,
    NotPositiveDefiniteError,
    PassResult,
    Quadratic,
    Statistics,
)
from vbfast.families.family import Objective, Parameters
from vbfast.inference.acceleration import Accelerator
from vbfast.inference.ahead import go_ahead
from vbfast.inference.annealing import Annealing
from vbfast.inference.convergence import has_settled
from vbfast.inference.errors import DistantRowError, NoResponsibilityError, check_reach
from vbfast.inference.monitor import SILENT, IterationReport, Monitor
from vbfast.inference.reseeding import Reseeding
from vbfast.inference.runner import Runner

__all__ = ["EMResult", "EMState", "Progress", "Stopping", "run_em", "take_global_step"]


P = TypeVar("P", bound=Parameters)

# Proposals wait for an iteration that raises the merit, by less than this part of the rise so far:
# before, the map is far from linear, and it is luck whether an extrapolation leads to a good place.
EARLY = 0.1


@dataclass(frozen=True)
class Stopping:
    """When to stop.

    Attributes
    ----------
    tol : float
        See :func:`vbfast.inference.convergence.has_settled`.
    max_iter : int
    """

    tol: float
    max_iter: int


@dataclass(frozen=True)
class EMResult(Generic[P]):
    """Where the iterations have come to, or ended.

    Attributes
    ----------
    parameters : the last global step's
    lower_bounds : list of float
        The bound of every iteration, nats.
    converged : bool
    n_passes : int
        The number of passes over the rows: that of iterations, of refused proposals, and of
        iterations whose statistics were taken again (:mod:`vbfast.passes.recentring`).
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


@dataclass(frozen=True)
class EMState(Generic[P]):
    """All that the next iteration depends on: going on from it leads to the same bits.

    Attributes
    ----------
    parameters : parameters
        What the next pass is run with.
    reached : EMResult
        After the last iteration.
    accepted : PassResult
        The sums of its pass, without statistics.
    fallback : parameters or None
        The global step that the next pass's parameters were proposed instead of.
    merit, first_merit : float
        Of the last iteration and of the first.
    drifts : bool
        Whether plain iterations lower the merit.
    accelerator, reseeding : dict or None
        What they remember.
    """

    parameters: P
    reached: EMResult[P]
    accepted: PassResult
    fallback: P | None
    merit: float
    first_merit: float
    drifts: bool
    accelerator: dict[str, Any] | None
    reseeding: dict[str, Any] | None = None


@dataclass
class Progress(Generic[P]):
    """What the iterations leave when they are interrupted.

    Attributes
    ----------
    reached : EMResult or None
        After the last iteration that was finished; ``None`` before the first one was.
    """

    reached: EMResult[P] | None = None


def run_em(
    runner: Runner,
    parameters: P,
    objective: Objective[P],
    stopping: Stopping,
    *,
    previous_bound: float = -np.inf,
    accelerator: Accelerator[P] | None = None,
    annealing: Annealing | None = None,
    reseeding: Reseeding | None = None,
    monitor: Monitor = SILENT,
    progress: Progress[P] | None = None,
    state: EMState[P] | None = None,
    keep: Callable[[EMState[P]], None] | None = None,
) -> EMResult[P]:
    """Alternate passes and global steps until the bound hardly changes.

    Parameters
    ----------
    runner : Runner
    parameters : Parameters
        The start.
    objective : Objective
    stopping : Stopping
    previous_bound : float
        The bound that the first iteration's is compared with; ``-inf`` for a new start. Iterations
        that go on from others have had their rise: any change is small beside that.
    accelerator : Accelerator, optional
        Proposes parameters beyond the global step's; to be used once. A proposal is refused if the
        merit is lower there or, where the plain iterations themselves lower it, if it does not
        settle. Convergence is declared after a plain step only, since a proposal may happen not to
        move.
    annealing : Annealing, optional
        Without an accelerator. While it lasts the bound may fall, and nothing has converged.
    reseeding : Reseeding, optional
        Lets components begin anew, without an accelerator; to be used once. The bound may fall
        then, and has not settled before two iterations more.
    monitor : Monitor, optional
        Told of every iteration, after which it may have stopped the fit.
    progress : Progress, optional
        Kept up to date, for the case that the iterations are interrupted.
    state : EMState, optional
        To go on from, instead of ``parameters``, with a new accelerator of the same kind.
    keep : callable, optional
        Given the state after every iteration that did not converge.

    Returns
    -------
    EMResult

    Raises
    ------
    NonFiniteRowError
        If a row is not finite.
    NotPositiveDefiniteError
        If a global step met a covariance that is not positive definite.
    ValueError
        If a row of positive weight has log-density ``-inf`` under all components (of a form other
        than the quadratic, if every such row has); if squared distances of rows overflow; or if
        the bound is NaN.
    KeyboardInterrupt
        If the user interrupts.
    """
    progress = Progress() if progress is None else progress
    annealing = annealing or Annealing()
    # Bounds of iterations up to this one are not compared with the next.
    apart = annealing.n_iter
    bounds: list[float] = []
    bound = previous_bound
    merit = first_merit = -np.inf
    accepted: PassResult | None = None
    converged = False
    passes_before = runner.n_passes
    fallback: P | None = None  # the global step that the parameters were proposed instead of
    drifts = False  # whether plain iterations lower the merit
    updated = parameters
    if state is not None:
        parameters, fallback, accepted = state.parameters, state.fallback, state.accepted
        merit, first_merit, drifts = state.merit, state.first_merit, state.drifts
        bounds = state.reached.lower_bounds.copy()
        bound = bounds[-1]
        passes_before -= state.reached.n_passes
        progress.reached = state.reached
        if accelerator is not None and state.accelerator is not None:
            accelerator.remember(state.accelerator)
        if reseeding is not None and state.reseeding is not None:
            reseeding.remember(state.reseeding)
            apart = reseeding.last
    # Whether nobody looks at an iteration, nor keeps what the next depends on.
    ahead = monitor.silent and keep is None and reseeding is None and annealing.n_iter == 0
    ahead = ahead and accelerator is None
    monitor.iterations_begin()
    while not converged and len(bounds) < stopping.max_iter:
        if ahead:
            made = go_ahead(
                runner,
                parameters,
                objective,
                tol=stopping.tol,
                max_iter=stopping.max_iter,
                bounds=bounds,
                previous_bound=previous_bound,
                previous=accepted,
            )
            came_on = made is not None and len(made[1].bounds) > len(bounds)
            # A start may be out of the ordinary. Where iterations are, others are likely to be.
            ahead = came_on or not bounds
            if made is not None and came_on:
                parameters, iterated = made
                bounds, accepted = iterated.bounds, iterated.sums
                bound, converged = bounds[-1], iterated.settled
                n_passes = runner.n_passes - passes_before
                progress.reached = EMResult(parameters, bounds.copy(), converged, n_passes)
                if not iterated.left:
                    continue
        monitor.iteration_begins()
        log_joint = annealing.log_joint(parameters.log_joint(), len(bounds))
        # Elsewhere a row may well be impossible: it counts for nothing.
        everywhere = isinstance(log_joint.form, Quadratic)
        sums = annealing.iterate(runner, log_joint, objective, len(bounds), accepted)
        impossible = everywhere and sums.log_evidence == -np.inf
        try:
            updated, reached = _global_step(objective, sums, parameters, runner.linalg)
            # Nobody but an accelerator asks for it.
            reached_merit = (
                reached
                if accelerator is None
                else objective.merit(reached, sums, parameters, updated)
            )
        except (NotPositiveDefiniteError, NoResponsibilityError):
            if fallback is None and not impossible:
                check_reach(sums, runner)
                raise
            reached = reached_merit = -np.inf
        if impossible and fallback is None and not np.isnan(reached):
            if np.all(log_joint.offset == -np.inf):
                raise NoResponsibilityError
            raise DistantRowError.of_iteration(runner.impossible_row(log_joint), runner.dtype)
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
        if np.isnan(reached) or (everywhere and reached == -np.inf):
            raise _no_bound(reached, len(bounds) + 1)

        accepted = replace(sums, statistics=None)
        bound, before = reached, bound
        bounds.append(bound)
        gain, merit = reached_merit - merit, reached_merit
        if len(bounds) == 1:
            first_merit = merit
        slight = EARLY * (merit - first_merit)
        drifts = fallback is None and not objective.climbs_merit and -slight <= gain <= 0.0
        steady = drifts or 0.0 < gain <= slight
        threshold = objective.threshold(stopping.tol, sums.total_weight)
        still = (apart == 0 or len(bounds) > apart + 1) and has_settled(
            bounds, stopping.tol, threshold, previous_bound=previous_bound
        )
        converged = still and fallback is None
        moved: Statistics | None = None
        if reseeding is not None:
            moved = reseeding.statistics(
                sums,
                log_joint,
                bounds,
                settled=still,
                threshold=threshold,
                n_left=stopping.max_iter - len(bounds),
            )
        if moved is not None:
            converged, apart = False, len(bounds)
        n_passes = runner.n_passes - passes_before
        progress.reached = EMResult(updated, bounds.copy(), converged, n_passes)
        monitor.iteration_done(IterationReport(len(bounds), bound, bound - before))
        if monitor.stopped:
            break
        if moved is not None:
            updated = objective.global_step(
                replace(sums, statistics=moved), parameters, runner.linalg
            )
        proposal = None if accelerator is None else accelerator.propose(parameters, updated)
        if proposal is None or still or not steady:
            parameters, fallback = updated, None
        else:
            parameters, fallback = proposal, updated
        if keep is not None and not converged:
            remembered = None if accelerator is None else accelerator.memory()
            keep(
                EMState(
                    parameters,
                    progress.reached,
                    accepted,
                    fallback,
                    merit,
                    first_merit,
                    drifts,
                    remembered,
                    None if reseeding is None else reseeding.memory(),
                )
            )
    return progress.reached or EMResult(parameters, bounds, converged, 0)


def take_global_step(
    objective: Objective[P],
    sums: PassResult,
    reached: EMResult[P],
    tol: float,
    linalg: LinearAlgebra,
) -> EMResult[P]:
    """Take the global step of a pass that was made elsewhere, and say where that has led.

    Parameters
    ----------
    objective : Objective
    sums : PassResult
        Of all rows, with the parameters that were reached.
    reached : EMResult
        Where the iterations so far have led.
    tol : float
        See :class:`Stopping`.
    linalg : LinearAlgebra

    Returns
    -------
    EMResult
        After one iteration more.

    Raises
    ------
    NotPositiveDefiniteError, ValueError
        As :func:`run_em`, but for rows of log-density ``-inf``: the bound is ``-inf`` then.
    """
    updated, bound = _global_step(objective, sums, reached.parameters, linalg)
    if np.isnan(bound):
        raise _no_bound(bound, reached.n_iter + 1)
    bounds = [*reached.lower_bounds, bound]
    converged = has_settled(bounds, tol, objective.threshold(tol, sums.total_weight))
    return EMResult(updated, bounds, converged, reached.n_passes + 1)


def _global_step(
    objective: Objective[P], sums: PassResult, parameters: P, linalg: LinearAlgebra
) -> tuple[P, float]:
    """Return the updated parameters and the bound."""
    assert sums.statistics is not None
    if not np.logical_or.reduce(sums.statistics.weight):
        raise NoResponsibilityError
    updated = objective.global_step(sums, parameters, linalg)
    return updated, objective.lower_bound(sums, parameters, updated)


def _no_bound(bound: float, iteration: int) -> ValueError:
    """Return the error of a bound that is no number, though every row is possible."""
    return ValueError(
        f"the lower bound is {bound} in iteration {iteration}: a parameter of the prior, or the "
        "rows' weights, are too large or too small to compute with"
    )
