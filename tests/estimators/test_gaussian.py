"""The numbers of ``GaussianMixture``: against scikit-learn's, and at the edges."""

from __future__ import annotations

import warnings

import numpy as np
import pytest
from sklearn.exceptions import ConvergenceWarning
from sklearn.mixture import GaussianMixture as ScikitLearnMixture

from vbfast.contract import COVARIANCE_TYPES
from vbfast.estimators import GaussianMixture

pytestmark = pytest.mark.kernels

PARAMETERS = ("weights_", "means_", "covariances_", "precisions_", "precisions_cholesky_")
all_types = pytest.mark.parametrize("covariance_type", COVARIANCE_TYPES)


def fit_quietly(mixture, rows, **fit_params):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)
        return mixture.fit(rows, **fit_params)


def bounds_of(theirs):
    """Return the bound of every iteration; of the last one before scikit-learn 1.7."""
    return getattr(theirs, "lower_bounds_", [theirs.lower_bound_])


def assert_same_fit(ours, theirs, tolerance=1e-8):
    bounds = np.array(bounds_of(theirs))
    assert ours.n_iter_ == theirs.n_iter_
    error = np.abs(np.array(ours.lower_bounds_[-len(bounds) :]) - bounds)
    assert np.all(error <= tolerance * np.maximum(1.0, np.abs(bounds)))
    for name in PARAMETERS:
        expected = getattr(theirs, name)
        assert getattr(ours, name).shape == expected.shape
        scale = np.abs(expected).max()
        np.testing.assert_allclose(getattr(ours, name), expected, rtol=0, atol=tolerance * scale)


@all_types
@pytest.mark.parametrize("n_iter", [1, 2, 7, 20])
def test_iterations_from_a_given_start_are_scikit_learns(
    clustered, given_start, covariance_type, n_iter
):
    arguments = {**given_start(covariance_type), "max_iter": n_iter, "tol": 0.0}
    ours = fit_quietly(GaussianMixture(**arguments), clustered)
    theirs = fit_quietly(ScikitLearnMixture(**arguments), clustered)
    assert_same_fit(ours, theirs)
    np.testing.assert_array_equal(ours.predict(clustered), theirs.predict(clustered))
    np.testing.assert_allclose(
        ours.predict_proba(clustered), theirs.predict_proba(clustered), atol=1e-8
    )
    np.testing.assert_allclose(
        ours.score_samples(clustered), theirs.score_samples(clustered), rtol=1e-8, atol=1e-8
    )
    for criterion in ("score", "aic", "bic"):
        np.testing.assert_allclose(
            getattr(ours, criterion)(clustered), getattr(theirs, criterion)(clustered), rtol=1e-8
        )


@all_types
@pytest.mark.parametrize("init_params", ["random", "random_from_data"])
def test_random_starts_are_scikit_learns(clustered, covariance_type, init_params):
    arguments = {
        "n_components": 3,
        "covariance_type": covariance_type,
        "init_params": init_params,
        "random_state": 5,
        "max_iter": 20,
        "tol": 0.0,
        "reg_covar": 1e-3,
    }
    ours = fit_quietly(GaussianMixture(**arguments), clustered)
    theirs = fit_quietly(ScikitLearnMixture(**arguments), clustered)
    assert_same_fit(ours, theirs)


@all_types
@pytest.mark.parametrize("init_params", ["random", "random_from_data"])
def test_a_start_alone_is_scikit_learns(clustered, covariance_type, init_params):
    arguments = {
        "n_components": 3,
        "covariance_type": covariance_type,
        "init_params": init_params,
        "random_state": 1,
        "max_iter": 0,
    }
    ours = GaussianMixture(**arguments).fit(clustered)
    theirs = ScikitLearnMixture(**arguments).fit(clustered)
    assert_same_fit(ours, theirs)
    assert ours.n_iter_ == 0
    assert ours.lower_bound_ == -np.inf
    assert not ours.converged_


@pytest.mark.parametrize("given", ["weights_init", "means_init", "precisions_init"])
@all_types
def test_given_parameters_replace_those_of_the_start(
    clustered, given_start, covariance_type, given
):
    start = given_start(covariance_type)
    arguments = {
        "n_components": 4,
        "covariance_type": covariance_type,
        "init_params": "random",
        "random_state": 0,
        "max_iter": 5,
        "tol": 0.0,
        given: start[given],
    }
    ours = fit_quietly(GaussianMixture(**arguments), clustered)
    theirs = fit_quietly(ScikitLearnMixture(**arguments), clustered)
    assert_same_fit(ours, theirs)


@all_types
@pytest.mark.parametrize("dtype", [np.float64, np.float32])
def test_responsibilities_as_the_start(clustered, covariance_type, dtype):
    resp = np.random.default_rng(0).dirichlet(np.ones(3), size=len(clustered))

    def make_resp(X, n_components, random_state):
        assert X.shape == clustered.shape
        assert n_components == 3
        assert isinstance(random_state, np.random.RandomState)
        return resp

    arguments = {"n_components": 3, "covariance_type": covariance_type, "max_iter": 4, "tol": 0.0}
    rows = clustered.astype(dtype)
    given = fit_quietly(GaussianMixture(init_params=resp, **arguments), rows)
    called = fit_quietly(GaussianMixture(init_params=make_resp, **arguments), rows)
    assert given.lower_bounds_ == called.lower_bounds_
    start = GaussianMixture(3, covariance_type=covariance_type, init_params=resp, max_iter=0).fit(
        clustered
    )
    np.testing.assert_allclose(start.weights_, resp.mean(axis=0), rtol=1e-12)
    means = resp.T @ clustered / resp.sum(axis=0)[:, np.newaxis]
    np.testing.assert_allclose(start.means_, means, atol=1e-12)


@all_types
def test_the_bound_never_falls_without_regularisation(clustered, covariance_type):
    mixture = GaussianMixture(
        4,
        covariance_type=covariance_type,
        reg_covar=0.0,
        init_params="random",
        random_state=0,
        tol=0.0,
        max_iter=80,
    )
    bounds = np.array(fit_quietly(mixture, clustered).lower_bounds_)
    assert np.all(np.diff(bounds) >= -1e-12 * np.maximum(1.0, np.abs(bounds[1:])))


@all_types
def test_one_component_is_the_sample_moments(clustered, covariance_type):
    mixture = GaussianMixture(1, covariance_type=covariance_type, reg_covar=0.0).fit(clustered)
    covariance = np.cov(clustered.T, bias=True)
    expected = {
        "full": covariance[np.newaxis],
        "tied": covariance,
        "diag": np.diag(covariance)[np.newaxis],
        "spherical": np.diag(covariance).mean(keepdims=True),
    }[covariance_type]
    np.testing.assert_allclose(mixture.covariances_, expected, rtol=1e-10, atol=1e-12)
    np.testing.assert_allclose(mixture.means_[0], clustered.mean(axis=0), atol=1e-12)
    np.testing.assert_array_equal(mixture.weights_, [1.0])
    assert mixture.converged_


@all_types
def test_one_feature(clustered, covariance_type):
    rows = clustered[:, :1]
    arguments = {
        "n_components": 2,
        "covariance_type": covariance_type,
        "means_init": [[-1.0], [1.0]],
        "init_params": "random",
        "random_state": 0,
    }
    assert_same_fit(
        fit_quietly(GaussianMixture(**arguments), rows),
        fit_quietly(ScikitLearnMixture(**arguments), rows),
    )


@all_types
@pytest.mark.parametrize("init_params", ["kmeans", "k-means++", "random_from_data"])
def test_one_row_a_component(covariance_type, init_params):
    rows = np.arange(10.0).reshape(5, 2) ** 2
    mixture = GaussianMixture(
        5, covariance_type=covariance_type, init_params=init_params, random_state=0
    ).fit(rows)
    assert sorted(mixture.predict(rows)) == list(range(5))
    np.testing.assert_allclose(np.sort(mixture.means_, axis=0), rows, atol=1e-3)
    np.testing.assert_allclose(mixture.weights_, 0.2, rtol=1e-3)


@all_types
def test_a_component_that_loses_its_rows_stays_and_weighs_nothing(clustered, covariance_type):
    far = np.full((1, 4), 1e3)
    mixture = GaussianMixture(
        3,
        covariance_type=covariance_type,
        weights_init=np.full(3, 1.0 / 3.0),
        means_init=np.vstack([clustered[:2], far]),
        precisions_init={
            "full": np.tile(np.eye(4), (3, 1, 1)),
            "tied": np.eye(4),
            "diag": np.ones((3, 4)),
            "spherical": np.ones(3),
        }[covariance_type],
        max_iter=5,
    )
    fit_quietly(mixture, clustered)
    np.testing.assert_array_equal(mixture.means_[2], far[0])
    assert mixture.weights_[2] == 0.0
    np.testing.assert_allclose(mixture.weights_.sum(), 1.0)
    assert np.isfinite(mixture.lower_bounds_).all()
    if covariance_type in ("diag", "spherical"):
        np.testing.assert_allclose(mixture.covariances_[2], 1.0)
    assert not np.any(mixture.predict(clustered) == 2)
    assert np.isfinite(mixture.score_samples(clustered)).all()


ILL_DEFINED = "Fitting the mixture model failed because some components have ill-defined"


@all_types
@pytest.mark.parametrize("dtype", [np.float64, np.float32])
def test_a_singular_covariance_is_an_error(covariance_type, dtype):
    rows = np.repeat(np.eye(2, 3, dtype=dtype), 30, axis=0)
    mixture = GaussianMixture(2, covariance_type=covariance_type, reg_covar=0.0, random_state=0)
    with pytest.raises(ValueError, match=ILL_DEFINED) as caught:
        mixture.fit(rows)
    assert ("passing float64" in str(caught.value)) == (dtype == np.float32)
    assert not hasattr(mixture, "means_")
    mixture.set_params(reg_covar=1e-6).fit(rows)
    np.testing.assert_allclose(np.sort(mixture.means_[:, 0]), [0.0, 1.0], atol=1e-6)


@all_types
@pytest.mark.parametrize("dtype", [np.float64, np.float32])
@pytest.mark.parametrize("value", [7.0, 7.1, -1e-8, 123456.789])
@pytest.mark.parametrize("init_params", ["kmeans", "random"])
def test_rounding_does_not_make_a_constant_feature_vary(
    clustered, covariance_type, dtype, value, init_params
):
    rows = clustered.astype(dtype)
    rows[:, :] = rows[0] if covariance_type == "spherical" else rows
    rows[:, 1] = value
    arguments = {"covariance_type": covariance_type, "init_params": init_params, "random_state": 0}
    with pytest.raises(ValueError, match=ILL_DEFINED):
        GaussianMixture(2, reg_covar=0.0, **arguments).fit(rows)
    ridge = 1e-3 * max(value**2, 1e-9)
    fitted = fit_quietly(GaussianMixture(2, reg_covar=ridge, **arguments), rows)
    np.testing.assert_allclose(fitted.means_[:, 1], value, rtol=1e-4)


@pytest.mark.parametrize("scale", [1e160, 1e200, 1e300])
@pytest.mark.parametrize("init_params", ["kmeans", "k-means++", "random", "random_from_data"])
@all_types
def test_rows_whose_squares_overflow_are_an_error_and_no_warning(
    clustered, covariance_type, init_params, scale
):
    mixture = GaussianMixture(
        2, covariance_type=covariance_type, init_params=init_params, random_state=0
    )
    for reg_covar in (1e-6, 0.0):
        with pytest.raises(ValueError, match=f"{ILL_DEFINED}|row \\d+ (is so far|has)"):
            mixture.set_params(reg_covar=reg_covar).fit(scale * clustered)


@all_types
@pytest.mark.parametrize("accelerate", [None, "squarem"])
def test_a_start_that_no_row_is_near_to_is_an_error(
    clustered, given_start, covariance_type, accelerate
):
    start = given_start(covariance_type) | {"means_init": np.full((4, 4), 1e200)}
    with pytest.raises(ValueError, match="log-density -inf under all components"):
        GaussianMixture(**start, accelerate=accelerate).fit(clustered)
    labels = np.full(len(clustered), -1)
    with pytest.raises(ValueError, match="log-density -inf under all components"):
        GaussianMixture(2, covariance_type=covariance_type, init_params=labels).fit(clustered)


def test_n_init_keeps_the_best(clustered):
    arguments = {"init_params": "random_from_data", "reg_covar": 1e-2, "max_iter": 30}
    many = fit_quietly(GaussianMixture(5, n_init=6, random_state=0, **arguments), clustered)
    random_state = np.random.RandomState(0)
    singles = [
        fit_quietly(GaussianMixture(5, random_state=random_state, **arguments), clustered)
        for _ in range(6)
    ]
    best = max(singles, key=lambda mixture: mixture.lower_bound_)
    assert many.lower_bounds_ == best.lower_bounds_
    np.testing.assert_array_equal(many.means_, best.means_)


def test_lower_bounds_end_in_the_bound(clustered):
    mixture = GaussianMixture(4, random_state=0).fit(clustered)
    assert len(mixture.lower_bounds_) == mixture.n_iter_
    assert mixture.lower_bounds_[-1] == mixture.lower_bound_
    assert abs(mixture.lower_bounds_[-1] - mixture.lower_bounds_[-2]) < mixture.tol


def test_a_fit_that_does_not_converge_warns(clustered):
    with pytest.warns(ConvergenceWarning, match="Best performing initialization did not") as seen:
        GaussianMixture(4, max_iter=2, random_state=0).fit(clustered)
    assert seen[0].filename == __file__


@all_types
def test_warm_start_goes_on(clustered, given_start, covariance_type):
    arguments = {**given_start(covariance_type), "tol": 1e-4}
    whole = GaussianMixture(**arguments, max_iter=300).fit(clustered)
    parts = GaussianMixture(**arguments, max_iter=1, warm_start=True)
    bounds = []
    for _ in range(whole.n_iter_):
        bounds += fit_quietly(parts, clustered).lower_bounds_
    assert bounds == whole.lower_bounds_
    assert parts.converged_
    np.testing.assert_array_equal(parts.means_, whole.means_)


def test_warm_start_with_another_shape_is_an_error(clustered):
    mixture = GaussianMixture(2, warm_start=True, random_state=0).fit(clustered)
    with pytest.raises(ValueError, match="warm_start=True goes on"):
        mixture.set_params(n_components=3).fit(clustered)
    with pytest.raises(ValueError, match="warm_start=True goes on"):
        mixture.set_params(n_components=2, covariance_type="diag").fit(clustered)


@all_types
def test_float32_follows_float64(clustered, given_start, covariance_type):
    rows = clustered.astype(np.float32)
    # The ridge keeps condition numbers near 1e3: single precision cannot hold 1e6.
    arguments = {**given_start(covariance_type), "max_iter": 15, "tol": 0.0, "reg_covar": 1e-3}
    single = fit_quietly(GaussianMixture(**arguments), rows)
    double = fit_quietly(GaussianMixture(**arguments), rows.astype(np.float64))
    np.testing.assert_allclose(single.lower_bounds_, double.lower_bounds_, atol=1e-3)
    for name in PARAMETERS:
        assert getattr(single, name).dtype == np.float32
        assert getattr(double, name).dtype == np.float64
    error = np.abs(single.covariances_ - double.covariances_).max()
    assert error <= 1e-3 * np.abs(double.covariances_).max()
    assert single.score_samples(rows).dtype == np.float32
    assert single.predict_proba(rows).dtype == np.float32
    assert isinstance(single.score(rows), float)


@all_types
def test_sampled_rows_follow_the_mixture(clustered, covariance_type):
    mixture = GaussianMixture(3, covariance_type=covariance_type, random_state=0).fit(clustered)
    rows, labels = mixture.sample(40_000)
    assert rows.shape == (40_000, 4)
    assert labels.dtype == np.int64
    shares = np.bincount(labels, minlength=3) / 40_000
    np.testing.assert_allclose(shares, mixture.weights_, atol=0.01)
    refitted = GaussianMixture(
        3,
        covariance_type=covariance_type,
        weights_init=mixture.weights_,
        means_init=mixture.means_,
        precisions_init=mixture.precisions_,
    )
    np.testing.assert_allclose(refitted.fit(rows).score(rows), mixture.score(rows), atol=1e-2)


@all_types
def test_sample_takes_scikit_learns_normals_and_a_seed(clustered, given_start, covariance_type):
    """Matrices have many roots: what the rows' normals were is the same, whitened by any."""
    arguments = {**given_start(covariance_type), "max_iter": 3, "tol": 0.0}
    ours = fit_quietly(GaussianMixture(random_state=3, **arguments), clustered)
    theirs = fit_quietly(ScikitLearnMixture(random_state=3, **arguments), clustered)
    rows, labels = ours.sample(50)
    expected, expected_labels = theirs.sample(50)
    np.testing.assert_array_equal(labels, expected_labels)
    if covariance_type in ("diag", "spherical"):
        np.testing.assert_allclose(rows, expected, atol=1e-6)
    else:
        factors = np.broadcast_to(ours.precisions_cholesky_, (len(ours.means_), 4, 4))[labels]
        lengths = [
            np.square(np.einsum("ni,nij->nj", x - ours.means_[labels], factors)).sum(axis=1)
            for x in (rows, expected)
        ]
        np.testing.assert_allclose(*lengths, rtol=1e-6)
    np.testing.assert_array_equal(rows, ours.sample(50, random_state=3)[0])
    assert not np.array_equal(rows, ours.sample(50, random_state=4)[0])


def test_sampling_from_float32_weights(clustered):
    mixture = GaussianMixture(7, random_state=0, max_iter=3)
    fit_quietly(mixture, clustered.astype(np.float32))
    assert mixture.sample(10, random_state=0)[0].dtype == np.float64


def test_fitted_attributes_may_be_lists(clustered):
    mixture = GaussianMixture(2, random_state=0).fit(clustered)
    expected, labels = mixture.sample(10)
    score = mixture.score(clustered)
    for name in ("weights_", "means_", "covariances_", "precisions_cholesky_"):
        setattr(mixture, name, getattr(mixture, name).tolist())
    rows, again = mixture.sample(10)
    np.testing.assert_array_equal(rows, expected)
    np.testing.assert_array_equal(again, labels)
    assert mixture.score(clustered) == score


@all_types
def test_elbo_at_the_posterior_is_tight(clustered, covariance_type):
    mixture = GaussianMixture(3, covariance_type=covariance_type, random_state=0).fit(clustered)
    terms = mixture.elbo(clustered)
    resp = mixture.predict_proba(clustered)
    entropy = -np.sum(resp * np.log(np.where(resp > 0, resp, 1.0)))
    assert terms.kl == 0.0
    np.testing.assert_allclose(terms.entropy, entropy, rtol=1e-8)
    np.testing.assert_allclose(terms.log_evidence, 600 * mixture.score(clustered), rtol=1e-12)
    np.testing.assert_allclose(terms.elbo, terms.log_evidence, rtol=1e-12)
    assert terms.loss == -terms.elbo


@all_types
def test_elbo_identities_for_any_responsibilities(clustered, covariance_type):
    mixture = GaussianMixture(3, covariance_type=covariance_type, random_state=0).fit(clustered)
    rng = np.random.default_rng(0)
    weight = rng.uniform(size=600)
    resp = rng.dirichlet(np.ones(3), size=600)
    terms = mixture.elbo(clustered, resp=resp, sample_weight=weight)
    scale = 1e-12 * sum(
        abs(term)
        for term in (terms.elbo, terms.expected_log_joint, terms.entropy, terms.log_evidence)
    )
    assert abs(terms.elbo - terms.expected_log_joint - terms.entropy) <= scale
    assert abs(terms.log_evidence - terms.elbo - terms.kl) <= scale
    assert terms.kl > 0.0
    evidence = mixture.score(clustered, sample_weight=weight) * weight.sum()
    np.testing.assert_allclose(terms.log_evidence, evidence, rtol=1e-12)


def test_elbo_of_no_distribution_names_the_row(clustered):
    mixture = GaussianMixture(3, random_state=0).fit(clustered)
    resp = np.full((600, 3), 1.0 / 3.0)
    resp[417] = 0.5
    with pytest.raises(ValueError, match="417"):
        mixture.elbo(clustered, resp=resp)
