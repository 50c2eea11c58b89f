"""exp of non-positive numbers, which LLVM vectorises where a call to the C library would stop it.

exp(x) = 2^n (1 + r + r^2 q(r)) with n = round(x / ln 2) and |r| <= ln(2) / 2; ``q`` interpolates
(exp(r) - 1 - r) / r^2 at Chebyshev nodes. Relative error below 1.5 ulp, as csrc/kernels/
transcendental-inl.h, whose constants these are.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numba import types
from numba.extending import overload

__all__ = ["SMALLEST_EXPONENT", "exp_nonpositive"]

# Below, 2^n would not stay normal.
SMALLEST_EXPONENT = {np.dtype(np.float64): -707.0, np.dtype(np.float32): -86.0}

_LOG2_E = 1.4426950408889634074


def exp_nonpositive(x: Any, cutoff: Any) -> Any:
    """Return exp(x) for ``x <= 0`` of float32 or float64; zero below ``cutoff``; NaN for NaN.

    ``cutoff``, of the type of ``x``, is at least :data:`SMALLEST_EXPONENT`.
    """
    raise NotImplementedError("compiled code only")


def _exp_float64(x: Any, cutoff: Any) -> Any:
    # Adding it leaves the nearest integer in the low bits.
    rounder = 6755399441055744.0
    y = cutoff if x < cutoff else x  # in this order a NaN stays
    shifted = y * _LOG2_E + rounder
    n = shifted - rounder
    r = y - n * 0.6931471803691238
    r = r - n * 1.9082149292705877e-10
    q = r * 2.5100385495510319078e-8 + 2.7620088445409748161e-7
    q = q * r + 2.7557268459997064772e-6
    q = q * r + 0.000024801521295954375131
    q = q * r + 0.00019841269863053616878
    q = q * r + 0.0013888888917213716901
    q = q * r + 0.0083333333333300618325
    q = q * r + 0.041666666666624127873
    q = q * r + 0.16666666666666667453
    q = q * r + 0.50000000000000010221
    p = (q * (r * r) + r) + 1.0
    bits = np.float64(p).view(np.int64) + (np.float64(shifted).view(np.int64) << 52)
    return 0.0 if x < cutoff else np.int64(bits).view(np.float64)


# A Python literal would be float64, and the arithmetic with it.
_ZERO, _ONE = np.float32(0), np.float32(1)
_ROUNDER = np.float32(12582912.0)
_LOG2_E_SINGLE = np.float32(_LOG2_E)
_LN2_HIGH, _LN2_LOW = np.float32(0.693145751953125), np.float32(1.42860677e-06)
_Q4, _Q3 = np.float32(0.00139261835877), np.float32(0.00836317905272)
_Q2, _Q1, _Q0 = np.float32(0.0416665546172), np.float32(0.166665769897), np.float32(0.5)


def _exp_float32(x: Any, cutoff: Any) -> Any:
    y = cutoff if x < cutoff else x
    shifted = y * _LOG2_E_SINGLE + _ROUNDER
    n = shifted - _ROUNDER
    r = y - n * _LN2_HIGH
    r = r - n * _LN2_LOW
    q = r * _Q4 + _Q3
    q = q * r + _Q2
    q = q * r + _Q1
    q = q * r + _Q0
    p = (q * (r * r) + r) + _ONE
    exponent = np.int32(np.float32(shifted).view(np.int32) << 23)
    bits = np.int32(np.float32(p).view(np.int32) + exponent)
    return _ZERO if x < cutoff else bits.view(np.float32)


def _choose(x: Any, cutoff: Any) -> Any:  # noqa: ARG001
    return _exp_float32 if x == types.float32 else _exp_float64


overload(exp_nonpositive)(_choose)
