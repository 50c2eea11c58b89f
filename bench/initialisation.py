"""Seconds of k-means++ seeding and of k-means, ours and scikit-learn's, taking turns.

Both run to the same tolerance, from seeds of their own: the numbers of iterations differ. Printed
are the medians of as many turns as fit ten seconds, three at most.
"""

from __future__ import annotations

import measure

if __name__ == "__main__":
    measure.restart_without()

import numpy as np
from sklearn.cluster import KMeans, kmeans_plusplus

from vbfast.benchmark.cases import CASES
from vbfast.benchmark.timing import seconds
from vbfast.inference.kmeans import kmeans, seed_rows
from vbfast.passes.rows import as_row_source
from vbfast.passes.runner import LocalRunner

NAMES = ("full_2d", "full_16", "full_64", "diag_32", "sph_bigK")
LONG_ENOUGH = 10.0  # seconds


def compare(case, dtype, repeats):
    rows, K = case.rows(dtype), case.n_components
    runner = LocalRunner(as_row_source(rows))
    calls = [
        lambda: seed_rows(runner, K, np.random.RandomState(0)),
        lambda: kmeans_plusplus(rows, K, random_state=0),
        lambda: kmeans(runner, K, np.random.RandomState(0)),
        lambda: KMeans(K, n_init=1, random_state=0).fit(rows),
    ]
    times = []
    while len(times) < repeats and np.sum(times) < LONG_ENOUGH:
        times.append([seconds(call) for call in calls])
    return np.median(times, axis=0)


def tables(*, repeats=3, quick=False):
    lines = []
    for dtype in ("float64", "float32"):
        for name in NAMES:
            case = CASES[name].smaller(100) if quick else CASES[name]
            ours, theirs, our_fit, their_fit = compare(case, dtype, repeats)
            lines.append(
                [name, dtype, f"{ours:.3f}", f"{theirs:.3f}", measure.speed_up(theirs, ours),
                 f"{our_fit:.2f}", f"{their_fit:.2f}", measure.speed_up(their_fit, our_fit)]
            )  # fmt: skip
    header = ["case", "dtype", "k-means++ s", "scikit-learn s", "speed-up", "k-means s",
              "scikit-learn s", "speed-up"]  # fmt: skip
    return [measure.Table(header, lines)]


if __name__ == "__main__":
    measure.run_script(tables)
