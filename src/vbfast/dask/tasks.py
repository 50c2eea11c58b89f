"""What runs on the workers: functions of chunks, of groups of them, and of their sums."""

from __future__ import annotations

import copy
import threading
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Literal, NamedTuple

import cloudpickle
import numpy as np
import numpy.typing as npt
from dask.sizeof import sizeof

from vbfast.config.settings import config_context
from vbfast.contract import (
    Components,
    Float64Array,
    FloatArray,
    NonFiniteRowError,
    PassResult,
    merge,
)
from vbfast.passes.array_rows import ArrayRows, aligned, computation_dtype
from vbfast.passes.groups import as_chunk
from vbfast.passes.row_search import Renewed, Searched
from vbfast.passes.runner import LocalRunner

__all__ = [
    "Asked",
    "Carried",
    "Description",
    "Group",
    "NonFinite",
    "add",
    "describe",
    "kept_of",
    "make_group",
    "of_group",
    "take",
]


class Description(NamedTuple):
    """What is known of a chunk: its shape, and the dtype that it is computed in."""

    shape: tuple[int, ...]
    dtype: np.dtype[Any]


@dataclass(frozen=True)
class Group:
    """The rows of some consecutive chunks, with their weights and the place of the first."""

    rows: FloatArray
    weights: Float64Array | None
    first_row: int

    def __reduce__(self) -> tuple[Any, ...]:
        return _landed_group, (self.rows, self.weights, self.first_row)

    @property
    def nbytes(self) -> int:
        """How many bytes they take."""
        return self.rows.nbytes + (0 if self.weights is None else self.weights.nbytes)


def _landed_group(rows: FloatArray, weights: Float64Array | None, first_row: int) -> Group:
    rows = np.require(rows, requirements="A")
    return Group(
        rows, None if weights is None else np.require(weights, requirements="A"), first_row
    )


class Carried:
    """A value that arrives elsewhere in memory of its own.

    Dask sends arrays in pieces of a message, where they may lie unaligned.
    """

    def __init__(self, value: Any) -> None:
        self.value = value

    def __reduce__(self) -> tuple[Any, ...]:
        return _landed, (cloudpickle.dumps(self.value),)


def _landed(pickled: bytes) -> Carried:
    return Carried(cloudpickle.loads(pickled))


@dataclass(frozen=True)
class Asked:
    """What is asked of every group in a pass, sent to each worker once.

    Attributes
    ----------
    task : callable
        Of a runner over the rows of a group, and of what is given for that.
    backend : str
    weights : {'none', 'own', 'given'}
        Whether rows have weights: those of their group, or those that are given with the rest.
    factor : float
        A power of two that a group's own weights are multiplied by.
    as_float64 : bool
        Whether rows are computed in float64, whatever their dtype is.
    """

    task: Callable[..., Any]
    backend: str
    weights: Literal["none", "own", "given"]
    factor: float
    as_float64: bool


@dataclass(frozen=True)
class NonFinite:
    """What comes back instead of a result where a row is not finite: its place among all."""

    row: int


def describe(values: Any, weights: Any, number: int) -> Description:
    """Check a chunk, and say what it is."""
    rows = as_chunk(values, f"chunk {number} of X")
    if weights is not None and np.shape(weights) != rows.shape[:1]:
        raise ValueError(
            f"chunk {number} of sample_weight has shape {np.shape(weights)}, but that of X has "
            f"{len(rows)} rows"
        )
    return Description(rows.shape, computation_dtype(rows.dtype))


def make_group(
    chunks: list[Any], weights: list[Any] | None, first_chunk: int, first_row: int
) -> Group:
    """Return the rows of some chunks as one array."""
    numbers = [as_chunk(chunk, f"chunk {first_chunk + i} of X") for i, chunk in enumerate(chunks)]
    parts = [aligned(part, computation_dtype(part.dtype)) for part in numbers]
    rows = parts[0] if len(parts) == 1 else np.concatenate(parts)
    if weights is None:
        return Group(rows, None, first_row)
    joined = np.concatenate([np.asarray(part, np.float64) for part in weights])
    return Group(rows, joined, first_row)


def of_group(group: Group, carried: Carried, *given: Any) -> Any:
    """Return what a task says of a group, or which row is not finite. It has one thread.

    Parameters
    ----------
    group : Group
    carried : Carried
        :class:`Asked`.
    *given : objects
        What the task is given for this group, and weights if it is to have others.
    """
    asked: Asked = carried.value
    arguments = list(copy.deepcopy(given))  # in memory of their own, which is aligned
    weights = arguments.pop() if asked.weights == "given" else None
    if asked.weights == "own":
        assert group.weights is not None
        weights = group.weights * asked.factor
    with config_context(num_threads=1, backend=asked.backend):
        runner = LocalRunner(
            ArrayRows(group.rows),
            weights,
            workspaces=_workspaces(),
            first_row=group.first_row,
        )
        try:
            return asked.task(runner.in_float64() if asked.as_float64 else runner, *arguments)
        except NonFiniteRowError as error:
            return NonFinite(error.row)


def add(*parts: Any) -> Any:
    """Add up the sums of parts of the rows; of rows that are not finite the first counts."""
    found = [part.row for part in parts if isinstance(part, NonFinite)]
    if found:
        return NonFinite(min(found))
    return merge(part.searched if isinstance(part, Renewed) else part for part in parts)


def kept_of(renewed: Renewed | NonFinite) -> Components | NonFinite:
    """Return what the rows of a group keep after a truncated pass."""
    return renewed if isinstance(renewed, NonFinite) else renewed.kept


def take(group: Group, indices: npt.NDArray[np.intp]) -> FloatArray:
    """Return copies of some rows of a group."""
    return group.rows[indices]


_of_thread = threading.local()


def _workspaces() -> dict[str, Any]:
    """Return the memory for passes that this thread has, to be used by one pass at a time."""
    if not hasattr(_of_thread, "workspaces"):
        _of_thread.workspaces = {}
    workspaces: dict[str, Any] = _of_thread.workspaces
    return workspaces


@sizeof.register(PassResult)  # type: ignore[untyped-decorator]
def _sizeof_result(result: PassResult) -> int:
    """Return how many bytes a result takes: by that the scheduler weighs transfers."""
    statistics = result.statistics
    if statistics is None:
        return 256
    arrays = (statistics.weight, statistics.first, statistics.second, statistics.scale)
    return 256 + statistics.centres.nbytes + sum(a.nbytes for a in arrays if a is not None)


@sizeof.register(Group)  # type: ignore[untyped-decorator]
def _sizeof_group(group: Group) -> int:
    """Return how many bytes a group takes, by which workers know what they hold."""
    return group.nbytes


@sizeof.register(Searched)  # type: ignore[untyped-decorator]
def _sizeof_searched(searched: Searched) -> int:
    """Return how many bytes the sums of a truncated pass take."""
    nearness = searched.nearness
    arrays = () if nearness is None else (nearness.components, nearness.counts, nearness.sums)
    size: int = _sizeof_result(searched.sums) + sum(array.nbytes for array in arrays)
    return size


@sizeof.register(Renewed)  # type: ignore[untyped-decorator]
def _sizeof_renewed(renewed: Renewed) -> int:
    """Return how many bytes they take with what the rows keep."""
    size: int = _sizeof_searched(renewed.searched) + renewed.kept.nbytes
    return size
