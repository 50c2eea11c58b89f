"""The terms of the lower bound, from what a pass summed up."""

from __future__ import annotations

from typing import Any

from vbfast.contract import PassResult, Request
from vbfast.families.covariances import MOMENTS_OF
from vbfast.families.mixture_posterior import MixturePosterior
from vbfast.families.natural import VariationalGradient, variational_gradient
from vbfast.inference.runner import RowRunner
from vbfast.results import ElboTerms, VariationalElboTerms

__all__ = ["elbo_terms", "variational_terms", "variational_terms_and_gradient"]


def elbo_terms(sums: PassResult) -> ElboTerms:
    """Return the terms of the bound that a pass with entropy summed up."""
    return ElboTerms(
        elbo=sums.expected_log_joint + sums.entropy,
        expected_log_joint=sums.expected_log_joint,
        entropy=sums.entropy,
        log_evidence=sums.log_evidence,
        kl=sums.kl,
    )


def variational_terms(sums: PassResult, posterior: MixturePosterior) -> VariationalElboTerms:
    """Return the same with the divergences of a posterior from its prior.

    Parameters
    ----------
    sums : PassResult
        Of a pass with the posterior and with entropy.
    posterior : MixturePosterior
    """
    terms: dict[str, Any] = vars(elbo_terms(sums))
    return VariationalElboTerms(
        **terms, kl_weights=posterior.weights.kl, kl_components=posterior.components.kl
    )


def variational_terms_and_gradient(
    runner: RowRunner, posterior: MixturePosterior
) -> tuple[VariationalElboTerms, VariationalGradient]:
    """Evaluate the bound of a posterior at its best responsibilities, and its gradients, in a pass.

    Raises
    ------
    NonFiniteRowError
        If a row is not finite; the first such row.
    NotPositiveDefiniteError
        If a component's rows and the prior leave the posterior singular.
    """
    kind = posterior.components.prior.covariance_type
    sums = runner.run(posterior.log_joint(), Request(moments=MOMENTS_OF[kind], entropy=True))
    assert sums.statistics is not None
    target = posterior.prior.posterior(sums.statistics, reg_covar=0.0, linalg=runner.linalg)
    return variational_terms(sums, posterior), variational_gradient(posterior, target)
