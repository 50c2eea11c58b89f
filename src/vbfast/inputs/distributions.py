"""How far from one the sum of a distribution may be: rounding, and not a mistake."""

from __future__ import annotations

import functools

import numpy as np
import numpy.typing as npt

from vbfast import _vbfast

__all__ = ["sum_tolerance"]


@functools.cache  # short calls of array functions ask, too
def sum_tolerance(dtype: npt.DTypeLike) -> float:
    """Return how far from one probabilities of a dtype may sum; within, they are renormalised.

    The numbers are those of the native array functions and of the C functions.

    Parameters
    ----------
    dtype : a floating dtype

    Returns
    -------
    float
        1e-3 for what float32 has computed, 1e-6 for wider types: what has passed through float32
        is within that.

    Examples
    --------
    >>> from vbfast.inputs.distributions import sum_tolerance
    >>> sum_tolerance("float32"), sum_tolerance("float64")
    (0.001, 1e-06)
    """
    single = np.finfo(dtype).eps >= np.finfo(np.float32).eps
    return _vbfast.SUM_TOLERANCES["float32" if single else "float64"]
