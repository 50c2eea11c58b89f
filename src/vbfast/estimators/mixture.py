"""Maximum-likelihood mixtures of components of any family."""

from __future__ import annotations

import os
from typing import Any, ClassVar, Literal

from sklearn.utils.metaestimators import available_if

from vbfast.estimators.base import BaseMixture
from vbfast.estimators.criteria import InformationCriteria
from vbfast.estimators.loops import BatchMethod
from vbfast.families.family import Family
from vbfast.inference.acceleration import Acceleration
from vbfast.inference.subsample import InitSize
from vbfast.passes.base_runner import BaseRunner

__all__ = ["Mixture"]


def _draws(mixture: Mixture) -> bool:
    return mixture.family.draws


def _counts_parameters(mixture: Mixture) -> bool:
    return mixture.family.n_free_parameters(1, 1) is not None


class Mixture(InformationCriteria, BaseMixture):
    """Mixture of components of a family, fitted by expectation-maximization.

    An iteration is one pass over the rows, on all threads; nothing of size
    n_samples x n_components is allocated.

    Parameters
    ----------
    family : vbfast.families.Gaussian, vbfast.families.Custom or other vbfast.families.Family
        The components' density, its statistics, and the global step.
    n_components : int, default=1
        The number of components.
    tol : float, default=1e-3
        Iterations stop when the bound per row changes by less.
    max_iter : int, default=100
        The most iterations from one start.
    n_init : int, default=1
        The number of starts; the one that ends with the highest bound is kept.
    init_params : {'kmeans', 'random', 'k-means++', 'random_from_data'}, \
array-like of shape (n_samples, n_components) or callable, default='kmeans'
        The first responsibilities: each row in the cluster that k-means finds for it, or random
        ones. Or the responsibilities (or integers of shape (n_samples,), the component of each
        row, -1 for none), or a function ``(X, n_components, random_state)`` that returns them.
        Families whose components have a mean may start from one row a component as well, spread
        by k-means++ or drawn at random.
    random_state : int, RandomState instance or None, default=None
        Seeds the starts and :meth:`sample`.
    warm_start : bool, default=False
        Whether a fit goes on from the last one's end; ``n_init`` then has no effect.
    verbose : int, default=0
        As for :class:`vbfast.GaussianMixture`.
    verbose_interval : int, default=10
        Iterations between lines of text; there is a line at least every five seconds.
    init_size : int, 'all' or None, default=None
        As for :class:`vbfast.GaussianMixture`.
    accelerate : {None, 'squarem'}, default=None
        As for :class:`vbfast.GaussianMixture`, for families that have coordinates: of those here
        the Gaussian one.
    backend : {'native', 'numba', 'reference', 'cuda'} or None, default=None
        What the passes run on; ``None`` is the one in use, see :func:`vbfast.config_context`.
        Where it does not evaluate the family's density, another one does that.
    learning_decay, learning_offset : float, default=0.7 and 10.0
        How far :meth:`partial_fit` moves after ``t`` batches:
        ``(learning_offset + t) ** -learning_decay``.
    step_size : float or None, default=None
        How far it always moves instead, in (0, 1): a stream that drifts is followed.
    total_samples : float or None, default=None
        As for :class:`vbfast.GaussianMixture`.
    batch_size, batch_method, final_pass : int, str and bool, default=None, 'stochastic' and True
        As for :class:`vbfast.GaussianMixture`.
    checkpoint, checkpoint_interval : path and float, default=None and 60.0
        As for :class:`vbfast.GaussianMixture`. User functions cannot be kept: it has to be None.
    truncation, n_neighbors, n_random, truncation_state : default=None, 15, 1 and None
        As for :class:`vbfast.GaussianMixture`, of Gaussian and linear components.
    annealing : array-like of shape (n_annealed,), default=None
        Likewise.
    compute_bound_gap : bool, default=False
        As for :class:`vbfast.GaussianMixture`.
    reseeding : float or None, default=None
        As for :class:`vbfast.GaussianMixture`, of Gaussian and linear components.

    Attributes
    ----------
    weights_ : ndarray of shape (n_components,)
        The components' weights, which sum to one.
    means_, covariances_, precisions_, precisions_cholesky_ : ndarray
        Of Gaussian components, as for :class:`vbfast.GaussianMixture`.
    parameters_ : ndarray of shape (n_components, n_parameters), float64
        Of custom components, what the family's ``maximize`` returned. Other families name their
        own attributes.
    converged_ : bool
        Whether the kept start converged.
    n_iter_ : int
        Its number of iterations.
    n_passes_ : int
        Its number of passes over the rows, as for :class:`vbfast.GaussianMixture`.
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
    A component that loses its rows keeps its parameters while its weight goes to zero.

    :meth:`sample` is there where the family's components can be drawn from, and :meth:`aic`,
    :meth:`bic` and :meth:`icl` where its number of free parameters is known.

    References
    ----------
    A. P. Dempster, N. M. Laird and D. B. Rubin (1977), Maximum likelihood from incomplete data via
    the EM algorithm.

    Examples
    --------
    Counts, as a mixture of Poisson distributions with independent features:

    >>> import math
    >>> import numpy as np
    >>> import vbfast
    >>> def log_density(x, theta):
    ...     total = 0.0
    ...     for d in range(len(x)):
    ...         total += x[d] * math.log(theta[d]) - theta[d] - math.lgamma(x[d] + 1)
    ...     return total
    >>> def sufficient_statistics(x, out):
    ...     out[:] = x
    >>> def maximize(statistics, weight):
    ...     return np.maximum(statistics / weight[:, np.newaxis], 1e-6)
    >>> poisson = vbfast.families.Custom(
    ...     log_density=log_density,
    ...     sufficient_statistics=sufficient_statistics,
    ...     maximize=maximize,
    ...     n_statistics=lambda n_features: n_features,
    ... )
    >>> rng = np.random.default_rng(0)
    >>> X = np.concatenate([rng.poisson((2, 9), (500, 2)), rng.poisson((12, 1), (500, 2))])
    >>> mixture = vbfast.Mixture(poisson, 2, random_state=0).fit(X)
    >>> np.sort(mixture.parameters_, axis=0).round()
    array([[ 2.,  1.],
           [12.,  9.]])
    """

    _parameter_constraints: ClassVar[dict[str, Any]] = {
        **BaseMixture._parameter_constraints,
        "family": [Family],
    }

    family: Family[Any]

    def __init__(
        self,
        family: Family[Any],
        n_components: int = 1,
        *,
        tol: float = 1e-3,
        max_iter: int = 100,
        n_init: int = 1,
        init_params: Any = "kmeans",
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
        self.family = family
        self.n_components = n_components
        self.tol = tol
        self.max_iter = max_iter
        self.n_init = n_init
        self.init_params = init_params
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

    def _fitted_family(self) -> Family[Any]:
        return self.family

    def _family(self, runner: BaseRunner) -> Family[Any]:  # noqa: ARG002
        return self.family

    sample = available_if(_draws)(BaseMixture.sample)
    aic = available_if(_counts_parameters)(InformationCriteria.aic)
    bic = available_if(_counts_parameters)(InformationCriteria.bic)
    icl = available_if(_counts_parameters)(InformationCriteria.icl)
