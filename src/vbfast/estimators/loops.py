"""Which loop an estimator's parameters ask for: whole passes, or batches of rows."""

from __future__ import annotations

import copy
import warnings
from collections.abc import Callable
from itertools import pairwise
from typing import Any, Literal

import numpy as np

from vbfast.estimators.annealed import annealing_of
from vbfast.estimators.validation import callers_level
from vbfast.families.family import Family
from vbfast.inference.em import EMResult, Progress, Stopping, run_em
from vbfast.inference.epochs import run_epochs
from vbfast.inference.incremental import MOST_PARTS, run_incremental
from vbfast.inference.last_pass import with_last_pass
from vbfast.inference.monitor import Monitor
from vbfast.inference.reseeding import Reseeding
from vbfast.inference.sorted_rows import order_of_rows
from vbfast.inference.stochastic import StepSizes
from vbfast.passes.base_runner import BaseRunner
from vbfast.passes.sections import batches

__all__ = ["BATCH_METHODS", "BatchMethod", "Loop"]

BatchMethod = Literal["incremental", "stochastic"]
BATCH_METHODS = ("incremental", "stochastic")


class Loop:
    """The iterations of a fit, from one start or another.

    Parameters
    ----------
    mixture : BaseMixture
        That is fitted.
    family : Family
    runner : BaseRunner
    random_state : RandomState
        That orders of batches are drawn from.
    monitor : Monitor

    Raises
    ------
    TypeError, ValueError
        If the mixture's temperatures are none.

    Warns
    -----
    UserWarning
        If there are batches, and the rows lie in an order that tells them apart.
    """

    def __init__(
        self,
        mixture: Any,
        family: Family[Any],
        runner: BaseRunner,
        random_state: np.random.RandomState,
        monitor: Monitor,
    ) -> None:
        self._mixture, self._family, self._runner = mixture, family, runner
        self._random_state, self._monitor = random_state, monitor
        self._annealing = annealing_of(mixture)
        if mixture.batch_size is None:
            return
        self._batches = batches(runner.source, mixture.batch_size)
        order = order_of_rows(runner, self._batches)
        if order.sorted:
            warnings.warn(
                f"rows seem to be sorted: {order.between:.0%} of the variance of feature "
                f"{order.feature} is between batches. Shuffle the rows, or take larger batches, "
                "for steps that are as good as they can be",
                UserWarning,
                stacklevel=callers_level(),
            )

    def run(
        self,
        start: Any,
        *,
        previous_bound: float,
        progress: Progress[Any],
        state: Any,
        keep: Callable[[Any], None] | None,
    ) -> EMResult[Any]:
        """Iterate from a start, or go on from a state; the arguments are the loops' own."""
        mixture, family, runner = self._mixture, self._family, self._runner
        stopping = Stopping(mixture.tol, mixture.max_iter)
        watched: dict[str, Any] = {
            "monitor": self._monitor,
            "progress": progress,
            "state": state,
            "keep": keep,
        }
        if mixture.batch_size is None:
            return run_em(
                runner,
                start,
                family,
                stopping,
                previous_bound=previous_bound,
                accelerator=mixture._accelerator(family),
                annealing=self._annealing,
                reseeding=self._reseeding(),
                **watched,
            )
        if mixture.batch_method == "incremental":
            result = run_incremental(
                runner,
                start,
                family,
                stopping,
                _joined(self._batches),
                self._random_state,
                previous_bound=previous_bound,
                **watched,
            )
        else:
            result = run_epochs(
                runner,
                start,
                family,
                stopping,
                StepSizes(mixture.learning_decay, mixture.learning_offset, mixture.step_size),
                self._batches,
                self._random_state,
                **watched,
            )
        return with_last_pass(runner, family, result) if mixture.final_pass else result

    def _reseeding(self) -> Reseeding | None:
        """Return what lets components begin anew in the iterations from a start."""
        fraction = self._mixture.reseeding
        if fraction is None:
            return None
        drawn = copy.deepcopy(self._random_state)  # the starts' own draws are what they are without
        seed = int(drawn.randint(np.iinfo(np.int32).max))
        return Reseeding(self._runner, float(fraction), seed, self._annealing.n_iter)


def _joined(slices: list[slice]) -> list[slice]:
    """Return at most :data:`MOST_PARTS` slices, of as many neighbours each as can be."""
    count = min(len(slices), MOST_PARTS)
    ends = [len(slices) * part // count for part in range(count + 1)]
    return [slice(slices[first].start, slices[last - 1].stop) for first, last in pairwise(ends)]
