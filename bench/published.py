"""A hundred iterations of three cases for which times of scikit-learn have been published.

Those were taken on four older cores and stand beside ours and scikit-learn's of this machine. Ours
are timed whole. scikit-learn's are ten times those of ten iterations, which are timed likewise;
each of its iterations costs the same. ``--peers none`` leaves it out.
"""

from __future__ import annotations

import warnings

import measure

if __name__ == "__main__":
    measure.restart_without()

import sklearn.mixture
from sklearn.exceptions import ConvergenceWarning

import vbfast
from vbfast.benchmark.cases import Case
from vbfast.benchmark.timing import seconds

# Each case, and the seconds that were published.
CASES = {
    "diag": (Case("diag", 1_000_000, 64, 64, "diag"), 730),
    "tied": (Case("tied", 100_000, 32, 16, "tied"), 72),
    "full": (Case("full", 100_000, 32, 16, "full"), 110),
}
ITERATIONS, TIMED = 100, 10


def fit_seconds(library, case, rows, iterations):
    mixture = library.GaussianMixture(**case.start(), max_iter=iterations)
    return seconds(lambda: mixture.fit(rows))


def tables(cases=tuple(CASES), *, peers="sklearn", quick=False):
    warnings.simplefilter("ignore", ConvergenceWarning)
    lines = []
    for name in cases:
        case, published = CASES[name]
        case = case.smaller(1000) if quick else case
        rows = case.rows("float64")
        fit_seconds(vbfast, case, rows, 1)  # and its memory is there
        ours = fit_seconds(vbfast, case, rows, ITERATIONS)
        theirs = None
        if peers == "sklearn":
            theirs = fit_seconds(sklearn.mixture, case, rows, TIMED) * ITERATIONS / TIMED
        lines.append([name, f"{case.n_samples:,} x {case.n_features}", f"{case.n_components}",
                      f"{published}", measure.cell(theirs, 1), f"{ours:.2f}",
                      measure.speed_up(theirs, ours)])  # fmt: skip
    header = ["covariances", "rows", "K", "published s", "scikit-learn s", "vbfast s", "speed-up"]
    return [measure.Table(header, lines)]


if __name__ == "__main__":
    measure.run_script(tables)
