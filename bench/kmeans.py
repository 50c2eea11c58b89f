"""Milliseconds of an iteration of k-means, ours and scikit-learn's, and of the seeding.

Both start from the same centres and make the same number of iterations, whose time is that of all
minus that of one: what is done once, such as scikit-learn's copy of the rows, is left out. Ours is
timed as it is and with all distances computed in each iteration ("plain"), which gives the same
centres. Clustered rows lie about as many points as there are centres, drawn with the spread that is
given in standard deviations of a row; unclustered ones are normal. Centres start at rows drawn at
random, and iterations are as many as scikit-learn makes of at most 20: it stops where labels stay.
All take turns; printed are medians.
"""

from __future__ import annotations

import measure

if __name__ == "__main__":
    measure.restart_without()

import warnings
from dataclasses import dataclass

import numpy as np
from sklearn.cluster import KMeans, kmeans_plusplus
from sklearn.exceptions import ConvergenceWarning

from vbfast.benchmark.timing import seconds
from vbfast.inference.kmeans import SEPARATIONS, lloyd, seed_rows
from vbfast.passes.rows import as_row_source
from vbfast.passes.runner import LocalRunner

ITERATIONS = 20


@dataclass(frozen=True)
class Shape:
    n_samples: int
    n_features: int
    n_clusters: int

    def rows(self, spread, dtype):
        rng = np.random.default_rng(0)
        centres = spread * rng.normal(size=(self.n_clusters, self.n_features))
        rows = rng.normal(size=(self.n_samples, self.n_features))
        rows += centres[rng.integers(self.n_clusters, size=self.n_samples)]
        return rows.astype(dtype)


SHAPES = (
    Shape(1_000_000, 2, 16),
    Shape(200_000, 3, 100),
    Shape(200_000, 16, 64),
    Shape(100_000, 16, 1000),
    Shape(50_000, 64, 256),
    Shape(20_000, 256, 32),
)
SPREADS = (5.0, 0.0)


class PlainRunner(LocalRunner):
    """Passes that compute all distances."""

    def nearest_bounds(self):
        return None


def separation_of(centres):
    """Return the least distance of two centres, as k-means++ knows it of its own."""
    squares = np.square(centres).sum(axis=1)
    products = squares[:, np.newaxis] + squares - 2.0 * centres @ centres.T
    np.fill_diagonal(products, np.inf)
    return float(np.sqrt(max(products.min(), 1e-12)))


def ours(runner, centres, n_iterations):
    unit = SEPARATIONS * separation_of(centres)
    return lloyd(runner, centres, tolerance=-1.0, unit=unit, max_iterations=n_iterations)


def theirs(rows, centres, n_iterations):
    start = centres.astype(rows.dtype)
    return KMeans(len(centres), init=start, n_init=1, max_iter=n_iterations, tol=0.0).fit(rows)


def compare(shape, spread, dtype, repeats, n_iterations):
    """Return seconds of an iteration, ours, plain and scikit-learn's, and of seeding, both."""
    rows, K = shape.rows(spread, dtype), shape.n_clusters
    bounded, plain = LocalRunner(as_row_source(rows)), PlainRunner(as_row_source(rows))
    drawn = np.random.default_rng(1).choice(len(rows), K, replace=False)
    centres = rows[drawn].astype(float)
    n_iterations = max(2, theirs(rows, centres, n_iterations).n_iter_)
    calls = [
        (lambda n: ours(bounded, centres, n), n_iterations),
        (lambda n: ours(plain, centres, n), n_iterations),
        (lambda n: theirs(rows, centres, n), n_iterations),
    ]
    assert np.array_equal(calls[0][0](3), calls[1][0](3))
    times = []
    for _ in range(repeats):
        one_turn = []
        for call, n in calls:
            one = seconds(lambda call=call: call(1))
            one_turn.append((seconds(lambda call=call, n=n: call(n)) - one) / (n - 1))
        one_turn.append(seconds(lambda: seed_rows(bounded, K, np.random.RandomState(0))))
        one_turn.append(seconds(lambda: kmeans_plusplus(rows, K, random_state=0)))
        times.append(one_turn)
    return np.median(times, axis=0)


def tables(*, repeats=3, quick=False):
    lines = []
    for shape in SHAPES:
        if quick:
            shape = Shape(2_000, shape.n_features, min(shape.n_clusters, 40))
        for spread in SPREADS:
            for dtype in ("float64", "float32"):
                with warnings.catch_warnings():
                    warnings.simplefilter("ignore", ConvergenceWarning)
                    found = compare(shape, spread, dtype, repeats, 3 if quick else ITERATIONS)
                mine, plain, peer, seeding, peer_seeding = found
                lines.append(
                    [f"{shape.n_samples:,} x {shape.n_features}", str(shape.n_clusters),
                     "clustered" if spread else "unclustered", dtype, f"{1e3 * mine:.2f}",
                     f"{1e3 * plain:.2f}", f"{1e3 * peer:.2f}", measure.speed_up(plain, mine),
                     measure.speed_up(peer, mine), f"{seeding:.3f}", f"{peer_seeding:.3f}",
                     measure.speed_up(peer_seeding, seeding)]
                )  # fmt: skip
    header = ["rows", "K", "kind", "dtype", "ms", "plain ms", "scikit-learn ms", "times plain",
              "times scikit-learn", "k-means++ s", "scikit-learn s", "speed-up"]  # fmt: skip
    return [measure.Table(header, lines)]


if __name__ == "__main__":
    measure.run_script(tables)
