"""Reading rows and weights from files."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

__all__ = ["load_rows", "load_weights"]


def load_rows(path: Path, key: str | None = None) -> npt.NDArray[Any]:
    """Read a table of numbers.

    Parameters
    ----------
    path : Path
        ``.npy`` (memory-mapped), ``.npz``, ``.csv`` (commas, at most one line of names) or
        ``.parquet`` (every column a number; needs pyarrow).
    key : str, optional
        The array of an ``.npz`` file; its only one by default.

    Returns
    -------
    ndarray of shape (n_samples, n_features)

    Raises
    ------
    ValueError
        If the kind of file is unknown or it holds no table.
    ImportError
        If pyarrow is needed and missing.
    """
    suffix = path.suffix.lower()
    if suffix == ".npy":
        rows = np.load(path, mmap_mode="r", allow_pickle=False)
    elif suffix == ".npz":
        with np.load(path, allow_pickle=False) as archive:
            names = list(archive)
            if key is None and len(names) != 1:
                raise ValueError(f"{path} holds {', '.join(names)}; choose one with --key")
            name = names[0] if key is None else key
            if name not in names:
                raise ValueError(f"{path} has no array {name!r}, only {', '.join(names)}")
            rows = archive[name]
    elif suffix == ".csv":
        with path.open() as file:
            header = not _numeric(file.readline())
        rows = np.loadtxt(path, delimiter=",", skiprows=int(header), ndmin=2)
    elif suffix == ".parquet":
        try:
            from pyarrow import parquet
        except ImportError:
            raise ImportError(
                ".parquet files need pyarrow: pip install 'vbfast[parquet]'"
            ) from None
        table = parquet.read_table(path)
        rows = np.column_stack([column.to_numpy() for column in table.columns])
    else:
        raise ValueError(f"{path}: expected .npy, .npz, .csv or .parquet")
    if rows.ndim != 2:
        raise ValueError(f"{path} has an array of shape {rows.shape}; expected two dimensions")
    return np.asanyarray(rows)


def load_weights(path: Path) -> npt.NDArray[np.float64]:
    """Read one weight a row, from a file of any kind that :func:`load_rows` knows."""
    if path.suffix.lower() == ".npy":
        weights = np.load(path, allow_pickle=False)
    else:
        weights = load_rows(path)
    return np.asarray(weights, dtype=np.float64).reshape(-1)


def _numeric(line: str) -> bool:
    try:
        [float(field) for field in line.split(",")]
    except ValueError:
        return False
    return True
