"""Iterations that a backend makes by itself, ahead of the loop in Python.

Where nobody looks at single iterations and rows are few, a backend may go from pass to pass without
coming back: see :class:`vbfast.contract.LoopingBackend`. What it does is what
:func:`vbfast.inference.em.run_em` does, to the bit.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TypeVar

import numpy as np
import numpy.typing as npt

from vbfast.contract import Float64Array, Iterated, MovedCentres, PassResult, Settling
from vbfast.families.family import Objective, Parameters, takes_steps
from vbfast.inference.convergence import SMALL
from vbfast.inference.runner import RowRunner, Runner, may_loop, searches

__all__ = ["go_ahead", "move_ahead", "seed_ahead"]

P = TypeVar("P", bound=Parameters)


def go_ahead(
    runner: Runner,
    parameters: P,
    objective: Objective[P],
    *,
    tol: float,
    max_iter: int,
    bounds: Sequence[float],
    previous_bound: float,
    previous: PassResult | None,
) -> tuple[P, Iterated] | None:
    """Make the next iterations in a backend, some milliseconds of them.

    Parameters
    ----------
    runner : Runner
    parameters : parameters
        Where the next pass begins.
    objective : Objective
    tol, max_iter : float and int
        See :class:`vbfast.inference.em.Stopping`.
    bounds : sequence of float
        Of the iterations before.
    previous_bound : float
        Before the first.
    previous : PassResult or None
        Of the iteration before.

    Returns
    -------
    parameters : parameters
        Where they have led to.
    iterated : Iterated
    None
        If the iterations are not the backend's, as it has no loops, or passes take so long that
        they would gain nothing.
    """
    if searches(runner) or not may_loop(runner) or not takes_steps(objective):
        return None
    steps = objective.steps(parameters, runner.dtype)
    if steps is None:
        return None
    iterated = runner.iterate_gaussians(
        steps,
        Settling(tol, objective.weight_of_tolerance, SMALL, previous_bound),
        most=max_iter - len(bounds),
        bounds=list(bounds),
        previous=previous,
    )
    if iterated is None:
        return None
    return objective.after(iterated.steps, parameters), iterated


def seed_ahead(
    runner: RowRunner, n_clusters: int, *, n_trials: int, quantiles: Float64Array
) -> tuple[npt.NDArray[np.intp], float] | None:
    """Choose all first centres in a backend.

    Parameters
    ----------
    runner, n_clusters, n_trials, quantiles
        See :meth:`vbfast.contract.LoopingBackend.choose_seeds`, and for what it returns. ``None``
        also if the passes are not the backend's.
    """
    if not may_loop(runner):
        return None
    return runner.choose_seeds(n_clusters, n_trials=n_trials, quantiles=quantiles)


def move_ahead(
    runner: RowRunner,
    centres: Float64Array,
    *,
    unit: float | None,
    tolerance: float,
    max_iterations: int,
    bounds: object,
) -> MovedCentres | None:
    """Make the next of Lloyd's iterations in a backend, some milliseconds of them.

    Parameters
    ----------
    runner : RowRunner
    centres, unit, tolerance, max_iterations, bounds
        As of :func:`vbfast.inference.kmeans.lloyd`.

    Returns
    -------
    MovedCentres or None
        None if the iterations are not the backend's.
    """
    # Without a unit, that of each iteration is another.
    if unit is None or not may_loop(runner):
        return None
    return runner.move_centres(
        centres, unit, tolerance=tolerance, max_iterations=max_iterations, bounds=bounds
    )
