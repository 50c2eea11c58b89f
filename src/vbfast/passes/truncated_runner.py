"""Passes in which every row has responsibilities for a few components alone."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import replace
from functools import partial
from typing import Any

import numpy as np
import numpy.typing as npt

from vbfast.config.settings import current_num_threads
from vbfast.contract import (
    Components,
    Float64Array,
    FloatArray,
    Identity,
    Linear,
    LogJoint,
    NonFiniteRowError,
    PassResult,
    Quadratic,
    Request,
    RowSource,
    Search,
    TruncatedPass,
    offers_truncation,
)
from vbfast.inputs.weights import of_unit_scale
from vbfast.passes.first_neighbors import (
    begin_beside,
    cells_around,
    first_neighbors,
    some_components,
)
from vbfast.passes.runner import LocalRunner
from vbfast.passes.truncation import FEWEST, Truncation, components_worth_keeping, saves_time

__all__ = ["TruncatedRunner"]

# Bytes of rows that are searched together, and as many of what is noted of them.
CHUNK_BYTES = 64 << 20
# The warm-up: searches before the first global step, until the bound gains less, nats a row.
WARM_UP = 10
WARM_GAIN = 1e-2
# Rows of which whole posteriors are made to decide how many components the others keep.
DECIDING_ROWS = 4096
# Steps of a walk at most. Few rows take more than five.
MOST_STEPS = 30

_MULTIPLIER = 0x9E3779B97F4A7C15  # of the golden ratio: keys of one seed lie far from each other


class TruncatedRunner(LocalRunner):
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
    neighbors : ndarray of shape (n_components, n_neighbors), int32, or None
    n_kept : int or None
        Components that a row keeps; None where the first iteration has still to decide.
    whole : bool
        Whether it has decided for whole posteriors, as a search would not save anything.

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
        if not offers_truncation(self._backend):
            raise NotImplementedError(
                f"truncation needs a backend that has it, which {self._backend.name!r} does not: "
                "use backend='native'"
            )
        self.truncation = truncation
        self.n_kept = truncation.n_kept
        self.whole = False
        self._scaled_weight, self._exponent = of_unit_scale(sample_weight)
        self.begin_anew()

    def begin_anew(self) -> None:
        """Forget what rows keep."""
        self.kept: Components | None = None
        self.neighbors: Components | None = None
        self._searches = 0
        self._warm = False

    def memory(self) -> dict[str, Any]:
        """Return copies of what the next search depends on."""
        return {
            "n_kept": self.n_kept,
            "whole": self.whole,
            "kept": None if self.kept is None else self.kept.copy(),
            "neighbors": self.neighbors,
            "searches": self._searches,
            "warm": self._warm,
        }

    def remember(self, memory: dict[str, Any]) -> None:
        """Go on from what :meth:`memory` returned, for the same rows."""
        self.n_kept, self.whole = memory["n_kept"], memory["whole"]
        self.kept, self.neighbors = memory["kept"], memory["neighbors"]
        self._searches, self._warm = memory["searches"], memory["warm"]

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
        again = self._pass(log_joint, request, Search(self._n_kept(log_joint)), about=about)
        return replace(result, statistics=again.statistics)

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
            self.kept = self.neighbors = None

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
        kept = self._begun(log_joint)
        rules = self.truncation
        search = Search(
            n_kept=kept.shape[1],
            n_neighbors=self._n_neighbors(log_joint),
            n_random=min(rules.n_random, log_joint.n_components),
            key=self._key(),
            neighbors=self.neighbors,
            learn=True,
        )
        return self._pass(log_joint, request, search)

    def walk(self, log_joint: LogJoint, neighbors: Components) -> Components:
        """Search among known neighbours until no row finds better components, and return them.

        Nothing is drawn at random, and what a row finds does not depend on the other rows.

        Parameters
        ----------
        log_joint : LogJoint
        neighbors : ndarray of shape (n_components, n_neighbors), int32, C order

        Returns
        -------
        kept : ndarray of shape (n_samples, n_kept), int32
        """
        self.neighbors = neighbors
        kept = self._begun(log_joint)
        search = Search(kept.shape[1], neighbors.shape[1], neighbors=neighbors)
        for _ in range(MOST_STEPS):
            before = kept.copy()
            self._pass(log_joint, Request(), search)
            if np.array_equal(before, kept):
                break
        return kept

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
        self._pass(log_joint, Request(), search, outputs=(log_evidence, resp))

    def bound_gap(self, log_joint: LogJoint) -> float:
        """Return how far the bound over what rows keep is below their evidence, nats a row.

        It takes an exact pass. NaN where a row is impossible under all components.
        """
        if self.kept is None:
            return 0.0
        exact = self.run(log_joint, Request())
        bound = self._pass(log_joint, Request(), Search(self.kept.shape[1])).log_evidence
        return max((exact.log_evidence - bound) / exact.total_weight, 0.0)

    def begin_beside(self, components: npt.NDArray[np.intp], hosts: npt.NDArray[np.intp]) -> None:
        """Let components begin anew beside hosts: the rows of these will try them.

        Parameters
        ----------
        components, hosts : ndarray of shape (n_moved,), intp
        """
        if self.neighbors is not None:
            begin_beside(hosts, components, self.neighbors)

    def best_components(self, log_joint: LogJoint) -> tuple[npt.NDArray[Any], FloatArray]:
        """Return the best component that each row keeps, -1 for none, and its log-evidence."""
        if self.kept is None:
            return super().best_components(log_joint)
        self.n_passes += 1
        log_evidence = np.empty(self.n_samples, self.dtype)
        search = Search(self.kept.shape[1])
        self._pass(log_joint, Request(), search, outputs=(log_evidence, None))
        return np.array(self.kept[:, 0]), log_evidence

    def _key(self) -> int:
        """Return the key of the next search's draws."""
        self._searches += 1
        return (self.truncation.seed + self._searches * _MULTIPLIER) % (1 << 64)

    def _n_kept(self, log_joint: LogJoint) -> int:
        # Until the first iteration has decided, a start does with few.
        return min(self.n_kept or FEWEST, log_joint.n_components)

    def _n_neighbors(self, log_joint: LogJoint) -> int:
        return min(self.truncation.n_neighbors, log_joint.n_components)

    def _begun(self, log_joint: LogJoint) -> Components:
        """Return what rows keep, which they first find in the cells of a few components."""
        shape = (self.n_samples, self._n_kept(log_joint))
        if self.kept is None or self.kept.shape != shape:
            some = some_components(log_joint.offset)
            visit = partial(self._visit_centres, log_joint)
            cells = cells_around(some, log_joint.n_components, visit)
            wanted = (log_joint.n_components, self._n_neighbors(log_joint))
            if self.neighbors is None or self.neighbors.shape != wanted:
                self.neighbors = first_neighbors(some, cells, *wanted, visit)
            self.kept = self._memory_for(shape)
            self._pass(log_joint, Request(), Search(shape[1], candidates=some))
            if cells is not None:
                self._pass(log_joint, Request(), Search(shape[1], cells=cells))
                self._try_all(log_joint, np.flatnonzero(self.kept[:, 0] < 0))
        return self.kept

    def _memory_for(self, shape: tuple[int, int]) -> Components:
        """Return an array of no components, in the file that was asked for."""
        path = self.truncation.state
        if path is None:
            return np.full(shape, -1, np.int32)
        kept: Components = np.lib.format.open_memmap(path, "w+", np.int32, shape)
        kept[:] = -1
        return kept

    def _try_all(self, log_joint: LogJoint, rows: npt.NDArray[np.intp]) -> None:
        """Let rows that have found no component that is possible for them try every one."""
        assert self.kept is not None
        every = np.arange(log_joint.n_components, dtype=np.int32)
        search = Search(self.kept.shape[1], candidates=every)
        for some in (rows[part] for part in self._chunks(len(rows))):
            kept = self.kept[some]
            running = self._begin(log_joint, Request(), search, self.dtype, None)
            running.run(0, self._take(some), None, kept)
            self.kept[some] = kept

    def _visit_centres(self, log_joint: LogJoint, kept: Components, search: Search) -> None:
        """Search with the components' own centres as rows: of the linear form, along theta."""
        form, most = log_joint.form, np.finfo(self.dtype).max
        centres = form.theta if isinstance(form, Linear) else form.centres
        centres = np.clip(centres, -most, most).astype(self.dtype)
        running = self._begin(log_joint, Request(), search, self.dtype, None)
        running.run(0, centres, None, kept)

    def _pass(
        self,
        log_joint: LogJoint,
        request: Request,
        search: Search,
        *,
        about: Float64Array | None = None,
        outputs: tuple[FloatArray | None, FloatArray | None] = (None, None),
    ) -> PassResult:
        """Visit every row once, and take over what is kept and learned."""
        assert self.kept is not None
        running = self._begin(log_joint, request, search, self.dtype, about)
        for rows in self._chunks(self.n_samples):
            weight = None if self._scaled_weight is None else self._scaled_weight[rows]
            block = self.source.block(rows.start, rows.stop)
            log_evidence, resp = (None if array is None else array[rows] for array in outputs)
            try:
                running.run(
                    rows.start,
                    block,
                    weight,
                    self.kept[rows],
                    log_evidence=log_evidence,
                    resp=resp,
                )
            except NonFiniteRowError as error:
                raise NonFiniteRowError(self._first_row + error.row) from None
        if search.learn:
            self.neighbors = running.neighbors()
        result = running.finish()
        if self._exponent == 0:
            return result
        half = self._exponent // 2  # in two steps, each of which is a number
        return result * 2.0**half * 2.0 ** (self._exponent - half)

    def _begin(
        self,
        log_joint: LogJoint,
        request: Request,
        search: Search,
        dtype: np.dtype[Any],
        about: Float64Array | None,
    ) -> TruncatedPass:
        backend, form, link = self._backend, log_joint.form, log_joint.link
        if not (isinstance(form, Quadratic | Linear) and isinstance(link, Identity)):
            raise NotImplementedError(
                "truncation needs Gaussian components, or others of a linear form; got "
                f"{type(form).__name__} under {type(link).__name__}: use truncation=None"
            )
        workspace = self._workspace(backend)
        assert offers_truncation(backend)
        return backend.begin_truncated(
            log_joint,
            request,
            search,
            dtype=dtype,
            workspace=workspace,
            num_threads=current_num_threads(),
            about=about,
        )

    def _chunks(self, n_samples: int) -> Iterator[slice]:
        """Yield rows that are searched together, whose sums depend on where these end."""
        assert self.kept is not None
        numbers = 16 * -(-self.n_features // 16) + 2 * self.kept.shape[1]
        row = numbers * self.dtype.itemsize + 2 * self.kept.shape[1] * self.kept.itemsize
        n_rows = max(1 << 12, CHUNK_BYTES // row)
        for start in range(0, n_samples, n_rows):
            yield slice(start, min(start + n_rows, n_samples))
