"""What learning from batches keeps of the fitted attributes: it notices what is written to them."""

from __future__ import annotations

import copy
import pickle

import numpy as np
import pytest
from sklearn.utils import _param_validation

from streams import all_types, batches, both_mixtures, every_mixture, learned
from vbfast import BayesianGaussianMixture, GaussianMixture, Mixture
from vbfast.families import ComponentFamily, Linear, LogJoint

pytestmark = [
    pytest.mark.kernels,
    pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning"),
    pytest.mark.filterwarnings("ignore:total_samples is None"),
]


def fitted_arrays(mixture):
    """The arrays that hold the parameters, by name; those of a tuple one by one."""
    for name in mixture._fitted_family().attribute_names:
        value = getattr(mixture, name)
        for array in value if isinstance(value, tuple) else [value]:
            if isinstance(array, np.ndarray) and array.ndim > 0:
                yield name, array


@both_mixtures
@all_types
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_writing_one_number_of_any_attribute_is_noticed(make, covariance_type, dtype):
    rows = list(batches(3, 100, dtype=dtype))
    mixture = learned(make(3, covariance_type=covariance_type, random_state=0), rows[:2])
    n_arrays = len(list(fitted_arrays(mixture)))
    assert n_arrays >= 5
    for i in range(n_arrays):
        changed = copy.deepcopy(mixture)
        name, array = list(fitted_arrays(changed))[i]
        array.flat[-1] = np.nextafter(array.flat[-1], array.dtype.type(np.inf))
        changed.partial_fit(rows[2])
        assert changed.n_batch_iter_ == 1, name


@every_mixture
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_arrays_of_former_batches_are_nobodys(make, dtype):
    """The mixture goes by the attributes that it has, and by no array that it had."""
    rows = list(batches(6, 100, dtype=dtype))
    alone = learned(make(3, random_state=0), rows)
    mixture, held = make(3, random_state=0), []
    for batch in rows:
        mixture.partial_fit(batch)
        for _, array in held:
            array[...] = np.nan
        held = list(fitted_arrays(mixture))
    for (name, array), (_, expected) in zip(held, fitted_arrays(alone), strict=True):
        np.testing.assert_array_equal(array, expected, err_msg=name)
    assert mixture.lower_bounds_ == alone.lower_bounds_
    assert mixture.n_batch_iter_ == 6


@both_mixtures
def test_the_constructors_arrays_are_not_written_to(make):
    rows = list(batches(3, 100))
    given = {"means_init": rows[0][:3].copy()}
    if make is GaussianMixture:
        given |= {
            "weights_init": np.full(3, 1 / 3),
            "precisions_init": np.tile(np.eye(3), (3, 1, 1)),
        }
    else:
        given = {"mean_prior": np.zeros(3), "covariance_prior": np.eye(3)}
    kept = copy.deepcopy(given)
    mixture = make(3, random_state=0, **given)
    for fit in (mixture.initialize, mixture.partial_fit, mixture.partial_fit):
        fit(rows[0])
        for _, array in fitted_arrays(mixture):
            array += 0.25
    for name, array in kept.items():
        np.testing.assert_array_equal(given[name], array)


class Exponential(ComponentFamily):
    """Waiting times, whose parameters are in the same memory every time."""

    attribute = "rates_"

    def __init__(self):
        self._memory = np.empty((2, 1))

    def log_densities(self, theta, n_features):
        return LogJoint(np.log(theta).sum(axis=1), Linear(-theta))

    def maximize(self, statistics, weight):
        return np.divide(weight[:, np.newaxis], statistics, out=self._memory)


def test_a_family_may_return_the_same_memory_every_time():
    rng = np.random.default_rng(0)
    rows = [rng.exponential(np.repeat([0.1, 5.0], 100))[:, np.newaxis] for _ in range(4)]
    mixture = learned(Mixture(Exponential(), 2, random_state=0), rows)
    assert mixture.n_batch_iter_ == 4
    before = mixture.rates_.copy()
    mixture.family._memory[:] = -1.0
    np.testing.assert_array_equal(mixture.rates_, before)


def test_a_callbacks_copy_may_be_written_to():
    (rows,) = batches(1, 300)

    def write(progress):
        for _, array in fitted_arrays(progress.fitted_estimator()):
            array[...] = np.nan

    arguments = {"random_state": 0, "max_iter": 5, "tol": 0.0}
    for make in (GaussianMixture, BayesianGaussianMixture):
        fitted = make(3, **arguments).fit(rows, callback=write)
        np.testing.assert_array_equal(fitted.means_, make(3, **arguments).fit(rows).means_)


def test_parameters_are_checked_again_where_they_have_changed(monkeypatch):
    """Arrays are for what they are: what they hold is checked where they are used."""
    rows = list(batches(3, 100))
    mixture = GaussianMixture(3, means_init=rows[0][:3], random_state=np.random.RandomState(0))
    mixture.partial_fit(rows[0])
    checked, check = [], _param_validation.validate_parameter_constraints

    def note(constraints, parameters, **arguments):
        checked.append(parameters)
        return check(constraints, parameters, **arguments)

    monkeypatch.setattr("sklearn.base.validate_parameter_constraints", note)
    mixture.set_params(means_init=rows[0][3:6]).partial_fit(rows[1])
    assert not checked
    mixture.set_params(tol=0.125).partial_fit(rows[2])
    assert len(checked) == 1
    for name in ("tol", "n_components", "random_state", "backend"):
        with pytest.raises(ValueError, match=f"The '{name}' parameter"):
            copy.copy(mixture).set_params(**{name: np.ones(3)}).partial_fit(rows[2])


@both_mixtures
def test_rows_are_checked_as_scikit_learn_does(make):
    pandas = pytest.importorskip("pandas")
    rows = list(batches(3, 100))
    mixture = make(3, random_state=0).partial_fit(rows[0])
    for wrong, message in (
        (rows[1][:, :2], "X has 2 features, but .* is expecting 3 features"),
        (rows[1][0], "Expected 2D array, got 1D array"),
        (rows[1][:0], "Found array with 0 sample"),
        (rows[1][np.newaxis], "Found array with dim 3"),
    ):
        with pytest.raises(ValueError, match=message):
            mixture.partial_fit(wrong)
    named = make(3, random_state=0).partial_fit(pandas.DataFrame(rows[0], columns=list("abc")))
    with pytest.warns(UserWarning, match="X does not have valid feature names"):
        named.partial_fit(rows[1])


MATRICES = ("covariances_", "precisions_", "precisions_cholesky_")


@both_mixtures
@all_types
def test_matrices_are_copied_when_they_are_asked_for(make, covariance_type):
    rows = list(batches(4, 100))
    mixture = learned(make(3, covariance_type=covariance_type, random_state=0), rows[:2])
    assert not set(MATRICES) & vars(mixture).keys()
    assert all(hasattr(copied, "covariances_") for copied in (copy.copy(mixture), mixture))
    asked = copy.deepcopy(mixture)
    held = {name: getattr(asked, name) for name in MATRICES}
    assert all(getattr(asked, name) is value for name, value in held.items())
    both = [pickle.loads(pickle.dumps(one)) for one in (asked, mixture)]
    for one in (asked, mixture, *both):
        one.partial_fit(rows[2])
        assert one.n_batch_iter_ == 3
    for name, value in held.items():
        assert getattr(asked, name) is not value
        for one in both:
            np.testing.assert_array_equal(getattr(one, name), getattr(mixture, name))
    # What is held is the mixture's no more.
    for value in held.values():
        np.ravel(value)[...] = np.nan
    np.testing.assert_array_equal(
        asked.partial_fit(rows[3]).covariances_, mixture.partial_fit(rows[3]).covariances_
    )


def test_without_a_fit_there_are_no_matrices():
    for name in MATRICES:
        with pytest.raises(AttributeError, match=f"'GaussianMixture' object .* '{name}'"):
            getattr(GaussianMixture(2), name)


@both_mixtures
def test_a_batch_that_fails_leaves_matrices_to_ask_for(make):
    rows = list(batches(2, 100))
    mixture = learned(make(3, random_state=0), rows)
    expected = copy.deepcopy(mixture).covariances_
    with pytest.raises(ValueError, match="NaN"):
        mixture.partial_fit(np.full_like(rows[0], np.nan))
    np.testing.assert_array_equal(mixture.covariances_, expected)
