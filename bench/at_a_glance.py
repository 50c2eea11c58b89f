"""What one iteration costs, in seconds and in memory above the rows, beside scikit-learn's.

Rows are float64, of clusters that overlap: the hardest data. Both libraries start from the same
parameters, share the same threads and take turns. Memory is the growth of a process's peak during a
fit of one iteration, each library's in a process of its own, measured as in memory.py.
"""

from __future__ import annotations

import measure

if __name__ == "__main__":
    measure.restart_without()

import sklearn.mixture

import vbfast
from memory import growth_in_fresh_processes
from vb_iteration import time_iterations
from vbfast.benchmark.cases import CASES
from vbfast.benchmark.iterations import time_iteration
from vbfast.benchmark.timing import MatrixProduct

# The command's name of a row: its case, and whether the mixture is Bayesian.
ROWS = {
    "full_2d": ("full_2d", False),
    "full_16": ("full_16", False),
    "diag_32": ("diag_32", False),
    "tied_32": ("tied_32", False),
    "sph_bigK": ("sph_bigK", False),
    "bayesian_16": ("full_16", True),
}


def described(case, bayesian):
    model = f"Bayesian, {case.covariance_type}" if bayesian else case.covariance_type
    return f"{model}: {case.n_samples:,} x {case.n_features}, {case.n_components:,} components"


def iteration_seconds(case, bayesian, repeats, *, quick):
    """Return the median seconds of an iteration, ours and scikit-learn's."""
    if bayesian:
        ours, _, _, peer = time_iterations(case, "float64", repeats, last=0.0 if quick else 1.5)
        return ours, peer
    product = MatrixProduct("float64", 300)  # keeps the turns, and is not looked at
    time = time_iteration(case, "float64", product, repeats=repeats)
    return time.ours, time.peer


def extra_bytes(case, bayesian):
    """Return what a fit of one iteration takes above the rows, ours and scikit-learn's."""
    if bayesian:
        name, arguments = (
            "BayesianGaussianMixture",
            {
                "n_components": case.n_components,
                "covariance_type": case.covariance_type,
                "reg_covar": case.reg_covar,
                "init_params": "random_from_data",
                "random_state": 0,
            },
        )
    else:
        name, arguments = "GaussianMixture", case.start()
    estimators = [
        getattr(library, name)(**arguments, max_iter=1) for library in (vbfast, sklearn.mixture)
    ]
    return growth_in_fresh_processes(estimators, case.rows("float64"))


def tables(cases=tuple(ROWS), *, repeats=5, quick=False):
    lines = []
    if quick:  # starting processes is what takes long
        cases = (cases[0], cases[-1])
    for name in cases:
        case, bayesian = CASES[ROWS[name][0]], ROWS[name][1]
        case = case.smaller(100) if quick else case
        ours, peer = iteration_seconds(case, bayesian, repeats, quick=quick)
        extra, peer_extra = extra_bytes(case, bayesian)
        lines.append([described(case, bayesian), f"{peer:.2f}", f"{ours:.3f}",
                      measure.speed_up(peer, ours),
                      f"{extra / 1e6:,.0f} MB ({peer_extra / 1e6:,.0f} MB)",
                      f"`python bench/at_a_glance.py --cases {name}`"])  # fmt: skip
    header = ["case", "scikit-learn s", "vbfast s", "speed-up", "extra memory (scikit-learn's)",
              "command"]  # fmt: skip
    return [measure.Table(header, lines)]


if __name__ == "__main__":
    measure.run_script(tables)
