"""Seconds of k-means++ seeding and of k-means, ours and scikit-learn's, taking turns.

Both run to the same tolerance, from seeds of their own: the numbers of iterations differ.
"""

from __future__ import annotations

import measure

if __name__ == "__main__":
    measure.restart_without()

import numpy as np
from sklearn.cluster import KMeans, kmeans_plusplus

from vbfast.benchmark.cases import CASES
from vbfast.benchmark.timing import alternate
from vbfast.inference.kmeans import kmeans, seed_rows
from vbfast.passes.rows import as_row_source
from vbfast.passes.runner import LocalRunner

NAMES = ("full_2d", "full_16", "full_64", "diag_32", "sph_bigK")


def compare(case, dtype, repeats):
    rows, K = case.rows(dtype), case.n_components
    runner = LocalRunner(as_row_source(rows))
    return alternate(
        [
            lambda: seed_rows(runner, K, np.random.RandomState(0)),
            lambda: kmeans_plusplus(rows, K, random_state=0),
            lambda: kmeans(runner, K, np.random.RandomState(0)),
            lambda: KMeans(K, n_init=1, random_state=0).fit(rows),
        ],
        repeats,
    )


def table(*, repeats=3, quick=False):
    lines = []
    for dtype in ("float64", "float32"):
        for name in NAMES:
            case = CASES[name].smaller(100) if quick else CASES[name]
            ours, theirs, our_fit, their_fit = compare(case, dtype, repeats)
            lines.append(
                [name, dtype, f"{ours:.3f}", f"{theirs:.3f}", f"{theirs / ours:.1f}",
                 f"{our_fit:.2f}", f"{their_fit:.2f}", f"{their_fit / our_fit:.1f}"]
            )  # fmt: skip
    header = ["case", "dtype", "k-means++ s", "scikit-learn s", "ratio"]
    return measure.markdown([*header, "k-means s", "scikit-learn s", "ratio"], lines)


if __name__ == "__main__":
    print(table(**vars(measure.options(__doc__, repeats=2))))
