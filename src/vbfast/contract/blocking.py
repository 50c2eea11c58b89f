"""Which rows are added up together."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

__all__ = ["Blocking"]


@dataclass(frozen=True)
class Blocking:
    """The blocking of one data set for one model, fixed by its backend.

    Attributes
    ----------
    n_samples : int
    dtype : numpy.dtype
        Dtype of the computation.
    bounds : tuple of int
        Partition ``p`` holds the rows ``bounds[p]`` to ``bounds[p + 1]``; every bound but the last
        is a multiple of ``tile_rows``.
    tile_rows : int
        Rows of a tile.
    split_components : bool
        True for a model whose partial statistics are too large to keep one per partition: then
        there is one partition, and threads share its components in the summary step.
    """

    n_samples: int
    dtype: np.dtype[Any]
    bounds: tuple[int, ...]
    tile_rows: int
    split_components: bool

    @property
    def n_partitions(self) -> int:
        """Number of partial statistics."""
        return len(self.bounds) - 1
