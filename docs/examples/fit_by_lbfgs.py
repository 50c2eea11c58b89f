"""
Fit a mixture by L-BFGS
=======================

Any optimiser can climb the evidence, given its gradient. The coordinates are free: logits of the
weights, the means, and the precision Cholesky factors with the logarithm of their diagonal. Without
a bound on them the likelihood of a mixture has none, so start where EM would: L-BFGS lands on the
optimum that EM finds from there.
"""

import matplotlib.pyplot as plt
import numpy as np
from scipy.optimize import minimize

import vbfast


class FreeCoordinates:
    """A vector for the parameters of K components in D dimensions, 'full' covariances."""

    def __init__(self, n_components, n_features):
        self.K, self.D = n_components, n_features
        self.upper = np.triu_indices(n_features)
        self.on_diagonal = self.upper[0] == self.upper[1]

    def split(self, theta):
        """Return logits of the weights, means and factors."""
        K, D = self.K, self.D
        means = theta[K : K + K * D].reshape(K, D)
        entries = theta[K + K * D :].reshape(K, -1).copy()
        entries[:, self.on_diagonal] = np.exp(entries[:, self.on_diagonal])
        factors = np.zeros((K, D, D))
        factors[:, *self.upper] = entries
        return theta[:K], means, factors

    def join(self, logits, means, factors):
        """Return the vector of given parameters."""
        entries = factors[:, *self.upper].copy()
        entries[:, self.on_diagonal] = np.log(entries[:, self.on_diagonal])
        return np.concatenate([logits, means.ravel(), entries.ravel()])

    def pull_back(self, gradient, factors):
        """Return the gradient in the vector: dP_ii = P_ii d(log P_ii)."""
        entries = gradient.precisions_cholesky[:, *self.upper].copy()
        entries[:, self.on_diagonal] *= factors[:, *self.upper][:, self.on_diagonal]
        return np.concatenate([gradient.weights_logits, gradient.means.ravel(), entries.ravel()])


# %%
# :func:`vbfast.mixture_log_evidence_and_grad` has the evidence and its gradient in all of these,
# for one pass over the rows.


def fit(X, weights, means, factors):
    """Climb from a start; return weights, means, and the log evidence a row of each evaluation."""
    coordinates = FreeCoordinates(*means.shape)
    trace = []

    def loss(theta):
        logits, means, factors = coordinates.split(theta)
        log_evidence, gradient = vbfast.mixture_log_evidence_and_grad(
            X, logits, means, factors, cotangent=-1 / len(X)
        )
        trace.append(log_evidence.mean())
        return -trace[-1], coordinates.pull_back(gradient, factors)

    start = coordinates.join(np.log(weights), means, factors)
    options = {"maxiter": 500, "ftol": 1e-15, "gtol": 1e-8}
    result = minimize(loss, start, jac=True, method="L-BFGS-B", options=options)
    logits, means, _ = coordinates.split(result.x)
    return vbfast.softmax(logits), means, trace


# %%
# Both start from the same parameters.

rng = np.random.default_rng(0)
centres = np.array([[-2.0, 0.0], [2.0, 1.0], [0.0, 4.0]])
X = centres[rng.integers(3, size=2000)] + rng.normal(size=(2000, 2))
weights, means, factors = np.full(3, 1 / 3), X[:3], np.tile(np.eye(2), (3, 1, 1))
em = vbfast.GaussianMixture(
    3, weights_init=weights, means_init=means, precisions_init=factors, reg_covar=0.0,
    tol=1e-13, max_iter=5000,
).fit(X)  # fmt: skip
found_weights, found_means, trace = fit(X, weights, means, factors)
print(f"log evidence a row: EM {em.score(X):.8f}, L-BFGS {max(trace):.8f}")
print(f"largest difference of the means: {np.abs(em.means_ - found_means).max():.1e}")

# %%
# What is left to the optimum, over passes. EM gains more with its first ones, and then a constant
# factor a pass. L-BFGS has to learn the curvature, but converges faster once it has.

best = max(em.score(X), *trace)
figure, ax = plt.subplots(figsize=(6.5, 3.8), layout="constrained")
for name, bounds in (("EM", em.lower_bounds_), ("L-BFGS", np.maximum.accumulate(trace))):
    left = best - np.asarray(bounds)
    ax.semilogy(np.arange(1, len(left) + 1)[left > 1e-12], left[left > 1e-12], label=name)
ax.set(xlabel="passes over the rows", ylabel="nats a row below the optimum")
ax.legend()
plt.show()
