"""What families share that are fitted by maximum likelihood, whatever their components are."""

from __future__ import annotations

from typing import Any

from vbfast.contract import PassResult, Statistics

__all__ = ["EvidencePerRow"]


class EvidencePerRow:
    """The bound and the merit of expectation-maximization: the evidence per unit of weight."""

    @property
    def per_unit_of_weight(self) -> bool:
        """The bound is an average over the rows."""
        return True

    def lower_bound(self, sums: PassResult, previous: Any, updated: Any) -> float:
        """Return the evidence per unit of weight under the parameters that the pass was run with.

        The bound at exact responsibilities is the evidence, so the updated parameters do not
        enter: they are there for the families whose bound has a prior term.
        """
        del previous, updated
        return sums.log_evidence / sums.total_weight

    def bound_at(self, sums: PassResult, parameters: Any) -> float:
        """Return the same: the parameters are those that the pass was run with."""
        return self.lower_bound(sums, parameters, parameters)

    def statistics_of(self, parameters: Any) -> Statistics | None:
        """Return ``None``: statistics are not a function of any parameters."""
        del parameters
        return None

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
