"""Fits whose parameters move after every batch of rows."""

from __future__ import annotations

import warnings

import numpy as np
import pytest

import vbfast
from vbfast import BayesianGaussianMixture, GaussianMixture, Mixture
from vbfast.contract import COVARIANCE_TYPES
from vbfast.families import Custom, Gaussian

pytestmark = [
    pytest.mark.kernels,
    pytest.mark.filterwarnings("error:rows seem to be sorted"),
]

both_mixtures = pytest.mark.parametrize("make", [GaussianMixture, BayesianGaussianMixture])
both_methods = pytest.mark.parametrize("method", ["incremental", "stochastic"])
CENTRES = np.array([[0.0, 0.0, 0.0], [9.0, 0.0, 3.0], [0.0, -9.0, 6.0], [4.0, 4.0, -8.0]])


@pytest.fixture
def rows(rng):
    return CENTRES[rng.integers(4, size=8000)] + rng.normal(size=(8000, 3))


@both_methods
@pytest.mark.parametrize("covariance_type", COVARIANCE_TYPES)
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@both_mixtures
def test_it_ends_where_whole_passes_end(rows, make, covariance_type, dtype, method):
    X = rows.astype(dtype)
    made = {"covariance_type": covariance_type, "random_state": 0}
    whole = make(4, **made).fit(X)
    fitted = make(4, batch_size=500, batch_method=method, **made).fit(X)
    assert fitted.converged_
    assert fitted.weights_.dtype == dtype
    tolerance = 2e-3 if method == "incremental" else 2e-2
    np.testing.assert_allclose(fitted.means_, whole.means_, atol=10 * tolerance)
    assert abs(fitted.score(X) - whole.score(X)) < tolerance


@both_methods
@both_mixtures
def test_the_last_pass(rows, make, method):
    made = {"batch_size": 500, "batch_method": method, "random_state": 0}
    fitted = make(4, **made).fit(rows)
    without = make(4, final_pass=False, **made).fit(rows)
    assert np.array_equal(fitted.means_, without.means_)
    assert fitted.n_iter_ == without.n_iter_ == len(fitted.lower_bounds_)
    assert (fitted.n_passes_, without.n_passes_) == (fitted.n_iter_ + 1, fitted.n_iter_)
    assert fitted.lower_bounds_[:-1] == without.lower_bounds_[:-1]
    exact = fitted.score(rows) if make is GaussianMixture else fitted.elbo(rows).total
    np.testing.assert_allclose(fitted.lower_bound_, exact, rtol=1e-12)
    assert fitted.lower_bound_ == fitted.lower_bounds_[-1]
    if method == "incremental":
        assert without.lower_bound_ <= fitted.lower_bound_


@both_methods
def test_integer_weights_are_repeated_rows(rows, method):
    """From the same start, where the batches have the same rows."""
    weights = np.tile([1, 2, 1, 0], 2000)
    chunks, counts = np.split(rows, 8), np.split(weights, 8)
    repeated = [
        np.repeat(chunk, count, axis=0) for chunk, count in zip(chunks, counts, strict=True)
    ]
    start = GaussianMixture(4, random_state=0).fit(rows[:400])
    one, other = (
        GaussianMixture(
            4,
            batch_size=4000,
            batch_method=method,
            random_state=0,
            tol=0.0,
            max_iter=3,
            weights_init=start.weights_,
            means_init=start.means_,
            precisions_init=start.precisions_,
        )
        for _ in range(2)
    )
    with pytest.warns(match="did not converge"):
        one.fit(repeated)
    with pytest.warns(match="did not converge"):
        other.fit(chunks, sample_weight=weights)
    np.testing.assert_allclose(one.means_, other.means_, rtol=1e-9, atol=1e-9)
    np.testing.assert_allclose(one.lower_bounds_, other.lower_bounds_, rtol=1e-9)


@both_methods
def test_bits_do_not_depend_on_threads_or_storage(rows, tmp_path, method):
    made = {"batch_size": 500, "batch_method": method, "random_state": 0}
    np.save(tmp_path / "rows.npy", rows)
    one = GaussianMixture(4, **made).fit(rows)
    for given in (rows, tmp_path / "rows.npy", np.asfortranarray(rows)):
        with vbfast.config_context(num_threads=3):
            other = GaussianMixture(4, **made).fit(given)
        assert np.array_equal(one.covariances_, other.covariances_)
        assert one.lower_bounds_ == other.lower_bounds_


@both_methods
@both_mixtures
@pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")
def test_sorted_rows_are_warned_of(rows, make, method):
    X = rows[np.argsort(rows[:, 1])]
    mixture = make(4, batch_size=500, batch_method=method, random_state=0)
    with pytest.warns(UserWarning, match="sorted: .* of the variance of feature 1 is between"):
        mixture.fit(X)
    if method == "incremental":
        np.testing.assert_allclose(np.sort(mixture.means_[:, 0]), np.sort(CENTRES[:, 0]), atol=0.2)


@both_methods
def test_families_that_know_no_expected_log_joint(rows, diagonal_gaussian, method):
    assert isinstance(diagonal_gaussian, Custom)
    made = {"batch_size": 500, "batch_method": method, "random_state": 0}
    fitted = Mixture(diagonal_gaussian, 4, **made).fit(rows)
    other = Mixture(Gaussian("diag", 0.0), 4, **made).fit(rows)
    assert fitted.converged_
    np.testing.assert_allclose(fitted.score(rows), other.score(rows), atol=1e-2)


@both_methods
def test_callbacks_and_n_init(rows, method):
    seen = []

    def callback(iteration):
        seen.append((iteration.initialization, iteration.iteration))
        return iteration.initialization == 1 and iteration.iteration == 2

    made = {"batch_size": 500, "batch_method": method, "random_state": 0, "tol": 0.0}
    mixture = GaussianMixture(4, n_init=3, max_iter=3, init_params="random", **made)
    mixture.fit(rows, callback=callback)
    assert seen == [(0, 1), (0, 2), (0, 3), (1, 1), (1, 2)]


@both_methods
def test_a_batch_as_large_as_all_rows(rows, method):
    mixture = GaussianMixture(4, batch_size=10**9, batch_method=method, random_state=0).fit(rows)
    whole = GaussianMixture(4, random_state=0).fit(rows)
    assert abs(mixture.score(rows) - whole.score(rows)) < 1e-3


@both_methods
def test_warm_start_goes_on(rows, method):
    made = {"batch_size": 500, "batch_method": method, "random_state": 0, "warm_start": True}
    mixture = GaussianMixture(4, init_params="random_from_data", max_iter=1, **made)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        mixture.fit(rows)
    before = mixture.score(rows)
    mixture.set_params(max_iter=50).fit(rows)
    assert mixture.score(rows) > before


@pytest.mark.parametrize(
    ("parameters", "message"),
    [
        ({"batch_size": 0}, "batch_size"),
        ({"batch_size": 1.5}, "batch_size"),
        ({"batch_size": 10, "batch_method": "online"}, "batch_method"),
        ({"batch_size": 10, "final_pass": "yes"}, "final_pass"),
        ({"batch_size": 10, "accelerate": "squarem"}, "accelerate='squarem' .* batch_size=10"),
    ],
)
def test_bad_parameters(rows, parameters, message):
    with pytest.raises(ValueError, match=message):
        GaussianMixture(4, random_state=0, **parameters).fit(rows)


@both_methods
def test_rows_that_cannot_be_read_from_the_middle(rows, method):
    mixture = GaussianMixture(4, batch_size=500, batch_method=method, random_state=0)
    with pytest.raises(ValueError, match=r"batches of rows .* need rows that can be read from"):
        mixture.fit(lambda: iter(np.split(rows, 4)))
    assert not hasattr(mixture, "means_")


@both_methods
@pytest.mark.parametrize("value", [np.nan, np.inf])
def test_rows_that_are_not_finite(rows, method, value):
    rows[6789, 1] = value
    mixture = GaussianMixture(4, batch_size=500, batch_method=method, random_state=0)
    with pytest.raises(ValueError, match=r"NaN|infinity"):
        mixture.fit(rows)
    assert not hasattr(mixture, "means_")


@both_methods
def test_a_row_that_is_too_far_is_named(rows, method):
    X = rows.astype(np.float32)
    X[6789] = 1e25
    start = GaussianMixture(4, random_state=0).fit(rows)
    mixture = GaussianMixture(
        4,
        batch_size=500,
        batch_method=method,
        weights_init=start.weights_,
        means_init=start.means_,
        precisions_init=start.precisions_,
    )
    with pytest.raises(ValueError, match="row 6789"):
        mixture.fit(X)
