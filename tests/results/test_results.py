from __future__ import annotations

import dataclasses
import math

import numpy as np
import pytest

from vbfast.results import ElboTerms, EvidenceEstimate, VariationalElboTerms


def test_loss_is_the_negative_bound():
    terms = ElboTerms(-3.0, -3.5, 0.5, -2.75, 0.25)
    assert terms.loss == 3.0 == terms.kl - terms.log_evidence


def test_terms_may_be_rows():
    rows = np.array([-1.0, -np.inf])
    terms = ElboTerms(rows, rows, np.zeros(2), rows, np.zeros(2))
    np.testing.assert_array_equal(terms.loss, [1.0, np.inf])


def test_terms_are_frozen():
    terms = ElboTerms(-3.0, -3.5, 0.5, -2.75, 0.25)
    with pytest.raises(dataclasses.FrozenInstanceError):
        terms.elbo = 0.0


def test_total_takes_the_divergences_of_the_parameters_off():
    terms = VariationalElboTerms(-3.0, -3.5, 0.5, -2.75, 0.25, 0.5, np.array([1.0, 0.0, 1.5]))
    assert terms.total == -6.0
    assert isinstance(terms, ElboTerms)


def test_the_loss_of_a_variational_bound_is_that_of_all_of_it():
    terms = VariationalElboTerms(-3.0, -3.5, 0.5, -2.75, 0.25, 0.5, np.array([1.0, 0.0, 1.5]))
    assert terms.loss == 6.0
    assert ElboTerms(-3.0, -3.5, 0.5, -2.75, 0.25).loss == 3.0


def test_variational_terms_say_what_elbo_of_a_fit_is():
    shown = repr(VariationalElboTerms(-3.0, -3.5, 0.5, -2.75, 0.25, 0.5, np.array([1.0, 1.5])))
    fields, explained = shown.splitlines()
    for name in ("elbo=-3.0", "expected_log_joint=-3.5", "kl_weights=0.5", "kl_components=array("):
        assert name in fields
    assert explained.startswith("total=-6.0, the bound that elbo_ of a fit is of")


@pytest.mark.parametrize("khat", [-math.inf, 0.31, 0.6, 3.0, math.inf, math.nan])
@pytest.mark.parametrize("log_symmetry", [0.0, math.log(6)])
def test_no_estimate_of_several_components_is_said_to_be_exact(khat, log_symmetry):
    estimate = EvidenceEstimate(-1234.5, 0.02, khat, 0.6, log_symmetry, 1000, 3)
    assert "value exact" not in estimate.advice
    assert "1.792 nats" in estimate.advice
    assert estimate.advice.endswith("nor any other mode that q misses.")


@pytest.mark.parametrize(
    ("khat", "sentence"),
    [
        (-math.inf, "exact"),
        (0.31, "k-hat 0.31 is below 0.5: the estimate is good"),
        (0.5, "between 0.5 and 0.7"),
        (0.7, "do not trust"),
        (3.0, "k-hat 3.00 is above 0.7: do not trust the estimate"),
        (math.inf, "do not trust the estimate, take more draws"),
        (math.nan, "do not trust"),
    ],
)
def test_an_estimate_says_whether_to_trust_it(khat, sentence):
    estimate = EvidenceEstimate(-1234.5, 0.02, khat, 0.6, 0.0, 1000)
    assert sentence in estimate.advice
    assert "symmetric" not in estimate.advice
    assert repr(estimate).endswith(estimate.advice)


@pytest.mark.parametrize("khat", [-math.inf, 0.31, 0.6, 3.0, math.inf, math.nan])
def test_an_estimate_says_what_symmetry_hides_from_khat(khat):
    estimate = EvidenceEstimate(-1234.5, 0.02, khat, 0.6, math.log(6), 1000)
    ordered = EvidenceEstimate(-1234.5, 0.02, khat, 0.6, 0.0, 1000)
    hidden = (
        "the value may lack up to 1.792 nats by symmetric modes that q does not cover. k-hat does "
        "not see them, nor any other mode that q misses."
    )
    assert repr(estimate).endswith(f"\n{estimate.advice}")
    assert estimate.advice.endswith(hidden)
    if khat == -math.inf:
        assert "value exact" not in estimate.advice
    else:
        assert estimate.advice.startswith(ordered.advice)


def test_an_estimate_shows_its_figures():
    shown = repr(EvidenceEstimate(-1234.5, 0.02, 0.31, 0.6, math.log(6), 1000))
    for figure in ("value=-1234.500", "standard_error=0.02", "kl_gap=0.6", "log_symmetry=1.792"):
        assert figure in shown
