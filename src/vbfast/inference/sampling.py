"""Draws from a fitted mixture."""

from __future__ import annotations

from typing import TypeVar

import numpy as np
import numpy.typing as npt

from vbfast.contract import Float64Array
from vbfast.families.family import Family, Parameters

__all__ = ["draw_rows"]

P = TypeVar("P", bound=Parameters)

# How far from one the weights of multinomial draws may sum; rounded to float32 they may be beyond.
TOLERATED = 1e-12


def draw_rows(
    family: Family[P],
    parameters: P,
    weights: Float64Array,
    n_samples: int,
    random_state: np.random.RandomState,
) -> tuple[Float64Array, npt.NDArray[np.int64]]:
    """Draw rows, ordered by component.

    Parameters
    ----------
    family : Family
    parameters : parameters
    weights : ndarray of shape (n_components,)
    n_samples : int
        At least one.
    random_state : RandomState
        What is taken from it is what scikit-learn takes.

    Returns
    -------
    X : ndarray of shape (n_samples, n_features)
    y : ndarray of shape (n_samples,)
        The components that the rows were drawn from.
    """
    total = weights.sum()
    if abs(total - 1.0) > TOLERATED:
        weights = weights / total
    counts = random_state.multinomial(n_samples, weights)
    rows = family.draw(parameters, counts, random_state)
    return rows, np.repeat(np.arange(len(counts)), counts)
