"""The temperatures of a fit's iterations, as an estimator's parameter says."""

from __future__ import annotations

from typing import Any

import numpy as np

from vbfast.inference.annealing import Annealing
from vbfast.inputs.numbers import as_numbers

__all__ = ["annealing_of"]


def annealing_of(mixture: Any) -> Annealing:
    """Return the temperatures that a mixture asks for.

    Raises
    ------
    TypeError
        If ``annealing`` has no real numbers.
    ValueError
        If they are no sequence, or not in (0, 1].
    """
    if mixture.annealing is None:
        return Annealing()
    given = as_numbers(mixture.annealing, "annealing")
    if given.ndim != 1:
        raise ValueError(f"annealing must be a sequence of numbers; got shape {given.shape}")
    inverse = given.astype(np.float64)
    outside = ~((inverse > 0.0) & (inverse <= 1.0))
    if outside.any():
        raise ValueError(
            "annealing must have inverse temperatures above 0 and up to 1; got "
            f"{inverse[outside][0]}"
        )
    return Annealing(inverse.tolist())
