"""What a model file holds of truncated posteriors: the neighbours of components, and their cost."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

__all__ = ["neighbor_arrays", "restore_neighbors"]

Arrays = dict[str, npt.NDArray[Any]]

_KEY, _KEPT, _GAP = "neighbors", "n_kept", "bound_gap"


def neighbor_arrays(model: Any) -> Arrays:
    """Return ``neighbors``, ``n_kept`` and ``bound_gap`` of a mixture that has them."""
    arrays: Arrays = {}
    if hasattr(model, "bound_gap_"):
        arrays[_GAP] = np.asarray(model.bound_gap_)
    if hasattr(model, "neighbors_"):
        arrays |= {_KEY: model.neighbors_, _KEPT: np.asarray(model.truncation_)}
    return arrays


def restore_neighbors(arrays: Arrays, model: Any) -> None:
    """Give a mixture the neighbours that a file holds, if it does.

    Raises
    ------
    ValueError
        If they are none of its components, or the gap of its bound is none.
    """
    if _GAP in arrays:
        gap = arrays[_GAP]
        if gap.dtype.kind != "f" or gap.shape != () or gap < 0.0:
            raise ValueError("bound_gap must be a number that is not negative")
        model.bound_gap_ = gap.item()
    if model.truncation is not None:
        model.truncation_ = None
    if _KEY not in arrays:
        return
    neighbors, K = arrays[_KEY], len(model.weights_)
    if neighbors.dtype.kind != "i" or neighbors.ndim != 2 or len(neighbors) != K:
        raise ValueError(
            f"neighbors has shape {neighbors.shape} and dtype {neighbors.dtype}; expected integers "
            f"of shape ({K}, n_neighbors)"
        )
    if neighbors.shape[1] == 0 or neighbors.min() < -1 or neighbors.max() >= K:
        raise ValueError(f"neighbors must be in -1..{K - 1}, and one at least a component")
    if model.truncation is None:
        raise ValueError("neighbors without truncation among the parameters")
    n_kept = arrays.get(_KEPT, np.zeros(0))
    if n_kept.dtype.kind not in "iu" or n_kept.shape != () or n_kept < 1:
        raise ValueError("n_kept must be a positive integer")
    model.truncation_ = n_kept.item()
    model.neighbors_ = np.ascontiguousarray(neighbors, dtype=np.int32)
