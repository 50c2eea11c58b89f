"""Reading rows and weights from files."""

from __future__ import annotations

import argparse
import zipfile
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from vbfast.cli.table import Table, cell, column, note
from vbfast.cli.text import COMPRESSED, STANDARD_INPUT, TextFormat, read_text

__all__ = ["add_data_arguments", "load_rows", "load_weights", "text_format"]

ARRAYS, TEXT, HDF5 = (".npy", ".npz"), (".csv", ".tsv", ".txt"), (".h5", ".hdf5")
SUFFIXES = (*ARRAYS, ".parquet", *HDF5, *TEXT)


def add_data_arguments(parser: argparse.ArgumentParser, *, dtype: str) -> None:
    """Declare the rows, their weights, and how to read them; ``dtype`` is whose by default."""
    parser.add_argument(
        "data",
        type=Path,
        metavar="DATA",
        help=f"{', '.join(SUFFIXES)}, text also as .csv{', .csv'.join(COMPRESSED)}; - is text from "
        "standard input",
    )
    parser.add_argument("--weights", type=Path, metavar="FILE", help="one weight a row")
    parser.add_argument("--key", help="array of an .npz or HDF5 file")
    parser.add_argument(
        "--header",
        action=argparse.BooleanOptionalAction,
        help="whether the first line of a text file holds names; by default told from the lines "
        "below it",
    )
    parser.add_argument(
        "--delimiter", type=_delimiter, metavar="CHARACTER", help="of a text file; told by default"
    )
    parser.add_argument(
        "--dtype", choices=("float32", "float64"), help=f"of the computation; default {dtype}"
    )


def text_format(options: argparse.Namespace) -> TextFormat:
    """Return the options about text files."""
    return TextFormat(options.header, options.delimiter)


def _delimiter(text: str) -> str:
    text = {"\\t": "\t", "tab": "\t"}.get(text, text)
    if len(text) != 1 or text in '"\n\r#' or text.isalnum():
        raise argparse.ArgumentTypeError(f"expected one character; got {text!r}")
    return text


def load_rows(path: Path, key: str | None = None, text: TextFormat | None = None) -> Table:
    """Read a table of numbers.

    Parameters
    ----------
    path : Path
        ``.npy`` (memory-mapped), ``.npz``, ``.parquet`` (every column a number; needs pyarrow),
        ``.h5`` or ``.hdf5`` (read as the passes go; needs h5py), text (see
        :func:`~vbfast.cli.text.read_text`), or ``-`` for text from standard input.
    key : str, optional
        The array of an ``.npz`` or HDF5 file; its only one by default.
    text : TextFormat, optional

    Returns
    -------
    Table

    Raises
    ------
    ValueError
        If the kind of file is unknown or has no arrays by name though one is named, or it holds no
        table of real numbers.
    ImportError
        If pyarrow or h5py is needed and missing.
    """
    table = _load(path, key, text or TextFormat(), several="choose one with --key")
    if len(table.values.shape) != 2:
        raise ValueError(
            f"{path} has an array of shape {table.values.shape}; expected two dimensions"
        )
    return table


def load_weights(path: Path, text: TextFormat | None = None) -> npt.NDArray[np.float64]:
    """Read one weight a row, from a file of any kind that :func:`load_rows` knows.

    Raises
    ------
    ValueError
        As :func:`load_rows`, or if the array is neither one-dimensional nor a single column.
    """
    values = _load(path, None, text or TextFormat(), several="expected one array").values
    weights = np.asarray(values[:], dtype=np.float64)
    if weights.ndim == 2 and weights.shape[1] == 1:
        weights = weights[:, 0]
    if weights.ndim != 1:
        raise ValueError(f"{path} has an array of shape {weights.shape}; expected one column")
    return weights


def _load(path: Path, key: str | None, text: TextFormat, *, several: str) -> Table:
    """Read an array of real numbers; what a library says about a file gets the file's name.

    ``several`` ends the message about a file with several arrays and no ``key``.
    """
    suffix = path.suffix.lower()
    if suffix in COMPRESSED:
        suffix = path.with_suffix("").suffix.lower()
        if suffix not in TEXT:
            suffix = "compressed"
    if path == STANDARD_INPUT:
        suffix = TEXT[0]
    elif path.is_dir():
        raise IsADirectoryError(f"{path} is a folder; expected a file")
    if suffix not in SUFFIXES:
        raise ValueError(f"{path}: expected {', '.join(SUFFIXES)}; compressed only text")
    if key is not None and suffix not in (".npz", *HDF5):
        raise ValueError(
            f"{path}: --key {key} names an array of an .npz or HDF5 file, which this is not"
        )
    try:
        if suffix in TEXT:
            return read_text(path, text)
    except ValueError as error:
        raise ValueError(f"{path}: {error}") from error
    try:
        if suffix == ".parquet":
            return _load_parquet(path)
        if suffix in HDF5:
            table = Table(path, _load_hdf5(path, key, several))
        else:
            table = Table(path, _load_numpy(path, key, several))
    except (OSError, ImportError, MemoryError):
        raise
    except Exception as error:
        # A damaged file makes the libraries raise nearly anything.
        raise ValueError(f"{path}: {str(error) or type(error).__name__}") from error
    if table.values.dtype.kind not in "biuf":
        raise ValueError(
            f"{path} has an array of dtype {table.values.dtype}; expected real numbers"
        )
    return table


def _load_numpy(path: Path, key: str | None, several: str) -> npt.NDArray[Any]:
    # Whatever it does not know NumPy takes for a pickle, and advises to load it all the same.
    with path.open("rb") as file:
        archive = path.suffix.lower() == ".npz"
        known = zipfile.is_zipfile(file) if archive else file.read(6) == b"\x93NUMPY"
        if not known:
            raise ValueError("not what NumPy writes into such a file")
        if archive:
            file.seek(0)
            with np.load(file, allow_pickle=False) as arrays:
                return np.asarray(arrays[_chosen(list(arrays), key, several)])
    return np.asanyarray(np.load(path, mmap_mode="r", allow_pickle=False))


def _chosen(names: list[str], key: str | None, several: str) -> str:
    """Return the name of the array to read."""
    if key is None and len(names) != 1:
        raise ValueError(f"holds {', '.join(names) or 'no array'}; {several}")
    name = names[0] if key is None else key
    if name not in names:
        raise ValueError(f"has no array {name!r}, only {', '.join(names)}")
    return name


def _load_hdf5(path: Path, key: str | None, several: str) -> Any:
    try:
        import h5py
    except ImportError:
        raise ImportError(f"{path.suffix} files need h5py: pip install 'vbfast[hdf5]'") from None
    with path.open("rb"):
        pass  # a missing file is the system's error, not h5py's
    if not h5py.is_hdf5(path):
        raise ValueError("no HDF5 file")
    file = h5py.File(path, "r")  # stays open as long as the array is used
    names: list[str] = []
    file.visititems(
        lambda name, item: names.append(name) if isinstance(item, h5py.Dataset) else None
    )
    return file[_chosen(names, None if key is None else key.strip("/"), several)]


def _load_parquet(path: Path) -> Table:
    try:
        from pyarrow import parquet
    except ImportError:
        raise ImportError(".parquet files need pyarrow: pip install 'vbfast[parquet]'") from None
    table = parquet.read_table(path)
    frame = table.schema.pandas_metadata or {}
    index = [name for name in frame.get("index_columns", ()) if isinstance(name, str)]
    if index:
        note(f"{path}: left out {', '.join(index)}, the index of a data frame")
        table = table.drop_columns(index)
    names = tuple(table.column_names)
    if not names:
        raise ValueError("no columns")
    arrays = []
    for position, values in enumerate(table.columns):
        array = values.to_numpy()
        if values.null_count:
            row = int(np.argmax(values.is_null().to_numpy()))
            raise ValueError(f"{cell(row, position, names)}, is empty")
        if array.dtype.kind not in "biuf":
            raise ValueError(
                f"{column(position, names)}, counted from 0, is of type {values.type}, not of "
                "numbers"
            )
        arrays.append(array)
    if len(set(names)) < len(names):
        note(f"{path}: two columns have the same name; names are not kept")
    return Table(path, np.column_stack(arrays), names if len(set(names)) == len(names) else None)
