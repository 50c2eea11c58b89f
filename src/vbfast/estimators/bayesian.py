"""Variational Bayesian Gaussian mixtures with scikit-learn's interface."""

from __future__ import annotations

import os
import warnings
from typing import Any, ClassVar, Literal, Self

from sklearn.utils._param_validation import StrOptions
from sklearn.utils.validation import check_is_fitted

from vbfast.contract import COVARIANCE_TYPES, CovarianceType
from vbfast.estimators.loops import BatchMethod
from vbfast.estimators.posterior import PosteriorMixture
from vbfast.estimators.priors import SINGULAR_PRIOR, check_given_prior
from vbfast.estimators.stored import Stored, check_posterior
from vbfast.estimators.validation import RealInterval, callers_level
from vbfast.families.mixing_weights import WEIGHT_PRIORS
from vbfast.families.variational import VARIATIONAL_ATTRIBUTES, VariationalGaussian
from vbfast.inference.acceleration import Acceleration
from vbfast.inference.empirical_prior import empirical_prior
from vbfast.inference.subsample import InitSize
from vbfast.passes.base_runner import BaseRunner

__all__ = ["BayesianGaussianMixture"]


class BayesianGaussianMixture(PosteriorMixture):
    """Gaussian mixture fitted by coordinate-ascent variational Bayes.

    The interface, the model and, from the same start, the parameters are those of
    :class:`sklearn.mixture.BayesianGaussianMixture`. Differences: the bound has all its constants,
    so that it is a lower bound of the log marginal likelihood, comparable across numbers of
    components, priors and covariance types; convergence does not get harder with the number of
    rows. Beyond scikit-learn: ``sample_weight``, responsibilities or a callable as the start, rows
    that are read from disk as the passes go, :meth:`elbo`, :meth:`log_predictive_density`,
    :meth:`with_natural_parameters` and :meth:`prune`. An iteration is one pass over the rows that
    allocates nothing of size n_samples x n_components.

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
        rule; beyond, a change of ``tol`` nats or more counts only if it is no larger than the one
        before and less than a hundredth of what the bound has changed by since the start, so that
        fits do not end on a plateau.
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
        As for :class:`vbfast.GaussianMixture`; the bound that is shown is that of all rows.
    verbose_interval : int, default=10
        Iterations between lines of text; there is a line at least every five seconds.
    init_size : int, 'all' or None, default=None
        As for :class:`vbfast.GaussianMixture`.
    accelerate : {None, 'squarem'}, default=None
        As for :class:`vbfast.GaussianMixture`, of the posterior.
    backend : {'native', 'numba', 'reference', 'cuda'} or None, default=None
        What the passes run on; ``None`` is the one in use, see :func:`vbfast.config_context`.
    learning_decay, learning_offset, step_size : float, default=0.7, 10.0 and None
        As for :class:`vbfast.GaussianMixture`.
    total_samples : float or None, default=None
        The number of rows that the stream of :meth:`partial_fit` stands for, which the prior is
        weighed against; ``None`` is that of the rows seen so far.
    batch_size, batch_method, final_pass : int, str and bool, default=None, 'stochastic' and True
        As for :class:`vbfast.GaussianMixture`.
    checkpoint, checkpoint_interval : path and float, default=None and 60.0
        As for :class:`vbfast.GaussianMixture`.
    truncation, n_neighbors, n_random, truncation_state : default=None, 15, 1 and None
        As for :class:`vbfast.GaussianMixture`.
    annealing : array-like of shape (n_annealed,), default=None
        As for :class:`vbfast.GaussianMixture`, of expected log-joints.
    compute_bound_gap : bool, default=False
        As for :class:`vbfast.GaussianMixture`.
    reseeding : float or None, default=None
        As for :class:`vbfast.GaussianMixture`. Components that the prior empties lose their rows
        again, at the cost of some iterations.

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
        and the posterior of the parameters that they led to. All constants are included, and the
        divergences of weights and components from their priors: it is of the kind of
        ``elbo(X).total``, which is never below it, and not of ``elbo(X).elbo``.
    lower_bounds_ : list of float, of length ``n_iter_``
        The bound of every iteration.
    truncation_ : int or None
        After a fit with ``truncation``, how many components rows keep; None for all.
    neighbors_ : ndarray of shape (n_components, n_neighbors), int32
        After a fit with ``truncation``, the neighbours of each component, which it has learned and
        by which new rows find their components; -1 for none.
    bound_gap_ : float
        With ``compute_bound_gap``, the mean KL of the rows' truncated posteriors, nats a row: zero
        of whole ones.
    n_features_in_ : int
    feature_names_in_ : ndarray of shape (n_features,)
        Where X has names for its features that are all strings.

    Warns
    -----
    UserWarning
        By :meth:`fit`, if ``covariance_prior_`` is singular, as a constant or redundant feature, or
        no more rows than features, make its default. What makes it a prior there is then what
        ``reg_covar`` adds for no row, 2e-15 times ``reg_covar``, and each component that holds rows
        lowers the bound by tens of nats for each such direction. Where rounding leaves nothing of
        that the infinite constant is left out, and bounds are comparable only between fits with
        the same prior and number of components.

    Notes
    -----
    The default priors are scikit-learn's. :func:`vbfast.select` has others where bounds would not
    be comparable: a Dirichlet distribution of the weights, since truncated sticks leave some weight
    to no component, the more the fewer there are; and a covariance prior with ``reg_covar`` in it
    where that of X has next to no variance in some direction.

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

    _stored: ClassVar[Stored] = Stored(
        VARIATIONAL_ATTRIBUTES,
        {
            "covariance_type": COVARIANCE_TYPES,
            "weight_concentration_prior_type": tuple(WEIGHT_PRIORS),
        },
        check_posterior,
    )

    _parameter_constraints: ClassVar[dict[str, Any]] = {
        **PosteriorMixture._parameter_constraints,
        "weight_concentration_prior_type": [StrOptions(set(WEIGHT_PRIORS))],
        "weight_concentration_prior": [None, RealInterval(0.0, None, closed="neither")],
        "mean_precision_prior": [None, RealInterval(0.0, None, closed="neither")],
        "mean_prior": [None, "array-like"],
        "degrees_of_freedom_prior": [None, RealInterval(0.0, None, closed="neither")],
        "covariance_prior": [None, "array-like", RealInterval(0.0, None, closed="neither")],
    }

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
        init_size: InitSize = None,
        accelerate: Acceleration | None = None,
        backend: str | None = None,
        learning_decay: float = 0.7,
        learning_offset: float = 10.0,
        step_size: float | None = None,
        total_samples: float | None = None,
        batch_size: int | None = None,
        batch_method: BatchMethod = "stochastic",
        final_pass: bool = True,
        checkpoint: str | os.PathLike[str] | None = None,
        checkpoint_interval: float = 60.0,
        truncation: int | Literal["auto"] | None = None,
        n_neighbors: int = 15,
        n_random: int = 1,
        truncation_state: str | os.PathLike[str] | None = None,
        annealing: Any = None,
        compute_bound_gap: bool = False,
        reseeding: float | None = None,
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
        self.init_size = init_size
        self.accelerate = accelerate
        self.backend = backend
        self.learning_decay = learning_decay
        self.learning_offset = learning_offset
        self.step_size = step_size
        self.total_samples = total_samples
        self.batch_size = batch_size
        self.batch_method = batch_method
        self.final_pass = final_pass
        self.checkpoint = checkpoint
        self.checkpoint_interval = checkpoint_interval
        self.truncation = truncation
        self.n_neighbors = n_neighbors
        self.n_random = n_random
        self.truncation_state = truncation_state
        self.annealing = annealing
        self.compute_bound_gap = compute_bound_gap
        self.reseeding = reseeding

    def _family(self, runner: BaseRunner) -> VariationalGaussian:
        mean, covariance = check_given_prior(
            self.mean_prior,
            self.degrees_of_freedom_prior,
            self.covariance_prior,
            covariance_type=self.covariance_type,
            n_features=runner.n_features,
        )
        prior = empirical_prior(
            runner,
            covariance_type=self.covariance_type,
            n_components=self.n_components,
            weights=WEIGHT_PRIORS[self.weight_concentration_prior_type],
            weight_concentration=self.weight_concentration_prior,
            mean_precision=self.mean_precision_prior,
            mean=mean,
            degrees_of_freedom=self.degrees_of_freedom_prior,
            covariance=covariance,
            reg_covar=float(self.reg_covar),
        )
        if not prior.components.proper:
            warnings.warn(SINGULAR_PRIOR, stacklevel=callers_level())
        return VariationalGaussian(prior, float(self.reg_covar))

    def prune(self) -> Self:
        """Return a copy without the components that have lost their rows.

        Kept are the ``n_active_components_`` components that hold at least half a row, in
        their order, with their posteriors. The weights' posterior is that of their rows under
        the prior of the fit, whose concentration becomes the copy's parameter: a further fit with
        ``warm_start=True`` goes on from there. The bounds stay those of the fit. :meth:`elbo` is
        the pruned mixture's own: where sticks are removed from the end of a Dirichlet process,
        which are their prior, it is what it was; otherwise a mixture with fewer components is
        another model. :meth:`partial_fit` goes on with the components that are left.

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
        posterior = self._fitted_parameters()
        pruned = self._holding(posterior.restricted_to(posterior.active))
        pruned.lower_bounds_ = list(self.lower_bounds_)
        pruned._follow_stream(self, posterior.active)
        pruned.set_params(
            n_components=self.n_active_components_,
            weight_concentration_prior=self.weight_concentration_prior_,
        )
        return pruned
