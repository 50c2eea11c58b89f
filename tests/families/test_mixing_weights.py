from __future__ import annotations

import itertools
import math

import mpmath
import numpy as np
import pytest
from scipy import stats
from scipy.special import digamma

from vbfast.families.mixing_weights import Dirichlet, StickBreaking

PRIORS = (Dirichlet, StickBreaking)
COUNTS = np.array([7.25, 0.0, 120.5, 3.0])
both = pytest.mark.parametrize("prior", PRIORS)


@both
@pytest.mark.parametrize("concentration", [1e-3, 0.5, 40.0])
def test_terms_are_those_of_bishop_and_of_blei_and_jordan(prior, concentration):
    weights = prior.from_counts(concentration, COUNTS)
    np.testing.assert_allclose(weights.counts, COUNTS, atol=1e-13)
    np.testing.assert_allclose(weights.mean.sum(), 1.0)
    gap = COUNTS @ weights.expected_log - weights.kl
    np.testing.assert_allclose(weights.log_evidence, gap, rtol=1e-12)


@pytest.mark.parametrize("concentration", [1e-3, 0.5, 40.0])
def test_dirichlet_against_fifty_digits(concentration):
    weights = Dirichlet.from_counts(concentration, COUNTS)
    with mpmath.workdps(50):
        alpha = [mpmath.mpf(concentration) + mpmath.mpf(count) for count in COUNTS]
        total = mpmath.fsum(alpha)
        expected = [mpmath.psi(0, a) - mpmath.psi(0, total) for a in alpha]

        def log_norm(values):
            return mpmath.loggamma(mpmath.fsum(values)) - mpmath.fsum(map(mpmath.loggamma, values))

        kl = (
            log_norm(alpha)
            - log_norm([mpmath.mpf(concentration)] * 4)
            + mpmath.fsum(mpmath.mpf(count) * e for count, e in zip(COUNTS, expected, strict=True))
        )
    np.testing.assert_allclose(weights.expected_log, np.array(expected, dtype=float), rtol=1e-13)
    np.testing.assert_allclose(weights.kl, float(kl), rtol=1e-11)
    np.testing.assert_allclose(
        weights.mean, (concentration + COUNTS) / (4 * concentration + COUNTS.sum())
    )


def test_sticks_against_samples():
    weights = StickBreaking.from_counts(1.5, COUNTS / 10)
    rng = np.random.default_rng(0)
    v = rng.beta(weights.taken, weights.left, size=(200_000, 4))
    pi = v * np.cumprod(np.concatenate([np.ones((len(v), 1)), 1 - v[:, :-1]], axis=1), axis=1)
    np.testing.assert_allclose(weights.expected_log, np.log(pi).mean(axis=0), rtol=0.02)
    np.testing.assert_allclose(weights.mean, pi.mean(axis=0) / pi.mean(axis=0).sum(), rtol=0.01)
    q, p = stats.beta(weights.taken, weights.left), stats.beta(1.0, 1.5)
    np.testing.assert_allclose(
        weights.kl, (q.logpdf(v) - p.logpdf(v)).sum(axis=1).mean(), rtol=0.02
    )


@both
def test_without_rows_the_posterior_is_the_prior(prior):
    weights = prior.from_counts(0.25, np.zeros(5))
    assert weights.kl == 0.0
    np.testing.assert_allclose(weights.log_evidence, 0.0, atol=1e-12)


@both
def test_evidence_is_the_probability_of_a_sequence_of_components(prior):
    """One row after another, each drawn from the weights expected so far (the Polya urn)."""
    sequence = [0, 2, 0, 1, 2, 2]
    log_probability, counts = 0.0, np.zeros(3)
    for k in sequence:
        weights = prior.from_counts(0.7, counts)
        if prior is Dirichlet:
            log_probability += math.log(weights.mean[k])
        else:
            whole = weights.taken + weights.left
            left = np.append(1.0, np.cumprod(weights.left / whole)[:-1])
            log_probability += math.log((weights.taken / whole * left)[k])
        counts[k] += 1
    np.testing.assert_allclose(prior.from_counts(0.7, counts).log_evidence, log_probability)


def test_the_evidence_of_all_sequences_sums_to_one_for_a_dirichlet_only():
    """The last stick keeps its Beta: what it leaves is the probability of no component."""
    total = dict.fromkeys(PRIORS, 0.0)
    for sequence in itertools.product(range(2), repeat=4):
        counts = np.bincount(sequence, minlength=2).astype(float)
        for prior in PRIORS:
            total[prior] += math.exp(prior.from_counts(0.4, counts).log_evidence)
    np.testing.assert_allclose(total[Dirichlet], 1.0)
    assert total[StickBreaking] < 1.0


@both
def test_one_component(prior):
    weights = prior.from_counts(0.5, np.array([10.0]))
    np.testing.assert_array_equal(weights.mean, [1.0])
    if prior is Dirichlet:
        assert weights.kl == 0.0
        np.testing.assert_allclose(weights.expected_log, 0.0, atol=1e-15)
    else:
        np.testing.assert_allclose(weights.expected_log, digamma(11.0) - digamma(11.5))
