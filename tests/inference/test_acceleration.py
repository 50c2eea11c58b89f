"""The accelerator on maps whose fixed point is known, and on mixtures."""

from __future__ import annotations

import warnings

import numpy as np
import pytest
from sklearn.exceptions import ConvergenceWarning

from vbfast.contract import COVARIANCE_TYPES, NotPositiveDefiniteError, Request
from vbfast.estimators import BayesianGaussianMixture, GaussianMixture
from vbfast.families.gaussian import Gaussian
from vbfast.families.gaussian_parameters import GaussianParameters
from vbfast.families.variational import VariationalGaussian
from vbfast.inference.acceleration import Squarem, make_accelerator
from vbfast.inference.em import Stopping, run_em
from vbfast.passes.rows import as_row_source
from vbfast.passes.runner import LocalRunner

F8 = np.dtype(np.float64)
EPS = float(np.finfo(F8).eps)
both = pytest.mark.parametrize("estimator", [GaussianMixture, BayesianGaussianMixture])


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


def length_of(proposal, x0, rate):
    """How many plain steps a proposal for a map with one rate squares: ``a`` in (1 - a (1 - r))^2.

    On such a map it multiplies ``x_0`` by that; two plain steps are ``a = 1``.
    """
    return float((1.0 - np.sqrt(proposal / x0)[0]) / (1.0 - rate))


def test_squarem_goes_farther_as_long_as_that_is_accepted():
    rate = 0.9999  # at which the scheme without a limit would square ten thousand steps at once
    accelerator = Squarem(Identity())
    lengths, x = [], np.ones(1)
    for _ in range(4):
        image = rate * x
        assert accelerator.propose(x, image) is None
        proposal = accelerator.propose(image, rate * image)
        lengths.append(length_of(proposal, x, rate))
        x = proposal
    assert 1.0 < lengths[0] < 20.0
    assert np.all(np.diff(lengths) > 0.0)
    assert lengths[-1] < 10_000.0


def test_squarem_goes_less_far_after_a_refusal():
    rate = 0.9999
    accelerator = Squarem(Identity())
    x = [rate**n * np.ones(1) for n in range(3)]
    accelerator.propose(x[0], x[1])
    proposal = accelerator.propose(x[1], x[2])
    y = [rate**n * proposal for n in range(4)]
    accelerator.propose(y[0], y[1])
    longer = length_of(accelerator.propose(y[1], y[2]), y[0], rate)
    accelerator.refused()
    assert length_of(accelerator.propose(y[2], y[3]), y[1], rate) < longer


def test_squarem_proposes_again_after_a_refusal_and_a_plain_step():
    accelerator = Squarem(Identity())
    x = [0.9**n * np.ones(2) for n in range(4)]
    accelerator.propose(x[0], x[1])
    assert accelerator.propose(x[1], x[2]) is not None
    accelerator.refused()
    assert accelerator.propose(x[2], x[3]) is not None


def test_squarem_waits_longer_after_every_refusal_in_a_row():
    accelerator, x = Squarem(Identity()), np.ones(1)
    accelerator.propose(x, x := 0.9 * x)
    waits = []
    for _ in range(4):
        wait = 0
        while accelerator.propose(x, x := 0.9 * x) is None:
            wait += 1
        accelerator.refused()
        waits.append(wait)
    assert waits[:2] == [0, 0]
    assert np.all(np.diff(waits[1:]) > 0)


def test_squarem_proposes_soon_again_once_a_proposal_was_accepted():
    accelerator, x = Squarem(Identity()), np.ones(1)
    accelerator.propose(x, x := 0.9 * x)
    for _ in range(5):
        while (proposal := accelerator.propose(x, x := 0.9 * x)) is None:
            pass
        accelerator.refused()
    while (proposal := accelerator.propose(x, x := 0.9 * x)) is None:
        pass
    x = [0.9**n * proposal for n in range(3)]
    assert accelerator.propose(x[0], x[1]) is None
    assert accelerator.propose(x[1], x[2]) is not None


@pytest.mark.parametrize(
    ("rate", "step_there", "settles"),
    [
        (0.9, 0.45, True),  # plain steps, the first of length one, become shorter,
        (0.9, 1.8, False),
        (1.1, 0.5, True),  # and on leaving a fixed point longer,
        (1.1, 1.3, True),  # those at a proposal more than the next of them,
        (1.1, 300.0, False),
    ],
)
def test_squarem_tells_whether_a_proposal_settles_by_its_step(rate, step_there, settles):
    accelerator, x = Squarem(Identity()), [np.array([rate**n / (rate - 1.0)]) for n in range(3)]
    accelerator.propose(x[0], x[1])
    proposal = accelerator.propose(x[1], x[2])
    assert accelerator.settles(proposal, proposal + step_there) is settles


def test_squarem_where_steps_disagree_goes_farther_than_they_do_until_refused():
    x = [np.array(values) for values in ([0.0, 0.0], [1.0, 0.0], [1.0, 1.0], [2.0, 1.0])]
    accelerator = Squarem(Identity())
    accelerator.propose(x[0], x[1])
    proposal = accelerator.propose(x[1], x[2])
    assert np.linalg.norm(proposal - x[0]) > np.linalg.norm(x[2] - x[0])
    accelerator.refused()
    assert accelerator.propose(x[2], x[3]) is None
    assert accelerator.propose(x[3], np.array([2.0, 2.0])) is not None


def test_a_map_at_its_fixed_point_proposes_nothing():
    accelerator = Squarem(Identity())
    x = np.ones(2)
    for _ in range(5):
        assert accelerator.propose(x, x) is None


def test_no_proposal_where_there_are_no_parameters():
    accelerator = Squarem(Identity(forbidden=0.0))
    x = np.ones(2)
    for _ in range(4):
        assert accelerator.propose(x, x := 0.95 * x) is None


def test_no_proposal_from_steps_whose_squares_are_no_numbers():
    accelerator = Squarem(Identity())
    x = 1e200 * np.ones(2)
    for _ in range(4):
        assert accelerator.propose(x, x := 0.95 * x) is None


def test_by_name():
    assert isinstance(make_accelerator("squarem", Identity()), Squarem)
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
@pytest.mark.parametrize("covariance_type", COVARIANCE_TYPES)
def test_bounds_rise_and_end_as_high_in_fewer_passes(overlapping, estimator, covariance_type):
    arguments = {"covariance_type": covariance_type, "random_state": 0, "reg_covar": 0.0}
    arguments |= {"tol": 1e-7, "max_iter": 5000}
    plain = estimator(3, **arguments).fit(overlapping)
    fast = estimator(3, accelerate="squarem", **arguments).fit(overlapping)
    bounds = np.array(fast.lower_bounds_)
    assert np.diff(bounds).min() > -1e-12 * max(1.0, np.abs(bounds).max())
    assert fast.converged_
    assert fast.n_iter_ == len(bounds) <= fast.n_passes_ <= 2 * fast.n_iter_
    assert plain.n_passes_ == plain.n_iter_
    per_row = 1.0 if estimator is GaussianMixture else len(overlapping)
    assert fast.lower_bound_ > plain.lower_bound_ - 1e-3 * per_row
    if plain.n_iter_ > 100:
        assert fast.n_passes_ < 0.7 * plain.n_iter_


@both
@pytest.mark.parametrize("covariance_type", COVARIANCE_TYPES)
def test_where_plain_iterations_lower_the_bound(overlapping, estimator, covariance_type):
    """A variance that is added to all, as large as the rows' own: the end is the same, and sooner.

    Steps that had to raise the bound would all be refused.
    """
    arguments = {"covariance_type": covariance_type, "random_state": 0, "reg_covar": 1.0}
    arguments |= {"tol": 1e-7, "max_iter": 5000}
    plain = estimator(3, **arguments).fit(overlapping)
    fast = estimator(3, accelerate="squarem", **arguments).fit(overlapping)
    per_row = 1.0 if estimator is GaussianMixture else len(overlapping)
    assert np.diff(plain.lower_bounds_).min() < -1e-3 * per_row
    assert fast.converged_
    assert fast.lower_bound_ > plain.lower_bound_ - 1e-4 * per_row
    assert fast.n_passes_ < plain.n_passes_
    np.testing.assert_allclose(
        np.sort(fast.means_, axis=0), np.sort(plain.means_, axis=0), atol=0.05
    )


@both
@pytest.mark.parametrize("covariance_type", COVARIANCE_TYPES)
def test_a_large_reg_covar_costs_no_passes(estimator, covariance_type):
    """Plain iterations may lower the merit then, on their way from its maximum to their end."""
    arguments = {"covariance_type": covariance_type, "reg_covar": 0.3, "max_iter": 3000}
    arguments["tol"] = 1e-8 * (1 if estimator is GaussianMixture else 200)
    plain_passes, fast_passes = [], []
    for seed in range(10):
        rng = np.random.default_rng(seed)
        n_clusters, n_features = int(rng.integers(2, 5)), int(rng.integers(1, 4))
        centres = 2.0 * rng.normal(size=(n_clusters, n_features))
        rows = centres[rng.integers(n_clusters, size=200)]
        rows = rows + rng.normal(size=rows.shape) * rng.uniform(0.3, 1.2, size=n_features)
        plain = estimator(3, random_state=seed, **arguments).fit(rows)
        fast = estimator(3, random_state=seed, accelerate="squarem", **arguments).fit(rows)
        plain_passes.append(plain.n_passes_)
        fast_passes.append(fast.n_passes_)
        assert fast.converged_
    assert np.all(np.array(fast_passes) <= 1.05 * np.array(plain_passes) + 1)
    assert sum(fast_passes) < 0.6 * sum(plain_passes)


@both
def test_plain_iterations_climb_the_merit(overlapping, estimator, monkeypatch):
    """Where all precisions have one trace, whatever they do to the bound."""
    mixture = estimator(
        3, covariance_type="tied", random_state=0, reg_covar=1.0, tol=1e-6, max_iter=1000
    )
    family = {GaussianMixture: Gaussian, BayesianGaussianMixture: VariationalGaussian}[estimator]
    merits, lower_bound = [], family.lower_bound

    def recording(self, *arguments):
        bound = lower_bound(self, *arguments)
        merits.append(self.merit(bound, *arguments))
        return bound

    monkeypatch.setattr(family, "lower_bound", recording)
    mixture.fit(overlapping, callback=lambda _: False)  # it is watched: every bound is Python's
    scale = np.abs(mixture.lower_bounds_).max()
    assert np.diff(mixture.lower_bounds_).min() < -1e-4 * scale
    assert len(merits) == mixture.n_iter_
    assert np.diff(merits).min() > -1e-12 * scale


@pytest.mark.parametrize("covariance_type", COVARIANCE_TYPES)
def test_merit_of_a_posterior_is_the_bound_of_rows_with_noise(overlapping, covariance_type):
    """The noise's mean over 2 D points with its mean and covariance is exact for quadratics."""
    reg_covar = 0.7
    mixture = fit_quietly(
        BayesianGaussianMixture(
            3, covariance_type=covariance_type, random_state=0, reg_covar=reg_covar, max_iter=2
        ),
        overlapping,
    )
    runner, previous = LocalRunner(as_row_source(overlapping)), mixture._fitted_parameters()
    objective = mixture._fitted_family()
    sums = runner.run(previous.log_joint(), Request(moments=objective.moments))
    updated = objective.global_step(sums, previous, runner.linalg)
    bound = objective.lower_bound(sums, previous, updated)
    merit = objective.merit(bound, sums, previous, updated)

    resp, stepped = mixture.predict_proba(overlapping), mixture._holding(updated)
    assert bound == pytest.approx(stepped.elbo(overlapping, resp).total, rel=1e-9)
    points = np.sqrt(2.0 * reg_covar) * np.eye(2)
    noisy = [stepped.elbo(overlapping + e, resp).total for e in (*points, *-points)]
    assert merit == pytest.approx(np.mean(noisy), rel=1e-9)
    assert merit < bound - 100.0


def test_convergence_means_that_a_plain_step_gains_nothing(overlapping):
    mixture = GaussianMixture(3, random_state=0, tol=1e-6, max_iter=5000, accelerate="squarem")
    mixture.fit(overlapping)
    mixture.set_params(warm_start=True, accelerate=None, tol=0.0, max_iter=1)
    before = mixture.lower_bound_
    fit_quietly(mixture, overlapping)
    assert abs(mixture.lower_bound_ - before) < 1e-6


def test_a_start_with_empty_components(overlapping):
    arguments = {
        "means_init": np.array([[-1.0, 0.0], [1.0, 0.0], [1e3, 1e3], [0.0, 1.0]]),
        "weights_init": np.array([0.5, 0.25, 0.25, 0.0]),
        "precisions_init": np.ones((4, 2)),
        "covariance_type": "diag",
        "max_iter": 60,
        "tol": 0.0,
        "accelerate": "squarem",
    }
    mixture = fit_quietly(GaussianMixture(4, **arguments), overlapping)
    assert np.isfinite(mixture.lower_bounds_).all()
    assert mixture.weights_[2] == mixture.weights_[3] == 0.0
    np.testing.assert_array_equal(mixture.means_[2], [1e3, 1e3])
    assert np.diff(mixture.lower_bounds_).min() > -1e-9


def test_superfluous_components_of_a_posterior(overlapping):
    mixture = fit_quietly(
        BayesianGaussianMixture(12, random_state=0, max_iter=300, accelerate="squarem"),
        overlapping,
    )
    bounds = np.array(mixture.lower_bounds_)
    assert np.isfinite(bounds).all()
    assert np.diff(bounds).min() > -1e-6
    assert mixture.n_active_components_ < 12


def test_float32_and_weights(overlapping):
    rng = np.random.default_rng(0)
    weight = rng.integers(0, 3, size=len(overlapping)).astype(float)
    mixture = GaussianMixture(3, random_state=0, tol=1e-5, max_iter=1000, accelerate="squarem")
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


@pytest.mark.parametrize("variance", [1e8, 1e-300, 1e-320])
def test_refused_proposals_leave_plain_iterations(overlapping, variance):
    def mixture(scale):
        return GaussianParameters.from_covariances(
            "diag", np.full(2, 0.5), np.array([[-1.0, 0.0], [1.0, 0.0]]), np.full((2, 2), scale)
        )

    runner, objective = LocalRunner(as_row_source(overlapping)), Gaussian("diag", 0.0)
    accelerator = Lower(mixture(variance))
    plain = run_em(runner, mixture(1.0), objective, Stopping(0.0, 5))
    safe = run_em(runner, mixture(1.0), objective, Stopping(0.0, 5), accelerator=accelerator)
    assert safe.lower_bounds == plain.lower_bounds
    np.testing.assert_array_equal(safe.parameters.means, plain.parameters.means)
    # One pass more an iteration at most, and none for the first and the last.
    assert 0 < accelerator.refusals <= 3
    assert safe.n_passes == 5 + accelerator.refusals
    assert not any(shown is accelerator.proposal for shown in accelerator.shown)


@both
@pytest.mark.parametrize("name", ["anderson", "newton"])
def test_an_unknown_name(overlapping, estimator, name):
    with pytest.raises(ValueError, match=f"'accelerate' .* {{'squarem'}} or None. Got '{name}'"):
        estimator(2, accelerate=name).fit(overlapping)
