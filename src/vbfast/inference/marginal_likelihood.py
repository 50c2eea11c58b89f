"""The log marginal likelihood by importance sampling, with ``q(theta)`` as the proposal."""

from __future__ import annotations

import numpy as np

from vbfast.engine.contract import Float64Array, Request
from vbfast.engine.engine import new_workspace, run_pass
from vbfast.engine.rows import RowSource
from vbfast.families.posterior_draws import draw_mixture
from vbfast.families.variational import MixturePosterior
from vbfast.inference.pareto import SmoothedWeights, smooth

__all__ = ["importance_weights"]


def importance_weights(
    source: RowSource,
    posterior: MixturePosterior,
    n_draws: int,
    generator: np.random.RandomState,
    *,
    sample_weight: Float64Array | None = None,
) -> SmoothedWeights:
    """Weigh draws of the parameters by ``p(x, theta_s) / q(theta_s)``, Pareto-smoothed.

    A draw is evaluated by one pass, which sums the assignments out. A batch of draws in one pass
    would do the same arithmetic, as every draw has its own distances, and save the overhead of
    passes alone.

    Parameters
    ----------
    source : RowSource
    posterior : MixturePosterior
    n_draws : int
        At least two.
    generator : RandomState
    sample_weight : ndarray of shape (n_samples,), float64, optional

    Returns
    -------
    SmoothedWeights
        The logarithm of their mean estimates ``log p(x)``.

    Raises
    ------
    NonFiniteRowError
        If a row is not finite; the first such row.
    """
    workspace = new_workspace()
    log_weights = np.empty(n_draws)
    magnitude = 0.0
    for s in range(n_draws):
        draw = draw_mixture(posterior, generator)
        sums = run_pass(
            source,
            draw.kernel_params(),
            Request(),
            sample_weight=sample_weight,
            workspace=workspace,
        )
        log_weights[s] = sums.log_evidence + draw.log_ratio
        # A row's terms are of the order of a nat, whatever of them cancels, as in other units.
        terms = sums.total_weight + abs(sums.log_evidence) + abs(draw.log_ratio)
        magnitude = max(magnitude, terms)
    return smooth(log_weights, computed_in=source.dtype, magnitude=magnitude)
