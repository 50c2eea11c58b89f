"""How long variational Bayes and Gibbs sampling of the same model take to predict as well.

A blocked Gibbs sampler draws the assignments of all rows given the parameters, from the kernels'
responsibilities, and the parameters of all components given the assignments, from their conjugate
posterior. Both start from the labels of k-means. The figure of merit is the log density of held-out
rows under the posterior predictive, nats a row: for the sampler the average, over the second half
of its sweeps so far, of the predictive given the assignments. Time counts iterations and sweeps and
not the evaluation. Two sets: rows for which the sum over all assignments is the exact answer, and
the demo's patches. A sweep is one pass over the rows, as an iteration is, and the chain may be
first: it moves on where the bound climbs slowly. ``--output`` is for a picture of both curves.
"""

from __future__ import annotations

import itertools
import tempfile
import warnings
from pathlib import Path

import measure

if __name__ == "__main__":
    measure.restart_without()

import numpy as np
from scipy.special import logsumexp
from sklearn.exceptions import ConvergenceWarning

import vbfast
from vbfast.benchmark.patches import photographs, training_rows
from vbfast.benchmark.timing import seconds
from vbfast.contract import Request, RowOutputs
from vbfast.families.posterior_draws import draw_mixture
from vbfast.inference.initialisation import initial_statistics
from vbfast.inference.predictive import log_predictive_density
from vbfast.passes.rows import as_row_source
from vbfast.passes.runner import LocalRunner

TILE = 4096
# Two predictions are as good if they differ by less, in nats a row.
AS_GOOD = 0.01


class Gibbs:
    """The chain: ``sweep`` moves it, ``posterior`` is that of its current assignments."""

    def __init__(self, rows, labels, K, prior, seed):
        self.runner, self.prior = LocalRunner(as_row_source(rows)), prior
        self.generator = np.random.RandomState(seed)
        self.labels = labels.copy()
        statistics = initial_statistics(
            self.runner, n_components=K, moments="full", init_params=labels
        )
        self._draw_parameters(statistics)

    def sweep(self):
        self._draw_assignments()
        sums = self.runner.run(self.log_joint, Request("given", "full"), resp=self.labels)
        self._draw_parameters(sums.statistics)

    def _draw_parameters(self, statistics):
        self.posterior = self.prior.posterior(statistics, reg_covar=0.0)
        self.log_joint = draw_mixture(self.posterior, self.generator).log_joint()

    def _draw_assignments(self):
        resp = np.empty((TILE, self.log_joint.n_components))
        for rows, part in self.runner.parts(TILE):
            outputs = RowOutputs(resp=resp[: part.n_samples])
            part.run(self.log_joint, Request(), outputs=outputs)
            cumulative = np.cumsum(outputs.resp, axis=1)
            uniform = self.generator.uniform(size=(part.n_samples, 1)) * cumulative[:, -1:]
            self.labels[rows] = (cumulative < uniform).sum(axis=1)


def gibbs_curve(rows, held_out, labels, K, prior, sweeps):
    """Seconds and held-out density of the average over the second half, after each sweep."""
    chain = Gibbs(rows, labels, K, prior, seed=0)
    test = LocalRunner(as_row_source(held_out))
    elapsed, densities, curve = 0.0, [], []
    for n in range(1, sweeps + 1):
        elapsed += seconds(chain.sweep)
        densities.append(log_predictive_density(test, chain.posterior))
        kept = np.array(densities[n // 2 :])
        curve.append((elapsed, (logsumexp(kept, axis=0) - np.log(len(kept))).mean()))
    return np.array(curve)


def vb_curve(rows, held_out, mixture, max_iter):
    """Seconds and held-out density after each iteration, until convergence."""
    elapsed, curve = 0.0, []
    mixture.set_params(max_iter=1, warm_start=True)
    for _ in range(max_iter):
        elapsed += seconds(lambda: mixture.fit(rows))
        curve.append((elapsed, mixture.log_predictive_density(held_out).mean()))
        if mixture.converged_:
            break
    return np.array(curve)


def exact_density(rows, held_out, K, prior):
    """The mean log density of held-out rows, by the sum over all assignments."""
    runner, test = LocalRunner(as_row_source(rows)), LocalRunner(as_row_source(held_out))
    weights, densities = [], []
    for labels in itertools.product(range(K), repeat=len(rows)):
        statistics = initial_statistics(runner, n_components=K, moments="full",
                                        init_params=np.array(labels))  # fmt: skip
        posterior = prior.posterior(statistics, reg_covar=0.0)
        # Of the density of the rows given their components, what depends on the assignment.
        components = posterior.components
        spread = 0.5 * rows.shape[1] * np.log(components.mean_precision)
        density = -(components.log_normaliser + spread).sum()
        weights.append(posterior.weights.log_evidence + density)
        densities.append(log_predictive_density(test, posterior))
    weights = np.array(weights) - logsumexp(weights)
    return logsumexp(np.array(densities) + weights[:, np.newaxis], axis=0).mean()


def small_set(quick):
    rng = np.random.default_rng(0)

    def draw(n):
        return rng.normal(size=(n, 1)) + 3.0 * (np.arange(n)[:, np.newaxis] % 2)

    return draw(6 if quick else 10), draw(200)


def patches(quick):
    rows = training_rows(photographs(), 3000 if quick else 22_000, "float64", 0)
    held_out = len(rows) // 11
    return rows[held_out:], rows[:held_out]


def first(curve, goal):
    """Seconds and number of the first point that is as good."""
    index = int(np.argmax(curve[:, 1] >= goal - AS_GOOD))
    return curve[index, 0], index + 1


def plot(results, path):
    import matplotlib as mpl

    mpl.use("Agg")
    from matplotlib import pyplot as plt

    figure, axes = plt.subplots(1, len(results), figsize=(5 * len(results), 4))
    for ax, (name, vb, chain, exact) in zip(axes, results, strict=True):
        ax.plot(*vb.T, ".-", label="variational Bayes")
        ax.plot(*chain.T, label="Gibbs sampling")
        if exact is not None:
            ax.axhline(exact, color="black", linewidth=0.8, linestyle="--", label="exact")
        ax.set(xscale="log", xlabel="seconds", ylabel="held-out nats a row", title=name)
        ax.legend()
    figure.tight_layout()
    figure.savefig(path, dpi=120)


def tables(*, output="", sweeps=300, components=20, quick=False):
    warnings.simplefilter("ignore", ConvergenceWarning)
    sweeps = 20 if quick else sweeps
    lines, results = [], []
    sets = [("small", small_set(quick), 2), ("patches", patches(quick), 3 if quick else components)]
    for name, (rows, held_out), K in sets:
        D = rows.shape[1]
        start = vbfast.GaussianMixture(K, random_state=0, max_iter=0, reg_covar=1e-3)
        labels = start.fit(rows).predict(rows)
        # Given priors: every fit of one iteration would compute the default ones again.
        mixture = vbfast.BayesianGaussianMixture(
            K,
            init_params=labels,
            weight_concentration_prior_type="dirichlet_distribution",
            weight_concentration_prior=1.0,
            mean_precision_prior=0.1,
            mean_prior=rows.mean(axis=0),
            degrees_of_freedom_prior=D + 2.0,
            covariance_prior=np.cov(rows.T).reshape(D, D) / (1.0 if D > 1 else 20.0),
            reg_covar=0.0,
        )
        vb = vb_curve(rows, held_out, mixture, 30 if quick else 300)
        prior = mixture._fitted_parameters().prior
        exact = exact_density(rows, held_out, K, prior) if name == "small" else None
        chain = gibbs_curve(rows, held_out, labels, K, prior, sweeps)
        goal = min(vb[-1, 1], chain[-1, 1])
        (vb_time, iterations), (gibbs_time, n) = first(vb, goal), first(chain, goal)
        times = measure.speed_up(gibbs_time, vb_time, "slower than the sampler")
        lines.append([name, f"{len(rows):,} x {D}", f"{K}", measure.cell(exact, 3),
                      f"{vb[-1, 1]:.3f}", f"{chain[-1, 1]:.3f}", f"{vb_time:.3f} ({iterations})",
                      f"{gibbs_time:.3f} ({n})", times])  # fmt: skip
        results.append((name, vb, chain, exact))
    header = ["data", "rows", "K", "exact", "VB", "Gibbs", "VB s (iterations)", "Gibbs s (sweeps)",
              "speed-up"]  # fmt: skip
    table = measure.Table(header, lines)
    with tempfile.TemporaryDirectory() as scratch:
        plot(results, Path(output or f"{scratch}/gibbs.png"))
    caption = "Held-out density over time of variational Bayes and Gibbs sampling"
    return [table, f"![{caption}]({Path(output).name})"] if output else [table]


if __name__ == "__main__":
    measure.run_script(tables)
