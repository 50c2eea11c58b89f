"""One EM iteration with one thread and with two, taking turns; fits must agree to the bit.

Medians are printed, of times and of their ratios. The last column is what two threads gave a matrix
product of NumPy's BLAS between the iterations: on a shared machine two threads may have less than
two cores.
"""

from __future__ import annotations

import warnings

import measure

if __name__ == "__main__":
    measure.restart_without()

import numpy as np
from sklearn.exceptions import ConvergenceWarning
from threadpoolctl import threadpool_limits

import vbfast
from vbfast.benchmark.cases import CASES
from vbfast.benchmark.iterations import iteration_seconds, iterations_lasting
from vbfast.benchmark.timing import seconds


def tables(cases=tuple(CASES), *, repeats=3, quick=False):
    warnings.simplefilter("ignore", ConvergenceWarning)
    size = 300 if quick else 2500
    factor = np.random.default_rng(0).normal(size=(size, size))
    product = np.empty_like(factor)
    lines = []
    for name in cases:
        case = CASES[name].smaller(100) if quick else CASES[name]
        rows = case.rows("float64")
        times, products, means = {1: [], 2: []}, {1: [], 2: []}, {}
        iterations = iterations_lasting(
            vbfast.GaussianMixture(**case.start()), rows, 0.0 if quick else 0.5
        )
        for _ in range(repeats):
            for threads, seen in times.items():
                mixture = vbfast.GaussianMixture(**case.start())
                with vbfast.config_context(num_threads=threads):
                    seen.append(iteration_seconds(mixture, rows, iterations))
                means[threads] = mixture.means_
                with threadpool_limits(threads, user_api="blas"):
                    products[threads].append(seconds(lambda: np.dot(factor, factor, out=product)))
        if not np.array_equal(means[1], means[2]):
            raise AssertionError(f"{name}: the fits of one and of two threads differ")
        one, two = np.array(times[1]), np.array(times[2])
        blas = np.median(np.array(products[1]) / products[2])
        lines.append([name, f"{np.median(one):.4f}", f"{np.median(two):.4f}",
                      f"{np.median(one / two):.2f}", f"{blas:.2f}"])  # fmt: skip
    header = ["case", "one thread s", "two threads s", "ratio", "matrix product"]
    return [measure.Table(header, lines)]


if __name__ == "__main__":
    measure.run_script(tables)
