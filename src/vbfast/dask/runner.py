"""Passes over rows that workers of a cluster hold: the tasks of a pass, and where they run."""

from __future__ import annotations

import copy
import os
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from typing import Any, Literal, Protocol, TypeVar

import numpy as np
import numpy.typing as npt
from dask.delayed import Delayed
from distributed import Client, Future

import dask
from vbfast.contract import Components, Float64Array, FloatArray, NonFiniteRowError, PassResult
from vbfast.dask.clients import check_connected
from vbfast.dask.tasks import Asked, Carried, NonFinite, add, kept_of, of_group
from vbfast.passes.chunk_runner import ChunkRunner
from vbfast.passes.groups import GroupedRows
from vbfast.passes.responsibilities import RespSource
from vbfast.passes.row_search import Renewed, Searched
from vbfast.passes.runner import LocalRunner

__all__ = ["ClusterRunner", "HeldRows", "in_a_tree", "submit"]

T = TypeVar("T")

# Terms that a task adds up: with two there would be as many tasks of sums as of groups, and the
# scheduler takes as long for each of them. A power of two.
ARITY = 8
# After so many truncated passes what rows keep comes here, and is sent with the tasks of the next.
RECALLED = 8

_OF_GROUP = dask.delayed(of_group, pure=False)
_ADD = dask.delayed(add, pure=False)
_KEPT_OF = dask.delayed(kept_of, pure=False)
_ANY_SIZE = {"distributed.admin.large-graph-warning-threshold": 1 << 60}


def submit(client: Client, tasks: Sequence[Delayed]) -> list[Future]:
    """Submit tasks that hold all that they need, of any size.

    Raises
    ------
    ValueError
        If the client is closed.
    """
    check_connected(client)
    with dask.config.set(_ANY_SIZE):
        futures: list[Future] = client.compute(list(tasks))
    return futures


def in_a_tree(terms: Sequence[T], add: Callable[..., T]) -> T:
    """Return the sum of terms in the tree of :func:`vbfast.merge`, some levels of it at a time.

    Neighbours whose number is a power of two are a branch of that tree, and so are those that are
    left at its end: a task that adds up :data:`ARITY` of them adds them as the whole tree does.

    Parameters
    ----------
    terms : sequence
    add : callable
        Of some terms: their sum by :func:`vbfast.merge`.
    """
    while len(terms) > 1:
        branches = [terms[first : first + ARITY] for first in range(0, len(terms), ARITY)]
        terms = [branch[0] if len(branch) == 1 else add(*branch) for branch in branches]
    return terms[0]


class HeldRows(GroupedRows, Protocol):
    """Rows that workers hold, in groups."""

    @property
    def client(self) -> Client:
        """Through which they are asked."""

    @property
    def groups(self) -> list[Future]:
        """The groups."""

    @property
    def weights(self) -> Float64Array | None:
        """Copies of the groups' weights."""

    def settled(self, result: Callable[[], T]) -> T:
        """Return what is computed of the groups, or raise an error that names a chunk."""


class ClusterRunner(ChunkRunner):
    """Runs passes on the workers of a cluster: a task for each group, and for each sum of eight.

    A task of a group goes where the group is, and takes one thread. Sums are added up in the tree
    of :func:`vbfast.merge`, where most of their terms are, so that one comes here. What all tasks
    of a pass share, parameters above all, goes to each worker once. It is part of what is computed,
    so that no worker that is lost takes it along.
    """

    _grouped: HeldRows

    def __init__(
        self,
        source: HeldRows,
        sample_weight: Float64Array | None = None,
        *,
        backend: str | None = None,
        as_float64: bool = False,
    ) -> None:
        super().__init__(source, sample_weight, backend=backend, as_float64=as_float64)
        self._weights: Literal["none", "own", "given"] = "none"
        self._factor = 1.0
        self._n_renewals = 0
        if sample_weight is not None:
            factor = _power_of_two(sample_weight, source.weights)
            self._weights = "given" if factor is None else "own"
            self._factor = factor or 1.0

    def _tasks(self, task: Callable[..., Any], arguments: Sequence[Sequence[Any]]) -> list[Delayed]:
        """Return what is to be computed of each group."""
        asked = Asked(task, self._backend.name, self._weights, self._factor, self._as_float64)
        shared = dask.delayed(Carried(asked), pure=False, traverse=False)
        given = [*arguments]
        if self._weights == "given":
            assert self.sample_weight is not None
            given.append([self.sample_weight[rows] for rows in self._slices])
        groups = self._grouped.groups
        return [_OF_GROUP(group, shared, *own) for group, *own in zip(groups, *given, strict=True)]

    def _map(self, task: Callable[..., T], *arguments: Sequence[Any]) -> Iterator[T]:
        futures = deque(submit(self._grouped.client, self._tasks(task, arguments)))
        while futures:
            # With its result nobody wants the future any more, and the worker may forget it.
            yield _finite(self._grouped.settled(futures.popleft().result))

    def _sum(self, task: Callable[..., PassResult], *arguments: Sequence[Any]) -> PassResult:
        [future] = submit(self._grouped.client, [in_a_tree(self._tasks(task, arguments), _ADD)])
        result: PassResult = _finite(self._grouped.settled(future.result))
        return result

    def renew(
        self, task: Callable[[LocalRunner, Any], Renewed], kept: Sequence[Any]
    ) -> tuple[Searched, list[Any]]:
        """Return the sums of a truncated pass, and what each group keeps: where the group is.

        It comes here once in :data:`RECALLED` passes. What it is computed again from, where a
        worker is lost, would else be all passes, with the parameters of each.
        """
        tasks = self._tasks(task, [kept])
        total = in_a_tree(tasks, _ADD) if len(tasks) > 1 else _ADD(*tasks)
        sums, *renewed = submit(self._grouped.client, [total, *map(_KEPT_OF, tasks)])
        searched: Searched = _finite(self._grouped.settled(sums.result))
        self._n_renewals += 1
        if self._n_renewals % RECALLED == 0:
            return searched, self.of_kept(np.copy, renewed)
        return searched, renewed

    def first_kept(self, n_kept: int, path: str | os.PathLike[str] | None) -> list[Any]:  # noqa: ARG002
        """Return nothing: workers make memory for what their groups keep.

        Raises
        ------
        ValueError
            If it is to be in a file.
        """
        if path is not None:
            raise ValueError(
                f"truncation_state={str(path)!r} does not go with rows on a cluster, whose workers "
                "hold what rows keep: use truncation_state=None"
            )
        return [None for _ in self._grouped.groups]

    def of_kept(self, question: Callable[[Components], T], kept: Sequence[Any]) -> list[T]:
        """Return what a function says of what each group keeps, asked where that is."""
        if not isinstance(kept[0], Future):
            return super().of_kept(question, kept)
        asked = dask.delayed(question, pure=False)
        futures = submit(self._grouped.client, [asked(own) for own in kept])
        answers: list[T] = self._grouped.settled(lambda: self._grouped.client.gather(futures))
        return copy.deepcopy(answers)

    def _resp_of(self, resp: RespSource, rows: slice) -> RespSource:
        return _MadeResponsibilities(resp.block(rows.start, rows.stop))


class _MadeResponsibilities(RespSource):
    """Responsibilities of a group's rows, made here and sent."""

    in_memory = True

    def __init__(self, resp: FloatArray | npt.NDArray[np.int64]) -> None:
        self._resp = resp

    def block(self, start: int, stop: int) -> FloatArray | npt.NDArray[np.int64]:
        """Return the responsibilities of the rows ``start`` to ``stop``."""
        return self._resp[start:stop]


def _finite(result: Any) -> Any:
    """Return a result in aligned memory, or raise the error of a row that is not finite."""
    if isinstance(result, NonFinite):
        raise NonFiniteRowError(result.row)
    return copy.deepcopy(result)


def _power_of_two(weights: Float64Array, base: Float64Array | None) -> float | None:
    """Return the power of two by which weights are a multiple of others; ``None`` without one."""
    if base is None:
        return None
    factor = float(weights.max() / base.max())
    mantissa, _ = np.frexp(factor)
    return factor if mantissa == 0.5 and np.array_equal(base * factor, weights) else None
