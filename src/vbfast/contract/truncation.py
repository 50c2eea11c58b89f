"""Posteriors with few components a row: what a search goes by, and who makes it.

The posterior of a row has support on the components that it keeps; the bound is the log-sum-exp
over these alone. A search evaluates the neighbours of what a row keeps and some components at
random, and keeps the best, so that a row's bound never falls (Forster and Luecke 2018; Hirschberger
et al. 2022).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, NamedTuple, Protocol, TypeGuard, runtime_checkable

import numpy as np
import numpy.typing as npt

from vbfast.contract.backend import Backend
from vbfast.contract.log_joint import LogJoint
from vbfast.contract.request import Request
from vbfast.contract.result import PassResult
from vbfast.contract.types import Float64Array, FloatArray

__all__ = [
    "Cells",
    "Components",
    "NearnessSums",
    "Search",
    "TruncatedPass",
    "TruncatingBackend",
    "offers_truncation",
]

# Numbers of components, -1 for none.
Components = npt.NDArray[np.int32]


class Cells(NamedTuple):
    """Some components around each component, as many as one likes.

    Attributes
    ----------
    begin : ndarray of shape (n_components + 1,), int64, C order
        Component ``k`` has the members ``begin[k]`` to ``begin[k + 1] - 1``.
    members : ndarray of shape (begin[-1],), int32, C order
    """

    begin: npt.NDArray[np.int64]
    members: Components


@dataclass(frozen=True)
class Search:
    """What a truncated pass evaluates, and what it keeps.

    A row is evaluated under the components that it keeps, their neighbours and cells, the
    candidates of all rows, and components drawn at random. It keeps those of largest log-joint; of
    equals the one that was evaluated first.

    Attributes
    ----------
    n_kept : int
        Components that a row keeps.
    n_neighbors : int
        Neighbours that a component has, itself among them.
    n_random : int
        Components drawn for every row.
    key : int
        Of the draws, in ``[0, 2**64)``: they depend on it and on the number of the row.
    neighbors : ndarray of shape (n_components, n_neighbors), int32, C order, or None
    candidates : ndarray of shape (n_candidates,), int32, or None
    cells : Cells or None
    learn : bool
        Whether neighbours are learned: those with the smallest mean of ``l_nc - l_nk`` over the
        rows that come with ``c`` as their best component and are evaluated under ``k`` too.
    """

    n_kept: int
    n_neighbors: int = 1
    n_random: int = 0
    key: int = 0
    neighbors: Components | None = None
    candidates: Components | None = None
    cells: Cells | None = None
    learn: bool = False


@dataclass(frozen=True, eq=False)
class NearnessSums:
    """What rows have taught of the components near each one; those of other rows are added to it.

    Attributes
    ----------
    components : ndarray of shape (n_components, n_nearest), int32
        The nearest of each, itself first; -1 for none.
    counts : ndarray of shape (n_components, n_nearest), int64
        How many rows that a component is best for were evaluated under the other too.
    sums : ndarray of shape (n_components, n_nearest), float64
        Their sum of ``l_nc - l_nk``.

    Examples
    --------
    >>> import numpy as np
    >>> from vbfast.contract import NearnessSums
    >>> one = NearnessSums(np.array([[0, 1]]), np.array([[4, 2]]), np.array([[0.0, 6.0]]))
    >>> other = NearnessSums(np.array([[0, 2]]), np.array([[3, 2]]), np.array([[0.0, 4.0]]))
    >>> (one + other).components
    array([[0, 2]])
    """

    components: Components
    counts: npt.NDArray[np.int64]
    sums: Float64Array

    def __add__(self, other: NearnessSums) -> NearnessSums:
        """Return what the rows of both have taught, of as many components each."""
        both = NearnessSums(
            np.concatenate([self.components, other.components], axis=1),
            np.concatenate([self.counts, other.counts], axis=1),
            np.concatenate([self.sums, other.sums], axis=1),
        )
        # By component, and what is of one in the order of the parts.
        places = np.arange(both.components.shape[1])
        order = np.sort(both.components.astype(np.int64) << 32 | places, axis=1) & 0xFFFFFFFF
        both = both._taken(order)
        again = both.components[:, 1:] == both.components[:, :-1]
        both.counts[:, :-1] += np.where(again, both.counts[:, 1:], 0)
        both.sums[:, :-1] += np.where(again, both.sums[:, 1:], 0.0)
        both.components[:, 1:][again] = -1
        return both.nearest(self.components.shape[1])

    def nearest(self, n_nearest: int) -> NearnessSums:
        """Return the nearest of each, those of the smallest mean difference.

        Components have to ascend, those that are none aside: of equal ones the least are nearer.
        """
        own = np.arange(len(self.components))[:, np.newaxis]
        with np.errstate(invalid="ignore"):
            mean = self.sums / np.maximum(self.counts, 1)
        mean = np.where(mean < np.inf, mean, np.inf)  # the last are those that are impossible,
        mean[self.components == own] = -np.inf
        mean[self.components < 0] = np.nan  # and then those that are none
        order = np.argsort(mean, axis=1, kind="stable")[:, :n_nearest]
        found, width = self._taken(order), ((0, 0), (0, n_nearest - order.shape[1]))
        return NearnessSums(
            np.pad(found.components, width, constant_values=-1),
            np.pad(found.counts, width),
            np.pad(found.sums, width),
        )

    def _taken(self, order: npt.NDArray[np.intp]) -> NearnessSums:
        """Return what stands at some places of each component."""
        n_components, length = self.components.shape
        places = order + length * np.arange(n_components)[:, np.newaxis]
        return NearnessSums(*(np.take(part, places) for part in vars(self).values()))

    def neighbors(self, before: Components | None) -> Components:
        """Return the nearest of each, and of components that no row has taught what they had.

        Parameters
        ----------
        before : ndarray of shape (n_components, n_nearest), int32, or None
        """
        if before is None:
            return self.components
        return np.where(self.components[:, :1] < 0, before, self.components)


class TruncatedPass(Protocol):
    """A truncated pass in progress."""

    def run(
        self,
        start: int,
        rows: FloatArray,
        weights: Float64Array | None,
        kept: Components,
        *,
        log_evidence: FloatArray | None = None,
        resp: FloatArray | None = None,
    ) -> None:
        """Visit consecutive rows, in one call a chunk, in row order.

        Parameters
        ----------
        start : int
            The number of the first row.
        rows : ndarray of shape (n_rows, n_features), dtype of the computation, any strides
        weights : ndarray of shape (n_rows,), float64, C order, or None
        kept : ndarray of shape (n_rows, n_kept), int32, C order
            What the rows keep, the best first; -1 for none. It is renewed.
        log_evidence : ndarray of shape (n_rows,), dtype of the computation, optional
            Filled with the log-sum-exp over what is kept.
        resp : ndarray of shape (n_rows, n_kept), dtype of the computation, C order, optional
            Filled with the responsibilities.

        Raises
        ------
        NonFiniteRowError
            If a row is not finite; the first such row.
        KeyboardInterrupt
            If the user interrupts.
        """

    def finish(self) -> PassResult:
        """Return the sums, without KL."""

    def learned(self) -> NearnessSums:
        """Return what was learned of ``n_neighbors`` components each."""


@runtime_checkable
class TruncatingBackend(Protocol):
    """What a backend may offer beside: passes with truncated posteriors."""

    def begin_truncated(
        self,
        log_joint: LogJoint,
        request: Request,
        search: Search,
        *,
        dtype: np.dtype[Any],
        workspace: Any,
        num_threads: int,
        about: Float64Array | None = None,
    ) -> TruncatedPass:
        """Start a pass, 'posterior' or 'hard', in memory that ``workspace()`` returned.

        ``about`` are the points that moments are taken about, of shape (n_components, n_features),
        where these are not the centres of the form.
        """


def offers_truncation(backend: Backend) -> TypeGuard[TruncatingBackend]:
    """Return whether a backend is a :class:`TruncatingBackend`."""
    return isinstance(backend, TruncatingBackend)
