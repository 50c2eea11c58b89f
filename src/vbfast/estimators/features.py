"""Features that a user names: columns by number, by name, or as truth values."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

__all__ = ["feature_indices"]


def feature_indices(
    features: Any, n_features: int, names: npt.NDArray[Any] | None
) -> npt.NDArray[np.intp]:
    """Return the columns that features stand for.

    Parameters
    ----------
    features : int, str, or array-like of one dimension
        Columns, counted from the end where they are negative; names, which ``names`` has; or a
        truth value for each column.
    n_features : int
    names : ndarray of shape (n_features,) or None

    Returns
    -------
    ndarray of shape (n_chosen,), intp
        Distinct, in the order given.

    Raises
    ------
    TypeError
        If they are none of these.
    ValueError
        If there are none, one is unknown, or one stands there twice.
    """
    try:
        chosen = np.atleast_1d(np.asarray(features))
    except ValueError as error:
        raise TypeError(f"features must be columns or their names; got {features!r}") from error
    if chosen.shape == (0,):
        raise ValueError("features must have at least one")
    if chosen.ndim != 1 or chosen.dtype.kind not in "iubUOT":
        raise TypeError(f"features must be columns or their names; got {features!r}")
    if chosen.dtype.kind == "b":
        if len(chosen) != n_features:
            raise ValueError(f"features has {len(chosen)} truth values for {n_features} features")
        chosen = np.flatnonzero(chosen)
    elif chosen.dtype.kind in "UOT":
        chosen = np.array([_index(name, names) for name in chosen.tolist()], dtype=np.intp)
    if len(chosen) == 0:
        raise ValueError("features must have at least one")
    chosen = chosen.astype(np.intp)
    unknown = chosen[(chosen < -n_features) | (chosen >= n_features)]
    if len(unknown) > 0:
        raise ValueError(f"features must be in {-n_features}..{n_features - 1}; got {unknown[0]}")
    indices = np.asarray(chosen % n_features, dtype=np.intp)
    if len(np.unique(indices)) < len(indices):
        raise ValueError(f"features must be distinct; got {features!r}")
    return indices


def _index(name: Any, names: npt.NDArray[Any] | None) -> int:
    if not isinstance(name, str):
        raise TypeError(f"features must be columns or their names; got {name!r}")
    if names is None:
        raise ValueError(
            "features must be columns where the mixture was fitted to rows without feature names; "
            f"got {name!r}"
        )
    found = np.flatnonzero(names == name)
    if len(found) == 0:
        raise ValueError(f"{name!r} is none of the features {', '.join(names)}")
    return int(found[0])
