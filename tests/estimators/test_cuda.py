"""Fits on a CUDA device: a real one, or the kernels emulated on the CPU (VBFAST_TEST_CUDA)."""

import pickle

import numpy as np
import pytest

from exporters import Exporter
from vbfast import BayesianGaussianMixture, GaussianMixture, Mixture, config_context
from vbfast.backends.cuda import rows as cuda_rows
from vbfast.backends.cuda.extension import require_device
from vbfast.contract import COVARIANCE_TYPES
from vbfast.families import Custom

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


@pytest.fixture
def emulated():
    if "emulated" not in require_device()["name"]:
        pytest.skip("the device's memory is its own")


@pytest.mark.parametrize("dtype", [np.float64, np.float32])
@pytest.mark.parametrize("gap", [0, 3])
def test_rows_that_are_on_the_device_stay_there(emulated, X, dtype, gap):
    wide = np.full((len(X), 3 + gap), np.inf, dtype)
    wide[:, :3] = X
    there = Exporter(wide[:, :3])
    here = np.ascontiguousarray(wide[:, :3])
    options = {"max_iter": 8, "tol": 0.0, "random_state": 0}
    mixture = GaussianMixture(4, **options).fit(there)  # whatever the backend in use is
    assert_same_bits(mixture, fitted("cuda", here))
    with config_context(backend="cuda"):
        expected = {
            name: getattr(mixture, name)(here)
            for name in ("predict", "predict_proba", "score_samples", "log_joint")
        }
        score = mixture.score(here)
    for name, values in expected.items():
        given = getattr(mixture, name)(there)
        assert type(given) is Exporter
        np.testing.assert_array_equal(given.array, values)
    assert mixture.score(there) == score
    assert type(mixture.means_) is np.ndarray
    assert mixture.elbo(there).elbo == pytest.approx(mixture.elbo(here).elbo, rel=1e-6)


def test_rows_on_the_device_and_another_backend(emulated, X):
    with pytest.raises(ValueError, match="'cuda' alone reads it; got backend='native'"):
        GaussianMixture(2, backend="native").fit(Exporter(X))


def test_bad_rows_on_the_device_are_named(emulated, X):
    X[1400, 2] = np.inf
    with pytest.raises(ValueError, match="infinity"):
        GaussianMixture(2).fit(Exporter(X))


def test_what_the_device_does_not_evaluate_is_evaluated_on_the_host(emulated, X):
    mixture = BayesianGaussianMixture(2, max_iter=3, random_state=0).fit(X)
    density = mixture.log_predictive_density(Exporter(X))  # of Student's link
    assert type(density) is Exporter
    np.testing.assert_allclose(density.array, mixture.log_predictive_density(X), rtol=1e-12)


def test_components_of_a_users_own_are_an_error(emulated, X):
    pytest.importorskip("numba")

    family = Custom(
        log_density=lambda x, theta: -0.5 * (x[0] - theta[0]) ** 2,
        sufficient_statistics=first_feature,
        maximize=lambda statistics, weight: statistics / weight[:, np.newaxis],
        n_statistics=1,
    )
    with pytest.raises(NotImplementedError, match="copy X to the host"):
        Mixture(family, 2, random_state=0).fit(Exporter(X))


def first_feature(x, out):
    out[0] = x[0]


def test_features_apart_are_an_error(emulated, X):
    with pytest.raises(ValueError, match="side by side"):
        GaussianMixture(2).fit(Exporter(np.asfortranarray(X)))
