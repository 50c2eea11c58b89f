"""Fits on a CUDA device: a real one, or the kernels emulated on the CPU (VBFAST_TEST_CUDA)."""

import pickle

import numpy as np
import pytest

from vbfast import BayesianGaussianMixture, GaussianMixture, config_context
from vbfast.backends.cuda import rows as cuda_rows
from vbfast.contract import COVARIANCE_TYPES

pytestmark = pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")


@pytest.fixture(autouse=True)
def needs_cuda(require_backend):
    require_backend("cuda")


@pytest.fixture
def X(rng):  # noqa: N802
    centres = 5.0 * rng.normal(size=(4, 3))
    return centres[rng.integers(4, size=2500)] + rng.normal(size=(2500, 3))


def fitted(backend, X, estimator=GaussianMixture, **arguments):
    options = {"max_iter": 8, "tol": 0.0, "random_state": 0, **arguments}
    with config_context(backend=backend):
        return estimator(4, **options).fit(X)


def assert_same_bits(one, other):
    np.testing.assert_array_equal(one.lower_bounds_, other.lower_bounds_)
    np.testing.assert_array_equal(one.means_, other.means_)
    np.testing.assert_array_equal(one.covariances_, other.covariances_)


@pytest.mark.parametrize("estimator", [GaussianMixture, BayesianGaussianMixture])
@pytest.mark.parametrize("covariance_type", COVARIANCE_TYPES)
@pytest.mark.parametrize("dtype", [np.float64, np.float32])
def test_fits_are_those_of_the_native_backend(X, estimator, covariance_type, dtype):
    X = X.astype(dtype)
    arguments = {"estimator": estimator, "covariance_type": covariance_type}
    ours, native = (fitted(name, X, **arguments) for name in ("cuda", "native"))
    tolerance = 1e-10 if dtype == np.float64 else 2e-6
    np.testing.assert_allclose(ours.lower_bounds_, native.lower_bounds_, rtol=tolerance)
    np.testing.assert_allclose(ours.means_, native.means_, rtol=10 * tolerance)
    np.testing.assert_allclose(ours.covariances_, native.covariances_, atol=100 * tolerance)
    with config_context(backend="cuda"):
        np.testing.assert_allclose(
            ours.score_samples(X), native.score_samples(X), rtol=20 * tolerance
        )
        np.testing.assert_array_equal(ours.predict(X), native.predict(X))


@pytest.mark.parametrize("n_features", [32, 70])
@pytest.mark.parametrize("dtype", [np.float64, np.float32])
def test_fits_by_tensor_cores_are_those_of_the_native_backend(rng, n_features, dtype):
    centres = rng.normal(size=(4, n_features))
    X = (centres[rng.integers(4, size=600)] + rng.normal(size=(600, n_features))).astype(dtype)
    arguments = {"max_iter": 3, "reg_covar": 0.1}
    ours, native = (fitted(name, X, **arguments) for name in ("cuda", "native"))
    tolerance = 1e-10 if dtype == np.float64 else 1e-5
    np.testing.assert_allclose(ours.lower_bounds_, native.lower_bounds_, rtol=tolerance)
    np.testing.assert_allclose(ours.covariances_, native.covariances_, atol=10 * tolerance)


@pytest.mark.parametrize("covariance_type", COVARIANCE_TYPES)
def test_float32_keeps_its_promise_far_from_zero(X, covariance_type):
    X = (X + 1e4 * X.std(axis=0)).astype(np.float32)
    start = {"init_params": "random_from_data", "max_iter": 15, "covariance_type": covariance_type}
    single = fitted("cuda", X, **start)
    double = fitted("cuda", X.astype(np.float64), **start)
    np.testing.assert_allclose(single.lower_bounds_, double.lower_bounds_, atol=1e-3)
    size = np.abs(double.covariances_).max()
    np.testing.assert_allclose(single.covariances_, double.covariances_, atol=1e-3 * size)


@pytest.mark.parametrize("covariance_type", ["full", "diag"])
@pytest.mark.parametrize("order", ["C", "F"])
def test_rows_that_are_read_give_the_same_bits(X, tmp_path, monkeypatch, covariance_type, order):
    resident = fitted("cuda", X, covariance_type=covariance_type)
    strided = fitted("cuda", np.asarray(X, order=order), covariance_type=covariance_type)
    np.save(tmp_path / "rows.npy", X)
    read = fitted("cuda", str(tmp_path / "rows.npy"), covariance_type=covariance_type)
    monkeypatch.setattr(cuda_rows, "SHARE", 0.0)  # as of a device that is too small for the rows
    streamed = fitted("cuda", X, covariance_type=covariance_type)
    for other in (strided, read, streamed):
        assert_same_bits(resident, other)


def test_pickles_hold_host_arrays(X):
    mixture = fitted("cuda", X)
    kept = vars(pickle.loads(pickle.dumps(mixture)))
    arrays = [value for value in kept.values() if isinstance(value, np.ndarray)]
    assert arrays
    assert {type(array) for array in arrays} == {np.ndarray}


def test_a_bad_row_is_named_wherever_it_is(X):
    for row in (0, 1300, 2499):
        bad = X.copy()
        bad[row, 1] = np.nan
        with pytest.raises(ValueError, match="NaN"):
            fitted("cuda", bad)


def test_outputs_are_arrays_of_the_host(X):
    mixture = fitted("cuda", X)
    with config_context(backend="cuda"):
        terms = mixture.elbo(X)
        assert type(mixture.predict_proba(X)) is np.ndarray
        value, gradient = mixture.log_evidence_and_grad(X, wrt_x=True)
    assert terms.kl == 0.0
    assert terms.elbo == pytest.approx(terms.expected_log_joint + terms.entropy, abs=1e-9)
    expected_value, expected = mixture.log_evidence_and_grad(X, wrt_x=True)
    assert value == pytest.approx(expected_value, rel=1e-12)
    np.testing.assert_allclose(gradient.X, expected.X, atol=1e-9)
    np.testing.assert_allclose(gradient.means, expected.means, atol=1e-7)
