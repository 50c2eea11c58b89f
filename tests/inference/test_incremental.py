"""Fits that keep the statistics of parts of the rows."""

from __future__ import annotations

from itertools import pairwise

import numpy as np
import pytest

from vbfast.contract import COVARIANCE_TYPES, Request, RowOutputs, merge
from vbfast.families.gaussian import Gaussian
from vbfast.families.mixing_weights import Dirichlet
from vbfast.families.mixture_posterior import MixturePrior
from vbfast.families.normal_wishart_prior import NormalWishartPrior
from vbfast.families.variational import VariationalGaussian
from vbfast.inference.em import Stopping
from vbfast.inference.incremental import run_incremental
from vbfast.inference.initialisation import initial_statistics
from vbfast.passes.rows import as_row_source
from vbfast.passes.runner import LocalRunner

pytestmark = pytest.mark.kernels

K, D = 4, 3


def families(covariance_type):
    prior = {"full": np.eye(D), "tied": np.eye(D), "diag": np.ones(D), "spherical": np.array(1.0)}
    components = NormalWishartPrior(
        covariance_type, 0.5, np.zeros(D), D + 1.0, prior[covariance_type]
    )
    return {
        "EM": Gaussian(covariance_type, 0.0),
        "VB": VariationalGaussian(MixturePrior(Dirichlet, 0.3, components), 0.0),
    }


@pytest.fixture(params=COVARIANCE_TYPES)
def covariance_type(request):
    return request.param


@pytest.fixture(params=["EM", "VB"])
def family(request, covariance_type):
    return families(covariance_type)[request.param]


@pytest.fixture
def runner(rng):
    rows = rng.normal(size=(K, D))[rng.integers(K, size=1500)] * 2.0 + rng.normal(size=(1500, D))
    return LocalRunner(as_row_source(rows), rng.uniform(0.5, 1.5, size=1500))


def start_of(runner, family):
    statistics = initial_statistics(
        runner, n_components=K, moments=family.moments, init_params="kmeans", random_state=0
    )
    return family.start(statistics, runner)


def parts_of(n_samples, count):
    ends = [n_samples * part // count for part in range(count + 1)]
    return [slice(first, last) for first, last in pairwise(ends)]


class InTurn:
    """Orders parts as they lie, the last one first."""

    def permutation(self, count):
        return np.arange(count)


def bound_of(runner, family, parameters, responsibilities):
    """The bound of parameters and responsibilities, row by row."""
    values = np.empty_like(responsibilities)
    runner.run(parameters.log_joint(), Request(), outputs=RowOutputs(log_joint=values))
    with np.errstate(divide="ignore", invalid="ignore"):
        logs = np.where(responsibilities > 0.0, np.log(responsibilities), 0.0)
    per_row = (responsibilities * (values - logs)).sum(axis=1)
    total = float(runner.sample_weight @ per_row)
    if isinstance(family, Gaussian):
        return total / runner.total_weight
    return total - parameters.weights.kl - float(parameters.components.kl.sum())


def test_against_steps_that_are_written_out(runner, family):
    """Each part's responsibilities are kept in an array; a step takes the statistics of all."""
    n_parts, laps = 5, 3
    parts, start = parts_of(runner.n_samples, n_parts), start_of(runner, family)
    result = run_incremental(runner, start, family, Stopping(0.0, laps), parts, InTurn())

    parameters, bounds = start, []
    resp = np.full((runner.n_samples, K), np.nan)
    first = family.statistics_of(start)
    for _ in range(laps):
        for part in reversed(parts):
            block = np.empty((part.stop - part.start, K))
            section = runner.section(part)
            section.run(parameters.log_joint(), Request(), outputs=RowOutputs(resp=block))
            resp[part] = block
            seen = np.flatnonzero(~np.isnan(resp[:, 0]))
            known = LocalRunner(as_row_source(runner.gather(seen)), runner.sample_weight[seen])
            sums = known.run(
                parameters.log_joint(), Request("given", family.moments), resp=resp[seen]
            )
            left = runner.total_weight - known.total_weight
            if len(seen) < runner.n_samples:
                others = first * (left / first.weight.sum())
                moved = others.about(sums.statistics.centres)
                statistics = sums.statistics + moved
                sums = type(sums)(runner.total_weight, np.nan, np.nan, np.nan, np.nan, statistics)
            parameters = family.global_step(sums, parameters, runner.linalg)
        bounds.append(bound_of(runner, family, parameters, resp))
    np.testing.assert_allclose(result.lower_bounds, bounds, rtol=1e-10)
    np.testing.assert_allclose(
        result.parameters.log_joint().offset, parameters.log_joint().offset, rtol=1e-9, atol=1e-9
    )


def test_the_bound_never_falls_and_never_exceeds_the_evidence(runner, family):
    parts, start = parts_of(runner.n_samples, 7), start_of(runner, family)
    result = run_incremental(
        runner, start, family, Stopping(0.0, 30), parts, np.random.RandomState(0)
    )
    bounds = np.array(result.lower_bounds)
    scale = max(1.0, np.abs(bounds).max())
    assert len(bounds) == 30
    assert np.diff(bounds).min() > -1e-12 * scale
    sums = runner.run(result.parameters.log_joint(), Request())
    assert bounds[-1] <= family.bound_at(sums, result.parameters) + 1e-12 * scale


def test_one_part_is_a_whole_pass(runner, family):
    """Then a lap is an iteration: the bound of its responsibilities and of what they led to."""
    start = start_of(runner, family)
    whole = [slice(0, runner.n_samples)]
    result = run_incremental(
        runner, start, family, Stopping(0.0, 1), whole, np.random.RandomState(0)
    )
    sums = runner.run(start.log_joint(), Request(moments=family.moments))
    updated = family.global_step(sums, start, runner.linalg)
    np.testing.assert_array_equal(result.parameters.log_joint().offset, updated.log_joint().offset)
    resp = np.empty((runner.n_samples, K))
    runner.run(start.log_joint(), Request(), outputs=RowOutputs(resp=resp))
    np.testing.assert_allclose(
        result.lower_bound, bound_of(runner, family, updated, resp), rtol=1e-11
    )


def test_a_start_without_statistics_waits_for_all_parts(runner):
    """A family that knows no statistics of its parameters takes its first step after a lap."""

    class Forgetful(Gaussian):
        def statistics_of(self, parameters):
            return None

    family = Forgetful("diag", 0.0)
    start = start_of(runner, family)
    parts = parts_of(runner.n_samples, 4)
    result = run_incremental(runner, start, family, Stopping(0.0, 1), parts, InTurn())
    sums = merge(
        runner.section(part).run(start.log_joint(), Request(moments="diag")) for part in parts
    )
    expected = family.global_step(sums, start, runner.linalg)
    np.testing.assert_allclose(result.parameters.means, expected.means, rtol=1e-12)


def test_going_on_from_a_state(runner, family):
    parts, start = parts_of(runner.n_samples, 5), start_of(runner, family)
    generator, states = np.random.RandomState(3), []

    def keep(state):
        states.append((state, generator.get_state()))

    whole = run_incremental(runner, start, family, Stopping(0.0, 4), parts, generator, keep=keep)
    assert len(states) == 4 * len(parts)
    for state, drawn in states[3], states[4], states[11]:
        again = np.random.RandomState()
        again.set_state(drawn)
        result = run_incremental(runner, start, family, Stopping(0.0, 4), parts, again, state=state)
        assert result.lower_bounds == whole.lower_bounds
        one, other = (r.parameters.log_joint() for r in (result, whole))
        assert np.array_equal(one.form.precision_cholesky, other.form.precision_cholesky)
