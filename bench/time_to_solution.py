"""Seconds of whole fits with both libraries' defaults, and the evidence of rows that were held out.

A fit includes its start. Data sets and mixtures are those of `vbfast/benchmark/datasets.py`; the
libraries take turns, seed by seed, scikit-learn with the faster of one and two BLAS threads.
Evidence is the mean log-density of the held-out rows, nats: the median over seeds, and half the
range of its middle half. ``all`` is ours with ``init_size="all"``, which clusters as many rows as
scikit-learn. ``--peers none`` leaves scikit-learn out, ``--seeds`` is how many fits there are.
evidence_curves.py draws the way to the solution, with more libraries.
"""

from __future__ import annotations

import warnings
from dataclasses import dataclass, field

import measure

if __name__ == "__main__":
    measure.restart_without()

import numpy as np
import sklearn.mixture
from sklearn.exceptions import ConvergenceWarning
from threadpoolctl import threadpool_limits

import vbfast
from vbfast.benchmark.datasets import DATASETS
from vbfast.benchmark.timing import seconds

ESTIMATORS = {"em": "GaussianMixture", "bayesian": "BayesianGaussianMixture"}
LARGE = 10_000  # rows, from which on a geometric mean is another


@dataclass
class Fits:
    """Fits of one kind, a seed each."""

    seconds: list[float] = field(default_factory=list)
    evidence: list[float] = field(default_factory=list)
    iterations: list[int] = field(default_factory=list)

    def add(self, mixture, fitted, held_out):
        self.seconds.append(seconds(lambda: mixture.fit(fitted)))
        self.evidence.append(mixture.score(held_out))
        self.iterations.append(mixture.n_iter_)

    @property
    def time(self):
        return float(np.median(self.seconds))

    def cells(self):
        """Return the text of evidence and iterations."""
        low, median, high = np.percentile(self.evidence, (25, 50, 75))
        return [f"{median:.3f} ± {(high - low) / 2:.3f}", f"{np.median(self.iterations):.0f}"]


def faster_threads(make, rows):
    """Return how many BLAS threads a short fit of scikit-learn's is faster with."""
    times = {}
    for threads in (1, 2):
        with threadpool_limits(threads):
            mixture = make(max_iter=2, init_params="random_from_data", random_state=0)
            times[threads] = seconds(lambda mixture=mixture: mixture.fit(rows))
    return min(times, key=times.get)


def compare(dataset, name, seeds, peers, factor):
    """Return the fits of ours, of ours from all rows, and of scikit-learn's or None."""
    fitted, held_out = dataset.split(0, factor)
    arguments = dataset.arguments()

    def peer(**others):
        return getattr(sklearn.mixture, name)(**arguments, **others)

    def ours(**others):
        return getattr(vbfast, name)(**arguments, **others)

    sampled, full, theirs = Fits(), Fits(), Fits() if peers else None
    threads = faster_threads(peer, fitted) if peers else 0
    ours(random_state=0, max_iter=1).fit(fitted)  # and its memory is there
    for seed in range(seeds):
        sampled.add(ours(random_state=seed), fitted, held_out)
        full.add(ours(random_state=seed, init_size="all"), fitted, held_out)
        if peers:
            with threadpool_limits(threads):
                theirs.add(peer(random_state=seed), fitted, held_out)
    return fitted.shape, sampled, full, theirs


def geometric_mean(ratios):
    return measure.cell(np.exp(np.mean(np.log(ratios))) if ratios else None, 1)


def tables(datasets=tuple(DATASETS), estimators=tuple(ESTIMATORS), *, seeds=10, peers="sklearn",
           quick=False):  # fmt: skip
    asked, blocks, factor = peers == "sklearn", [], 1
    if quick:
        seeds, factor = 1, 500
    header = ["data", "rows", "K", "covariances", "vbfast s", "all s", "scikit-learn s", "speed-up",
              *(f"{what}{of}" for of in ("", ", all", ", scikit-learn")
                for what in ("evidence", "iterations"))]  # fmt: skip
    for name in estimators:
        lines, ratios = [], {True: [], False: []}
        for key in datasets:
            dataset = DATASETS[key]
            with warnings.catch_warnings():
                warnings.simplefilter("ignore", ConvergenceWarning)
                shape, sampled, full, theirs = compare(
                    dataset, ESTIMATORS[name], seeds, asked, factor
                )
            time = theirs.time if theirs else None
            if theirs:
                ratios[shape[0] >= LARGE].append(time / sampled.time)
            lines.append([key, f"{shape[0]:,} x {shape[1]}", f"{dataset.n_components}",
                          dataset.covariance_type, f"{sampled.time:.3f}", f"{full.time:.3f}",
                          measure.cell(time, 3), measure.speed_up(time, sampled.time),
                          *sampled.cells(), *full.cells(),
                          *(theirs.cells() if theirs else [measure.MISSING] * 2)])  # fmt: skip
        blocks += [
            f"### {ESTIMATORS[name]}",
            measure.Table(header, lines),
            f"Geometric mean of the speed-up from {LARGE:,} rows on: "
            f"{geometric_mean(ratios[True])}; below: {geometric_mean(ratios[False])}.",
        ]
    return blocks


if __name__ == "__main__":
    measure.run_script(tables)
