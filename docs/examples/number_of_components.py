"""
A Bayesian mixture that finds its number of components
======================================================

With a prior that favours few heavy weights, components that the rows do not need lose theirs. A fit
with more components than there can be clusters then counts the clusters.
"""

import matplotlib.pyplot as plt
import numpy as np

import vbfast
from vbfast.plotting import ComponentsDisplay, WeightsDisplay

rng = np.random.default_rng(1)
centres = np.array([[0.0, 0.0], [5.0, 1.0], [1.0, 6.0], [6.0, 6.0], [10.0, 3.0]])
shares = [0.3, 0.25, 0.2, 0.15, 0.1]
X = centres[rng.choice(5, size=4000, p=shares)] + rng.normal(size=(4000, 2))
mixture = vbfast.BayesianGaussianMixture(
    15,
    weight_concentration_prior_type="dirichlet_distribution",
    weight_concentration_prior=1e-3,
    n_init=5,
    max_iter=2000,
    random_state=0,
).fit(X)
print(
    f"{mixture.n_active_components_} of {mixture.n_components} after {mixture.n_iter_} iterations"
)

# %%
# Bars are expected weights, lines their credible intervals. ``prune`` takes the empty components
# out of the mixture.

figure, (left, right) = plt.subplots(1, 2, figsize=(11, 4), layout="constrained")
ComponentsDisplay.from_estimator(mixture.prune(), X, max_rows=2000, ax=left)
WeightsDisplay.from_estimator(mixture, ax=right)
plt.show()
