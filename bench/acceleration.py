"""Passes that accelerated fits take for the bound that plain iterations reach, on the demo's data.

20,000 patches, 63 dimensions, 50 full-covariance components, from k-means. Plain iterations run for
100 passes; then those of accelerated ones are counted, refused steps included, until their bound is
what that was after a quarter, a half and all of them.
"""

from __future__ import annotations

import measure

if __name__ == "__main__":
    measure.restart_without()

import numpy as np

import vbfast
from vbfast.benchmark.patches import photographs, training_rows
from vbfast.inference.em import Stopping, run_em
from vbfast.inference.monitor import Monitor
from vbfast.passes.rows import as_row_source
from vbfast.passes.runner import LocalRunner

ESTIMATORS = (vbfast.GaussianMixture, vbfast.BayesianGaussianMixture)


class Recorder(Monitor):
    """The passes up to each iteration and its bound; also an accelerator that hears of refusals."""

    def __init__(self, accelerator):
        self.accelerator = accelerator
        self.refusals = 0
        self.passes, self.bounds = [], []

    def iteration_done(self, report):
        self.passes.append(report.iteration + self.refusals)
        self.bounds.append(report.lower_bound)

    def propose(self, parameters, image):
        return None if self.accelerator is None else self.accelerator.propose(parameters, image)

    def refused(self):
        self.refusals += 1
        self.accelerator.refused()

    def passes_to(self, bound):
        """Return how many passes led to the bound, None if it was not reached."""
        reached = np.array(self.bounds) >= bound
        return self.passes[int(np.argmax(reached))] if reached.any() else None


def record(estimator, rows, labels, K, passes, accelerate):
    mixture = estimator(K, init_params=labels, accelerate=accelerate)
    runner = LocalRunner(as_row_source(rows))
    family = mixture._family(runner)
    start = mixture._start(family, runner, np.random.RandomState(0))
    recorder = Recorder(mixture._accelerator(family))
    stopping = Stopping(0.0, passes)
    run_em(runner, start, family, stopping, accelerator=recorder, monitor=recorder)
    return recorder


def tables(*, rows=20_000, components=50, passes=100, quick=False):
    if quick:
        rows, components, passes = 2000, 3, 12
    X = training_rows(photographs(), rows, "float64", 0)
    start = vbfast.GaussianMixture(components, random_state=0, max_iter=0, reg_covar=1e-3)
    labels = start.fit(X).predict(X)
    lines = []
    for estimator in ESTIMATORS:
        plain = record(estimator, X, labels, components, passes, None)
        goals = [plain.bounds[int(share * passes) - 1] for share in (0.25, 0.5, 1.0)]
        fast = record(estimator, X, labels, components, passes, "squarem")
        for goal in goals:
            taken, plain_passes = fast.passes_to(goal), plain.passes_to(goal)
            lines.append([estimator.__name__, f"{plain_passes}",
                          measure.cell(taken, 0, f"more than {passes}"),
                          measure.speed_up(plain_passes, taken), f"{fast.refusals}"])  # fmt: skip
    header = ["estimator", "plain passes", "passes", "speed-up", "refused in all"]
    return [measure.Table(header, lines)]


if __name__ == "__main__":
    measure.run_script(tables)
