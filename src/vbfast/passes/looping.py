"""Loops that a backend runs by itself, see :class:`vbfast.contract.LoopingBackend`."""

from __future__ import annotations

from abc import abstractmethod
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from vbfast.config.settings import current_num_threads
from vbfast.contract import (
    MOMENTS_OF,
    Backend,
    Blocking,
    Float64Array,
    Iterated,
    Moments,
    MovedCentres,
    Ordinary,
    PassResult,
    RowBlock,
    RowSource,
    Settling,
    Steps,
    offers_loops,
)
from vbfast.passes.distances import precision_of_unit
from vbfast.passes.negligible import MARGIN, reach_of
from vbfast.passes.one_pass import Layouts, layout_of
from vbfast.passes.recentring import TOLERATED, reach_of_middle

__all__ = ["Looping"]

# Operations of a call, each a tenth of a nanosecond or more: some 20 ms, after which Python looks
# at what has become of it.
CALL_OPERATIONS = 1 << 27


class _Looped(NamedTuple):
    """All rows, how their passes are blocked, and how many a call may make."""

    blocks: list[RowBlock]
    blocking: Blocking
    most: int


class Looping:
    """Loops of a runner over rows in memory, mixed into its class."""

    source: RowSource
    sample_weight: Float64Array | None
    n_passes: int
    _backend: Backend
    _layouts: dict[str, Layouts]

    @abstractmethod
    def _workspace(self, backend: Backend) -> Any:
        """Return memory that passes use again."""

    def choose_seeds(
        self, n_clusters: int, *, n_trials: int, quantiles: Float64Array
    ) -> tuple[npt.NDArray[np.intp], float] | None:
        """Choose rows as first centres by greedy k-means++.

        Parameters
        ----------
        n_clusters, n_trials, quantiles
            As for :meth:`vbfast.contract.LoopingBackend.choose_seeds`.

        Returns
        -------
        rows : ndarray of shape (n_clusters,), intp
        separation : float
            The least squared distance between two that differ; infinite if none do.
        None
            If the backend has no such loop, a row is not finite, or the passes take longer than
            a call should.
        """
        backend = self._backend
        if not offers_loops(backend):
            return None
        one = self._looped(None, 1, n_clusters)
        trials = self._looped(None, n_trials, n_clusters)
        if one is None or trials is None or trials.most < n_clusters:
            return None
        return backend.choose_seeds(
            one.blocks,
            one.blocking,
            trials.blocking,
            n_clusters,
            n_trials=n_trials,
            quantiles=quantiles,
            workspace=self._workspace(backend),
            num_threads=current_num_threads(),
        )

    def move_centres(
        self,
        centres: Float64Array,
        unit: float,
        *,
        tolerance: float,
        max_iterations: int,
        bounds: Any,
    ) -> MovedCentres | None:
        """Move centres to the means of the rows closest to them, some milliseconds long.

        Parameters
        ----------
        centres, unit, tolerance, max_iterations, bounds
            As of :func:`vbfast.inference.kmeans.lloyd`.

        Returns
        -------
        MovedCentres or None
            None if the backend has no such loop, or a single pass takes longer.
        """
        backend = self._backend
        looped = self._looped("first", len(centres), max_iterations)
        if looped is None or not offers_loops(backend):
            return None
        return backend.move_centres(
            looped.blocks,
            looped.blocking,
            centres,
            precision=precision_of_unit(unit),
            tolerance=tolerance,
            max_iterations=looped.most,
            bounds=bounds,
            workspace=self._workspace(backend),
            num_threads=current_num_threads(),
        )

    def iterate_gaussians(
        self,
        steps: Steps,
        settling: Settling,
        *,
        most: int,
        bounds: list[float],
        previous: PassResult | None,
    ) -> Iterated | None:
        """Alternate passes and global steps, some milliseconds long.

        Parameters
        ----------
        steps : Steps
        settling : Settling
        most : int
            Iterations at most.
        bounds : list of float
            Of the iterations before.
        previous : PassResult or None
            Of the iteration before.

        Returns
        -------
        Iterated or None
            None if the backend has no such loop, or a single pass takes longer.
        """
        backend, K = self._backend, len(steps.offset)
        looped = self._looped(MOMENTS_OF[steps.covariance_type], K, most)
        if looped is None or not offers_loops(backend):
            return None
        iterated = backend.iterate_gaussians(
            looped.blocks,
            looped.blocking,
            steps,
            settling,
            _ordinary(self.source.dtype, K),
            most=looped.most,
            lowest_log_evidence=-np.inf if previous is None else previous.lowest_log_evidence,
            bounds=bounds,
            workspace=self._workspace(backend),
            num_threads=current_num_threads(),
        )
        self.n_passes += len(iterated.bounds) - len(bounds)
        return iterated

    def _looped(self, moments: Moments | None, n_components: int, most: int) -> _Looped | None:
        """Return what a loop visits.

        None of rows that are not in memory, or whose weights are scaled, and where one pass takes
        longer than a call should.
        """
        N, D = self.source.n_samples, self.source.n_features
        squares = D * D if moments in ("full", "pooled") else D
        passes = CALL_OPERATIONS // (N * (100 + 10 * D + n_components * (12 + squares)))
        if passes < 2:
            return None
        layouts = self._layouts.setdefault(self._backend.name, {})
        kind = (D, n_components, moments)
        layout = layout_of(kind, self.source, self.sample_weight, self._backend, layouts)
        if layout.blocks is None or layout.exponent != 0:
            return None
        return _Looped(layout.blocks, layout.blocking, min(most, passes))


def _ordinary(dtype: np.dtype[Any], n_components: int) -> Ordinary:
    """Return what iterations are ordinary by, as runners of passes take them.

    Parameters
    ----------
    dtype : float32 or float64
        Of the computation.
    n_components : int
    """
    reach = reach_of(n_components, margin=MARGIN)
    return Ordinary(reach, TOLERATED[dtype], reach_of_middle(dtype))
