from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pytest

from vbfast.contract import LinearAlgebra, LogJoint, PassResult
from vbfast.families.gaussian import Gaussian
from vbfast.families.gaussian_parameters import GaussianParameters
from vbfast.inference.em import EMResult, Stopping, run_em
from vbfast.inference.monitor import Monitor
from vbfast.passes.rows import as_row_source
from vbfast.passes.runner import LocalRunner

EPS = float(np.finfo(np.float64).eps)


@pytest.fixture
def rows():
    rng = np.random.default_rng(0)
    return np.concatenate([rng.normal(-3, 1, (60, 2)), rng.normal(2, 2, (90, 2))])


@pytest.fixture
def runner(rows):
    return LocalRunner(as_row_source(rows))


@pytest.fixture
def start():
    return GaussianParameters.from_covariances(
        "diag", np.full(2, 0.5), np.array([[-1.0, 0.0], [1.0, 0.0]]), np.ones((2, 2))
    )


class Recorder(Monitor):
    def __init__(self):
        self.reports = []
        self.begun = 0

    def iterations_begin(self):
        self.begun += 1

    def iteration_done(self, report):
        self.reports.append(report)


def test_every_iteration_climbs_and_is_reported(runner, start):
    recorder = Recorder()
    result = run_em(runner, start, Gaussian("diag", 0.0), Stopping(1e-8, 500), monitor=recorder)
    assert result.converged
    assert np.all(np.diff(result.lower_bounds) > -1e-12)
    assert [report.lower_bound for report in recorder.reports] == result.lower_bounds
    assert [report.iteration for report in recorder.reports] == list(range(1, result.n_iter + 1))
    changes = [report.change for report in recorder.reports]
    np.testing.assert_allclose(changes[1:], np.diff(result.lower_bounds))
    assert changes[0] == np.inf
    assert recorder.begun == 1
    assert abs(changes[-1]) < 1e-8 <= min(abs(change) for change in changes[:-1])


def test_max_iter_ends_it(runner, start):
    result = run_em(runner, start, Gaussian("diag", 0.0), Stopping(0.0, 3))
    assert result.n_iter == 3
    assert not result.converged
    assert result.lower_bound == result.lower_bounds[-1]


def test_no_iterations_leave_the_start(runner, start):
    result = run_em(runner, start, Gaussian("diag", 0.0), Stopping(0.0, 0))
    assert result.parameters is start
    assert result.lower_bound == -np.inf


def test_going_on_is_the_same_as_not_having_stopped(runner, start):
    objective = Gaussian("diag", 0.0)
    whole = run_em(runner, start, objective, Stopping(1e-4, 100))
    first = run_em(runner, start, objective, Stopping(0.0, 4))
    rest = run_em(
        runner,
        first.parameters,
        objective,
        Stopping(1e-4, 100),
        previous_bound=first.lower_bound,
    )
    assert first.lower_bounds + rest.lower_bounds == whole.lower_bounds
    np.testing.assert_array_equal(rest.parameters.means, whole.parameters.means)


def test_sample_weight_reaches_the_passes(rows, start):
    source = as_row_source(rows)
    weight = np.zeros(source.n_samples)
    weight[:60] = 2.0
    result = run_em(
        LocalRunner(source, weight),
        start,
        Gaussian("diag", 0.0),
        Stopping(0.0, 1),
    )
    kept = LocalRunner(as_row_source(rows[:60]))
    expected = run_em(kept, start, Gaussian("diag", 0.0), Stopping(0.0, 1))
    np.testing.assert_allclose(result.parameters.means, expected.parameters.means)
    np.testing.assert_allclose(result.lower_bounds, expected.lower_bounds)


@dataclass(frozen=True)
class OneMean:
    """A custom family: a single unit Gaussian with a standard normal prior on its mean."""

    mean: np.ndarray

    def log_joint(self):
        return LogJoint.quadratic("spherical", np.zeros(1), self.mean, np.ones(1))


class PenalisedMean:
    moments = "first"
    scatter_floor = None
    climbs_merit = True

    def global_step(self, sums: PassResult, previous: OneMean, linalg: LinearAlgebra) -> OneMean:
        statistics = sums.statistics
        weight = statistics.weight[:, np.newaxis]
        total = statistics.first + weight * statistics.centres
        return OneMean(total / (weight + 1.0))

    def lower_bound(self, sums: PassResult, previous: OneMean, updated: OneMean) -> float:
        return sums.log_evidence - 0.5 * float(np.square(updated.mean).sum())

    def threshold(self, tol: float, total_weight: float) -> float:
        return tol

    def merit(
        self, lower_bound: float, sums: PassResult, previous: OneMean, updated: OneMean
    ) -> float:
        return lower_bound


class Staircase(PenalisedMean):
    """Bounds as given, whatever the rows; ten times the tolerance is little for all of them."""

    def __init__(self, changes):
        self.bounds = iter(np.cumsum(changes))

    def lower_bound(self, sums: PassResult, previous: OneMean, updated: OneMean) -> float:
        return next(self.bounds)

    def threshold(self, tol: float, total_weight: float) -> float:
        return 10.0 * tol


@pytest.mark.parametrize(
    ("changes", "n_iter"),
    [
        ([0.0, 900.0, 200.0, 9.0, 8.0], 4),  # below the threshold and smaller than before
        ([0.0, 8.0, 8.5, 9.0, 9.5, 11.0, 3000.0, 9.0, 8.0], 8),  # the way off a plateau
        ([0.0, 8.0, 4.0, 2.0, 2.1, 4.0, 3000.0, 40.0, 9.0, 8.0], 9),  # shrinking there first
        ([0.0, 90.0, 9.0, 8.0, 0.9], 5),  # too large a part of the rise, down to the tolerance
        ([0.0, 0.5, 0.6], 2),  # below the tolerance itself: scikit-learn's rule
        ([0.0, 900.0, 200.0, -9.0, -9.5, -8.0], 4),
        ([0.0, -900.0, -200.0, -9.0, -8.0], 4),
    ],
)
def test_changes_that_lead_off_a_plateau_are_not_convergence(runner, changes, n_iter):
    result: EMResult[OneMean] = run_em(
        runner, OneMean(np.zeros((1, 2))), Staircase(changes), Stopping(1.0, len(changes))
    )
    assert result.converged
    assert result.n_iter == n_iter


def test_any_change_is_small_beside_the_rise_before_a_resumed_ascent(runner):
    changes = [9.0, 8.0, 7.0]
    start = OneMean(np.zeros((1, 2)))
    resumed = run_em(runner, start, Staircase(changes), Stopping(1.0, 3), previous_bound=0.0)
    assert (resumed.converged, resumed.n_iter) == (True, 2)  # the first has none before it
    assert not run_em(runner, start, Staircase(changes), Stopping(1.0, 3)).converged


def test_the_loop_serves_other_objectives(rows, runner):
    result: EMResult[OneMean] = run_em(
        runner, OneMean(np.zeros((1, 2))), PenalisedMean(), Stopping(1e-6, 10)
    )
    assert result.converged
    expected = rows.sum(axis=0) / (len(rows) + 1)
    np.testing.assert_allclose(result.parameters.mean[0], expected)
