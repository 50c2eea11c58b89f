"""Passes over the rows: for every batch log-joint, responsibilities, outputs and sums."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from functools import partial, reduce
from typing import Any

import numpy as np

from vbfast.backends.checks import check_blocks, check_outputs
from vbfast.backends.numba.batch import Batch, Batches, by_row
from vbfast.backends.numba.constants import NEGLIGIBLE_EXPONENT
from vbfast.backends.numba.exponential import SMALLEST_EXPONENT
from vbfast.backends.numba.local_step import (
    add_terms,
    find_labels,
    general_rows,
    posterior_rows,
)
from vbfast.backends.numba.models import Model
from vbfast.backends.numba.moments import Memory, Sums
from vbfast.backends.numba.summary_step import SummaryStep
from vbfast.contract import (
    Blocking,
    Float64Array,
    FloatArray,
    PassResult,
    Request,
    RowBlock,
    RowOutputs,
)

__all__ = ["NumbaPass"]


class NumbaPass:
    """A pass of the contract, over any model."""

    def __init__(
        self, model: Model, request: Request, blocking: Blocking, outputs: RowOutputs
    ) -> None:
        check_outputs(outputs, blocking, model.n_components, model.n_features)
        self._model, self._request = model, request
        self._blocking, self._outputs = blocking, outputs
        self._summary = None if request.moments is None else SummaryStep(model, request)
        moments_cost = 0.0 if self._summary is None else self._summary.cost
        self._batches = Batches(model, blocking, moments_cost)
        self._terms = np.zeros((blocking.n_partitions, 5))
        self._lowest = [np.inf for _ in self._terms]
        self._moments_memory: dict[int, Memory] = {}
        self._sums: list[Sums] = []
        if self._summary is not None:
            self._sums = [self._summary.no_sums() for _ in self._terms]

    def run(self, blocks: Sequence[RowBlock], num_threads: int) -> None:
        """Process blocks of distinct partitions, in parallel."""
        K, D = self._model.n_components, self._model.n_features
        check_blocks(blocks, self._blocking, K, D, self._request)
        self._batches.run([partial(self._visit, block) for block in blocks], num_threads)

    def _visit(self, block: RowBlock, worker: int) -> Iterator[None]:
        for batch, rows in self._batches.of(block, worker):
            for components in self._batches.steps():
                self._model.fill(batch, *components)
                yield
            self._assign(batch, block, rows)
            yield
            if self._outputs.gradient is not None:
                yield from self._gradient(batch, self._outputs.gradient)
            if self._summary is None:
                continue
            if worker not in self._moments_memory:
                tile_rows = self._blocking.tile_rows
                self._moments_memory[worker] = self._summary.memory(tile_rows)
            memory = self._moments_memory[worker]
            for components in self._batches.steps():
                sums = self._sums[block.partition]
                self._summary.add(batch, memory, components, sums)
                yield

    def _assign(self, batch: Batch, block: RowBlock, rows: slice) -> None:
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
            if request.assignment == "posterior" and len(limit) > 0:
                resp[overflowed] = limit
            outputs.resp[at] = resp
        of_terms = (outputs.log_evidence, outputs.expected_log_joint, outputs.entropy)
        for output, term in zip(of_terms, batch.terms[1:], strict=False):
            if output is not None:
                output[at] = batch.of_rows(term)
        weights = np.ones(batch.n_rows) if block.weights is None else block.weights[rows].copy()
        lowest = add_terms(batch.terms, weights, batch.scale, self._terms[block.partition])
        self._lowest[block.partition] = min(lowest, self._lowest[block.partition])

    def _assign_posterior(self, batch: Batch) -> None:
        request, outputs, dtype = self._request, self._outputs, self._blocking.dtype
        entropy = request.entropy or outputs.entropy is not None
        entropy = entropy or outputs.expected_log_joint is not None
        smallest = NEGLIGIBLE_EXPONENT if outputs.resp is None else SMALLEST_EXPONENT[dtype]
        filled = (batch.scale, batch.terms)
        posterior_rows(batch.joint, batch.row_max, dtype.type(smallest), entropy, *filled)

    def _assign_given(self, batch: Batch, resp: Any) -> None:
        given: Any = np.empty((0, self._model.n_components), self._blocking.dtype)
        if resp is not None and resp.ndim == 2:
            given = resp if resp.flags.writeable else resp.copy()
        elif resp is not None:
            batch.of_rows(batch.label)[:] = resp
        evidence = self._request.entropy or self._outputs.log_evidence is not None
        general_rows(batch.joint, batch.row_max, given, batch.label, evidence, batch.terms)
        batch.scale.fill(1)

    def _label(self, batch: Batch, rows: FloatArray) -> tuple[Any, Float64Array]:
        """Find labels where they are wanted, also of rows whose maximum stays ``-inf``.

        Returns these rows, and what their responsibilities are in the limit.
        """
        hard, posterior = (self._request.assignment == name for name in ("hard", "posterior"))
        labels = hard or self._outputs.labels is not None
        if labels:
            find_labels(batch.joint, batch.row_max, batch.label)
        overflowed = np.flatnonzero(batch.of_rows(batch.row_max) == -np.inf)
        limit = None
        if len(overflowed) > 0 and (labels or posterior):
            limit = self._model.overflowed_posterior(rows[overflowed])
        if limit is None:
            return overflowed, np.empty((0, self._model.n_components))
        batch.of_rows(batch.label)[overflowed] = limit.argmax(axis=1)
        return overflowed, limit

    def _gradient(self, batch: Batch, out: FloatArray) -> Iterator[None]:
        """Fill ``out``: slopes divided by the responsibilities' mass, zero without any."""
        n_tiles, _, tile_rows = batch.joint.shape
        gradient = np.zeros((n_tiles, self._model.n_features, tile_rows), batch.joint.dtype)
        for components in self._batches.steps():
            self._model.add_gradient(batch, *components, gradient)
            yield
        mass = batch.joint.sum(axis=1, keepdims=True)
        np.divide(gradient, mass, out=gradient, where=mass > 0)
        out[batch.start : batch.start + batch.n_rows] = by_row(gradient)[: batch.n_rows]

    def finish(self) -> PassResult:
        """Add the partitions up in their order."""
        statistics = None
        if self._summary is not None:
            parts = zip(*self._sums, strict=True)
            sums = Sums(*(reduce(np.add, part) for part in parts))
            statistics = self._summary.statistics(sums)
        weight, evidence, expected, entropy, kl = np.add.reduce(self._terms).tolist()
        terms = (weight, evidence, expected, entropy, kl)
        result = PassResult(*terms, statistics, min(self._lowest), self._blocking.dtype)
        return result.answering(self._request)
