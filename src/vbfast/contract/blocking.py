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
        Partition ``p`` holds the rows ``bounds[p]`` to ``bounds[p + 1]``.
    tile_rows : int
        Rows of a tile, counted from the start of a partition: its last one may be shorter.
    split_components : bool
        True for a model whose partial statistics are too large to keep one per partition: then
        there is one partition, and threads share its components in the summary step.
    open_partitions : int
        How many partitions may have been begun and not ended: partial statistics are as many.
    """

    n_samples: int
    dtype: np.dtype[Any]
    bounds: tuple[int, ...]
    tile_rows: int
    split_components: bool
    open_partitions: int = 1

    @property
    def n_partitions(self) -> int:
        """Number of partial statistics."""
        return len(self.bounds) - 1
