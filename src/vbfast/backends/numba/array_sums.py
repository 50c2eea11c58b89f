"""Sums of slices, whose rounding does not grow with the length of a slice.

Of many equal numbers that are added one after another, all roundings go the same way. A chunk is a
few additions; from chunk to chunk what each addition rounds away is kept apart, and lanes that a
slice goes round are added by halves.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from vbfast.backends.numba.compiling import group_rows, kernel

__all__ = ["add_chunk", "add_term", "finish_lanes"]


@kernel
def add_term(total: Any, lost: Any, term: Any) -> Any:
    """Return a sum and what it has rounded away, one term later (Knuth 1997, section 4.2.2)."""
    after = total + term
    added = after - total
    return after, lost + ((total - (after - added)) + (term - added))


@kernel
def add_chunk(partial: Any, n_sums: Any, is_first: Any, total: Any, lost: Any) -> None:
    """Add the sums of a chunk, of shape (n_sums or more, group), to the float64 ``total``."""
    group = group_rows(partial)
    for m in range(n_sums):
        if is_first:
            for i in range(group):
                total[m, i] = partial[m, i]
                lost[m, i] = 0
        else:
            for i in range(group):
                total[m, i], lost[m, i] = add_term(
                    total[m, i], lost[m, i], np.float64(partial[m, i])
                )


@kernel
def finish_lanes(
    partial: Any, n_sums: Any, n_lanes: Any, total: Any, lost: Any, by_element: Any, sums: Any
) -> None:
    """Set ``sums`` of shape (n_sums or more, n_slices) from their lanes.

    One slice a lane; or all lanes of a single slice, ``by_element``.
    """
    group = group_rows(partial)
    for m in range(n_sums):
        for i in range(group):
            # Beside a sum that is infinite or NaN there is nothing to know of its rounding.
            total[m, i] += lost[m, i] if np.isfinite(total[m, i]) else 0.0
        if not by_element:
            for i in range(n_lanes):
                sums[m, i] = total[m, i]
            continue
        half = group // 2
        while half > 0:
            for i in range(half):
                total[m, i] += total[m, i + half]
            half //= 2
        sums[m, 0] = total[m, 0]
