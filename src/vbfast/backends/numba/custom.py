"""Custom components: a user's two functions, compiled into the loops over a batch.

Everything else of a pass is what the Gaussian models use. The loops are compiled once a function
and dtype, in every process again: a cache on disk could not tell one user's function from another.
"""

from __future__ import annotations

import functools
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
from numba.core.errors import NumbaError

from vbfast.backends.numba import moments, tiles
from vbfast.backends.numba.batch import Batch
from vbfast.backends.numba.bounds import beyond_the_ends, not_compiled, read_only
from vbfast.backends.numba.compiling import compiled, group_rows, group_size, kernel
from vbfast.backends.numba.memory import empty_lines
from vbfast.engine.contract import CustomParams, Float64Array, FloatArray, Statistics

__all__ = ["CustomModel"]

# Of the density and of a statistic, in multiplications: about a transcendental function each.
FUNCTION_COST = 50.0


@functools.lru_cache(maxsize=64)
def _log_joint_kernel(log_density: Callable[..., Any]) -> Callable[..., tuple[int, int]]:
    """Return the loop that fills some components.

    It returns the first row whose log-joint is NaN or +inf, and the component, or -1 for both.
    """

    @compiled
    def fill(
        rows: Any,
        theta: Any,
        offset: Any,
        n_rows: Any,
        joint: Any,
        row_max: Any,
        first: Any,
        last: Any,
    ) -> Any:
        group = group_rows(joint)
        bad, component = -1, -1
        for g in range(len(joint)):
            for k in range(first, last):
                possible = offset[k] > -np.inf
                for i in range(group):
                    value = offset[k]
                    if possible and len(theta) > 0:
                        value += log_density(rows[g * group + i], theta[k])
                    joint[g, k, i] = value
                    if not joint[g, k, i] < np.inf and (bad < 0 or g * group + i < bad):
                        bad, component = min(g * group + i, n_rows - 1), k
                    row_max[g, i] = max(row_max[g, i], joint[g, k, i])
        return bad, component

    return fill


@functools.lru_cache(maxsize=64)
def _panel_kernel(sufficient_statistics: Callable[..., Any]) -> Callable[..., None]:
    """Return the loop that fills a panel of moments: the row's scale, and statistics times it."""

    @compiled
    def fill(rows: Any, scale: Any, n_statistics: Any, panel: Any) -> None:
        group = group_rows(scale)
        for n in range(scale.size):
            r = np.float64(scale[n // group, n % group])
            panel[n] = 0
            if r == 0:
                continue  # a row that counts nowhere may have statistics that are not finite
            out = panel[n, 1 : 1 + n_statistics]
            sufficient_statistics(rows[n], out)
            panel[n, 0] = r
            for s in range(n_statistics):
                out[s] *= r

    return fill


@kernel
def _fill_one_hot(label: Any, first: Any, last: Any, joint: Any) -> None:
    group = group_rows(joint)
    for g in range(len(joint)):
        for k in range(first, last):
            for i in range(group):
                n = g * group + i
                joint[g, k, i] = 1 if n < len(label) and label[n] == k else 0


@dataclass
class _MomentMemory:
    panel: Float64Array  # (n_groups * group, padded 1 + n_statistics)
    block: Float64Array  # (BLOCK_COMPONENTS, columns of the panel)


class CustomModel:
    """A mixture of custom components, see :class:`vbfast.engine.contract.CustomParams`."""

    n_pooled = 0

    def __init__(self, params: CustomParams, dtype: np.dtype[Any]) -> None:
        self.n_components = params.n_components
        self.n_moments = 1 + params.n_statistics
        self.cost = FUNCTION_COST * params.row_length
        self._params = params
        self._dtype = dtype
        self._group = group_size(dtype)
        self._fill_joint = _log_joint_kernel(params.log_density)
        self._fill_panel = _panel_kernel(params.sufficient_statistics)
        self._listed = np.zeros(self.n_components, bool)
        self._theta = read_only(np.empty((0, 0)) if params.theta is None else params.theta)

    def row_memory(self, n_groups: int) -> FloatArray:
        """Return memory for the rows."""
        return empty_lines((n_groups * self._group, self._params.n_features), self._dtype)

    def moment_memory(self, n_groups: int) -> _MomentMemory:
        """Return memory for a panel of statistics."""
        columns = self.n_moments + -self.n_moments % (moments.COLUMN_BYTES // 8)
        return _MomentMemory(
            empty_lines((n_groups * self._group, columns), np.float64),
            empty_lines((moments.BLOCK_COMPONENTS, columns), np.float64),
        )

    def load(self, batch: Batch, rows: FloatArray) -> int:
        """Load rows as they are."""
        return int(tiles.load_rows(*tiles.row_layout(rows), batch.n_rows, batch.memory))

    def log_joint(self, batch: Batch, first: int, last: int) -> None:
        """Evaluate the log-joint.

        Raises
        ------
        TypeError
            If the density cannot be compiled.
        ValueError
            If the density of a row is NaN or infinite, writes to an argument, or goes beyond the
            ends of an array.
        """
        try:
            row, component = self._fill_joint(
                read_only(batch.memory),
                self._theta,
                self._params.offset,
                batch.n_rows,
                batch.joint,
                batch.row_max,
                first,
                last,
            )
        except NumbaError as error:
            raise not_compiled("log_density", self._dtype, error) from error
        except IndexError as error:
            raise beyond_the_ends(
                "log_density",
                self._params.log_density,
                x=self._params.n_features,
                theta=self._theta.shape[1],
            ) from error
        if row >= 0:
            name = getattr(self._params.log_density, "__name__", "log_density")
            value = self._params.log_density(read_only(batch.memory[row]), self._theta[component])
            raise ValueError(
                f"the family's log_density ({name}) returned {value} for row "
                f"{batch.start + row}, x = {batch.memory[row]}, under component {component}; it "
                "must return a finite number, or -inf where x is impossible"
            )

    def overflowed_posterior(self, rows: FloatArray) -> None:
        """Nobody's: such rows are impossible."""

    def add_moments(
        self,
        batch: Batch,
        memory: _MomentMemory,
        first: int,
        last: int,
        sums: Float64Array,
        pooled: Float64Array,  # noqa: ARG002
    ) -> None:
        """Add the sums of the statistics.

        Raises
        ------
        ValueError
            If they go beyond the ends of an array.
        """
        if batch.by_label:
            _fill_one_hot(batch.label, first, last, batch.joint)
        statistics = self._params.sufficient_statistics
        try:
            self._fill_panel(read_only(batch.memory), batch.scale, self.n_moments - 1, memory.panel)
        except IndexError as error:
            raise beyond_the_ends(
                "sufficient_statistics",
                statistics,
                x=self._params.n_features,
                out=self._params.n_statistics,
            ) from error
        moments.add_dense(
            batch.joint,
            memory.panel,
            self.n_moments,
            self._listed,
            batch.tile_rows // self._group,
            first,
            last,
            0,
            memory.block,
            sums,
        )

    def statistics(self, sums: Float64Array, pooled: Float64Array) -> Statistics:  # noqa: ARG002
        """Return the sums as first moments about zero."""
        first = sums[:, 1:].copy()
        return Statistics("means", np.zeros_like(first), sums[:, 0].copy(), first, None)
