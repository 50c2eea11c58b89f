"""The fit that mixtures share: a search over starts."""

from __future__ import annotations

import contextlib
import contextvars
import copy
import warnings
from abc import abstractmethod
from dataclasses import replace
from numbers import Integral, Real
from typing import Any, ClassVar, Self

import numpy as np
import numpy.typing as npt
from sklearn.base import _fit_context
from sklearn.exceptions import ConvergenceWarning
from sklearn.utils._param_validation import Interval

from vbfast.contract import Request
from vbfast.estimators.stepwise import StepwiseMixture
from vbfast.estimators.validation import (
    as_random_state,
    check_enough_rows,
    keep_partial,
    unchanged_on_failure,
    validate_rows,
)
from vbfast.inference.acceleration import Accelerator
from vbfast.inference.em import EMResult, Objective, Progress, Stopping, run_em
from vbfast.inference.monitor import SILENT, Monitor, Workload, make_monitor
from vbfast.inputs.weights import as_sample_weight
from vbfast.passes.runner import LocalRunner

__all__ = ["BaseMixture"]


class BaseMixture(StepwiseMixture):
    """Base class of mixtures with scikit-learn's interface.

    A subclass says how its parameters start, what its iterations climb, and how parameters become
    fitted attributes and a log-joint; see the abstract methods.
    """

    _parameter_constraints: ClassVar[dict[str, Any]] = {
        "n_components": [Interval(Integral, 1, None, closed="left")],
        "tol": [Interval(Real, 0.0, None, closed="left")],
        "max_iter": [Interval(Integral, 0, None, closed="left")],
        "n_init": [Interval(Integral, 1, None, closed="left")],
        "random_state": ["random_state"],
        "warm_start": ["boolean"],
        "verbose": ["verbose"],
        "verbose_interval": [Interval(Integral, 1, None, closed="left")],
    }

    n_components: int
    max_iter: int
    n_init: int
    init_params: Any
    warm_start: bool
    verbose: int
    verbose_interval: int

    # Whether `lower_bound_` is an average over the rows.
    _bound_per_row: ClassVar[bool] = True

    @abstractmethod
    def _start(
        self,
        runner: LocalRunner,
        given: Any,
        random_state: np.random.RandomState,
        monitor: Monitor = SILENT,
    ) -> Any:
        """Return parameters to start from."""

    @abstractmethod
    def _check_resumable(self, n_features: int) -> None:
        """Check that this fit can go on from the last one's parameters."""

    @abstractmethod
    def _objective(self, given: Any, dtype: np.dtype[Any]) -> Objective[Any]:
        """Return what the iterations climb, for passes that compute in ``dtype``."""

    def _accelerator(self) -> Accelerator[Any] | None:
        """Return what extrapolates the iterations from one start, or ``None``."""
        return None

    @abstractmethod
    def _fitted_attributes(self, parameters: Any, dtype: np.dtype[Any]) -> dict[str, Any]:
        """Return the fitted attributes that hold the parameters, by name.

        Raises
        ------
        ValueError
            If a number overflows ``dtype``.
        """

    def fit(
        self,
        X: Any,
        y: Any = None,  # noqa: ARG002
        sample_weight: Any = None,
    ) -> Self:
        """Estimate the parameters.

        ``n_init`` starts are iterated until the bound changes by less than ``tol`` says, and the
        one with the highest bound is kept. With ``warm_start``, a second fit goes on from where the
        last one ended.

        A fit that fails or is interrupted leaves the estimator as it was. The ``KeyboardInterrupt``
        of a fit has an attribute ``partial``: a copy of the estimator that is fitted as far as the
        fit had come, with ``converged_`` False, or ``None`` if no iteration was finished. To go on
        from there, fit it with ``warm_start=True``.

        Parameters
        ----------
        X : array-like of shape (n_samples, n_features)
            float32 is computed in float32, everything else in float64. Arrays are used where they
            lie, whatever their strides; memory maps, and objects with ``shape``, ``dtype`` and row
            slicing (HDF5, Zarr), are read as the passes go.
        y : Ignored
            Not used, present for API consistency by convention.
        sample_weight : array-like of shape (n_samples,), optional
            Non-negative; an integer weight counts as that many repetitions of the row. Rows of
            weight zero count for nothing, but have to be finite all the same.

        Returns
        -------
        self : object
            The fitted mixture.

        Raises
        ------
        ValueError
            If X has NaN or infinity, fewer rows than components, or the wrong shape; if a weight is
            negative or all are zero; if a covariance is not positive definite; if a row is so far
            from the others that its squared distances overflow, which names the row; if a fitted
            attribute overflows the dtype of X.

        Warns
        -----
        sklearn.exceptions.ConvergenceWarning
            If the best start did not converge within ``max_iter`` iterations.

        Examples
        --------
        >>> import numpy as np
        >>> import vbfast
        >>> X = np.random.default_rng(0).normal(size=(100, 2))
        >>> mixture = vbfast.GaussianMixture(2, random_state=0)
        >>> try:
        ...     mixture.fit(X)
        ... except KeyboardInterrupt as interrupt:
        ...     mixture = interrupt.partial
        GaussianMixture(n_components=2, random_state=0)
        """
        with unchanged_on_failure(self):
            # A context variable that an interruption leaves set, as the backend, is not seen here.
            contextvars.copy_context().run(self._fit, X, sample_weight)
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
            What ``fit(X).predict(X)`` returns. Interrupted after the fit, ``partial`` is what
            the fit returned.
        """
        with unchanged_on_failure(self):
            contextvars.copy_context().run(self._fit, X, sample_weight)
            try:
                return self.predict(X)
            except KeyboardInterrupt as interrupt:
                keep_partial(interrupt, copy.copy(self))
                raise

    @_fit_context(prefer_skip_nested_validation=True)  # type: ignore[untyped-decorator]
    def _fit(self, X: Any, sample_weight: Any) -> None:
        rows = validate_rows(self, X, reset=True, min_samples=2)
        weights = as_sample_weight(sample_weight, rows.n_samples)
        check_enough_rows(self.n_components, rows.n_samples, weights)
        with self._passes_over(rows):
            best = self._search(LocalRunner(rows, weights))
        if not best.converged and self.max_iter > 0:
            warnings.warn(
                "Best performing initialization did not converge. "
                "Try different init parameters, or increase max_iter, "
                "tol, or check for degenerate data.",
                ConvergenceWarning,
                stacklevel=4,
            )
        self._take(best, rows.dtype)

    def _take(self, result: EMResult[Any], dtype: np.dtype[Any]) -> None:
        """Become the fitted mixture that iterations have led to."""
        for name, value in self._fitted_attributes(result.parameters, dtype).items():
            setattr(self, name, value)
        self.converged_ = result.converged
        self.n_iter_ = result.n_iter
        self.n_passes_ = result.n_passes
        self.lower_bound_ = result.lower_bound
        self.lower_bounds_ = result.lower_bounds

    def _search(self, runner: LocalRunner) -> EMResult[Any]:
        """Iterate from every start and return the best end."""
        given = self._check_given(runner)
        resumed = self.warm_start and hasattr(self, "converged_")
        n_init = 1 if resumed else self.n_init
        random_state = as_random_state(self.random_state)
        workload = Workload(runner.n_samples, self.max_iter, n_init, self._bound_per_row)
        best: EMResult[Any] | None = None
        progress = Progress[Any]()
        try:
            with make_monitor(
                workload, verbose=self.verbose, interval=self.verbose_interval
            ) as monitor:
                for index in range(n_init):
                    progress = Progress()
                    monitor.initialisation_begins(index)
                    if resumed:
                        self._check_resumable(runner.n_features)
                        start = self._fitted_parameters()
                    else:
                        start = self._start(runner, given, random_state, monitor)
                    if self.max_iter == 0:
                        # No iteration will see the rows, some of which the start may not have
                        # either.
                        runner.weighted(None).run(start.log_joint(), Request())
                    result = run_em(
                        runner,
                        start,
                        self._objective(given, runner.dtype),
                        Stopping(self.tol, self.max_iter),
                        previous_bound=self.lower_bound_ if resumed else -np.inf,
                        accelerator=self._accelerator(),
                        monitor=monitor,
                        progress=progress,
                    )
                    monitor.initialisation_ends(result.lower_bound, result.converged)
                    best = _better(best, result)
        except KeyboardInterrupt as interrupt:
            reached = _better(best, progress.reached)
            if reached is not None:
                partial = copy.copy(self)
                with contextlib.suppress(ValueError):  # of numbers that overflow the rows' dtype
                    partial._take(replace(reached, converged=False), runner.dtype)
                    keep_partial(interrupt, partial)
            raise
        assert best is not None
        return best


def _better(best: EMResult[Any] | None, other: EMResult[Any] | None) -> EMResult[Any] | None:
    """Return the result with the higher bound, the first of equals; none is the worst."""
    if best is None or other is None:
        return best or other
    worse = best.lower_bound == -np.inf or other.lower_bound > best.lower_bound
    return other if worse else best
