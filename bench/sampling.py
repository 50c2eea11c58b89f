"""Seconds of ``sample`` for 100,000 rows, beside what NumPy takes for the least that it has to do.

That is as many standard normals, and for every component their product with a matrix of full
covariances, or with a number a feature. All take turns. scikit-learn's mixture has the same
parameters and is drawn from once.
"""

from __future__ import annotations

import measure

if __name__ == "__main__":
    measure.restart_without()

import warnings

import numpy as np
from sklearn.mixture import GaussianMixture as ScikitLearnMixture

import vbfast
from vbfast.benchmark.timing import alternate, seconds

SIZES = ((2, 16), (16, 64), (64, 32), (200, 200))


def parameters(covariance_type, n_features, n_components):
    rng = np.random.default_rng(0)
    means = 5.0 * rng.normal(size=(n_components, n_features))
    roots = rng.normal(size=(n_components, n_features, 2 * n_features)) / np.sqrt(n_features)
    precisions = roots @ roots.swapaxes(1, 2)
    if covariance_type == "diag":
        precisions = np.diagonal(precisions, axis1=1, axis2=2).copy()
    return {
        "n_components": n_components,
        "covariance_type": covariance_type,
        "weights_init": np.full(n_components, 1 / n_components),
        "means_init": means,
        "precisions_init": precisions,
        "max_iter": 1,
    }


def fitted(cls, start):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        means = start["means_init"]
        noise = np.random.default_rng(1).normal(size=(3 * means.shape[1] + 10, *means.shape))
        return cls(**start).fit((means + noise).reshape(-1, means.shape[1]))


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
            start = parameters(covariance_type, n_features, n_components)
            mixture = fitted(vbfast.GaussianMixture, start)
            calls = [
                lambda: mixture.sample(n_samples, random_state=0),
                lambda: least(mixture, n_samples),
            ]
            for call in calls:
                call()
            ours, bound = alternate(calls, repeats)
            other = fitted(ScikitLearnMixture, start)
            theirs = seconds(lambda: other.sample(n_samples))
            lines.append(
                [covariance_type, str(n_features), str(n_components), f"{ours:.4f}",
                 f"{bound:.4f}", f"{ours / bound:.2f}", f"{theirs:.3f}",
                 measure.speed_up(theirs, ours)]
            )  # fmt: skip
    header = ["type", "features", "components", "sample s", "normals and products s", "ratio",
              "scikit-learn s", "speed-up"]  # fmt: skip
    return [measure.Table(header, lines)]


if __name__ == "__main__":
    measure.run_script(tables)
