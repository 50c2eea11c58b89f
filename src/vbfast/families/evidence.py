"""What the objectives of maximum likelihood share, whatever the components are."""

from __future__ import annotations

from typing import Any

from vbfast.contract import PassResult

__all__ = ["PerUnitOfWeight"]


class PerUnitOfWeight:
    """An objective whose bound is per unit of weight, and what its global step maximises."""

    @property
    def climbs_merit(self) -> bool:
        """Iterations climb the bound."""
        return True

    def merit(self, lower_bound: float, sums: PassResult, previous: Any, updated: Any) -> float:
        """Return what the iterations climb: the bound."""
        del sums, previous, updated
        return lower_bound

    def threshold(self, tol: float, total_weight: float) -> float:
        """Return ``tol``: the weight of the rows does not enter a bound per unit of it."""
        del total_weight
        return tol
