from __future__ import annotations

import dataclasses

import numpy as np
import pytest

from vbfast.results import ElboTerms, VariationalElboTerms


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
    assert terms.loss == 3.0
