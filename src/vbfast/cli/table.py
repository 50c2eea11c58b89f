"""Rows of a file, the names of its columns, and messages that locate a cell."""

from __future__ import annotations

import contextlib
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from vbfast.contract import NonFiniteRowError

__all__ = ["Table", "cell", "column", "matched", "note"]


@dataclass(frozen=True)
class Table:
    """What a file holds.

    Attributes
    ----------
    path : Path
    values : array of shape (n_samples, n_features)
        In memory, mapped, or read slice by slice.
    names : tuple of str, of length n_features, or None
        Of the columns, where the file has them and no two are the same.
    """

    path: Path
    values: Any
    names: tuple[str, ...] | None = None

    def of_dtype(self, dtype: npt.DTypeLike) -> Table:
        """Return the table in another dtype; values that lie on disk are converted when read."""
        if self.values.dtype == dtype:
            return self
        with np.errstate(over="ignore"):  # infinite values are refused later
            if isinstance(self.values, np.ndarray) and not isinstance(self.values, np.memmap):
                values: Any = self.values.astype(dtype)
            else:
                values = _Converted(self.values, np.dtype(dtype))
        return Table(self.path, values, self.names)

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
            values = np.asarray(self.values[cause.row : cause.row + 1])[0]
            index = int(np.argmin(np.isfinite(values)))
            where = cell(cause.row, index, self.names)
            raise ValueError(
                f"{self.path}: {where}, is {values[index]} in {values.dtype}; expected a finite "
                "number"
            ) from error


class _Converted:
    """An array on disk whose slices are converted as they are read."""

    def __init__(self, values: Any, dtype: np.dtype[Any]) -> None:
        self._values = values
        self.dtype = dtype
        self.shape = values.shape
        self.ndim = len(values.shape)

    def __len__(self) -> int:
        return int(self.shape[0])

    def __getitem__(self, rows: slice) -> npt.NDArray[Any]:
        with np.errstate(over="ignore"):
            return np.asarray(self._values[rows]).astype(self.dtype)


def column(index: int, names: tuple[str, ...] | None) -> str:
    """Name a column in a message."""
    return f"column {index}" if names is None else f"column {index} ({names[index]})"


def cell(row: int, index: int, names: tuple[str, ...] | None) -> str:
    """Name a cell in a message: rows and columns are counted from 0, as in the library."""
    return f"row {row}, {column(index, names)}, counted from 0"


def matched(table: Table, wanted: tuple[str, ...] | None) -> Table:
    """Return a table with the columns that a model was fitted to, in its order.

    Parameters
    ----------
    table : Table
    wanted : tuple of str or None
        The names of the model's features; None if it has none.

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
    missing = [name for name in wanted if name not in names]
    if missing:
        raise ValueError(
            f"{table.path} has no column {', '.join(missing)}, which the model was fitted to; it "
            f"has {', '.join(names)}"
        )
    others = [name for name in names if name not in wanted]
    if others:
        note(f"{table.path}: left out {', '.join(others)}, which the model was not fitted to")
    order = [names.index(name) for name in wanted]
    if order != sorted(order):
        note(f"{table.path}: columns taken in the model's order, {listed}")
    return Table(table.path, table.values[:, order], wanted)


def note(message: str) -> None:
    """Print a note for the user to standard error."""
    print(f"vbfast: note: {message}", file=sys.stderr)
