"""The scikit-learn surface: validation and fitted attributes, nothing numerical.

Each class adds to the one below it:

    GaussianMixture   BayesianGaussianMixture             constructor, given start or prior
           |             PosteriorMixture                 methods of a posterior
           +--------+-----------+
            BaseGaussianMixture       Mixture             means and covariances | any family
                    +---------+----------+
                         BaseMixture                      fit: the search over starts
                       StepwiseMixture                    a fit taken apart
                        FittedMixture                     methods after the fit

GaussianMixture and Mixture have the methods of InformationCriteria as well. All stand on a family
(:mod:`vbfast.families.family`), which knows what parameters are and how they are estimated.
"""

from __future__ import annotations

from vbfast.estimators.bayesian import BayesianGaussianMixture
from vbfast.estimators.gaussian import GaussianMixture
from vbfast.estimators.loading import load
from vbfast.estimators.mixture import Mixture
from vbfast.estimators.selection import select
from vbfast.estimators.selection_result import Selection

__all__ = ["BayesianGaussianMixture", "GaussianMixture", "Mixture", "Selection", "load", "select"]
