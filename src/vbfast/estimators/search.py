"""The starts of a fit: iterations from each, and the best end."""

from __future__ import annotations

import contextlib
import copy
from collections.abc import Callable
from dataclasses import replace
from functools import partial
from typing import Any

import numpy as np

from vbfast.contract import Request
from vbfast.estimators.callback import Callback, CallbackMonitor
from vbfast.estimators.checkpoint import Checkpoint
from vbfast.estimators.combinations import check_combinations
from vbfast.estimators.fit_tasks import FitTasks, TaskMonitor
from vbfast.estimators.loops import Loop
from vbfast.estimators.stored_state import FitState
from vbfast.estimators.truncation import Learned, truncated_runner
from vbfast.estimators.validation import as_random_state, keep_partial
from vbfast.families.family import Family
from vbfast.inference.em import EMResult, Progress
from vbfast.inference.monitor import Workload, make_monitor
from vbfast.inference.runner import searches
from vbfast.passes.base_runner import BaseRunner

__all__ = ["search"]


def search(
    mixture: Any,
    family: Family[Any],
    runner: BaseRunner,
    *,
    callback: Callback | None = None,
    tasks: FitTasks | None = None,
    checkpoint: Checkpoint | None = None,
) -> tuple[EMResult[Any], Learned | None, bool]:
    """Iterate from every start.

    Parameters
    ----------
    mixture : BaseMixture
        That is fitted.
    family : Family
    runner : BaseRunner
    callback : callable, optional
    tasks : FitTasks, optional
    checkpoint : Checkpoint, optional
        Gone on from, and written to.

    Returns
    -------
    best : EMResult
        The best end.
    learned : Learned or None
        What that start has learned, if posteriors are truncated.
    stopped : bool
        Whether something stopped the iterations.
    """
    resumed, n_init = mixture._resumes, mixture._n_starts
    random_state = as_random_state(mixture.random_state)
    check_combinations(mixture, family)
    runner = truncated_runner(mixture, family, runner, random_state)
    per_unit = family.per_unit_of_weight
    workload = Workload(runner.n_samples, mixture.max_iter, n_init, per_unit)
    best: EMResult[Any] | None = None
    learned: Learned | None = None
    progress = Progress[Any]()
    first, stopped = 0, False
    state: FitState | None = None if checkpoint is None else checkpoint.state
    if state is not None:
        first, best, stopped = state.index, state.best, state.stopped
        random_state.set_state(state.random_state)

    def fitted(reached: EMResult[Any]) -> Any:
        estimator = mixture._copied()
        estimator.random_state = copy.deepcopy(mixture.random_state)  # its draws are its own
        estimator._take(family, reached, runner.dtype)
        return estimator

    def as_reached() -> Callable[[], Any]:
        assert progress.reached is not None  # an iteration has ended
        return partial(fitted, progress.reached)

    def offer(loop: Any) -> None:
        assert checkpoint is not None
        drawn = random_state.get_state(legacy=False)
        assert isinstance(drawn, dict)
        remembered = None
        if searches(runner):
            remembered = {"runner": runner.memory(), "best": learned and (*learned,)}
        kept = FitState(index, best, loop, drawn, stopped, remembered)
        reached = _better(best, loop.reached)
        assert reached is not None
        checkpoint.offer(lambda: (fitted(replace(reached, converged=False)), kept))

    shown = make_monitor(workload, verbose=mixture.verbose, interval=mixture.verbose_interval)
    monitor = shown if callback is None else CallbackMonitor(shown, callback, as_reached)
    if tasks is not None:
        monitor = TaskMonitor(monitor, tasks, mixture.max_iter, as_reached)
    loop = Loop(mixture, family, runner, random_state, monitor)
    try:
        with shown:
            for index in range(first, n_init):
                progress = Progress()
                monitor.initialisation_begins(index)
                if searches(runner):
                    runner.begin_anew()
                going_on = None if state is None else state.loop
                if state is not None and searches(runner):
                    assert state.search is not None
                    runner.remember(state.search["runner"])
                    if state.search["best"] is not None:
                        learned = Learned(*state.search["best"])
                state = None
                if going_on is not None:
                    start = going_on.reached.parameters
                elif resumed:
                    start = mixture._resumed_start(runner.n_features)
                else:
                    start = mixture._start(family, runner, random_state, monitor)
                if mixture.max_iter == 0:
                    # No iteration will see the rows, some of which the start may not have either.
                    runner.weighted(None).run(start.log_joint(), Request())
                result = loop.run(
                    start,
                    previous_bound=mixture.lower_bound_ if resumed else -np.inf,
                    progress=progress,
                    state=going_on,
                    keep=None if checkpoint is None else offer,
                )
                stopped = stopped or monitor.stopped
                monitor.initialisation_ends(result.lower_bound, result.converged)
                best = _better(best, result)
                if best is result and searches(runner):
                    measured = result.parameters.log_joint() if mixture.compute_bound_gap else None
                    learned = Learned.of(runner, measured)
                if monitor.stopped:
                    break
    except KeyboardInterrupt as interrupt:
        keep_partial(interrupt, None)  # a fit within this one may have kept its own
        reached = _better(best, progress.reached)
        if reached is not None:
            with contextlib.suppress(ValueError):  # of numbers that overflow the rows' dtype
                keep_partial(interrupt, fitted(replace(reached, converged=False)))
        if checkpoint is not None:
            checkpoint.write_waiting()
        raise
    assert best is not None
    return best, learned, stopped


def _better(best: EMResult[Any] | None, other: EMResult[Any] | None) -> EMResult[Any] | None:
    """Return the result with the higher bound, the first of equals; none is the worst."""
    if best is None or other is None:
        return best or other
    worse = best.lower_bound == -np.inf or other.lower_bound > best.lower_bound
    return other if worse else best
