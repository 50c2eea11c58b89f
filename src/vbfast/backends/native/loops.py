"""Loops of the native backend, which go from pass to pass without Python."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import numpy.typing as npt

from vbfast import _vbfast
from vbfast.contract import (
    MOMENTS_OF,
    Blocking,
    Float64Array,
    Iterated,
    LikelihoodSteps,
    MovedCentres,
    NormalWishartArrays,
    Ordinary,
    PassResult,
    Request,
    RowBlock,
    Settling,
    Steps,
    VariationalSteps,
)

__all__ = ["NativeLoops"]


class NativeLoops:
    """See :class:`vbfast.contract.LoopingBackend`."""

    def choose_seeds(
        self,
        blocks: Sequence[RowBlock],
        for_one: Blocking,
        for_trials: Blocking,
        n_clusters: int,
        *,
        n_trials: int,
        quantiles: Float64Array,
        workspace: _vbfast.Workspace,
        num_threads: int,
    ) -> tuple[npt.NDArray[np.intp], float] | None:
        """Greedy k-means++."""
        request = Request("hard")
        rows, separation, bad_row = _vbfast.choose_seeds(
            _looped_rows(blocks, for_one, request, workspace),
            _looped_rows(blocks, for_trials, request, workspace),
            n_clusters,
            n_trials,
            quantiles,
            num_threads,
        )
        return None if bad_row >= 0 else (rows.astype(np.intp, copy=False), separation)

    def move_centres(
        self,
        blocks: Sequence[RowBlock],
        blocking: Blocking,
        centres: Float64Array,
        *,
        precision: float,
        tolerance: float,
        max_iterations: int,
        bounds: _vbfast.NearestBounds | None,
        workspace: _vbfast.Workspace,
        num_threads: int,
    ) -> MovedCentres:
        """Lloyd's iterations."""
        rows = _looped_rows(blocks, blocking, Request("hard", "first"), workspace)
        moved, n_iterations, rested, lost, bad_row = _vbfast.move_centres(
            rows, centres, precision, tolerance, max_iterations, bounds, num_threads
        )
        return MovedCentres(moved, n_iterations, rested, lost or bad_row >= 0)

    def iterate_gaussians(
        self,
        blocks: Sequence[RowBlock],
        blocking: Blocking,
        steps: Steps,
        settling: Settling,
        ordinary: Ordinary,
        *,
        most: int,
        lowest_log_evidence: float,
        bounds: list[float],
        workspace: _vbfast.Workspace,
        num_threads: int,
    ) -> Iterated:
        """Alternate passes and global steps."""
        request = Request(moments=MOMENTS_OF[steps.covariance_type])
        rows = _looped_rows(blocks, blocking, request, workspace)
        looped = _Likelihood(steps) if isinstance(steps, LikelihoodSteps) else _Variational(steps)
        bounds, settled, left, sums = _vbfast.iterate_gaussians(
            rows, looped.step, settling, ordinary, most, lowest_log_evidence, bounds, num_threads
        )
        weight, log_evidence, expected_log_joint, entropy, kl, lowest = sums
        result = PassResult.answer(
            request,
            weight,
            log_evidence,
            expected_log_joint,
            entropy,
            kl,
            None,
            lowest,
            blocking.dtype,
        )
        return Iterated(looped.after(), bounds, settled, left, result)


def _looped_rows(
    blocks: Sequence[RowBlock], blocking: Blocking, request: Request, workspace: _vbfast.Workspace
) -> _vbfast.LoopedRows:
    return _vbfast.LoopedRows(
        list(blocks),
        blocks[0].rows.shape[1],
        blocking.dtype == np.float32,
        request.assignment,
        request.moments or "none",
        blocking.bounds,
        blocking.tile_rows,
        blocking.split_components,
        blocking.open_partitions,
        workspace,
    )


class _Likelihood:
    """Steps of most likelihood, on the other side."""

    def __init__(self, steps: LikelihoodSteps) -> None:
        self._steps = steps
        self.step = _vbfast.LikelihoodStep(
            steps.covariance_type,
            (steps.weights, steps.means, steps.covariances, steps.precision_cholesky, steps.offset),
            steps.variance,
            steps.least_count,
            steps.empty,
        )

    def after(self) -> LikelihoodSteps:
        """Return where they have come to."""
        weights, means, covariances, factor, offset = self.step.parameters()
        return replace(
            self._steps,
            weights=weights,
            means=means,
            covariances=covariances,
            precision_cholesky=factor,
            offset=offset,
        )


class _Variational:
    """Steps of variational Bayes, on the other side."""

    def __init__(self, steps: VariationalSteps) -> None:
        self._steps = steps
        prior, posterior = steps.prior, steps.posterior
        self.step = _vbfast.VariationalStep(
            steps.covariance_type,
            (
                steps.sticks,
                steps.concentration,
                prior.mean_precision,
                prior.means,
                prior.degrees_of_freedom,
                steps.prior_covariance,
                prior.factor,
            ),
            (
                steps.counts,
                steps.expected_log_weights,
                posterior.mean_precision,
                posterior.means,
                posterior.degrees_of_freedom,
                steps.covariances,
                posterior.factor,
                steps.offset,
            ),
            steps.variance,
            steps.least_count,
        )

    def after(self) -> VariationalSteps:
        """Return where they have come to."""
        counts, expected_log, mean_precision, means, degrees, covariances, factor, offset = (
            self.step.posterior()
        )
        return replace(
            self._steps,
            counts=counts,
            expected_log_weights=expected_log,
            posterior=NormalWishartArrays(mean_precision, means, degrees, factor),
            covariances=covariances,
            offset=offset,
        )
