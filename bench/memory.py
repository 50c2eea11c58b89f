"""Peak memory of a fit above its data: N = 4,000,000, D = 8, K = 256, full, float64.

The data is made first; the growth of the process's peak during the fit is what the fit took (its
k-means start included). An N x K array would take 8 GB.
"""

from __future__ import annotations

import resource
import sys
import warnings

import numpy as np
from sklearn.exceptions import ConvergenceWarning

import measure
import vbfast


def peak_bytes():
    unit = 1 if sys.platform == "darwin" else 1024
    return unit * resource.getrusage(resource.RUSAGE_SELF).ru_maxrss


def table(*, iterations=2, quick=False):
    warnings.simplefilter("ignore", ConvergenceWarning)
    N, D, K = (40_000 if quick else 4_000_000), 8, (16 if quick else 256)
    lines = []
    for init_params in ("k-means++", "random"):
        rows = np.random.default_rng(0).normal(size=(N, D))
        vbfast.GaussianMixture(2, max_iter=1).fit(rows[:1000])  # loads what a fit needs
        before = peak_bytes()
        mixture = vbfast.GaussianMixture(
            K, init_params=init_params, max_iter=iterations, random_state=0
        )
        mixture.fit(rows)
        growth = (peak_bytes() - before) / 1e6
        lines.append([init_params, f"{rows.nbytes / 1e6:.0f}", f"{growth:.0f}",
                      f"{8e-6 * N * K:.0f}"])  # fmt: skip
        del rows
    return measure.markdown(["start", "data MB", "peak above it, MB", "an N x K array, MB"], lines)


if __name__ == "__main__":
    print(table(**vars(measure.options(__doc__, iterations=2))))
