"""Sample weights: checked once, then float64 in C order or ``None``."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from vbfast.contract import Float64Array
from vbfast.inputs.numbers import as_numbers

# Weights whose largest is within this power of two of one are not rescaled: multiplied by
# responsibilities of 1e-30, or by squared distances, they still fit float32.
ORDINARY_EXPONENT = 20


def as_sample_weight(sample_weight: Any, n_samples: int) -> Float64Array | None:
    """Check weights of rows.

    Parameters
    ----------
    sample_weight : None, float, or array-like of shape (n_samples,)
        ``None`` means one each; a number is every row's weight.
    n_samples : int

    Returns
    -------
    ndarray of shape (n_samples,), float64, C order, aligned, or None

    Raises
    ------
    TypeError
        If the weights are complex, masked, sparse, of records or dates, or no numbers.
    ValueError
        If the shape is wrong, a weight is negative, NaN or infinite, or their sum is zero or
        overflows.

    Examples
    --------
    >>> from vbfast.inputs.weights import as_sample_weight
    >>> as_sample_weight([1, 0, 2], 3)
    array([1., 0., 2.])
    """
    if sample_weight is None:
        return None
    given = as_numbers(sample_weight, "sample_weight")
    if given.ndim == 0:
        given = np.full(n_samples, given)
    if given.shape != (n_samples,):
        raise ValueError(
            f"sample_weight.shape == {given.shape}, expected {(n_samples,)}: one weight a row of X"
        )
    with np.errstate(over="ignore", invalid="ignore"):
        weights = np.require(given, np.float64, ["C", "ALIGNED"])
        lowest, total = float(weights.min()), float(weights.sum())
    if lowest < 0:
        row = int(np.argmax(weights < 0))
        raise ValueError(
            f"Negative values in data passed to `sample_weight`: row {row} has {weights[row]}"
        )
    if not np.isfinite(total):
        finite = np.isfinite(weights)
        if finite.all():
            raise ValueError("sample_weight sums to infinity; use weights on a smaller scale")
        row = int(np.argmin(finite))
        raise ValueError(f"sample_weight must be finite; row {row} has weight {weights[row]}")
    if total == 0:
        raise ValueError("sample_weight must have a positive entry; all weights are zero")
    return weights


def of_ordinary_scale(sample_weight: Float64Array | None) -> Float64Array | None:
    """Return weights that are at least one on average, for what depends on their ratios alone.

    Smaller ones are multiplied by a power of two, which rounds nothing.

    Parameters
    ----------
    sample_weight : ndarray of shape (n_samples,), float64, or None

    Returns
    -------
    ndarray of shape (n_samples,), float64, C order, aligned, or None

    Examples
    --------
    >>> import numpy as np
    >>> from vbfast.inputs.weights import of_ordinary_scale
    >>> of_ordinary_scale(np.array([0.125, 0.375, 0.0]))
    array([0.5, 1.5, 0. ])
    """
    if sample_weight is None:
        return None
    total, n_rows = float(sample_weight.sum()), np.count_nonzero(sample_weight)
    if total >= n_rows:
        return sample_weight
    doublings = math.ceil(math.log2(n_rows) - math.log2(total))
    return np.asarray(np.ldexp(sample_weight, doublings))


def of_unit_scale(sample_weight: Float64Array | None) -> tuple[Float64Array | None, int]:
    """Return weights whose products with float32 numbers are normal, and by what they are divided.

    Weights are ``2 ** exponent`` times what is returned, exactly but for those that are too small
    beside the largest to matter. Weights of an ordinary scale are returned as they are.

    Parameters
    ----------
    sample_weight : ndarray of shape (n_samples,), float64, or None

    Returns
    -------
    weights : ndarray of shape (n_samples,), float64, C order, or None
    exponent : int
        Zero where the largest weight is within :data:`ORDINARY_EXPONENT` doublings of one.

    Examples
    --------
    >>> import numpy as np
    >>> from vbfast.inputs.weights import of_unit_scale
    >>> weights, exponent = of_unit_scale(np.array([2.0**-100, 2.0**-102, 0.0]))
    >>> weights, exponent
    (array([0.5  , 0.125, 0.   ]), -99)
    """
    if sample_weight is None:
        return None, 0
    exponent = math.frexp(float(sample_weight.max()))[1]
    if abs(exponent) <= ORDINARY_EXPONENT:
        return sample_weight, 0
    return np.ldexp(sample_weight, -exponent), exponent


def n_weighted_rows(sample_weight: Float64Array | None, n_samples: int) -> int:
    """Return the number of rows with positive weight: no more components can be seeded."""
    return n_samples if sample_weight is None else int(np.count_nonzero(sample_weight))
