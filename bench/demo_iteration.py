"""Seconds of an EM iteration on the demo's full data: 531,720 patches, 63 dimensions, K = 200.

Ours runs on all rows; scikit-learn on a subset, and its time is scaled to all rows. Once more ours
goes on from a fit of ten iterations of that subset: components differ more then, and those that
cannot matter for some rows are left early. scikit-learn's iterations all cost the same.
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
from vbfast.demo.patches import photographs, training_rows


def table(*, subset=20_000, repeats=3, quick=False):
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
                      f"{scaled / first:.1f}", f"{tenth:.2f}",
                      f"{scaled / tenth:.1f}"])  # fmt: skip
    header = ["dtype", "rows", f"scikit-learn s (scaled from {len(chosen):,} rows)", "vbfast s",
              "ratio", "after ten iterations s", "ratio"]  # fmt: skip
    return measure.markdown(header, lines)


if __name__ == "__main__":
    print(table(**vars(measure.options(__doc__, subset=20_000, repeats=2))))
