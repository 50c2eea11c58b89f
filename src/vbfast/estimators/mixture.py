"""Maximum-likelihood mixtures of custom components."""

from __future__ import annotations

from dataclasses import replace
from typing import Any, ClassVar

import numpy as np
from sklearn.utils._param_validation import StrOptions
from sklearn.utils.metaestimators import available_if

from vbfast.contract import Float64Array, LogJoint, Request
from vbfast.estimators.base import BaseMixture
from vbfast.estimators.starts import check_not_negative, fitted_array
from vbfast.families.custom import Custom, CustomLikelihood, CustomParameters
from vbfast.inference.initialisation import initial_responsibilities
from vbfast.inference.monitor import SILENT, Monitor
from vbfast.inputs.numbers import as_numbers
from vbfast.passes.random_responsibilities import RandomResponsibilities
from vbfast.passes.runner import LocalRunner

__all__ = ["Mixture"]


def _draws(mixture: Mixture) -> bool:
    return mixture.family.sample is not None


class Mixture(BaseMixture):
    """Mixture of custom components, fitted by expectation-maximisation.

    An iteration is one pass over the rows, which numba compiles the family's functions into, on
    all threads; nothing of size n_samples x n_components is allocated.

    Parameters
    ----------
    family : vbfast.families.Custom
        The components' density, its statistics, and the global step. See there for an example.
    n_components : int, default=1
        The number of components.
    tol : float, default=1e-3
        Iterations stop when the bound per row changes by less.
    max_iter : int, default=100
        The most iterations from one start.
    n_init : int, default=1
        The number of starts; the one that ends with the highest bound is kept.
    init_params : {'kmeans', 'random'}, array-like of shape (n_samples, n_components) or callable, \
default='kmeans'
        The first responsibilities: each row in the cluster that k-means finds for it, or random
        ones. Or the responsibilities (or integers of shape (n_samples,), the component of each
        row, -1 for none), or a function ``(X, n_components, random_state)`` that returns them.
    random_state : int, RandomState instance or None, default=None
        Seeds the starts and :meth:`sample`.
    warm_start : bool, default=False
        Whether a fit goes on from the last one's end; ``n_init`` then has no effect.
    verbose : int, default=0
        From 1 on a fit shows the progress of its start, then the bound per row, its change, rows
        per second and the time left.
    verbose_interval : int, default=10
        Iterations between lines of text; there is a line at least every five seconds.

    Attributes
    ----------
    weights_ : ndarray of shape (n_components,), float64
        The components' weights, which sum to one.
    parameters_ : ndarray of shape (n_components, n_parameters), float64
        What the family's ``maximize`` returned.
    converged_ : bool
        Whether the kept start converged.
    n_iter_ : int
        Its number of iterations.
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
    A component that loses its rows keeps its parameters while its weight goes to zero.

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
        "family": [Custom],
        "init_params": [StrOptions({"kmeans", "random"}), "array-like", callable],
    }

    family: Custom
    parameters_: Float64Array
    _n_features: int

    def __init__(
        self,
        family: Custom,
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

    def _check_given(self, runner: LocalRunner) -> CustomParameters:
        return CustomParameters(self.family, runner.n_features, np.ones(self.n_components), None)

    def _start(
        self,
        runner: LocalRunner,
        given: CustomParameters,
        random_state: np.random.RandomState,
        monitor: Monitor = SILENT,
    ) -> CustomParameters:
        weights = runner.sample_weight
        counting = 0 if weights is None else int(np.argmax(weights > 0.0))
        row = runner.source.take(np.array([counting]))[0]
        if np.isfinite(row).all():  # else the first pass says which row is not
            self.family.check_statistics(row)
        resp = initial_responsibilities(
            runner,
            n_components=self.n_components,
            init_params=self.init_params,
            random_state=random_state,
            monitor=monitor,
        )
        sums = runner.run(given.log_joint(), Request("given", "first"), resp=resp)
        if isinstance(resp, RandomResponsibilities):
            resp.leave_behind(random_state, runner.n_samples)
        assert sums.statistics is not None
        objective = self._objective(given, runner.dtype)
        start = objective.maximise(sums.statistics, given, runner.linalg)
        assert start.theta is not None
        self.family.check_density(row, start.theta[0])
        return start

    def _check_resumable(self, n_features: int) -> None:
        fitted = (len(self.weights_), self._n_features)
        if fitted != (self.n_components, n_features):
            raise ValueError(
                f"warm_start=True goes on from the last fit, of {fitted[0]} components of "
                f"{fitted[1]} features; this fit needs {self.n_components} of {n_features}. "
                "Use warm_start=False or clone the estimator."
            )

    def _objective(
        self,
        given: CustomParameters,  # noqa: ARG002
        dtype: np.dtype[Any],
    ) -> CustomLikelihood:
        return self._objective_of_fit(dtype)

    def _objective_of_fit(self, dtype: np.dtype[Any]) -> CustomLikelihood:
        return CustomLikelihood(float(np.finfo(dtype).eps))

    def _fitted_attributes(
        self,
        parameters: CustomParameters,
        dtype: np.dtype[Any],  # noqa: ARG002
    ) -> dict[str, Any]:
        return {
            "weights_": parameters.weights,
            "parameters_": parameters.theta,
            # n_features_in_ is already the new rows' when a warm start looks at the last fit's.
            "_n_features": parameters.n_features,
        }

    def _fitted_parameters(self) -> CustomParameters:
        shape = np.shape(self.parameters_)
        if len(shape) != 2 or 0 in shape:
            raise ValueError(
                "parameters_ must have shape (n_components, n_parameters), at least one of each; "
                f"got shape {shape}"
            )
        weights = fitted_array(self, "weights_", shape[:1])
        theta = fitted_array(self, "parameters_", shape)
        check_not_negative(weights, "weights_")
        return CustomParameters(self.family, self._n_features, weights, theta)

    def _fitted_log_joint(self) -> LogJoint:
        return self._fitted_parameters().log_joint()

    def _fitted_log_density(self) -> LogJoint:
        even = np.ones(len(self.weights_))
        return replace(self._fitted_parameters(), weights=even).log_joint()

    @np.errstate(divide="ignore")
    def _estimate_log_weights(self) -> Float64Array:
        return np.asarray(np.log(self.weights_))

    sample = available_if(_draws)(BaseMixture.sample)

    def _draw(self, k: int, n_samples: int, random_state: np.random.RandomState) -> Float64Array:
        draw = self.family.sample
        assert draw is not None
        drawn = draw(self.parameters_[k], n_samples, random_state)
        rows = np.asarray(as_numbers(drawn, "what sample returned"), dtype=np.float64)
        wanted = (n_samples, self.n_features_in_)
        if rows.shape != wanted and (*rows.shape, 1) != wanted:
            raise ValueError(
                f"sample must return an array of shape (n_samples, n_features) = {wanted}; got "
                f"shape {rows.shape}"
            )
        if not np.isfinite(rows).all():
            raise ValueError("sample must return finite numbers; got NaN or infinity")
        return rows.reshape(wanted)
