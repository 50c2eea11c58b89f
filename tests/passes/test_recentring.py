"""Second moments of components that an iteration takes far."""

from __future__ import annotations

import numpy as np
import pytest

from vbfast import BayesianGaussianMixture, GaussianMixture, config_context
from vbfast.contract import COVARIANCE_TYPES, LogJoint, Request
from vbfast.families.covariances import MOMENTS_OF
from vbfast.passes.rows import as_row_source
from vbfast.passes.runner import LocalRunner, PosteriorResponsibilities

pytestmark = [
    pytest.mark.kernels,
    pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning"),
]

all_types = pytest.mark.parametrize("covariance_type", COVARIANCE_TYPES)


@pytest.fixture
def rows(rng):
    return rng.normal(size=(3000, 2)) + 4.0 * rng.integers(2, size=(3000, 1))


def start(covariance_type, means):
    return {
        "n_components": 2,
        "covariance_type": covariance_type,
        "weights_init": [0.5, 0.5],
        "means_init": means,
        "precisions_init": {
            "full": np.tile(np.eye(2), (2, 1, 1)),
            "tied": np.eye(2),
            "diag": np.ones((2, 2)),
            "spherical": np.ones(2),
        }[covariance_type],
        "max_iter": 15,
        "tol": 0.0,
    }


@all_types
@pytest.mark.parametrize("distance", [1e3, 1e4, 1e6])
def test_float32_follows_float64_from_a_start_far_from_the_rows(rows, covariance_type, distance):
    single = (rows + distance).astype(np.float32)
    arguments = start(covariance_type, [[0.0, 0.0], [1.0, 1.0]])
    ours = GaussianMixture(**arguments).fit(single)
    exact = GaussianMixture(**arguments).fit(single.astype(np.float64))
    np.testing.assert_allclose(ours.lower_bounds_, exact.lower_bounds_, rtol=1e-6, atol=1e-3)
    scale = np.abs(exact.covariances_).max()
    np.testing.assert_allclose(ours.covariances_, exact.covariances_, atol=1e-3 * scale)
    assert ours.n_passes_ == ours.n_iter_ + 1


@all_types
def test_float64_from_a_start_too_far_for_its_own_digits(rows, covariance_type):
    """scikit-learn's 'full' covariances, which are centred, bear this; ours bear it for all."""
    arguments = start(covariance_type, [[1e8, 1e8], [-1e8, -1e8]])
    far = GaussianMixture(**arguments).fit(rows)
    assert far.n_passes_ > far.n_iter_
    near = GaussianMixture(**start(covariance_type, [[9.0, 9.0], [-9.0, -9.0]])).fit(rows)
    assert far.lower_bound_ == pytest.approx(near.lower_bound_, abs=0.05)


@all_types
@pytest.mark.parametrize("dtype", [np.float64, np.float32])
@pytest.mark.parametrize("init_params", ["kmeans", "random_from_data"])
def test_ordinary_fits_take_no_more_passes(rows, covariance_type, dtype, init_params):
    constant = np.full((len(rows), 1), 0.3)
    mixture = GaussianMixture(
        4, covariance_type=covariance_type, init_params=init_params, random_state=0, tol=0.0
    )
    mixture.fit(np.hstack([rows + 1e3, constant]).astype(dtype))
    assert mixture.n_passes_ == mixture.n_iter_


@pytest.mark.parametrize("covariance_type", ["full", "diag", "spherical"])
def test_components_that_lose_their_rows_to_a_prior_take_no_more_passes(rows, covariance_type):
    """They have no variance of their own to lose digits of; the prior's covariance is theirs."""
    mixture = BayesianGaussianMixture(
        64,
        covariance_type=covariance_type,
        init_params=np.arange(len(rows)) % 64,
        max_iter=40,
        tol=0.0,
    )
    mixture.fit(rows.astype(np.float32))
    assert mixture.n_active_components_ < 64
    assert mixture.n_passes_ == mixture.n_iter_


def test_neither_threads_nor_storage_change_the_bits(rows, tmp_path):
    arguments = start("full", [[-1e4, 0.0], [0.0, -1e4]])
    single = rows.astype(np.float32)
    expected = GaussianMixture(**arguments).fit(single)
    assert expected.n_passes_ > expected.n_iter_
    with config_context(num_threads=3):
        threads = GaussianMixture(**arguments).fit(single)
    assert threads.lower_bounds_ == expected.lower_bounds_
    np.testing.assert_array_equal(threads.covariances_, expected.covariances_)
    np.save(tmp_path / "rows.npy", single.astype(">f4"))
    mapped = np.load(tmp_path / "rows.npy", mmap_mode="r")  # read in slices
    stored = GaussianMixture(**arguments).fit(mapped)
    assert stored.lower_bounds_ == expected.lower_bounds_
    np.testing.assert_array_equal(stored.covariances_, expected.covariances_)


@all_types
def test_statistics_are_those_of_the_same_responsibilities(rows, covariance_type):
    weight = np.arange(3000.0) % 3
    params = LogJoint.quadratic(
        covariance_type,
        np.zeros(2),
        np.array([[0.0, 1e8], [0.0, -1e8]]),
        {
            "full": np.tile(np.eye(2), (2, 1, 1)),
            "tied": np.eye(2),
            "diag": np.ones((2, 2)),
            "spherical": np.ones(2),
        }[covariance_type]
        * 1e-8,
    )
    runner = LocalRunner(as_row_source(rows), weight)
    request = Request(moments=MOMENTS_OF[covariance_type])
    first = runner.run(params, request).statistics

    def floor(weight):
        return np.zeros((1, 1))

    again = runner.iterate(params, request, scatter_floor=floor).statistics
    assert runner.n_passes == 2
    np.testing.assert_allclose(again.weight, first.weight, rtol=1e-12)
    resp = PosteriorResponsibilities(runner, params).block(0, 3000)
    r = resp * weight[:, np.newaxis]
    means = r.T @ rows / r.sum(axis=0)[:, np.newaxis]
    np.testing.assert_allclose(
        again.centres + again.first / again.weight[:, np.newaxis], means, atol=1e-9
    )
    deviation = rows - again.centres[:, np.newaxis]
    scatter = np.einsum("nk,kni,knj->kij", r, deviation, deviation)
    expected = {
        "full": scatter,
        "tied": scatter.sum(axis=0),
        "diag": np.diagonal(scatter, axis1=1, axis2=2),
        "spherical": np.trace(scatter, axis1=1, axis2=2) / 2,
    }[covariance_type]
    np.testing.assert_allclose(again.second, expected, rtol=1e-10, atol=1e-6)
    # About the new means nothing cancels.
    params = LogJoint.quadratic(
        covariance_type, params.offset, again.centres, params.form.precision_cholesky
    )
    runner.iterate(params, request, scatter_floor=floor)
    assert runner.n_passes == 3


@all_types
@pytest.mark.parametrize("backend", ["native", "numba", "reference"])
def test_float32_follows_float64_where_components_collapse_onto_single_rows(
    covariance_type, backend
):
    """A pass takes moments about a point that is near for the variance before, not for the next."""
    if backend == "numba":
        pytest.importorskip("numba")
    X = np.array(
        [[-0.468, 0.9, 0.749], [-0.422, -1.638, 0.866], [0.922, -0.475, 0.488], [0.9, 0.1, -0.2]],
        dtype=np.float32,
    )
    resp = np.array([[0.7, 0.3], [0.15, 0.85], [0.94, 0.06], [0.3, 0.7]], dtype=np.float32)
    arguments = {
        "covariance_type": covariance_type,
        "init_params": resp,
        # What float32 has of a direction in which two rows of a 'full' component do not differ.
        "reg_covar": 1e-4 if covariance_type in ("full", "tied") else 6e-6,
        "max_iter": 12,
        "tol": 0.0,
        "backend": backend,
    }
    single = GaussianMixture(2, **arguments).fit(X)
    exact = GaussianMixture(2, **arguments).fit(X.astype(np.float64))
    np.testing.assert_allclose(single.lower_bounds_, exact.lower_bounds_, atol=1e-3)
    np.testing.assert_allclose(single.covariances_, exact.covariances_, rtol=2e-3, atol=1e-9)
