"""Maximum-likelihood Gaussian mixtures with scikit-learn's interface."""

from __future__ import annotations

import os
from typing import Any, ClassVar, Literal

import numpy as np
import numpy.typing as npt

from vbfast.contract import COVARIANCE_TYPES, CovarianceType
from vbfast.estimators.criteria import InformationCriteria
from vbfast.estimators.gaussian_base import BaseGaussianMixture
from vbfast.estimators.loops import BatchMethod
from vbfast.estimators.starts import check_given_start
from vbfast.estimators.stored import Stored, check_gaussian
from vbfast.families.attributes import GAUSSIAN_ATTRIBUTES
from vbfast.families.gaussian import Gaussian, GaussianWithStart
from vbfast.families.gaussian_parameters import GaussianParameters
from vbfast.inference.acceleration import Acceleration
from vbfast.inference.em import EMResult
from vbfast.inference.subsample import InitSize
from vbfast.inputs.weights import as_sample_weight
from vbfast.mixtures.gradient import log_evidence_and_grad
from vbfast.passes.base_runner import BaseRunner
from vbfast.passes.runner import runner_over
from vbfast.results import MixtureGradient

__all__ = ["GaussianMixture", "gaussian_mixture_of"]


class GaussianMixture(InformationCriteria, BaseGaussianMixture):
    """Gaussian mixture fitted by expectation-maximization.

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
    init_size : int, 'all' or None, default=None
        How many rows 'kmeans' and 'k-means++' look for their centres in, drawn with probabilities
        proportional to the weights; k-means goes on with two iterations over all rows. By default
        256 a component, four a component and feature where that is more, and at least 8,192, but
        all rows where they are less than twice as many. 'all' clusters all rows from the beginning,
        as scikit-learn does. Above 512 components, unless a number is given, rows look for their
        nearest centre by the search that ``truncation`` has.
    accelerate : {None, 'squarem'}, default=None
        'squarem' extrapolates the parameters of successive iterations (Varadhan and Roland 2008). A
        step is refused, at the cost of a pass, if it would lower the bound in which ``reg_covar``
        counts as noise of the rows; without ``reg_covar`` this is the bound itself. With
        ``reg_covar`` the plain iterations in between may lower ``lower_bounds_``, as they do
        without acceleration; where they lower the other bound too, a step is refused unless it
        comes closer to where they end. Fits that take hundreds of iterations take fewer; from the
        same start they may end in another local maximum than plain iterations.
    backend : {'native', 'numba', 'reference', 'cuda'} or None, default=None
        What the passes run on; ``None`` is the one in use, see :func:`vbfast.config_context`.
    learning_decay, learning_offset : float, default=0.7 and 10.0
        How far :meth:`partial_fit` moves after ``t`` batches:
        ``(learning_offset + t) ** -learning_decay``.
    step_size : float or None, default=None
        How far it always moves instead, in (0, 1): a stream that drifts is followed.
    total_samples : float or None, default=None
        The number of rows that its stream stands for. It does not matter for maximum likelihood.
    batch_size : int or None, default=None
        The most rows of a batch: the parameters move after each, many times in one lap over the
        rows, and ``max_iter`` counts laps. ``None`` moves them after whole passes.
    batch_method : {'stochastic', 'incremental'}, default='stochastic'
        How batches count. 'stochastic' moves a running average, as :meth:`partial_fit` does, until
        the bound of a twentieth of the batches, which are held out, has settled. 'incremental'
        keeps the statistics of at most 64 parts of the rows, batches or several, and replaces those
        of the part that it visits (Neal and Hinton 1998; Hughes and Sudderth 2013): the bound is
        exact.
    final_pass : bool, default=True
        Whether a fit by batches ends with a pass over all rows, that ``lower_bound_`` is theirs and
        of the fitted parameters.
    checkpoint : str, path or None, default=None
        An ``.npz`` file that keeps the state of a fit: the same fit of the same rows, started
        again after its process has ended in whatever way, goes on from there and leads to the same
        bits. It is a model file as well, which :func:`vbfast.load` reads. :meth:`partial_fit`
        writes it, too.
    checkpoint_interval : float, default=60.0
        Seconds from one writing of the checkpoint to the next.
    truncation : int, 'auto' or None, default=None
        For thousands of components: each row has responsibilities for so many alone, which it looks
        for among the neighbours of those that it had. An iteration then costs rows times
        ``truncation * n_neighbors`` at most, not rows times components. The bound is that of these
        posteriors, a lower bound of the log-evidence. ``None`` keeps all components. 'auto'
        decides between that and 3 to 8, by the number of components and the entropy of some rows'
        responsibilities, and says so in ``truncation_``.
    n_neighbors : int, default=15
        How many neighbours a component has, itself included, that are tried with it. They are
        learned as the fit goes.
    n_random : int, default=1
        How many components are tried at random for every row.
    truncation_state : str, path or None, default=None
        An ``.npy`` file that holds what the rows keep while a fit lasts, ``4 * truncation`` bytes a
        row, in place of memory. It is made anew by every fit.
    annealing : array-like of shape (n_annealed,), default=None
        Inverse temperatures of the first iterations, in (0, 1], such as ``[0.1, 0.3, 0.6]``; the
        others have 1. A row's responsibilities are in proportion to ``exp(b * log_joint)`` at
        inverse temperature b: components share the rows at first, and part as it rises (Ueda and
        Nakano 1998). While it lasts the bound may fall, and the fit does not end by ``tol``.
    compute_bound_gap : bool, default=False
        Whether a fit with ``truncation`` ends with an exact pass that measures ``bound_gap_``: what
        its bound would gain by whole posteriors, with the fitted parameters and what the rows keep.
    reseeding : float or None, default=None
        Components with less than this part of the average weight, in (0, 1), begin anew at rows of
        heavy components with a low bound; 0.05, say. The bound may fall then, and rises further.

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
        component so far that its moments are taken again about the new mean, or after which
        components begin anew.
    lower_bound_ : float
        Its last bound: the average log-evidence per row (of weight one), in nats, of the
        parameters that the last iteration began with.
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
    convergence of any EM algorithm. N. Ueda and R. Nakano (1998), Deterministic annealing EM
    algorithm. F. Hirschberger, D. Forster and J. Luecke (2022), A variational
    EM acceleration for efficient clustering at very large scales.

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

    _stored: ClassVar[Stored] = Stored(
        GAUSSIAN_ATTRIBUTES, {"covariance_type": COVARIANCE_TYPES}, check_gaussian
    )

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
        self.weights_init = weights_init
        self.means_init = means_init
        self.precisions_init = precisions_init
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

    def _fitted_family(self) -> Gaussian:
        return Gaussian(self.covariance_type, float(self.reg_covar))

    def _gaussian_parameters(self) -> GaussianParameters:
        parameters: GaussianParameters = self._fitted_parameters()
        return parameters

    def _gaussian_mixture(
        self, parameters: GaussianParameters, features: npt.NDArray[np.intp]
    ) -> GaussianMixture:
        return gaussian_mixture_of(self, parameters, features)

    def _family(self, runner: BaseRunner) -> Gaussian:
        return self._family_with_start(runner.n_features)

    def _family_with_start(self, n_features: int) -> GaussianWithStart:
        start = check_given_start(
            self.weights_init,
            self.means_init,
            self.precisions_init,
            covariance_type=self.covariance_type,
            n_components=self.n_components,
            n_features=n_features,
        )
        return GaussianWithStart(self.covariance_type, float(self.reg_covar), *start)

    def _given_start(self, n_features: int) -> tuple[Gaussian, GaussianParameters] | None:
        family = self._family_with_start(n_features)
        start = family.given_start()
        return None if start is None else (family, start)

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
            parameters = self._fitted_parameters()
            return log_evidence_and_grad(
                runner_over(rows, weights),
                parameters.log_joint(),
                parameters.weights,
                wrt_x=wrt_x,
            )


def gaussian_mixture_of(
    fitted: BaseGaussianMixture, parameters: GaussianParameters, features: npt.NDArray[np.intp]
) -> GaussianMixture:
    """Return a mixture with other parameters, of some of the features of a fitted one.

    Parameters
    ----------
    fitted : BaseGaussianMixture
        Whose covariance type, dtype, names and random state it has.
    parameters : GaussianParameters
    features : ndarray of shape (parameters.n_features,), intp

    Returns
    -------
    GaussianMixture
        As after a fit with ``max_iter=0``.
    """
    mixture = GaussianMixture(
        parameters.n_components,
        covariance_type=parameters.covariance_type,
        reg_covar=fitted.reg_covar,
        random_state=fitted.random_state,
        backend=fitted.backend,
    )
    family = mixture._fitted_family()
    mixture._take(family, EMResult(parameters, [], False, 0), fitted.means_.dtype)
    mixture.n_features_in_ = len(features)
    if hasattr(fitted, "feature_names_in_"):
        mixture.feature_names_in_ = fitted.feature_names_in_[features]
    return mixture
