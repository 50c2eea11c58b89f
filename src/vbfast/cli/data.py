"""Reading rows and weights from files."""

from __future__ import annotations

import argparse
import zipfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from vbfast.cli.table import Table, Tables, matched, note
from vbfast.cli.text import COMPRESSED, STANDARD_INPUT, TextFormat, read_text
from vbfast.inputs.named_arrays import chosen_name
from vbfast.passes.array_files import open_hdf5, open_zarr
from vbfast.passes.files import HDF5, open_rows
from vbfast.passes.parquet_rows import ParquetRows

__all__ = ["add_data_arguments", "load_rows", "load_tables", "load_weights", "text_format"]

TEXT = (".csv", ".tsv", ".txt")
SUFFIXES = (".npy", ".npz", ".parquet", *HDF5, ".zarr", *TEXT)


def add_data_arguments(parser: argparse.ArgumentParser, *, dtype: str) -> None:
    """Declare the rows, their weights, and how to read them; ``dtype`` is whose by default."""
    parser.add_argument(
        "data",
        type=Path,
        nargs="+",
        metavar="DATA",
        help=f"{', '.join(SUFFIXES)}, text also as .csv{', .csv'.join(COMPRESSED)}, or a folder of "
        ".parquet files; - is text from standard input. Rows of several follow one another",
    )
    parser.add_argument("--weights", type=Path, metavar="FILE", help="one weight a row")
    parser.add_argument("--key", help="array of an .npz, HDF5 or Zarr file")
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


def load_tables(
    paths: Sequence[Path],
    key: str | None = None,
    text: TextFormat | None = None,
    wanted: tuple[str, ...] | None = None,
) -> Tables:
    """Read or open the tables of files, whose rows follow one another.

    Parameters
    ----------
    paths : sequence of Path
        Files that :func:`load_rows` knows, and folders of Parquet files, in the order of their
        names.
    key, text
        As for :func:`load_rows`, of every file.
    wanted : tuple of str, optional
        Names of the columns that a model was fitted to. By default those of the first file, if it
        has names.

    Returns
    -------
    Tables
        With columns in the order of what was wanted.

    Raises
    ------
    ValueError
        As :func:`load_rows`; or if a file has other columns than the first, or is computed in
        another dtype.
    """
    files: list[Path] = []
    for path in paths:
        if path.is_dir() and path.suffix.lower() != ".zarr":
            found = sorted(path.glob("*.parquet"))
            if not found:
                raise ValueError(f"{path} is a folder without .parquet files")
            files += found
        else:
            files.append(path)
    tables = [load_rows(file, key, text) for file in files]
    owner = None if wanted is not None else files[0]
    names = tables[0].names if wanted is None else wanted
    return Tables([matched(table, names, owner) for table in tables])


def load_rows(path: Path, key: str | None = None, text: TextFormat | None = None) -> Table:
    """Read or open a table of numbers.

    Parameters
    ----------
    path : Path
        ``.npy``, ``.parquet`` (every column a number), ``.h5``, ``.hdf5`` or ``.zarr``, which are
        read as the passes go; ``.npz``, text (see :func:`~vbfast.cli.text.read_text`), or ``-`` for
        text from standard input, which are read at once.
    key : str, optional
        The array of an ``.npz``, HDF5 or Zarr file; its only one by default.
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
        If pyarrow, h5py or zarr is needed and missing.
    """
    suffix = _suffix(path, key)
    if suffix in TEXT:
        return _load_text(path, text)
    if suffix == ".parquet":
        rows = ParquetRows(path)
        left_out = ", ".join(rows.index)
        if left_out:
            note(f"{path}: left out {left_out}, the index of a data frame")
        return Table(path, rows, tuple(rows.names))
    if suffix != ".npz":
        return Table(path, open_rows(path, key=key))
    array = _load_archive(path, key, "choose one with --key")
    if array.ndim != 2:
        raise ValueError(f"{path} has an array of shape {array.shape}; expected two dimensions")
    return Table(path, array)


def load_weights(path: Path, text: TextFormat | None = None) -> npt.NDArray[np.float64]:
    """Read one weight a row, from a file of any kind that :func:`load_rows` knows.

    Raises
    ------
    ValueError
        As :func:`load_rows`, or if the array is neither one-dimensional nor a single column.
    """
    suffix = _suffix(path, None)
    if suffix in TEXT:
        values = _load_text(path, text).values
    elif suffix == ".parquet":
        rows = ParquetRows(path)
        values = rows.block(0, rows.n_samples)
    elif suffix == ".npz":
        values = _load_archive(path, None, "expected one array")
    elif suffix == ".npy":
        values = _load_array(path)
    else:
        stored = open_zarr(path, None) if suffix == ".zarr" else open_hdf5(path, None)
        values = stored[...]
    weights = np.asarray(_real(values, path), dtype=np.float64)
    if weights.ndim == 2 and weights.shape[1] == 1:
        weights = weights[:, 0]
    if weights.ndim != 1:
        raise ValueError(f"{path} has an array of shape {weights.shape}; expected one column")
    return weights


def _suffix(path: Path, key: str | None) -> str:
    """Return the ending that says of what kind a file is."""
    suffix = path.suffix.lower()
    if suffix in COMPRESSED:
        suffix = path.with_suffix("").suffix.lower()
        if suffix not in TEXT:
            suffix = "compressed"
    if path == STANDARD_INPUT:
        suffix = TEXT[0]
    elif path.is_dir() and suffix != ".zarr":
        raise IsADirectoryError(f"{path} is a folder; expected a file")
    if suffix not in SUFFIXES:
        raise ValueError(f"{path}: expected {', '.join(SUFFIXES)}; compressed only text")
    if key is not None and suffix not in (".npz", *HDF5, ".zarr"):
        raise ValueError(
            f"{path}: --key {key} names an array of an .npz, HDF5 or Zarr file, which this is not"
        )
    return suffix


def _load_text(path: Path, text: TextFormat | None) -> Table:
    try:
        return read_text(path, text or TextFormat())
    except ValueError as error:
        raise ValueError(f"{path}: {error}") from error


def _load_archive(path: Path, key: str | None, several: str) -> npt.NDArray[Any]:
    """Read an array of real numbers; ``several`` ends the message about several and no key."""
    try:
        # Whatever it does not know NumPy takes for a pickle, and advises to load it all the same.
        with path.open("rb") as file:
            if not zipfile.is_zipfile(file):
                raise ValueError("not what NumPy writes into such a file")
            file.seek(0)
            with np.load(file, allow_pickle=False) as arrays:
                array = np.asarray(arrays[chosen_name(list(arrays), key, several)])
    except (OSError, MemoryError):
        raise
    except Exception as error:  # a damaged file makes NumPy raise nearly anything
        raise ValueError(f"{path}: {str(error) or type(error).__name__}") from error
    return _real(array, path)


def _load_array(path: Path) -> npt.NDArray[Any]:
    try:
        with path.open("rb") as file:
            return np.asarray(np.lib.format.read_array(file, allow_pickle=False))
    except (OSError, MemoryError):
        raise
    except Exception as error:
        raise ValueError(f"{path}: not what NumPy writes into such a file: {error}") from error


def _real(array: npt.NDArray[Any], path: Path) -> npt.NDArray[Any]:
    if array.dtype.kind not in "biuf":
        raise ValueError(f"{path} has an array of dtype {array.dtype}; expected real numbers")
    return array
