"""What the objectives of maximum likelihood share, whatever the components are."""

from __future__ import annotations

__all__ = ["PerUnitOfWeight"]


class PerUnitOfWeight:
    """An objective whose bound is per unit of weight."""

    def threshold(self, tol: float, total_weight: float) -> float:
        """Return ``tol``: the weight of the rows does not enter a bound per unit of it."""
        del total_weight
        return tol
