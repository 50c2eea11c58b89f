"""
Sample by Langevin dynamics
===========================

With the gradient of a log density in the rows, chains can be sent through it:
x <- x + step / 2 grad log p(x) + sqrt(step) noise, many chains at once as the rows of one array
(Roberts and Tweedie 1996). A mixture can be sampled directly, which is what the chains are compared
with; the gradient is for densities that have a mixture in them.
"""

import matplotlib.pyplot as plt
import numpy as np

import vbfast


def langevin(mixture, X, n_steps, step, rng):
    """Move every row of X, ``n_steps`` times."""
    for _ in range(n_steps):
        _, gradient = mixture.log_evidence_and_grad(X, wrt_x=True)
        X = X + 0.5 * step * gradient.X + np.sqrt(step) * rng.normal(size=X.shape)
    return X


# %%
# All chains start from one point, and end as samples.

rng = np.random.default_rng(0)
centres = np.array([[-1.5, 0.0], [1.5, 1.0]])
data = centres[rng.integers(2, size=2000)] + rng.normal(size=(2000, 2))
mixture = vbfast.GaussianMixture(2, random_state=0).fit(data)
start = np.full((4000, 2), 4.0)
chains = {0: start, 10: langevin(mixture, start, 10, 0.1, rng)}
chains[400] = langevin(mixture, chains[10], 390, 0.1, rng)
samples, _ = mixture.sample(4000)
for name, rows in (("Langevin", chains[400]), ("direct", samples)):
    print(f"{name}: mean {rows.mean(axis=0).round(2)}, covariance {np.cov(rows.T).round(2)}")

# %%
# Contours are those of the density.

ticks = np.linspace(-5, 5, 120)
grid = np.stack(np.meshgrid(ticks, ticks), axis=-1)
density = np.exp(mixture.score_samples(grid.reshape(-1, 2))).reshape(grid.shape[:2])
figure, axes = plt.subplots(1, 3, figsize=(10, 3.5), layout="constrained", sharey=True)
for ax, (n_steps, rows) in zip(axes, chains.items(), strict=True):
    ax.contour(ticks, ticks, density, levels=6, cmap="Greys")
    ax.plot(*rows.T, ".", markersize=2, alpha=0.4)
    ax.set(title=f"{n_steps} steps", aspect="equal", xlim=(-5, 5), ylim=(-5, 5))
plt.show()
