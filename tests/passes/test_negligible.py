from __future__ import annotations

import numpy as np
import pytest

from vbfast.config.settings import config_context
from vbfast.contract import COVARIANCE_TYPES, LogJoint, PassResult, Request, RowOutputs
from vbfast.estimators import BayesianGaussianMixture, GaussianMixture
from vbfast.families.covariances import MOMENTS_OF
from vbfast.families.mixing_weights import StickBreaking
from vbfast.families.mixture_posterior import MixturePrior
from vbfast.families.normal_wishart_prior import NormalWishartPrior
from vbfast.passes import base_runner, runner
from vbfast.passes.negligible import negligible_components
from vbfast.passes.one_pass import run_pass
from vbfast.passes.rows import as_row_source
from vbfast.passes.runner import LocalRunner

pytestmark = pytest.mark.kernels

all_types = pytest.mark.parametrize("covariance_type", COVARIANCE_TYPES)
K, D = 7, 3
NEGLIGIBLE = np.array([1, 2, 6])


@pytest.fixture(params=["native", "numba"], autouse=True)
def backend(request):
    """Run the test with each backend that a fit would use."""
    if request.param == "numba":
        pytest.importorskip("numba")
    with config_context(backend=request.param):
        yield


@pytest.fixture
def rows():
    return np.random.default_rng(0).normal(scale=3.0, size=(2000, D))


@pytest.fixture
def visited(monkeypatch):
    """The number of components of every pass of an iteration."""
    counts = []

    def counting(source, params, request, **arguments):
        if request.assignment == "posterior" and arguments.get("outputs") is None:
            counts.append(params.n_components)
        return run_pass(source, params, request, **arguments)

    monkeypatch.setattr(runner, "run_pass", counting)
    return counts


def after(lowest_log_evidence):
    """The result of a pass whose rows had at least this evidence."""
    nan = float("nan")
    return PassResult(1.0, nan, nan, nan, nan, None, lowest_log_evidence)


def of_offset(offset):
    K = len(offset)
    return LogJoint.quadratic("spherical", offset, np.zeros((K, 1)), np.ones(K))


def model(covariance_type):
    rng = np.random.default_rng(1)
    factor = {
        "full": np.tile(0.5 * np.eye(D), (K, 1, 1)),
        "tied": 0.5 * np.eye(D),
        "diag": np.full((K, D), 0.5),
        "spherical": np.full(K, 0.5),
    }[covariance_type]
    offset = rng.normal(size=K)
    offset[NEGLIGIBLE] = [-400.0, -np.inf, -250.0]
    return LogJoint.quadratic(covariance_type, offset, rng.normal(size=(K, D)), factor)


@pytest.mark.parametrize("dtype", [np.float64, np.float32])
@pytest.mark.parametrize("n_components", [2, 300])
def test_who_is_negligible_holds_nothing_that_a_sum_could_show(rows, dtype, n_components):
    """The kernels' own sums say so, for components ever farther below the others."""
    source = as_row_source(rows.astype(dtype))
    below = np.linspace(0.0, 250.0, 120)
    offset = np.concatenate([np.zeros(n_components - 1), [0.0]])
    ones, means = np.ones(n_components), np.zeros((n_components, D))
    negligible = []
    for depth in below:
        offset[-1] = -depth
        params = LogJoint.quadratic("spherical", offset.copy(), means, ones)
        result = run_pass(source, params, Request(moments="diag"))
        left_out = negligible_components(params, result.lowest_log_evidence)
        assert not left_out[:-1].any()
        if left_out[-1]:
            assert result.statistics.weight[-1] < 1e-25 * len(rows)
            assert result.statistics.second[-1].max() < 1e-25 * np.square(rows).sum()
        negligible.append(bool(left_out[-1]))
    assert negligible == sorted(negligible)
    assert negligible[-1]
    assert not negligible[0]


def test_a_margin_keeps_components():
    offset = -np.linspace(0.0, 500.0, 1000)
    without, narrow, wide = (
        negligible_components(of_offset(offset), -20.0, margin=margin)
        for margin in (0.0, 20.0, 40.0)
    )
    assert without.sum() > narrow.sum() > wide.sum() > 0
    # As if the evidence were lower by the margin.
    np.testing.assert_array_equal(narrow, negligible_components(of_offset(offset), -40.0))


@pytest.mark.parametrize("nothing_known", [-np.inf, np.nan])
def test_nobody_is_negligible_where_nothing_is_known(nothing_known):
    offset = np.array([0.0, -1e4, -np.inf])
    assert not negligible_components(of_offset(offset), nothing_known).any()
    assert negligible_components(of_offset(offset), 0.0).tolist() == [False, True, True]


@all_types
@pytest.mark.parametrize("dtype", [np.float64, np.float32])
def test_nothing_is_missing_without_the_negligible(rows, visited, covariance_type, dtype):
    source = as_row_source(rows.astype(dtype))
    params = model(covariance_type)
    request = Request(moments=MOMENTS_OF[covariance_type], entropy=True)
    whole = run_pass(source, params, request)
    result = LocalRunner(source).iterate(params, request, previous=whole)
    assert visited == [K - len(NEGLIGIBLE)]
    # The point near the data that a pass computes about is the median of other means.
    tolerance = {np.float64: 1e-12, np.float32: 1e-5}[dtype]
    for name in ("total_weight", "log_evidence", "expected_log_joint", "entropy"):
        np.testing.assert_allclose(getattr(result, name), getattr(whole, name), rtol=tolerance)
    for name in ("centres", "weight", "first", "second"):
        expected = getattr(whole.statistics, name)
        actual = getattr(result.statistics, name)
        assert actual.shape == expected.shape
        np.testing.assert_allclose(actual, expected, atol=tolerance * np.abs(expected).max())
    np.testing.assert_array_equal(result.statistics.weight[NEGLIGIBLE], 0.0)


def test_without_a_pass_before_every_component_is_visited(rows, visited):
    source = as_row_source(rows)
    LocalRunner(source).iterate(model("diag"), Request())
    assert visited == [K]


def test_a_row_that_only_a_left_out_component_explains_brings_it_back(rows, visited):
    """The pass before promised too much: its rows were others'."""
    params = model("diag")
    params.form.centres[6] += 1000.0
    source = as_row_source(np.vstack([rows, np.full((1, D), 1000.0)]))
    whole = run_pass(source, params, Request(moments="diag"))
    request = Request(moments="diag")
    result = LocalRunner(source).iterate(params, request, previous=after(-20.0))
    assert visited == [K - len(NEGLIGIBLE), K]
    np.testing.assert_array_equal(result.statistics.weight, whole.statistics.weight)
    assert result.statistics.weight[6] >= 1.0 - 1e-9


def test_no_component_at_all_is_no_pass(rows, visited):
    params = model("diag")
    LocalRunner(as_row_source(rows)).iterate(params, Request(), previous=after(1e4))
    assert visited == [K]


@all_types
@pytest.mark.parametrize("prior_type", ["dirichlet_process", "dirichlet_distribution"])
def test_a_bayesian_fit_is_the_same(rows, visited, monkeypatch, covariance_type, prior_type):
    mixture = BayesianGaussianMixture(
        12,
        covariance_type=covariance_type,
        weight_concentration_prior_type=prior_type,
        weight_concentration_prior=1e-3,
        init_params=(rows[:, 0] > 0).astype(int),
        max_iter=15,
        tol=0.0,
    )
    with pytest.warns(match="did not converge"):
        mixture.fit(rows)
    assert min(visited) < 12
    bounds, means, weights = mixture.lower_bounds_, mixture.means_, mixture.weights_
    total = mixture.elbo(rows).total
    del visited[:]
    monkeypatch.setattr(base_runner, "MARGIN", np.inf)
    with pytest.warns(match="did not converge"):
        mixture.fit(rows)
    assert set(visited) == {12}
    np.testing.assert_allclose(bounds, mixture.lower_bounds_, rtol=1e-13)
    np.testing.assert_allclose(means, mixture.means_, rtol=1e-9, atol=1e-12)
    np.testing.assert_allclose(weights, mixture.weights_, rtol=1e-10)
    np.testing.assert_allclose(total, mixture.elbo(rows).total, rtol=1e-13)


@pytest.mark.usefixtures("loops_in_python")
def test_a_fit_by_maximum_likelihood_leaves_out_what_has_no_weight(rows, visited):
    mixture = GaussianMixture(
        3,
        covariance_type="diag",
        weights_init=[0.5, 0.5, 0.0],
        means_init=rows[:3],
        precisions_init=np.ones((3, D)),
        max_iter=4,
        tol=0.0,
    )
    with pytest.warns(match="did not converge"):
        mixture.fit(rows)
    assert visited == [3, 2, 2, 2]
    assert mixture.weights_[2] == 0.0


def test_an_empty_stick_before_an_occupied_one_is_not_negligible():
    """Its weight is small, but its density broad: rows in the tails give it more than rounding."""
    rows = np.random.default_rng(2).standard_t(4, size=(3000, 2))
    counts = np.array([0.0, 3000.0, 0.0, 0.0, 0.0])
    prior = NormalWishartPrior("full", 1.0, np.zeros(2), 2.0, np.cov(rows.T))
    labels = np.ones(3000, dtype=np.int64)
    statistics = run_pass(
        as_row_source(rows),
        LogJoint.quadratic("full", np.zeros(5), np.zeros((5, 2)), np.tile(np.eye(2), (5, 1, 1))),
        Request("given", "full"),
        resp=labels,
    ).statistics
    np.testing.assert_array_equal(statistics.weight, counts)
    params = MixturePrior(StickBreaking, 0.01, prior).posterior(statistics, reg_covar=0.0)
    resp = np.empty((3000, 5))
    outputs = RowOutputs(resp=resp)
    sums = run_pass(as_row_source(rows), params.log_joint(), Request(), outputs=outputs)
    negligible = negligible_components(params.log_joint(), sums.lowest_log_evidence)
    np.testing.assert_array_equal(negligible, [0, 0, 1, 1, 1])
    assert resp[:, 0].max() > 1e-6
    assert resp[:, 2:].max() < 1e-30
