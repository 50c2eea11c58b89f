"""One EM iteration with one thread and with two, taking turns; fits must agree to the bit."""

from __future__ import annotations

import warnings

import measure

if __name__ == "__main__":
    measure.restart_without()

import numpy as np
from sklearn.exceptions import ConvergenceWarning

import vbfast
from vbfast.benchmark.cases import CASES
from vbfast.benchmark.iterations import iteration_seconds


def table(*, repeats=3, quick=False):
    warnings.simplefilter("ignore", ConvergenceWarning)
    lines = []
    for name in CASES:
        case = CASES[name].smaller(100) if quick else CASES[name]
        rows = case.rows("float64")
        times, means = {1: [], 2: []}, {}
        for _ in range(repeats):
            for threads, seen in times.items():
                mixture = vbfast.GaussianMixture(**case.start())
                with vbfast.config_context(num_threads=threads):
                    seen.append(iteration_seconds(mixture, rows, 3))
                means[threads] = mixture.means_
        if not np.array_equal(means[1], means[2]):
            raise AssertionError(f"{name}: the fits of one and of two threads differ")
        one, two = np.median(times[1]), np.median(times[2])
        lines.append([name, f"{one:.4f}", f"{two:.4f}", f"{one / two:.2f}"])
    return measure.markdown(["case", "one thread s", "two threads s", "ratio"], lines)


if __name__ == "__main__":
    print(table(**vars(measure.options(__doc__, repeats=3))))
