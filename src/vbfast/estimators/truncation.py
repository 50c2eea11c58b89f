"""Truncated posteriors of an estimator: its parameters, its runner, and what it has learned."""

from __future__ import annotations

import copy
import os
from numbers import Integral
from typing import Any, NamedTuple

import numpy as np
from sklearn.utils._param_validation import Interval, StrOptions

from vbfast.backends import get_backend
from vbfast.contract import (
    Components,
    LogJoint,
    NotPositiveDefiniteError,
    Statistics,
    offers_truncation,
)
from vbfast.families.custom import Custom
from vbfast.families.expected_log_joint import expected_log_joint
from vbfast.families.family import Family
from vbfast.inference.runner import SearchingRunner, searches
from vbfast.passes.base_runner import BaseRunner
from vbfast.passes.chunk_runner import ChunkRunner
from vbfast.passes.runner import LocalRunner
from vbfast.passes.truncated_chunks import TruncatedChunkRunner
from vbfast.passes.truncated_runner import TruncatedRunner
from vbfast.passes.truncation import FEWEST, Truncation, saves_time

__all__ = [
    "TRUNCATION_PARAMETERS",
    "Learned",
    "bound_of_clusters",
    "runner_of_start",
    "tell_learned",
    "truncated_runner",
]

TRUNCATION_PARAMETERS: dict[str, list[Any]] = {
    "truncation": [Interval(Integral, 1, None, closed="left"), StrOptions({"auto"}), None],
    "n_neighbors": [Interval(Integral, 1, None, closed="left")],
    "n_random": [Interval(Integral, 0, None, closed="left")],
    "truncation_state": [str, os.PathLike, None],
}

# Above so many components k-means of whole posteriors would take as long as many iterations do, and
# it leaves clusters of few rows where they are.
MANY_COMPONENTS = 512
# From the seed of one batch's draws to that of the next.
BATCH_SEEDS = 1 << 32


class Learned(NamedTuple):
    """What a fit with truncated posteriors has learned beside the parameters.

    Attributes
    ----------
    neighbors : ndarray of shape (n_components, n_neighbors), int32
    n_kept : int
    bound_gap : float or None
        By how much the bound over what rows keep is below the evidence, nats a row; None where that
        was not measured.
    """

    neighbors: Components
    n_kept: int
    bound_gap: float | None = None

    @classmethod
    def of(cls, runner: SearchingRunner, log_joint: LogJoint | None = None) -> Learned | None:
        """Return what a runner has learned; None of whole posteriors.

        The gap of the bound is that under a log-joint, if given.
        """
        if runner.neighbors is None or runner.n_kept is None:
            return None
        gap = None if log_joint is None else runner.bound_gap(log_joint)
        return cls(runner.neighbors, runner.n_kept, gap)


def tell_learned(mixture: Any, learned: Learned | None) -> None:
    """Set the fitted attributes of a mixture that was asked for truncation."""
    if mixture.truncation is None:
        return
    mixture.truncation_ = None if learned is None else learned.n_kept
    if learned is not None:
        mixture.neighbors_ = learned.neighbors


def truncated_runner(
    mixture: Any,
    family: Family[Any],
    runner: BaseRunner,
    random_state: np.random.RandomState,
    n_batches: int = 0,
) -> BaseRunner:
    """Return the runner of a fit's passes: a truncated one where the mixture asks for it.

    Parameters
    ----------
    mixture : BaseMixture
        That is fitted.
    family : Family
    runner : BaseRunner
        Of whole posteriors.
    random_state : RandomState
        Whose state the components tried at random depend on. It draws nothing.
    n_batches : int
        How many batches of rows were searched before, with other draws.

    Raises
    ------
    NotImplementedError
        If the family's components, or the backend, have no truncated passes.
    """
    wanted = mixture.truncation
    n_neighbors, n_random = int(mixture.n_neighbors), int(mixture.n_random)
    if wanted == "auto":
        if n_batches > 0:
            wanted = getattr(mixture, "truncation_", None)
        elif not saves_time(mixture.n_components, FEWEST, n_neighbors, n_random):
            wanted = None
    if wanted is None:
        return runner
    if isinstance(family, Custom):
        raise NotImplementedError(
            f"truncation={mixture.truncation!r} needs Gaussian components, or others of a linear "
            f"form; got {family!r}: use truncation=None"
        )
    rules = Truncation(
        n_kept=None if wanted == "auto" else int(wanted),
        n_neighbors=n_neighbors,
        n_random=n_random,
        state=mixture.truncation_state,
        seed=_seed(random_state) + n_batches * BATCH_SEEDS,
    )
    return _truncated(runner, rules)


def runner_of_start(
    mixture: Any, runner: BaseRunner, random_state: np.random.RandomState
) -> BaseRunner:
    """Return the runner that k-means starts of whole posteriors use: of many components a search.

    Parameters
    ----------
    mixture : BaseMixture
        That is fitted. If it has ``init_size``, that is the start it asks for.
    runner : BaseRunner
        Of the fit.
    random_state : RandomState
        It draws nothing.
    """
    if (
        mixture.n_components <= MANY_COMPONENTS
        or mixture.init_size is not None
        or searches(runner)
        or not isinstance(runner, LocalRunner | ChunkRunner)
        or not offers_truncation(get_backend(runner.backend_name))
    ):
        return runner
    return _truncated(runner, Truncation(seed=_seed(random_state)))


def bound_of_clusters(family: Family[Any], runner: BaseRunner, statistics: Statistics) -> float:
    """Return the bound that a start from clusters has, but for the terms of a prior.

    Parameters
    ----------
    family : Family
    runner : BaseRunner
    statistics : Statistics
        Of rows that belong to one cluster each.

    Returns
    -------
    float
        Nats; ``-inf`` where a cluster makes no component, or the statistics do not tell.
    """
    try:
        log_joint = family.start(statistics, runner).log_joint()
    except NotPositiveDefiniteError:
        return -np.inf
    bound = expected_log_joint(statistics, log_joint, runner.linalg)
    return -np.inf if bound is None else bound


def _seed(random_state: np.random.RandomState) -> int:
    """Return a seed of a state, which stays as it is: starts draw what they would without it."""
    return int(copy.deepcopy(random_state).randint(np.iinfo(np.int32).max))


def _truncated(runner: BaseRunner, rules: Truncation) -> BaseRunner:
    if isinstance(runner, ChunkRunner):
        return TruncatedChunkRunner(runner, rules)
    assert isinstance(runner, LocalRunner)
    return TruncatedRunner(
        runner.source,
        runner.sample_weight,
        truncation=rules,
        backend=runner.backend_name,
        workspaces=runner.workspaces,
        first_row=runner.first_row,
    )
