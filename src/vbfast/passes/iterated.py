"""Rows that a function's iterators yield, chunk by chunk, once in every pass."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterable, Iterator, Sequence
from itertools import accumulate, pairwise
from typing import Any, TypeVar

import numpy as np
import numpy.typing as npt

from vbfast.contract import Float64Array, FloatArray
from vbfast.passes.array_rows import ArrayRows, aligned, computation_dtype
from vbfast.passes.base_runner import BringsRunner
from vbfast.passes.chunk_runner import ChunkRunner
from vbfast.passes.groups import as_chunk, group_bounds, positions_by_chunk
from vbfast.passes.reading_ahead import end, read_ahead
from vbfast.passes.runner import LocalRunner

__all__ = ["IteratedRows", "is_chunk_function", "is_iterator"]

T = TypeVar("T")

_ARRAYS = ("__array__", "__array_interface__", "__dlpack__", "shape", "iloc")


def is_chunk_function(X: Any) -> bool:
    """Whether X is a function, to be asked for chunks of rows."""
    return callable(X) and not any(hasattr(X, name) for name in _ARRAYS)


def is_iterator(X: Any) -> bool:
    """Whether X is an iterator, which yields its chunks once."""
    return isinstance(X, Iterator) and not any(hasattr(X, name) for name in _ARRAYS)


class IteratedRows(BringsRunner):
    """The rows of the chunks that a function's iterators yield.

    The first iterator tells how many rows each chunk has. Those after it have to yield the same
    chunks again. Besides the passes, all rows up to those that are asked for are read anew.

    Parameters
    ----------
    make_chunks : callable
        Without arguments. Returns a new iterator, or something to iterate over, of
        two-dimensional arrays of one width, that are all computed in one dtype.

    Raises
    ------
    TypeError
        If it takes arguments or returns nothing to iterate over, or if a chunk is complex, masked,
        sparse, of records or dates, or has no numbers.
    ValueError
        If there are no chunks; if a chunk has other dimensions than two, no rows, another width
        or another dtype than the first. It is named.

    Examples
    --------
    >>> import numpy as np
    >>> from vbfast.passes.iterated import IteratedRows
    >>> rows = IteratedRows(lambda: (np.full((2, 3), float(i)) for i in range(4)))
    >>> rows.n_samples, rows.n_features, rows.place_of(5)
    (8, 3, 'chunk 2 row 1')
    """

    in_memory: FloatArray | None = None

    def __init__(self, make_chunks: Callable[[], Iterable[Any]]) -> None:
        _check_no_arguments(make_chunks)
        self.data = make_chunks
        sizes: list[int] = []
        for number, chunk in enumerate(_chunks_of(make_chunks)):
            if number == 0:
                self.n_features, self.dtype = chunk.shape[1], chunk.dtype
            self._check_like_the_first(number, chunk)
            sizes.append(len(chunk))
        if not sizes:
            raise ValueError(f"X() must yield at least one chunk; got none. {_ADVICE}")
        self._sizes = sizes
        self._starts = [0, *accumulate(sizes)]
        self.n_samples = self._starts[-1]
        self._groups = group_bounds(sizes)
        self.group_starts: Sequence[int] = [self._starts[chunk] for chunk in self._groups]

    def runner(self, sample_weight: Float64Array | None) -> IteratedRunner:
        """Return a runner over the rows."""
        return IteratedRunner(self, sample_weight)

    def chunks(self) -> Iterator[FloatArray]:
        """Yield the chunks anew.

        Raises
        ------
        ValueError
            If they are others than before.
        """
        number = 0
        for chunk in _chunks_of(self.data):
            if number == len(self._sizes):
                raise ValueError(
                    f"X() yielded more chunks than the {number} that it yielded before. {_ADVICE}"
                )
            self._check_like_the_first(number, chunk)
            if len(chunk) != self._sizes[number]:
                raise ValueError(
                    f"chunk {number} of X() has {len(chunk)} rows; before it had "
                    f"{self._sizes[number]}. {_ADVICE}"
                )
            number += 1
            yield chunk
        if number < len(self._sizes):
            raise ValueError(
                f"X() yielded {number} chunks, after {len(self._sizes)} before. {_ADVICE}"
            )

    def groups(self) -> Iterator[FloatArray]:
        """Yield the rows of each group of chunks."""
        chunks = self.chunks()
        for first, last in pairwise(self._groups):
            parts = [next(chunks) for _ in range(first, last)]
            yield parts[0] if len(parts) == 1 else np.concatenate(parts)
        for _ in chunks:  # which says that there are more
            pass

    def block(self, start: int, stop: int) -> FloatArray:
        """Return copies of rows."""
        return self.take(np.arange(start, stop))

    def take(self, indices: npt.NDArray[np.intp]) -> FloatArray:
        """Return copies of a few rows."""
        taken = np.empty((len(indices), self.n_features), self.dtype)
        chunks = enumerate(self.chunks())
        for number, positions in positions_by_chunk(indices, self._starts):
            chunk = next(chunk for passed, chunk in chunks if passed == number)
            taken[positions] = chunk[indices[positions] - self._starts[number]]
        return taken

    def place_of(self, row: int) -> str:
        """Return where a row lies, for messages."""
        number = int(np.searchsorted(self._starts, row, side="right")) - 1
        return f"chunk {number} row {row - self._starts[number]}"

    def _check_like_the_first(self, number: int, chunk: FloatArray) -> None:
        if chunk.shape[1] != self.n_features:
            raise ValueError(
                f"chunk {number} of X() has {chunk.shape[1]} features, but chunk 0 has "
                f"{self.n_features}"
            )
        if chunk.dtype != self.dtype:
            raise ValueError(
                f"chunk {number} of X() is computed in {chunk.dtype}, but chunk 0 in {self.dtype}: "
                "convert one of them"
            )


class IteratedRunner(ChunkRunner):
    """Runs passes over the chunks of an iterator: a group at a time, on all threads."""

    _grouped: IteratedRows

    def _map(self, task: Callable[..., T], *arguments: Sequence[Any]) -> Iterator[T]:
        workspaces: dict[str, Any] = {}
        groups = read_ahead(self._grouped.groups())
        try:
            for rows, group, *given in zip(self._slices, groups, *arguments, strict=True):
                weight = None if self.sample_weight is None else self.sample_weight[rows]
                runner = LocalRunner(
                    ArrayRows(group),
                    weight,
                    backend=self._backend.name,
                    workspaces=workspaces,
                    first_row=rows.start,
                )
                yield task(runner.in_float64() if self._as_float64 else runner, *given)
        finally:
            end(groups)


_ADVICE = (
    "X has to return a new iterator of the same chunks whenever it is called, as a generator "
    "function does"
)


def _check_no_arguments(make_chunks: Callable[..., Any]) -> None:
    try:
        inspect.signature(make_chunks).bind()
    except TypeError as error:
        raise TypeError(
            f"X must be a function without arguments that returns an iterator of arrays: {error}"
        ) from None
    except ValueError:  # of some of Python's own functions nobody knows
        return


def _chunks_of(make_chunks: Callable[[], Iterable[Any]]) -> Iterator[FloatArray]:
    """Yield the chunks that a function's iterator yields, in the dtype of the computation."""
    made: Any = make_chunks()
    if not isinstance(made, Iterable) or isinstance(made, str | bytes | dict):
        raise TypeError(
            f"X() must return an iterator of two-dimensional arrays; got {type(made).__name__}"
        )
    chunks, number = iter(made), 0
    while True:
        try:
            chunk = next(chunks, _END)
        except Exception as error:
            error.add_note(f"Raised by chunk {number} of X().")
            raise
        if chunk is _END:
            return
        numbers = as_chunk(chunk, f"chunk {number} of X()")
        yield aligned(numbers, computation_dtype(numbers.dtype))
        number += 1


_END = object()
