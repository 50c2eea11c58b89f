"""What a mixture with a posterior over its parameters says about rows, in scikit-learn's words."""

from __future__ import annotations

from dataclasses import replace
from numbers import Integral
from typing import Any, ClassVar

import numpy as np
from sklearn.utils import check_scalar

from vbfast.contract import Float64Array, FloatArray, LogJoint, Request
from vbfast.estimators.fitted import elbo_terms
from vbfast.estimators.gaussian_base import BaseGaussianMixture, rounded_attributes
from vbfast.estimators.starts import check_fitted_parameters, fitted_array
from vbfast.estimators.validation import as_random_state
from vbfast.families.covariances import MOMENTS_OF, precisions_of
from vbfast.families.mixing_weights import Dirichlet, StickBreaking
from vbfast.families.natural import (
    NaturalParameters,
    VariationalGradient,
    variational_gradient,
)
from vbfast.families.normal_wishart import LEAST_COUNT, NormalWishart, NormalWishartPrior
from vbfast.families.variational import MixturePosterior
from vbfast.inference.draw_monitor import make_draw_monitor
from vbfast.inference.marginal_likelihood import default_draws, importance_weights
from vbfast.inference.predictive import log_predictive_density
from vbfast.inputs.weights import as_sample_weight
from vbfast.passes.runner import LocalRunner
from vbfast.results import ElboTerms, EvidenceEstimate, VariationalElboTerms

__all__ = ["PosteriorMixture"]


class PosteriorMixture(BaseGaussianMixture):
    """Base class of the variational Bayesian mixture: its posterior, and what follows from it.

    The posterior lives in the fitted attributes, whose names and types are scikit-learn's. The
    subclass has the constructor and the fit.
    """

    _bound_per_row: ClassVar[bool] = False

    weight_concentration_: Any
    mean_precision_: FloatArray
    degrees_of_freedom_: Any
    weight_concentration_prior_: float
    mean_precision_prior_: float
    mean_prior_: Float64Array
    degrees_of_freedom_prior_: float
    covariance_prior_: Any
    n_active_components_: int

    def _fitted_attributes(
        self, parameters: MixturePosterior, dtype: np.dtype[Any]
    ) -> dict[str, Any]:
        weights, components = parameters.weights, parameters.components
        prior = components.prior
        if isinstance(weights, StickBreaking):
            concentration = np.stack([weights.taken, weights.left])
        else:
            assert isinstance(weights, Dirichlet)
            concentration = weights.concentration
        attributes = {
            "weights_": weights.mean,
            "means_": components.means,
            "covariances_": components.covariances,
            "precisions_": precisions_of(prior.covariance_type, components.precision_cholesky),
            "precisions_cholesky_": components.precision_cholesky,
            "weight_concentration_": concentration,
            "mean_precision_": components.mean_precision,
            "degrees_of_freedom_": components.degrees_of_freedom,
        }
        rounded = rounded_attributes(attributes, dtype)
        if concentration.ndim == 2:
            rounded["weight_concentration_"] = tuple(rounded["weight_concentration_"])
        return rounded | {
            "weight_concentration_prior_": weights.prior_concentration,
            "mean_precision_prior_": prior.mean_precision,
            "mean_prior_": prior.mean,
            "degrees_of_freedom_prior_": prior.degrees_of_freedom,
            "covariance_prior_": prior.covariance[()],
            "n_active_components_": int(parameters.active.sum()),
        }

    def _posterior(self) -> MixturePosterior:
        """Return the posterior that the fitted attributes hold."""
        shares, means, factors = check_fitted_parameters(
            self.weights_, self.means_, self.precisions_cholesky_, self.covariance_type
        )
        K = len(shares)
        prior = NormalWishartPrior(
            self.covariance_type,
            self.mean_precision_prior_,
            self.mean_prior_,
            self.degrees_of_freedom_prior_,
            np.asarray(self.covariance_prior_),
            float(self.reg_covar) * LEAST_COUNT,
        )
        of_components = () if self.covariance_type == "tied" else (K,)
        components = NormalWishart(
            prior,
            fitted_array(self, "mean_precision_", (K,), positive=True),
            means,
            fitted_array(self, "degrees_of_freedom_", of_components, positive=True),
            fitted_array(self, "covariances_", factors.shape),
            factors,
        )
        sticks = np.ndim(self.weight_concentration_) == 2
        concentration = fitted_array(
            self, "weight_concentration_", (2, K) if sticks else (K,), positive=True
        )
        if sticks:
            weights = StickBreaking(self.weight_concentration_prior_, *concentration)
            return MixturePosterior(weights, components)
        return MixturePosterior(self._dirichlet(concentration), components)

    def _dirichlet(self, concentration: Float64Array) -> Dirichlet:
        """Return the weights' posterior, with the rows that a large prior has swallowed.

        The mean precisions have them too, and they are taken from there where both are of the same
        rows, as after a fit, and the prior of the means is the weaker.
        """
        prior = self.weight_concentration_prior_
        given = np.asarray(self.weight_concentration_)
        counts = np.asarray(self.mean_precision_, dtype=np.float64) - self.mean_precision_prior_
        rounded = (prior + counts).astype(given.dtype)
        spacing = np.spacing(np.abs(given))
        if prior > self.mean_precision_prior_ and np.all(np.abs(rounded - given) <= 2.0 * spacing):
            return Dirichlet(prior, concentration, np.maximum(counts, 0.0))
        return Dirichlet(prior, concentration)

    def _fitted_parameters(self) -> MixturePosterior:
        return self._posterior()

    def _fitted_log_joint(self) -> LogJoint:
        return self._posterior().log_joint()

    def _fitted_log_density(self) -> LogJoint:
        posterior = self._posterior()
        return replace(posterior.log_joint(), offset=posterior.components.expected_log_density)

    def _estimate_log_weights(self) -> FloatArray:
        return np.asarray(self._posterior().weights.expected_log.astype(self.means_.dtype))

    @property
    def elbo_(self) -> float:
        """The bound of the kept fit, the last of ``lower_bounds_``, in nats.

        Of the kind of ``elbo(X).total``, with the divergences of weights and components, and not of
        ``elbo(X).elbo``, without.
        """
        return self.lower_bound_

    def score_samples(self, X: Any) -> FloatArray:
        """Compute scikit-learn's score of each row, in nats.

        That is ``log sum_k exp E[log p(x, z=k | theta)]``, with the expectation under the posterior
        of the parameters: what the responsibilities are normalised by. It is not a log-density: by
        Jensen's inequality its exponential integrates to less than one. For a density see
        :meth:`log_predictive_density`.

        Parameters
        ----------
        X : array-like of shape (n_samples, n_features)

        Returns
        -------
        log_prob : ndarray of shape (n_samples,)
            float32 for float32 rows, else float64.
        """
        return super().score_samples(X)

    def log_predictive_density(self, X: Any) -> FloatArray:
        """Evaluate the posterior predictive density of each row, in nats.

        The density of a new row given those of the fit, with the parameters integrated out: a
        mixture of multivariate Student-t densities with weights ``weights_`` (Bishop 2006, eq.
        10.81).

        Parameters
        ----------
        X : array-like of shape (n_samples, n_features)

        Returns
        -------
        log_density : ndarray of shape (n_samples,)
            float32 for float32 rows, else float64. Its exponential integrates to one.

        Examples
        --------
        >>> import numpy as np
        >>> import vbfast
        >>> rng = np.random.default_rng(0)
        >>> X = rng.normal(size=(50, 1))
        >>> mixture = vbfast.BayesianGaussianMixture(2, random_state=0).fit(X)
        >>> grid = np.linspace(-2000.0, 2000.0, 400_001)[:, np.newaxis]
        >>> density = np.exp(mixture.log_predictive_density(grid))
        >>> bool(abs(density.sum() * 0.01 - 1.0) < 1e-4)
        True
        """
        rows = self._fitted_rows(X)
        with self._passes_over(rows):
            return log_predictive_density(LocalRunner(rows), self._posterior())

    def log_marginal_likelihood(
        self,
        X: Any,
        n_draws: int | None = None,
        random_state: Any = None,
        sample_weight: Any = None,
        *,
        verbose: int | None = None,
    ) -> EvidenceEstimate:
        """Estimate the log marginal likelihood of X by importance sampling.

        Parameters are drawn from the fitted posterior and weighed by the joint density over the
        posterior's, with the assignments summed out; the largest weights are Pareto-smoothed
        (Vehtari, Simpson, Gelman, Yao and Gabry 2024). Their tail says how good the posterior is
        as a proposal, hence as an approximation (Yao, Vehtari, Simpson and Gelman 2018). It says
        nothing of modes that no draw comes near, such as the same components in another order: of
        K > 1 well separated components the value lacks up to ln K! nats under a Dirichlet prior,
        see ``log_symmetry`` of :class:`~vbfast.EvidenceEstimate`, and as much or more under a
        Dirichlet process.

        Parameters
        ----------
        X : array-like of shape (n_samples, n_features)
            The rows of the fit: the posterior is no proposal for the evidence of others.
        n_draws : int, default=None
            At least 25. Each takes the arithmetic of a pass over the rows with full covariances,
            whatever the covariance type: the type restricts the posterior and not the model. The
            rows are read once for many draws. By default 200 to 1000: as many as take about 2e10
            multiplications, ``N K D (D + 3)`` each.
        random_state : int, RandomState instance or None, default=None
            ``None`` takes the estimator's own.
        sample_weight : array-like of shape (n_samples,), optional
        verbose : int, default=None
            From 1 on shows how many draws are done and the time left, as a fit does; ``None`` takes
            the estimator's own.

        Returns
        -------
        EvidenceEstimate
            With the gap to the bound, ``elbo(X).total``, and a sentence on whether to trust it.

        Raises
        ------
        ValueError
            If ``n_draws`` is less than 25.

        Examples
        --------
        >>> import numpy as np
        >>> import vbfast
        >>> X = np.random.default_rng(0).normal(size=(100, 2))
        >>> mixture = vbfast.BayesianGaussianMixture(1, reg_covar=0.0).fit(X)
        >>> estimate = mixture.log_marginal_likelihood(X, n_draws=100, random_state=0)
        >>> bool(np.isclose(estimate.value, mixture.elbo_))  # one component: q is exact
        True
        >>> estimate.advice
        'The weights are equal: q is the exact posterior, and the value exact.'
        """
        rows = self._fitted_rows(X)
        posterior = self._posterior()
        n_components, n_features = posterior.components.means.shape
        if n_draws is None:
            n_draws = default_draws(rows.n_samples, n_components, n_features)
        check_scalar(n_draws, "n_draws", Integral, min_val=25)
        with self._passes_over(rows):
            weights = importance_weights(
                LocalRunner(rows, as_sample_weight(sample_weight, rows.n_samples)),
                posterior,
                n_draws,
                as_random_state(self.random_state if random_state is None else random_state),
                monitor=make_draw_monitor(
                    n_draws, verbose=self.verbose if verbose is None else verbose
                ),
            )
        value, standard_error = weights.log_mean()
        return EvidenceEstimate(
            value=value,
            standard_error=standard_error,
            khat=weights.khat,
            kl_gap=value - self.elbo(X, sample_weight=sample_weight).total,
            log_symmetry=posterior.weights.log_symmetry,
            n_draws=n_draws,
            n_components=n_components,
        )

    def elbo(self, X: Any, resp: Any = None, sample_weight: Any = None) -> VariationalElboTerms:
        """Evaluate the evidence lower bound of the fitted posterior on X, term by term.

        Parameters
        ----------
        X : array-like of shape (n_samples, n_features)
        resp : array-like of shape (n_samples, n_components), optional
            ``q(z)``, each row a distribution over the components; by default the best for the
            posterior of the parameters.
        sample_weight : array-like of shape (n_samples,), optional
            A row of zero weight is skipped: its ``resp`` may be anything. Its X has to be finite.

        Returns
        -------
        VariationalElboTerms
            In nats. On the rows of the fit ``total`` is never below ``elbo_``, and equal to it at
            convergence; ``elbo`` is another quantity, without the divergences of the weights and
            components from their priors.

        Raises
        ------
        ValueError
            If a row of ``resp`` with positive weight is no distribution.

        Examples
        --------
        >>> import numpy as np
        >>> import vbfast
        >>> X = np.array([[-1.0], [0.0], [1.0], [9.0], [10.0], [11.0]])
        >>> mixture = vbfast.BayesianGaussianMixture(2, tol=1e-9, random_state=0).fit(X)
        >>> terms = mixture.elbo(X)
        >>> bool(np.isclose(terms.total, mixture.elbo_))
        True
        """
        return _variational_terms(self._elbo_terms(X, resp, sample_weight), self._posterior())

    @property
    def natural_parameters_(self) -> NaturalParameters:
        """The natural parameters of the fitted posterior, in float64.

        The coordinates in which :meth:`elbo_and_grad` has its gradients, and :meth:`at` goes back
        from.
        """
        return NaturalParameters.of(self._posterior())

    def elbo_and_grad(
        self, X: Any, sample_weight: Any = None
    ) -> tuple[VariationalElboTerms, VariationalGradient]:
        """Evaluate the bound of the fitted posterior on X, and its gradients in the posterior.

        The responsibilities are the best for the posterior, so that the bound, ``total``, is a
        function of the posterior alone. Its coordinates are the natural parameters, see
        :class:`~vbfast.NaturalParameters`. Without ``reg_covar``, which the bound
        knows nothing of, a step of length one along the natural gradient is one iteration of
        ``fit``, and a fraction of one never lowers the bound. A fraction from a part of the rows,
        with a weight that makes up for the others, is a step of stochastic variational inference;
        :meth:`at` takes steps, and shows such a loop.

        Parameters
        ----------
        X : array-like of shape (n_samples, n_features)
        sample_weight : array-like of shape (n_samples,), optional

        Returns
        -------
        terms : VariationalElboTerms
            As :meth:`elbo`, nats.
        gradient : VariationalGradient
            ``coordinates``, ``euclidean`` and ``natural``.

        Raises
        ------
        ValueError
            If a component's rows and the prior leave the posterior singular, as without
            ``reg_covar`` a singular ``covariance_prior_`` may.

        Examples
        --------
        >>> import numpy as np
        >>> import vbfast
        >>> X = np.random.default_rng(0).normal(size=(100, 2))
        >>> mixture = vbfast.BayesianGaussianMixture(1, reg_covar=0.0).fit(X)
        >>> terms, gradient = mixture.elbo_and_grad(X)
        >>> bool(np.abs(gradient.natural.scaled_means).max() < 1e-9)  # at the optimum
        True
        """
        rows = self._fitted_rows(X)
        posterior = self._posterior()
        sums = self._evaluate(
            rows,
            Request(moments=MOMENTS_OF[self.covariance_type], entropy=True),
            sample_weight=sample_weight,
        )
        assert sums.statistics is not None
        with self._passes_over(rows):
            target = posterior.prior.posterior(sums.statistics, reg_covar=0.0)
        terms = _variational_terms(elbo_terms(sums), posterior)
        return terms, variational_gradient(posterior, target)


def _variational_terms(terms: ElboTerms, posterior: MixturePosterior) -> VariationalElboTerms:
    return VariationalElboTerms(
        **vars(terms),
        kl_weights=posterior.weights.kl,
        kl_components=posterior.components.kl,
    )
