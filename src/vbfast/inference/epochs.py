"""A fit by stepwise EM or stochastic variational inference: batches in a new order every epoch."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Generic, TypeVar

import numpy as np

from vbfast.contract import PassResult, Request, merge
from vbfast.families.family import Family, Parameters
from vbfast.inference.em import EMResult, Progress, Stopping
from vbfast.inference.monitor import SILENT, IterationReport, Monitor
from vbfast.inference.runner import RowRunner
from vbfast.inference.stochastic import StepSizes, Stream, after_batch

__all__ = ["EpochsState", "run_epochs"]

P = TypeVar("P", bound=Parameters)

# Of the batches this part is held out, at least one, to see by when the bound has settled.
HELD_OUT = 0.05
# The part of an epoch's bound in the running average of bounds.
SMOOTHING = 0.5


@dataclass(frozen=True)
class EpochsState(Generic[P]):
    """All that the next step depends on, but for the generator of orders.

    Attributes
    ----------
    stream : Stream
        Without bounds.
    held_out : list of int
        The batches that are not learned from.
    waiting : list of int
        The batches that this epoch has yet to visit, the next one last.
    lower_bounds : list of float
        Of every epoch.
    """

    stream: Stream[P]
    held_out: list[int]
    waiting: list[int]
    lower_bounds: list[float]

    @property
    def reached(self) -> EMResult[P]:
        """Where the epochs so far have led."""
        bounds = self.lower_bounds
        return EMResult(self.stream.parameters, bounds.copy(), False, len(bounds))


def run_epochs(
    runner: RowRunner,
    parameters: P,
    family: Family[P],
    stopping: Stopping,
    steps: StepSizes,
    batches: Sequence[slice],
    random_state: np.random.RandomState,
    *,
    monitor: Monitor = SILENT,
    progress: Progress[P] | None = None,
    state: EpochsState[P] | None = None,
    keep: Callable[[EpochsState[P]], None] | None = None,
) -> EMResult[P]:
    """Learn from batch after batch, until the bound of batches that are held out hardly changes.

    Parameters
    ----------
    runner : RowRunner
    parameters : parameters
        The start, which counts as a batch where the family knows its statistics.
    family : Family
    stopping : Stopping
        ``max_iter`` is the most epochs. They end when the running average of the bound changes by
        less than the family makes of ``tol``.
    steps : StepSizes
    batches : sequence of slice
        Of rows; together they are all. Those without weight are left out.
    random_state : RandomState
        Draws which batches are held out, and a new order for every epoch.
    monitor, progress
        As for :func:`vbfast.inference.em.run_em`. An iteration is an epoch.
    state : EpochsState, optional
        To go on from, instead of ``parameters``.
    keep : callable, optional
        Given the state after every step.

    Returns
    -------
    EMResult
        With a running average, after every epoch, of the bound that the held-out batches have.

    Raises
    ------
    NonFiniteRowError, NotPositiveDefiniteError, ValueError
        As :func:`vbfast.inference.stochastic.after_batch`.
    """
    progress = Progress() if progress is None else progress
    weighty = [i for i, rows in enumerate(batches) if runner.section(rows).total_weight > 0.0]
    if state is None:
        drawn = random_state.permutation(weighty).tolist()
        # Of one batch none can be spared.
        n_held = min(max(1, round(HELD_OUT * len(drawn))), len(drawn) - 1)
        held_out, learned = sorted(drawn[:n_held]), sorted(drawn[n_held:])
        stream = Stream.of_fit(parameters, family, runner.dtype)
        waiting, bounds = list[int](), list[float]()
    else:
        held_out, stream = state.held_out, state.stream
        learned = [i for i in weighty if i not in set(held_out)]
        waiting, bounds = state.waiting.copy(), state.lower_bounds.copy()
        if bounds:
            progress.reached = state.reached

    def offer() -> None:
        if keep is not None:
            keep(EpochsState(stream, held_out, waiting.copy(), bounds.copy()))

    converged = False
    monitor.iterations_begin()
    while not converged and len(bounds) < stopping.max_iter:
        monitor.iteration_begins()
        waiting = waiting or random_state.permutation(learned).tolist()
        while waiting:
            section = runner.section(batches[waiting.pop()])
            stream = after_batch(
                replace(stream, lower_bounds=[]),
                section,
                family,
                steps,
                section.total_weight,
                runner.total_weight,
            )
            if waiting:
                offer()
        seen = held_out or learned
        bound = _bound(runner, stream.parameters, family, [batches[i] for i in seen])
        before = bounds[-1] if bounds else -np.inf
        bounds.append(SMOOTHING * bound + (1.0 - SMOOTHING) * before if bounds else bound)
        change = bounds[-1] - before
        converged = abs(change) < family.threshold(stopping.tol, runner.total_weight)
        progress.reached = EMResult(stream.parameters, bounds.copy(), converged, len(bounds))
        monitor.iteration_done(IterationReport(len(bounds), bounds[-1], change))
        if monitor.stopped:
            break
        if not converged:
            offer()
    return progress.reached or EMResult(parameters, bounds, converged, 0)


def _bound(runner: RowRunner, parameters: P, family: Family[P], batches: Sequence[slice]) -> float:
    """Return the bound that all rows would have, if they were as some batches are."""
    log_joint = parameters.log_joint()
    sums: PassResult = merge(runner.section(rows).run(log_joint, Request()) for rows in batches)
    return family.bound_at(sums * (runner.total_weight / sums.total_weight), parameters)
