"""Seconds of one variational Bayes iteration of each case, beside EM's and scikit-learn's.

Both of ours start from the same responsibilities, rows dealt out to the components in turn, after
which posteriors are dense; iterations are timed as in em_iteration.py, in turns, and medians of
times and of their ratios are printed. scikit-learn's is one E- and M-step and the bound, after a
fit of one iteration. ``--peers none`` leaves it out.
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
from vbfast.benchmark.cases import CASES
from vbfast.benchmark.iterations import iteration_seconds, iterations_lasting
from vbfast.benchmark.timing import seconds

OUR_ITERATIONS = 5  # not many: later ones skip components that have lost their rows


def peer_seconds(case, rows):
    """One iteration of scikit-learn's; NaN where its fit fails."""
    peer = sklearn.mixture.BayesianGaussianMixture(
        n_components=case.n_components,
        covariance_type=case.covariance_type,
        reg_covar=case.reg_covar,
        init_params="random_from_data",
        random_state=0,
        max_iter=1,
    )

    def iteration():
        log_evidence, log_resp = peer._e_step(rows)
        peer._m_step(rows, log_resp)
        peer._compute_lower_bound(log_resp, log_evidence)

    try:
        peer.fit(rows)
        return seconds(iteration)
    except ValueError:  # in float32 it may find covariances ill-defined
        return float("nan")


def table(cases=tuple(CASES), dtypes=("float64", "float32"), *, repeats=9, peers="sklearn",
          quick=False):  # fmt: skip
    warnings.simplefilter("ignore", ConvergenceWarning)
    warnings.filterwarnings("ignore", "covariance_prior is singular")
    lines, least = [], repeats
    for dtype in dtypes:
        for name in cases:
            case = CASES[name].smaller(100) if quick else CASES[name]
            rows = case.rows(dtype)
            arguments = {
                "n_components": case.n_components,
                "covariance_type": case.covariance_type,
                "reg_covar": case.reg_covar,
                "init_params": np.arange(case.n_samples) % case.n_components,
                "tol": 0.0,
            }
            estimators = [vbfast.BayesianGaussianMixture(**arguments),
                          vbfast.GaussianMixture(**arguments)]  # fmt: skip
            if not quick:  # short ones more often
                repeats = max(least, iterations_lasting(estimators[1], rows, 2.5) // OUR_ITERATIONS)
            times = np.array([[iteration_seconds(estimator, rows, OUR_ITERATIONS)
                               for estimator in estimators] for _ in range(repeats)])  # fmt: skip
            ours, em = np.median(times, axis=0)
            ratio = np.median(times[:, 0] / times[:, 1])
            other = peer_seconds(case, rows) if peers == "sklearn" else float("nan")
            lines.append([name, dtype, f"{ours:.4f}", f"{em:.4f}", f"{ratio:.2f}",
                          f"{other:.2f}", f"{other / ours:.1f}"])  # fmt: skip
    header = ["case", "dtype", "VB s", "EM s", "VB / EM", "scikit-learn VB s", "ratio"]
    return measure.markdown(header, lines)


if __name__ == "__main__":
    chosen = measure.options(__doc__, cases=list(CASES), dtypes=["float64", "float32"], repeats=9,
                             peers="sklearn")  # fmt: skip
    print(table(**vars(chosen)))
