"""Sample weights: what is taken, and errors that name the row."""

from __future__ import annotations

import numpy as np
import pytest

from vbfast.inputs.weights import (
    as_sample_weight,
    n_weighted_rows,
    of_ordinary_scale,
    of_unit_scale,
)


def misaligned(values):
    memory = np.zeros(8 * len(values) + 1, np.uint8)[1:].view(np.float64)
    memory[:] = values
    assert not memory.flags.aligned
    return memory


def test_none_stays_none():
    assert as_sample_weight(None, 3) is None
    assert n_weighted_rows(None, 3) == 3


@pytest.mark.parametrize("scalar", [2, 2.0, np.float32(2), np.array(2), True])
def test_a_number_is_every_row_s_weight(scalar):
    weights = as_sample_weight(scalar, 3)
    np.testing.assert_array_equal(weights, [float(scalar)] * 3)
    assert weights.dtype == np.float64


@pytest.mark.parametrize(
    "given",
    [
        [1, 0, 2],
        (1.0, 0.0, 2.0),
        np.array([1, 0, 2], dtype=np.float32),
        np.array([1, 0, 2], dtype=np.uint8),
        np.array([1, 0, 2], dtype=">f8"),
        np.array([1, 0, 2], dtype=object),
        np.array([2.0, 0.0, 1.0])[::-1],
        np.repeat([1.0, 0.0, 2.0], 2)[::2],
        misaligned([1.0, 0.0, 2.0]),
    ],
)
def test_any_real_array(given):
    weights = as_sample_weight(given, 3)
    np.testing.assert_array_equal(weights, [1.0, 0.0, 2.0])
    assert weights.dtype == np.float64
    assert weights.dtype.isnative
    assert weights.flags.c_contiguous
    assert n_weighted_rows(weights, 3) == 2


def test_float64_is_not_copied():
    given = np.array([1.0, 2.0])
    assert np.shares_memory(as_sample_weight(given, 2), given)


@pytest.mark.parametrize("given", [[5e-324, 0.0, 0.0], [1e308, 0.5e308, 0.0], [-0.0, 1.0, 0.0]])
def test_the_smallest_and_the_largest(given):
    np.testing.assert_array_equal(as_sample_weight(given, 3), given)


def test_denormal_weights_count():
    assert n_weighted_rows(as_sample_weight([5e-324, 0.0, -0.0], 3), 3) == 1


@pytest.mark.parametrize(
    ("given", "error", "message"),
    [
        ([1, 2], ValueError, r"shape == \(2,\), expected \(3,\)"),
        ([[1, 2, 3]], ValueError, r"shape == \(1, 3\), expected \(3,\)"),
        ([], ValueError, r"shape == \(0,\), expected \(3,\)"),
        ([1, -1e-300, -2], ValueError, "row 1 has -1e-300"),
        ([1, 2, -np.inf], ValueError, "row 2 has -inf"),
        ([np.inf, -np.inf, 0], ValueError, "row 1 has -inf"),
        (-1, ValueError, "row 0 has -1.0"),
        ([1, np.nan, np.nan], ValueError, "must be finite; row 1 has weight nan"),
        ([1, 2, np.inf], ValueError, "must be finite; row 2 has weight inf"),
        (np.nan, ValueError, "must be finite; row 0 has weight nan"),
        ([np.nan, 1, -1], ValueError, "row"),
        ([1e308, 1e308, 1], ValueError, "sums to infinity; use weights on a smaller scale"),
        ([0, 0.0, -0.0], ValueError, "all weights are zero"),
        (0, ValueError, "all weights are zero"),
        ([1j, 0, 0], TypeError, "must be real; got dtype complex128"),
        (["a", "b", "c"], TypeError, "must be numeric; got dtype"),
    ],
)
def test_errors(given, error, message):
    with pytest.raises(error, match=message):
        as_sample_weight(given, 3)


@pytest.mark.parametrize("scale", [1e-3, 1e-20, 1e-300, 2.0**-1070])
def test_small_weights_are_scaled_up_exactly(scale):
    given = scale * np.array([1.0, 0.0, 8.0, 3.0])
    weights = of_ordinary_scale(given)
    assert 3.0 <= weights.sum() < 6.0
    np.testing.assert_array_equal(weights / weights[2], given / given[2])


@pytest.mark.parametrize("given", [None, np.array([0.0, 2.0, 1.0, 0.0]), np.array([1e300, 1.0])])
def test_weights_of_ordinary_scale_stay(given):
    assert of_ordinary_scale(given) is given


def test_weights_of_unit_scale():
    weights, exponent = of_unit_scale(np.array([3e-200, 1e-200, 0.0]))
    assert 0.5 <= weights.max() < 1.0
    np.testing.assert_array_equal(np.ldexp(weights, exponent), [3e-200, 1e-200, 0.0])
    weights, exponent = of_unit_scale(np.array([5e-324, 1e300]))
    assert exponent > 900
    assert weights[1] < 1.0
    assert of_unit_scale(None) == (None, 0)


@pytest.mark.parametrize("given", [np.ones(3), np.array([0.0, 1e6, 1e-300])])
def test_weights_of_unit_scale_stay(given):
    weights, exponent = of_unit_scale(given)
    assert weights is given
    assert exponent == 0
