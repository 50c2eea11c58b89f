"""Seconds of an EM iteration on the demo's full data: 531,720 patches, 63 dimensions, K = 200.

Ours runs on all rows; scikit-learn on a subset, and its time is scaled to all rows. Once more ours
goes on from a fit of ten iterations of that subset: components differ more then, and those that
cannot matter for some rows are left early, which changes no bit. scikit-learn's iterations all cost
the same. Each is timed once: in its seconds the machine's ups and downs average out.
"""

from __future__ import annotations

import warnings

import measure

if __name__ == "__main__":
    measure.restart_without()

import numpy as np
import sklearn.mixture
from sklearn.exceptions import ConvergenceWarning

import vbfast
from vbfast.benchmark.iterations import iteration_seconds
from vbfast.benchmark.patches import photographs, training_rows


def tables(*, subset=20_000, repeats=1, quick=False):
    warnings.simplefilter("ignore", ConvergenceWarning)
    K = 5 if quick else 200
    lines = []
    for dtype in ("float64", "float32"):
        rows = training_rows(photographs(), 2000 if quick else None, dtype, 0)
        chosen = rows[np.random.default_rng(0).permutation(len(rows))[:subset]]
        start = {
            "n_components": K,
            "weights_init": np.full(K, 1 / K),
            "means_init": chosen[:K].astype(float),
            "precisions_init": np.tile(np.linalg.inv(np.cov(rows.T)), (K, 1, 1)),
            "tol": 0.0,
            "reg_covar": 0.1 if quick else 1e-6,
        }
        fitted = vbfast.GaussianMixture(**start, max_iter=2 if quick else 10).fit(chosen)
        later = {
            **start,
            "weights_init": fitted.weights_,
            "means_init": fitted.means_,
            "precisions_init": fitted.precisions_,
        }
        ours, ours_later, theirs = [], [], []
        for _ in range(repeats):
            ours.append(iteration_seconds(vbfast.GaussianMixture(**start), rows, 1))
            ours_later.append(iteration_seconds(vbfast.GaussianMixture(**later), rows, 1))
            peer = sklearn.mixture.GaussianMixture(**start)
            theirs.append(iteration_seconds(peer, chosen, 1))
        scaled = float(np.median(theirs)) * len(rows) / len(chosen)
        first, tenth = np.median(ours), np.median(ours_later)
        lines.append([dtype, f"{len(rows):,}", f"{scaled:.1f}", f"{first:.2f}",
                      measure.speed_up(scaled, first), f"{tenth:.2f}",
                      measure.speed_up(scaled, tenth)])  # fmt: skip
    header = ["dtype", "rows", f"scikit-learn s (scaled from {len(chosen):,} rows)", "vbfast s",
              "speed-up", "after ten iterations s", "speed-up"]  # fmt: skip
    return [measure.Table(header, lines)]


if __name__ == "__main__":
    measure.run_script(tables)
