"""What runners of searches share, wherever their rows are: iterations, starts, and neighbours."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Callable
from dataclasses import replace
from functools import partial
from typing import Any

import numpy as np
import numpy.typing as npt

from vbfast.contract import (
    Cells,
    Components,
    Float64Array,
    Identity,
    Linear,
    LogJoint,
    PassResult,
    Quadratic,
    Request,
    Search,
    offers_truncation,
)
from vbfast.passes.base_runner import BaseRunner
from vbfast.passes.first_neighbors import (
    begin_beside,
    cells_around,
    first_neighbors,
    some_components,
)
from vbfast.passes.hosts import rows_of_hosts
from vbfast.passes.row_search import Searched, visit_centres
from vbfast.passes.truncation import FEWEST, Truncation, components_worth_keeping, saves_time

__all__ = ["Searching", "rows_of_best"]

# The warm-up: searches before the first global step, until the bound gains less, nats a row.
WARM_UP = 10
WARM_GAIN = 1e-2
# Rows of which whole posteriors are made to decide how many components the others keep.
DECIDING_ROWS = 4096

_MULTIPLIER = 0x9E3779B97F4A7C15  # of the golden ratio: keys of one seed lie far from each other

RowNumbers = npt.NDArray[np.intp]


class Searching(BaseRunner):
    """Base class of runners whose iterations have truncated posteriors, and all else as it is.

    A subclass says where its rows are, and where what they keep is from pass to pass. The
    neighbours of the components live here.

    Attributes
    ----------
    neighbors : ndarray of shape (n_components, n_neighbors), int32, or None
    n_kept : int or None
        Components that a row keeps; None where the first iteration has still to decide.
    whole : bool
        Whether it has decided for whole posteriors, as a search would not save anything.
    """

    truncation: Truncation
    neighbors: Components | None
    n_kept: int | None
    whole: bool

    def _go_by(self, truncation: Truncation) -> None:
        """Take the rules that searches go by, before all else.

        Raises
        ------
        NotImplementedError
            If the backend has no truncated passes.
        """
        if not offers_truncation(self._backend):
            raise NotImplementedError(
                f"truncation needs a backend that has it, which {self._backend.name!r} does not: "
                "use backend='native'"
            )
        self.truncation = truncation
        self.n_kept = truncation.n_kept
        self.whole = False
        self.begin_anew()

    def begin_anew(self) -> None:
        """Forget what rows keep."""
        self._forget()
        self.neighbors = None
        self._searches = 0
        self._warm = False

    def memory(self) -> dict[str, Any]:
        """Return copies of what the next search depends on."""
        return {
            "n_kept": self.n_kept,
            "whole": self.whole,
            "kept": self._copied(),
            "neighbors": self.neighbors,
            "searches": self._searches,
            "warm": self._warm,
        }

    def remember(self, memory: dict[str, Any]) -> None:
        """Go on from what :meth:`memory` returned, for the same rows."""
        self.n_kept, self.whole = memory["n_kept"], memory["whole"]
        self.neighbors = memory["neighbors"]
        self._searches, self._warm = memory["searches"], memory["warm"]
        self._forget()
        if memory["kept"] is not None:
            self._take_over(memory["kept"])

    @abstractmethod
    def _forget(self) -> None:
        """Forget what rows keep."""

    @abstractmethod
    def _copied(self) -> Components | None:
        """Return a copy of what all rows keep, shape (n_samples, n_kept); None of nothing."""

    @abstractmethod
    def _take_over(self, kept: Components) -> None:
        """Let rows keep what :meth:`_copied` returned."""

    @abstractmethod
    def _width(self) -> int:
        """Return how many components rows keep so far; 0 before the first search."""

    @abstractmethod
    def _find_first(
        self, log_joint: LogJoint, n_kept: int, some: Components, cells: Cells | None
    ) -> None:
        """Let all rows make their first search, :func:`~vbfast.passes.row_search.find_first`."""

    @abstractmethod
    def _search(
        self,
        log_joint: LogJoint,
        request: Request,
        search: Search,
        about: Float64Array | None = None,
    ) -> Searched:
        """Visit every row once and renew what it keeps."""

    @abstractmethod
    def _rows_of(self, components: npt.NDArray[np.intp]) -> tuple[RowNumbers, Components]:
        """Return the rows, ascending, that have some of these as their best, and which of them."""

    def iterate(
        self,
        log_joint: LogJoint,
        request: Request,
        *,
        previous: PassResult | None = None,
        scatter_floor: Callable[[Float64Array], Float64Array] | None = None,
    ) -> PassResult:
        """Make the pass of an iteration: a search, and the moments of what it finds.

        The first one searches until the bound hardly gains, before it sums moments.
        """
        if self.n_kept is None:
            self._decide(log_joint)
        if self.whole:
            return super().iterate(
                log_joint, request, previous=previous, scatter_floor=scatter_floor
            )
        self.n_passes += 1
        if not self._warm:
            self._warm_up(log_joint)
            self._warm = True
        result = self.search(log_joint, request)
        about = self._where_to_take_moments_again(log_joint, result.statistics, scatter_floor)
        if about is None:
            return result
        self.n_passes += 1
        again = self._search(log_joint, request, Search(self._n_kept(log_joint)), about)
        return replace(result, statistics=again.sums.statistics)

    def _decide(self, log_joint: LogJoint) -> None:
        """Choose how many components rows keep by the entropy of some rows' whole posteriors."""
        count = min(self.n_samples, DECIDING_ROWS)
        sample = self.only(np.arange(count) * self.n_samples // count)
        sums = sample.run(log_joint, Request(entropy=True))
        self.n_kept = components_worth_keeping(sums.entropy / sums.total_weight)
        rules = self.truncation
        self.whole = not saves_time(
            log_joint.n_components, self.n_kept, rules.n_neighbors, rules.n_random
        )
        if self.whole:
            self._forget()
            self.neighbors = None

    def _warm_up(self, log_joint: LogJoint) -> None:
        bound = -np.inf
        for _ in range(WARM_UP):
            sums = self.search(log_joint, Request())
            gain = (sums.log_evidence - bound) / sums.total_weight
            bound = sums.log_evidence
            if not gain > WARM_GAIN:
                break

    def search(self, log_joint: LogJoint, request: Request) -> PassResult:
        """Search once for better components of every row, and learn neighbours.

        Parameters
        ----------
        log_joint : LogJoint
        request : Request
            Of a 'posterior' or 'hard' pass.
        """
        self._begin(log_joint)
        rules = self.truncation
        search = Search(
            n_kept=self._n_kept(log_joint),
            n_neighbors=self._n_neighbors(log_joint),
            n_random=min(rules.n_random, log_joint.n_components),
            key=self._key(),
            neighbors=self.neighbors,
            learn=True,
        )
        searched = self._search(log_joint, request, search)
        assert searched.nearness is not None
        self.neighbors = searched.nearness.neighbors(self.neighbors)
        return searched.sums

    def reseed(
        self,
        components: npt.NDArray[np.intp],
        hosts: npt.NDArray[np.intp],
        random_state: np.random.RandomState,
    ) -> Float64Array:
        """Let components begin anew at rows of others, and let the rows of those try them.

        Parameters
        ----------
        components, hosts : ndarray of shape (n_moved,), intp
            Hosts are the best component of some row of positive weight, and none of the others.
        random_state : numpy.random.RandomState
            The rows are drawn with it, of each host others as long as it has them.

        Returns
        -------
        rows : ndarray of shape (n_moved, n_features), float64
            What the components are to be centred at.
        """
        rows, best = self._rows_of(hosts)
        weight = None if self.sample_weight is None else self.sample_weight[rows]
        drawn = rows[rows_of_hosts(best, weight, hosts, random_state)]
        self.begin_beside(components, hosts)
        return self.gather(drawn)

    def begin_beside(self, components: npt.NDArray[np.intp], hosts: npt.NDArray[np.intp]) -> None:
        """Let components begin anew beside hosts: the rows of these will try them.

        Parameters
        ----------
        components, hosts : ndarray of shape (n_moved,), intp
        """
        if self.neighbors is not None:
            begin_beside(hosts, components, self.neighbors)

    def bound_gap(self, log_joint: LogJoint) -> float:
        """Return how far the bound over what rows keep is below their evidence, nats a row.

        It takes an exact pass. NaN where a row is impossible under all components.
        """
        if self._width() == 0:
            return 0.0
        exact = self.run(log_joint, Request())
        bound = self._search(log_joint, Request(), Search(self._width())).sums.log_evidence
        return max((exact.log_evidence - bound) / exact.total_weight, 0.0)

    def _key(self) -> int:
        """Return the key of the next search's draws."""
        self._searches += 1
        return (self.truncation.seed + self._searches * _MULTIPLIER) % (1 << 64)

    def _n_kept(self, log_joint: LogJoint) -> int:
        # Until the first iteration has decided, a start does with few.
        return min(self.n_kept or FEWEST, log_joint.n_components)

    def _n_neighbors(self, log_joint: LogJoint) -> int:
        return min(self.truncation.n_neighbors, log_joint.n_components)

    def _begin(self, log_joint: LogJoint) -> None:
        """Let rows that keep nothing yet look in the cells of a few components."""
        form, link = log_joint.form, log_joint.link
        if not (isinstance(form, Quadratic | Linear) and isinstance(link, Identity)):
            raise NotImplementedError(
                "truncation needs Gaussian components, or others of a linear form; got "
                f"{type(form).__name__} under {type(link).__name__}: use truncation=None"
            )
        n_kept = self._n_kept(log_joint)
        if self._width() == n_kept:
            return
        some = some_components(log_joint.offset)
        visit = partial(visit_centres, log_joint, self.dtype, self._backend.name)
        cells = cells_around(some, log_joint.n_components, visit)
        wanted = (log_joint.n_components, self._n_neighbors(log_joint))
        if self.neighbors is None or self.neighbors.shape != wanted:
            self.neighbors = first_neighbors(some, cells, *wanted, visit)
        self._find_first(log_joint, n_kept, some, cells)


def rows_of_best(
    components: npt.NDArray[np.intp], kept: Components
) -> tuple[RowNumbers, Components]:
    """Return which rows have some components as their best, and which of them.

    Parameters
    ----------
    components : ndarray of shape (n_wanted,), intp
    kept : ndarray of shape (n_rows, n_kept), int32

    Examples
    --------
    >>> import numpy as np
    >>> from vbfast.passes.searching import rows_of_best
    >>> rows_of_best(np.array([4, 2]), np.array([[4, 1], [3, 4], [2, 4]], np.int32))
    (array([0, 2]), array([4, 2], dtype=int32))
    """
    rows = np.flatnonzero(np.isin(kept[:, 0], components))
    return rows, kept[rows, 0]
