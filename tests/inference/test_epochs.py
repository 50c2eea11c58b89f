"""Fits by batches in a new order every epoch."""

from __future__ import annotations

from itertools import pairwise

import numpy as np
import pytest

from vbfast.contract import Request
from vbfast.families.gaussian import Gaussian
from vbfast.inference import epochs
from vbfast.inference.em import Stopping
from vbfast.inference.epochs import run_epochs
from vbfast.inference.initialisation import initial_statistics
from vbfast.inference.stochastic import StepSizes, Stream, after_batch
from vbfast.passes.rows import as_row_source
from vbfast.passes.runner import LocalRunner

pytestmark = pytest.mark.kernels

FAMILY, STEPS = Gaussian("diag", 1e-6), StepSizes(0.7, 10.0)


@pytest.fixture
def runner(rng):
    rows = 4.0 * rng.integers(3, size=(2000, 1)) + rng.normal(size=(2000, 2))
    return LocalRunner(as_row_source(rows))


@pytest.fixture
def start(runner):
    statistics = initial_statistics(
        runner, n_components=3, moments="diag", init_params="kmeans", random_state=0
    )
    return FAMILY.start(statistics, runner)


def batches_of(count):
    return [slice(*ends) for ends in pairwise(range(0, 2001, 2000 // count))]


def test_against_batches_one_by_one(runner, start):
    """Orders and what is held out come from the generator; the rest is stepwise EM."""
    batches, n_epochs = batches_of(20), 3
    result = run_epochs(
        runner, start, FAMILY, Stopping(0.0, n_epochs), STEPS, batches, np.random.RandomState(0)
    )
    drawn = np.random.RandomState(0)
    order = drawn.permutation(np.arange(20))
    held_out, learned = order[0], np.sort(order[1:])
    stream, smoothed = Stream.of_fit(start, FAMILY, runner.dtype), []
    for _ in range(n_epochs):
        for batch in reversed(drawn.permutation(learned)):
            section = runner.section(batches[batch])
            stream = after_batch(stream, section, FAMILY, STEPS, section.total_weight, 2000.0)
        sums = runner.section(batches[held_out]).run(stream.parameters.log_joint(), Request())
        bound = sums.log_evidence / 100
        smoothed.append(0.5 * bound + 0.5 * smoothed[-1] if smoothed else bound)
    np.testing.assert_allclose(result.lower_bounds, smoothed, rtol=1e-13)
    assert np.array_equal(result.parameters.means, stream.parameters.means)


def test_batches_without_weight_are_left_out(runner, start):
    weights = np.ones(2000)
    weights[:400] = 0.0
    weighted = runner.weighted(weights)
    fewer = runner.section(slice(400, 2000))
    batches = batches_of(20)
    ends = [slice(rows.start - 400, rows.stop - 400) for rows in batches[4:]]
    results = [
        run_epochs(each, start, FAMILY, Stopping(0.0, 2), STEPS, some, np.random.RandomState(0))
        for each, some in ((weighted, batches), (fewer, ends))
    ]
    np.testing.assert_allclose(results[0].lower_bounds, results[1].lower_bounds, rtol=1e-12)


def test_one_batch_is_learned_from(runner, start):
    whole = [slice(0, 2000)]
    result = run_epochs(
        runner, start, FAMILY, Stopping(0.0, 5), STEPS, whole, np.random.RandomState(0)
    )
    assert len(result.lower_bounds) == 5
    assert not np.array_equal(result.parameters.means, start.means)


def test_it_ends_when_the_smoothed_bound_settles(runner, start):
    generator = np.random.RandomState(0)
    result = run_epochs(
        runner, start, FAMILY, Stopping(1e-3, 100), STEPS, batches_of(20), generator
    )
    assert result.converged
    changes = np.abs(np.diff(result.lower_bounds))
    assert changes[-1] < 1e-3
    assert (changes[:-1] >= 1e-3).all()
    assert 0.0 < epochs.HELD_OUT < 0.5


def test_going_on_from_a_state(runner, start):
    generator, states = np.random.RandomState(3), []

    def keep(state):
        states.append((state, generator.get_state()))

    batches, stopping = batches_of(8), Stopping(0.0, 3)
    whole = run_epochs(runner, start, FAMILY, stopping, STEPS, batches, generator, keep=keep)
    assert len(states) == 3 * 7
    for state, drawn in states[2], states[6], states[7]:
        again = np.random.RandomState()
        again.set_state(drawn)
        result = run_epochs(runner, start, FAMILY, stopping, STEPS, batches, again, state=state)
        assert result.lower_bounds == whole.lower_bounds
        assert np.array_equal(result.parameters.covariances, whole.parameters.covariances)
