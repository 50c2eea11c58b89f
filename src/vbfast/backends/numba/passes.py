"""Passes over the rows: for every batch log-joint, responsibilities, outputs and sums."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from functools import partial
from typing import Any

import numpy as np

from vbfast.backends.blocking import pieces, seeding_pieces
from vbfast.backends.checks import check_blocks, check_outputs, check_seeding_blocks
from vbfast.backends.numba import local_step
from vbfast.backends.numba.batch import Batch, Batches, by_row
from vbfast.backends.numba.blocking import NEGLIGIBLE_EXPONENT
from vbfast.backends.numba.exponential import SMALLEST_EXPONENT
from vbfast.backends.numba.models import Model, distances_model
from vbfast.backends.numba.moments import SummaryStep
from vbfast.contract import (
    Blocking,
    Float64Array,
    FloatArray,
    PassResult,
    Request,
    RowBlock,
    RowOutputs,
)

__all__ = ["NumbaPass", "NumbaSeedingPass"]


class NumbaPass:
    """A pass of the contract, over any model."""

    def __init__(
        self, model: Model, request: Request, blocking: Blocking, outputs: RowOutputs
    ) -> None:
        check_outputs(outputs, blocking, model.n_components, model.n_features)
        self._model, self._request = model, request
        self._blocking, self._outputs = blocking, outputs
        self._summary = None if request.moments is None else SummaryStep(model, request, blocking)
        moments_cost = 0.0 if self._summary is None else self._summary.cost
        self._batches = Batches(model, blocking, moments_cost)
        self._terms = np.zeros((blocking.n_partitions, 5))
        self._lowest = np.full(blocking.n_partitions, np.inf)

    def run(self, blocks: Sequence[RowBlock], num_threads: int) -> None:
        """Process blocks of distinct partitions, in parallel."""
        K, D = self._model.n_components, self._model.n_features
        check_blocks(blocks, self._blocking, K, D, self._request)
        tasks = [partial(self._visit, *piece) for piece in pieces(blocks, self._blocking)]
        self._batches.run(tasks, num_threads)

    def _visit(self, partition: int, block: RowBlock, worker: int) -> Iterator[None]:
        each_step = self._batches.each_step
        for batch, rows in self._batches.of(block, worker):
            yield from each_step(partial(self._model.fill, batch))
            self._assign(batch, partition, block, rows)
            yield
            if self._outputs.gradient is not None:
                yield from self._gradient(batch, self._outputs.gradient)
            if self._summary is not None:
                yield from each_step(partial(self._summary.add, batch, partition, worker))

    def _assign(self, batch: Batch, partition: int, block: RowBlock, rows: slice) -> None:
        """Turn the log-joint into responsibilities, fill outputs and add the terms up."""
        request, outputs = self._request, self._outputs
        at = slice(batch.start, batch.start + batch.n_rows)
        if outputs.log_joint is not None:
            outputs.log_joint[at] = by_row(batch.joint)[: batch.n_rows]
        overflowed, limit = self._label(batch, block.rows[rows])
        if outputs.labels is not None:
            outputs.labels[at] = batch.of_rows(batch.label)
        if request.assignment == "posterior":
            self._assign_posterior(batch)
        else:
            self._assign_given(batch, None if block.resp is None else block.resp[rows])
        if outputs.resp is not None:
            resp = by_row(batch.joint * batch.scale[:, np.newaxis])[: batch.n_rows]
            if request.assignment == "posterior" and limit is not None:
                resp[overflowed] = limit
            outputs.resp[at] = resp
        of_terms = (outputs.log_evidence, outputs.expected_log_joint, outputs.entropy)
        for output, term in zip(of_terms, batch.terms[1:], strict=False):
            if output is not None:
                output[at] = batch.of_rows(term)
        weights = np.ones(batch.n_rows) if block.weights is None else block.weights[rows].copy()
        lowest = local_step.add_terms(batch.terms, weights, batch.scale, self._terms[partition])
        self._lowest[partition] = min(lowest, self._lowest[partition])

    def _assign_posterior(self, batch: Batch) -> None:
        outputs, dtype = self._outputs, self._blocking.dtype
        of_entropy = (outputs.entropy, outputs.expected_log_joint)
        entropy = self._request.entropy or any(output is not None for output in of_entropy)
        smallest = NEGLIGIBLE_EXPONENT if outputs.resp is None else SMALLEST_EXPONENT[dtype]
        given, filled = (batch.joint, batch.row_max), (batch.scale, batch.terms)
        local_step.posterior_rows(*given, dtype.type(smallest), entropy, *filled)

    def _assign_given(self, batch: Batch, resp: Any) -> None:
        given: Any = np.empty((0, self._model.n_components), self._blocking.dtype)
        if resp is not None and resp.ndim == 2:
            given = resp if resp.flags.writeable else resp.copy()
        elif resp is not None:
            batch.of_rows(batch.label)[:] = resp
        evidence = self._request.entropy or self._outputs.log_evidence is not None
        joint, row_max = batch.joint, batch.row_max
        local_step.general_rows(joint, row_max, given, batch.label, evidence, batch.terms)
        batch.scale.fill(1)

    def _label(self, batch: Batch, rows: FloatArray) -> tuple[Any, Float64Array | None]:
        """Find labels where they are wanted, also of rows whose maximum stays ``-inf``.

        Returns these rows, and what their responsibilities are in the limit, if anything.
        """
        hard, posterior = (self._request.assignment == name for name in ("hard", "posterior"))
        labels = hard or self._outputs.labels is not None
        if labels:
            local_step.find_labels(batch.joint, batch.row_max, batch.label)
        overflowed = np.flatnonzero(batch.of_rows(batch.row_max) == -np.inf)
        limit = None
        if len(overflowed) > 0 and (labels or posterior):
            limit = self._model.overflowed_posterior(rows[overflowed])
        if limit is not None:
            batch.of_rows(batch.label)[overflowed] = limit.argmax(axis=1)
        return overflowed, limit

    def _gradient(self, batch: Batch, out: FloatArray) -> Iterator[None]:
        """Fill ``out``: slopes divided by the responsibilities' mass, zero without any."""
        n_tiles, _, tile_rows = batch.joint.shape
        gradient = np.zeros((n_tiles, self._model.n_features, tile_rows), batch.joint.dtype)
        yield from self._batches.each_step(partial(self._model.add_gradient, batch, gradient))
        mass = batch.joint.sum(axis=1, keepdims=True)
        np.divide(gradient, mass, out=gradient, where=mass > 0)
        out[batch.start : batch.start + batch.n_rows] = by_row(gradient)[: batch.n_rows]

    def finish(self) -> PassResult:
        """Add the partitions up in their order."""
        statistics = None if self._summary is None else self._summary.statistics()
        weight, evidence, expected, entropy, kl = np.add.reduce(self._terms).tolist()
        terms = (weight, evidence, expected, entropy, kl)
        result = PassResult(*terms, statistics, float(self._lowest.min()), self._blocking.dtype)
        return result.answering(self._request)


class NumbaSeedingPass:
    """One of k-means++ (Arthur and Vassilvitskii 2007): what candidates leave of the distances."""

    def __init__(self, candidates: Float64Array, blocking: Blocking) -> None:
        self._blocking, self._candidates = blocking, candidates
        self._model = distances_model(candidates, blocking.dtype)
        self._batches = Batches(self._model, blocking)
        self._potentials = np.zeros((blocking.n_partitions, len(candidates)))

    def run(
        self,
        blocks: Sequence[RowBlock],
        closest: Sequence[FloatArray],
        lowered: Sequence[FloatArray | None],
        num_threads: int,
    ) -> None:
        """Process blocks, each with its slices of ``closest`` and ``lowered``."""
        check_seeding_blocks(blocks, closest, lowered, self._blocking, self._candidates)
        cut = seeding_pieces(blocks, closest, lowered, self._blocking)
        self._batches.run([partial(self._visit, *piece) for piece in cut], num_threads)

    def _visit(
        self, partition: int, block: RowBlock, closest: FloatArray, lowered: Any, worker: int
    ) -> Iterator[None]:
        for batch, rows in self._batches.of(block, worker):
            yield from self._batches.each_step(partial(self._model.fill, batch))
            distances = -2 * by_row(batch.joint)[: batch.n_rows]
            lowest = np.minimum(distances, closest[rows, np.newaxis])
            if lowered is not None:
                lowered[:, rows] = lowest.T
            weights = np.ones(batch.n_rows) if block.weights is None else block.weights[rows]
            # A distance that overflowed does not count where the weight is zero.
            counted = np.where(weights > 0, weights * lowest.T, 0.0)
            tiles = np.arange(0, batch.n_rows, self._blocking.tile_rows)
            for tile in np.add.reduceat(counted, tiles, axis=1).T:
                self._potentials[partition] += tile

    def finish(self) -> Float64Array:
        """Add the partitions up in their order."""
        return np.asarray(np.add.reduce(self._potentials))
