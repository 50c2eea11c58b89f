"""Incremental EM, and memoized variational inference: the statistics of each part are kept.

A step visits one part of the rows. Its statistics take the place of those that its last visit has
left, and the global step goes by the sum over all parts, so that parameters move many times in one
lap over the rows. With ``q`` fixed elsewhere that raises the same bound that whole passes raise
(Neal and Hinton 1998, section 4; Hughes and Sudderth 2013, section 3),

    L = sum_n w_n (E_q[l_nk] + H[q_n]) - KL(q(theta) || p(theta)),

whose first term is known from the sum of the statistics, and whose second adds up over the parts.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Generic, TypeVar

import numpy as np

from vbfast.contract import (
    Float64Array,
    LinearAlgebra,
    NotPositiveDefiniteError,
    PassResult,
    Quadratic,
    Request,
)
from vbfast.families.expected_log_joint import expected_log_joint
from vbfast.families.family import Family, Parameters
from vbfast.inference.convergence import has_settled
from vbfast.inference.em import EMResult, Progress, Stopping
from vbfast.inference.errors import DistantRowError, NoResponsibilityError, check_reach
from vbfast.inference.monitor import SILENT, IterationReport, Monitor
from vbfast.inference.runner import RowRunner
from vbfast.inference.sums_of_squares import sums_of_squares

__all__ = ["MOST_PARTS", "IncrementalState", "run_incremental"]

P = TypeVar("P", bound=Parameters)

# Statistics are kept of no more parts: twice as many sums, each about the size of the parameters.
MOST_PARTS = 64


@dataclass(frozen=True)
class IncrementalState(Generic[P]):
    """All that the next step depends on, but for the generator of orders.

    Attributes
    ----------
    parameters : parameters
        The last global step's.
    sums : list of PassResult or None
        A tree: that of part ``i`` of ``n`` at ``n + i``, and the sum of ``2 i`` and ``2 i + 1`` at
        ``i``; ``None`` before the first visit.
    waiting : list of int
        The parts that this lap has yet to visit, the next one last.
    lower_bounds : list of float
        Of every lap.
    start : parameters or None
        The start's, which stand for parts that were not visited yet; ``None`` once all were.
    """

    parameters: P
    sums: list[PassResult | None]
    waiting: list[int]
    lower_bounds: list[float]
    start: P | None

    @property
    def reached(self) -> EMResult[P]:
        """Where the laps so far have led."""
        bounds = self.lower_bounds
        return EMResult(self.parameters, bounds.copy(), False, len(bounds))


def run_incremental(
    runner: RowRunner,
    parameters: P,
    family: Family[P],
    stopping: Stopping,
    parts: Sequence[slice],
    random_state: np.random.RandomState,
    *,
    previous_bound: float = -np.inf,
    monitor: Monitor = SILENT,
    progress: Progress[P] | None = None,
    state: IncrementalState[P] | None = None,
    keep: Callable[[IncrementalState[P]], None] | None = None,
) -> EMResult[P]:
    """Visit parts of the rows, lap by lap, until the bound hardly changes.

    In the first lap, parts that were not visited yet are represented by the start's own statistics,
    where the family knows them; where it does not, the first lap is a whole pass.

    Parameters
    ----------
    runner : RowRunner
    parameters : parameters
        The start.
    family : Family
    stopping : Stopping
        ``max_iter`` is the most laps.
    parts : sequence of slice
        Of rows; together they are all.
    random_state : RandomState
        Draws a new order for each lap.
    previous_bound, monitor, progress
        As for :func:`vbfast.inference.em.run_em`. An iteration is a lap.
    state : IncrementalState, optional
        To go on from, instead of ``parameters``.
    keep : callable, optional
        Given the state after every step.

    Returns
    -------
    EMResult
        With the bound after every lap. It is exact and, from the second lap on, never falls but by
        rounding where ``reg_covar`` is zero. Of families whose statistics do not tell their
        expected log-joint it is the evidence that every part had when it was visited.

    Raises
    ------
    NonFiniteRowError, NotPositiveDefiniteError, ValueError
        As :func:`vbfast.inference.em.run_em`.
    """
    progress = Progress() if progress is None else progress
    start = parameters if state is None or state.start is None else state.start
    steps = _Steps(runner, start, family, parts)
    waiting: list[int] = []
    bounds: list[float] = []
    if state is not None:
        steps.parameters, steps.sums = state.parameters, state.sums.copy()
        waiting, bounds = state.waiting.copy(), state.lower_bounds.copy()
        if bounds:
            progress.reached = state.reached
    converged = False
    monitor.iterations_begin()
    while not converged and len(bounds) < stopping.max_iter:
        monitor.iteration_begins()
        waiting = waiting or random_state.permutation(len(parts)).tolist()
        while waiting:
            steps.visit(waiting.pop())
            if keep is not None and waiting:
                keep(steps.state(waiting, bounds))
        before = bounds[-1] if bounds else previous_bound
        bounds.append(steps.bound())
        threshold = family.threshold(stopping.tol, steps.whole.total_weight)
        converged = has_settled(bounds, stopping.tol, threshold, previous_bound=previous_bound)
        progress.reached = EMResult(steps.parameters, bounds.copy(), converged, len(bounds))
        monitor.iteration_done(IterationReport(len(bounds), bounds[-1], bounds[-1] - before))
        if monitor.stopped:
            break
        if keep is not None and not converged:
            keep(steps.state(waiting, bounds))
    return progress.reached or EMResult(parameters, bounds, converged, 0)


class _Steps(Generic[P]):
    """The sums of all parts, and the parameters that they have led to."""

    def __init__(
        self, runner: RowRunner, start: P, family: Family[P], parts: Sequence[slice]
    ) -> None:
        self._runner, self._family, self._parts = runner, family, parts
        self._request = Request(moments=family.moments)
        self.parameters = self._begun = start
        self.sums: list[PassResult | None] = [None] * (2 * len(parts))
        statistics = family.statistics_of(start)
        held = 0.0 if statistics is None else float(np.sum(statistics.weight))
        # Of a row of the start.
        self._start = None if statistics is None or held == 0.0 else statistics * (1.0 / held)

    @property
    def whole(self) -> PassResult:
        """The sums of the parts that were visited."""
        whole = self.sums[1]
        assert whole is not None
        return whole

    def state(self, waiting: list[int], bounds: list[float]) -> IncrementalState[P]:
        """Return what the next visit depends on, but for the generator of orders."""
        start = self._begun if self._some_waits() else None
        sums = self.sums.copy()
        return IncrementalState(self.parameters, sums, waiting.copy(), bounds.copy(), start)

    def _some_waits(self) -> bool:
        """Whether some part was not visited yet."""
        return any(sums is None for sums in self.sums[len(self._parts) :])

    def visit(self, part: int) -> None:
        """Take the sums of a part anew, and the global step."""
        family, linalg = self._family, self._runner.linalg
        section, leaf = self._runner.section(self._parts[part]), len(self._parts) + part
        log_joint = self.parameters.log_joint()
        sums = section.iterate(
            log_joint,
            self._request,
            previous=self.sums[leaf],
            scatter_floor=self._scatter_floor(),
        )
        if sums.log_evidence == -np.inf and isinstance(log_joint.form, Quadratic):
            raise DistantRowError.of_iteration(section.impossible_row(log_joint), section.dtype)
        assert sums.statistics is not None
        expected = expected_log_joint(sums.statistics, log_joint, linalg)
        entropy = np.nan if expected is None else sums.log_evidence - expected
        self.sums[leaf] = replace(sums, entropy=entropy)
        centres = log_joint.form.centres
        while leaf > 1:
            leaf //= 2
            self.sums[leaf] = _sum(self.sums[2 * leaf], self.sums[2 * leaf + 1], centres, linalg)
        whole = self.whole
        left = self._runner.total_weight - whole.total_weight
        if self._some_waits():
            if self._start is None:
                return  # a global step that knows of some rows only would forget the others
            others = self._start.about(centres, linalg) * max(left, 0.0)
            assert whole.statistics is not None
            statistics = whole.statistics.about(centres, linalg) + others
            total = whole.total_weight + max(left, 0.0)
            whole = replace(whole, statistics=statistics, total_weight=total)
        assert whole.statistics is not None
        if not whole.statistics.weight.any():
            raise NoResponsibilityError
        try:
            self.parameters = family.global_step(whole, self.parameters, linalg)
        except NotPositiveDefiniteError:
            check_reach(sums, section)
            raise

    def _scatter_floor(self) -> Callable[[Float64Array], Float64Array] | None:
        """Return what the squares of a part are added to: those of all parts as well."""
        floor, whole = self._family.scatter_floor, self.sums[1]
        if floor is None or whole is None or whole.statistics is None:
            return floor
        squares = sums_of_squares(whole.statistics)
        return lambda counts: floor(counts) + squares

    def bound(self) -> float:
        """Return the bound of the present parameters, and of what ``q`` the visits have left."""
        whole = self.whole
        assert whole.statistics is not None
        expected = expected_log_joint(
            whole.statistics, self.parameters.log_joint(), self._runner.linalg
        )
        if expected is not None:
            whole = replace(whole, log_evidence=expected + whole.entropy)
        return self._family.bound_at(whole, self.parameters)


def _sum(
    one: PassResult | None,
    other: PassResult | None,
    centres: Float64Array,
    linalg: LinearAlgebra,
) -> PassResult | None:
    """Return the sums of both, about the centres, where there are any."""
    moved = []
    for sums in (one, other):
        if sums is not None:
            assert sums.statistics is not None
            statistics = sums.statistics
            if not np.array_equal(statistics.centres, centres):
                statistics = statistics.about(centres, linalg)
            moved.append(replace(sums, statistics=statistics))
    if not moved:
        return None
    return moved[0] if len(moved) == 1 else moved[0] + moved[1]
