"""Rows of Parquet files, decoded a row group at a time."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from vbfast.contract import FloatArray
from vbfast.optional import needed
from vbfast.passes.kept_chunks import KeptChunks

__all__ = ["ParquetRows"]

# Decoded at a time: of a longer row group there are not two copies.
BATCH_ROWS = 1 << 18


class ParquetRows:
    """Columns of numbers of a Parquet file.

    Parameters
    ----------
    path : Path
    columns : sequence of str, optional
        By default all but the index of a data frame.

    Attributes
    ----------
    names : list of str
        Of the columns.
    index : list of str
        Names of the columns that are a data frame's index, and no features unless they are chosen.

    Raises
    ------
    OSError
        If there is no such file.
    ValueError
        If it is none of Parquet, has no rows, or no such columns of numbers.
    ImportError
        If pyarrow is missing.
    """

    in_memory: FloatArray | None = None
    reads_ahead = in_chunks = True

    def __init__(self, path: Path, columns: Sequence[str] | None = None) -> None:
        with needed("pyarrow", by="reading .parquet files"):
            from pyarrow import parquet
        with path.open("rb"):
            pass  # a missing file is the system's error
        try:
            self._file = parquet.ParquetFile(path)
        except Exception as error:  # a damaged file makes pyarrow raise nearly anything
            raise ValueError(f"{path}: {error}") from error
        self.data = self._path = path
        schema = self._file.schema_arrow
        frame = schema.pandas_metadata or {}
        self.index = [name for name in frame.get("index_columns", ()) if isinstance(name, str)]
        features = [name for name in schema.names if name not in self.index]
        self.names = features if columns is None else [*columns]
        self.dtype = self._checked_dtype(schema)
        sizes = [
            self._file.metadata.row_group(group).num_rows
            for group in range(self._file.num_row_groups)
        ]
        self._groups = [group for group, n_rows in enumerate(sizes) if n_rows > 0]
        if not self._groups:
            raise ValueError(f"{path} has no rows")
        self._bounds = np.cumsum([0, *(sizes[group] for group in self._groups)]).tolist()
        self.n_samples, self.n_features = self._bounds[-1], len(self.names)
        self._kept = KeptChunks(self._bounds, self._decoded, self.n_features, self.dtype)

    def block(self, start: int, stop: int) -> FloatArray:
        """Return rows."""
        return self._kept.block(start, stop)

    def take(self, indices: npt.NDArray[np.intp]) -> FloatArray:
        """Return copies of a few rows."""
        return self._kept.take(indices)

    def place_of(self, row: int) -> str:
        """Return where a row lies, for messages."""
        chunk = self._kept.chunk_of(row)
        return f"row {row - self._bounds[chunk]} of row group {self._groups[chunk]} of {self._path}"

    def _checked_dtype(self, schema: Any) -> np.dtype[Any]:
        """Return the dtype of the computation: float32 if all columns have it."""
        dtypes = []
        if not self.names:
            raise ValueError(f"{self._path} has no columns")
        for name in self.names:
            if schema.names.count(name) != 1:
                found = "two columns" if name in schema.names else "no column"
                raise ValueError(
                    f"{self._path} has {found} named {name!r}; it has {', '.join(schema.names)}"
                )
            kind = schema.field(name).type
            try:
                dtypes.append(np.dtype(kind.to_pandas_dtype()))
            except NotImplementedError:
                dtypes.append(np.dtype(object))
            if dtypes[-1].kind not in "biuf":
                raise ValueError(f"{self._path}: column {name!r} is of type {kind}, not of numbers")
        single = all(dtype == np.float32 for dtype in dtypes)
        return np.dtype(np.float32 if single else np.float64)

    def _decoded(self, chunk: int) -> FloatArray:
        """Return the rows of a row group. Columns stay columns: to turn them takes time."""
        group = self._groups[chunk]
        n_rows, start = self._bounds[chunk + 1] - self._bounds[chunk], 0
        columns = np.empty((self.n_features, n_rows), self.dtype)
        for batch in self._batches(group):
            for column, name in zip(columns, self.names, strict=True):
                values = batch.column(name)
                if values.null_count:
                    row = start + int(np.argmax(values.is_null().to_numpy(zero_copy_only=False)))
                    raise ValueError(
                        f"{self._path}: column {name!r} is empty in row {row} of row group {group}"
                    )
                column[start : start + len(values)] = values.to_numpy(zero_copy_only=False)
            start += batch.num_rows
        return columns.T

    def _batches(self, group: int) -> Any:
        try:
            yield from self._file.iter_batches(
                BATCH_ROWS, row_groups=[group], columns=self.names, use_threads=False
            )
        except MemoryError:
            raise
        except Exception as error:  # of many kinds, where a file is damaged or has become shorter
            kind = OSError if isinstance(error, OSError) else ValueError
            raise kind(f"{self._path}: row group {group}: {error}") from error
