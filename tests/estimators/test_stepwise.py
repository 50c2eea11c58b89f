"""Fits taken apart: initialize, summarize, merge, maximize."""

from __future__ import annotations

import importlib.util
import pickle
from pathlib import Path

import numpy as np
import pytest
from sklearn.exceptions import NotFittedError

import vbfast
from vbfast import BayesianGaussianMixture, GaussianMixture
from vbfast.contract import COVARIANCE_TYPES

pytestmark = pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")

ESTIMATORS = (GaussianMixture, BayesianGaussianMixture)
ATTRIBUTES = ("weights_", "means_", "covariances_", "precisions_cholesky_")
EXAMPLE = Path(__file__).parents[2] / "docs" / "examples" / "fit_in_processes.py"

every_estimator = pytest.mark.parametrize("estimator", ESTIMATORS)
every_type = pytest.mark.parametrize("covariance_type", COVARIANCE_TYPES)


@pytest.fixture(name="X")
def rows(rng):
    centres = 6.0 * rng.normal(size=(3, 4))
    return centres[rng.integers(3, size=3000)] + rng.normal(size=(3000, 4)) + 100.0


def stepwise(mixture, parts, n_iter, weights=None):
    weights = [None] * len(parts) if weights is None else weights
    for _ in range(n_iter):
        pairs = zip(parts, weights, strict=True)
        mixture.maximize(vbfast.merge(mixture.summarize(x, sample_weight=w) for x, w in pairs))
    return mixture


def assert_near(actual, expected, tolerance):
    for name in ATTRIBUTES:
        value, wanted = getattr(actual, name), getattr(expected, name)
        np.testing.assert_allclose(value, wanted, rtol=0, atol=tolerance * np.abs(wanted).max())


@every_estimator
@every_type
@pytest.mark.parametrize("weighted", [False, True])
@pytest.mark.parametrize(("n_iter", "tolerance"), [(1, 1e-12), (20, 1e-10)])
def test_chunks_lead_where_a_fit_of_all_rows_does(
    rng, X, estimator, covariance_type, weighted, n_iter, tolerance
):
    weight = rng.integers(1, 4, size=len(X)).astype(float) if weighted else None
    arguments = {"covariance_type": covariance_type, "max_iter": n_iter, "tol": 0.0}
    whole = estimator(3, random_state=0, **arguments).fit(X, sample_weight=weight)
    mixture = estimator(3, random_state=0, **arguments).initialize(X, sample_weight=weight)
    assert mixture.n_iter_ == 0
    weights = None if weight is None else np.array_split(weight, 4)
    stepwise(mixture, np.array_split(X, 4), n_iter, weights)
    assert_near(mixture, whole, tolerance)
    np.testing.assert_allclose(mixture.lower_bounds_, whole.lower_bounds_, rtol=tolerance)
    assert mixture.n_iter_ == whole.n_iter_ == mixture.n_passes_


@every_estimator
@every_type
def test_a_whole_summary_is_an_iteration_of_a_fit_to_the_bit(X, estimator, covariance_type):
    arguments = {"covariance_type": covariance_type, "max_iter": 5, "tol": 0.0, "random_state": 0}
    whole = estimator(3, **arguments).fit(X)
    mixture = stepwise(estimator(3, **arguments).initialize(X), [X], 5)
    for name in (*ATTRIBUTES, "lower_bounds_"):
        np.testing.assert_array_equal(getattr(mixture, name), getattr(whole, name))


def test_the_same_chunks_give_the_same_bits_in_one_process_and_in_four():
    if not EXAMPLE.is_file():
        pytest.skip("the examples are not part of this distribution")
    spec = importlib.util.spec_from_file_location("fit_in_processes", EXAMPLE)
    example = importlib.util.module_from_spec(spec)
    with pytest.MonkeyPatch.context() as patch:
        # What a spawned process imports has to be found there.
        patch.syspath_prepend(str(EXAMPLE.parent))
        patch.setitem(__import__("sys").modules, "fit_in_processes", example)
        spec.loader.exec_module(example)
        in_processes, in_one = example.main()
    assert in_one.converged_
    for name in (*ATTRIBUTES, "lower_bounds_", "n_iter_"):
        np.testing.assert_array_equal(getattr(in_processes, name), getattr(in_one, name))


@every_estimator
def test_converged_says_when_to_stop(X, estimator):
    mixture = estimator(3, random_state=0).initialize(X)
    whole = estimator(3, random_state=0).fit(X)
    while not mixture.converged_:
        stepwise(mixture, [X], 1)
    assert mixture.n_iter_ == whole.n_iter_
    assert mixture.lower_bounds_ == whole.lower_bounds_


def test_a_start_in_the_constructors_arguments_needs_no_initialize(X):
    start = {"weights_init": [0.5, 0.5], "means_init": X[:2], "precisions_init": [1.0, 2.0]}
    arguments = {"covariance_type": "spherical", "max_iter": 4, "tol": 0.0, **start}
    whole = GaussianMixture(2, **arguments).fit(X)
    workers = GaussianMixture(2, **arguments)
    mixture = GaussianMixture(2, **arguments)
    # The first summary may come from an unfitted copy elsewhere.
    mixture.maximize(workers.summarize(X))
    stepwise(mixture, [X], 3)
    assert_near(mixture, whole, 1e-14)
    assert mixture.n_features_in_ == 4


def test_float32_stays_float32(X):
    single = X.astype(np.float32)
    mixture = stepwise(GaussianMixture(3, random_state=0).initialize(single), [single], 3)
    assert mixture.means_.dtype == np.float32
    summary = mixture.summarize(single)
    assert summary.dtype == np.float32
    with pytest.raises(ValueError, match="do not add up"):
        vbfast.merge([summary, mixture.summarize(X)])


@pytest.mark.parametrize("scale", [1e-300, 1e-17])
def test_weights_may_be_tiny(X, scale):
    one, tiny = (GaussianMixture(3, random_state=0) for _ in range(2))
    weights = np.full(len(X), scale)
    one.initialize(X[:300])
    tiny.initialize(X[:300], sample_weight=weights[:300])
    assert_near(tiny, one, 1e-12)
    for _ in range(3):
        one.maximize(one.summarize(X))
        tiny.maximize(tiny.summarize(X, sample_weight=weights))
    assert_near(tiny, one, 1e-10)


def test_custom_components_in_steps(X, diagonal_gaussian):
    arguments = {"init_params": np.arange(len(X)) % 3, "max_iter": 6, "tol": 0.0}
    whole = vbfast.Mixture(diagonal_gaussian, 3, **arguments).fit(X)
    mixture = vbfast.Mixture(diagonal_gaussian, 3, **arguments).initialize(X)
    stepwise(mixture, np.array_split(X, 4), 6)
    size = np.abs(whole.parameters_).max()
    np.testing.assert_allclose(mixture.parameters_, whole.parameters_, atol=1e-9 * size)


def test_a_summary_is_small_and_pickles(X):
    mixture = GaussianMixture(3, random_state=0).initialize(X)
    summary = mixture.summarize(X)
    kept = pickle.dumps(summary)
    assert pickle.loads(kept) == summary
    assert len(kept) < 20 * 8 * 3 * 4 * 4
    assert summary.log_evidence / summary.total_weight == pytest.approx(mixture.score(X))
    assert "'full' moments of 3 components, 4 features" in repr(summary)


@pytest.mark.parametrize(
    ("summary", "error", "message"),
    [
        (lambda m, X: m.summarize(X).statistics, TypeError, "summary must be what summarize"),
        (lambda m, X: None, TypeError, "got NoneType"),
        (
            lambda m, X: GaussianMixture(3, covariance_type="diag").initialize(X).summarize(X),
            ValueError,
            "must have moments 'full', as summarize of this mixture returns; got 'diag'",
        ),
        (
            lambda m, X: GaussianMixture(3, random_state=1).initialize(X[:50]).summarize(X),
            ValueError,
            "made with others. Call summarize again after every maximize",
        ),
        (
            lambda m, X: GaussianMixture(2, random_state=1).initialize(X).summarize(X),
            ValueError,
            "made with others",
        ),
    ],
)
def test_a_summary_of_something_else(X, summary, error, message):
    mixture = GaussianMixture(3, random_state=0).initialize(X)
    before = {name: getattr(mixture, name).copy() for name in ATTRIBUTES}
    with pytest.raises(error, match=message):
        mixture.maximize(summary(mixture, X))
    for name, value in before.items():
        np.testing.assert_array_equal(getattr(mixture, name), value)
    assert mixture.n_iter_ == 0


def test_a_stale_summary(X):
    mixture = GaussianMixture(3, random_state=0).initialize(X)
    stale = mixture.summarize(X)
    mixture.maximize(stale)
    with pytest.raises(ValueError, match="made with others"):
        mixture.maximize(stale)


@every_estimator
def test_without_parameters_there_is_nothing_to_sum_up(X, estimator):
    with pytest.raises(NotFittedError, match="call 'initialize' with some rows"):
        estimator(3).summarize(X)
    with pytest.raises(NotFittedError, match="call 'initialize' with some rows"):
        estimator(3).maximize(estimator(3).initialize(X).summarize(X))
    mixture = estimator(3)
    with pytest.raises(NotFittedError):
        mixture.summarize(X)
    assert not hasattr(mixture, "n_features_in_")


def test_a_singular_step_leaves_the_mixture_as_it_was(X):
    constant = np.hstack([X, np.ones((len(X), 1))])
    mixture = GaussianMixture(2, random_state=0).initialize(constant)
    mixture.set_params(reg_covar=0.0)
    before = vars(mixture).copy()
    with pytest.raises(ValueError, match="ill-defined empirical covariance"):
        mixture.maximize(mixture.summarize(constant))
    assert vars(mixture) == before


@pytest.mark.parametrize("scale", [1e290, 1e300])
def test_a_bound_that_is_no_number_is_an_error(X, scale):
    """As in a fit. The sums of rows of such weights overflow in the posterior."""
    weights = np.full(len(X), scale)
    with pytest.raises(ValueError, match=r"the lower bound is nan in iteration 1|overflow"):
        BayesianGaussianMixture(3, random_state=0).fit(X, sample_weight=weights)
    mixture = BayesianGaussianMixture(3, random_state=0).initialize(X)
    before = dict(vars(mixture))
    summary = mixture.summarize(X, sample_weight=weights)
    with pytest.raises(ValueError, match=r"the lower bound is nan in iteration 1"):
        mixture.maximize(summary)
    assert vars(mixture) == before


@every_estimator
def test_a_fit_goes_on_from_steps(X, estimator):
    mixture = stepwise(estimator(3, random_state=0).initialize(X), [X], 3)
    mixture.set_params(warm_start=True)
    whole = estimator(3, random_state=0).fit(X)
    assert mixture.fit(X).lower_bound_ == pytest.approx(whole.lower_bound_, rel=1e-6)


def test_initialize_is_where_a_fit_starts(X):
    mixture = GaussianMixture(3, random_state=0).initialize(X)
    started = GaussianMixture(3, random_state=0, max_iter=0).fit(X)
    assert_near(mixture, started, 0.0)
    assert mixture.lower_bound_ == -np.inf
    assert not mixture.converged_
    with pytest.raises(ValueError, match="n_samples >= n_components"):
        GaussianMixture(3).initialize(X[:2])
