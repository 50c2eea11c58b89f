"""What mixtures share: the search over starts, and what a fitted mixture says about rows."""

from __future__ import annotations

import contextlib
import warnings
from abc import ABCMeta, abstractmethod
from collections.abc import Iterator
from numbers import Integral, Real
from typing import Any, ClassVar, Self

import numpy as np
import numpy.typing as npt
from sklearn.base import BaseEstimator, DensityMixin, _fit_context
from sklearn.exceptions import ConvergenceWarning
from sklearn.utils import check_random_state
from sklearn.utils._param_validation import Interval, StrOptions
from sklearn.utils.validation import check_is_fitted

from vbfast.backends import backend_names
from vbfast.engine.config import config_context
from vbfast.engine.contract import (
    CovarianceType,
    Float64Array,
    FloatArray,
    PassParams,
    PassResult,
    Request,
    RowOutputs,
)
from vbfast.engine.engine import new_workspace, run_pass
from vbfast.engine.rows import RowSource
from vbfast.engine.weights import as_sample_weight
from vbfast.estimators.validation import (
    check_enough_rows,
    translated_errors,
    unchanged_on_failure,
    validate_rows,
)
from vbfast.inference.acceleration import Accelerator
from vbfast.inference.em import Ascent, Objective, Solution, ascend
from vbfast.inference.monitor import Workload, make_monitor
from vbfast.results import ElboTerms

__all__ = ["BaseMixture", "elbo_terms"]


class BaseMixture(DensityMixin, BaseEstimator, metaclass=ABCMeta):  # type: ignore[misc]
    """Base class of mixtures with scikit-learn's interface.

    A subclass says how its parameters start, what its iterations climb, and how parameters become
    fitted attributes and a log-joint; see the abstract methods.
    """

    _parameter_constraints: ClassVar[dict[str, Any]] = {
        "n_components": [Interval(Integral, 1, None, closed="left")],
        "covariance_type": [StrOptions({"full", "tied", "diag", "spherical"})],
        "tol": [Interval(Real, 0.0, None, closed="left")],
        "reg_covar": [Interval(Real, 0.0, None, closed="left")],
        "max_iter": [Interval(Integral, 0, None, closed="left")],
        "n_init": [Interval(Integral, 1, None, closed="left")],
        "init_params": [
            StrOptions({"kmeans", "random", "random_from_data", "k-means++"}),
            "array-like",
            callable,
        ],
        "random_state": ["random_state"],
        "warm_start": ["boolean"],
        "verbose": ["verbose"],
        "verbose_interval": [Interval(Integral, 1, None, closed="left")],
        "accelerate": [StrOptions({"squarem", "anderson"}), None],
        "backend": [StrOptions(set(backend_names())), None],
    }

    n_components: int
    covariance_type: CovarianceType
    tol: float
    reg_covar: float
    max_iter: int
    n_init: int
    init_params: Any
    random_state: Any
    warm_start: bool
    verbose: int
    verbose_interval: int
    backend: str | None = None

    weights_: FloatArray
    means_: FloatArray
    covariances_: FloatArray
    converged_: bool
    n_iter_: int
    n_passes_: int
    lower_bound_: float
    lower_bounds_: list[float]

    # Whether `lower_bound_` is an average over the rows.
    _bound_per_row: ClassVar[bool] = True

    @abstractmethod
    def _check_given(self, rows: RowSource, sample_weight: Float64Array | None) -> Any:
        """Check the parameters of a start or prior that were given to the constructor.

        What is returned is passed to :meth:`_start`, :meth:`_resume` and :meth:`_objective`.
        """

    @abstractmethod
    def _start(
        self,
        rows: RowSource,
        given: Any,
        random_state: np.random.RandomState,
        sample_weight: Float64Array | None,
    ) -> Any:
        """Return parameters to start from."""

    @abstractmethod
    def _resume(self, n_features: int, given: Any) -> Any:
        """Return the parameters of the last fit, to go on from."""

    @abstractmethod
    def _objective(self, given: Any, dtype: np.dtype[Any]) -> Objective[Any]:
        """Return what the iterations climb, for passes that compute in ``dtype``."""

    def _accelerator(self) -> Accelerator[Any] | None:
        """Return what extrapolates the iterations from one start, or ``None``."""
        return None

    @abstractmethod
    def _fitted_attributes(self, parameters: Any, dtype: np.dtype[Any]) -> dict[str, Any]:
        """Return the fitted attributes that hold the parameters, by name."""

    @abstractmethod
    def _kernel_params(self) -> PassParams:
        """Return the log-joint of the fitted attributes."""

    def fit(
        self,
        X: Any,
        y: Any = None,  # noqa: ARG002
        sample_weight: Any = None,
    ) -> Self:
        """Estimate the parameters.

        ``n_init`` starts are iterated until the bound changes by less than ``tol`` says, and the
        one with the highest bound is kept. With ``warm_start``, a second fit goes on from where the
        last one ended. A fit that fails or is interrupted leaves the estimator as it was.

        Parameters
        ----------
        X : array-like of shape (n_samples, n_features)
            float32 is computed in float32, everything else in float64. Arrays are used where they
            lie, whatever their strides; memory maps, and objects with ``shape``, ``dtype`` and row
            slicing (HDF5, Zarr), are read as the passes go.
        y : Ignored
            Not used, present for API consistency by convention.
        sample_weight : array-like of shape (n_samples,), optional
            Non-negative; an integer weight counts as that many repetitions of the row.

        Returns
        -------
        self : object
            The fitted mixture.

        Raises
        ------
        ValueError
            If X has NaN or infinity, fewer rows than components, or the wrong shape; if a weight is
            negative or all are zero; if a covariance is not positive definite.

        Warns
        -----
        sklearn.exceptions.ConvergenceWarning
            If the best start did not converge within ``max_iter`` iterations.
        """
        self._fit(X, sample_weight)
        return self

    def fit_predict(
        self,
        X: Any,
        y: Any = None,  # noqa: ARG002
        sample_weight: Any = None,
    ) -> npt.NDArray[np.int64]:
        """Estimate the parameters from X and predict its labels.

        Parameters
        ----------
        X, y, sample_weight
            As in :meth:`fit`.

        Returns
        -------
        labels : ndarray of shape (n_samples,), int64
            What ``fit(X).predict(X)`` returns.
        """
        with unchanged_on_failure(self):
            self._fit(X, sample_weight)
            return self.predict(X)

    @_fit_context(prefer_skip_nested_validation=True)  # type: ignore[untyped-decorator]
    def _fit(self, X: Any, sample_weight: Any) -> None:
        with unchanged_on_failure(self):
            rows = validate_rows(self, X, reset=True, min_samples=2)
            weights = as_sample_weight(sample_weight, rows.n_samples)
            check_enough_rows(self.n_components, rows.n_samples, weights)
            with self._passes_over(rows):
                best = self._search(rows, weights)
            if not best.converged and self.max_iter > 0:
                warnings.warn(
                    "Best performing initialization did not converge. "
                    "Try different init parameters, or increase max_iter, "
                    "tol, or check for degenerate data.",
                    ConvergenceWarning,
                    stacklevel=4,
                )
            for name, value in self._fitted_attributes(best.parameters, rows.dtype).items():
                setattr(self, name, value)
            self.converged_ = best.converged
            self.n_iter_ = best.n_iter
            self.n_passes_ = best.n_passes
            self.lower_bound_ = best.lower_bound
            self.lower_bounds_ = best.lower_bounds

    def _search(self, rows: RowSource, sample_weight: Float64Array | None) -> Solution[Any]:
        """Ascend from every start and return the best end."""
        given = self._check_given(rows, sample_weight)
        resumed = self.warm_start and hasattr(self, "converged_")
        n_init = 1 if resumed else self.n_init
        random_state = check_random_state(self.random_state)
        workload = Workload(rows.n_samples, self.max_iter, n_init, self._bound_per_row)
        workspace = new_workspace()
        best: Solution[Any] | None = None
        with make_monitor(
            workload, verbose=self.verbose, interval=self.verbose_interval
        ) as monitor:
            for index in range(n_init):
                monitor.initialisation_begins(index)
                if resumed:
                    start = self._resume(rows.n_features, given)
                else:
                    start = self._start(rows, given, random_state, sample_weight)
                if self.max_iter == 0:
                    # No iteration will see the rows, some of which the start may not have either.
                    run_pass(rows, start.kernel_params(), Request(), workspace=workspace)
                solution = ascend(
                    rows,
                    start,
                    self._objective(given, rows.dtype),
                    Ascent(self.tol, self.max_iter),
                    sample_weight=sample_weight,
                    previous_bound=self.lower_bound_ if resumed else -np.inf,
                    accelerator=self._accelerator(),
                    monitor=monitor,
                    workspace=workspace,
                )
                monitor.initialisation_ends(solution.lower_bound, solution.converged)
                if (
                    best is None
                    or solution.lower_bound > best.lower_bound
                    or best.lower_bound == -np.inf
                ):
                    best = solution
        assert best is not None
        return best

    @contextlib.contextmanager
    def _passes_over(self, rows: RowSource) -> Iterator[None]:
        """Run passes on the estimator's backend, and raise what they do in scikit-learn's words."""
        with translated_errors(self, rows), config_context(backend=self.backend):
            yield

    def _evaluate(
        self,
        rows: RowSource,
        request: Request,
        *,
        sample_weight: Any = None,
        resp: Any = None,
        outputs: RowOutputs | None = None,
    ) -> PassResult:
        """Run a pass with the fitted parameters."""
        with self._passes_over(rows):
            return run_pass(
                rows,
                self._kernel_params(),
                request,
                sample_weight=as_sample_weight(sample_weight, rows.n_samples),
                resp=resp,
                outputs=outputs,
            )

    def _fitted_rows(self, X: Any) -> RowSource:
        check_is_fitted(self)
        return validate_rows(self, X, reset=False)

    def predict(self, X: Any) -> npt.NDArray[np.int64]:
        """Predict the component of each row.

        Parameters
        ----------
        X : array-like of shape (n_samples, n_features)

        Returns
        -------
        labels : ndarray of shape (n_samples,), int64
            The first component of highest responsibility.
        """
        rows = self._fitted_rows(X)
        labels = np.empty(rows.n_samples, dtype=np.int64)
        self._evaluate(rows, Request(assignment="hard"), outputs=RowOutputs(labels=labels))
        return labels

    def predict_proba(self, X: Any) -> FloatArray:
        """Evaluate the responsibilities of the components for each row.

        Parameters
        ----------
        X : array-like of shape (n_samples, n_features)

        Returns
        -------
        resp : ndarray of shape (n_samples, n_components)
            float32 for float32 rows, else float64.
        """
        rows = self._fitted_rows(X)
        resp = np.empty((rows.n_samples, len(self.weights_)), dtype=rows.dtype)
        self._evaluate(rows, Request(), outputs=RowOutputs(resp=resp))
        return resp

    def score_samples(self, X: Any) -> FloatArray:
        """Compute the log-evidence of each row, in nats.

        Parameters
        ----------
        X : array-like of shape (n_samples, n_features)

        Returns
        -------
        log_prob : ndarray of shape (n_samples,)
            float32 for float32 rows, else float64.
        """
        rows = self._fitted_rows(X)
        log_evidence = np.empty(rows.n_samples, dtype=rows.dtype)
        self._evaluate(rows, Request(), outputs=RowOutputs(log_evidence=log_evidence))
        return log_evidence

    def score(
        self,
        X: Any,
        y: Any = None,  # noqa: ARG002
        sample_weight: Any = None,
    ) -> float:
        """Compute the average log-evidence of the rows, in nats.

        Parameters
        ----------
        X : array-like of shape (n_samples, n_features)
        y : Ignored
            Not used, present for API consistency by convention.
        sample_weight : array-like of shape (n_samples,), optional

        Returns
        -------
        log_likelihood : float
            The weighted average, ``sum(w * log_evidence) / sum(w)``.
        """
        sums = self._evaluate(self._fitted_rows(X), Request(), sample_weight=sample_weight)
        return sums.log_evidence / sums.total_weight

    def elbo(self, X: Any, resp: Any = None, sample_weight: Any = None) -> ElboTerms:
        """Evaluate the evidence lower bound of given responsibilities, summed over the rows.

        Parameters
        ----------
        X : array-like of shape (n_samples, n_features)
        resp : array-like of shape (n_samples, n_components), optional
            ``q``, each row a distribution over the components; the posterior by default, which
            makes the bound tight.
        sample_weight : array-like of shape (n_samples,), optional
            A row of zero weight is skipped: its ``resp`` may be anything. Its X has to be finite.

        Returns
        -------
        ElboTerms
            In nats; ``kl`` is zero when ``resp`` is not given.

        Raises
        ------
        ValueError
            If a row of ``resp`` with positive weight is no distribution.

        Examples
        --------
        >>> import numpy as np
        >>> import vbfast
        >>> X = np.array([[-1.0], [0.0], [1.0], [9.0], [10.0], [11.0]])
        >>> mixture = vbfast.GaussianMixture(2, random_state=0).fit(X)
        >>> terms = mixture.elbo(X, resp=np.full((6, 2), 0.5))
        >>> bool(np.isclose(terms.log_evidence, terms.elbo + terms.kl))
        True
        """
        return self._elbo_terms(X, resp, sample_weight)

    def _elbo_terms(self, X: Any, resp: Any, sample_weight: Any) -> ElboTerms:
        sums = self._evaluate(
            self._fitted_rows(X),
            Request(assignment="posterior" if resp is None else "given", entropy=True),
            sample_weight=sample_weight,
            resp=resp,
        )
        return elbo_terms(sums)

    def sample(
        self, n_samples: int = 1, random_state: Any = None
    ) -> tuple[Float64Array, npt.NDArray[np.int64]]:
        """Draw rows from the fitted mixture.

        Parameters
        ----------
        n_samples : int, default=1
        random_state : int, RandomState instance or None, default=None
            ``None`` takes the estimator's own.

        Returns
        -------
        X : ndarray of shape (n_samples, n_features), float64
            Ordered by component.
        y : ndarray of shape (n_samples,), int64
            The components that the rows were drawn from.

        Raises
        ------
        ValueError
            If ``n_samples`` is not positive.
        """
        rng, counts = self._drawn_counts(n_samples, random_state)
        means = np.asarray(self.means_, dtype=np.float64)
        covariances = np.asarray(self.covariances_, dtype=np.float64)
        if self.covariance_type == "tied":
            covariances = np.broadcast_to(covariances, (len(means), *covariances.shape))
        draws = [
            rng.multivariate_normal(mean, covariance, count)
            if covariance.ndim == 2
            else mean + rng.standard_normal(size=(count, len(mean))) * np.sqrt(covariance)
            for mean, covariance, count in zip(means, covariances, counts, strict=True)
        ]
        return np.concatenate(draws), np.repeat(np.arange(len(counts)), counts)

    def _drawn_counts(
        self, n_samples: int, random_state: Any
    ) -> tuple[np.random.RandomState, npt.NDArray[np.int64]]:
        """Return the generator of :meth:`sample`, and the rows that it drew for each component."""
        check_is_fitted(self)
        if n_samples < 1:
            raise ValueError(
                f"Invalid value for 'n_samples': {n_samples} . The sampling requires at "
                "least one sample."
            )
        rng = check_random_state(self.random_state if random_state is None else random_state)
        weights = np.asarray(self.weights_, dtype=np.float64)
        if self.weights_.dtype == np.float32:
            # The rounded weights may sum to more than one, which multinomial refuses.
            weights = weights / weights.sum()
        return rng, rng.multinomial(n_samples, weights)


def elbo_terms(sums: PassResult) -> ElboTerms:
    """Return the terms of the bound that a pass with entropy summed up."""
    return ElboTerms(
        elbo=sums.expected_log_joint + sums.entropy,
        expected_log_joint=sums.expected_log_joint,
        entropy=sums.entropy,
        log_evidence=sums.log_evidence,
        kl=sums.kl,
    )
