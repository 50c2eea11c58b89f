"""Accelerators on maps whose fixed point is known, and on mixtures."""

from __future__ import annotations

import warnings

import numpy as np
import pytest
from sklearn.exceptions import ConvergenceWarning

from vbfast.engine.contract import COVARIANCE_TYPES
from vbfast.engine.rows import as_row_source
from vbfast.estimators import BayesianGaussianMixture, GaussianMixture
from vbfast.families.gaussian import GaussianParameters, MaximumLikelihood
from vbfast.families.linalg import NotPositiveDefiniteError
from vbfast.inference.acceleration import Anderson, Squarem, make_accelerator
from vbfast.inference.em import EARLY, Ascent, ascend

EPS = float(np.finfo(np.float64).eps)
both = pytest.mark.parametrize("accelerate", ["squarem", "anderson"])


class Identity:
    """Vectors are their own coordinates."""

    def __init__(self, forbidden=np.inf):
        self.forbidden = forbidden

    def vector(self, parameters):
        return parameters

    def metric(self, parameters):
        return np.ones_like(parameters)

    def parameters(self, vector, image):
        if np.abs(vector).max() > self.forbidden:
            raise NotPositiveDefiniteError(0)
        return vector


def iterate(accelerator, rates, start, n_passes):
    """Follow every proposal for the map x -> rates * x, whose fixed point is zero."""
    x = start
    for _ in range(n_passes):
        image = rates * x
        proposal = accelerator.propose(x, image)
        x = image if proposal is None else proposal
    return np.abs(x).max()


def test_squarem_solves_a_map_with_one_rate():
    accelerator = Squarem(Identity())
    x0 = np.array([1.0, -2.0])
    x1 = 0.7 * x0
    assert accelerator.propose(x0, x1) is None
    np.testing.assert_allclose(accelerator.propose(x1, 0.7 * x1), 0.0, atol=1e-14)


def test_squarem_on_a_linear_map():
    rates, start = np.array([0.99, 0.9, 0.5]), np.ones(3)
    assert iterate(Squarem(Identity()), rates, start, 60) < 0.01 * 0.99**60


def test_squarem_steps_are_limited_and_the_limit_grows():
    accelerator = Squarem(Identity())
    x0 = np.ones(1)
    x1 = 0.99 * x0  # |r| / |v| is 100
    x2 = 0.99 * x1
    accelerator.propose(x0, x1)
    limit = Squarem.FIRST_LIMIT
    r, v = x1 - x0, x2 - 2 * x1 + x0
    np.testing.assert_allclose(accelerator.propose(x1, x2), x0 + 2 * limit * r + limit**2 * v)
    # A point that is not the last image: the proposal was accepted.
    accelerator.propose(y0 := 0.9 * x0, y1 := 0.99 * y0)
    proposal = accelerator.propose(y1, 0.99 * y1)
    limit *= Squarem.GROWTH
    r, v = y1 - y0, 0.99 * y1 - 2 * y1 + y0
    np.testing.assert_allclose(proposal, y0 + 2 * limit * r + limit**2 * v)
    accelerator.refused()
    # The image of the refused proposal's pair follows: a proposal after one plain step.
    y2 = 0.99 * y1
    assert accelerator.propose(y2, 0.99 * y2) is None  # y2 is a new array, not that image


def test_squarem_proposes_again_after_a_refusal_and_a_plain_step():
    accelerator = Squarem(Identity())
    x = [0.9**n * np.ones(2) for n in range(4)]
    accelerator.propose(x[0], x[1])
    assert accelerator.propose(x[1], x[2]) is not None
    accelerator.refused()
    assert accelerator.propose(x[2], x[3]) is not None


def test_squarem_where_steps_disagree_goes_half_again_as_far():
    x = [np.array(values) for values in ([0.0, 0.0], [1.0, 0.0], [1.0, 1.0], [2.0, 1.0])]
    accelerator = Squarem(Identity())
    accelerator.propose(x[0], x[1])
    r, v = x[1] - x[0], x[2] - 2 * x[1] + x[0]
    expected = x[0] + 2 * 1.5 * r + 1.5**2 * v
    np.testing.assert_allclose(accelerator.propose(x[1], x[2]), expected)
    accelerator.refused()
    assert accelerator.propose(x[2], x[3]) is None
    assert accelerator.propose(x[3], np.array([2.0, 2.0])) is not None


def test_anderson_without_damping_solves_a_linear_map():
    """With as many differences as rates the secant equations are exact."""
    rates, start = np.array([0.95, 0.8, 0.5]), np.ones(3)
    accelerator = Anderson(Identity(), order=3, kappa=-200.0)
    assert iterate(accelerator, rates, start, 5) < 1e-9


def test_anderson_with_damping_is_faster_than_plain_steps():
    rates, start = np.linspace(0.1, 0.99, 20), np.ones(20)
    assert iterate(Anderson(Identity()), rates, start, 60) < 0.01 * 0.99**60


def test_anderson_does_not_go_back_to_a_plateau():
    """Steps that grow: the map moves away from zero, where its residual is smallest."""
    accelerator = Anderson(Identity())
    x = 1e-3 * np.ones(2)
    for _ in range(10):
        assert accelerator.propose(x, 1.5 * x) is None
        x = 1.5 * x


def test_the_damped_solution_has_the_length_that_it_should(rng):
    bends, step = rng.normal(size=(3, 10)), rng.normal(size=10)
    accelerator = Anderson(Identity(), kappa=4.0)
    full = np.linalg.lstsq(bends.T, step, rcond=None)[0]
    part = np.square(accelerator._damped(bends, step)).sum() / np.square(full).sum()
    np.testing.assert_allclose(part, 1 / (1 + 1.2**4.0), rtol=1e-6)


@pytest.mark.parametrize("accelerator", [Squarem, Anderson])
def test_a_map_at_its_fixed_point_proposes_nothing(accelerator):
    accelerator = accelerator(Identity())
    x = np.ones(2)
    for _ in range(5):
        assert accelerator.propose(x, x) is None


@pytest.mark.parametrize("accelerator", [Squarem, Anderson])
def test_no_proposal_where_there_are_no_parameters(accelerator):
    accelerator = accelerator(Identity(forbidden=0.0))
    x = np.ones(2)
    for _ in range(4):
        assert accelerator.propose(x, x := 0.95 * x) is None


def test_by_name():
    assert isinstance(make_accelerator("squarem", Identity()), Squarem)
    assert isinstance(make_accelerator("anderson", Identity()), Anderson)
    assert make_accelerator(None, Identity()) is None


@pytest.fixture(scope="module")
def overlapping():
    rng = np.random.default_rng(3)
    centres = 1.2 * rng.normal(size=(3, 2))
    return rng.normal(size=(1500, 2)) + centres[rng.integers(3, size=1500)]


def fit_quietly(mixture, rows):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)
        return mixture.fit(rows)


@both
@pytest.mark.parametrize("estimator", [GaussianMixture, BayesianGaussianMixture])
@pytest.mark.parametrize("covariance_type", COVARIANCE_TYPES)
def test_bounds_rise_and_end_as_high_in_fewer_passes(
    overlapping, accelerate, estimator, covariance_type
):
    arguments = {"covariance_type": covariance_type, "random_state": 0, "reg_covar": 0.0}
    arguments |= {"tol": 1e-7, "max_iter": 5000}
    plain = estimator(3, **arguments).fit(overlapping)
    fast = estimator(3, accelerate=accelerate, **arguments).fit(overlapping)
    bounds = np.array(fast.lower_bounds_)
    assert np.diff(bounds).min() > -1e-12 * max(1.0, np.abs(bounds).max())
    assert fast.converged_
    assert fast.n_iter_ == len(bounds) <= fast.n_passes_ <= 2 * fast.n_iter_
    assert plain.n_passes_ == plain.n_iter_
    per_row = 1.0 if estimator is GaussianMixture else len(overlapping)
    assert fast.lower_bound_ > plain.lower_bound_ - 1e-3 * per_row
    if plain.n_iter_ > 100:
        assert fast.n_passes_ < {"squarem": 0.7, "anderson": 1.0}[accelerate] * plain.n_iter_


@both
def test_convergence_means_that_a_plain_step_gains_nothing(overlapping, accelerate):
    mixture = GaussianMixture(
        3, random_state=0, tol=1e-6, max_iter=5000, accelerate=accelerate
    ).fit(overlapping)
    mixture.set_params(warm_start=True, accelerate=None, tol=0.0, max_iter=1)
    before = mixture.lower_bound_
    fit_quietly(mixture, overlapping)
    assert abs(mixture.lower_bound_ - before) < 1e-6


@both
def test_a_start_with_empty_components(overlapping, accelerate):
    arguments = {
        "means_init": np.array([[-1.0, 0.0], [1.0, 0.0], [1e3, 1e3], [0.0, 1.0]]),
        "weights_init": np.array([0.5, 0.25, 0.25, 0.0]),
        "precisions_init": np.ones((4, 2)),
        "covariance_type": "diag",
        "max_iter": 60,
        "tol": 0.0,
        "accelerate": accelerate,
    }
    mixture = fit_quietly(GaussianMixture(4, **arguments), overlapping)
    assert np.isfinite(mixture.lower_bounds_).all()
    assert mixture.weights_[2] == mixture.weights_[3] == 0.0
    np.testing.assert_array_equal(mixture.means_[2], [1e3, 1e3])
    assert np.diff(mixture.lower_bounds_).min() > -1e-9


@both
def test_superfluous_components_of_a_posterior(overlapping, accelerate):
    mixture = fit_quietly(
        BayesianGaussianMixture(12, random_state=0, max_iter=300, accelerate=accelerate),
        overlapping,
    )
    bounds = np.array(mixture.lower_bounds_)
    assert np.isfinite(bounds).all()
    assert np.diff(bounds).min() > -1e-6
    assert mixture.n_active_components_ < 12


@both
def test_float32_and_weights(overlapping, accelerate):
    rng = np.random.default_rng(0)
    weight = rng.integers(0, 3, size=len(overlapping)).astype(float)
    mixture = GaussianMixture(3, random_state=0, tol=1e-5, max_iter=1000, accelerate=accelerate)
    mixture.fit(overlapping.astype(np.float32), sample_weight=weight)
    assert mixture.converged_
    assert mixture.means_.dtype == np.float32


class Lower:
    """Proposes what no bound rises to, and remembers what it is told."""

    def __init__(self, proposal):
        self.proposal = proposal
        self.refusals = 0
        self.shown = []

    def propose(self, parameters, image):
        self.shown.append(parameters)
        return self.proposal

    def refused(self):
        self.refusals += 1


@pytest.mark.parametrize("variance", [1e8, 1e-300])
def test_refused_proposals_leave_plain_iterations(overlapping, variance):
    def mixture(scale):
        return GaussianParameters.from_covariances(
            "diag", np.full(2, 0.5), np.array([[-1.0, 0.0], [1.0, 0.0]]), np.full((2, 2), scale)
        )

    source, objective = as_row_source(overlapping), MaximumLikelihood("diag", 0.0, EPS)
    accelerator = Lower(mixture(variance))
    plain = ascend(source, mixture(1.0), objective, Ascent(0.0, 5))
    safe = ascend(source, mixture(1.0), objective, Ascent(0.0, 5), accelerator=accelerator)
    assert safe.lower_bounds == plain.lower_bounds
    np.testing.assert_array_equal(safe.parameters.means, plain.parameters.means)
    # Nothing is proposed while iterations raise the bound by much of the rise so far, nor after
    # the last.
    bounds = np.array(plain.lower_bounds[:-1])
    late = np.diff(bounds) <= EARLY * (bounds[1:] - bounds[0])
    assert accelerator.refusals == late.sum() > 0
    assert safe.n_passes == 5 + accelerator.refusals
    assert not any(shown is accelerator.proposal for shown in accelerator.shown)


def test_an_unknown_name(overlapping):
    with pytest.raises(ValueError, match="accelerate"):
        GaussianMixture(2, accelerate="newton").fit(overlapping)
