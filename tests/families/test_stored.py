from __future__ import annotations

import numpy as np
import pytest

from vbfast.families import stored
from vbfast.families.stored import check_covariances, check_prior_covariance


def matrices(rng, condition, K=5, D=6):
    """Covariances of a condition number, and their inverses and factors by other ways than ours."""
    covariances, precisions, factors = [], [], []
    for _ in range(K):
        basis, _ = np.linalg.qr(rng.normal(size=(D, D)))
        values = np.geomspace(1.0, condition, D)
        covariances.append((basis * values) @ basis.T)
        precisions.append((basis / values) @ basis.T)
        # The upper triangular factor of the precision, by Cholesky of it turned around.
        factors.append(np.linalg.cholesky(precisions[-1][::-1, ::-1])[::-1, ::-1])
    return tuple(np.array(values) for values in (covariances, precisions, factors))


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("condition", [1.0, 1e4, 1e10])
@pytest.mark.parametrize("scale", [1e-12, 1.0, 1e12])
def test_rounding_is_allowed(rng, monkeypatch, dtype, condition, scale):
    monkeypatch.setattr(stored, "PART", 80)  # two matrices at a time
    covariances, precisions, factors = (
        values.astype(dtype)
        for values, power in zip(matrices(rng, condition), (2, -2, -1), strict=True)
        for values in [values * scale**power]
    )
    check_covariances("full", covariances, precisions, factors)
    check_covariances("tied", covariances[0], precisions[0], factors[0])
    variances, roots = (np.diagonal(a, axis1=1, axis2=2) for a in (covariances, factors))
    variances = (1.0 / np.square(roots.astype(np.float64))).astype(dtype)
    check_covariances("diag", variances, np.square(roots), roots)
    check_covariances("spherical", variances[:, 0], np.square(roots[:, 0]), roots[:, 0])


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize(("name", "position"), [("covariances", 0), ("precisions", 1)])
def test_more_than_rounding_is_not(rng, monkeypatch, dtype, name, position):
    monkeypatch.setattr(stored, "PART", 80)
    arrays = [values.astype(dtype) for values in matrices(rng, 10.0)]
    arrays[position][4] *= 1.0 + 2e4 * np.finfo(dtype).eps
    with pytest.raises(ValueError, match=f"{name} must be those of .*component 4 has others"):
        check_covariances("full", *arrays)


@pytest.mark.parametrize("kind", ["full", "tied"])
def test_covariances_of_a_prior_may_be_singular(kind):
    singular = np.array([[1.0, 2.0], [2.0, 4.0]])
    check_prior_covariance(kind, singular)
    check_prior_covariance(kind, np.zeros((2, 2)))
    for broken in (singular - np.eye(2), [[1.0, 2.0], [0.0, 4.0]], [[np.nan, 0.0], [0.0, 1.0]]):
        with pytest.raises(ValueError, match="covariance_prior must be finite, and symmetric"):
            check_prior_covariance(kind, np.asarray(broken))


def test_variances_of_a_prior_are_not_negative():
    check_prior_covariance("diag", np.array([0.0, 1.0]))
    check_prior_covariance("spherical", np.asarray(2.0))
    for kind, broken in (("diag", [1.0, -1.0]), ("spherical", -1.0), ("spherical", np.inf)):
        with pytest.raises(ValueError, match="covariance_prior must be finite"):
            check_prior_covariance(kind, np.asarray(broken))
