"""Which parameters of a fit do not go together, and why: docs/truncation.md has the whole table."""

from __future__ import annotations

from typing import Any

__all__ = ["check_combinations"]

# Pairs that are not both to be given.
CONFLICTS = {
    ("truncation", "batch_size"): "batches would have to remember what their rows keep",
    ("truncation", "accelerate"): "an extrapolated step is judged by the bound, which a search "
    "changes as well",
    ("accelerate", "batch_size"): "extrapolation is of whole passes, and batches take steps within "
    "one",
    ("annealing", "batch_size"): "temperatures are of whole passes, and batches take steps within "
    "one",
    ("annealing", "accelerate"): "an extrapolated step is judged by the bound, which another "
    "temperature changes as well",
}


def check_combinations(mixture: Any) -> None:
    """Check that the parameters of a fit go together.

    Raises
    ------
    ValueError
        If two do not; the message says why.
    """
    for (one, other), reason in CONFLICTS.items():
        values = getattr(mixture, one), getattr(mixture, other)
        if values[0] is not None and values[1] is not None:
            raise ValueError(
                f"{one}={values[0]!r} and {other}={values[1]!r} do not go together: {reason}. "
                "Leave one of them None"
            )
