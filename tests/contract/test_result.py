"""Results of passes as values, and their merging."""

from __future__ import annotations

import functools
import operator
import pickle

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import vbfast
from vbfast.contract import PassResult, Statistics

NAN = float("nan")


def result(value=1.0, **changes):
    statistics = Statistics(
        "diag", np.zeros((1, 2)), np.array([value]), np.full((1, 2), value), np.ones((1, 2))
    )
    terms = {
        "total_weight": value,
        "log_evidence": -value,
        "expected_log_joint": NAN,
        "entropy": 0.25 * value,
        "kl": NAN,
        "statistics": statistics,
        "lowest_log_evidence": -10.0 * value,
    }
    return PassResult(**{**terms, **changes})


def test_terms_add_and_the_lowest_row_stays_the_lowest():
    both = result(1.0) + result(2.0)
    assert both.total_weight == 3.0
    assert both.log_evidence == -3.0
    assert both.entropy == 0.75
    assert both.lowest_log_evidence == -20.0
    assert np.isnan(both.kl)
    np.testing.assert_array_equal(both.statistics.first, [[3.0, 3.0]])


def test_a_multiple_scales_the_terms_but_no_row():
    three = 3.0 * result(2.0)
    assert three.total_weight == 6.0
    assert three.log_evidence == -6.0
    assert three.lowest_log_evidence == -20.0
    assert three.statistics == 3.0 * result(2.0).statistics


def test_equality_is_of_every_bit():
    assert result() == result() == pickle.loads(pickle.dumps(result()))
    assert result() != result(log_evidence=np.nextafter(-1.0, 0.0))
    assert result() != result(entropy=NAN)
    assert result() != result(statistics=None)
    assert result() != result(dtype=np.dtype(np.float32))
    assert result() != 1.0
    with pytest.raises(TypeError, match="unhashable"):
        hash(result())


@pytest.mark.parametrize(
    ("other", "message"),
    [
        (result(dtype=np.dtype(np.float32)), "float64 and float32 rows do not add up"),
        (result(statistics=None), "with and without statistics do not add up"),
    ],
)
def test_what_does_not_add_up_says_so(other, message):
    with pytest.raises(ValueError, match=message):
        result() + other


def test_the_repr_says_what_it_is_of():
    assert repr(result(2.0)) == (
        "PassResult(total_weight=2, log_evidence=-2, entropy=0.5, "
        "statistics=<'diag' moments of 1 components, 2 features>, dtype=float64)"
    )


def tree(values):
    """What neighbours give, added up level by level."""
    while len(values) > 1:
        pairs = [values[i] + values[i + 1] for i in range(0, len(values) - 1, 2)]
        values = [*pairs, *values[len(values) - len(values) % 2 :]]
    return values[0]


@given(st.lists(st.floats(-1e3, 1e3), min_size=1, max_size=40))
def test_merging_is_a_fixed_tree_over_the_order(values):
    assert vbfast.merge(iter(values)) == tree(values)


def test_the_trees_order_matters_to_the_last_bit():
    """Else the test above would say nothing."""
    values = list(np.random.default_rng(0).normal(size=37))
    assert vbfast.merge(values) != functools.reduce(operator.add, values)


def test_nothing_cannot_be_merged():
    with pytest.raises(ValueError, match="at least one"):
        vbfast.merge([])


@pytest.mark.parametrize("given", [None, 3, len])
def test_what_is_no_iterable_of_results(given):
    with pytest.raises(TypeError, match="summaries must be an iterable of them; got"):
        vbfast.merge(given)
