"""Natural parameters, and the bound's gradients: central differences and coordinate ascent."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest
from sklearn.exceptions import ConvergenceWarning

from vbfast.contract import COVARIANCE_TYPES, Request
from vbfast.estimators import BayesianGaussianMixture
from vbfast.families.covariances import MOMENTS_OF
from vbfast.families.mixing_weights import Dirichlet, StickBreaking
from vbfast.families.mixture_posterior import MixturePrior
from vbfast.families.natural import NaturalParameters, variational_gradient
from vbfast.families.normal_wishart_prior import NormalWishartPrior
from vbfast.inference.initialisation import initial_statistics
from vbfast.passes.rows import as_row_source
from vbfast.passes.runner import LocalRunner

K, D = 3, 2
FIELDS = [field.name for field in dataclasses.fields(NaturalParameters)]
all_types = pytest.mark.parametrize("covariance_type", COVARIANCE_TYPES)
both_priors = pytest.mark.parametrize("weights", [Dirichlet, StickBreaking])


@pytest.fixture
def runner():
    rng = np.random.default_rng(0)
    return LocalRunner(
        as_row_source(rng.normal(size=(60, D)) + 1.5 * rng.integers(3, size=(60, 1)))
    )


@pytest.fixture
def posterior(runner, covariance_type, weights):
    """One that is far from optimal."""
    scale = np.array([[1.5, 0.4], [0.4, 0.8]])
    covariance = {
        "full": scale,
        "tied": scale,
        "diag": np.diag(scale).copy(),
        "spherical": np.asarray(1.2),
    }[covariance_type]
    prior = MixturePrior(
        weights, 0.8, NormalWishartPrior(covariance_type, 0.6, np.full(D, 0.3), D + 0.7, covariance)
    )
    statistics = initial_statistics(
        runner,
        n_components=K,
        moments=MOMENTS_OF[covariance_type],
        init_params=np.random.default_rng(1).dirichlet(np.ones(K), size=runner.n_samples),
    )
    return prior.posterior(statistics, reg_covar=0.0)


def evaluate(runner, posterior):
    """The bound at the best responsibilities, and what coordinate ascent would set."""
    request = Request(moments=MOMENTS_OF[posterior.components.prior.covariance_type], entropy=True)
    sums = runner.run(posterior.log_joint(), request)
    bound = sums.log_evidence - posterior.weights.kl - posterior.components.kl.sum()
    return bound, posterior.prior.posterior(sums.statistics, reg_covar=0.0)


def assert_same(left, right, rtol=1e-10):
    for name in FIELDS:
        expected = getattr(right, name)
        np.testing.assert_allclose(
            getattr(left, name), expected, rtol=rtol, atol=rtol * np.abs(expected).max()
        )
        assert np.shape(getattr(left, name)) == np.shape(expected)


@all_types
@both_priors
def test_there_and_back(posterior):
    coordinates = NaturalParameters.of(posterior)
    back = coordinates.posterior(posterior)
    assert_same(NaturalParameters.of(back), coordinates)
    for name in ("means", "covariances", "precision_cholesky", "degrees_of_freedom"):
        np.testing.assert_allclose(
            getattr(back.components, name), getattr(posterior.components, name), rtol=1e-9
        )
    assert back.prior == posterior.prior


def test_arithmetic():
    rng = np.random.default_rng(0)
    left, right = (
        NaturalParameters(*(rng.normal(size=shape) for shape in ((2, K), (K,), (K, D), (D, D), ())))
        for _ in range(2)
    )
    results = {
        "sum": (left + right, np.add),
        "difference": (left - right, np.subtract),
        "product": (left * 2, lambda x, _: 2.0 * x),
        # NumPy's numbers must not take the product apart.
        "left product": (np.float64(2.0) * left, lambda x, _: 2.0 * x),
        "step": (left + np.float32(0.5) * right, lambda x, y: x + 0.5 * y),
    }
    for result, function in results.values():
        assert isinstance(result, NaturalParameters)
        for name in FIELDS:
            expected = function(getattr(left, name), getattr(right, name))
            np.testing.assert_array_equal(getattr(result, name), expected)
    for wrong in (lambda: left + 1.0, lambda: left * right, lambda: left - np.ones(3)):
        with pytest.raises(TypeError, match="operand"):
            wrong()


def beyond(coordinates, name, index, value):
    """The coordinates with one value changed."""
    changed = np.array(getattr(coordinates, name))
    changed[index] = value
    return dataclasses.replace(coordinates, **{name: changed})


@all_types
@both_priors
def test_coordinates_outside_of_the_domain(posterior, covariance_type):
    coordinates = NaturalParameters.of(posterior)
    first = {name: (0,) * np.ndim(getattr(coordinates, name)) for name in FIELDS}
    lowest = {"weight_concentration": 0.0, "mean_precision": 0.0, "degrees_of_freedom": D - 1.0}
    for name, limit in lowest.items():
        for value in (limit, limit - 0.5):
            with pytest.raises(ValueError, match=f"{name} must be finite and greater than"):
                beyond(coordinates, name, first[name], value).posterior(posterior)
    just_inside = np.nextafter(D - 1.0, np.inf)
    name = "degrees_of_freedom"
    back = beyond(coordinates, name, first[name], just_inside).posterior(posterior)
    assert np.ravel(back.components.degrees_of_freedom)[0] == just_inside
    for name in FIELDS:
        for value in (np.nan, np.inf, -np.inf):
            with pytest.raises(ValueError, match=f"{name} must be finite"):
                beyond(coordinates, name, first[name], value).posterior(posterior)
        values = getattr(coordinates, name)
        for wrong in (np.append(values, 1.0), np.stack([values, values])):
            changed = dataclasses.replace(coordinates, **{name: wrong})
            with pytest.raises(ValueError, match=f"{name} must have shape"):
                changed.posterior(posterior)
        with pytest.raises(TypeError, match=f"{name} must be real"):
            dataclasses.replace(coordinates, **{name: values + 0j}).posterior(posterior)
        masked = np.ma.array(values, mask=np.zeros(np.shape(values), bool))
        masked[first[name]] = np.ma.masked
        with pytest.raises(TypeError, match=f"{name} is a masked array with 1 masked entry"):
            dataclasses.replace(coordinates, **{name: masked}).posterior(posterior)
    last = () if covariance_type == "tied" else (K - 1,)
    which = "" if covariance_type == "tied" else f" of component {K - 1}"
    with pytest.raises(ValueError, match=f"second_moments{which} must exceed .* positive definite"):
        beyond(coordinates, "second_moments", last, 0.0).posterior(posterior)
    if covariance_type in ("full", "tied"):
        with pytest.raises(ValueError, match="second_moments must be symmetric"):
            beyond(coordinates, "second_moments", (*last, 0, 1), 0.0).posterior(posterior)


@both_priors
@pytest.mark.parametrize("covariance_type", ["diag"])
def test_lists_and_single_precision_are_taken(posterior, covariance_type):
    coordinates = NaturalParameters.of(posterior)
    lists = NaturalParameters(*(getattr(coordinates, name).tolist() for name in FIELDS))
    assert_same(NaturalParameters.of(lists.posterior(posterior)), coordinates)
    single = NaturalParameters(
        *(getattr(coordinates, name).astype(np.float32) for name in FIELDS)
    ).posterior(posterior)
    assert single.components.means.dtype == np.float64
    assert_same(NaturalParameters.of(single), coordinates, rtol=1e-6)


@all_types
@both_priors
def test_they_are_the_priors_plus_sums_over_rows(runner, posterior, covariance_type):
    """eta = eta_0 + sum r (1, x, x x^T, 1)."""
    resp = np.random.default_rng(1).dirichlet(np.ones(K), size=runner.n_samples)
    rows, prior = runner.source.data, posterior.components.prior
    outer = np.einsum("nk,ni,nj->kij", resp, rows, rows)
    scale = prior.covariance if prior.covariance.ndim == 2 else np.eye(D) * prior.covariance
    outer += scale + prior.mean_precision * np.outer(prior.mean, prior.mean)
    diagonal = np.diagonal(outer, axis1=1, axis2=2)
    expected = {
        "full": outer,
        "tied": outer.mean(axis=0),
        "diag": diagonal,
        "spherical": diagonal.mean(axis=1),
    }[covariance_type]
    coordinates = NaturalParameters.of(posterior)
    np.testing.assert_allclose(coordinates.second_moments, expected, rtol=1e-11)
    np.testing.assert_allclose(
        coordinates.scaled_means, prior.mean_precision * prior.mean + resp.T @ rows, rtol=1e-11
    )


@all_types
@both_priors
def test_a_natural_step_of_length_one_is_coordinate_ascent(runner, posterior):
    _, target = evaluate(runner, posterior)
    gradient = variational_gradient(posterior, target)
    stepped = (gradient.coordinates + gradient.natural).posterior(posterior)
    assert_same(NaturalParameters.of(stepped), NaturalParameters.of(target))
    for name in ("means", "covariances", "mean_precision", "degrees_of_freedom"):
        np.testing.assert_allclose(
            getattr(stepped.components, name), getattr(target.components, name), rtol=1e-9
        )
    np.testing.assert_allclose(stepped.weights.mean, target.weights.mean)
    assert evaluate(runner, stepped)[0] > evaluate(runner, posterior)[0]


@all_types
@both_priors
@pytest.mark.parametrize("name", FIELDS)
def test_euclidean_gradients_are_central_differences(runner, posterior, covariance_type, name):
    _, target = evaluate(runner, posterior)
    gradient = variational_gradient(posterior, target)
    rng = np.random.default_rng(2)
    direction = rng.normal(size=getattr(gradient.coordinates, name).shape)
    if name == "second_moments" and covariance_type in ("full", "tied"):
        direction = direction + direction.swapaxes(-1, -2)
    zero = 0.0 * gradient.coordinates
    step = dataclasses.replace(zero, **{name: direction})

    def bound(length):
        return evaluate(runner, (gradient.coordinates + length * step).posterior(posterior))[0]

    h = 1e-5
    difference = (8 * (bound(h) - bound(-h)) - (bound(2 * h) - bound(-2 * h))) / (12 * h)
    expected = (getattr(gradient.euclidean, name) * direction).sum()
    np.testing.assert_allclose(expected, difference, rtol=1e-5, atol=1e-6)


def jax_bound(jax, kind, rows, prior, coordinates):
    """The bound at the best responsibilities, from the textbook's expectations and full matrices.

    Bishop (2006), eq. 10.46, 10.64-10.66, 10.74 and 10.77; Blei and Jordan (2006) for the sticks.
    """
    jnp, special = jax.numpy, jax.scipy.special
    concentration, beta, scaled, second, nu = coordinates
    means = scaled / beta[:, None]

    outer = jnp.einsum("ki,kj->kij", scaled, means)
    if kind == "full":
        inverse_scale = second - outer
    elif kind == "tied":
        inverse_scale = jnp.tile(second - outer.mean(axis=0), (K, 1, 1))
    elif kind == "diag":
        inverse_scale = (second - scaled * means)[:, :, None] * jnp.eye(D)
    else:
        inverse_scale = (second - (scaled * means).mean(axis=1))[:, None, None] * jnp.eye(D)
    nu = jnp.broadcast_to(nu, K)
    W = jnp.linalg.inv(inverse_scale)
    halves = 0.5 * (nu[:, None] - jnp.arange(D))
    log_det_W = -jnp.linalg.slogdet(inverse_scale)[1]
    e_log_det = special.digamma(halves).sum(axis=1) + D * jnp.log(2.0) + log_det_W

    if concentration.ndim == 1:
        sticks, prior_sticks = concentration[None], jnp.full((1, K), prior.weight_concentration)
        e_log_weights = special.digamma(concentration) - special.digamma(concentration.sum())
    else:
        sticks = concentration.T
        prior_sticks = jnp.tile(jnp.array([1.0, prior.weight_concentration]), (K, 1))
        e_log = special.digamma(sticks) - special.digamma(sticks.sum(axis=1, keepdims=True))
        e_log_weights = e_log[:, 0] + jnp.cumsum(e_log[:, 1]) - e_log[:, 1]

    def log_dirichlet(a):
        return special.gammaln(a.sum(axis=1)) - special.gammaln(a).sum(axis=1)

    e_log_sticks = special.digamma(sticks) - special.digamma(sticks.sum(axis=1, keepdims=True))
    kl_weights = log_dirichlet(sticks) - log_dirichlet(prior_sticks)
    kl_weights += ((sticks - prior_sticks) * e_log_sticks).sum(axis=1)

    components = prior.components
    covariance = jnp.asarray(components.covariance)
    prior_inverse = covariance if covariance.ndim == 2 else covariance * jnp.eye(D)

    def log_wishart(log_det_scale, degrees):
        halves = 0.5 * (degrees[..., None] - jnp.arange(D))
        scale = 0.5 * degrees * (log_det_scale + D * jnp.log(2.0))
        return -scale - special.gammaln(halves).sum(axis=-1)

    nu_0, beta_0 = jnp.asarray(components.degrees_of_freedom), components.mean_precision
    shift = means - components.mean
    kl_wishart = log_wishart(log_det_W, nu)
    kl_wishart -= log_wishart(-jnp.linalg.slogdet(prior_inverse)[1], nu_0)
    kl_wishart += 0.5 * (nu - nu_0) * e_log_det - 0.5 * nu * D
    kl_wishart += 0.5 * nu * jnp.einsum("ij,kji->k", prior_inverse, W)
    kl_normal = 0.5 * D * (beta_0 / beta - 1.0 - jnp.log(beta_0 / beta))
    kl_normal += 0.5 * beta_0 * nu * jnp.einsum("ki,kij,kj->k", shift, W, shift)

    d = rows[:, None] - means
    square = nu * jnp.einsum("nki,kij,nkj->nk", d, W, d) + D / beta
    log_joint = e_log_weights + 0.5 * (e_log_det - D * jnp.log(2 * jnp.pi) - square)
    evidence = special.logsumexp(log_joint, axis=1).sum()
    return evidence - kl_weights.sum() - (kl_wishart + kl_normal).sum()


@all_types
@both_priors
def test_euclidean_gradients_agree_with_jax(jax_float64, runner, posterior, covariance_type):
    bound, target = evaluate(runner, posterior)
    gradient = variational_gradient(posterior, target)

    def function(*coordinates):
        return jax_bound(
            jax_float64, covariance_type, runner.source.data, posterior.prior, coordinates
        )

    at = [getattr(gradient.coordinates, name) for name in FIELDS]
    value, expected = jax_float64.value_and_grad(function, argnums=range(len(FIELDS)))(*at)
    np.testing.assert_allclose(bound, value, rtol=1e-11)
    for name, derivative in zip(FIELDS, expected, strict=True):
        ours = getattr(gradient.euclidean, name)
        assert ours.shape == derivative.shape
        np.testing.assert_allclose(
            ours, derivative, rtol=0, atol=1e-8 * np.abs(derivative).max(), err_msg=name
        )


@all_types
@both_priors
def test_the_gradients_vanish_at_the_optimum(runner, posterior):
    for _ in range(2000):
        _, posterior = evaluate(runner, posterior)
    _, target = evaluate(runner, posterior)
    gradient = variational_gradient(posterior, target)
    for name in FIELDS:
        scale = np.abs(getattr(gradient.coordinates, name)).max()
        assert np.abs(getattr(gradient.natural, name)).max() < 1e-6 * scale
        assert np.abs(getattr(gradient.euclidean, name)).max() < 1e-4


@all_types
@pytest.mark.parametrize("prior", ["dirichlet_process", "dirichlet_distribution"])
def test_of_a_fitted_mixture(runner, covariance_type, prior):
    mixture = BayesianGaussianMixture(
        K,
        covariance_type=covariance_type,
        weight_concentration_prior_type=prior,
        random_state=0,
        tol=1e-9,
        max_iter=5000,
        reg_covar=0.0,
    ).fit(runner.source.data)
    weight = np.full(runner.n_samples, 2.0)
    terms, gradient = mixture.elbo_and_grad(runner.source.data)
    assert terms.total == pytest.approx(mixture.elbo(runner.source.data).total, rel=1e-12)
    np.testing.assert_allclose(gradient.coordinates.mean_precision, mixture.mean_precision_)
    assert np.abs(gradient.natural.mean_precision).max() < 1e-3
    # Twice the rows would add as much to the coordinates as there is beyond the prior.
    _, doubled = mixture.elbo_and_grad(runner.source.data, sample_weight=weight)
    np.testing.assert_allclose(
        doubled.natural.mean_precision - gradient.natural.mean_precision,
        mixture.mean_precision_ - mixture.mean_precision_prior_,
        atol=2e-3,
    )


@all_types
def test_far_from_the_origin(runner, covariance_type):
    """The gradients in S_k and nu_k do not depend on where the origin is."""

    def gradient(rows):
        mixture = BayesianGaussianMixture(K, covariance_type=covariance_type, random_state=0)
        mixture.set_params(max_iter=2, tol=0.0, reg_covar=0.0)
        with pytest.warns(ConvergenceWarning):
            mixture.fit(rows)
        return mixture.elbo_and_grad(rows)[1].euclidean

    near, far = gradient(runner.source.data), gradient(runner.source.data + 1e6)
    for name in ("second_moments", "degrees_of_freedom"):
        expected = getattr(near, name)
        np.testing.assert_allclose(
            getattr(far, name), expected, rtol=0, atol=1e-7 * np.abs(expected).max()
        )


def test_rows_that_are_not_finite(runner):
    mixture = BayesianGaussianMixture(1).fit(runner.source.data)
    with pytest.raises(ValueError, match="NaN"):
        mixture.elbo_and_grad([[0.0, np.nan]])
