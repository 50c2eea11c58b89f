"""Maximum-likelihood Gaussian mixtures with scikit-learn's interface."""

from __future__ import annotations

import math
from typing import Any, ClassVar

import numpy as np

from vbfast.contract import (
    CovarianceType,
    FloatArray,
    LogJoint,
    Request,
)
from vbfast.estimators.gaussian_base import BaseGaussianMixture, rounded_attributes
from vbfast.estimators.starts import GivenStart, check_fitted_parameters, check_given_start
from vbfast.families.coordinates import GaussianCoordinates
from vbfast.families.gaussian import (
    GaussianParameters,
    MaximumLikelihood,
    gaussian_log_joint,
    maximise,
    moments,
)
from vbfast.families.splitting import split_components
from vbfast.inference.acceleration import Acceleration, Accelerator, make_accelerator
from vbfast.inference.em import EMResult
from vbfast.inference.monitor import SILENT, Monitor
from vbfast.inputs.weights import as_sample_weight, of_ordinary_scale
from vbfast.mixtures.gradient import log_evidence_and_grad
from vbfast.passes.runner import LocalRunner
from vbfast.results import MixtureGradient

__all__ = ["GaussianMixture"]


class GaussianMixture(BaseGaussianMixture):
    """Gaussian mixture fitted by expectation-maximisation.

    The interface, the model and, from the same start, the numbers are those of
    :class:`sklearn.mixture.GaussianMixture`. Beyond it: ``sample_weight``, responsibilities or a
    callable as the start, rows that are read from disk as the passes go, :meth:`elbo` and
    :meth:`log_evidence_and_grad`. An iteration is one pass over the rows that allocates nothing of
    size n_samples x n_components.

    Parameters
    ----------
    n_components : int, default=1
        The number of components.
    covariance_type : {'full', 'tied', 'diag', 'spherical'}, default='full'
        'full': each component has its own covariance matrix; 'tied': all share one; 'diag': each
        has its own variances; 'spherical': each has a single variance.
    tol : float, default=1e-3
        Iterations stop when the bound per row changes by less.
    reg_covar : float, default=1e-6
        Added to the diagonal of every covariance.
    max_iter : int, default=100
        The most iterations from one start.
    n_init : int, default=1
        The number of starts; the one that ends with the highest bound is kept.
    init_params : {'kmeans', 'k-means++', 'random', 'random_from_data'}, \
array-like of shape (n_samples, n_components) or callable, default='kmeans'
        How the first responsibilities are made: by k-means; one row a component, spread by
        k-means++; at random; one row a component, drawn at random. Or the responsibilities, or
        a function ``(X, n_components, random_state)`` that returns them.
    weights_init : array-like of shape (n_components,), default=None
        Starting weights, instead of those of ``init_params``.
    means_init : array-like of shape (n_components, n_features), default=None
        Starting means, instead of those of ``init_params``.
    precisions_init : array-like, default=None
        Starting precisions (inverse covariances), instead of those of ``init_params``; of shape
        (n_components, n_features, n_features) for 'full', (n_features, n_features) for 'tied',
        (n_components, n_features) for 'diag', (n_components,) for 'spherical'.
    random_state : int, RandomState instance or None, default=None
        Seeds the starts and :meth:`sample`.
    warm_start : bool, default=False
        Whether a fit goes on from the last one's end; ``n_init`` then has no effect.
    verbose : int, default=0
        From 1 on a fit shows the progress of its start, then the bound per row, its change, rows
        per second and the time left: as a progress bar on a terminal where rich is installed, as
        lines of text otherwise.
    verbose_interval : int, default=10
        Iterations between lines of text; there is a line at least every five seconds.
    accelerate : {None, 'squarem'}, default=None
        'squarem' extrapolates the parameters of successive iterations (Varadhan and Roland 2008). A
        step is refused, at the cost of a pass, if it would lower the bound in which ``reg_covar``
        counts as noise of the rows; without ``reg_covar`` this is the bound itself. With
        ``reg_covar`` the plain iterations in between may lower ``lower_bounds_``, as they do
        without acceleration; where they lower the other bound too, a step is refused unless it
        comes closer to where they end. Fits that take hundreds of iterations take fewer; from the
        same start they may end in another local maximum than plain iterations.
    backend : {'native', 'numba', 'reference'} or None, default=None
        What the passes run on; ``None`` is the one in use, see :func:`vbfast.config_context`.

    Attributes
    ----------
    weights_ : ndarray of shape (n_components,)
        The components' weights, which sum to one. This array and the next four are float32 for
        float32 rows.
    means_ : ndarray of shape (n_components, n_features)
    covariances_ : ndarray
        Shaped as ``precisions_init``.
    precisions_ : ndarray
        Inverse covariances, shaped as ``precisions_init``.
    precisions_cholesky_ : ndarray
        Upper triangular factors ``P`` with ``P @ P.T`` the precisions ('full' and 'tied'), or
        square roots of the precisions; shaped as ``precisions_init``.
    converged_ : bool
        Whether the kept start converged.
    n_iter_ : int
        Its number of iterations.
    n_passes_ : int
        Its number of passes over the rows: ``n_iter_``, those of refused steps where
        ``accelerate`` is set, at most one an iteration, and one for an iteration that takes a
        component so far that its moments are taken again about the new mean.
    lower_bound_ : float
        Its last bound: the average log-evidence per row (of weight one), in nats, of the
        parameters that the last iteration began with.
    lower_bounds_ : list of float, of length ``n_iter_``
        The bound of every iteration.
    n_features_in_ : int
    feature_names_in_ : ndarray of shape (n_features_in_,)
        Where X has names for its features that are all strings.

    Notes
    -----
    A component that loses its rows keeps its mean and covariance while its weight goes to zero;
    scikit-learn moves it to the origin. Nor are the means of other components drawn to the origin,
    and their variances raised by ``10 * eps * mean**2 / N_k``, as scikit-learn's are: the fit does
    not depend on where the origin is.

    References
    ----------
    A. P. Dempster, N. M. Laird and D. B. Rubin (1977), Maximum likelihood from incomplete data via
    the EM algorithm. C. M. Bishop (2006), Pattern Recognition and Machine Learning, section 9.2.
    R. Varadhan and C. Roland (2008), Simple and globally convergent methods for accelerating the
    convergence of any EM algorithm.

    Examples
    --------
    >>> import numpy as np
    >>> import vbfast
    >>> X = np.array([[1, 2], [1, 4], [1, 0], [10, 2], [10, 4], [10, 0]])
    >>> mixture = vbfast.GaussianMixture(n_components=2, random_state=0).fit(X)
    >>> np.sort(mixture.means_, axis=0).round(6)
    array([[ 1.,  2.],
           [10.,  2.]])
    >>> labels = mixture.predict([[0, 0], [12, 3]])
    >>> bool(labels[0] == labels[1])
    False
    """

    _parameter_constraints: ClassVar[dict[str, Any]] = {
        **BaseGaussianMixture._parameter_constraints,
        "weights_init": ["array-like", None],
        "means_init": ["array-like", None],
        "precisions_init": ["array-like", None],
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
        weights_init: Any = None,
        means_init: Any = None,
        precisions_init: Any = None,
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
        self.weights_init = weights_init
        self.means_init = means_init
        self.precisions_init = precisions_init
        self.random_state = random_state
        self.warm_start = warm_start
        self.verbose = verbose
        self.verbose_interval = verbose_interval
        self.accelerate = accelerate
        self.backend = backend

    def _search(self, runner: LocalRunner) -> EMResult[GaussianParameters]:
        # The likelihood's maximum does not depend on the scale of the weights, but what is added to
        # N_k does, and when a component counts as empty.
        return super()._search(runner.weighted(of_ordinary_scale(runner.sample_weight)))

    def _check_given(self, runner: LocalRunner) -> GivenStart:
        return check_given_start(
            self.weights_init,
            self.means_init,
            self.precisions_init,
            covariance_type=self.covariance_type,
            n_components=self.n_components,
            n_features=runner.n_features,
        )

    def _start(
        self,
        runner: LocalRunner,
        given: GivenStart,
        random_state: np.random.RandomState,
        monitor: Monitor = SILENT,
    ) -> GaussianParameters:
        weights, means, precisions = given.weights, given.means, given.precisions
        if weights is not None and means is not None and precisions is not None:
            return GaussianParameters.from_precisions(
                self.covariance_type, weights, means, precisions
            )
        statistics = self._initial_statistics(runner, random_state, monitor)
        count, estimated_means, covariances = moments(
            statistics,
            reg_covar=self.reg_covar,
            eps=float(np.finfo(runner.dtype).eps),
            linalg=runner.linalg,
        )
        if weights is None:
            # scikit-learn's start does not renormalise: seeded on one row a component, its weights
            # sum to far less than one.
            weights = count / runner.total_weight
        if means is None:
            means = estimated_means
        if precisions is None:
            return GaussianParameters.from_covariances(
                self.covariance_type, weights, means, covariances
            )
        return GaussianParameters.from_precisions(self.covariance_type, weights, means, precisions)

    def _fitted_parameters(self) -> GaussianParameters:
        return GaussianParameters(
            self.covariance_type,
            *(
                np.ascontiguousarray(values, dtype=np.float64)
                for values in (
                    self.weights_,
                    self.means_,
                    self.covariances_,
                    self.precisions_cholesky_,
                )
            ),
        )

    def _given_start(self, n_features: int) -> GaussianParameters | None:
        arguments = (self.weights_init, self.means_init, self.precisions_init)
        if any(argument is None for argument in arguments):
            return None
        given = check_given_start(
            *arguments,
            covariance_type=self.covariance_type,
            n_components=self.n_components,
            n_features=n_features,
        )
        assert given.weights is not None
        assert given.means is not None
        assert given.precisions is not None
        return GaussianParameters.from_precisions(
            self.covariance_type, given.weights, given.means, given.precisions
        )

    def _objective(
        self,
        given: GivenStart,  # noqa: ARG002
        dtype: np.dtype[Any],
    ) -> MaximumLikelihood:
        return self._objective_of_fit(dtype)

    def _objective_of_fit(self, dtype: np.dtype[Any]) -> MaximumLikelihood:
        return MaximumLikelihood(
            self.covariance_type, float(self.reg_covar), float(np.finfo(dtype).eps)
        )

    def _accelerator(self) -> Accelerator[Any] | None:
        return make_accelerator(self.accelerate, GaussianCoordinates())

    def _split(self, n_components: int) -> GaussianParameters:
        fitted = self._fitted_parameters()
        statistics = split_components(
            self.covariance_type, fitted.weights, fitted.means, fitted.covariances, n_components
        )
        eps = float(np.finfo(self.means_.dtype).eps)
        return maximise(statistics, reg_covar=float(self.reg_covar), eps=eps)

    def _fitted_attributes(
        self, parameters: GaussianParameters, dtype: np.dtype[Any]
    ) -> dict[str, Any]:
        attributes = {
            "weights_": parameters.weights,
            "means_": parameters.means,
            "covariances_": parameters.covariances,
            "precisions_": parameters.precisions,
            "precisions_cholesky_": parameters.precision_cholesky,
        }
        return rounded_attributes(attributes, dtype)

    def _fitted_log_joint(self) -> LogJoint:
        return self._log_joint_with(self.weights_)

    def _fitted_log_density(self) -> LogJoint:
        return self._log_joint_with(np.ones(np.size(self.weights_)))

    def _log_joint_with(self, weights: Any) -> LogJoint:
        return gaussian_log_joint(
            self.covariance_type,
            *check_fitted_parameters(
                weights, self.means_, self.precisions_cholesky_, self.covariance_type
            ),
        )

    @np.errstate(divide="ignore")
    def _estimate_log_weights(self) -> FloatArray:
        return np.asarray(np.log(self.weights_))

    def log_evidence_and_grad(
        self, X: Any, sample_weight: Any = None, *, wrt_x: bool = False
    ) -> tuple[float, MixtureGradient]:
        """Evaluate the log-evidence, summed over the rows, and its gradient.

        One pass over the rows, as an iteration of a fit; a component of weight below 1e-16 costs
        another, of that component alone.

        Parameters
        ----------
        X : array-like of shape (n_samples, n_features)
        sample_weight : array-like of shape (n_samples,), optional
        wrt_x : bool, default=False
            Whether the gradient in the rows is wanted too.

        Returns
        -------
        log_evidence : float
            ``sum(w * log p(x))``, in nats.
        gradient : MixtureGradient
            In the weights (and their logits), means, covariances and precision Cholesky factors
            of this mixture and, with ``wrt_x``, in X.

        Raises
        ------
        ValueError
            If X has NaN or infinity or the wrong shape; if a weight is negative or all are zero.

        Examples
        --------
        >>> import numpy as np
        >>> import vbfast
        >>> X = np.array([[-1.0], [0.0], [1.0], [9.0], [10.0], [11.0]])
        >>> mixture = vbfast.GaussianMixture(2, random_state=0).fit(X)
        >>> log_evidence, gradient = mixture.log_evidence_and_grad(X, wrt_x=True)
        >>> bool(np.isclose(log_evidence, 6 * mixture.score(X)))
        True
        >>> gradient.X[[0, 2]].round(2)
        array([[ 1.5],
               [-1.5]])
        """
        rows = self._fitted_rows(X)
        weights = as_sample_weight(sample_weight, rows.n_samples)
        with self._passes_over(rows):
            return log_evidence_and_grad(
                LocalRunner(rows, weights),
                self._fitted_log_joint(),
                np.asarray(self.weights_, dtype=np.float64),
                wrt_x=wrt_x,
            )

    def _n_parameters(self) -> int:
        """Return the number of free parameters."""
        n_components, n_features = self.means_.shape
        free_covariance = {
            "full": n_components * n_features * (n_features + 1) // 2,
            "tied": n_features * (n_features + 1) // 2,
            "diag": n_components * n_features,
            "spherical": n_components,
        }[self.covariance_type]
        return int(free_covariance + n_components * n_features + n_components - 1)

    def aic(self, X: Any, sample_weight: Any = None) -> float:
        """Compute the Akaike information criterion on X.

        Parameters
        ----------
        X : array-like of shape (n_samples, n_features)
        sample_weight : array-like of shape (n_samples,), optional
            Weighted rows count as ``sum(sample_weight)`` rows.

        Returns
        -------
        aic : float
            The lower the better.
        """
        evidence, _ = self._evidence(X, sample_weight)
        return -2.0 * evidence + 2.0 * self._n_parameters()

    def bic(self, X: Any, sample_weight: Any = None) -> float:
        """Compute the Bayesian information criterion on X.

        Parameters
        ----------
        X, sample_weight
            As in :meth:`aic`.

        Returns
        -------
        bic : float
            The lower the better.
        """
        evidence, total_weight = self._evidence(X, sample_weight)
        return -2.0 * evidence + self._n_parameters() * math.log(total_weight)

    def icl(self, X: Any, sample_weight: Any = None) -> float:
        """Compute the integrated completed likelihood on X, as a criterion.

        That is :meth:`bic` and twice the entropy of the responsibilities (Biernacki, Celeux and
        Govaert 2000, as approximated by McLachlan and Peel 2000, section 6.10.3): components that
        share their rows cost, so that it counts clusters where ``bic`` counts components.

        Parameters
        ----------
        X, sample_weight
            As in :meth:`aic`.

        Returns
        -------
        icl : float
            The lower the better.

        Examples
        --------
        >>> import numpy as np
        >>> import vbfast
        >>> X = np.random.default_rng(0).normal(size=(100, 1))
        >>> mixture = vbfast.GaussianMixture(1).fit(X)
        >>> mixture.icl(X) == mixture.bic(X)  # nothing to be in doubt about
        True
        """
        sums = self._evaluate(
            self._fitted_rows(X), Request(entropy=True), sample_weight=sample_weight
        )
        penalty = self._n_parameters() * math.log(sums.total_weight)
        return -2.0 * sums.log_evidence + penalty + 2.0 * sums.entropy

    def _evidence(self, X: Any, sample_weight: Any) -> tuple[float, float]:
        sums = self._evaluate(self._fitted_rows(X), Request(), sample_weight=sample_weight)
        return sums.log_evidence, sums.total_weight
