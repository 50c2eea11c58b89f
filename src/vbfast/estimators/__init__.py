"""The scikit-learn surface: validation and fitted attributes, nothing numerical.

Each class adds to the one below it:

    GaussianMixture   BayesianGaussianMixture             constructor, start
           |             PosteriorMixture                 posterior <-> fitted attributes
           +--------+-----------+
            BaseGaussianMixture       Mixture             means and covariances | others
                    +---------+----------+
                         BaseMixture                      fit: the search over starts
                        FittedMixture                     methods after the fit
"""

from __future__ import annotations

from vbfast.estimators.bayesian import BayesianGaussianMixture
from vbfast.estimators.gaussian import GaussianMixture
from vbfast.estimators.mixture import Mixture
from vbfast.estimators.model_file import load
from vbfast.estimators.selection import Selection, select

__all__ = ["BayesianGaussianMixture", "GaussianMixture", "Mixture", "Selection", "load", "select"]
