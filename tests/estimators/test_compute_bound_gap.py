"""What truncation has cost a fit: the gap between its bound and that of whole posteriors."""

from __future__ import annotations

import contextlib

import numpy as np
import pytest
from sklearn.base import clone

import vbfast
from vbfast import BayesianGaussianMixture, GaussianMixture, Mixture, config_context
from vbfast.families import Gaussian
from vbfast.passes.truncated_runner import TruncatedRunner

pytestmark = pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")

TYPES = ["full", "tied", "diag", "spherical"]


def gaussian_family(n_components, *, covariance_type="full", **arguments):
    return Mixture(Gaussian(covariance_type), n_components, **arguments)


every_mixture = pytest.mark.parametrize(
    "make", [GaussianMixture, BayesianGaussianMixture, gaussian_family]
)


@pytest.fixture(name="X")
def rows(rng):
    """Rows of groups that overlap."""
    centres = 3.0 * rng.normal(size=(15, 3))
    return centres[rng.integers(15, size=900)] + rng.normal(size=(900, 3))


@pytest.fixture
def kept_in_the_end(monkeypatch):
    """What the rows of fits keep when their gap is measured, in a list."""
    found, measured = [], TruncatedRunner.bound_gap

    def bound_gap(runner, log_joint):
        found.append(runner.kept.copy())
        return measured(runner, log_joint)

    monkeypatch.setattr(TruncatedRunner, "bound_gap", bound_gap)
    return found


def gap_of(mixture, X, kept, sample_weight=None):
    """Return the mean KL of posteriors on what rows keep, from the posteriors of a mixture."""
    log_joint = mixture.log_joint(X).astype(np.float64)
    bound = vbfast.logsumexp(np.take_along_axis(log_joint, kept.astype(np.int64), 1), axis=1)
    return np.average(vbfast.logsumexp(log_joint, axis=1) - bound, weights=sample_weight)


@pytest.mark.parametrize("covariance_type", TYPES)
@pytest.mark.parametrize("dtype", [np.float64, np.float32])
@pytest.mark.parametrize("weighted", [False, True])
@every_mixture
def test_it_is_the_mean_kl_of_what_rows_keep(
    X, rng, make, covariance_type, dtype, weighted, kept_in_the_end
):
    X = X.astype(dtype)
    sample_weight = rng.integers(0, 3, size=len(X)).astype(float) if weighted else None
    mixture = make(
        14,
        covariance_type=covariance_type,
        truncation=2,
        n_neighbors=4,
        compute_bound_gap=True,
        max_iter=4,
        random_state=0,
    ).fit(X, sample_weight=sample_weight)
    [kept] = kept_in_the_end
    gap = gap_of(mixture, X, kept, sample_weight)
    tolerance = 1e-10 if dtype == np.float64 else 2e-5
    assert gap > 1e-3
    assert mixture.bound_gap_ == pytest.approx(gap, abs=tolerance)


@every_mixture
def test_with_all_kept_it_is_zero_but_for_rounding(X, make):
    mixture = make(6, truncation=6, compute_bound_gap=True, random_state=0).fit(X)
    assert 0.0 <= mixture.bound_gap_ < 1e-12


@every_mixture
@pytest.mark.parametrize("arguments", [{}, {"truncation": "auto"}, {"batch_size": 200}])
@pytest.mark.filterwarnings("ignore:rows seem to be sorted")
def test_whole_posteriors_have_none(X, make, arguments):
    mixture = make(4, compute_bound_gap=True, random_state=0, **arguments).fit(X)
    assert mixture.bound_gap_ == 0.0


@every_mixture
def test_it_changes_nothing_else(X, make):
    arguments = {"n_components": 12, "truncation": 2, "n_init": 2, "random_state": 0}
    arguments |= {"max_iter": 5, "init_params": "random_from_data"}
    plain, measured = make(**arguments), make(compute_bound_gap=True, **arguments)
    plain.fit(X)
    measured.fit(X)
    assert not hasattr(plain, "bound_gap_")
    assert (plain.lower_bounds_, plain.n_passes_) == (measured.lower_bounds_, measured.n_passes_)
    np.testing.assert_array_equal(plain.means_, measured.means_)
    assert clone(measured).compute_bound_gap is True


def test_it_is_that_of_the_start_that_is_kept(X, kept_in_the_end):
    mixture = GaussianMixture(
        12, truncation=2, compute_bound_gap=True, n_init=6, max_iter=3,
        init_params="random_from_data", random_state=0,
    ).fit(X)  # fmt: skip
    assert 1 <= len(kept_in_the_end) < 6  # of each that was the best so far
    assert mixture.bound_gap_ == pytest.approx(gap_of(mixture, X, kept_in_the_end[-1]), abs=1e-10)


@every_mixture
def test_the_number_of_threads_does_not_matter(X, make):
    gaps = []
    for num_threads in (1, 3):
        with config_context(num_threads=num_threads):
            mixture = make(12, truncation=2, compute_bound_gap=True, max_iter=3, random_state=0)
            gaps.append(mixture.fit(X).bound_gap_)
    assert gaps[0] == gaps[1] > 0.0


class StoppedError(Exception):
    """What ends a fit in the middle."""


def test_files_and_checkpoints_hold_it(X, tmp_path):
    arguments = {"truncation": 2, "max_iter": 4, "n_init": 3, "random_state": 0}
    arguments |= {"init_params": "random_from_data", "compute_bound_gap": True}
    expected = GaussianMixture(12, **arguments).fit(X)
    expected.save(tmp_path / "mixture.npz")
    loaded = vbfast.load(tmp_path / "mixture.npz")
    assert (loaded.bound_gap_, loaded.compute_bound_gap) == (expected.bound_gap_, True)
    path = tmp_path / "checkpoint.npz"
    for at in ((1, 2), (2, 3)):
        mixture = GaussianMixture(12, checkpoint=path, checkpoint_interval=0.0, **arguments)

        def callback(iteration, at=at):
            if (iteration.initialization, iteration.iteration) == at:
                raise StoppedError

        with contextlib.suppress(StoppedError):
            mixture.fit(X, callback=callback)
    assert mixture.fit(X).bound_gap_ == expected.bound_gap_
    with pytest.warns(UserWarning, match="has the end of this very fit"):
        again = clone(mixture).fit(X)
    assert again.bound_gap_ == expected.bound_gap_


@pytest.mark.parametrize("damaged", [np.array(-1.0), np.array([0.5]), np.array("a")])
def test_a_damaged_file(X, tmp_path, damaged):
    path = tmp_path / "mixture.npz"
    GaussianMixture(3, compute_bound_gap=True, random_state=0).fit(X).save(path)
    with np.load(path) as file:
        arrays = dict(file)
    np.savez(path, **(arrays | {"bound_gap": damaged}))
    with pytest.raises(ValueError, match="bound_gap must be a number that is not negative"):
        vbfast.load(path)


def test_other_parameters_have_no_gap(X):
    mixture = GaussianMixture(12, truncation=2, compute_bound_gap=True, random_state=0).fit(X)
    assert hasattr(mixture, "bound_gap_")
    assert not hasattr(mixture.partial_fit(X[:200]), "bound_gap_")


@every_mixture
def test_it_is_a_flag(X, make):
    with pytest.raises(ValueError, match="compute_bound_gap"):
        make(3, compute_bound_gap="yes").fit(X)
