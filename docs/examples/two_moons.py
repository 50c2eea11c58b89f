"""
The density of two moons
========================

Gaussians are no moons, but enough of them make a density of any form. How many, the variational
bound says: it is a lower bound on the log marginal likelihood, so that it weighs the fit against
the number of parameters.
"""

import matplotlib.pyplot as plt
from sklearn.datasets import make_moons

import vbfast
from vbfast.plotting import ComponentsDisplay, SelectionDisplay

X, _ = make_moons(3000, noise=0.07, random_state=0)
selection = vbfast.select(X, range(1, 15), max_iter=2000, random_state=0)
mixture = selection.best_
print(f"{mixture.n_components} components")

# %%
# Ellipses end at one and two standard deviations, and grey is the log-density, down to ten nats
# under its highest value.

figure, (left, right) = plt.subplots(
    1, 2, figsize=(11, 4), width_ratios=(1.6, 1), layout="constrained"
)
ComponentsDisplay.from_estimator(mixture, X, max_rows=1000, ax=left)
SelectionDisplay.from_selection(selection, ax=right)
plt.show()
