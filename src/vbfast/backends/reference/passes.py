"""Passes in plain NumPy and float64, each formula as :class:`vbfast.ElboTerms` states it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from vbfast.backends.blocking import pieces, seeding_pieces
from vbfast.backends.checks import (
    check_blocks,
    check_log_joint,
    check_outputs,
    check_seeding_blocks,
)
from vbfast.backends.reference.forms import evaluate, expected_scale, gradient_in_rows
from vbfast.backends.reference.posterior import (
    limiting_posterior,
    log_posterior,
    log_sum_exp,
    one_hot,
    times,
)
from vbfast.contract import (
    Blocking,
    Float64Array,
    FloatArray,
    LogJoint,
    Moments,
    NonFiniteRowError,
    PassResult,
    Request,
    RowBlock,
    RowOutputs,
    Statistics,
    merge,
    second_shape,
)

__all__ = ["ReferencePass", "ReferenceSeedingPass"]


class ReferencePass:
    """A pass over the rows, a tile at a time, so that memory stays bounded."""

    def __init__(
        self, log_joint: LogJoint, request: Request, blocking: Blocking, outputs: RowOutputs
    ) -> None:
        check_log_joint(log_joint, blocking)
        check_outputs(outputs, blocking, log_joint.n_components, log_joint.n_features)
        self._log_joint = log_joint
        self._request = request
        self._blocking = blocking
        self._outputs = outputs
        self._centres = log_joint.form.centres
        self._partitions = [self._nothing() for _ in range(blocking.n_partitions)]

    def _nothing(self) -> PassResult:
        """Return the sums over no rows."""
        statistics = None
        moments = self._request.moments
        if moments is not None:
            K, D = self._centres.shape
            shape = second_shape(moments, K, D)
            second = None if shape is None else np.zeros(shape)
            scale = expected_scale(np.zeros((0, D)), self._log_joint)
            statistics = Statistics(
                moments,
                self._centres,
                np.zeros(K),
                np.zeros((K, D)),
                second,
                None if scale is None else np.zeros(K),
            )
        return PassResult(0.0, 0.0, 0.0, 0.0, 0.0, statistics, np.inf, self._blocking.dtype)

    def run(self, blocks: Sequence[RowBlock], num_threads: int) -> None:  # noqa: ARG002
        """Process blocks one after another."""
        K, D = self._log_joint.n_components, self._log_joint.n_features
        check_blocks(blocks, self._blocking, K, D, self._request)
        _check_finite(blocks)
        for partition, block in pieces(blocks, self._blocking):
            for first in range(0, len(block.rows), self._blocking.tile_rows):
                tile = slice(first, first + self._blocking.tile_rows)
                self._partitions[partition] += self._sums(block, tile)

    def _sums(self, block: RowBlock, tile: slice) -> PassResult:
        """Return the sums of a tile, and write its outputs."""
        X = np.array(block.rows[tile], dtype=np.float64, order="C")
        weights = np.ones(len(X)) if block.weights is None else block.weights[tile]
        K = self._log_joint.n_components

        with np.errstate(over="ignore", divide="ignore"):  # distances to +inf, log 0
            log_joints = evaluate(X, self._log_joint)
            log_evidence = log_sum_exp(log_joints)
            log_post = log_posterior(log_joints)
            labels = np.argmax(log_joints, axis=1)
            impossible = log_evidence == -np.inf
            # What rows are most likely of is known where it overflows their dtype all the same,
            # unless nothing is possible.
            overflowed = log_evidence.astype(block.rows.dtype) == -np.inf
            limit = np.zeros((0, K))
            if overflowed.any() and np.any(self._log_joint.offset > -np.inf):
                limit = limiting_posterior(X[overflowed], self._log_joint)
                labels[overflowed] = np.argmax(limit, axis=1)
            if self._request.assignment == "posterior":
                q, log_q = np.exp(log_post), log_post
            else:
                hard = self._request.assignment == "hard"
                q = one_hot(labels, K) if hard else _given(block, tile, K)
                log_q = np.log(q)

        log_ratio = np.subtract(log_q, log_post, out=np.zeros_like(q), where=q > 0)
        expected = np.where(impossible, -np.inf, times(q, log_joints).sum(axis=1))
        entropy = np.where(impossible, 0.0, -times(q, log_q).sum(axis=1))
        kl = np.where(impossible, 0.0, times(q, log_ratio).sum(axis=1))

        resp = q
        if self._request.assignment == "posterior" and len(limit) > 0:
            resp = q.copy()
            resp[overflowed] = limit

        start = block.start + tile.start
        rows = slice(start, start + len(X))
        for array, values in (
            (self._outputs.log_evidence, log_evidence),
            (self._outputs.labels, labels),
            (self._outputs.resp, resp),
            (self._outputs.entropy, entropy),
            (self._outputs.expected_log_joint, expected),
            (self._outputs.log_joint, log_joints),
        ):
            if array is not None:
                with np.errstate(over="ignore"):  # beyond single precision
                    array[rows] = values
        if self._outputs.gradient is not None:
            with np.errstate(over="ignore"):
                self._outputs.gradient[rows] = gradient_in_rows(X, q, self._log_joint)

        return PassResult(
            total_weight=float(weights.sum()),
            log_evidence=_weighted_sum(weights, log_evidence),
            expected_log_joint=_weighted_sum(weights, expected),
            entropy=_weighted_sum(weights, entropy),
            kl=_weighted_sum(weights, kl),
            statistics=self._statistics(X, weights[:, np.newaxis] * q),
            lowest_log_evidence=float(np.min(log_evidence, where=weights > 0, initial=np.inf)),
            dtype=self._blocking.dtype,
        )

    def _statistics(self, X: Float64Array, r: Float64Array) -> Statistics | None:
        moments = self._request.moments
        if moments is None:
            return None
        scale = expected_scale(X, self._log_joint)
        return statistics_about(self._centres, moments, X, r, scale)

    def finish(self) -> PassResult:
        """Add the partitions up."""
        total = merge(self._partitions)
        total = replace(total, statistics=symmetric(total.statistics))
        return total.answering(self._request)


class ReferenceSeedingPass:
    """Sums of squared distances to the closest of the centres so far and one candidate."""

    def __init__(self, candidates: Float64Array, blocking: Blocking) -> None:
        self._candidates = candidates
        self._partitions = np.zeros((blocking.n_partitions, len(candidates)))
        self._blocking = blocking

    def run(
        self,
        blocks: Sequence[RowBlock],
        closest: Sequence[FloatArray],
        lowered: Sequence[FloatArray | None],
        num_threads: int,  # noqa: ARG002
    ) -> None:
        """Process blocks one after another."""
        check_seeding_blocks(blocks, closest, lowered, self._blocking, self._candidates)
        _check_finite(blocks)
        tile_rows = self._blocking.tile_rows
        for piece in seeding_pieces(blocks, closest, lowered, self._blocking):
            for first in range(0, len(piece[1].rows), tile_rows):
                self._run_tile(slice(first, first + tile_rows), *piece)

    def _run_tile(
        self,
        tile: slice,
        partition: int,
        block: RowBlock,
        closest: FloatArray,
        lowered: FloatArray | None,
    ) -> None:
        X = np.array(block.rows[tile], dtype=np.float64, order="C")
        weights = np.ones(len(X)) if block.weights is None else block.weights[tile]
        for index, candidate in enumerate(self._candidates):
            with np.errstate(over="ignore"):
                distance = np.minimum(closest[tile], np.sum((X - candidate) ** 2, axis=1))
            self._partitions[partition, index] += _weighted_sum(weights, distance)
            if lowered is not None:
                with np.errstate(over="ignore"):  # beyond single precision
                    lowered[index, tile] = distance

    def finish(self) -> Float64Array:
        """Add the partitions up in their order."""
        potentials = np.zeros(len(self._candidates))
        for partition in self._partitions:
            potentials += partition
        return potentials


@np.errstate(over="ignore", invalid="ignore")  # of squares: what they are summed to is infinite
def statistics_about(
    centres: Float64Array,
    moments: Moments,
    X: Float64Array,
    r: Float64Array,
    expected_scale: Float64Array | None = None,
) -> Statistics:
    """Return the moments of rows about centres.

    Parameters
    ----------
    centres : ndarray of shape (n_components, n_features)
    moments : the moments that are summed
    X : ndarray of shape (n_rows, n_features)
    r : ndarray of shape (n_rows, n_components)
        Weighted responsibilities.
    expected_scale : ndarray of shape (n_rows, n_components), optional
        Under a Student link.
    """
    weight, scale = r.sum(axis=0), None
    if expected_scale is not None:
        r = r * expected_scale
        scale = r.sum(axis=0)
    K, D = centres.shape
    first = np.zeros((K, D))
    shape = second_shape(moments, K, D)
    second = None if shape is None else np.zeros(shape)
    for k, centre in enumerate(centres):
        d = X - centre
        rd = r[:, k, np.newaxis] * d
        first[k] = rd.sum(axis=0)
        if second is None:
            continue
        if moments == "full":
            second[k] = rd.T @ d
        elif moments == "pooled":
            second += rd.T @ d
        elif moments == "diag":
            second[k] = (rd * d).sum(axis=0)
        else:
            second[k] = (rd * d).mean(axis=1).sum()
    return Statistics(moments, centres, weight, first, second, scale)


def symmetric(statistics: Statistics | None) -> Statistics | None:
    """Return statistics whose second moments are symmetric to the last bit."""
    if statistics is None or statistics.moments not in ("full", "pooled"):
        return statistics
    assert statistics.second is not None
    second = 0.5 * (statistics.second + statistics.second.swapaxes(-1, -2))
    return replace(statistics, second=second)


def _given(block: RowBlock, tile: slice, n_components: int) -> Float64Array:
    assert block.resp is not None
    resp = block.resp[tile]
    if resp.ndim == 1:
        return one_hot(resp.astype(np.int64), n_components)
    return resp.astype(np.float64)


def _weighted_sum(weights: Float64Array, values: Float64Array) -> float:
    return float(times(weights, values).sum())


def _check_finite(blocks: Sequence[RowBlock]) -> None:
    """Raise for the first row, of all blocks, that is not finite: also where its weight is zero."""
    bad = [
        block.start + int(np.argmin(finite))
        for block in blocks
        if not (finite := np.isfinite(block.rows).all(axis=1)).all()
    ]
    if bad:
        raise NonFiniteRowError(min(bad))
