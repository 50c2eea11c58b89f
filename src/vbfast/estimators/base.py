"""The fit that mixtures share: a search over starts."""

from __future__ import annotations

import contextlib
import contextvars
import copy
import os
import warnings
from collections.abc import Collection, Iterator
from functools import partial
from numbers import Integral
from typing import Any, ClassVar, Literal, Self

import numpy as np
import numpy.typing as npt
from sklearn.base import _fit_context
from sklearn.exceptions import ConvergenceWarning
from sklearn.utils._param_validation import Interval, StrOptions
from sklearn.utils.metadata_routing import UNUSED

from vbfast.estimators.callback import Callback, in_this_context
from vbfast.estimators.checkpoint import Checkpoint
from vbfast.estimators.fingerprint import fingerprint
from vbfast.estimators.fit_tasks import FitTasks, SetsCallbacks, fit_tasks, forget_tasks
from vbfast.estimators.loops import BATCH_METHODS, BatchMethod
from vbfast.estimators.search import search
from vbfast.estimators.searched import TruncatedMixture
from vbfast.estimators.stepwise import of_ordinary_weights
from vbfast.estimators.streaming import STREAM_PARAMETERS, StreamingMixture
from vbfast.estimators.truncation import (
    TRUNCATION_PARAMETERS,
    bound_of_clusters,
    runner_of_start,
    tell_learned,
)
from vbfast.estimators.validation import (
    KnownBackend,
    RealInterval,
    callers_level,
    check_enough_rows,
    keep_partial,
    unchanged_on_failure,
    validate_rows,
)
from vbfast.families.family import Family
from vbfast.inference.acceleration import Acceleration, Accelerator, make_accelerator
from vbfast.inference.em import EMResult
from vbfast.inference.initialisation import INIT_PARAMS, initial_statistics
from vbfast.inference.monitor import SILENT, Monitor
from vbfast.inference.subsample import InitSize
from vbfast.inputs.weights import as_sample_weight
from vbfast.passes.base_runner import BaseRunner
from vbfast.passes.runner import runner_over

__all__ = ["BaseMixture"]


class BaseMixture(SetsCallbacks, TruncatedMixture, StreamingMixture):  # type: ignore[misc]
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
        "batch_size": [Interval(Integral, 1, None, closed="left"), None],
        "batch_method": [StrOptions(set(BATCH_METHODS))],
        "final_pass": ["boolean"],
        "checkpoint": [str, os.PathLike, None],
        "checkpoint_interval": [RealInterval(0.0, None, closed="left")],
        **STREAM_PARAMETERS,
        **TRUNCATION_PARAMETERS,
        "annealing": ["array-like", None],
        "compute_bound_gap": ["boolean"],
        "reseeding": [RealInterval(0.0, 1.0, closed="neither"), None],
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
    batch_size: int | None
    batch_method: BatchMethod
    final_pass: bool
    truncation: int | Literal["auto"] | None
    annealing: Any
    compute_bound_gap: bool
    reseeding: float | None

    def _start(
        self,
        family: Family[Any],
        runner: BaseRunner,
        random_state: np.random.RandomState,
        monitor: Monitor = SILENT,
    ) -> Any:
        start = family.given_start()
        if start is not None:
            return start
        statistics = initial_statistics(
            runner_of_start(self, runner, random_state),
            n_components=self.n_components,
            moments=family.moments,
            init_params=self.init_params,
            random_state=random_state,
            form=family.statistics_form(self.n_components, runner),
            init_size=self.init_size,
            judge=partial(bound_of_clusters, family, runner),
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
            slicing (HDF5, Zarr), are read as the passes go. A function without arguments is called
            in every pass: it returns an iterator of two-dimensional arrays, the same every time.
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
            runner = runner_over(rows, weights)
            family = self._family(runner)
            runner = of_ordinary_weights(runner, family)
            checkpoint = self._checkpoint(runner)
            if checkpoint is not None and checkpoint.finished is not None:
                return self._take_finished(checkpoint, tasks)
            best, learned, stopped = search(
                self, family, runner, callback=callback, tasks=tasks, checkpoint=checkpoint
            )
        self._take(family, best, rows.dtype)
        tell_learned(self, learned)
        if self.compute_bound_gap:
            self.bound_gap_ = (learned and learned.bound_gap) or 0.0
        if checkpoint is not None:
            checkpoint.finish(self)
        if tasks is not None:
            with self._kept_if_interrupted():
                tasks.end(fitted=self._copied)
        return best.converged or stopped or self.max_iter == 0

    def _checkpoint(self, runner: BaseRunner) -> Checkpoint | None:
        """Return the checkpoint that the fit goes on from and is written to, if there is one."""
        if self.checkpoint is None:
            return None
        start = None
        if self._resumes:  # then it depends on what the last fit has led to
            fitted = [np.ravel(getattr(self, name)) for name in self._stored.attributes]
            start = np.concatenate([*fitted, [self.lower_bound_]])
        made = fingerprint(self, runner, start)
        return Checkpoint(self.checkpoint, self.checkpoint_interval, self, made)

    def _take_finished(self, checkpoint: Checkpoint, tasks: FitTasks | None) -> bool:
        """Become the mixture that the checkpoint of a fit that has ended holds."""
        warnings.warn(
            f"checkpoint {checkpoint.path} has the end of this very fit, which is returned. Remove "
            "the file to fit again",
            UserWarning,
            stacklevel=callers_level(),
        )
        self._forget_stream()
        for name, value in vars(checkpoint.finished).items():
            if name.endswith("_") and name not in ("n_features_in_", "feature_names_in_"):
                setattr(self, name, value)
        if tasks is not None:
            tasks.end(fitted=self._copied)
        return True

    def _take(
        self,
        family: Family[Any],
        result: EMResult[Any],
        dtype: np.dtype[Any],
        *,
        on_demand: Collection[str] = (),
    ) -> dict[str, Any]:
        attributes = self._hold(family, result.parameters, dtype, on_demand=on_demand)
        self.converged_ = result.converged
        self.n_iter_ = result.n_iter
        self.n_passes_ = result.n_passes
        self.lower_bound_ = result.lower_bound
        self.lower_bounds_ = result.lower_bounds
        self._forget_stream()
        return attributes

    def _hold(
        self,
        family: Family[Any],
        parameters: Any,
        dtype: np.dtype[Any],
        *,
        on_demand: Collection[str] = (),
    ) -> dict[str, Any]:
        """Take copies of the attributes that parameters have, and return those attributes.

        Some are left out that are copied on demand: those that there are already are deleted.
        """
        attributes = family.attributes(parameters, dtype)
        for name in ("neighbors_", "truncation_", "bound_gap_"):  # of other parameters
            if hasattr(self, name):
                delattr(self, name)
        for name, value in attributes.items():
            if name in on_demand:
                self.__dict__.pop(name, None)
            else:
                setattr(self, name, _copy_of(value))
        return attributes


def _copy_of(value: Any) -> Any:
    """Return a deep copy of a fitted attribute, sooner where that is an array."""
    return value.copy() if type(value) is np.ndarray else copy.deepcopy(value)


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
