"""How often a diagonal, tied or spherical E-step could leave a component early, on data sets.

The kernels take a group of rows against some components at a time. They could leave once a part of
the features puts all of these components so far below another one that their responsibilities are
zero for all rows of the group. Printed is for how many of all pairs of groups and components that
is so, and for how many of groups and blocks of four components, after a quarter, half, three
quarters and all of the features, in iterations that follow k-means.
"""

from __future__ import annotations

import warnings

import measure

if __name__ == "__main__":
    measure.restart_without()

import numpy as np

import vbfast
from vbfast.benchmark.datasets import DATASETS

# Rows of a group with AVX-512, and where exponentials are zero, nats.
GROUPS = {"float64": (32, -709.0), "float32": (64, -88.0)}
BLOCK = 4
PARTS = (0.25, 0.5, 0.75, 1.0)
ROWS = 4096


def terms_below_the_best(mixture, rows):
    """Return each feature's share of log-joints, and offsets, less the best log-joint of a row."""
    kind, factor, means = mixture.covariance_type, mixture.precisions_cholesky_, mixture.means_
    n_components, n_features = means.shape
    log_det = 0.0
    if kind == "tied":
        rows, means, factor = rows @ factor, means @ factor, np.ones((n_components, n_features))
    else:
        factor = np.broadcast_to(factor.reshape(n_components, -1), (n_components, n_features))
        log_det = np.log(factor).sum(axis=1)
    shares = -0.5 * np.square((rows[:, np.newaxis] - means) * factor)
    offsets = np.log(mixture.weights_) + log_det
    best = (offsets + shares.sum(axis=2)).max(axis=1)
    return shares, offsets - best[:, np.newaxis]


def exits(shares, offsets, group, zero):
    """Return the shares of single components, and of blocks, that could be left."""
    found = []
    n_groups, K = len(shares) // group, shares.shape[1]
    for part in PARTS:
        n_features = int(np.ceil(part * shares.shape[2]))
        below = offsets + shares[:, :, :n_features].sum(axis=2) < zero
        of_groups = below[: n_groups * group].reshape(n_groups, group, K).all(axis=1)
        blocks = of_groups[:, : K // BLOCK * BLOCK].reshape(n_groups, -1, BLOCK).all(axis=2)
        found.append((of_groups.mean(), blocks.mean() if blocks.size else 0.0))
    return found


def tables(*, iterations=5, quick=False):
    warnings.simplefilter("ignore")  # that fits do not converge
    lines = []
    for name, dataset in DATASETS.items():
        if dataset.covariance_type == "full":
            continue
        rows, _ = dataset.split(0, 50 if quick else max(1, dataset.n_samples // 20_000))
        for max_iter in (1, iterations):
            mixture = vbfast.GaussianMixture(
                **dataset.arguments(), random_state=0, max_iter=max_iter
            ).fit(rows.astype(float))
            below = terms_below_the_best(mixture, rows[:ROWS].astype(float))
            for dtype, (group, zero) in GROUPS.items():
                cells = [f"{one:.3f} / {block:.3f}" for one, block in exits(*below, group, zero)]
                lines.append([name, dataset.covariance_type, str(max_iter), dtype, *cells])
    header = ["data", "type", "iteration", "dtype", *(f"{part:.0%} of it" for part in PARTS)]
    return [measure.Table(header, lines)]


if __name__ == "__main__":
    measure.run_script(tables)
