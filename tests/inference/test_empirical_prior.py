from __future__ import annotations

import numpy as np
import pytest

from vbfast.contract import COVARIANCE_TYPES
from vbfast.families.normal_wishart_prior import NormalWishartPrior
from vbfast.inference.empirical_prior import empirical_covariance
from vbfast.passes.rows import as_row_source
from vbfast.passes.runner import LocalRunner

pytestmark = pytest.mark.kernels


@pytest.mark.parametrize("covariance_type", COVARIANCE_TYPES)
@pytest.mark.parametrize("dtype", [np.float64, np.float32])
@pytest.mark.parametrize("weighted", [False, True])
def test_it_is_numpys_covariance(covariance_type, dtype, weighted):
    rng = np.random.default_rng(0)
    rows = (rng.normal(size=(500, 3)) @ rng.normal(size=(3, 3)) + 100.0).astype(dtype)
    weights = rng.integers(0, 4, size=500) if weighted else None
    covariance = np.cov(rows.T.astype(np.float64), fweights=weights)
    expected = {
        "full": covariance,
        "tied": covariance,
        "diag": np.diag(covariance),
        "spherical": np.diag(covariance).mean(),
    }[covariance_type]
    mean = np.average(rows.astype(np.float64), axis=0, weights=weights)
    # Any centre near the mean will do.
    actual = empirical_covariance(
        LocalRunner(as_row_source(rows), None if weights is None else weights.astype(float)),
        covariance_type,
        mean + 0.1,
    )
    assert actual.shape == np.shape(expected)
    assert actual.dtype == np.float64
    np.testing.assert_allclose(actual, expected, rtol=1e-12)


def test_one_row_in_all_has_no_covariance():
    with pytest.raises(ValueError, match=r"it sums to 0\.5"):
        empirical_covariance(
            LocalRunner(as_row_source(np.eye(2)), np.full(2, 0.25)), "diag", np.zeros(2)
        )


@pytest.mark.parametrize("covariance_type", ["full", "spherical"])
def test_a_covariance_that_overflows(covariance_type):
    rows = np.array([[-1e30, 2e30], [1e30, 0.0], [3e30, 1e30]], dtype=np.float32)
    with pytest.raises(ValueError, match="which overflows"):
        empirical_covariance(LocalRunner(as_row_source(rows)), covariance_type, np.zeros(2))


def test_float32_rows_do_not_hide_a_singular_covariance():
    rows = np.random.default_rng(0).normal(size=(30, 30)).astype(np.float32)
    single, double = (
        empirical_covariance(LocalRunner(as_row_source(X)), "full", np.zeros(30))
        for X in (rows, rows.astype(np.float64))
    )
    np.testing.assert_array_equal(single, double)
    assert not NormalWishartPrior("full", 1.0, np.zeros(30), 30.0, single).proper
