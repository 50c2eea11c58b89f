"""Truncated passes over rows of this machine, which may be read in any order."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from vbfast.contract import (
    Cells,
    Components,
    Float64Array,
    FloatArray,
    LogJoint,
    Request,
    RowSource,
    Search,
)
from vbfast.passes.row_search import BestOfRows, Searched, find_first, search_rows
from vbfast.passes.runner import LocalRunner
from vbfast.passes.searching import RowNumbers, Searching, rows_of_best
from vbfast.passes.truncation import Truncation, memory_of_kept

__all__ = ["TruncatedRunner"]

# Steps of a walk at most. Few rows take more than five.
MOST_STEPS = 30
# Up to so many components a row looks at all, which takes less time than a walk.
LOOKED_AT = 1024


class TruncatedRunner(Searching, LocalRunner):
    """Runs passes of iterations with truncated posteriors, and all others as they are.

    What the rows keep, and the neighbours of the components, live here from pass to pass.

    Parameters
    ----------
    source : RowSource
    sample_weight : ndarray of shape (n_samples,), float64, optional
    truncation : Truncation
    backend : str, optional
    workspaces, first_row : dict and int, optional
        As for :class:`LocalRunner`.

    Attributes
    ----------
    kept : ndarray of shape (n_samples, n_kept), int32, or None
        The components that rows keep, the best first; None before the first search.
    neighbors, n_kept, whole : objects
        See :class:`~vbfast.passes.searching.Searching`.

    Raises
    ------
    NotImplementedError
        If the backend has no truncated passes.
    """

    def __init__(
        self,
        source: RowSource,
        sample_weight: Float64Array | None = None,
        *,
        truncation: Truncation,
        backend: str | None = None,
        workspaces: dict[str, Any] | None = None,
        first_row: int = 0,
    ) -> None:
        super().__init__(
            source, sample_weight, backend=backend, workspaces=workspaces, first_row=first_row
        )
        self.kept: Components | None = None
        self._go_by(truncation)

    def _forget(self) -> None:
        self.kept = None

    def _copied(self) -> Components | None:
        return None if self.kept is None else self.kept.copy()

    def _take_over(self, kept: Components) -> None:
        self.kept = kept

    def _width(self) -> int:
        return 0 if self.kept is None else self.kept.shape[1]

    def _find_first(
        self, log_joint: LogJoint, n_kept: int, some: Components, cells: Cells | None
    ) -> None:
        self.kept = memory_of_kept((self.n_samples, n_kept), self.truncation.state)
        find_first(self, log_joint, some, cells, self.kept)

    def _search(
        self,
        log_joint: LogJoint,
        request: Request,
        search: Search,
        about: Float64Array | None = None,
    ) -> Searched:
        assert self.kept is not None
        return search_rows(self, log_joint, request, search, self.kept, about=about)

    def _rows_of(self, components: npt.NDArray[np.intp]) -> tuple[RowNumbers, Components]:
        assert self.kept is not None
        return rows_of_best(components, self.kept)

    def walk(self, log_joint: LogJoint, neighbors: Components) -> Components:
        """Search among known neighbours until no row finds better components, and return them.

        Few components are looked at all.

        Nothing is drawn at random, and what a row finds does not depend on the other rows.

        Parameters
        ----------
        log_joint : LogJoint
        neighbors : ndarray of shape (n_components, n_neighbors), int32, C order

        Returns
        -------
        kept : ndarray of shape (n_samples, n_kept), int32
        """
        K = log_joint.n_components
        if K <= LOOKED_AT:
            self.kept = memory_of_kept((self.n_samples, self._n_kept(log_joint)))
            every = np.arange(K, dtype=np.int32)
            self._search(log_joint, Request(), Search(self.kept.shape[1], candidates=every))
            return self.kept
        self.neighbors = neighbors
        self._begin(log_joint)
        assert self.kept is not None
        search = Search(self.kept.shape[1], neighbors.shape[1], neighbors=neighbors)
        for _ in range(MOST_STEPS):
            before = self.kept.copy()
            self._search(log_joint, Request(), search)
            if np.array_equal(before, self.kept):
                break
        return self.kept

    def outputs_of_kept(
        self, log_joint: LogJoint, log_evidence: FloatArray, resp: FloatArray
    ) -> None:
        """Fill arrays with the evidence over what rows keep, and their responsibilities.

        Parameters
        ----------
        log_joint : LogJoint
        log_evidence : ndarray of shape (n_samples,), dtype of the rows
        resp : ndarray of shape (n_samples, n_kept), dtype of the rows, C order
        """
        assert self.kept is not None
        search = Search(self.kept.shape[1])
        outputs = log_evidence, resp
        search_rows(self, log_joint, Request(), search, self.kept, outputs=outputs)

    def best_components(self, log_joint: LogJoint) -> tuple[npt.NDArray[Any], FloatArray]:
        """Return the best component that each row keeps, -1 for none, and its log-evidence."""
        if self.kept is None:
            return super().best_components(log_joint)
        self.n_passes += 1
        return BestOfRows(log_joint)(self, self.kept)
