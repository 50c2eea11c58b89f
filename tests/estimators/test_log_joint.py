"""The log-joint of a fitted mixture as an array, and the names that scikit-learn has for it."""

from __future__ import annotations

import warnings

import numpy as np
import pytest
import sklearn.mixture
from scipy.special import logsumexp
from scipy.stats import multivariate_normal
from sklearn.exceptions import ConvergenceWarning, NotFittedError

import vbfast
from vbfast.backends import backend_names
from vbfast.contract import COVARIANCE_TYPES
from vbfast.estimators import BayesianGaussianMixture, GaussianMixture, Mixture

pytestmark = pytest.mark.kernels

both_mixtures = pytest.mark.parametrize("mixture_class", [GaussianMixture, BayesianGaussianMixture])
all_types = pytest.mark.parametrize("covariance_type", COVARIANCE_TYPES)


def fitted(mixture_class, rows, covariance_type="full", **arguments):
    mixture = mixture_class(
        3, covariance_type=covariance_type, random_state=0, max_iter=5, **arguments
    )
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)
        return mixture.fit(rows)


def scikit_learns(mixture):
    """scikit-learn's estimator with the same parameters."""
    theirs = getattr(sklearn.mixture, type(mixture).__name__)()
    vars(theirs).update(vars(mixture))
    return theirs


@all_types
@pytest.mark.parametrize("dtype", [np.float64, np.float32])
def test_is_the_density_times_the_weight(clustered, covariance_type, dtype):
    rows = clustered.astype(dtype)
    mixture = fitted(GaussianMixture, rows, covariance_type)
    covariances = {
        "full": lambda c: list(c),
        "tied": lambda c: [c] * 3,
        "diag": lambda c: [np.diag(variances) for variances in c],
        "spherical": lambda c: [variance * np.eye(4) for variance in c],
    }[covariance_type](mixture.covariances_.astype(float))
    expected = np.transpose(
        [
            np.log(weight) + multivariate_normal(mean, covariance).logpdf(rows.astype(float))
            for weight, mean, covariance in zip(
                mixture.weights_, mixture.means_, covariances, strict=True
            )
        ]
    )
    log_joint = mixture.log_joint(rows)
    assert log_joint.dtype == dtype
    # A float32 log-joint near zero is a difference of terms that are not.
    rtol, atol = (1e-10, 1e-10) if dtype == np.float64 else (1e-3, 1e-4)
    np.testing.assert_allclose(log_joint, expected, rtol=rtol, atol=atol)


@all_types
@both_mixtures
def test_is_what_the_bound_takes(clustered, mixture_class, covariance_type):
    mixture = fitted(mixture_class, clustered, covariance_type)
    ours, expected = vbfast.elbo(mixture.log_joint(clustered)), mixture.elbo(clustered)
    for name in ("elbo", "expected_log_joint", "entropy", "log_evidence"):
        np.testing.assert_allclose(getattr(ours, name), getattr(expected, name), rtol=1e-12)
    q = np.random.default_rng(0).dirichlet(np.ones(3), size=len(clustered))
    ours = vbfast.elbo(mixture.log_joint(clustered), q=q)
    np.testing.assert_allclose(ours.elbo, mixture.elbo(clustered, resp=q).elbo, rtol=1e-12)


def test_of_custom_components(clustered, diagonal_gaussian):
    mixture = Mixture(diagonal_gaussian, 3, random_state=0).fit(clustered)
    log_joint = mixture.log_joint(clustered)
    mean, scale = np.split(mixture.parameters_[:, :-1], 2, axis=1)
    constant = mixture.parameters_[:, -1] + np.log(mixture.weights_)
    square = np.square((clustered[:, np.newaxis] - mean) * scale).sum(axis=2)
    np.testing.assert_allclose(log_joint, constant - 0.5 * square, rtol=1e-12, atol=1e-12)
    log_density = mixture._estimate_log_prob(clustered)
    np.testing.assert_array_equal(mixture._estimate_log_weights(), np.log(mixture.weights_))
    np.testing.assert_allclose(
        log_density + mixture._estimate_log_weights(), log_joint, rtol=1e-12, atol=1e-12
    )
    np.testing.assert_allclose(
        np.exp(mixture.predict_log_proba(clustered)), mixture.predict_proba(clustered), atol=1e-15
    )


@pytest.mark.parametrize("dtype", [np.float64, np.float32])
@pytest.mark.parametrize("prior_type", ["dirichlet_process", "dirichlet_distribution"])
@all_types
@both_mixtures
def test_scikit_learns_names(clustered, mixture_class, covariance_type, prior_type, dtype):
    rows = clustered.astype(dtype)
    arguments = {}
    if mixture_class is BayesianGaussianMixture:
        arguments["weight_concentration_prior_type"] = prior_type
    ours = fitted(mixture_class, rows, covariance_type, **arguments)
    theirs = scikit_learns(ours)
    tolerance = {"rtol": 1e-10, "atol": 1e-10}
    if dtype == np.float32:
        tolerance = {"rtol": 1e-4, "atol": 1e-3}
    for name in ("_estimate_log_prob", "_estimate_weighted_log_prob", "_estimate_log_prob_resp"):
        results, expected = getattr(ours, name)(rows), getattr(theirs, name)(rows)
        if name != "_estimate_log_prob_resp":
            results, expected = [results], [expected]
        for result, right in zip(results, expected, strict=True):
            assert result.dtype == dtype
            assert result.shape == right.shape
            np.testing.assert_allclose(result, right, **tolerance)
    log_weights = ours._estimate_log_weights()
    assert log_weights.dtype == dtype
    np.testing.assert_allclose(log_weights, theirs._estimate_log_weights(), **tolerance)


def test_a_component_of_zero_weight(clustered):
    mixture = fitted(GaussianMixture, clustered)
    whole = mixture._estimate_log_prob(clustered)
    mixture.weights_ = np.array([0.25, 0.0, 0.75])
    assert np.all(mixture.log_joint(clustered)[:, 1] == -np.inf)
    np.testing.assert_array_equal(mixture._estimate_log_prob(clustered), whole)
    np.testing.assert_array_equal(mixture._estimate_log_weights()[1], -np.inf)
    assert np.all(mixture.predict_log_proba(clustered)[:, 1] == -np.inf)


@pytest.mark.parametrize("backend", backend_names())
@both_mixtures
def test_on_every_backend(clustered, mixture_class, backend, require_backend):
    require_backend(backend)
    mixture = fitted(mixture_class, clustered)
    expected = mixture.log_joint(clustered), mixture.predict_log_proba(clustered)
    mixture.set_params(backend=backend)
    for result, right in zip(
        (mixture.log_joint(clustered), mixture.predict_log_proba(clustered)), expected, strict=True
    ):
        np.testing.assert_allclose(result, right, rtol=1e-11, atol=1e-11)


@pytest.mark.parametrize("layout", ["fortran", "backwards", "map", "map of integers", "list"])
def test_rows_wherever_they_lie(clustered, tmp_path, layout):
    rows = np.round(100 * clustered)
    mixture = fitted(GaussianMixture, rows)
    if layout.startswith("map"):
        np.save(tmp_path / "rows.npy", rows.astype(int) if "integers" in layout else rows)
        source = np.load(tmp_path / "rows.npy", mmap_mode="r")
    else:
        source = {
            "fortran": lambda: np.asfortranarray(rows),
            "backwards": lambda: np.ascontiguousarray(rows[::-1, ::-1])[::-1, ::-1],
            "list": rows.tolist,
        }[layout]()
    np.testing.assert_array_equal(mixture.log_joint(source), mixture.log_joint(rows))
    out = np.empty((len(rows), 3))
    assert mixture.log_joint(source, out=out) is out
    np.testing.assert_array_equal(out, mixture.log_joint(rows))
    np.testing.assert_array_equal(
        mixture.predict_log_proba(source), mixture.predict_log_proba(rows)
    )


@pytest.mark.parametrize("make", ["c", "fortran", "every other", "backwards", "map"])
def test_out_however_it_lies(clustered, tmp_path, make):
    mixture = fitted(GaussianMixture, clustered)
    shape = (len(clustered), 3)
    out = {
        "c": lambda: np.empty(shape),
        "fortran": lambda: np.empty(shape, order="F"),
        "every other": lambda: np.empty((shape[0], 6))[:, ::2],
        "backwards": lambda: np.empty(shape)[::-1, ::-1],
        "map": lambda: np.memmap(tmp_path / "joint", np.float64, mode="w+", shape=shape),
    }[make]()
    assert mixture.log_joint(clustered, out=out) is out
    np.testing.assert_array_equal(out, mixture.log_joint(clustered))


@pytest.mark.parametrize("offset", [0, 1, 5])
def test_out_that_overlaps_the_rows(clustered, offset):
    memory = np.empty(clustered.size + 100)
    rows = memory[: clustered.size].reshape(clustered.shape)
    rows[:] = clustered
    mixture = fitted(GaussianMixture, clustered)
    expected = mixture.log_joint(clustered)
    out = memory[offset : offset + expected.size].reshape(expected.shape)
    np.testing.assert_array_equal(mixture.log_joint(rows, out=out), expected)


def test_out_that_is_the_rows(clustered):
    mixture = fitted(GaussianMixture, clustered[:, :3])
    rows = np.ascontiguousarray(clustered[:, :3])
    expected = mixture.log_joint(rows)
    assert mixture.log_joint(rows, out=rows) is rows
    np.testing.assert_array_equal(rows, expected)


def test_wrong_out(clustered):
    mixture = fitted(GaussianMixture, clustered)
    for out in (np.empty((600, 4)), np.empty((3, 600)), np.empty(1800), np.empty((600, 3), "f4")):
        with pytest.raises(ValueError, match=r"out must have shape \(600, 3\) and dtype float64"):
            mixture.log_joint(clustered, out=out)
    with pytest.raises(TypeError, match="out must be a NumPy array; got list"):
        mixture.log_joint(clustered, out=[[0.0] * 3] * 600)
    out = np.zeros((600, 3))
    out.setflags(write=False)
    with pytest.raises(ValueError, match="out must be writeable"):
        mixture.log_joint(clustered, out=out)
    assert not out.any()


@both_mixtures
@pytest.mark.parametrize("dtype", [np.float64, np.float32])
def test_log_responsibilities(clustered, mixture_class, dtype):
    rows = clustered.astype(dtype)
    mixture = fitted(mixture_class, rows)
    log_resp = mixture.predict_log_proba(rows)
    joint = mixture.log_joint(rows).astype(float)
    expected = joint - logsumexp(joint, axis=1, keepdims=True)
    eps = np.finfo(dtype).eps
    assert log_resp.dtype == dtype
    np.testing.assert_allclose(log_resp, expected, rtol=8 * eps, atol=8 * eps * np.abs(joint).max())
    resp = mixture.predict_proba(rows)
    np.testing.assert_allclose(np.exp(log_resp), resp, atol=2e-6 if dtype == np.float32 else 1e-12)


def test_log_responsibilities_have_digits_where_probabilities_have_none(clustered):
    mixture = fitted(GaussianMixture, clustered, "spherical")
    rows = np.full((1, 4), 1e3)
    assert (mixture.predict_proba(rows) == 0.0).any()
    joint = mixture.log_joint(rows)
    np.testing.assert_allclose(mixture.predict_log_proba(rows), joint - joint.max(), rtol=1e-12)


def test_log_responsibilities_where_every_density_is_beyond_numbers(clustered):
    """They are those of predict_proba there, whatever the log-joint has become."""
    mixture = fitted(GaussianMixture, clustered)
    rows = np.array([clustered[0], [1e200, 1e200, -1e200, 0.0], clustered[1]])
    assert mixture.score_samples(rows)[1] == -np.inf
    resp = np.exp(mixture.predict_log_proba(rows))
    np.testing.assert_allclose(resp, mixture.predict_proba(rows), atol=1e-12)


@pytest.mark.parametrize("method", ["log_joint", "predict_log_proba", "_estimate_log_prob"])
def test_wrong_rows(clustered, method):
    with pytest.raises(NotFittedError):
        getattr(GaussianMixture(2), method)(clustered)
    mixture = fitted(GaussianMixture, clustered)
    rows = clustered.copy()
    rows[417, 2] = np.nan
    with pytest.raises(ValueError, match="Input X contains NaN"):
        getattr(mixture, method)(rows)
    with pytest.raises(ValueError, match="X has 3 features, but GaussianMixture is expecting 4"):
        getattr(mixture, method)(clustered[:, :3])


METHODS = {
    "predict": (np.int64, ()),
    "predict_proba": (None, (3,)),
    "score_samples": (None, ()),
    "log_joint": (None, (3,)),
}


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("make", [GaussianMixture, BayesianGaussianMixture])
def test_results_go_to_arrays_that_are_given(clustered, tmp_path, method, dtype, make):
    rows = clustered.astype(dtype)
    mixture = make(3, random_state=0, max_iter=1000).fit(rows)
    kind, more = METHODS[method]
    expected = getattr(mixture, method)(rows)
    shape = (len(rows), *more)
    mapped = np.memmap(tmp_path / "out", kind or dtype, "w+", shape=shape)
    strided = np.empty((2 * len(rows), *more), kind or dtype)[::2]
    for out in (mapped, strided, np.empty(shape, kind or dtype, order="F")):
        assert getattr(mixture, method)(rows, out=out) is out
        np.testing.assert_array_equal(out, expected)
    for wrong in (np.empty((*shape[::-1], 2), dtype), np.empty(shape, np.float16)):
        with pytest.raises(ValueError, match="out"):
            getattr(mixture, method)(rows, out=wrong)
    with pytest.raises(TypeError, match="out"):
        getattr(mixture, method)(rows, out=[0])


def test_a_result_over_the_rows_themselves(clustered):
    mixture = GaussianMixture(3, random_state=0).fit(clustered)
    expected, rows = mixture.score_samples(clustered), clustered.copy()
    out = rows.reshape(-1)[: len(rows)]
    assert mixture.score_samples(rows, out=out) is out
    np.testing.assert_array_equal(out, expected)
