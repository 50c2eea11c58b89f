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


# Of a log-gamma at 1e303 the digits before the point alone are 306.
DIGITS = 360
CONCENTRATIONS = [1e-3, 1.0, 1e3, 1e8, 1e12, 1e14, 1e16, 1e20, 1e100, 1e300]


def exact_dirichlet(concentration, counts):
    """Divergence, evidence and expected logarithms; components of one count are of one kind."""
    kinds, copies = np.unique(counts, return_counts=True)
    a0, K = mpmath.mpf(concentration), len(counts)
    rows = [mpmath.mpf(count) for count in kinds]
    copies = [int(number) for number in copies]
    whole = K * a0 + mpmath.fsum(n * r for n, r in zip(copies, rows, strict=True))
    expected = [mpmath.psi(0, a0 + r) - mpmath.psi(0, whole) for r in rows]
    evidence = mpmath.loggamma(K * a0) - mpmath.loggamma(whole)
    linear = mpmath.mpf(0)
    for n, r, log in zip(copies, rows, expected, strict=True):
        evidence += n * (mpmath.loggamma(a0 + r) - mpmath.loggamma(a0))
        linear += n * r * log
    return linear - evidence, evidence, dict(zip(kinds, expected, strict=True))


def exact_sticks(gamma, counts):
    g, one = mpmath.mpf(gamma), mpmath.mpf(1)
    divergence, evidence, expected, remaining = mpmath.mpf(0), mpmath.mpf(0), [], mpmath.mpf(0)
    for k, count in enumerate(counts):
        rows, later = mpmath.mpf(count), mpmath.fsum(map(mpmath.mpf, counts[k + 1 :]))
        taken, left = one + rows, g + later

        def log_beta(a, b):
            return mpmath.loggamma(a) + mpmath.loggamma(b) - mpmath.loggamma(a + b)

        log_v = mpmath.psi(0, taken) - mpmath.psi(0, taken + left)
        log_rest = mpmath.psi(0, left) - mpmath.psi(0, taken + left)
        stick = log_beta(taken, left) - log_beta(one, g)
        evidence += stick
        divergence += rows * log_v + later * log_rest - stick
        expected.append(log_v + remaining)
        remaining += log_rest
    return divergence, evidence, expected


@pytest.mark.parametrize("concentration", CONCENTRATIONS)
@pytest.mark.parametrize("n_components", [3, 1000])
def test_dirichlet_terms_keep_their_digits_at_any_concentration(concentration, n_components):
    counts = np.resize(np.array([0.0, 7.25, 120.5, 3.0, 0.125, 999.0]), n_components)
    weights = Dirichlet.from_counts(concentration, counts)
    with mpmath.workdps(DIGITS):
        kl, evidence, expected = exact_dirichlet(concentration, counts)
        expected = np.array([float(expected[count]) for count in counts])
        kl, evidence = float(kl), float(evidence)
    np.testing.assert_allclose(weights.expected_log, expected, rtol=1e-13)
    # Against the log-gammas of the rows, and what of them a large prior leaves.
    rows = counts.sum()
    scale = rows * math.log(rows)
    assert abs(weights.log_evidence - evidence) < 1e-14 * scale
    oracle = 1e-45  # what its digits leave at 1e303
    assert abs(weights.kl - kl) < 1e-14 * scale * min(1.0, rows / concentration) + oracle
    np.testing.assert_array_equal(weights.counts, counts)


@pytest.mark.parametrize("concentration", CONCENTRATIONS)
@pytest.mark.parametrize("n_components", [3, 1000])
def test_sticks_keep_their_digits_at_any_concentration(concentration, n_components):
    counts = np.resize(np.array([999.0, 7.25, 120.5, 3.0, 0.125, 0.0]), n_components)
    counts[24:] = 0.0
    weights = StickBreaking.from_counts(concentration, counts)
    held = min(n_components, 30)
    with mpmath.workdps(DIGITS):
        # Sticks without rows beyond them are their prior.
        kl, evidence, expected = exact_sticks(concentration, counts[:held])
        expected = np.array(expected, dtype=float)
        kl, evidence = float(kl), float(evidence)
    np.testing.assert_allclose(weights.expected_log[:held], expected, rtol=1e-13)
    scale = 1.0 + np.abs(counts[:held] * expected).sum()
    assert abs(weights.log_evidence - evidence) < 1e-14 * scale
    assert abs(weights.kl - kl) < 1e-14 * scale


def test_a_posterior_elsewhere_has_the_counts_of_its_concentrations():
    weights = Dirichlet(2.0, np.array([1.5, 5.0]))
    np.testing.assert_array_equal(weights.counts, [-0.5, 3.0])
    with mpmath.workdps(50):
        kl, evidence, _ = exact_dirichlet(2.0, weights.counts)
    np.testing.assert_allclose([weights.kl, weights.log_evidence], [float(kl), float(evidence)])
