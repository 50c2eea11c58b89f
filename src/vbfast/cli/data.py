"""Reading rows and weights from files."""

from __future__ import annotations

import zipfile
import zlib
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

__all__ = ["BROKEN_ARCHIVE", "check_writable", "load_rows", "load_weights"]

SUFFIXES = (".npy", ".npz", ".csv", ".parquet")
# What reading a damaged .npz file raises, beside ValueError.
BROKEN_ARCHIVE = (zipfile.BadZipFile, zlib.error)


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
        If the kind of file is unknown or has no arrays by name though one is named, or it holds no
        table of real numbers.
    ImportError
        If pyarrow is needed and missing.
    """
    rows = _load(path, key, several="choose one with --key")
    if rows.ndim != 2:
        raise ValueError(f"{path} has an array of shape {rows.shape}; expected two dimensions")
    return rows


def load_weights(path: Path) -> npt.NDArray[np.float64]:
    """Read one weight a row, from a file of any kind that :func:`load_rows` knows.

    Raises
    ------
    ValueError
        As :func:`load_rows`, or if the array is neither one-dimensional nor a single column.
    """
    weights = _load(path, None, several="expected one array")
    if weights.ndim == 2 and weights.shape[1] == 1:
        weights = weights[:, 0]
    if weights.ndim != 1:
        raise ValueError(f"{path} has an array of shape {weights.shape}; expected one column")
    return np.asarray(weights, dtype=np.float64)


def check_writable(path: Path | None, *inputs: Path | None) -> None:
    """Check that a file can be written where it is to go, before the work that it will hold.

    Raises
    ------
    OSError
        If its folder does not exist, or it is one itself.
    ValueError
        If it is one of the inputs, which may be read from the file as the passes go.
    """
    if path is None:
        return
    if path.is_dir():
        raise IsADirectoryError(f"cannot write {path}: it is a folder")
    if not path.absolute().parent.is_dir():
        raise FileNotFoundError(f"cannot write {path}: there is no folder {path.absolute().parent}")
    for given in inputs:
        if given is not None and given.exists() and path.exists() and path.samefile(given):
            raise ValueError(f"cannot write {path}: it is what is to be read")


def _load(path: Path, key: str | None, *, several: str) -> npt.NDArray[Any]:
    """Read an array of real numbers; what a library says about a file gets the file's name.

    ``several`` is what to say of an ``.npz`` file with more than one array and no ``key``.
    """
    suffix = path.suffix.lower()
    if suffix not in SUFFIXES:
        raise ValueError(f"{path}: expected .npy, .npz, .csv or .parquet")
    if key is not None and suffix != ".npz":
        raise ValueError(f"{path}: --key {key} names an array of an .npz file, which this is not")
    try:
        if suffix == ".csv":
            array = _load_csv(path)
        elif suffix == ".parquet":
            array = _load_parquet(path)
        else:
            array = _load_numpy(path, key, several)
    except (ValueError, TypeError, *BROKEN_ARCHIVE) as error:
        raise ValueError(f"{path}: {error}") from error
    if array.dtype.kind not in "biuf":
        raise ValueError(f"{path} has an array of dtype {array.dtype}; expected real numbers")
    return array


def _load_numpy(path: Path, key: str | None, several: str) -> npt.NDArray[Any]:
    # Whatever it does not know NumPy takes for a pickle, and advises to load it all the same.
    with path.open("rb") as file:
        archive = path.suffix.lower() == ".npz"
        known = zipfile.is_zipfile(file) if archive else file.read(6) == b"\x93NUMPY"
    if not known:
        raise ValueError("not what NumPy writes into such a file")
    if archive:
        with np.load(path, allow_pickle=False) as arrays:
            names = list(arrays)
            if key is None and len(names) != 1:
                raise ValueError(f"holds {', '.join(names) or 'no array'}; {several}")
            name = names[0] if key is None else key
            if name not in names:
                raise ValueError(f"has no array {name!r}, only {', '.join(names)}")
            return np.asarray(arrays[name])
    return np.asanyarray(np.load(path, mmap_mode="r", allow_pickle=False))


def _load_csv(path: Path) -> npt.NDArray[np.float64]:
    # Spreadsheets begin a file with a byte order mark, which would make a name of a number.
    encoding = "utf-8-sig"
    with path.open(encoding=encoding) as file:
        numbered = ((number, line) for number, line in enumerate(file) if line.strip())
        number, first = next(numbered, (0, ""))
        names = not any(map(_is_number, first.split(",")))
        if names and next(numbered, None) is None:
            raise ValueError("no rows")
    skipped = number + 1 if names else 0
    return np.loadtxt(path, delimiter=",", ndmin=2, skiprows=skipped, encoding=encoding)


def _load_parquet(path: Path) -> npt.NDArray[Any]:
    try:
        from pyarrow import parquet
    except ImportError:
        raise ImportError(".parquet files need pyarrow: pip install 'vbfast[parquet]'") from None
    table = parquet.read_table(path)
    columns = dict(zip(table.column_names, table.columns, strict=True))
    arrays = {name: column.to_numpy() for name, column in columns.items()}
    for name, array in arrays.items():
        if array.dtype.kind not in "biuf":
            raise ValueError(f"column {name} is of type {columns[name].type}, not of numbers")
    return np.column_stack(list(arrays.values()))


def _is_number(field: str) -> bool:
    try:
        float(field)
    except ValueError:
        return False
    return True
