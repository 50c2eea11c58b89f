"""The fit that mixtures share: a search over starts."""

from __future__ import annotations

import contextlib
import contextvars
import copy
import warnings
from collections.abc import Callable, Iterator
from dataclasses import replace
from functools import partial
from numbers import Integral
from typing import Any, ClassVar, Self

import numpy as np
import numpy.typing as npt
from sklearn.base import _fit_context
from sklearn.exceptions import ConvergenceWarning
from sklearn.utils._param_validation import Interval, StrOptions
from sklearn.utils.metadata_routing import UNUSED

from vbfast.contract import Request
from vbfast.estimators.callback import Callback, CallbackMonitor, in_this_context
from vbfast.estimators.fit_tasks import (
    FitTasks,
    SetsCallbacks,
    TaskMonitor,
    fit_tasks,
    forget_tasks,
)
from vbfast.estimators.stepwise import of_ordinary_weights
from vbfast.estimators.streaming import STREAM_PARAMETERS, StreamingMixture
from vbfast.estimators.validation import (
    KnownBackend,
    RealInterval,
    as_random_state,
    callers_level,
    check_enough_rows,
    keep_partial,
    unchanged_on_failure,
    validate_rows,
)
from vbfast.families.family import Family
from vbfast.inference.acceleration import Acceleration, Accelerator, make_accelerator
from vbfast.inference.em import EMResult, Progress, Stopping, run_em
from vbfast.inference.initialisation import INIT_PARAMS, initial_statistics
from vbfast.inference.monitor import SILENT, Monitor, Workload, make_monitor
from vbfast.inference.subsample import InitSize
from vbfast.inputs.weights import as_sample_weight
from vbfast.passes.runner import LocalRunner

__all__ = ["BaseMixture"]


class BaseMixture(SetsCallbacks, StreamingMixture):  # type: ignore[misc]
    """Base class of mixtures with scikit-learn's interface.

    A subclass has the constructor, and says which family is fitted.
    """

    _parameter_constraints: ClassVar[dict[str, Any]] = {
        "n_components": [Interval(Integral, 1, None, closed="left")],
        "tol": [RealInterval(0.0, None, closed="left")],
        "max_iter": [Interval(Integral, 0, None, closed="left")],
        "n_init": [Interval(Integral, 1, None, closed="left")],
        "init_params": [StrOptions(set(INIT_PARAMS)), "array-like", callable],
        "init_size": [Interval(Integral, 1, None, closed="left"), StrOptions({"all"}), None],
        "random_state": ["random_state"],
        "warm_start": ["boolean"],
        "verbose": ["verbose"],
        "verbose_interval": [Interval(Integral, 1, None, closed="left")],
        "accelerate": [StrOptions({"squarem"}), None],
        "backend": [KnownBackend(), None],
        **STREAM_PARAMETERS,
    }

    # A callback is the caller's: no meta-estimator hands it on.
    __metadata_request__fit: ClassVar[dict[str, Any]] = {"callback": UNUSED}

    n_components: int
    max_iter: int
    n_init: int
    init_params: Any
    init_size: InitSize
    warm_start: bool
    verbose: int
    verbose_interval: int
    accelerate: Acceleration | None

    def _start(
        self,
        family: Family[Any],
        runner: LocalRunner,
        random_state: np.random.RandomState,
        monitor: Monitor = SILENT,
    ) -> Any:
        start = family.given_start()
        if start is not None:
            return start
        statistics = initial_statistics(
            runner,
            n_components=self.n_components,
            moments=family.moments,
            init_params=self.init_params,
            random_state=random_state,
            form=family.statistics_form(self.n_components, runner),
            init_size=self.init_size,
            monitor=monitor,
        )
        return family.start(statistics, runner)

    def _resumed_start(self, n_features: int) -> Any:
        """Return the last fit's parameters, which this one goes on from."""
        advice = "Use warm_start=False or clone the estimator."
        try:
            parameters = self._fitted_parameters()
        except (AttributeError, ValueError) as error:
            raise ValueError(
                f"warm_start=True goes on from the last fit, which was another: {error}. {advice}"
            ) from error
        form = parameters.log_joint().form
        if (form.n_components, form.n_features) != (self.n_components, n_features):
            raise ValueError(
                f"warm_start=True goes on from the last fit, of {form.n_components} components of "
                f"{form.n_features} features; this fit needs {self.n_components} of {n_features}. "
                f"{advice}"
            )
        return parameters

    def _accelerator(self, family: Family[Any]) -> Accelerator[Any] | None:
        """Return what extrapolates the iterations from one start, or ``None``."""
        if self.accelerate is None:
            return None
        if family.coordinates is None:
            raise ValueError(
                f"accelerate={self.accelerate!r} needs coordinates to extrapolate in, which "
                f"{family!r} does not have; use accelerate=None"
            )
        return make_accelerator(self.accelerate, family.coordinates)

    def fit(
        self,
        X: Any,
        y: Any = None,
        sample_weight: Any = None,
        *,
        callback: Callback | None = None,
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
        callback : callable, optional
            Called after every iteration, with an object whose attributes are ``initialization``
            (the number of the start, from 0), ``iteration`` (from 1), ``lower_bound`` and
            ``change`` (nats, in the unit of ``lower_bounds_``). Its method ``fitted_estimator()``
            makes a copy that is fitted so far. A true value that it returns ends the fit: the
            best parameters so far are kept, and no further start is tried. What it raises leaves
            the estimator as it was. It must not fit or change this estimator.

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
            _warn_unless(self._fit_in_a_context(X, y, sample_weight, callback))
        return self

    def fit_predict(
        self,
        X: Any,
        y: Any = None,
        sample_weight: Any = None,
        *,
        callback: Callback | None = None,
    ) -> npt.NDArray[np.int64]:
        """Estimate the parameters from X and predict its labels.

        Parameters
        ----------
        X : array-like of shape (n_samples, n_features)
        y : Ignored
        sample_weight : array-like of shape (n_samples,), optional
        callback : callable, optional
            As in :meth:`fit`.

        Returns
        -------
        labels : ndarray of shape (n_samples,), int64
            What ``fit(X).predict(X)`` returns. Interrupted after the fit, ``partial`` is what
            the fit returned.
        """
        with unchanged_on_failure(self):
            _warn_unless(self._fit_in_a_context(X, y, sample_weight, callback))
            with self._kept_if_interrupted():
                return self.predict(X)

    @contextlib.contextmanager
    def _kept_if_interrupted(self) -> Iterator[None]:
        """Keep a copy of what a fit has led to, whatever interrupts the block that follows it."""
        try:
            yield
        except KeyboardInterrupt as interrupt:
            keep_partial(interrupt, self._copied())
            raise

    def _copied(self) -> Self:
        """Return a copy that has nothing of the fit that goes on."""
        copied = copy.copy(self)
        forget_tasks(copied)
        return copied

    @property
    def _resumes(self) -> bool:
        """Whether a fit goes on from the last one."""
        return self.warm_start and hasattr(self, "converged_")

    @property
    def _n_starts(self) -> int:
        return 1 if self._resumes else self.n_init

    def _fit_in_a_context(
        self, X: Any, y: Any, sample_weight: Any, callback: Callback | None
    ) -> bool:
        """Fit, and return whether that ended as it should, by converging or by a callback.

        A context variable that an interruption leaves set, as the backend, ends with the context.
        """
        tasks = fit_tasks(self, X, y, sample_weight)
        context, callback = contextvars.copy_context(), in_this_context(callback)
        ended: bool = context.run(self._fit, X, sample_weight, callback, tasks)
        return ended

    @_fit_context(prefer_skip_nested_validation=True)  # type: ignore[untyped-decorator]
    def _fit(
        self, X: Any, sample_weight: Any, callback: Callback | None, tasks: FitTasks | None
    ) -> bool:
        if tasks is not None:
            self._forget_stream()  # scikit-learn's fitted copies would have it
            tasks.begin_fit(self._n_starts)
        rows = validate_rows(self, X, reset=True, min_samples=2)
        weights = as_sample_weight(sample_weight, rows.n_samples)
        check_enough_rows(self.n_components, rows.n_samples, weights)
        with self._passes_over(rows):
            runner = LocalRunner(rows, weights)
            family = self._family(runner)
            runner = of_ordinary_weights(runner, family)
            best, stopped = self._search(family, runner, callback, tasks)
        self._take(family, best, rows.dtype)
        if tasks is not None:
            with self._kept_if_interrupted():
                tasks.end(fitted=self._copied)
        return best.converged or stopped or self.max_iter == 0

    def _take(self, family: Family[Any], result: EMResult[Any], dtype: np.dtype[Any]) -> None:
        for name, value in family.attributes(result.parameters, dtype).items():
            setattr(self, name, value)
        self.converged_ = result.converged
        self.n_iter_ = result.n_iter
        self.n_passes_ = result.n_passes
        self.lower_bound_ = result.lower_bound
        self.lower_bounds_ = result.lower_bounds
        self._forget_stream()

    def _search(
        self,
        family: Family[Any],
        runner: LocalRunner,
        callback: Callback | None,
        tasks: FitTasks | None,
    ) -> tuple[EMResult[Any], bool]:
        """Iterate from every start; return the best end, and whether a callback stopped one."""
        resumed, n_init = self._resumes, self._n_starts
        random_state = as_random_state(self.random_state)
        workload = Workload(runner.n_samples, self.max_iter, n_init, family.per_unit_of_weight)
        best: EMResult[Any] | None = None
        progress = Progress[Any]()
        dtype = runner.dtype

        def fitted(reached: EMResult[Any]) -> Any:
            estimator = self._copied()
            estimator.random_state = copy.deepcopy(self.random_state)  # its draws are its own
            estimator._take(family, reached, dtype)
            return estimator

        def as_reached() -> Callable[[], Any]:
            assert progress.reached is not None  # an iteration has ended
            return partial(fitted, progress.reached)

        shown = make_monitor(workload, verbose=self.verbose, interval=self.verbose_interval)
        monitor = shown if callback is None else CallbackMonitor(shown, callback, as_reached)
        if tasks is not None:
            monitor = TaskMonitor(monitor, tasks, self.max_iter, as_reached)
        stopped = False
        try:
            with shown:
                for index in range(n_init):
                    progress = Progress()
                    monitor.initialisation_begins(index)
                    if resumed:
                        start = self._resumed_start(runner.n_features)
                    else:
                        start = self._start(family, runner, random_state, monitor)
                    if self.max_iter == 0:
                        # No iteration will see the rows, some of which the start may not have
                        # either.
                        runner.weighted(None).run(start.log_joint(), Request())
                    result = run_em(
                        runner,
                        start,
                        family,
                        Stopping(self.tol, self.max_iter),
                        previous_bound=self.lower_bound_ if resumed else -np.inf,
                        accelerator=self._accelerator(family),
                        monitor=monitor,
                        progress=progress,
                    )
                    stopped = stopped or monitor.stopped
                    monitor.initialisation_ends(result.lower_bound, result.converged)
                    best = _better(best, result)
                    if monitor.stopped:
                        break
        except KeyboardInterrupt as interrupt:
            keep_partial(interrupt, None)  # a fit within this one may have kept its own
            reached = _better(best, progress.reached)
            if reached is not None:
                with contextlib.suppress(ValueError):  # of numbers that overflow the rows' dtype
                    keep_partial(interrupt, fitted(replace(reached, converged=False)))
            raise
        assert best is not None
        return best, stopped


def _warn_unless(ended: bool) -> None:
    """Warn the caller of a fit that did not end as it should."""
    if not ended:
        warnings.warn(
            "Best performing initialization did not converge. "
            "Try different init parameters, or increase max_iter, "
            "tol, or check for degenerate data.",
            ConvergenceWarning,
            stacklevel=callers_level(),
        )


def _better(best: EMResult[Any] | None, other: EMResult[Any] | None) -> EMResult[Any] | None:
    """Return the result with the higher bound, the first of equals; none is the worst."""
    if best is None or other is None:
        return best or other
    worse = best.lower_bound == -np.inf or other.lower_bound > best.lower_bound
    return other if worse else best
