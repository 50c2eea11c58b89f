"""What a pass sums up: the moments of its batches, and the contract's statistics from the sums."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from vbfast.backends.numba.batch import Batch
from vbfast.backends.numba.memory import empty_lines
from vbfast.backends.numba.models import Model
from vbfast.backends.numba.moments import Memory, Sums, add_moments
from vbfast.contract import Float64Array, Request, Statistics

__all__ = ["SummaryStep"]


class SummaryStep:
    """The moments that a request asks for, of a model's points.

    Attributes
    ----------
    cost : float
        Multiplications a row and component beside those of the log-joint.
    """

    def __init__(self, model: Model, request: Request) -> None:
        assert request.moments is not None
        self._model, self._moments = model, request.moments
        self._centres = model.centres
        K, D = self._centres.shape
        largest = float(np.finfo(model.points_dtype).max)
        self._rounded = np.clip(self._centres, -largest, largest).astype(model.points_dtype)
        self._second_shape = {
            "first": (0, 0, 0),
            "diag": (K, 1, D),
            "spherical": (K, 1, D),
            "pooled": (1, D, D),
            "full": (K, D, D),
        }[request.moments]
        # Pooled posterior moments are summed once for all where the origin is a point for it.
        posterior = request.assignment == "posterior"
        self._about_origin = request.moments == "pooled" and posterior and model.layout.near
        self.cost = float(D * D) if request.moments == "full" else 0.0

    def no_sums(self) -> Sums:
        """Return sums over no rows."""
        K, D = self._centres.shape
        return Sums(np.zeros(K), np.zeros((K, D)), np.zeros(self._second_shape))

    def memory(self, tile_rows: int) -> Memory:
        """Return memory that a thread needs."""
        lanes = self._centres.shape[1], tile_rows
        shapes = (tile_rows,), (tile_rows,), lanes, lanes
        return Memory(*(empty_lines(shape, self._model.points_dtype) for shape in shapes))

    def add(
        self,
        batch: Batch,
        memory: Memory,
        components: tuple[int, int],
        sums: Sums,
    ) -> None:
        """Add the moments of some components; what all share, together with component 0."""
        points, scale = self._model.points(batch), batch.scale
        if self._about_origin:
            if components[0] == 0:
                mass = batch.joint.sum(axis=1, keepdims=True)
                origin = np.zeros_like(self._rounded[:1])
                all_of = Sums(np.zeros(1), np.zeros(origin.shape), sums.second)
                add_moments(origin, points, mass, scale, 0, 1, memory, all_of)
            sums = sums._replace(second=sums.second[:0])
        add_moments(self._rounded, points, batch.joint, scale, *components, memory, sums)

    def statistics(self, sums: Sums) -> Statistics:
        """Return the contract's statistics, about its centres."""
        rounded = self._rounded.astype(np.float64)
        second = self._second(sums.second)
        result = Statistics(self._moments, rounded, sums.weight, sums.first, second)
        if self._about_origin:
            first = result.first + result.weight[:, np.newaxis] * rounded
            result = replace(result, second=replace(result, first=first).second_about(rounded))
        if not np.array_equal(rounded, self._centres):
            result = result.about(self._centres)
        if self._moments in ("diag", "spherical") and result.second is not None:
            result = replace(result, second=np.maximum(result.second, 0.0))
        return replace(result, centres=self._model.log_joint.form.centres)

    def _second(self, sums: Float64Array) -> Float64Array | None:
        if self._moments == "first":
            return None
        if self._moments in ("diag", "spherical"):
            squares = sums[:, 0]
            return squares if self._moments == "diag" else squares.mean(axis=1)
        whole = sums + np.tril(sums, -1).swapaxes(1, 2)
        return whole[0] if self._moments == "pooled" else whole
