"""Fits with truncated posteriors of rows that a function's iterators yield."""

from __future__ import annotations

import numpy as np
import pytest

import vbfast
from vbfast.contract import COVARIANCE_TYPES
from vbfast.passes import groups

MIXTURES = [vbfast.GaussianMixture, vbfast.BayesianGaussianMixture]
SPLIT = [17, 450, 900, 1650]

pytestmark = pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")


@pytest.fixture(autouse=True)
def small_groups(monkeypatch):
    """Chunks of 2,000 rows are four groups."""
    monkeypatch.setattr(groups, "GROUP_ROWS", 400)


@pytest.fixture(name="X")
def rows(rng):
    """2,000 rows about forty centres."""
    return (6.0 * rng.normal(size=(40, 3)))[rng.integers(40, size=2000)] + rng.normal(
        size=(2000, 3)
    )


def chunks(X, split=SPLIT):
    """A generator function."""

    def made():
        yield from np.split(X, split)

    return made


def assert_equal_to_the_bit(one, other):
    assert one.lower_bounds_ == other.lower_bounds_
    assert one.n_passes_ == other.n_passes_
    for name in ("weights_", "means_", "covariances_", "neighbors_"):
        np.testing.assert_array_equal(getattr(one, name), getattr(other, name))


@pytest.mark.parametrize("init_params", ["kmeans", "k-means++", "random", "random_from_data"])
@pytest.mark.parametrize("mixture", MIXTURES)
@pytest.mark.parametrize("dtype", [np.float64, np.float32])
@pytest.mark.parametrize("weighted", [False, True])
def test_one_group_has_the_bits_of_an_array(X, mixture, init_params, dtype, weighted):
    X, weight = X.astype(dtype), 0.5 + np.arange(2000) % 3 if weighted else None
    given = {"truncation": 2, "init_params": init_params, "max_iter": 4, "random_state": 1}
    whole = mixture(300, **given).fit(X, sample_weight=weight)
    by_chunks = mixture(300, **given).fit(chunks(X, []), sample_weight=weight)
    assert_equal_to_the_bit(by_chunks, whole)


@pytest.mark.parametrize("covariance_type", COVARIANCE_TYPES)
@pytest.mark.parametrize("mixture", MIXTURES)
@pytest.mark.parametrize("weighted", [False, True])
def test_a_fit_ends_where_that_of_one_array_does(X, mixture, covariance_type, weighted):
    """Every component is a neighbour, so that it does not matter what teaches neighbours."""
    weight = 0.5 + np.arange(2000) % 3 if weighted else None
    given = mixture(
        20,
        covariance_type=covariance_type,
        init_params=np.arange(2000) % 20,
        truncation=3,
        n_neighbors=20,
        tol=0.0,
        max_iter=8,
    )
    by_chunks = given.fit(chunks(X), sample_weight=weight)
    whole = mixture(**given.get_params()).fit(X, sample_weight=weight)
    np.testing.assert_allclose(by_chunks.lower_bounds_, whole.lower_bounds_, rtol=1e-9)
    for name in ("weights_", "means_", "covariances_"):
        one, other = getattr(by_chunks, name), getattr(whole, name)
        np.testing.assert_allclose(one, other, rtol=0.0, atol=1e-8 * np.abs(other).max())


@pytest.mark.parametrize("covariance_type", ["diag", "full"])
@pytest.mark.parametrize("mixture", MIXTURES)
def test_bits_depend_on_no_threads(X, mixture, covariance_type):
    given = {"covariance_type": covariance_type, "truncation": 3, "max_iter": 4, "random_state": 0}
    fits = []
    for threads in (1, 2):
        with vbfast.config_context(num_threads=threads):
            fits.append(mixture(300, **given).fit(chunks(X)))
    assert_equal_to_the_bit(*fits)


def test_many_components_of_whole_posteriors_start_by_a_search(X):
    given = {"covariance_type": "diag", "max_iter": 1, "random_state": 0}
    whole = vbfast.GaussianMixture(1030, **given).fit(X)
    by_chunks = vbfast.GaussianMixture(1030, **given).fit(chunks(X, []))
    assert by_chunks.lower_bounds_ == whole.lower_bounds_
    np.testing.assert_array_equal(by_chunks.means_, whole.means_)


def test_the_bound_never_falls(X):
    mixture = vbfast.GaussianMixture(
        60,
        covariance_type="diag",
        truncation=2,
        reg_covar=0.0,
        tol=0.0,
        max_iter=15,
        random_state=0,
    ).fit(chunks(X))
    assert np.diff(mixture.lower_bounds_).min() > -1e-11
    assert mixture.lower_bound_ < mixture.score(X, exact=True)


def test_starts_are_as_good(X):
    """k-means that searches in chunks moves small clusters to where there is much scatter."""
    squares = [
        start.weights_ @ start.covariances_
        for start in (
            vbfast.GaussianMixture(
                300, covariance_type="spherical", max_iter=0, random_state=0, truncation=truncation
            ).fit(chunks(X))
            for truncation in (None, 3)
        )
    ]
    assert squares[1] < 1.05 * squares[0]


@pytest.mark.parametrize("mixture", MIXTURES)
@pytest.mark.parametrize("at", [(0, 3), (1, 2)])
def test_it_goes_on_from_a_checkpoint(X, mixture, at, tmp_path):
    parameters = {"truncation": 2, "random_state": 0, "n_init": 2, "max_iter": 5, "tol": 0.0}
    whole = mixture(70, **parameters).fit(chunks(X))

    def end(iteration):
        if (iteration.initialization, iteration.iteration) == at:
            raise RuntimeError("ended")

    kept = {"checkpoint": tmp_path / "checkpoint.npz", "checkpoint_interval": 0.0}
    with pytest.raises(RuntimeError, match="ended"):
        mixture(70, **parameters, **kept).fit(chunks(X), callback=end)
    assert_equal_to_the_bit(mixture(70, **parameters, **kept).fit(chunks(X)), whole)


def test_what_rows_keep_may_lie_in_a_file(X, tmp_path):
    path, given = tmp_path / "kept.npy", {"truncation": 2, "random_state": 0, "max_iter": 3}
    in_file = vbfast.GaussianMixture(70, truncation_state=path, **given).fit(chunks(X))
    assert_equal_to_the_bit(in_file, vbfast.GaussianMixture(70, **given).fit(chunks(X)))
    kept = np.load(path)
    assert (kept.shape, kept.dtype) == ((2000, 2), np.int32)
    assert kept.min() >= 0


@pytest.mark.parametrize("mixture", MIXTURES)
def test_auto_decides(X, mixture):
    few, many = (
        mixture(n_components, truncation="auto", random_state=0, max_iter=3).fit(chunks(X))
        for n_components in (5, 200)
    )
    assert few.truncation_ is None
    whole = mixture(5, random_state=0, max_iter=3).fit(chunks(X))
    np.testing.assert_array_equal(few.means_, whole.means_)
    assert 3 <= many.truncation_ <= 8


def test_a_family_of_gaussians_is_the_mixture(X):
    given = {"truncation": 3, "random_state": 0, "max_iter": 3}
    family = vbfast.Mixture(vbfast.families.Gaussian(), 70, **given).fit(chunks(X))
    ours = vbfast.GaussianMixture(70, **given).fit(chunks(X))
    np.testing.assert_array_equal(family.means_, ours.means_)


@pytest.mark.parametrize("mixture", MIXTURES)
def test_batches_from_a_function(X, mixture):
    """A batch of several groups teaches neighbours that the next one searches among."""
    given = {"truncation": 2, "random_state": 0}
    if mixture is vbfast.BayesianGaussianMixture:
        given["total_samples"] = 2000
    by_chunks, whole = mixture(70, **given), mixture(70, **given)
    for _ in range(3):
        by_chunks.partial_fit(chunks(X, []))
        whole.partial_fit(X)
        np.testing.assert_array_equal(by_chunks.means_, whole.means_)
        np.testing.assert_array_equal(by_chunks.neighbors_, whole.neighbors_)
    several = mixture(70, **given)
    for _ in range(3):
        several.partial_fit(chunks(X))
    assert several.neighbors_.shape == (70, 15)
    assert abs(several.score(X) - whole.score(X)) < 0.3


def test_errors(X):
    laps = []

    def other():
        laps.append(len(laps))
        return iter(np.split(X, SPLIT if len(laps) < 9 else [*SPLIT[:-1], 1651]))

    mixture = vbfast.GaussianMixture(70, truncation=3, random_state=0, tol=0.0)
    with pytest.raises(ValueError, match=r"chunk 3 of X\(\) has 751 rows; before it had 750"):
        mixture.fit(other)
    assert not hasattr(mixture, "means_")
    X[700, 1] = np.nan
    with pytest.raises(ValueError, match="chunk 2 row 250"):
        mixture.fit(chunks(X))
    pytest.importorskip("numba")
    with pytest.raises(NotImplementedError, match="'numba' does not: use backend='native'"):
        mixture.set_params(backend="numba").fit(chunks(X))


def test_backends(X):
    given = {"truncation": 2, "random_state": 0, "max_iter": 3, "init_params": np.arange(2000) % 9}
    native, reference = (
        vbfast.GaussianMixture(9, backend=backend, **given).fit(chunks(X))
        for backend in ("native", "reference")
    )
    np.testing.assert_allclose(native.lower_bounds_, reference.lower_bounds_, rtol=1e-9)
    np.testing.assert_array_equal(native.neighbors_, reference.neighbors_)
