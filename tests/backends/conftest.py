"""What the shared suite is made of: the backends, random models, and two oracles.

The dense oracle writes the contract's formulae down once more, on whole arrays in float64. The
exact one does so for the evidence in 60-digit arithmetic.
"""

from __future__ import annotations

import os
from dataclasses import dataclass, replace

import mpmath
import numpy as np
import pytest

from vbfast.backends import backend_names, get_backend
from vbfast.backends.cuda.extension import DeviceError, require_device
from vbfast.config.settings import config_context
from vbfast.contract import Linear, LogJoint, RowOutputs
from vbfast.passes.one_pass import run_pass
from vbfast.passes.rows import as_row_source


def suite_names():
    """Names of the backends that the suite runs on.

    Without a device 'cuda' is none of them: test_cuda_extension.py has one skipped test that says
    why, instead of thousands.
    """
    names = list(backend_names())
    if "VBFAST_TEST_CUDA" not in os.environ:
        try:
            require_device()
        except (ImportError, DeviceError):
            names.remove("cuda")
    return names


SUITE = suite_names()


@pytest.fixture(
    params=[
        # Which are NumPy's and the device's, at every instruction-set level.
        pytest.param(name, marks=[pytest.mark.one_level] if name in ("reference", "cuda") else [])
        for name in SUITE
    ]
)
def backend(request, require_backend):
    """Run the test with each backend."""
    require_backend(request.param)
    with config_context(backend=request.param):
        yield request.param


@pytest.fixture(params=[name for name in SUITE if name != "reference"])
def compiled_backend(request, require_backend):
    """Run the test with each backend but the oracle."""
    require_backend(request.param)
    with config_context(backend=request.param):
        yield request.param


@pytest.fixture(scope="session")
def random_params():
    """A function that makes kernel parameters with well-conditioned factors."""

    def factor(rng, n_features):
        upper = np.triu(rng.normal(size=(n_features, n_features)), 1) / np.sqrt(n_features)
        return upper + np.diag(rng.uniform(0.5, 1.5, n_features))

    def make(rng, covariance_type, n_components, n_features, *, spread=1.0):
        if covariance_type == "full":
            precision_cholesky = np.array([factor(rng, n_features) for _ in range(n_components)])
        elif covariance_type == "tied":
            precision_cholesky = factor(rng, n_features)
        else:
            shape = (n_components, n_features) if covariance_type == "diag" else n_components
            precision_cholesky = rng.uniform(0.5, 1.5, shape)
        means = spread * rng.normal(size=(n_components, n_features))
        offset = rng.normal(size=n_components)
        return LogJoint.quadratic(covariance_type, offset, means, precision_cholesky)

    return make


@pytest.fixture(scope="session")
def sample():
    """A function that draws rows near the components of a model, with unit noise."""

    def draw(rng, params, n_samples, dtype=np.float64):
        component = rng.integers(params.n_components, size=n_samples)
        noise = rng.normal(size=(n_samples, params.n_features))
        return (params.form.centres[component] + noise).astype(dtype)

    return draw


@pytest.fixture(params=[(1, 1, 1), (7, 3, 2), (130, 70, 5), (2333, 8, 37)], ids=str)
def sized_problem(request, rng, random_params, sample):
    """A function of dtype and covariance type: a model, and rows near it, of each size."""
    n_samples, n_components, n_features = request.param

    def make(dtype, covariance_type):
        params = random_params(rng, covariance_type, n_components, n_features)
        return params, sample(rng, params, n_samples, dtype)

    return make


@pytest.fixture(scope="session")
def run():
    """A function that runs a pass with every output; returns the result and the outputs."""

    def run_with_outputs(X, params, request, **arguments):
        source = as_row_source(X)
        N, K = source.n_samples, params.n_components
        outputs = RowOutputs(
            log_evidence=np.full(N, np.nan, source.dtype),
            labels=np.full(N, -7, np.int64),
            resp=np.full((N, K), np.nan, source.dtype),
            entropy=np.full(N, np.nan, source.dtype),
            expected_log_joint=np.full(N, np.nan, source.dtype),
        )
        return run_pass(source, params, request, outputs=outputs, **arguments), outputs

    return run_with_outputs


@pytest.fixture
def linear_backend(backend):
    """Each backend that evaluates the form."""
    log_joint = LogJoint(np.zeros(1), Linear(np.ones((1, 1))))
    if not get_backend(backend).evaluates(log_joint):
        pytest.skip(f"{backend} evaluates no linear form")
    return backend


@pytest.fixture
def linear_problem(rng):
    """A function that draws rows, a log-joint, and weights of which some are zero."""

    def draw(dtype, n_samples=3001, n_components=7, n_features=5, scale=1.0):
        X = scale * rng.normal(size=(n_samples, n_features))
        theta = rng.normal(size=(n_components, n_features)) / scale / np.sqrt(n_features)
        params = LogJoint(rng.normal(size=n_components), Linear(theta))
        weights = rng.integers(0, 3, n_samples) * rng.uniform(0.5, 1.5, n_samples)
        return X.astype(dtype), params, weights

    return draw


@pytest.fixture
def run_all(run):
    """A function that runs a pass, with the gradient and the log-joint where there are any."""

    def run_with_all(X, params, request, **arguments):
        result, outputs = run(X, params, request, **arguments)
        if request.assignment != "posterior":
            return result, outputs
        more = RowOutputs(
            gradient=np.full(X.shape, np.nan, X.dtype),
            log_joint=np.full((len(X), params.n_components), np.nan, X.dtype),
        )
        run_pass(as_row_source(X), params, request, outputs=more, **arguments)
        return result, replace(outputs, gradient=more.gradient, log_joint=more.log_joint)

    return run_with_all


@pytest.fixture(scope="session")
def rounding():
    """A function that bounds the errors of linear log-joints, shape (n_samples, n_components)."""

    def bound(X, params):
        finite = np.where(np.isfinite(params.offset), params.offset, 0.0)
        terms = np.abs(X.astype(np.float64)) @ np.abs(params.form.theta).T + np.abs(finite)
        return (X.shape[1] + 4) * np.finfo(X.dtype).eps * terms

    return bound


@dataclass(frozen=True)
class Expected:
    """What a pass should return and write, by the formulae of the contract."""

    log_joint: np.ndarray
    log_evidence: np.ndarray
    resp: np.ndarray
    entropy: np.ndarray
    expected_log_joint: np.ndarray
    kl: np.ndarray
    weight: np.ndarray
    first: np.ndarray
    second: np.ndarray | None

    @property
    def labels(self):
        return self.log_joint.argmax(axis=1)


def dense_log_joint(X, d, params):
    """Log-joints from rows and their differences from the centres."""
    form = params.form
    if isinstance(form, Linear):
        return params.offset + X @ form.theta.T
    P = form.precision_cholesky
    whitened = {
        "full": lambda: np.einsum("nki,kij->nkj", d, P, optimize=True),
        "tied": lambda: d @ P,
        "diag": lambda: d * P,
        "spherical": lambda: d * P[:, np.newaxis],
    }[form.factor_type]()
    return params.offset - 0.5 * np.square(whitened).sum(axis=2)


@pytest.fixture(scope="session")
def dense_oracle():
    """A function that evaluates the contract on finite rows, all at once."""

    def evaluate(X, params, request, *, sample_weight=None, resp=None):
        X, K = np.asarray(X, dtype=np.float64), params.n_components
        d = X[:, np.newaxis] - params.form.centres
        log_joint = dense_log_joint(X, d, params)
        log_evidence = np.logaddexp.reduce(log_joint, axis=1)
        log_posterior = log_joint - log_evidence[:, np.newaxis]
        if request.assignment == "posterior":
            q = np.exp(log_posterior)
        elif request.assignment == "hard":
            q = np.eye(K)[log_joint.argmax(axis=1)]
        elif np.ndim(resp) == 1:
            q = np.vstack([np.eye(K), np.zeros(K)])[resp]
        else:
            q = np.asarray(resp, dtype=np.float64)
        with np.errstate(divide="ignore", invalid="ignore"):
            entropy = -np.where(q > 0, q * np.log(q), 0.0).sum(axis=1)
            expected = np.where(q > 0, q * log_joint, 0.0).sum(axis=1)
            kl = np.where(q > 0, q * (np.log(q) - log_posterior), 0.0).sum(axis=1)
        r = q if sample_weight is None else q * sample_weight[:, np.newaxis]
        second = None
        if request.moments in ("full", "pooled"):
            axes = "nk,nki,nkj->kij" if request.moments == "full" else "nk,nki,nkj->ij"
            second = np.einsum(axes, r, d, d, optimize=True)
        elif request.moments in ("diag", "spherical"):
            second = np.einsum("nk,nki->ki", r, np.square(d))
            if request.moments == "spherical":
                second = second.mean(axis=1)
        return Expected(
            log_joint,
            log_evidence,
            q,
            entropy,
            expected,
            kl,
            r.sum(axis=0),
            np.einsum("nk,nki->ki", r, d),
            second,
        )

    return evaluate


@pytest.fixture(scope="session")
def assert_statistics_close():
    def compare(statistics, params, moments, expected, tolerance, floor=0.0):
        assert statistics.moments == moments
        np.testing.assert_array_equal(statistics.centres, params.form.centres)
        for name in ("weight", "first", "second"):
            actual, value = getattr(statistics, name), getattr(expected, name)
            if value is None:
                assert actual is None
                continue
            assert actual.dtype == np.float64
            assert actual.shape == value.shape
            # Errors are relative to the sums of magnitudes, which second moments bound.
            scale = max(np.abs(value).max(initial=0.0), expected.weight.sum())
            atol = tolerance * scale + floor
            np.testing.assert_allclose(actual, value, rtol=0, atol=atol, err_msg=name)
        if moments in ("full", "pooled"):
            np.testing.assert_array_equal(statistics.second, statistics.second.swapaxes(-1, -2))

    return compare


@pytest.fixture(scope="session")
def exact_log_joint():
    """A function that evaluates log-joints in 60 digits, from the rows as they are stored."""

    def evaluate(X, params):
        with mpmath.workdps(60):
            rows = []
            for x in np.asarray(X, dtype=np.float64):
                row = []
                for k in range(params.n_components):
                    if isinstance(params.form, Linear):
                        terms = zip(x, params.form.theta[k], strict=True)
                        product = mpmath.fsum(mpmath.mpf(a) * mpmath.mpf(b) for a, b in terms)
                        row.append(mpmath.mpf(float(params.offset[k])) + product)
                        continue
                    P = params.form.precision_cholesky
                    P = P if params.form.factor_type == "tied" else P[k]
                    if params.form.factor_type in ("diag", "spherical"):
                        P = np.diag(np.broadcast_to(P, params.n_features))
                    d = [
                        mpmath.mpf(float(a)) - mpmath.mpf(float(b))
                        for a, b in zip(x, params.form.centres[k], strict=True)
                    ]
                    square = mpmath.mpf(0)
                    for j in range(params.n_features):
                        whitened = mpmath.fsum(
                            d[i] * mpmath.mpf(float(P[i, j])) for i in range(params.n_features)
                        )
                        square += whitened**2
                    row.append(mpmath.mpf(float(params.offset[k])) - square / 2)
                rows.append(row)
            return rows

    return evaluate


@pytest.fixture(scope="session")
def exact_log_sum_exp():
    """A function from one row of exact log-joints to its exact evidence."""

    def evaluate(row):
        with mpmath.workdps(60):
            return mpmath.log(mpmath.fsum(mpmath.exp(value) for value in row))

    return evaluate


@pytest.fixture(scope="session")
def assert_same_bits():
    """A function that compares two results with every output, NaN equal to NaN."""

    def compare(actual, expected):
        (result, outputs), (other, other_outputs) = actual, expected
        for name in ("total_weight", "log_evidence", "expected_log_joint", "entropy", "kl"):
            np.testing.assert_equal(getattr(result, name), getattr(other, name), err_msg=name)
        if result.statistics is not None:
            for name in ("weight", "first", "second"):
                np.testing.assert_equal(
                    getattr(result.statistics, name),
                    getattr(other.statistics, name),
                    err_msg=name,
                )
        for name in ("log_evidence", "labels", "resp", "entropy", "expected_log_joint"):
            np.testing.assert_equal(
                getattr(outputs, name), getattr(other_outputs, name), err_msg=name
            )

    return compare
