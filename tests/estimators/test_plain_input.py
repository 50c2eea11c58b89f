"""Estimators refuse what would lose its meaning as an array: masks, zeros left out, records."""

from __future__ import annotations

import numpy as np
import pytest
from scipy import sparse

import vbfast

METHODS = ["fit", "fit_predict", "predict", "predict_proba", "score_samples", "score", "elbo"]
ESTIMATORS = [vbfast.GaussianMixture, vbfast.BayesianGaussianMixture]


@pytest.fixture
def rows(rng):
    return rng.normal(size=(40, 2))


def lossy(rows):
    masked = np.ma.array(rows, mask=rows > 2)
    masked[3, 1] = np.ma.masked
    return [
        (masked, "X is a masked array"),
        (masked.astype(np.float32), "X is a masked array"),
        *((kind(rows), "Sparse data was passed for X")
          for kind in (sparse.csr_matrix, sparse.coo_array, sparse.lil_matrix, sparse.dia_array)),
        (np.zeros(40, [("a", "f8"), ("b", "f8")]), "X must be numeric; got the structured dtype"),
        (np.zeros((40, 2), "M8[s]"), "X must be numeric; got dtype datetime64"),
    ]  # fmt: skip


@pytest.mark.parametrize("estimator", ESTIMATORS)
def test_rows_of_every_method(estimator, rows):
    fitted = estimator(2, random_state=0).fit(rows)
    methods = [*METHODS, *({"log_evidence_and_grad", "log_predictive_density"} & {*dir(fitted)})]
    for method in methods:
        for X, message in lossy(rows):
            with pytest.raises(TypeError, match=message):
                getattr(fitted, method)(X)
        getattr(fitted, method)(np.ma.array(rows))


@pytest.mark.parametrize("estimator", ESTIMATORS)
def test_weights_and_responsibilities(estimator, rows):
    weights = np.ma.array(np.ones(40), mask=np.arange(40) == 7)
    resp = np.ma.array(np.full((40, 2), 0.5), mask=np.arange(80).reshape(40, 2) == 7)
    labels = np.ma.array(np.arange(40) % 2, mask=np.arange(40) == 7)
    mixture = estimator(2, random_state=0)
    with pytest.raises(TypeError, match="sample_weight is a masked array with 1 masked entry"):
        mixture.fit(rows, sample_weight=weights)
    for given in (resp, labels):
        with pytest.raises(TypeError, match="init_params is a masked array with 1 masked entry"):
            estimator(2, init_params=given).fit(rows)
        with pytest.raises(TypeError, match="resp is a masked array with 1 masked entry"):
            mixture.fit(rows).elbo(rows, resp=given)
    with pytest.raises(TypeError, match="Sparse data was passed for resp"):
        mixture.elbo(rows, resp=sparse.csr_array(resp.data))
    with pytest.raises(TypeError, match="sample_weight must be numeric; got the structured"):
        mixture.score(rows, sample_weight=np.ones(40, [("a", "f8")]))


def test_given_parameters(rows):
    means = np.ma.array(rows[:2], mask=[[True, False], [False, False]])
    with pytest.raises(TypeError, match="means_init is a masked array"):
        vbfast.GaussianMixture(2, means_init=means).fit(rows)
    with pytest.raises(TypeError, match="weights_init is a masked array"):
        vbfast.GaussianMixture(2, weights_init=np.ma.array([0.5, 0.5], mask=[1, 0])).fit(rows)


def test_distributions_that_passed_through_float32(rows):
    """The tolerance of a distribution is one number for array functions, starts and bounds."""
    rng = np.random.default_rng(0)
    resp = rng.dirichlet(np.ones(2), 40).astype(np.float32).astype(float)
    vbfast.GaussianMixture(2, init_params=resp).fit(rows).elbo(rows, resp=resp)
    weights = np.array([1, 2]) / 3
    weights = weights.astype(np.float32).astype(float)
    assert weights.sum() != 1
    start = {"means_init": rows[:2], "max_iter": 500, "random_state": 0}
    rounded, exact = (
        vbfast.GaussianMixture(2, weights_init=given, **start).fit(rows)
        for given in (weights, weights / weights.sum())
    )
    np.testing.assert_allclose(rounded.lower_bounds_, exact.lower_bounds_, rtol=1e-12)
    with pytest.raises(ValueError, match="should be normalized"):
        vbfast.GaussianMixture(2, weights_init=[0.5, 0.50001]).fit(rows)
