"""Random responsibilities as scikit-learn draws them, made block by block."""

from __future__ import annotations

import copy
from typing import Any

import numpy as np

from vbfast.contract import FloatArray
from vbfast.passes.responsibilities import RespSource

__all__ = ["RandomResponsibilities"]

# Uniform variates thrown away at a time where the random stream is skipped.
SKIP_CHUNK = 1 << 16


class RandomResponsibilities(RespSource):
    """scikit-learn's random start, ``uniform(size=(n_samples, n_components))`` normalised by rows.

    Made block by block: a copy of the generator stands at the end of every block made so far, and a
    block that starts elsewhere gets the next copy before it, moved on.
    """

    def __init__(
        self, random_state: np.random.RandomState, n_components: int, dtype: np.dtype[Any]
    ) -> None:
        self._origin = copy.deepcopy(random_state)
        self._at_row: dict[int, np.random.RandomState] = {}
        self._n_components = n_components
        self._dtype = dtype

    def block(self, start: int, stop: int) -> FloatArray:
        """Return the responsibilities of the rows ``start`` to ``stop``, C order."""
        generator = self._generator_at(start)
        resp = generator.uniform(size=(stop - start, self._n_components)).astype(
            self._dtype, copy=False
        )
        resp /= resp.sum(axis=1)[:, np.newaxis]
        self._at_row[stop] = generator
        return resp

    def leave_behind(self, random_state: np.random.RandomState, row: int) -> None:
        """Set ``random_state`` to where the stream is after the rows before ``row``."""
        random_state.set_state(self._generator_at(row).get_state(legacy=False))

    def _generator_at(self, row: int) -> np.random.RandomState:
        if row in self._at_row:
            return self._at_row.pop(row)
        nearest = max((made for made in self._at_row if made < row), default=0)
        generator = copy.deepcopy(self._at_row.get(nearest, self._origin))
        remaining = (row - nearest) * self._n_components
        for skipped in range(0, remaining, SKIP_CHUNK):
            generator.random_sample(min(SKIP_CHUNK, remaining - skipped))
        return generator
