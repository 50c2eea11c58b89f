from __future__ import annotations

import importlib.util
import os
import sys
import zlib
from pathlib import Path

import numpy as np
import pytest

import vbfast
from vbfast.backends import get_backend
from vbfast.backends.cuda.extension import DeviceError
from vbfast.passes.runner import LocalRunner

sys.path.insert(0, str(Path(__file__).parent))  # for exporters.py

if path := os.environ.get("VBFAST_TEST_CUDA"):  # the module of CUDA kernels, built elsewhere
    spec = importlib.util.spec_from_file_location("vbfast._vbfast_cuda", path)
    sys.modules[spec.name] = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(sys.modules[spec.name])


def pytest_configure(config):
    # What SciPy's own configuration declares: tests/test_ops_scipy_suite.py runs tests of its.
    for name in ("skip_xp_backends", "xfail_xp_backends"):
        config.addinivalue_line("markers", f"{name}: of SciPy's tests")


@pytest.fixture
def rng(request):
    """A generator whose seed is the test's name, so that tests do not share a stream."""
    return np.random.default_rng(zlib.crc32(request.node.nodeid.encode()))


@pytest.fixture(scope="session")
def require_backend():
    """A function that skips the test where a backend is not there."""

    def require(name):
        try:
            get_backend(name)
        except (ImportError, DeviceError) as error:
            if name == "cuda" and "VBFAST_TEST_CUDA" in os.environ:
                raise  # that run is for it
            pytest.skip(str(error))

    return require


@pytest.fixture(params=["native", "numba", "reference"])
def each_backend(request, require_backend):
    """The name of each backend that is installed."""
    require_backend(request.param)
    return request.param


@pytest.fixture(scope="session")
def diagonal_gaussian():
    """Gaussians with diagonal covariances, as custom components.

    Parameters are the means, the inverse standard deviations and the constant of the log density.
    """
    pytest.importorskip("numba")

    def log_density(x, theta):
        n_features = len(x)
        square = 0.0
        for d in range(n_features):
            square += ((x[d] - theta[d]) * theta[n_features + d]) ** 2
        return theta[2 * n_features] - 0.5 * square

    def sufficient_statistics(x, out):
        n_features = len(x)
        for d in range(n_features):
            value = np.float64(x[d])
            out[d] = value
            out[n_features + d] = value * value

    def maximize(statistics, weight):
        mean, square = np.split(statistics / weight[:, np.newaxis], 2, axis=1)
        scale = 1 / np.sqrt(square - mean**2)
        constant = np.log(scale).sum(axis=1) - 0.5 * mean.shape[1] * np.log(2 * np.pi)
        return np.column_stack([mean, scale, constant])

    def sample(theta, n_samples, random_state):
        mean, scale = np.split(theta[:-1], 2)
        return mean + random_state.normal(size=(n_samples, len(mean))) / scale

    return vbfast.families.Custom(
        log_density=log_density,
        sufficient_statistics=sufficient_statistics,
        maximize=maximize,
        n_statistics=lambda n_features: 2 * n_features,
        sample=sample,
    )


@pytest.fixture
def mixture_arrays(rng):
    """A function that makes rows, and logits, means and precision factors of a mixture."""

    def make(covariance_type, n_rows=6, K=3, D=2):
        def factor():
            return np.triu(rng.normal(size=(D, D)), 1) + np.diag(rng.uniform(0.7, 1.5, D))

        P = {
            "full": lambda: np.array([factor() for _ in range(K)]),
            "tied": factor,
            "diag": lambda: rng.uniform(0.7, 1.5, (K, D)),
            "spherical": lambda: rng.uniform(0.7, 1.5, K),
        }[covariance_type]()
        return rng.normal(size=(n_rows, D)), rng.normal(size=K), rng.normal(size=(K, D)), P

    return make


@pytest.fixture
def mixture_batch(mixture_arrays):
    """A function that makes a batch of mixtures: the same arrays with an axis in front."""

    def make(covariance_type, n_mixtures=4, **shape):
        several = [mixture_arrays(covariance_type, **shape) for _ in range(n_mixtures)]
        return [np.stack(arrays) for arrays in zip(*several, strict=True)]

    return make


@pytest.fixture
def far_components():
    """A function of float32 arrays of two components 1e8 deviations apart, and what they make.

    That is the evidence of rows that are near one or the other, and the sum of its gradients in the
    arrays, by hand: at deviations of one, in one dimension.
    """

    def make(covariance_type):
        d = np.array([-3.0, 0.0, 1.0, -8.0, 16.0])
        of_first = np.arange(5) < 3
        shape = {"full": (2, 1, 1), "tied": (1, 1), "diag": (2, 1), "spherical": (2,)}
        P = np.ones(shape[covariance_type], np.float32)
        x = np.where(of_first, d, 1e8 + d)[:, np.newaxis]
        arguments = (x, np.zeros(2), np.array([[0.0], [1e8]]), P)
        of_factors = np.array([np.sum(1.0 - d[near] ** 2) for near in (of_first, ~of_first)])
        if covariance_type == "tied":
            of_factors = of_factors.sum()
        gradients = (
            -d[:, np.newaxis],
            np.array([3.0 - 2.5, 2.0 - 2.5]),
            np.array([[d[of_first].sum()], [d[~of_first].sum()]]),
            of_factors.reshape(P.shape),
        )
        evidence = np.log(0.5) - 0.5 * np.log(2.0 * np.pi) - 0.5 * d**2
        return [array.astype(np.float32) for array in arguments], evidence, gradients

    return make


@pytest.fixture
def loops_in_python(monkeypatch):
    """Make no pass so short that a backend would loop over it by itself."""
    monkeypatch.setattr("vbfast.passes.looping.CALL_OPERATIONS", 0)


@pytest.fixture
def passes(monkeypatch):
    """A list that grows by one with each pass over rows."""
    made = []
    original = LocalRunner.run

    def counted(*arguments, **options):
        made.append(options)
        return original(*arguments, **options)

    monkeypatch.setattr(LocalRunner, "run", counted)
    return made


@pytest.fixture
def restore_num_threads():
    """For tests that set the number of threads."""
    yield
    vbfast.set_num_threads(0)


@pytest.fixture
def jax_float64():
    """JAX with float64 enabled; it computes in float32 otherwise."""
    jax = pytest.importorskip("jax", reason="JAX is not installed: pip install vbfast[jax]")
    before = jax.config.jax_enable_x64
    jax.config.update("jax_enable_x64", True)
    yield jax
    jax.config.update("jax_enable_x64", before)
