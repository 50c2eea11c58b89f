"""Rows that lie in files, of NumPy and Parquet, by path.

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

from vbfast.contract import FloatArray, RowSource
from vbfast.optional import needed
from vbfast.passes.array_rows import SlicedRows
from vbfast.passes.chunks import ChunkRows

__all__ = ["is_row_path", "open_rows"]


def is_row_path(X: Any) -> bool:
    """Whether X is the path of a ``.npy`` or Parquet file, or of a folder."""
    if not isinstance(X, str | os.PathLike):
        return False
    path = Path(X)
    return path.suffix.lower() in (".npy", ".parquet") or path.is_dir()


def open_rows(path: str | os.PathLike[str], columns: Sequence[str] | None = None) -> RowSource:
    """Return the rows of a file, or of all Parquet files of a folder, to be fitted and scored.

    Parameters
    ----------
    path : str or path
        A ``.npy`` file of a two-dimensional array in C order; a ``.parquet`` file of columns of
        numbers (needs pyarrow); or a folder of the latter, in the order of their names.
    columns : sequence of str, optional
        Those of a Parquet file that are features, in their order. By default all but the index of
        a data frame.

    Returns
    -------
    RowSource
        float32 if all columns are, else float64. It is read as the passes go: of a ``.npy`` file a
        few megabytes at a time, of a Parquet file a row group.

    Raises
    ------
    OSError
        If there is no such file, or none in the folder.
    ValueError
        If it is of another kind, or holds no table of real numbers.
    ImportError
        If pyarrow is needed and missing (extra ``parquet``).

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
    if path.is_dir():
        files = sorted(path.glob("*.parquet"))
        if not files:
            raise FileNotFoundError(f"{path} has no .parquet files")
        return ChunkRows([_parquet(file, columns) for file in files], [str(file) for file in files])
    if path.suffix.lower() == ".parquet":
        return _parquet(path, columns)
    if path.suffix.lower() != ".npy":
        raise ValueError(f"{path}: expected .npy, .parquet, or a folder of the latter")
    if columns is not None:
        raise ValueError(f"{path}: columns of a .npy file have no names")
    return _FileRows(_NumpyArray(path))


class _FileRows(SlicedRows):
    """Rows read from a file."""

    reads_ahead = True

    def place_of(self, row: int) -> str:
        """Return where a row lies, for messages."""
        return f"row {row} of {self.data.name}"


class _NumpyArray:
    """A two-dimensional array in a ``.npy`` file, of which slices are read."""

    def __init__(self, path: Path) -> None:
        self.path = self.name = path
        self._file, self._lock = path.open("rb", buffering=0), threading.Lock()
        weakref.finalize(self, self._file.close)
        try:
            version = np.lib.format.read_magic(self._file)
            read = {
                (1, 0): np.lib.format.read_array_header_1_0,
                (2, 0): np.lib.format.read_array_header_2_0,
            }[version]
            self.shape, in_columns, self.dtype = read(self._file)
        except (ValueError, KeyError) as error:
            raise ValueError(f"{path} is not what NumPy writes into such a file") from error
        if len(self.shape) != 2:
            raise ValueError(f"{path} has an array of shape {self.shape}; expected two dimensions")
        if in_columns:
            raise ValueError(
                f"{path} is in Fortran order, so that its rows lie apart: save a C-ordered copy"
            )
        if self.dtype.hasobject:
            raise ValueError(f"{path} has an array of Python objects; expected real numbers")
        self._offset = self._file.tell()
        self._row_bytes = self.shape[1] * self.dtype.itemsize
        self._check_length(self.shape[0])

    def __getitem__(self, rows: slice) -> npt.NDArray[Any]:
        """Read rows."""
        count = rows.stop - rows.start
        memory = np.empty(count * self._row_bytes, np.uint8)
        left = memoryview(memory.data)
        with self._lock:
            self._file.seek(self._offset + rows.start * self._row_bytes)
            while len(left) > 0:
                got = self._file.readinto(left)
                if not got:
                    self._check_length(rows.stop)
                    raise OSError(f"{self.path} could not be read to its end")
                left = left[got:]
        return memory.view(self.dtype).reshape(count, self.shape[1])

    def _check_length(self, n_rows: int) -> None:
        found = os.fstat(self._file.fileno()).st_size - self._offset
        if found < n_rows * self._row_bytes:
            raise ValueError(
                f"{self.path} has {found // max(1, self._row_bytes)} rows; its header says "
                f"{self.shape[0]}"
            )


def _parquet(path: Path, columns: Sequence[str] | None) -> ChunkRows:
    """Return the rows of a Parquet file, a chunk for each of its row groups."""
    with needed("pyarrow", by=".parquet files"):
        from pyarrow import parquet
    with path.open("rb"):
        pass  # a missing file is the system's error
    try:
        file = parquet.ParquetFile(path)
    except Exception as error:  # a damaged file makes pyarrow raise nearly anything
        raise ValueError(f"{path}: {error}") from error
    schema = file.schema_arrow
    frame = schema.pandas_metadata or {}
    index = [name for name in frame.get("index_columns", ()) if isinstance(name, str)]
    names = [name for name in schema.names if name not in index] if columns is None else [*columns]
    table = _ParquetTable(path, file, names)
    groups = [_RowGroup(table, number) for number in range(file.num_row_groups)]
    groups = [group for group in groups if group.shape[0] > 0]
    if not groups:
        raise ValueError(f"{path} has no rows")
    return ChunkRows([_FileRows(group) for group in groups], [group.name for group in groups])


class _ParquetTable:
    """Columns of numbers of a Parquet file. The row group that was decoded last is kept."""

    def __init__(self, path: Path, file: Any, names: list[str]) -> None:
        self.path, self.names, self.file = path, names, file
        schema, dtypes = file.schema_arrow, []
        if not names:
            raise ValueError(f"{path} has no columns")
        for name in names:
            if schema.names.count(name) != 1:
                found = "two columns" if name in schema.names else "no column"
                raise ValueError(
                    f"{path} has {found} named {name!r}; it has {', '.join(schema.names)}"
                )
            kind = schema.field(name).type
            try:
                dtypes.append(np.dtype(kind.to_pandas_dtype()))
            except NotImplementedError:
                dtypes.append(np.dtype(object))
            if dtypes[-1].kind not in "biuf":
                raise ValueError(f"{path}: column {name!r} is of type {kind}, not of numbers")
        single = all(dtype == np.float32 for dtype in dtypes)
        self.dtype = np.dtype(np.float32 if single else np.float64)
        self._kept: tuple[int, FloatArray] | None = None
        self._lock = threading.Lock()

    def group(self, number: int) -> FloatArray:
        """Return the rows of a group."""
        with self._lock:
            if self._kept is None or self._kept[0] != number:
                self._kept = None  # of the former, the memory
                self._kept = number, self._decoded(number)
            return self._kept[1]

    def _decoded(self, number: int) -> FloatArray:
        table = self.file.read_row_group(number, columns=self.names, use_threads=False)
        array = np.empty((table.num_rows, len(self.names)), self.dtype)
        for column, name in enumerate(self.names):
            values = table.column(name)
            if values.null_count:
                row = int(np.argmax(values.is_null().to_numpy()))
                raise ValueError(
                    f"{self.path}: column {name!r} is empty in row {row} of row group {number}"
                )
            array[:, column] = values.to_numpy()
        return array


class _RowGroup:
    """A row group of a Parquet file, of which slices are read."""

    def __init__(self, table: _ParquetTable, number: int) -> None:
        self.name, self.dtype = f"row group {number} of {table.path}", table.dtype
        self._number = number
        self.shape = (table.file.metadata.row_group(number).num_rows, len(table.names))
        self._table = table

    def __getitem__(self, rows: slice) -> FloatArray:
        """Return rows."""
        return self._table.group(self._number)[rows]
