"""What partial_fit refuses, and how it leaves the mixture then."""

from __future__ import annotations

import pickle
from fractions import Fraction

import numpy as np
import pytest

from streams import MEANS, batches, both_mixtures, learned
from vbfast import BayesianGaussianMixture, GaussianMixture

pytestmark = [
    pytest.mark.kernels,
    pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning"),
    pytest.mark.filterwarnings("ignore:total_samples is None"),
]


@both_mixtures
def test_what_fails_leaves_the_mixture_as_it_was(make):
    rows = list(batches(3, 100))
    broken = rows[2].copy()
    broken[17, 1] = np.nan
    mixture = make(3, random_state=0)
    with pytest.raises(ValueError, match="NaN"):
        mixture.partial_fit(broken)
    assert not [name for name in vars(mixture) if name.endswith("_")]
    learned(mixture, rows[:2])
    before = pickle.dumps(mixture)
    with pytest.raises(ValueError, match="NaN"):
        mixture.partial_fit(broken)
    with pytest.raises(ValueError, match="features"):
        mixture.partial_fit(rows[2][:, :2])
    with pytest.raises(ValueError, match="sample_weight"):
        mixture.partial_fit(rows[2], sample_weight=np.zeros(100))
    assert pickle.dumps(mixture) == before


@both_mixtures
@pytest.mark.parametrize("error", [KeyboardInterrupt, ValueError])
def test_what_fails_after_the_step_takes_its_bound_back(make, error, monkeypatch):
    rows = list(batches(3, 100))
    mixture = learned(make(3, random_state=0), rows[:2])
    bounds, before = mixture.lower_bounds_, pickle.dumps(mixture)

    def fails(*arguments):
        assert len(bounds) == 3
        raise error

    with monkeypatch.context() as patched:
        patched.setattr(make, "_go_on_with", fails)
        with pytest.raises(error):
            mixture.partial_fit(rows[2])
    assert len(bounds) == 2
    assert pickle.dumps(mixture) == before
    mixture.partial_fit(rows[2])
    assert mixture.n_batch_iter_ == len(bounds) == 3


def test_a_first_batch_of_too_few_rows():
    (few,) = batches(1, 2)
    with pytest.raises(ValueError, match=r"n_samples = 2\. The first batch starts"):
        GaussianMixture(3).partial_fit(few)
    start = {
        "weights_init": np.full(3, 1 / 3),
        "means_init": MEANS,
        "precisions_init": np.tile(np.eye(3), (3, 1, 1)),
    }
    mixture = GaussianMixture(3, **start, step_size=0.1)
    for row in batches(300, 1):
        mixture.partial_fit(row)
    assert mixture.n_batch_iter_ == 300


@pytest.mark.parametrize(
    ("name", "wrong"),
    [
        ("learning_decay", 1.5),
        ("learning_decay", -0.1),
        ("learning_decay", Fraction(7, 10)),
        ("step_size", Fraction(1, 2)),
        ("learning_offset", 0.5),
        ("step_size", 1.0),
        ("step_size", 0.0),
        ("total_samples", 0.0),
        ("total_samples", "many"),
    ],
)
def test_parameters_are_checked(name, wrong):
    (rows,) = batches(1, 50)
    with pytest.raises(ValueError, match=f"The '{name}' parameter"):
        GaussianMixture(3, **{name: wrong}).partial_fit(rows)


@pytest.mark.parametrize("number", [np.int64, np.float32])
def test_parameters_may_be_numpys(number):
    arguments = {"learning_decay": 1, "learning_offset": 8, "total_samples": 512}
    numpys = {name: number(value) for name, value in arguments.items()}
    rows = list(batches(3, 100))
    one, other = (
        learned(BayesianGaussianMixture(3, random_state=0, **each), rows)
        for each in (arguments, numpys)
    )
    np.testing.assert_array_equal(one.means_, other.means_)


def test_a_changed_number_of_components_is_refused():
    rows = list(batches(2, 100))
    mixture = GaussianMixture(3, random_state=0).partial_fit(rows[0]).set_params(n_components=4)
    with pytest.raises(ValueError, match="goes on with 3 components, and n_components is now 4"):
        mixture.partial_fit(rows[1])
