"""``backend=`` of the estimators: every pass of theirs runs on it."""

from __future__ import annotations

import numpy as np
import pytest

from vbfast.backends.native.linalg import NativeLinearAlgebra
from vbfast.backends.reference import ReferenceBackend
from vbfast.estimators import BayesianGaussianMixture, GaussianMixture


@pytest.mark.parametrize(
    ("mixture", "method", "arguments"),
    [
        (GaussianMixture, "score", {}),
        (GaussianMixture, "elbo", {}),
        (GaussianMixture, "log_evidence_and_grad", {"wrt_x": True}),
        (BayesianGaussianMixture, "elbo_and_grad", {}),
        (BayesianGaussianMixture, "log_predictive_density", {}),
        (BayesianGaussianMixture, "log_marginal_likelihood", {"n_draws": 25, "random_state": 0}),
    ],
)
def test_methods_run_on_the_backend(clustered, monkeypatch, mixture, method, arguments):
    native = mixture(2, random_state=0).fit(clustered)
    expected = getattr(native, method)(clustered, **arguments)
    passes = []
    begin = ReferenceBackend.begin

    def counted(self, *args, **kwargs):
        passes.append(1)
        return begin(self, *args, **kwargs)

    monkeypatch.setattr(ReferenceBackend, "begin", counted)
    actual = getattr(native.set_params(backend="reference"), method)(clustered, **arguments)
    assert passes
    if isinstance(actual, float | np.ndarray):
        np.testing.assert_allclose(actual, expected)


@pytest.mark.parametrize("mixture", [GaussianMixture, BayesianGaussianMixture])
@pytest.mark.parametrize("covariance_type", ["full", "diag"])
def test_all_is_computed_on_the_backend(clustered, monkeypatch, mixture, covariance_type):
    for name in dir(NativeLinearAlgebra):
        if not name.startswith("_"):
            monkeypatch.setattr(NativeLinearAlgebra, name, None)  # no function to be called
    arguments = {"accelerate": "squarem", "random_state": 0, "backend": "reference"}
    fitted = mixture(2, covariance_type=covariance_type, tol=1.0, **arguments).fit(clustered)
    fitted.score(clustered)
    fitted.elbo(clustered)
    fitted.sample(10)
    fitted.maximize(fitted.summarize(clustered))
    if mixture is BayesianGaussianMixture:
        fitted.log_predictive_density(clustered)
        fitted.log_marginal_likelihood(clustered, n_draws=25, random_state=0)
        fitted.elbo_and_grad(clustered)
        fitted.prune().score(clustered)
