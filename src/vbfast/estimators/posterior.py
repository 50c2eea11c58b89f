"""What a mixture with a posterior over its parameters says about rows, in scikit-learn's words."""

from __future__ import annotations

from numbers import Integral
from typing import Any, Self

import numpy as np
import numpy.typing as npt
from sklearn.utils import check_scalar
from sklearn.utils.validation import check_is_fitted

from vbfast.config.settings import config_context
from vbfast.contract import Float64Array, FloatArray
from vbfast.estimators.gaussian import gaussian_mixture_of
from vbfast.estimators.gaussian_base import BaseGaussianMixture
from vbfast.estimators.outputs import where_rows_are
from vbfast.estimators.validation import as_random_state
from vbfast.families.gaussian_parameters import GaussianParameters
from vbfast.families.mixture_posterior import MixturePosterior
from vbfast.families.natural import NaturalParameters, VariationalGradient
from vbfast.families.variational import PRIOR_ATTRIBUTES, VariationalGaussian
from vbfast.inference.draw_monitor import make_draw_monitor
from vbfast.inference.marginal_likelihood import default_draws, importance_weights
from vbfast.inference.predictive import log_predictive_density
from vbfast.inference.terms import variational_terms, variational_terms_and_gradient
from vbfast.inputs.weights import as_sample_weight
from vbfast.passes.runner import runner_over
from vbfast.results import EvidenceEstimate, VariationalElboTerms

__all__ = ["PosteriorMixture"]


class PosteriorMixture(BaseGaussianMixture):
    """Base class of the variational Bayesian mixture: its posterior, and what follows from it.

    The posterior lives in the fitted attributes, whose names and types are scikit-learn's. The
    subclass has the constructor and the fit.
    """

    weight_concentration_: Any
    mean_precision_: FloatArray
    degrees_of_freedom_: Any
    weight_concentration_prior_: float
    mean_precision_prior_: float
    mean_prior_: Float64Array
    degrees_of_freedom_prior_: float
    covariance_prior_: Any
    n_active_components_: int

    def _fitted_family(self) -> VariationalGaussian:
        names = ("weight_concentration_", *PRIOR_ATTRIBUTES)
        held = {name: getattr(self, name) for name in names}
        return VariationalGaussian.of_attributes(held, self.covariance_type, float(self.reg_covar))

    def _fitted_parameters(self) -> MixturePosterior:
        posterior: MixturePosterior = super()._fitted_parameters()
        return posterior

    def _gaussian_parameters(self) -> GaussianParameters:
        posterior = self._fitted_parameters()
        components = posterior.components
        return GaussianParameters(
            self.covariance_type,
            posterior.weights.mean,
            components.means,
            components.covariances,
            components.precision_cholesky,
            components.linalg,
        )

    def _gaussian_mixture(
        self, parameters: GaussianParameters, features: npt.NDArray[np.intp]
    ) -> BaseGaussianMixture:
        return gaussian_mixture_of(self, parameters, features)

    @property
    def elbo_(self) -> float:
        """The bound of the kept fit, the last of ``lower_bounds_``, in nats.

        Of the kind of ``elbo(X).total``, with the divergences of weights and components, and not of
        ``elbo(X).elbo``, without.
        """
        return self.lower_bound_

    def score_samples(
        self, X: Any, *, out: FloatArray | None = None, exact: bool = False
    ) -> FloatArray:
        """Compute scikit-learn's score of each row, in nats.

        That is ``log sum_k exp E[log p(x, z=k | theta)]``, with the expectation under the posterior
        of the parameters: what the responsibilities are normalised by. It is not a log-density: by
        Jensen's inequality its exponential integrates to less than one. For a density see
        :meth:`log_predictive_density`.

        Parameters
        ----------
        X : array-like of shape (n_samples, n_features)
        out : ndarray of shape (n_samples,), optional
            Where the result goes, a memory map for one; of its dtype.
        exact : bool, default=False
            As for :meth:`vbfast.GaussianMixture.score_samples`.

        Returns
        -------
        log_prob : ndarray of shape (n_samples,)
            `out` if given. float32 for float32 rows, else float64.
        """
        return super().score_samples(X, out=out, exact=exact)

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
            density: FloatArray = where_rows_are(
                rows, log_predictive_density(runner_over(rows), self._fitted_parameters())
            )
            return density

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
        posterior = self._fitted_parameters()
        n_components, n_features = posterior.components.means.shape
        if n_draws is None:
            n_draws = default_draws(rows.n_samples, n_components, n_features)
        check_scalar(n_draws, "n_draws", Integral, min_val=25)
        with self._passes_over(rows):
            weights = importance_weights(
                runner_over(rows, as_sample_weight(sample_weight, rows.n_samples)),
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
        sums = self._sum_terms(X, resp, sample_weight)
        return variational_terms(sums, self._fitted_parameters())

    @property
    def natural_parameters_(self) -> NaturalParameters:
        """The natural parameters of the fitted posterior, in float64.

        The coordinates in which :meth:`elbo_and_grad` has its gradients;
        :meth:`with_natural_parameters` goes back from them.
        """
        return NaturalParameters.of(self._fitted_parameters())

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
        :meth:`with_natural_parameters` takes steps, and shows such a loop.

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
        weights = as_sample_weight(sample_weight, rows.n_samples)
        with self._passes_over(rows):
            return variational_terms_and_gradient(
                runner_over(rows, weights), self._fitted_parameters()
            )

    def with_natural_parameters(self, natural_parameters: NaturalParameters) -> Self:
        """Return a copy whose posterior has the given natural parameters.

        Steps along :meth:`elbo_and_grad`'s gradients are taken with it. The copy is fitted, with
        the priors and the dtype of this mixture, and says that no iteration has led to it, as
        after a fit with ``max_iter=0``: ``lower_bound_`` is ``-inf`` (:meth:`elbo` has the bound),
        ``n_iter_`` zero. A further fit with ``warm_start=True`` goes on from there; batches of
        :meth:`partial_fit` are forgotten.

        Parameters
        ----------
        natural_parameters : NaturalParameters
            Of as many components and features, in the domain; see
            :class:`~vbfast.NaturalParameters`. They are about the origin: where
            rows lie further from it than 1e4 standard deviations, take their mean off first.

        Returns
        -------
        mixture : object
            Of the same class, fitted.

        Raises
        ------
        TypeError
            If they are not NaturalParameters, or complex.
        ValueError
            If an array has the wrong shape or is not finite, or if they are outside of the domain:
            concentrations and ``mean_precision`` must be positive, ``degrees_of_freedom`` greater
            than ``n_features - 1``, and the scale matrices positive definite; or if a fitted
            attribute overflows the mixture's dtype.

        References
        ----------
        M. D. Hoffman, D. M. Blei, C. Wang and J. Paisley (2013), Stochastic variational inference,
        section 2.4.

        Examples
        --------
        Stochastic variational inference: steps of decreasing length, each from 100 rows that stand
        for all.

        >>> import numpy as np
        >>> import vbfast
        >>> rng = np.random.default_rng(0)
        >>> X = rng.normal(size=(10_000, 2)) + 6.0 * rng.integers(3, size=(10_000, 1))
        >>> mixture = vbfast.BayesianGaussianMixture(3, max_iter=0, random_state=0)
        >>> mixture = mixture.fit(X[:500], sample_weight=len(X) / 500)
        >>> for t in range(200):
        ...     batch = X[rng.integers(len(X), size=100)]
        ...     terms, gradient = mixture.elbo_and_grad(batch, sample_weight=len(X) / 100)
        ...     rate = (t + 10) ** -0.7
        ...     mixture = mixture.with_natural_parameters(
        ...         gradient.coordinates + rate * gradient.natural
        ...     )

        Which ends near the posterior that a fit takes all rows in every iteration for:

        >>> fitted = vbfast.BayesianGaussianMixture(3, random_state=0).fit(X)
        >>> bool((fitted.elbo(X).total - mixture.elbo(X).total) / len(X) < 0.01)
        True
        """
        check_is_fitted(self)
        if not isinstance(natural_parameters, NaturalParameters):
            raise TypeError(
                "natural_parameters must be NaturalParameters, as natural_parameters_ and the "
                f"fields of a gradient are; got {type(natural_parameters).__name__}"
            )
        with config_context(backend=self.backend):
            moved = self._holding(natural_parameters.posterior(self._fitted_parameters()))
        moved.converged_ = False
        moved.n_iter_ = moved.n_passes_ = 0
        moved.lower_bound_ = -np.inf
        moved.lower_bounds_ = []
        return moved
