"""Pareto-smoothed importance sampling (Vehtari, Simpson, Gelman, Yao and Gabry 2024).

The largest importance weights decide an estimate, and how fast their tail falls decides whether it
can be trusted. The tail is close to a generalised Pareto distribution; its shape k says which
moments of the weights exist (those of order below 1/k), and its quantiles make steadier weights
than the raw ones.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from vbfast.contract import Float64Array

__all__ = ["SmoothedWeights", "fit_generalised_pareto", "smooth"]

# Fewer weights than these say nothing of a tail.
SHORTEST_TAIL = 5
# Tails are flat where their logarithms agree to this part of the sums that they are differences of.
# Sums over rows that are computed in float32, under parameters that are float32, are certain of no
# more: equal weights spread by 1e-8 of them, far from the origin by 6e-7; in float64 by 1e-14.
FLAT = {np.dtype(np.float64): 1e-10, np.dtype(np.float32): 1e-6}


@dataclass(frozen=True)
class SmoothedWeights:
    """Importance weights with a smoothed tail.

    Attributes
    ----------
    log_weights : ndarray of shape (n_draws,), float64
        Not normalised, in the order of the raw ones.
    khat : float
        The estimated shape of the tail. Below 0.5 the weights have a variance and the central
        limit theorem holds; up to 0.7 the smoothed estimate is still dependable; above it needs
        impractically many draws. ``-inf`` if the tail is flat: from its threshold to its largest,
        log-weights differ by less than :data:`FLAT` of the sums that they are differences of.
        ``inf`` if there are too few draws to tell (fewer than 21).
    """

    log_weights: Float64Array
    khat: float

    def log_mean(self) -> tuple[float, float]:
        """Return the logarithm of the mean weight, and the standard error of that logarithm.

        The error is the delta method's: the standard error of the mean over the mean.

        Returns
        -------
        value, standard_error : float
            In nats. ``-inf`` and NaN if all weights are zero.
        """
        largest = self.log_weights.max()
        if largest == -np.inf:
            return -math.inf, math.nan
        relative = np.exp(self.log_weights - largest)
        mean = relative.mean()
        error = relative.std(ddof=1) / math.sqrt(len(relative)) / mean
        return float(largest + math.log(mean)), float(error)


def smooth(
    log_weights: Float64Array,
    *,
    computed_in: npt.DTypeLike = np.float64,
    magnitude: float = 1.0,
) -> SmoothedWeights:
    """Replace the largest weights by quantiles of a generalised Pareto distribution fitted to them.

    The tail is the ``M = ceil(min(0.2 S, 3 sqrt(S)))`` largest of S weights, its threshold the
    largest weight below; the z-th smallest of the tail becomes the quantile at ``(z - 1/2) / M``,
    and no weight grows beyond the largest raw one (Vehtari et al. 2024, section 2.2).

    Parameters
    ----------
    log_weights : ndarray of shape (n_draws,), float64
        ``log p(x, theta_s) - log q(theta_s)``; ``-inf`` for a weight of zero.
    computed_in : float32 or float64
        The dtype that the densities were computed in: what differs by its rounding is equal.
    magnitude : float
        Of the sums whose differences the log-weights are, nats: their rounding is in proportion,
        however much of them cancels. The largest log-weight's counts where it is larger.

    Returns
    -------
    SmoothedWeights

    Raises
    ------
    ValueError
        If there are fewer than two weights, or one is NaN or ``+inf``.

    Examples
    --------
    >>> import numpy as np
    >>> from vbfast.inference.pareto import smooth
    >>> draws = np.random.default_rng(0).exponential(size=100_000)
    >>> smoothed = smooth(draws / 2)  # weights exp(y / 2): a Pareto tail of shape 1/2
    >>> round(smoothed.khat, 1)
    0.5
    """
    raw = np.array(log_weights, dtype=np.float64)
    if raw.ndim != 1 or len(raw) < 2:
        raise ValueError(f"log_weights must be a vector of at least two; got shape {raw.shape}")
    if np.isnan(raw).any() or (raw == np.inf).any():
        raise ValueError("log_weights must be finite or -inf; got NaN or +inf")
    n_tail = math.ceil(min(0.2 * len(raw), 3.0 * math.sqrt(len(raw))))
    if n_tail < SHORTEST_TAIL:
        return SmoothedWeights(raw, math.inf)
    order = np.argsort(raw, kind="stable")
    tail = order[-n_tail:]
    threshold, largest = raw[order[-n_tail - 1]], raw[tail[-1]]
    flat = FLAT[np.dtype(computed_in)] * max(magnitude, abs(largest))
    if largest == -np.inf or largest - threshold <= flat:
        return SmoothedWeights(raw, -math.inf)
    # In units of the largest weight, which cannot overflow.
    cutoff = math.exp(threshold - largest)
    shape, scale = fit_generalised_pareto(np.exp(raw[tail] - largest) - cutoff)
    probability = (np.arange(n_tail) + 0.5) / n_tail
    quantiles = np.minimum(cutoff + _quantile(probability, shape, scale), 1.0)
    raw[tail] = largest + np.log(quantiles)
    return SmoothedWeights(raw, shape)


def fit_generalised_pareto(exceedances: Float64Array) -> tuple[float, float]:
    """Estimate shape and scale of a generalised Pareto distribution (Zhang and Stephens 2009).

    With density ``(1 + k x / sigma)^(-1 - 1/k) / sigma``, the likelihood is profiled over
    ``theta = -k / sigma``, and theta estimated by its mean under a data-dependent prior on a
    grid of ``30 + floor(sqrt(M))`` points. The shape is then drawn towards 1/2 by the weight of
    ten observations (Vehtari et al. 2024, appendix G), which steadies it for short tails.

    Parameters
    ----------
    exceedances : ndarray of shape (n_tail,), float64
        Non-negative, in increasing order, the last one positive.

    Returns
    -------
    shape, scale : float
        k and sigma.
    """
    n_tail = len(exceedances)
    n_grid = 30 + math.isqrt(n_tail)
    # Ties at the threshold would make the quartile zero, and the grid infinite.
    positive = exceedances[exceedances > 0.0]
    quartile = positive[int(len(positive) / 4 + 0.5) - 1] if len(positive) > 2 else positive[0]
    steps = 1.0 - np.sqrt(n_grid / (np.arange(n_grid) + 0.5))
    theta = 1.0 / exceedances[-1] + steps / (3.0 * quartile)
    shapes = np.log1p(-theta[:, np.newaxis] * exceedances).mean(axis=1)
    profile = n_tail * (np.log(-theta / shapes) - shapes - 1.0)
    posterior = np.exp(profile - profile.max())
    estimate = float(theta @ posterior / posterior.sum())
    shape = float(np.log1p(-estimate * exceedances).mean())
    scale = -shape / estimate
    return (n_tail * shape + 10.0 * 0.5) / (n_tail + 10.0), scale


def _quantile(probability: Float64Array, shape: float, scale: float) -> Float64Array:
    # expm1 keeps its digits as the shape goes to zero, where the limit is the exponential's.
    log_survival = np.log1p(-probability)
    if shape == 0.0:
        return -scale * log_survival
    return np.asarray(scale * np.expm1(-shape * log_survival) / shape)
