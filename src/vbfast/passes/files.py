"""Rows that lie in files, by path.

They are read and not mapped: a file that has become shorter is an error then, and not the end of
the process.
"""

from __future__ import annotations

import os
import threading
import weakref
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from vbfast.contract import RowSource
from vbfast.inputs.numbers import claimed_dtype, claimed_shape
from vbfast.passes.array_files import open_hdf5, open_zarr
from vbfast.passes.array_rows import SlicedRows
from vbfast.passes.chunks import ChunkRows
from vbfast.passes.parquet_rows import ParquetRows

__all__ = ["is_row_path", "open_rows"]

HDF5 = (".h5", ".hdf5")
SUFFIXES = (".npy", ".parquet", *HDF5, ".zarr")


def is_row_path(X: Any) -> bool:
    """Whether X is the path of a file or folder of rows, see :func:`open_rows`."""
    if not isinstance(X, str | os.PathLike):
        return False
    path = Path(X)
    return path.suffix.lower() in SUFFIXES or path.is_dir()


def open_rows(
    path: str | os.PathLike[str],
    columns: Sequence[str] | None = None,
    *,
    key: str | None = None,
) -> RowSource:
    """Return the rows of a file, or of all Parquet files of a folder, to be fitted and scored.

    Parameters
    ----------
    path : str or path
        A ``.npy`` file; a ``.parquet`` file of columns of numbers (needs pyarrow); a folder of the
        latter, in the order of their names; an ``.h5`` or ``.hdf5`` file (needs h5py); or a
        ``.zarr`` folder (needs zarr). Arrays are two-dimensional.
    columns : sequence of str, optional
        Those of a Parquet file that are features, in their order. By default all but the index of
        a data frame.
    key : str, optional
        The array of an HDF5 file or Zarr group, as ``"group/rows"``. By default its only one.

    Returns
    -------
    RowSource
        float32 if all columns are, else float64. It is read as the passes go: of a ``.npy`` file a
        few megabytes at a time, of a Parquet file a row group, of HDF5 and Zarr whole chunks, each
        once a pass.

    Raises
    ------
    OSError
        If there is no such file, or none in the folder.
    ValueError
        If it is of another kind, or holds no table of real numbers, or several and no ``key`` says
        which.
    ImportError
        If a package that it needs is missing (extras ``parquet``, ``hdf5`` and ``zarr``).

    Examples
    --------
    >>> import tempfile
    >>> from pathlib import Path
    >>> import numpy as np
    >>> import vbfast
    >>> X = np.random.default_rng(0).normal(size=(1000, 3))
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     np.save(Path(folder) / "rows.npy", X)
    ...     rows = vbfast.open_rows(Path(folder) / "rows.npy")
    ...     mixture = vbfast.GaussianMixture(2, random_state=0).fit(rows)
    >>> rows.n_samples, rows.n_features
    (1000, 3)
    """
    path = Path(path)
    suffix = path.suffix.lower()
    if key is not None and suffix not in (*HDF5, ".zarr"):
        raise ValueError(f"{path}: key {key!r} is of an array in an HDF5 file or a Zarr group")
    if suffix == ".parquet" and not path.is_dir():
        return ParquetRows(path, columns)
    if path.is_dir() and suffix != ".zarr":
        files = sorted(path.glob("*.parquet"))
        if not files:
            raise FileNotFoundError(f"{path} has no .parquet files")
        sources = [ParquetRows(file, columns) for file in files]
        return ChunkRows(sources, [str(file) for file in files])
    if suffix not in SUFFIXES:
        raise ValueError(f"{path}: expected {', '.join(SUFFIXES)} or a folder of .parquet files")
    if columns is not None:
        raise ValueError(f"{path}: columns of a {suffix} file have no names")
    if suffix == ".zarr":
        return _FileRows(open_zarr(path, key), path)
    return _FileRows(_NumpyArray(path) if suffix == ".npy" else open_hdf5(path, key), path)


class _FileRows(SlicedRows):
    """Rows of an array in a file, of which slices are read."""

    def __init__(self, array: Any, path: Path) -> None:
        shape, dtype = claimed_shape(array, "X"), claimed_dtype(array, "X")
        if len(shape) != 2:
            raise ValueError(f"{path} has an array of shape {shape}; expected two dimensions")
        if dtype.kind not in "biuf":
            found = "Python objects" if dtype.hasobject else f"dtype {dtype}"
            raise ValueError(f"{path} has an array of {found}; expected real numbers")
        super().__init__(array)
        self._path = path

    def place_of(self, row: int) -> str:
        """Return where a row lies, for messages."""
        return f"row {row} of {self._path}"


class _NumpyArray:
    """An array in a ``.npy`` file, of which slices of rows are read."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._file, self._lock = path.open("rb", buffering=0), threading.Lock()
        weakref.finalize(self, self._file.close)
        try:
            version = np.lib.format.read_magic(self._file)
            read = {
                (1, 0): np.lib.format.read_array_header_1_0,
                (2, 0): np.lib.format.read_array_header_2_0,
            }[version]
            self.shape, self._in_columns, self.dtype = read(self._file)
        except OSError:
            raise
        except Exception as error:  # of many kinds, where a file is damaged
            raise ValueError(f"{path} is not what NumPy writes into such a file") from error
        if len(self.shape) != 2 or min(self.shape) < 0:
            raise ValueError(f"{path} has an array of shape {self.shape}; expected two dimensions")
        self._offset = self._file.tell()
        self._check_length()

    def __getitem__(self, rows: slice) -> npt.NDArray[Any]:
        """Read rows."""
        n_rows, (n_samples, n_features) = rows.stop - rows.start, self.shape
        if not self._in_columns:
            block = np.empty((n_rows, n_features), self.dtype)
            self._read(rows.start * n_features, block)
            return block
        columns = np.empty((n_features, n_rows), self.dtype)
        for column in range(n_features):
            self._read(column * n_samples + rows.start, columns[column])
        return columns.T

    def _read(self, first: int, values: npt.NDArray[Any]) -> None:
        """Fill an array with numbers of the file, from the first on."""
        left = memoryview(values.reshape(-1).view(np.uint8).data)
        with self._lock:
            self._file.seek(self._offset + first * self.dtype.itemsize)
            while len(left) > 0:
                got = self._file.readinto(left)
                if not got:
                    self._check_length()
                    raise OSError(f"{self._path} could not be read to its end")
                left = left[got:]

    def _check_length(self) -> None:
        found = os.fstat(self._file.fileno()).st_size - self._offset
        row_bytes = self.shape[1] * self.dtype.itemsize
        if found < self.shape[0] * row_bytes:
            raise ValueError(
                f"{self._path} has {found // max(1, row_bytes)} rows; its header says "
                f"{self.shape[0]}"
            )
