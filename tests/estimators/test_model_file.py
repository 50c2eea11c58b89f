from __future__ import annotations

import json
import os
import pickle
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from sklearn.exceptions import NotFittedError

import vbfast
from vbfast import BayesianGaussianMixture, GaussianMixture
from vbfast.estimators.model_file import FORMAT_VERSION

FUZZER = Path(__file__).parents[1] / "fuzz" / "fuzz_model_file.py"
COVARIANCE_TYPES = ("full", "tied", "diag", "spherical")


def rows_of(rng, D=3, dtype=np.float64):
    """Rows of three clusters, two of whose columns are nearly the same."""
    X = rng.normal(size=(90, D)) + 9.0 * (np.arange(90) % 3)[:, np.newaxis]
    if D > 1:
        X[:, 1] = X[:, 0] * (1.0 + 1e-3 * rng.normal(size=90))
    return X.astype(dtype)


@pytest.fixture
def rows(rng):
    return rows_of(rng)


def assert_equal(loaded, saved):
    assert type(loaded) is type(saved)
    assert vars(loaded).keys() == vars(saved).keys()
    for name, value in vars(saved).items():
        assert type(getattr(loaded, name)) is type(value), name
        np.testing.assert_array_equal(getattr(loaded, name), value, err_msg=name)
        assert getattr(getattr(loaded, name), "dtype", None) == getattr(value, "dtype", None), name


@pytest.mark.parametrize("covariance_type", COVARIANCE_TYPES)
@pytest.mark.parametrize("dtype", [np.float64, np.float32])
@pytest.mark.parametrize("prior", [None, "dirichlet_process", "dirichlet_distribution"])
def test_what_is_loaded_is_what_was_saved(tmp_path, rng, covariance_type, dtype, prior):
    common = {"covariance_type": covariance_type, "random_state": 3, "tol": 1e-3, "max_iter": 500}
    mixture = (
        GaussianMixture(3, **common)
        if prior is None
        else BayesianGaussianMixture(3, weight_concentration_prior_type=prior, **common)
    )
    for D in (1, 3):
        X = rows_of(rng, D, dtype)
        mixture.fit(X)
        mixture.save(tmp_path / "m.npz")
        loaded = vbfast.load(str(tmp_path / "m.npz"))
        assert_equal(loaded, mixture)
        np.testing.assert_array_equal(loaded.score_samples(X), mixture.score_samples(X))
        np.testing.assert_array_equal(loaded.predict_proba(X), mixture.predict_proba(X))


@pytest.mark.parametrize("covariance_type", COVARIANCE_TYPES)
@pytest.mark.parametrize("scale", [1e-18, 1e-3, 1e12])
def test_any_scale_and_condition_number_can_be_saved(tmp_path, rng, covariance_type, scale):
    """Covariances of float32 rows at 1e-21 underflow, and their inverses overflow."""
    X = (rows_of(rng, 5) * [1.0, 1.0, 1e3, 1e-3, 1.0] * scale).astype(np.float32)
    mixture = GaussianMixture(
        2, covariance_type=covariance_type, reg_covar=1e-6 * scale**2, random_state=0
    )
    with np.errstate(over="ignore", under="ignore"):
        mixture.fit(X)
    mixture.save(tmp_path / "m.npz")
    assert_equal(vbfast.load(tmp_path / "m.npz"), mixture)


def test_a_start_from_precisions_can_be_saved(tmp_path, rng, rows):
    """Its covariances are what is computed there, and the factors come from elsewhere."""
    precision = np.linalg.inv(np.cov(rows.T))
    mixture = GaussianMixture(
        2,
        weights_init=[0.25, 0.75],
        means_init=rows[:2],
        precisions_init=np.array([precision, 1e4 * precision]),
        max_iter=0,
    ).fit(rows)
    mixture.save(tmp_path / "m.npz")
    loaded = vbfast.load(tmp_path / "m.npz")
    np.testing.assert_array_equal(loaded.precisions_init, mixture.precisions_init)
    np.testing.assert_array_equal(loaded.score_samples(rows), mixture.score_samples(rows))


def test_names_of_features_are_kept(tmp_path, rows):
    pandas = pytest.importorskip("pandas")
    frame = pandas.DataFrame(rows, columns=["größe", "温度", ""])
    mixture = GaussianMixture(2, random_state=0).fit(frame)
    mixture.save(tmp_path / "m.npz")
    loaded = vbfast.load(tmp_path / "m.npz")
    assert_equal(loaded, mixture)
    with pytest.raises(ValueError, match="feature names should match"):
        loaded.score(frame[frame.columns[::-1]])


def test_a_loaded_mixture_goes_on_where_the_saved_one_ended(tmp_path, rows):
    mixture = BayesianGaussianMixture(
        3, random_state=0, max_iter=2, tol=0.0, warm_start=True, mean_prior=np.ones(3)
    )
    with pytest.warns(match="did not converge"):
        mixture.fit(rows)
    mixture.save(tmp_path / "m.npz")
    loaded = vbfast.load(tmp_path / "m.npz")
    for each in (mixture, loaded):
        with pytest.warns(match="did not converge"):
            each.fit(rows)
    assert loaded.lower_bounds_ == mixture.lower_bounds_


def test_what_belongs_to_the_rows_or_the_machine_is_not_kept(tmp_path, rows):
    mixture = GaussianMixture(
        2,
        init_params=np.eye(2)[np.arange(90) % 2],
        random_state=np.random.RandomState(0),
        backend="reference",
    ).fit(rows)
    mixture.save(tmp_path / "m.npz")
    loaded = vbfast.load(tmp_path / "m.npz")
    assert (loaded.init_params, loaded.random_state, loaded.backend) == ("kmeans", None, None)


def test_what_cannot_be_saved(tmp_path, rows):
    with pytest.raises(NotFittedError):
        GaussianMixture().save(tmp_path / "m.npz")
    mixture = GaussianMixture(2, random_state=0).fit(rows)
    with pytest.raises(ValueError, match=r"path must end in \.npz.*m\.pkl"):
        mixture.save(tmp_path / "m.pkl")
    seeds = GaussianMixture(3, init_params="random_from_data", max_iter=0, random_state=0).fit(rows)
    with pytest.raises(ValueError, match=r"could not be read again.*'weights' should be normal"):
        seeds.save(tmp_path / "m.npz")
    assert not list(tmp_path.iterdir())


def test_custom_components_cannot_be_saved(tmp_path, rows, diagonal_gaussian):
    custom = vbfast.Mixture(diagonal_gaussian, 2, random_state=0).fit(rows)
    with pytest.raises(TypeError, match=r"got a Mixture.*cloudpickle"):
        custom.save(tmp_path / "m.npz")
    assert not list(tmp_path.iterdir())


def test_a_file_that_cannot_be_written_whole_leaves_the_one_that_was_there(
    tmp_path, monkeypatch, rows
):
    mixture = GaussianMixture(2, random_state=0).fit(rows)
    path = tmp_path / "m.npz"
    mixture.save(path)
    before = path.read_bytes()

    def full(file, **arrays):
        file.write(b"PK")
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(np, "savez", full)
    with pytest.raises(OSError, match=r"No space left on device: .*m\.npz"):
        mixture.save(path)
    assert path.read_bytes() == before
    assert list(tmp_path.iterdir()) == [path]


@pytest.fixture
def tampered(tmp_path, rows):
    """A function that saves a mixture, changes arrays in its file, and returns the path."""

    def tamper(changes, mixture=None):
        path = tmp_path / "m.npz"
        (GaussianMixture(2, random_state=0) if mixture is None else mixture).fit(rows).save(path)
        with np.load(path) as archive:
            arrays = dict(archive)
        for key, change in changes.items():
            arrays[key] = change(arrays[key]) if callable(change) else change
        np.savez(path, **{key: array for key, array in arrays.items() if array is not None})
        return path

    return tamper


def set_at(index, value):
    def change(array):
        array[index] = value
        return array

    return change


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"covariance_type": "round"}, "covariance_type is 'round', none of full, tied"),
        ({"weights": np.array(3.0)}, r"weights has shape \(\); expected \(2,\) for means"),
        ({"weights": None}, "weights missing"),
        ({"lower_bounds": None}, "lower_bounds missing"),
        ({"lower_bounds": np.array(-3.0)}, r"lower_bounds has shape \(\); expected one dimension"),
        ({"feature_names": None}, "feature_names missing"),
        ({"feature_names": np.array(["a"])}, "feature_names has shape .* expected 3 strings"),
        ({"feature_names": np.arange(3)}, "feature_names has .* expected 3 strings"),
        ({"means": np.zeros(2)}, r"means has shape \(2,\); expected two dimensions"),
        ({"means": np.zeros((3, 3))}, r"weights has shape \(2,\); expected \(3,\)"),
        ({"means": np.full((2, 3), np.nan)}, "means has NaN"),
        ({"means": set_at(0, np.inf)}, "infinity"),
        ({"means": np.full((2, 3), "a")}, "means has dtype <U1; expected real numbers"),
        ({"means": np.full((2, 3), None)}, "Object arrays cannot be loaded"),
        ({"means": lambda means: means.astype(np.float32)}, "dtypes float32 and float64"),
        ({"precisions_cholesky": np.ones((2, 3))}, r"expected \(2, 3, 3\) for means of shape"),
        ({"weights": np.array([-0.5, 1.5])}, "'weights' should be in the range"),
        ({"weights": np.array([0.5, 0.4])}, "'weights' should be normalized"),
        ({"precisions_cholesky": set_at((1, 2, 0), 1e-3)}, "upper triangular.*component 1"),
        ({"precisions_cholesky": set_at((0, 2, 2), -1.0)}, "of positive diagonal; component 0"),
        ({"precisions_cholesky": set_at((0, 0, 1), np.inf)}, "must be finite"),
        ({"precisions_cholesky": lambda P: 1.001 * P}, "precisions must be those of precisions_c"),
        ({"precisions": set_at((1, 0, 0), 7.0)}, "precisions must be those of .* component 1"),
        ({"covariances": lambda S: 1.001 * S}, "covariances must be those of precisions_chol"),
        ({"covariances": set_at((1, 0, 1), 7.0)}, "covariances must be finite and symmetric"),
        ({"model": "KMeans"}, "it names the class 'KMeans'"),
        ({"model": ""}, "it names no class"),
        ({"parameters": "{"}, "parameters is no JSON"),
        ({"parameters": "[1]"}, "parameters is no JSON object"),
        ({"parameters": json.dumps({"colour": 1})}, "GaussianMixture has no parameter colour"),
        ({"parameters": json.dumps({"tol": -1.0})}, "The 'tol' parameter of GaussianMixture"),
        ({"n_iter": np.array(-1)}, "n_iter must not be negative"),
        ({"converged": np.array("yes")}, "converged must be one truth value"),
        ({"format_version": np.array(FORMAT_VERSION + 1)}, "upgrade it"),
    ],
)
def test_what_is_no_model(tampered, changes, message):
    path = tampered(changes)
    with pytest.raises(ValueError, match=rf"m\.npz is no model file: .*{message}"):
        vbfast.load(path)


@pytest.mark.parametrize("covariance_type", ["tied", "diag", "spherical"])
@pytest.mark.parametrize("key", ["precisions_cholesky", "precisions", "covariances"])
@pytest.mark.parametrize("factor", [-1.0, 0.0, 1.001, np.inf])
def test_factors_that_are_no_factors(tampered, covariance_type, key, factor):
    def change(values):
        with np.errstate(invalid="ignore"):
            return np.nan_to_num(values * factor, nan=np.inf)

    mixture = GaussianMixture(2, covariance_type=covariance_type, random_state=0)
    with pytest.raises(ValueError, match=r"is no model file: (precisions|covariances)"):
        vbfast.load(tampered({key: change}, mixture))


def test_no_components(tampered):
    """Which took the process with it: it runs in another one."""
    empty = np.zeros((0, 3))
    path = tampered(
        {
            "weights": empty[:, 0],
            "means": empty,
            "covariances": np.zeros((0, 3, 3)),
            "precisions": np.zeros((0, 3, 3)),
            "precisions_cholesky": np.zeros((0, 3, 3)),
        }
    )
    command = f"import sys, vbfast; vbfast.load({str(path)!r}).score([[0.0, 0.0, 0.0]])"
    result = subprocess.run(
        [sys.executable, "-c", command],
        env={**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, sys.path))},
        capture_output=True,
        text=True,
        check=False,
    )
    assert result.returncode == 1
    assert "means has shape (0, 3); expected two dimensions, none of them empty" in result.stderr


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"weight_concentration_prior_type": "none"}, "none of dirichlet_process, dirichlet_dist"),
        ({"weight_concentration": np.ones(2)}, r"has shape \(2,\); expected \(2, 2\)"),
        ({"weight_concentration": set_at((0, 0), -1.0)}, "weight_concentration must be greater"),
        ({"weight_concentration": set_at((0, 0), 3.0)}, "weights must be the means of"),
        ({"covariance_prior": np.ones(3)}, r"has shape \(3,\); expected \(3, 3\)"),
        ({"covariance_prior": -np.eye(3)}, "covariance_prior must be finite, and symmetric and"),
        ({"mean_precision": set_at(0, 0.0)}, "mean_precision must be greater than 0"),
        ({"degrees_of_freedom": set_at(0, 1.5)}, "degrees_of_freedom must be greater than 2"),
        ({"degrees_of_freedom_prior": np.array(np.inf)}, "degrees_of_freedom_prior must be finite"),
        ({"n_active_components": np.array(3)}, "n_active_components must be at most 2; got 3"),
    ],
)
def test_what_is_no_posterior(tampered, changes, message):
    path = tampered(changes, BayesianGaussianMixture(2, random_state=0))
    with pytest.raises(ValueError, match=rf"m\.npz is no model file: .*{message}"):
        vbfast.load(path)


NEW_KEYS = ("format_version", "vbfast_version", "parameters", "feature_names", "converged")


@pytest.mark.parametrize("mixture", [GaussianMixture, BayesianGaussianMixture])
def test_files_of_the_first_release_are_read(tampered, rows, mixture):
    """They had neither a version nor the parameters, nor how the fit ended."""
    saved = mixture(2, covariance_type="diag", random_state=0, tol=1e-5)
    path = tampered(dict.fromkeys((*NEW_KEYS, "n_iter", "n_passes")), saved)
    loaded = vbfast.load(path)
    np.testing.assert_array_equal(loaded.predict_proba(rows), saved.predict_proba(rows))
    assert loaded.lower_bounds_ == saved.lower_bounds_
    assert loaded.n_iter_ == saved.n_iter_
    assert (loaded.covariance_type, loaded.tol) == ("diag", 1e-3)
    assert not hasattr(loaded, "converged_")


@pytest.mark.parametrize("content", [b"", b"hello", b"PK", b"PK\x05\x06" + bytes(18), None])
def test_files_of_another_kind(tmp_path, content):
    path = tmp_path / "m.npz"
    path.write_bytes(pickle.dumps([1, 2]) if content is None else content)
    with pytest.raises(ValueError, match=r"m\.npz is no model file"):
        vbfast.load(path)


def test_a_file_that_is_not_there(tmp_path):
    with pytest.raises(FileNotFoundError):
        vbfast.load(tmp_path / "m.npz")


def test_flipped_bytes_and_truncations():
    result = subprocess.run(
        [sys.executable, str(FUZZER), "--cases", "600"],
        env={**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, sys.path))},
        capture_output=True,
        text=True,
        check=False,
    )
    assert result.stdout == "600 cases, 0 failed\n", result.stderr
    assert result.returncode == 0
