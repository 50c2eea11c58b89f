"""Sample from a mixture by Langevin dynamics with the gradient of its log density.

x <- x + step / 2 grad log p(x) + sqrt(step) noise, many chains at once as the rows of one array
(Roberts and Tweedie 1996). A mixture can be sampled directly, which is what the chains are compared
with; the gradient is for densities that have a mixture in them.
"""

from __future__ import annotations

import numpy as np

import vbfast


def langevin(mixture, X, n_steps, step, rng):
    """Move every row of X, ``n_steps`` times."""
    for _ in range(n_steps):
        _, gradient = mixture.log_evidence_and_grad(X, wrt_x=True)
        X = X + 0.5 * step * gradient.X + np.sqrt(step) * rng.normal(size=X.shape)
    return X


def main(n_chains=4000, n_steps=400, step=0.1):
    """Fit a mixture; return what Langevin dynamics and direct sampling draw from it."""
    rng = np.random.default_rng(0)
    centres = np.array([[-1.5, 0.0], [1.5, 1.0]])
    data = centres[rng.integers(2, size=2000)] + rng.normal(size=(2000, 2))
    mixture = vbfast.GaussianMixture(2, random_state=0).fit(data)
    chains = langevin(mixture, rng.normal(size=(n_chains, 2)), n_steps, step, rng)
    return chains, mixture.sample(n_chains)[0]


if __name__ == "__main__":
    chains, samples = main()
    for name, rows in (("Langevin", chains), ("direct", samples)):
        print(f"{name}: mean {rows.mean(axis=0).round(2)}, covariance {np.cov(rows.T).round(2)}")
