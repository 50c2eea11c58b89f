"""What rows may be (arrays however they lie, files, lists, data frames) and may not be."""

from __future__ import annotations

import re

import numpy as np
import pytest
import sklearn
from scipy import sparse
from sklearn.mixture import GaussianMixture as ScikitLearnMixture

import vbfast
from vbfast.estimators import BayesianGaussianMixture, GaussianMixture, base

pytestmark = pytest.mark.kernels


@pytest.fixture
def fitted(clustered):
    return GaussianMixture(3, random_state=0, max_iter=20).fit(clustered)


def assert_equal_to_the_bit(source, clustered, fitted, *, dtype=np.float64):
    again = GaussianMixture(3, random_state=0, max_iter=20).fit(source)
    assert again.lower_bounds_ == fitted.lower_bounds_
    np.testing.assert_array_equal(again.means_, fitted.means_)
    np.testing.assert_array_equal(again.covariances_, fitted.covariances_)
    np.testing.assert_array_equal(fitted.predict(source), fitted.predict(clustered))
    np.testing.assert_array_equal(fitted.predict_proba(source), fitted.predict_proba(clustered))
    np.testing.assert_array_equal(fitted.score_samples(source), fitted.score_samples(clustered))
    assert fitted.score(source) == fitted.score(clustered)
    assert again.means_.dtype == dtype


@pytest.mark.parametrize("layout", ["fortran", "every other", "backwards", "big endian", "list"])
def test_arrays_however_they_lie(clustered, fitted, layout):
    source = {
        "fortran": lambda: np.asfortranarray(clustered),
        "every other": lambda: np.repeat(np.repeat(clustered, 2, axis=0), 3, axis=1)[::2, ::3],
        "backwards": lambda: np.ascontiguousarray(clustered[::-1, ::-1])[::-1, ::-1],
        "big endian": lambda: clustered.astype(">f8"),
        "list": clustered.tolist,
    }[layout]()
    assert_equal_to_the_bit(source, clustered, fitted)


def test_memory_map(clustered, fitted, tmp_path):
    np.save(tmp_path / "rows.npy", clustered)
    source = np.load(tmp_path / "rows.npy", mmap_mode="r")
    assert_equal_to_the_bit(source, clustered, fitted)


@pytest.mark.parametrize(
    ("stored", "computed"),
    [(">f4", "f4"), (">f8", "f8"), ("f2", "f8"), (">f2", "f8"), (">i4", "f8"), ("u1", "f8")],
)
@pytest.mark.parametrize("backend", ["native", "reference"])
def test_the_same_bits_from_an_array_as_from_a_map(clustered, tmp_path, stored, computed, backend):
    rows = np.abs(np.round(clustered * 4)).astype(stored)
    np.save(tmp_path / "rows.npy", rows)
    mapped = np.load(tmp_path / "rows.npy", mmap_mode="r")
    plain, *others = (
        GaussianMixture(3, random_state=0, max_iter=5, tol=1e-1, backend=backend).fit(source)
        for source in (rows.astype(computed), rows, mapped, np.asfortranarray(rows))
    )
    for other in others:
        assert other.means_.dtype == computed
        assert other.lower_bounds_ == plain.lower_bounds_
        np.testing.assert_array_equal(other.covariances_, plain.covariances_)
        np.testing.assert_array_equal(other.score_samples(rows), plain.score_samples(mapped))
        assert other.score_samples(rows).dtype == computed


def test_memory_map_of_integers(tmp_path):
    rows = np.random.default_rng(0).integers(0, 50, size=(300, 2))
    np.save(tmp_path / "rows.npy", rows)
    source = np.load(tmp_path / "rows.npy", mmap_mode="r")
    plain = GaussianMixture(2, random_state=0).fit(rows)
    mapped = GaussianMixture(2, random_state=0).fit(source)
    np.testing.assert_array_equal(mapped.means_, plain.means_)


def test_hdf5(clustered, fitted, tmp_path):
    h5py = pytest.importorskip("h5py")
    with h5py.File(tmp_path / "rows.h5", "w") as file:
        source = file.create_dataset("rows", data=clustered, chunks=(50, 4))
        assert_equal_to_the_bit(source, clustered, fitted)


def test_zarr(clustered, fitted, tmp_path):
    zarr = pytest.importorskip("zarr")
    source = zarr.open(str(tmp_path / "rows.zarr"), mode="w", shape=clustered.shape, dtype="f8")
    source[:] = clustered
    assert_equal_to_the_bit(source, clustered, fitted)


class OwnRows:
    """Rows that are asked for, with the members of vbfast.RowSource and no other."""

    in_memory = None

    def __init__(self, rows, **claims):
        self.data = "somewhere"
        self._rows = rows
        self.n_samples, self.n_features = rows.shape
        self.dtype = rows.dtype
        vars(self).update(claims)

    def block(self, start, stop):
        return self._rows[start:stop].copy()

    def take(self, indices):
        return self._rows[indices]


@pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("mixture", [GaussianMixture, BayesianGaussianMixture])
@pytest.mark.parametrize("init_params", ["kmeans", "k-means++", "random_from_data"])
def test_rows_of_a_source_of_the_users(clustered, mixture, init_params, dtype):
    rows = clustered.astype(dtype)
    source = OwnRows(rows)
    assert isinstance(source, vbfast.RowSource)
    arguments = {"init_params": init_params, "random_state": 0, "max_iter": 10}
    weight = np.linspace(0.5, 2.0, len(rows))
    plain = mixture(3, **arguments).fit(rows, sample_weight=weight)
    fitted = mixture(3, **arguments).fit(source, sample_weight=weight)
    assert fitted.n_features_in_ == 4
    assert fitted.lower_bounds_ == plain.lower_bounds_
    for name in ("weights_", "means_", "covariances_"):
        np.testing.assert_array_equal(getattr(fitted, name), getattr(plain, name))
    for method in ("predict", "predict_proba", "score_samples", "log_joint"):
        of_source = getattr(fitted, method)(source)
        np.testing.assert_array_equal(of_source, getattr(plain, method)(rows))
    assert fitted.score(source) == plain.score(rows)
    assert fitted.elbo(source).elbo == plain.elbo(rows).elbo


def test_a_summary_of_a_source(clustered):
    mixture = GaussianMixture(3, random_state=0).initialize(OwnRows(clustered))
    assert mixture.summarize(OwnRows(clustered)) == mixture.summarize(clustered)


@pytest.mark.parametrize(
    ("claims", "error", "message"),
    [
        ({"dtype": np.dtype(">f8")}, ValueError, "X.dtype must be NumPy's float32 or float64"),
        ({"dtype": "float32"}, ValueError, "X.dtype must be .*; got 'float32'"),
        ({"dtype": np.dtype(int)}, ValueError, r"X.dtype must be .*; got dtype\('int64'\)"),
        ({"dtype": np.dtype(np.float32)}, ValueError, "dtype float32; got .* float64"),
        ({"n_samples": 500.0}, TypeError, "X.n_samples must be an int; got 500.0"),
        ({"n_features": None}, TypeError, "X.n_features must be an int; got None"),
        ({"n_features": np.uint8(4)}, TypeError, r"X.n_features must be an int; got np.uint8\(4\)"),
        ({"n_features": 3}, ValueError, r"should have shape \(\d+, 3\)"),
        ({"n_samples": 1}, ValueError, "minimum of 2 is required by GaussianMixture"),
        ({"n_samples": 0}, ValueError, "0 sample"),
        ({"n_samples": 10**6}, ValueError, r"X\[\d+:\d+\] should have shape"),
    ],
)
@pytest.mark.parametrize("init_params", ["kmeans", "random"])
def test_a_source_that_is_not_what_it_says(clustered, init_params, claims, error, message):
    source = OwnRows(clustered, **claims)
    with pytest.raises(error, match=message):
        GaussianMixture(2, random_state=0, init_params=init_params, init_size="all").fit(source)


def test_rows_that_are_taken_are_what_the_source_says(clustered):
    source = OwnRows(clustered, take=lambda indices: clustered[indices, :3])
    with pytest.raises(ValueError, match=r"X.take of \d+ rows should have shape \(\d+, 4\)"):
        GaussianMixture(2, random_state=0, init_params="random_from_data").fit(source)


def test_a_source_of_other_features(clustered, fitted):
    narrow = OwnRows(clustered[:, :3])
    with pytest.raises(ValueError, match="X has 3 features, but GaussianMixture is expecting 4"):
        fitted.predict(narrow)


def test_large_arrays_are_not_copied(clustered, monkeypatch):
    seen = []
    search = base.search

    def spy(mixture, family, runner, **others):
        seen.append(runner.source.data)
        return search(mixture, family, runner, **others)

    monkeypatch.setattr(base, "search", spy)
    for rows in (clustered, clustered[::2], np.asfortranarray(clustered)):
        GaussianMixture(2, random_state=0).fit(rows)
        assert np.shares_memory(seen.pop(), rows)


def test_data_frames(clustered, fitted):
    pandas = pytest.importorskip("pandas")
    frame = pandas.DataFrame(clustered, columns=list("abcd"))
    named = GaussianMixture(3, random_state=0, max_iter=20).fit(frame)
    np.testing.assert_array_equal(named.means_, fitted.means_)
    assert list(named.feature_names_in_) == list("abcd")
    with pytest.raises(ValueError, match="feature names should match"):
        named.predict(frame.rename(columns={"a": "z"}))


def non_finite(clustered, value, dtype=np.float64):
    rows = clustered.astype(dtype)
    rows[417, 2] = value
    return rows


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
@pytest.mark.parametrize("dtype", [np.float64, np.float32])
@pytest.mark.parametrize(
    "init_params", ["kmeans", "k-means++", "random", "random_from_data", "given"]
)
@pytest.mark.parametrize("max_iter", [0, 10])
def test_non_finite_rows_to_fit(clustered, given_start, value, dtype, init_params, max_iter):
    rows = non_finite(clustered, value, dtype)
    with pytest.raises(ValueError) as theirs:
        ScikitLearnMixture().fit(rows)
    arguments = (
        given_start("full")
        if init_params == "given"
        else {"n_components": 4, "init_params": init_params, "random_state": 0}
    )
    with pytest.raises(ValueError, match=f"^{re.escape(str(theirs.value))}$"):
        GaussianMixture(max_iter=max_iter, **arguments).fit(rows)


@pytest.mark.parametrize("value", [np.nan, np.inf])
@pytest.mark.parametrize("method", ["predict", "predict_proba", "score_samples", "score", "elbo"])
def test_non_finite_rows_to_a_fitted_mixture(clustered, fitted, value, method):
    rows = non_finite(clustered, value)
    with pytest.raises(ValueError) as theirs:
        ScikitLearnMixture(2).fit(clustered).predict(rows)
    with pytest.raises(ValueError, match=f"^{re.escape(str(theirs.value))}$"):
        getattr(fitted, method)(rows)


def test_non_finite_rows_of_a_file(clustered, tmp_path):
    h5py = pytest.importorskip("h5py")
    with h5py.File(tmp_path / "rows.h5", "w") as file:
        source = file.create_dataset("rows", data=non_finite(clustered, np.nan))
        with pytest.raises(ValueError, match="Input X contains NaN") as caught:
            GaussianMixture(2, random_state=0).fit(source)
    assert caught.value.__context__.row == 417


def test_wrong_rows_of_a_file(clustered, fitted, tmp_path):
    h5py = pytest.importorskip("h5py")
    with h5py.File(tmp_path / "rows.h5", "w") as file:
        one = file.create_dataset("one", data=clustered[:1])
        with pytest.raises(ValueError, match="minimum of 2 is required by GaussianMixture"):
            GaussianMixture().fit(one)
        line = file.create_dataset("line", data=clustered[0])
        with pytest.raises(ValueError, match="shape"):
            GaussianMixture().fit(line)
        narrow = file.create_dataset("narrow", data=clustered[:, :3])
        with pytest.raises(
            ValueError, match="X has 3 features, but GaussianMixture is expecting 4"
        ):
            fitted.predict(narrow)


@pytest.mark.parametrize(
    ("make", "error", "message"),
    [
        (lambda rows: rows[:0], ValueError, "0 sample"),
        (lambda rows: rows[:1], ValueError, "minimum of 2 is required by GaussianMixture"),
        (lambda rows: rows[:, :0], ValueError, "0 feature"),
        (lambda rows: rows[0], ValueError, "Expected 2D array"),
        (lambda rows: rows[:, :, np.newaxis], ValueError, "dim 3"),
        (lambda rows: rows + 1j, ValueError, "Complex data not supported"),
        (sparse.csr_array, TypeError, "Sparse data was passed"),
        (lambda rows: rows[:3], ValueError, "Expected n_samples >= n_components"),
    ],
)
def test_wrong_rows(clustered, make, error, message):
    with pytest.raises(error, match=message):
        GaussianMixture(4).fit(make(clustered))


def test_rows_that_scikit_learn_is_told_not_to_check(clustered):
    """The passes see them all the same."""
    rows = non_finite(clustered, np.nan)
    with sklearn.config_context(assume_finite=True), pytest.raises(ValueError, match="row 417"):
        GaussianMixture(2, random_state=0).fit(rows)


def test_infinities_of_both_signs_are_an_error_and_no_warning(clustered):
    rows = clustered.copy()
    rows[5, :2] = np.inf, -np.inf
    with pytest.raises(ValueError, match="Input X contains infinity"):
        GaussianMixture(2, random_state=0).fit(rows)
