"""Arrays that a caller gives to be filled."""

from __future__ import annotations

from typing import Any

import numpy as np

from vbfast import _vbfast

__all__ = ["check_out"]


def check_out(out: Any, shape: tuple[int, ...], dtype: np.dtype[Any], name: str) -> None:
    """Check an array that a result of a shape and dtype goes to.

    Raises
    ------
    TypeError
        If it is not an array.
    ValueError
        If it has another shape or dtype, or cannot be written to.
    """
    _vbfast.check_out(out, shape, dtype, name)
