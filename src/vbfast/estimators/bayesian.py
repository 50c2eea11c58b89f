"""Variational Bayesian Gaussian mixtures with scikit-learn's interface."""

from __future__ import annotations

import copy
import warnings
from numbers import Integral, Real
from typing import Any, ClassVar, Self

import numpy as np
from sklearn.utils import check_random_state, check_scalar
from sklearn.utils._param_validation import Interval, StrOptions
from sklearn.utils.validation import check_is_fitted

from vbfast.engine.contract import (
    CovarianceType,
    Float64Array,
    FloatArray,
    KernelParams,
    Request,
)
from vbfast.engine.rows import RowSource
from vbfast.engine.weights import as_sample_weight
from vbfast.estimators.base import BaseMixture, elbo_terms
from vbfast.estimators.priors import WEIGHT_PRIORS, check_component_prior
from vbfast.estimators.starts import check_fitted_shapes, check_resumed_shapes
from vbfast.families.coordinates import PosteriorCoordinates
from vbfast.families.covariances import precisions_of
from vbfast.families.mixing_weights import Dirichlet, StickBreaking
from vbfast.families.natural import VariationalGradient, variational_gradient
from vbfast.families.normal_wishart import NormalWishart, NormalWishartPrior
from vbfast.families.splitting import split_widest
from vbfast.families.variational import MixturePosterior, MixturePrior, VariationalBayes
from vbfast.inference.acceleration import Acceleration, Accelerator, make_accelerator
from vbfast.inference.initialisation import initial_statistics
from vbfast.inference.marginal_likelihood import importance_weights
from vbfast.inference.predictive import log_predictive_density
from vbfast.results import ElboTerms, EvidenceEstimate, VariationalElboTerms

__all__ = ["BayesianGaussianMixture"]


class BayesianGaussianMixture(BaseMixture):
    """Gaussian mixture fitted by coordinate-ascent variational Bayes.

    The interface, the model and, from the same start, the parameters are those of
    :class:`sklearn.mixture.BayesianGaussianMixture`. Differences: the bound has all its constants,
    so that it is a lower bound of the log marginal likelihood, comparable across numbers of
    components, priors and covariance types; convergence does not get harder with the number of
    rows. Beyond scikit-learn: ``sample_weight``, responsibilities or a callable as the start, rows
    that are read from disk as the passes go, :meth:`elbo`, :meth:`log_predictive_density` and
    :meth:`prune`. An iteration is one pass over the rows that allocates nothing of size
    n_samples x n_components.

    Parameters
    ----------
    n_components : int, default=1
        The number of components; those that the data does not need lose their rows.
    covariance_type : {'full', 'tied', 'diag', 'spherical'}, default='full'
        'full': each component has its own covariance matrix; 'tied': all share one; 'diag': each
        has its own variances; 'spherical': each has a single variance.
    tol : float, default=1e-3
        Iterations stop when the bound changes by less than ``tol * max(1, n / 1000)`` nats, with
        ``n`` the number of rows or the sum of their weights. Up to 1000 rows that is scikit-learn's
        rule; beyond, a change of ``tol`` nats or more that is larger than the one before does not
        count, as changes that grow lead off a plateau.
    reg_covar : float, default=1e-6
        Variance added to the rows' scatter about each component's mean.
    max_iter : int, default=100
        The most iterations from one start.
    n_init : int, default=1
        The number of starts; the one that ends with the highest bound is kept.
    init_params : {'kmeans', 'k-means++', 'random', 'random_from_data'}, \
array-like of shape (n_samples, n_components) or callable, default='kmeans'
        How the first responsibilities are made: by k-means; one row a component, spread by
        k-means++; at random; one row a component, drawn at random. Or the responsibilities, or
        a function ``(X, n_components, random_state)`` that returns them.
    weight_concentration_prior_type : {'dirichlet_process', 'dirichlet_distribution'}, \
default='dirichlet_process'
        The prior of the weights: stick-breaking, truncated at ``n_components`` sticks, or a
        symmetric Dirichlet distribution.
    weight_concentration_prior : float, default=None
        Its concentration, the larger the more components share the rows; ``1 / n_components`` by
        default.
    mean_precision_prior : float, default=None
        How many rows the prior of a mean counts as; 1 by default.
    mean_prior : array-like of shape (n_features,), default=None
        The prior's mean; the rows' mean by default.
    degrees_of_freedom_prior : float, default=None
        Degrees of freedom of the precisions' Wishart prior, more than ``n_features - 1``;
        ``n_features`` by default.
    covariance_prior : float or array-like, default=None
        Inverse of the Wishart prior's scale matrix, of shape (n_features, n_features) for 'full'
        and 'tied', (n_features,) for 'diag', or a number for 'spherical'; the rows' covariance by
        default.
    random_state : int, RandomState instance or None, default=None
        Seeds the starts and :meth:`sample`.
    warm_start : bool, default=False
        Whether a fit goes on from the last one's end; ``n_init`` then has no effect.
    verbose : int, default=0
        From 1 on a fit shows the bound, its change, rows per second and the time left: as a
        progress bar on a terminal where rich is installed, as lines of text otherwise.
    verbose_interval : int, default=10
        Iterations between lines of text.
    accelerate : {None, 'squarem', 'anderson'}, default=None
        Whether iterations may go beyond the posterior that the last one led to, and how: 'squarem'
        by squared extrapolation (Varadhan and Roland 2008), 'anderson' by damped Anderson
        acceleration (Henderson and Varadhan 2019). A step that would lower the bound is refused, at
        the cost of a pass. Fits that take hundreds of iterations take fewer; from one start they
        may end in another local maximum than plain iterations.
    backend : {'native', 'numba', 'reference'} or None, default=None
        What the passes run on; ``None`` is the one in use, see :func:`vbfast.config_context`.

    Attributes
    ----------
    weights_ : ndarray of shape (n_components,)
        The components' expected weights, which sum to one. This array and the next seven are
        float32 for float32 rows.
    means_ : ndarray of shape (n_components, n_features)
        Expected means.
    covariances_ : ndarray
        Inverse expected precisions, of shape (n_components, n_features, n_features) for 'full',
        (n_features, n_features) for 'tied', (n_components, n_features) for 'diag' and
        (n_components,) for 'spherical'.
    precisions_ : ndarray
        Expected precisions, shaped as ``covariances_``.
    precisions_cholesky_ : ndarray
        Upper triangular factors ``P`` with ``P @ P.T`` the precisions ('full' and 'tied'), or
        square roots of the precisions; shaped as ``covariances_``.
    weight_concentration_ : ndarray of shape (n_components,) or tuple of two such
        Parameters of the weights' posterior: of the Dirichlet distribution, or both of every
        stick's Beta distribution.
    mean_precision_ : ndarray of shape (n_components,)
        How many rows the posterior of each mean counts as.
    degrees_of_freedom_ : ndarray of shape (n_components,), or a number for 'tied'
        Of the precisions' Wishart posteriors.
    weight_concentration_prior_, mean_precision_prior_, degrees_of_freedom_prior_ : float
    mean_prior_ : ndarray of shape (n_features,)
    covariance_prior_ : float or ndarray
        The prior that was used: what was given or its default, in float64.
    n_active_components_ : int
        The number of components that hold at least half a row.
    converged_ : bool
        Whether the kept start converged.
    n_iter_ : int
        Its number of iterations.
    n_passes_ : int
        Its number of passes over the rows: ``n_iter_``, and those of refused steps where
        ``accelerate`` is set, at most one an iteration.
    lower_bound_, elbo_ : float
        Its last bound, in nats: of the responsibilities that the last iteration's pass computed,
        and the posterior of the parameters that they led to. All constants are included, see
        :meth:`elbo`.
    lower_bounds_ : list of float, of length ``n_iter_``
        The bound of every iteration.
    n_features_in_ : int
    feature_names_in_ : ndarray of shape (n_features_in_,)
        Where X has names for its features that are all strings.

    Warns
    -----
    UserWarning
        By :meth:`fit`, if ``covariance_prior_`` is singular, as a constant or redundant feature, or
        no more rows than features, make its default. Its normaliser is then infinite; the bound
        leaves that part out and is comparable only between fits with the same prior.

    Notes
    -----
    The posterior of a component that has lost its rows is its prior. With ``reg_covar`` above zero
    the bound may fall a little, as the variance that is added is not in the rows.

    References
    ----------
    C. M. Bishop (2006), Pattern Recognition and Machine Learning, section 10.2. D. M. Blei and
    M. I. Jordan (2006), Variational inference for Dirichlet process mixtures. H. Attias (2000), A
    variational Bayesian framework for graphical models.

    Examples
    --------
    >>> import numpy as np
    >>> import vbfast
    >>> X = np.array([[1, 2], [1, 4], [1, 0], [4, 2], [12, 4], [10, 7]])
    >>> mixture = vbfast.BayesianGaussianMixture(n_components=2, random_state=42).fit(X)
    >>> np.sort(mixture.means_, axis=0).round(2)
    array([[2.5 , 2.29],
           [8.46, 4.52]])
    >>> labels = mixture.predict([[0, 0], [9, 3]])
    >>> bool(labels[0] == labels[1])
    False
    """

    _parameter_constraints: ClassVar[dict[str, Any]] = {
        **BaseMixture._parameter_constraints,
        "weight_concentration_prior_type": [StrOptions(set(WEIGHT_PRIORS))],
        "weight_concentration_prior": [None, Interval(Real, 0.0, None, closed="neither")],
        "mean_precision_prior": [None, Interval(Real, 0.0, None, closed="neither")],
        "mean_prior": [None, "array-like"],
        "degrees_of_freedom_prior": [None, Interval(Real, 0.0, None, closed="neither")],
        "covariance_prior": [None, "array-like", Interval(Real, 0.0, None, closed="neither")],
    }
    _bound_per_row: ClassVar[bool] = False

    precisions_: FloatArray
    precisions_cholesky_: FloatArray
    weight_concentration_: Any
    mean_precision_: FloatArray
    degrees_of_freedom_: Any
    weight_concentration_prior_: float
    mean_precision_prior_: float
    mean_prior_: Float64Array
    degrees_of_freedom_prior_: float
    covariance_prior_: Any
    n_active_components_: int

    def __init__(
        self,
        n_components: int = 1,
        *,
        covariance_type: CovarianceType = "full",
        tol: float = 1e-3,
        reg_covar: float = 1e-6,
        max_iter: int = 100,
        n_init: int = 1,
        init_params: Any = "kmeans",
        weight_concentration_prior_type: str = "dirichlet_process",
        weight_concentration_prior: float | None = None,
        mean_precision_prior: float | None = None,
        mean_prior: Any = None,
        degrees_of_freedom_prior: float | None = None,
        covariance_prior: Any = None,
        random_state: Any = None,
        warm_start: bool = False,
        verbose: int = 0,
        verbose_interval: int = 10,
        accelerate: Acceleration | None = None,
        backend: str | None = None,
    ) -> None:
        self.n_components = n_components
        self.covariance_type = covariance_type
        self.tol = tol
        self.reg_covar = reg_covar
        self.max_iter = max_iter
        self.n_init = n_init
        self.init_params = init_params
        self.weight_concentration_prior_type = weight_concentration_prior_type
        self.weight_concentration_prior = weight_concentration_prior
        self.mean_precision_prior = mean_precision_prior
        self.mean_prior = mean_prior
        self.degrees_of_freedom_prior = degrees_of_freedom_prior
        self.covariance_prior = covariance_prior
        self.random_state = random_state
        self.warm_start = warm_start
        self.verbose = verbose
        self.verbose_interval = verbose_interval
        self.accelerate = accelerate
        self.backend = backend

    def _check_given(self, rows: RowSource, sample_weight: Float64Array | None) -> MixturePrior:
        concentration = self.weight_concentration_prior
        components = check_component_prior(
            rows,
            sample_weight,
            covariance_type=self.covariance_type,
            mean_precision=self.mean_precision_prior,
            mean=self.mean_prior,
            degrees_of_freedom=self.degrees_of_freedom_prior,
            covariance=self.covariance_prior,
        )
        if not components.proper:
            warnings.warn(
                "covariance_prior is singular, hence the prior improper: lower_bound_ leaves its "
                "infinite constant out. Remove constant or redundant features or give "
                "covariance_prior to compare bounds.",
                stacklevel=6,
            )
        return MixturePrior(
            WEIGHT_PRIORS[self.weight_concentration_prior_type],
            1.0 / self.n_components if concentration is None else float(concentration),
            components,
        )

    def _start(
        self,
        rows: RowSource,
        given: MixturePrior,
        random_state: np.random.RandomState,
        sample_weight: Float64Array | None,
    ) -> MixturePosterior:
        statistics = initial_statistics(
            rows,
            n_components=self.n_components,
            covariance_type=self.covariance_type,
            init_params=self.init_params,
            random_state=random_state,
            sample_weight=sample_weight,
        )
        return given.posterior(statistics, reg_covar=float(self.reg_covar))

    def _resume(
        self,
        n_features: int,
        given: MixturePrior,  # noqa: ARG002
    ) -> MixturePosterior:
        check_resumed_shapes(
            self.means_, self.covariances_, self.covariance_type, self.n_components, n_features
        )
        return self._posterior()

    def _objective(
        self,
        given: MixturePrior,
        dtype: np.dtype[Any],  # noqa: ARG002
    ) -> VariationalBayes:
        return VariationalBayes(given, float(self.reg_covar))

    def _accelerator(self) -> Accelerator[Any] | None:
        return make_accelerator(self.accelerate, PosteriorCoordinates())

    def _fitted_attributes(
        self, parameters: MixturePosterior, dtype: np.dtype[Any]
    ) -> dict[str, Any]:
        weights, components = parameters.weights, parameters.components
        prior = components.prior
        concentration: Any
        if isinstance(weights, StickBreaking):
            concentration = (weights.taken.astype(dtype), weights.left.astype(dtype))
        else:
            assert isinstance(weights, Dirichlet)
            concentration = weights.concentration.astype(dtype)
        precisions = precisions_of(prior.covariance_type, components.precision_cholesky)
        return {
            "weights_": weights.mean.astype(dtype),
            "means_": components.means.astype(dtype),
            "covariances_": components.covariances.astype(dtype),
            "precisions_": precisions.astype(dtype),
            "precisions_cholesky_": components.precision_cholesky.astype(dtype),
            "weight_concentration_": concentration,
            "mean_precision_": components.mean_precision.astype(dtype),
            # [()] makes numbers of arrays without dimensions.
            "degrees_of_freedom_": components.degrees_of_freedom.astype(dtype)[()],
            "weight_concentration_prior_": weights.prior_concentration,
            "mean_precision_prior_": prior.mean_precision,
            "mean_prior_": prior.mean,
            "degrees_of_freedom_prior_": prior.degrees_of_freedom,
            "covariance_prior_": prior.covariance[()],
            "n_active_components_": int(parameters.active.sum()),
        }

    def _posterior(self) -> MixturePosterior:
        """Return the posterior that the fitted attributes hold."""
        check_fitted_shapes(
            self.weights_, self.means_, self.precisions_cholesky_, self.covariance_type
        )
        prior = NormalWishartPrior(
            self.covariance_type,
            self.mean_precision_prior_,
            self.mean_prior_,
            self.degrees_of_freedom_prior_,
            np.asarray(self.covariance_prior_),
        )
        components = NormalWishart(
            prior,
            *(
                np.array(values, dtype=np.float64, order="C")
                for values in (
                    self.mean_precision_,
                    self.means_,
                    self.degrees_of_freedom_,
                    self.covariances_,
                    self.precisions_cholesky_,
                )
            ),
        )
        concentration = np.asarray(self.weight_concentration_, dtype=np.float64)
        if concentration.ndim == 2:
            weights = StickBreaking(self.weight_concentration_prior_, *concentration)
            return MixturePosterior(weights, components)
        return MixturePosterior(
            Dirichlet(self.weight_concentration_prior_, concentration), components
        )

    def _kernel_params(self) -> KernelParams:
        return self._posterior().kernel_params()

    @property
    def elbo_(self) -> float:
        """The bound of the kept fit, the last of ``lower_bounds_``, in nats."""
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

    def score(self, X: Any, y: Any = None, sample_weight: Any = None) -> float:
        """Compute the average of :meth:`score_samples` over the rows, in nats.

        Parameters
        ----------
        X : array-like of shape (n_samples, n_features)
        y : Ignored
            Not used, present for API consistency by convention.
        sample_weight : array-like of shape (n_samples,), optional

        Returns
        -------
        log_likelihood : float
            The weighted average.
        """
        return super().score(X, y, sample_weight)

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
            return log_predictive_density(rows, self._posterior())

    def log_marginal_likelihood(
        self, X: Any, n_draws: int = 1000, random_state: Any = None, sample_weight: Any = None
    ) -> EvidenceEstimate:
        """Estimate the log marginal likelihood of X by importance sampling.

        Parameters are drawn from the fitted posterior and weighed by the joint density over the
        posterior's, with the assignments summed out; the largest weights are Pareto-smoothed
        (Vehtari, Simpson, Gelman, Yao and Gabry 2024). Their tail says how good the posterior is
        as a proposal, hence as an approximation (Yao, Vehtari, Simpson and Gelman 2018).

        Parameters
        ----------
        X : array-like of shape (n_samples, n_features)
            The rows of the fit: the posterior is no proposal for the evidence of others.
        n_draws : int, default=1000
            At least 25. Each takes a pass over the rows with full covariances, whatever the
            covariance type: the type restricts the posterior and not the model.
        random_state : int, RandomState instance or None, default=None
            ``None`` takes the estimator's own.
        sample_weight : array-like of shape (n_samples,), optional

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
        check_scalar(n_draws, "n_draws", Integral, min_val=25)
        rows = self._fitted_rows(X)
        posterior = self._posterior()
        with self._passes_over(rows):
            weights = importance_weights(
                rows,
                posterior,
                n_draws,
                check_random_state(self.random_state if random_state is None else random_state),
                sample_weight=as_sample_weight(sample_weight, rows.n_samples),
            )
        value, standard_error = weights.log_mean()
        return EvidenceEstimate(
            value=value,
            standard_error=standard_error,
            khat=weights.khat,
            kl_gap=value - self.elbo(X, sample_weight=sample_weight).total,
            log_symmetry=posterior.weights.log_symmetry,
            n_draws=n_draws,
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

        Returns
        -------
        VariationalElboTerms
            In nats. On the rows of the fit ``total`` is never below ``elbo_``, and equal to it at
            convergence.

        Raises
        ------
        ValueError
            If a row of ``resp`` is no distribution.

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

    def elbo_and_grad(
        self, X: Any, sample_weight: Any = None
    ) -> tuple[VariationalElboTerms, VariationalGradient]:
        """Evaluate the bound of the fitted posterior on X, and its gradients in the posterior.

        The responsibilities are the best for the posterior, so that the bound, ``total``, is a
        function of the posterior alone. Its coordinates are the natural parameters, see
        :class:`~vbfast.families.natural.NaturalParameters`. Without ``reg_covar``, which the bound
        knows nothing of, a step of length one along the natural gradient is one iteration of
        ``fit``; a fraction of one from a part of the rows, with weights that make up for the
        others, is one of stochastic variational inference (Hoffman, Blei, Wang and Paisley 2013).

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
            Request(statistics=self.covariance_type, entropy=True),
            sample_weight=sample_weight,
        )
        assert sums.statistics is not None
        with self._passes_over(rows):
            target = posterior.prior.posterior(sums.statistics, reg_covar=0.0)
        terms = _variational_terms(elbo_terms(sums), posterior)
        return terms, variational_gradient(posterior, target)

    def _grown(self, n_components: int) -> Self:
        """Return a copy whose next fit starts with the widest components cut in two."""
        posterior = self._posterior()
        statistics = split_widest(posterior, n_components)
        start = posterior.prior.posterior(statistics, reg_covar=float(self.reg_covar))
        grown = copy.deepcopy(self)
        grown.set_params(n_components=n_components, warm_start=True)
        for name, value in grown._fitted_attributes(start, self.means_.dtype).items():
            setattr(grown, name, value)
        grown.lower_bound_ = -np.inf
        return grown

    def prune(self) -> Self:
        """Return a copy without the components that have lost their rows.

        Kept are the ``n_active_components_`` components that hold at least half a row, in
        their order, with their posteriors. The weights' posterior is that of their rows under
        the prior of the fit, whose concentration becomes the copy's parameter: a further fit with
        ``warm_start=True`` goes on from there. The bounds stay those of the fit. :meth:`elbo` is
        the pruned mixture's own: where sticks are removed from the end of a Dirichlet process,
        which are their prior, it is what it was; otherwise a mixture with fewer components is
        another model.

        Returns
        -------
        mixture : object
            Of the same class, fitted.

        Raises
        ------
        ValueError
            If no component holds half a row.

        Examples
        --------
        >>> import numpy as np
        >>> import vbfast
        >>> X = np.concatenate([np.linspace(-1, 1, 50), np.linspace(99, 101, 50)])[:, np.newaxis]
        >>> mixture = vbfast.BayesianGaussianMixture(5, max_iter=1000, random_state=0).fit(X)
        >>> mixture.n_active_components_, len(mixture.prune().weights_)
        (2, 2)
        """
        check_is_fitted(self)
        if self.n_active_components_ == 0:
            raise ValueError("no component holds half a row: there would be none left")
        posterior = self._posterior()
        pruned = copy.deepcopy(self)
        pruned.n_components = self.n_active_components_
        pruned.weight_concentration_prior = self.weight_concentration_prior_
        attributes = pruned._fitted_attributes(
            posterior.restricted_to(posterior.active), self.means_.dtype
        )
        for name, value in attributes.items():
            setattr(pruned, name, value)
        return pruned


def _variational_terms(terms: ElboTerms, posterior: MixturePosterior) -> VariationalElboTerms:
    return VariationalElboTerms(
        **vars(terms),
        kl_weights=posterior.weights.kl,
        kl_components=posterior.components.kl,
    )
