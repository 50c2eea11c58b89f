"""Peak memory of a fit above its data: N = 4,000,000, D = 8, K = 256, full, float64.

Each fit has a process of its own, which reads the rows first; the growth of the process's peak
during the fit is what the fit took, its start included.
"""

from __future__ import annotations

import resource
import sys
import tempfile
import warnings
from pathlib import Path

import measure

if __name__ == "__main__":
    measure.restart_without()

import numpy as np
from sklearn.exceptions import ConvergenceWarning

import vbfast


def peak_bytes():
    """Return the most memory that this process has had."""
    status = Path("/proc/self/status")
    if status.exists():  # what getrusage returns there, a process takes over from its parent
        [line] = [line for line in status.read_text().splitlines() if line.startswith("VmHWM:")]
        return 1024 * int(line.split()[1])
    unit = 1 if sys.platform == "darwin" else 1024
    return unit * resource.getrusage(resource.RUSAGE_SELF).ru_maxrss


def growth(estimator, path):
    """Return by how many bytes the peak grows while the rows in a file are fitted."""
    warnings.simplefilter("ignore", ConvergenceWarning)
    rows = np.load(path)
    type(estimator)(n_components=2, max_iter=1).fit(rows[:1000])  # loads what a fit needs
    before = peak_bytes()
    estimator.fit(rows)
    return peak_bytes() - before


def growth_in_fresh_processes(estimators, rows):
    """Return the growth of each estimator's fit, in a process of its own."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "rows.npy"
        np.save(path, rows)
        return [measure.fresh(growth, estimator, path) for estimator in estimators]


def tables(*, iterations=2, quick=False):
    N, D, K = (40_000 if quick else 4_000_000), 8, (16 if quick else 256)
    rows = np.random.default_rng(0).normal(size=(N, D))
    starts = ("k-means++", "random")
    estimators = [
        vbfast.GaussianMixture(K, init_params=start, max_iter=iterations, random_state=0)
        for start in starts
    ]
    lines = [
        [start, f"{rows.nbytes / 1e6:.0f}", f"{taken / 1e6:.0f}", f"{8e-6 * N * K:.0f}"]
        for start, taken in zip(starts, growth_in_fresh_processes(estimators, rows), strict=True)
    ]
    header = ["start", "data MB", "peak above it, MB", "an N x K array, MB"]
    return [measure.Table(header, lines)]


if __name__ == "__main__":
    measure.run_script(tables)
