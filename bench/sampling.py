"""Seconds of ``sample`` for 100,000 rows, beside what NumPy takes for the least that it has to do.

That is as many standard normals, and for every component their product with a matrix of full
covariances, or with a number a feature. scikit-learn's mixture has the same parameters. All take
turns.
"""

from __future__ import annotations

import measure

if __name__ == "__main__":
    measure.restart_without()

from functools import partial

import numpy as np
from sklearn.mixture import GaussianMixture as ScikitLearnMixture

import vbfast
from vbfast.benchmark.timing import alternate

SIZES = ((2, 16), (16, 64), (64, 32), (200, 200))


def make_mixtures(covariance_type, n_features, n_components):
    """Return our mixture and scikit-learn's, with parameters that no fit has led to."""
    rng = np.random.default_rng(0)
    means = 5.0 * rng.normal(size=(n_components, n_features))
    roots = rng.normal(size=(n_components, n_features, 2 * n_features)) / np.sqrt(n_features)
    precisions = roots @ roots.swapaxes(1, 2)
    if covariance_type == "diag":
        precisions = np.diagonal(precisions, axis1=1, axis2=2).copy()
    ours = vbfast.GaussianMixture(
        n_components,
        covariance_type=covariance_type,
        weights_init=np.full(n_components, 1 / n_components),
        means_init=means,
        precisions_init=precisions,
    ).initialize(means)
    theirs = ScikitLearnMixture(n_components, covariance_type=covariance_type)
    for name in ("weights_", "means_", "covariances_", "precisions_cholesky_"):
        setattr(theirs, name, getattr(ours, name))
    return ours, theirs


def least(mixture, n_samples):
    """Draw the normals, and multiply them by a matrix or numbers of each component."""
    normals = np.random.RandomState(0).standard_normal((n_samples, mixture.n_features_in_))
    parts = np.array_split(normals, mixture.n_components)
    if mixture.covariance_type == "full":
        return [part @ matrix for part, matrix in zip(parts, mixture.covariances_, strict=True)]
    return [part * numbers for part, numbers in zip(parts, mixture.covariances_, strict=True)]


def tables(*, repeats=5, quick=False):
    n_samples = 1000 if quick else 100_000
    lines = []
    for covariance_type in ("full", "diag"):
        for n_features, n_components in SIZES[:2] if quick else SIZES:
            ours, theirs = make_mixtures(covariance_type, n_features, n_components)
            calls = [
                partial(ours.sample, n_samples, random_state=0),
                partial(least, ours, n_samples),
                partial(theirs.sample, n_samples),
            ]
            for call in calls:
                call()
            own, bound, other = alternate(calls, repeats)
            lines.append(
                [covariance_type, str(n_features), str(n_components), f"{own:.4f}",
                 f"{bound:.4f}", f"{own / bound:.2f}", f"{other:.4f}",
                 measure.speed_up(other, own)]
            )  # fmt: skip
    header = ["type", "features", "components", "sample s", "normals and products s", "ratio",
              "scikit-learn s", "speed-up"]  # fmt: skip
    return [measure.Table(header, lines)]


if __name__ == "__main__":
    measure.run_script(tables)
