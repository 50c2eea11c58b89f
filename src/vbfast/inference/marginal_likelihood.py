"""The log marginal likelihood by importance sampling, with ``q(theta)`` as the proposal."""

from __future__ import annotations

import functools
from collections.abc import Callable

import numpy as np

from vbfast.arrays.functions import logsumexp
from vbfast.contract import Float64Array, LogJoint, Quadratic, Request, quadratic_form
from vbfast.families.mixture_posterior import MixturePosterior
from vbfast.families.posterior_draws import draw_mixture
from vbfast.inference.draw_monitor import DrawMonitor
from vbfast.inference.pareto import SmoothedWeights, smooth
from vbfast.inference.runner import RowRunner

__all__ = ["FEWEST_DEFAULT_DRAWS", "default_draws", "importance_weights"]

# By default as many draws as take this many multiplications, and never more or fewer than these.
WORK = 2e10
FEWEST_DEFAULT_DRAWS = 200
MOST_DEFAULT_DRAWS = 1000

# Draws whose parameters are held at once: so often are the rows read.
HELD_BYTES = 64 << 20
# Rows that are read at once.
READ_BYTES = 8 << 20
# Components of several draws that go into one pass, and rows for which their log-joints are: what
# stays in cache, and rows enough for many threads. More components fill a pass by themselves.
COMPONENTS_TOGETHER = 128
ROWS_TOGETHER = 4096


def default_draws(n_samples: int, n_components: int, n_features: int) -> int:
    """Return how many draws an estimate takes if nobody says: 200 to 1000.

    Examples
    --------
    >>> from vbfast.inference.marginal_likelihood import default_draws
    >>> default_draws(1_000, 5, 2), default_draws(100_000, 10, 4), default_draws(1_000_000, 50, 16)
    (1000, 714, 200)
    """
    work = n_samples * n_components * n_features * (n_features + 3.0)
    return int(min(MOST_DEFAULT_DRAWS, max(FEWEST_DEFAULT_DRAWS, WORK // work)))


def importance_weights(
    runner: RowRunner,
    posterior: MixturePosterior,
    n_draws: int,
    generator: np.random.RandomState,
    *,
    monitor: DrawMonitor | None = None,
) -> SmoothedWeights:
    """Weigh draws of the parameters by ``p(x, theta_s) / q(theta_s)``, Pareto-smoothed.

    The assignments are summed out. Rows are read once for as many draws as fit into
    :data:`HELD_BYTES`, and one pass over them is run with the components of several draws.

    Parameters
    ----------
    runner : RowRunner
    posterior : MixturePosterior
    n_draws : int
        At least two.
    generator : RandomState
    monitor : DrawMonitor, optional
        Told how many draws are done.

    Returns
    -------
    SmoothedWeights
        The logarithm of their mean estimates ``log p(x)``.

    Raises
    ------
    NonFiniteRowError
        If a row is not finite; the first such row.
    """
    monitor = DrawMonitor() if monitor is None else monitor
    K, D = posterior.components.means.shape
    total_weight = runner.total_weight
    # A factor, its product with the scale's, and a pass's copy of it.
    step = max(1, HELD_BYTES // (3 * 8 * K * D * (D + 1)))
    log_weights = np.empty(n_draws)
    magnitude = 0.0
    with monitor:
        for start in range(0, n_draws, step):
            draws = [
                draw_mixture(posterior, generator) for _ in range(start, min(start + step, n_draws))
            ]
            evidence = _log_evidence(
                runner,
                [draw.log_joint() for draw in draws],
                functools.partial(_report, monitor, start, len(draws)),
            )
            ratios = np.array([draw.log_ratio for draw in draws])
            log_weights[start : start + len(draws)] = evidence + ratios
            # A row's terms are of the order of a nat, whatever of them cancels, as in other units.
            terms = total_weight + np.abs(evidence) + np.abs(ratios)
            magnitude = max(magnitude, float(terms.max()))
    return smooth(log_weights, computed_in=runner.dtype, magnitude=magnitude)


def _report(monitor: DrawMonitor, first: int, n_draws: int, part: float) -> None:
    """Report a part of the work on some of the draws."""
    monitor.done(first + part * n_draws)


def _log_evidence(
    runner: RowRunner, draws: list[LogJoint], progressed: Callable[[float], None]
) -> Float64Array:
    """Return the summed log evidence under each draw, reading the rows once.

    ``progressed`` is told which part of the work is done.
    """
    K = draws[0].n_components
    together = max(1, COMPONENTS_TOGETHER // K)
    groups = [slice(first, first + together) for first in range(0, len(draws), together)]
    passes = [_joined(draws[group]) for group in groups]
    evidence = np.zeros(len(draws))
    row_bytes = runner.n_features * runner.dtype.itemsize
    step = max(ROWS_TOGETHER, READ_BYTES // row_bytes)
    for rows, part in runner.parts(step):
        for group, log_joint in zip(groups, passes, strict=True):
            evidence[group] += _evidence_of_part(part, log_joint, K)
            share = min(group.stop, len(draws)) / len(draws)
            progressed((rows.start + share * part.n_samples) / runner.n_samples)
    return evidence


def _joined(draws: list[LogJoint]) -> LogJoint:
    """Return the components of several draws as those of one log-joint."""
    if len(draws) == 1:
        return draws[0]
    return LogJoint(
        np.concatenate([draw.offset for draw in draws]),
        Quadratic(
            "full",
            np.concatenate([draw.form.centres for draw in draws]),
            np.concatenate([quadratic_form(draw).precision_cholesky for draw in draws]),
        ),
    )


def _evidence_of_part(part: RowRunner, log_joint: LogJoint, n_components: int) -> Float64Array:
    """Return the log evidence of rows in memory under each of the draws that are joined."""
    n_draws = log_joint.n_components // n_components
    if n_draws == 1:
        return np.array([part.run(log_joint, Request()).log_evidence])
    evidence = np.zeros(n_draws)
    for block, values in part.log_joint_blocks(log_joint, ROWS_TOGETHER):
        of_draws = logsumexp(values.reshape(-1, n_draws, n_components), axis=2)
        if part.sample_weight is None:
            evidence += of_draws.sum(axis=0, dtype=np.float64)
        else:
            share = part.sample_weight[block, np.newaxis]
            # A row of zero weight is skipped, also where no draw has any density.
            evidence += np.multiply(
                share, of_draws, out=np.zeros(of_draws.shape), where=share > 0.0
            ).sum(axis=0)
    return evidence
