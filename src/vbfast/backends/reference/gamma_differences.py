r"""Differences of log-gamma and digamma functions that keep their digits at large arguments.

At arguments of 1e12 log-gammas are 3e13, and of a difference that is a nat or less nothing is left.
Here what cancels is taken out on paper. With Stirling's series (Abramowitz and Stegun 1964, eq.
6.1.40 and 6.3.18)

.. math::

    \ln \Gamma(x) = (x - \tfrac12) \ln x - x + \tfrac12 \ln 2 \pi + R(x), \qquad
    R(x) = \sum_m \frac{B_{2m}}{2m (2m - 1) x^{2m-1}},

differences are functions of the arguments' ratio, which is computed from their distance. Arguments
below :data:`LEAST` are first moved up by the recurrence :math:`\Gamma(x + 1) = x \Gamma(x)`.

Everything here is elementwise on arrays that broadcast.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import numpy.typing as npt
from numpy.polynomial.polynomial import polyval
from scipy.special import digamma

from vbfast.contract import Float64Array

__all__ = [
    "digamma_less_log",
    "itakura_saito",
    "log1p_less_argument",
    "log_gamma_divergence",
    "log_gamma_increment",
    "log_ratio",
]

# From here on six terms of R are exact to rounding.
LEAST = 16
# R is 1 / x, and its derivative 1 / x^2, times these polynomials in 1 / x^2.
STIRLING = (1 / 12, -1 / 360, 1 / 1260, -1 / 1680, 1 / 1188, -691 / 360360)
DERIVATIVE = tuple(-(2 * m + 1) * c for m, c in enumerate(STIRLING))

# Up to here log(1 + x) - x would cancel; sixteen terms of its series in x / (2 + x) are exact.
NEAR = 0.5
ATANH = (0.0, *(1 / (2 * n + 1) for n in range(1, 17)))  # artanh(r) / r - 1, in r^2


@np.errstate(divide="ignore", over="ignore")
def log1p_less_argument(x: npt.ArrayLike) -> Float64Array:
    """``log(1 + x) - x``, which is about ``-x^2 / 2``.

    Parameters
    ----------
    x : array-like
        At least -1, where the value is ``-inf``.

    Returns
    -------
    ndarray, float64

    Examples
    --------
    >>> from vbfast.backends.reference.gamma_differences import log1p_less_argument
    >>> float(log1p_less_argument(1e-20))
    -5e-41
    """
    x = np.asarray(x, dtype=np.float64)
    near, inside = _near(x)
    finite = np.where(x < np.inf, x, 0.0)
    far = np.where(x < np.inf, np.log1p(finite) - finite, -np.inf)
    return _where(near, lambda: _log1p_series(inside), lambda: far)


def _log1p_series(x: Float64Array) -> Float64Array:
    """Return ``log(1 + x) - x`` of x near zero."""
    # log(1 + x) = 2 artanh(r), and 2 r - x = -x r.
    r = x / (2.0 + x)
    return np.asarray(r * (2.0 * polyval(np.square(r), ATANH) - x))


def itakura_saito(x: npt.ArrayLike, y: npt.ArrayLike, step: npt.ArrayLike) -> Float64Array:
    """``x / y - 1 - log(x / y)``, the divergence of Itakura and Saito (1968); never negative.

    Parameters
    ----------
    x, y : array-like
        Positive.
    step : array-like
        ``y - x``, which the caller may know better than by subtraction.

    Returns
    -------
    ndarray, float64
    """
    x, y, step = (np.asarray(values, dtype=np.float64) for values in (x, y, step))
    u = step / y
    near, inside = _near(u)
    return _where(near, lambda: -_log1p_series(-inside), lambda: -_log_quotient(x, y) - u)


def log_ratio(x: npt.ArrayLike, step: npt.ArrayLike) -> Float64Array:
    """``log((x + step) / x)`` for positive ``x`` and ``x + step``."""
    x, step = np.asarray(x, dtype=np.float64), np.asarray(step, dtype=np.float64)
    with np.errstate(over="ignore"):
        near, inside = _near(step / x)
    return _where(near, lambda: np.log1p(inside), lambda: _log_quotient(x + step, x))


def digamma_less_log(x: npt.ArrayLike) -> Float64Array:
    """``psi(x) - log x`` for positive ``x``, which is about ``-1 / (2 x)`` where ``x`` is large."""
    x = np.asarray(x, dtype=np.float64)
    large = np.maximum(x, float(LEAST))

    def series() -> Float64Array:
        square = np.square(1.0 / large)
        return np.asarray(-0.5 / large + polyval(square, DERIVATIVE) * square)

    return _where(x >= LEAST, series, lambda: digamma(x) - np.log(x))


@np.errstate(over="ignore")
def log_gamma_increment(x: npt.ArrayLike, step: npt.ArrayLike) -> Float64Array:
    """``log Gamma(x + step) - log Gamma(x) - step log x``: at large ``x`` ``step^2 / (2 x)``.

    Parameters
    ----------
    x, step : array-like
        ``x`` and ``x + step`` positive.

    Returns
    -------
    ndarray, float64

    Examples
    --------
    >>> from vbfast.backends.reference.gamma_differences import log_gamma_increment
    >>> f"{log_gamma_increment(1e18, 1e6):.3g}"  # of two log-gammas of 4e19
    '5e-07'
    """
    x, step = _broadcast(x, step)
    small, low, high = _moved_up(x, step)
    near, inside = _near(step / low)
    logs = log_ratio(low, step)
    # low ((1 + v) log(1 + v) - v)
    main = _where(
        near,
        lambda: low * ((1.0 + inside) * _log1p_series(inside) + inside * inside),
        lambda: high * logs - step,
    )
    result = main - 0.5 * logs + _stirling(high) - _stirling(low)
    if small.any():
        result += step * np.where(small, np.log(low) - np.log(x), 0.0)
        moved = np.where(small, log_ratio(_each_up(x), step), 0.0)
        result = np.subtract.accumulate([result, *moved])[-1]
    return np.asarray(result)


def log_gamma_divergence(x: npt.ArrayLike, step: npt.ArrayLike) -> Float64Array:
    """``log Gamma(x) - log Gamma(y) + step psi(y)`` with ``y = x + step``; never negative.

    The divergence of the convex log-gamma function (Bregman 1967), of which Kullback-Leibler
    divergences of gamma, beta, Dirichlet and Wishart distributions consist. A sum of positive
    terms: its relative error is a few roundings.

    Parameters
    ----------
    x, step : array-like
        ``x`` and ``x + step`` positive.

    Returns
    -------
    ndarray, float64

    Examples
    --------
    >>> from vbfast.backends.reference.gamma_differences import log_gamma_divergence
    >>> f"{log_gamma_divergence(1e18, 1e6):.6g}"
    '5e-07'
    """
    x, step = _broadcast(x, step)
    small, low, high = _moved_up(x, step)
    u, ratio = step / high, low / high  # ratio = 1 - u
    curved = -itakura_saito(low, high, step)
    # high ((1 - u) log(1 - u) + u), less what is left of the halves of the logarithms
    result = high * (ratio * curved + u * u) - 0.5 * curved
    result += _stirling_divergence(low, high, u)
    if small.any():
        moved = np.where(small, itakura_saito(_each_up(x), _each_up(x + step), step), 0.0)
        result = np.add.accumulate([result, *moved])[-1]
    return np.asarray(result)


def _near(x: Float64Array) -> tuple[npt.NDArray[np.bool_], Float64Array]:
    """Tell where x is near zero, and return x there and zero elsewhere."""
    near = np.abs(x) <= NEAR
    return near, np.where(near, x, 0.0)


def _where(
    condition: npt.NDArray[np.bool_],
    yes: Callable[[], Float64Array],
    no: Callable[[], Float64Array],
) -> Float64Array:
    """Choose between two functions, of which only those are called that are needed."""
    if condition.all():
        return np.asarray(yes())
    return np.asarray(np.where(condition, yes(), no()) if condition.any() else no())


def _moved_up(
    x: Float64Array, step: Float64Array
) -> tuple[npt.NDArray[np.bool_], Float64Array, Float64Array]:
    """Tell where x or x + step is below LEAST, and return both, by LEAST larger there."""
    small = np.minimum(x, x + step) < LEAST
    low = np.where(small, x + LEAST, x)
    return small, low, low + step


def _broadcast(x: npt.ArrayLike, step: npt.ArrayLike) -> tuple[Float64Array, Float64Array]:
    """Return both in float64 and one shape."""
    arrays = np.broadcast_arrays(np.asarray(x, np.float64), np.asarray(step, np.float64))
    return arrays[0], arrays[1]


def _each_up(x: Float64Array) -> Float64Array:
    """Return x, x + 1, ... on the way up by LEAST, along a first axis."""
    return np.asarray(np.add.outer(np.arange(float(LEAST)), x))


def _log_quotient(numerator: Float64Array, denominator: Float64Array) -> Float64Array:
    """Return ``log(numerator / denominator)``, also where the quotient is no normal number."""
    with np.errstate(over="ignore", under="ignore", divide="ignore"):
        quotient = numerator / denominator
        normal = (quotient > 1e-290) & (quotient < 1e290)
        logs = np.log(numerator) - np.log(denominator)
        return np.asarray(np.where(normal, np.log(quotient), logs))


def _stirling(x: Float64Array) -> Float64Array:
    """Return R(x)."""
    inverse = 1.0 / x
    return np.asarray(polyval(np.square(inverse), STIRLING) * inverse)


def _stirling_divergence(low: Float64Array, high: Float64Array, u: Float64Array) -> Float64Array:
    """Return ``R(low) - R(high) + (high - low) R'(high)``, with ``low = high (1 - u)``.

    Of ``x^-p`` that is ``high^-p u^2 sum_{j=1}^p (p - j + 1) (1 - u)^-j``.
    """
    inverse = high / low
    result = np.zeros_like(inverse)
    for m, coefficient in enumerate(STIRLING):
        p = 2 * m + 1
        powers = np.zeros_like(inverse)
        for j in range(p, 0, -1):
            powers = (powers + (p - j + 1)) * inverse
        result += coefficient * powers * high ** (-p)
    return result * np.square(u)
