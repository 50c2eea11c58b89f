"""Rows of files, the names of their columns, and messages that locate a cell."""

from __future__ import annotations

import contextlib
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from vbfast.contract import FloatArray, NonFiniteRowError, RowSource
from vbfast.passes.chunks import ChunkRows
from vbfast.passes.parquet_rows import ParquetRows
from vbfast.passes.rows import as_row_source

__all__ = ["Table", "Tables", "cell", "column", "matched", "note"]


@dataclass(frozen=True)
class Table:
    """What a file holds.

    Attributes
    ----------
    path : Path
    values : ndarray of shape (n_samples, n_features), or RowSource
        In memory, or read as the passes go.
    names : tuple of str, of length n_features, or None
        Of the columns, where the file has them and no two are the same.
    """

    path: Path
    values: Any
    names: tuple[str, ...] | None = None

    @cached_property
    def rows(self) -> RowSource:
        """The values as a source of rows."""
        return as_row_source(self.values)

    def of_dtype(self, dtype: npt.DTypeLike) -> Table:
        """Return the table in another dtype; values that lie on disk are converted when read."""
        rows = self.rows
        if rows.dtype == dtype:
            return self
        if rows.in_memory is None:
            return Table(self.path, _Converted(rows, np.dtype(dtype)), self.names)
        with np.errstate(over="ignore"):  # infinite values are refused later
            return Table(self.path, rows.in_memory.astype(dtype), self.names)

    def of_columns(self, wanted: tuple[str, ...]) -> Table:
        """Return the columns of these names, in this order."""
        assert self.names is not None
        if isinstance(self.values, ParquetRows):
            values: Any = ParquetRows(self.path, wanted)
        else:
            values = self.values[:, [self.names.index(name) for name in wanted]]
        return Table(self.path, values, wanted)


@dataclass(frozen=True)
class Tables:
    """What several files hold, one after another, or one file.

    Attributes
    ----------
    parts : list of Table
        Of the same columns.
    """

    parts: list[Table]

    @property
    def names(self) -> tuple[str, ...] | None:
        """Of the columns."""
        return self.parts[0].names

    @cached_property
    def rows(self) -> RowSource:
        """The rows of all."""
        if len(self.parts) == 1:
            return self.parts[0].rows
        names = [str(part.path) for part in self.parts]
        return ChunkRows([part.rows for part in self.parts], names)

    def of_dtype(self, dtype: npt.DTypeLike) -> Tables:
        """Return the tables in another dtype."""
        return Tables([part.of_dtype(dtype) for part in self.parts])

    @contextlib.contextmanager
    def located_errors(self) -> Iterator[None]:
        """Name the cell of a value that is not finite, if the block raises because of it."""
        try:
            yield
        except ValueError as error:
            cause: BaseException | None = error
            while cause is not None and not isinstance(cause, NonFiniteRowError):
                cause = cause.__context__
            if cause is None:
                raise
            row = cause.row
            for part in self.parts:
                if row < part.rows.n_samples:
                    break
                row -= part.rows.n_samples
            values = part.rows.block(row, row + 1)[0]
            index = int(np.argmin(np.isfinite(values)))
            raise ValueError(
                f"{part.path}: {cell(row, index, part.names)}, is {values[index]} in "
                f"{values.dtype}; expected a finite number"
            ) from error


class _Converted:
    """Rows of a source that are converted as they are read."""

    in_memory: FloatArray | None = None

    def __init__(self, source: RowSource, dtype: np.dtype[Any]) -> None:
        self._source, self.dtype = source, dtype
        self.data = source.data
        self.n_samples, self.n_features = source.n_samples, source.n_features
        self.reads_ahead = getattr(source, "reads_ahead", False)
        self.in_chunks = getattr(source, "in_chunks", False)

    def block(self, start: int, stop: int) -> FloatArray:
        """Return converted copies of rows."""
        return self._as_dtype(self._source.block(start, stop))

    def take(self, indices: npt.NDArray[np.intp]) -> FloatArray:
        """Return converted copies of a few rows."""
        return self._as_dtype(self._source.take(indices))

    def _as_dtype(self, rows: FloatArray) -> FloatArray:
        with np.errstate(over="ignore"):
            return rows.astype(self.dtype)


def column(index: int, names: tuple[str, ...] | None) -> str:
    """Name a column in a message."""
    return f"column {index}" if names is None else f"column {index} ({names[index]})"


def cell(row: int, index: int, names: tuple[str, ...] | None) -> str:
    """Name a cell in a message: rows and columns are counted from 0, as in the library."""
    return f"row {row}, {column(index, names)}, counted from 0"


def matched(table: Table, wanted: tuple[str, ...] | None, owner: Path | None = None) -> Table:
    """Return a table with certain columns, in their order.

    Parameters
    ----------
    table : Table
    wanted : tuple of str or None
        Their names; None if they have none.
    owner : Path, optional
        The file that has them; by default the model was fitted to them.

    Raises
    ------
    ValueError
        If the table has names, and one of those wanted is not among them.
    """
    names = table.names
    if wanted is None or names == wanted:
        return table
    listed = ", ".join(wanted)
    if names is None:
        note(f"{table.path} has no names of columns; they are taken for {listed}, in this order")
        return table
    has, lacks = "the model was fitted to", "the model was not fitted to"
    if owner is not None:
        has, lacks = f"{owner} has", f"{owner} does not have"
    missing = [name for name in wanted if name not in names]
    if missing:
        raise ValueError(
            f"{table.path} has no column {', '.join(missing)}, which {has}; it has "
            f"{', '.join(names)}"
        )
    others = [name for name in names if name not in wanted]
    if others:
        note(f"{table.path}: left out {', '.join(others)}, which {lacks}")
    order = [names.index(name) for name in wanted]
    if order != sorted(order):
        whose = "the model's order" if owner is None else f"the order of {owner}"
        note(f"{table.path}: columns taken in {whose}, {listed}")
    return table.of_columns(wanted)


def note(message: str) -> None:
    """Print a note for the user to standard error."""
    print(f"vbfast: note: {message}", file=sys.stderr)
