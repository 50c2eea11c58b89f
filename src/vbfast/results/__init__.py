"""What estimators and array functions return: bounds with their terms, gradients, estimates."""

from __future__ import annotations

from vbfast.results.bound_gap import BoundGap
from vbfast.results.elbo import ElboTerms, VariationalElboTerms
from vbfast.results.evidence import EvidenceEstimate
from vbfast.results.gradient import MixtureEvidenceGradient, MixtureGradient

__all__ = [
    "BoundGap",
    "ElboTerms",
    "EvidenceEstimate",
    "MixtureEvidenceGradient",
    "MixtureGradient",
    "VariationalElboTerms",
]
