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

OUR_ITERATIONS = 3  # not many: later ones skip components that have lost their rows


def peer_seconds(case, rows):
    """One iteration of scikit-learn's; None where its fit fails."""
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
        return None


def time_iterations(case, dtype, repeats, *, last=1.5, peer=True):
    """Return the median seconds of our VB and EM iterations, of their ratio, and the peer's.

    Short iterations are timed more often than ``repeats``: for ``last`` seconds.
    """
    rows = case.rows(dtype)
    arguments = {
        "n_components": case.n_components,
        "covariance_type": case.covariance_type,
        "reg_covar": case.reg_covar,
        "init_params": np.arange(case.n_samples) % case.n_components,
        "tol": 0.0,
    }
    estimators = [vbfast.BayesianGaussianMixture(**arguments), vbfast.GaussianMixture(**arguments)]
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)
        warnings.filterwarnings("ignore", "covariance_prior is singular")
        if last > 0.0:
            lasting = iterations_lasting(estimators[1], rows, last)
            repeats = max(repeats, lasting // OUR_ITERATIONS)
        times = np.array(
            [
                [iteration_seconds(estimator, rows, OUR_ITERATIONS) for estimator in estimators]
                for _ in range(repeats)
            ]
        )
        other = peer_seconds(case, rows) if peer else None
    ours, em = np.median(times, axis=0)
    return ours, em, np.median(times[:, 0] / times[:, 1]), other


def tables(cases=tuple(CASES), dtypes=("float64", "float32"), *, repeats=5, peers="sklearn",
           quick=False):  # fmt: skip
    asked = peers == "sklearn"
    lines = []
    for dtype in dtypes:
        for name in cases:
            case = CASES[name].smaller(100) if quick else CASES[name]
            last = 0.0 if quick else 1.5
            ours, em, ratio, other = time_iterations(case, dtype, repeats, last=last, peer=asked)
            lines.append([name, dtype, f"{ours:.4f}", f"{em:.4f}", f"{ratio:.2f}",
                          measure.cell(other, 2, "fails" if asked else measure.MISSING),
                          measure.speed_up(other, ours)])  # fmt: skip
    header = ["case", "dtype", "VB s", "EM s", "VB / EM", "scikit-learn VB s", "speed-up"]
    return [measure.Table(header, lines)]


if __name__ == "__main__":
    measure.run_script(tables)
