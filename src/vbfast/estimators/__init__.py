"""The scikit-learn surface: validation and fitted attributes, nothing numerical."""

from __future__ import annotations

from vbfast.estimators.bayesian import BayesianGaussianMixture
from vbfast.estimators.gaussian import GaussianMixture
from vbfast.estimators.mixture import Mixture
from vbfast.estimators.selection import Selection, select

__all__ = ["BayesianGaussianMixture", "GaussianMixture", "Mixture", "Selection", "select"]
