"""Milliseconds of fits of 200 x 2 numbers, three components, and microseconds of one row.

Of as many data sets of three overlapping groups, ours and scikit-learn's fits with their defaults
and the same ``random_state`` take turns, data set by data set, on one thread and on two. What both
take to validate X is timed as well and taken from both; a speed-up is that of scikit-learn's
better number of BLAS threads over ours. A row's predictions are shown beside scikit-learn's
validation of it. The last table has passes over more and more rows on one thread and on two: what
``csrc/runtime/thread_count.cpp`` decides by.
"""

from __future__ import annotations

import measure

if __name__ == "__main__":
    measure.restart_without()

import warnings
from functools import partial
from time import perf_counter, sleep

import numpy as np
from sklearn import mixture
from sklearn.utils.validation import validate_data
from threadpoolctl import threadpool_limits

import vbfast
from vbfast.benchmark.timing import alternate
from vbfast.contract import COVARIANCE_TYPES, LogJoint, Request, covariance_shape
from vbfast.families.covariances import MOMENTS_OF
from vbfast.passes.rows import as_row_source
from vbfast.passes.runner import LocalRunner

N_COMPONENTS = 3
ESTIMATORS = ("GaussianMixture", "BayesianGaussianMixture")
DTYPES = [np.float64, np.float32]
BATCH = 10  # fits between two changes of the number of BLAS threads, which takes long


def make_rows(seed, n_samples=200, n_features=2):
    """Return rows of three groups that overlap."""
    rng = np.random.default_rng(seed)
    means = 2.0 * rng.normal(size=(N_COMPONENTS, n_features))
    return means[rng.integers(N_COMPONENTS, size=n_samples)] + rng.normal(
        size=(n_samples, n_features)
    )


def seconds_of_fits(module, name, covariance_type, seeds):
    """Return what fits take, and what validations of their rows do."""
    sleep(0.02)  # OpenMP's threads are busy for some time after they have worked
    spent = validation = 0.0
    for seed in seeds:
        rows = make_rows(seed)
        estimator = getattr(module, name)(
            n_components=N_COMPONENTS, covariance_type=covariance_type, random_state=seed
        )
        begun = perf_counter()
        estimator.fit(rows)
        fitted = perf_counter()
        validate_data(estimator, rows, dtype=DTYPES, ensure_min_samples=2)
        validation += perf_counter() - fitted
        spent += fitted - begun
    return np.array([spent, validation])


def fits_table(n_fits):
    lines = []
    for name in ESTIMATORS:
        for covariance_type in COVARIANCE_TYPES:
            spent = {(ours, threads): np.zeros(2) for ours in (True, False) for threads in (1, 2)}
            for start in range(0, n_fits, BATCH):
                seeds = range(start, min(start + BATCH, n_fits))
                for threads in (1, 2):
                    with vbfast.config_context(num_threads=threads):
                        spent[True, threads] += seconds_of_fits(
                            vbfast, name, covariance_type, seeds
                        )
                    with threadpool_limits(threads):
                        spent[False, threads] += seconds_of_fits(
                            mixture, name, covariance_type, seeds
                        )
            validation = np.mean([both[1] for both in spent.values()])
            own = [spent[True, threads][0] - validation for threads in (1, 2)]
            theirs = min(spent[False, threads][0] for threads in (1, 2)) - validation
            each = 1e3 / n_fits
            lines.append(
                [name, covariance_type, f"{own[0] * each:.2f}", f"{own[1] * each:.2f}",
                 f"{theirs * each:.2f}", measure.speed_up(theirs, max(own)),
                 f"{validation * each:.3f}"]
            )  # fmt: skip
    header = ["estimator", "type", "ours ms, 1 thread", "2 threads", "scikit-learn ms", "speed-up",
              "validation ms, taken off"]  # fmt: skip
    return measure.Table(header, lines)


def one_row_table(repeats, number):
    lines = []
    rows = make_rows(0)
    row = rows[:1]
    for name in ESTIMATORS:
        for covariance_type in COVARIANCE_TYPES:
            fitted = getattr(vbfast, name)(
                n_components=N_COMPONENTS, covariance_type=covariance_type, random_state=0
            ).fit(rows)
            calls = [
                partial(validate_data, fitted, row, reset=False),
                partial(fitted.predict, row),
                partial(fitted.predict_proba, row),
                partial(fitted.score_samples, row),
            ]
            least = np.full(len(calls), np.inf)
            for _ in range(repeats):
                least = np.minimum(least, [measure.warm_seconds(call, number) for call in calls])
            validation, *methods = 1e6 * least
            above = [f"{method - validation:.0f}" for method in methods]
            lines.append([name, covariance_type, f"{validation:.0f}", *above])
    header = ["estimator", "type", "validation us", "predict above it us", "predict_proba",
              "score_samples"]  # fmt: skip
    return measure.Table(header, lines)


def one_pass(n_samples, n_features, n_components, form, num_threads):
    """Return a call that makes a pass."""
    rng = np.random.default_rng(0)
    factors = np.ones(covariance_shape(form, n_components, n_features))
    if form in ("full", "tied"):
        factors[...] = np.eye(n_features)
    centres = rng.normal(size=(n_components, n_features))
    log_joint = LogJoint.quadratic(form, np.zeros(n_components), centres, factors)
    runner = LocalRunner(as_row_source(rng.normal(size=(n_samples, n_features))))

    def call():
        with vbfast.config_context(num_threads=num_threads):
            runner.run(log_joint, Request(moments=MOMENTS_OF[form]))

    return call


def passes_table(repeats, sizes):
    lines = []
    for form in COVARIANCE_TYPES:
        for n_features, n_components in ((2, 3), (2, 16), (30, 3)):
            for n_samples in sizes:
                size = (n_samples, n_features, n_components, form)
                calls = [one_pass(*size, 1), one_pass(*size, 2)]
                for call in calls:
                    call()
                one, two = 1e6 * np.array(alternate(calls, repeats))
                lines.append(
                    [form, str(n_features), str(n_components), str(n_samples), f"{one:.0f}",
                     f"{two:.0f}", f"{two / one:.2f}"]
                )  # fmt: skip
    header = ["form", "features", "components", "rows", "1 thread us", "2 threads us", "ratio"]
    return measure.Table(header, lines)


def tables(*, n_fits=1000, repeats=25, quick=False):
    warnings.simplefilter("ignore")  # of fits that do not converge
    sizes = (512, 8192) if quick else (512, 1024, 2048, 4096, 8192, 16384)
    return [
        fits_table(2 if quick else n_fits),
        one_row_table(1 if quick else repeats, 2 if quick else 200),
        passes_table(1 if quick else repeats, sizes),
    ]


if __name__ == "__main__":
    measure.run_script(tables)
