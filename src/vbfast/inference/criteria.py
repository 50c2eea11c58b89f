"""Information criteria of mixtures that were fitted by maximum likelihood: the lower the better."""

from __future__ import annotations

import math

from vbfast.contract import PassResult

__all__ = ["aic", "bic", "icl"]


def aic(sums: PassResult, n_parameters: int) -> float:
    """Return Akaike's criterion of the evidence that a pass summed up."""
    return -2.0 * sums.log_evidence + 2.0 * n_parameters


def bic(sums: PassResult, n_parameters: int) -> float:
    """Return the Bayesian criterion; rows count with their weights."""
    return -2.0 * sums.log_evidence + n_parameters * math.log(sums.total_weight)


def icl(sums: PassResult, n_parameters: int) -> float:
    """Return the integrated completed likelihood, of a pass that summed up the entropy too."""
    return bic(sums, n_parameters) + 2.0 * sums.entropy
