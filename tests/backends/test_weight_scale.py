"""A common factor of all weights is one of all sums, however small or large it is."""

from __future__ import annotations

import numpy as np
import pytest

from vbfast import GaussianMixture
from vbfast.contract import COVARIANCE_TYPES, Request
from vbfast.families.covariances import MOMENTS_OF
from vbfast.passes.one_pass import run_pass, run_seeding
from vbfast.passes.rows import as_row_source

pytestmark = [pytest.mark.kernels, pytest.mark.usefixtures("backend")]

DTYPES = (np.float64, np.float32)
# Powers of two round nothing; 1e-46 and 1e36 are where float32 has no more numbers.
EXPONENTS = (-1000, -300, -153, -130, 119, 128, 300, 900)


def in_units_of(values, exponent):
    return np.ldexp(np.asarray(values), -exponent)


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("covariance_type", COVARIANCE_TYPES)
@pytest.mark.parametrize("assignment", ["posterior", "hard", "given"])
@pytest.mark.parametrize("exponent", EXPONENTS)
def test_sums_of_a_pass(
    run, random_params, sample, rng, dtype, covariance_type, assignment, exponent
):
    params = random_params(rng, covariance_type, 3, 2)
    X = sample(rng, params, 200, dtype)
    weights = rng.integers(0, 4, 200).astype(float)
    resp = rng.dirichlet(np.ones(3), size=200) if assignment == "given" else None
    request = Request(assignment, MOMENTS_OF[covariance_type], entropy=True)
    expected, _ = run(X, params, request, sample_weight=weights, resp=resp)
    result, _ = run(X, params, request, sample_weight=np.ldexp(weights, exponent), resp=resp)
    tolerance = 10 * np.finfo(dtype).eps
    for name in ("total_weight", "log_evidence", "expected_log_joint", "entropy", "kl"):
        actual = in_units_of(getattr(result, name), exponent)
        np.testing.assert_allclose(actual, getattr(expected, name), rtol=tolerance, err_msg=name)
    for name in ("weight", "first", "second"):
        actual = in_units_of(getattr(result.statistics, name), exponent)
        np.testing.assert_allclose(
            actual, getattr(expected.statistics, name), rtol=tolerance, atol=100 * tolerance
        )
    assert result.lowest_log_evidence == pytest.approx(expected.lowest_log_evidence, nan_ok=True)


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("exponent", EXPONENTS)
def test_potentials_of_seeding(rng, dtype, exponent):
    X = rng.normal(size=(300, 3)).astype(dtype)
    closest = np.full(300, np.inf, dtype)
    weights = rng.integers(0, 3, 300).astype(float)
    source, candidates = as_row_source(X), X[:4].astype(float)
    expected = run_seeding(source, candidates, closest, sample_weight=weights)
    potentials = run_seeding(source, candidates, closest, sample_weight=np.ldexp(weights, exponent))
    np.testing.assert_allclose(in_units_of(potentials, exponent), expected, rtol=1e-12)


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("exponent", EXPONENTS)
@pytest.mark.parametrize("covariance_type", COVARIANCE_TYPES)
def test_gradients_and_fits_of_an_estimator(rng, dtype, exponent, covariance_type):
    X = (rng.normal(size=(200, 2)) + 4.0 * rng.integers(2, size=(200, 1))).astype(dtype)
    mixture = GaussianMixture(2, covariance_type=covariance_type, random_state=0).fit(X)
    mixture.means_ = mixture.means_ + np.array([0.3, -0.2], dtype)  # where gradients are not zero
    weights = rng.uniform(0.5, 1.5, 200)
    tolerance = 1e-9 if dtype == np.float64 else 1e-4
    value, expected = mixture.log_evidence_and_grad(X, sample_weight=weights, wrt_x=True)
    with np.errstate(over="ignore"):
        scaled, gradient = mixture.log_evidence_and_grad(
            X, sample_weight=np.ldexp(weights, exponent), wrt_x=True
        )
    np.testing.assert_allclose(in_units_of(scaled, exponent), value, rtol=tolerance)
    for name in ("weights", "logits", "means", "covariances", "precisions_cholesky"):
        ours, theirs = getattr(gradient, name), getattr(expected, name)
        np.testing.assert_allclose(
            in_units_of(ours, exponent), theirs, atol=tolerance * np.abs(theirs).max()
        )
    # Of the rows' type, which may have no such number.
    assert gradient.X.dtype == dtype
    with np.errstate(over="ignore", under="ignore"):
        in_x = np.ldexp(expected.X.astype(np.longdouble), exponent).astype(dtype)
    lowest = np.finfo(dtype).smallest_subnormal + np.ldexp(
        tolerance * np.abs(expected.X).max().astype(np.longdouble), exponent
    )
    np.testing.assert_allclose(gradient.X, in_x, rtol=tolerance, atol=lowest)
    fits = [
        GaussianMixture(2, covariance_type=covariance_type, random_state=0).fit(
            X, sample_weight=each
        )
        for each in (weights, np.ldexp(weights, exponent))
    ]
    np.testing.assert_allclose(fits[1].means_, fits[0].means_, rtol=1e-3, atol=1e-3)


def test_small_weights_beside_large_ones_count_for_nothing(run, random_params, sample, rng):
    params = random_params(rng, "diag", 2, 2)
    X = sample(rng, params, 50, np.float32)
    weights = np.where(np.arange(50) < 25, 1e300, 1e-300)
    result, _ = run(X, params, Request(moments="diag"), sample_weight=weights)
    half = run_pass(
        as_row_source(X[:25]), params, Request(moments="diag"), sample_weight=weights[:25]
    )
    np.testing.assert_allclose(result.statistics.weight, half.statistics.weight, rtol=1e-6)
    assert result.log_evidence == pytest.approx(half.log_evidence, rel=1e-6)
