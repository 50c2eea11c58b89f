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

    def neighbors(self) -> Components:
        """Return what was learned: a component of which nothing was has its neighbours still.

        Shape (n_components, n_neighbors), -1 for none.
        """


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
