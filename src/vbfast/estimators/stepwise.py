"""A fit taken apart, for rows that are in several places: start, summaries, global steps."""

from __future__ import annotations

import contextvars
from abc import abstractmethod
from collections.abc import Collection
from typing import Any, Self

import numpy as np
from sklearn.base import _fit_context
from sklearn.exceptions import NotFittedError

from vbfast.config.settings import config_context, current_linalg
from vbfast.contract import Form, Moments, PassResult, Quadratic, Request
from vbfast.estimators.fitted import FittedMixture
from vbfast.estimators.validation import (
    TranslatedErrors,
    as_random_state,
    check_enough_rows,
    unchanged_on_failure,
    validate_rows,
)
from vbfast.families.family import Family
from vbfast.inference.em import EMResult, take_global_step
from vbfast.inference.monitor import SILENT, Monitor
from vbfast.inputs.weights import as_sample_weight, of_ordinary_scale
from vbfast.passes.base_runner import BaseRunner
from vbfast.passes.runner import runner_over

__all__ = ["StepwiseMixture", "of_ordinary_weights"]


class StepwiseMixture(FittedMixture):
    """The steps of an iteration as methods of their own.

    A subclass says which family is fitted, and how its parameters start.
    """

    n_components: int
    tol: float
    n_iter_: int
    n_passes_: int
    converged_: bool
    lower_bound_: float
    lower_bounds_: list[float]

    @abstractmethod
    def _family(self, runner: BaseRunner) -> Family[Any]:
        """Return the family to fit, with the start or prior that the constructor was given.

        Raises
        ------
        TypeError, ValueError
            If one of them will not do.
        """

    @abstractmethod
    def _start(
        self,
        family: Family[Any],
        runner: BaseRunner,
        random_state: np.random.RandomState,
        monitor: Monitor = SILENT,
    ) -> Any:
        """Return parameters to start from."""

    def _given_start(self, n_features: int) -> tuple[Family[Any], Any] | None:  # noqa: ARG002
        """Return the family and the start that the constructor's arguments make, if they do."""
        return None

    @abstractmethod
    def _take(
        self,
        family: Family[Any],
        result: EMResult[Any],
        dtype: np.dtype[Any],
        *,
        on_demand: Collection[str] = (),
    ) -> dict[str, Any]:
        """Become the fitted mixture that iterations have led to.

        Parameters
        ----------
        family : Family
        result : EMResult
        dtype : float32 or float64
        on_demand : collection of str
            The fitted attributes of which it has copies not before they are asked for.

        Returns
        -------
        dict
            The fitted attributes that the mixture has copies of.
        """

    def initialize(self, X: Any, sample_weight: Any = None) -> Self:
        """Take the parameters that a fit would start from.

        The mixture is then fitted, though no iteration has led to it, as after a fit with
        ``max_iter=0``: ``lower_bound_`` is ``-inf`` and ``n_iter_`` zero. :meth:`summarize` and
        :meth:`maximize` go on from there, and so does a fit with ``warm_start=True``.

        Parameters
        ----------
        X : array-like of shape (n_samples, n_features)
            Of all rows, or of a sample of them. Priors that are taken from the data are taken from
            these rows.
        sample_weight : array-like of shape (n_samples,), optional
            A sample of ``n`` of ``N`` rows may weigh ``N / n``, so that a prior counts for as much
            as in a fit of all.

        Returns
        -------
        self : object
            Of ``n_init`` starts the first.

        Raises
        ------
        ValueError
            As :meth:`fit`.

        Examples
        --------
        >>> import numpy as np
        >>> import vbfast
        >>> X = np.random.default_rng(0).normal(size=(100, 2))
        >>> mixture = vbfast.GaussianMixture(2, random_state=0).initialize(X)
        >>> mixture.n_iter_
        0
        """
        with unchanged_on_failure(self):
            contextvars.copy_context().run(self._start_from_rows, X, sample_weight)
        return self

    @_fit_context(prefer_skip_nested_validation=True)  # type: ignore[untyped-decorator]
    def _start_from_rows(self, X: Any, sample_weight: Any) -> None:
        rows = validate_rows(self, X, reset=True, min_samples=2)
        weights = as_sample_weight(sample_weight, rows.n_samples)
        check_enough_rows(self.n_components, rows.n_samples, weights)
        with self._passes_over(rows):
            runner = runner_over(rows, weights)
            family = self._family(runner)
            runner = of_ordinary_weights(runner, family)
            start = self._start(family, runner, as_random_state(self.random_state))
        self._take(family, EMResult(start, [], False, 0), rows.dtype)

    def summarize(self, X: Any, sample_weight: Any = None) -> PassResult:
        """Sum up what a global step needs of some rows: one pass over them.

        Summaries of parts of the rows, wherever they were made, add up to that of all:
        :func:`vbfast.merge` adds them in an order that gives the same bits every time. They are
        small (about the size of the parameters), pickle, and hold the terms of the bound.

        Parameters
        ----------
        X : array-like of shape (n_samples, n_features)
        sample_weight : array-like of shape (n_samples,), optional

        Returns
        -------
        summary : PassResult
            With ``log_evidence``, the sum of ``w * log p(x)`` under the parameters of this mixture
            (for a Bayesian one of its expected log-joint), ``total_weight``, and ``statistics``.

        Raises
        ------
        sklearn.exceptions.NotFittedError
            If the mixture has no parameters yet, nor a whole start (``weights_init``,
            ``means_init`` and ``precisions_init``) in its constructor's arguments.
        ValueError
            If X has NaN or infinity or the wrong shape; if a weight is negative or all are zero.

        Notes
        -----
        Moments are about the means that the summary was made with. In a fit the runner of this
        machine's passes takes them again about the new means where a component has moved so far
        that the former lose digits, as from a start far from the rows: :meth:`initialize` gives
        none.

        Examples
        --------
        Expectation-maximization of rows in two places:

        >>> import numpy as np
        >>> import vbfast
        >>> rng = np.random.default_rng(0)
        >>> here, there = rng.normal(-3.0, 1.0, size=(2000, 1)), rng.normal(3.0, 1.0, size=(900, 1))
        >>> mixture = vbfast.GaussianMixture(2, random_state=0)
        >>> mixture = mixture.initialize(np.concatenate([here[:200], there[:90]]))
        >>> while not mixture.converged_:
        ...     summary = vbfast.merge([mixture.summarize(here), mixture.summarize(there)])
        ...     mixture = mixture.maximize(summary)
        >>> print(mixture.means_.round().ravel())
        [-3.  3.]
        """
        if not hasattr(self, "converged_"):
            with unchanged_on_failure(self):
                rows = validate_rows(self, X, reset=True)
                self._start_from_arguments(rows.n_features, rows.dtype)
        rows = self._fitted_rows(X)
        request = Request(moments=self._fitted_family().moments)
        return self._evaluate(rows, request, sample_weight=sample_weight)

    def maximize(self, summary: PassResult) -> Self:
        """Take the global step of an iteration: the parameters that fit a summary of all rows best.

        Changes the mixture in place. ``lower_bounds_`` gets the bound of the responsibilities in
        the summary, as in a fit, ``n_iter_`` and ``n_passes_`` count on, and ``converged_`` says
        whether the bound has settled by the rule of :meth:`fit`.

        Parameters
        ----------
        summary : PassResult
            From :meth:`summarize`, of the parameters that the mixture has now: of all rows, in one
            or merged.

        Returns
        -------
        self : object

        Raises
        ------
        TypeError
            If it is no summary.
        sklearn.exceptions.NotFittedError
            If the mixture has no parameters yet.
        ValueError
            If the summary is of other parameters or another kind of mixture, or a covariance is not
            positive definite; the mixture stays as it was.
        """
        if not isinstance(summary, PassResult):
            raise TypeError(
                "summary must be what summarize returned, or vbfast.merge of such; got "
                f"{type(summary).__name__}"
            )
        with unchanged_on_failure(self):
            contextvars.copy_context().run(self._maximize, summary)
        return self

    def _maximize(self, summary: PassResult) -> None:
        if not hasattr(self, "converged_") and summary.statistics is not None:
            n_features = summary.statistics.centres.shape[1]
            self._start_from_arguments(n_features, summary.dtype)
            self.n_features_in_ = n_features
        family, parameters = self._fitted_family(), self._fitted_parameters()
        _check_summary(summary, family.moments, parameters.log_joint().form)
        # What is added to N_k against division by zero is not to count.
        if family.scale_free and 0.0 < summary.total_weight < 1.0:
            summary = summary * (1.0 / summary.total_weight)
        reached = EMResult(parameters, self.lower_bounds_, False, self.n_passes_)
        with config_context(backend=self.backend), TranslatedErrors(self, summary.dtype):
            result = take_global_step(family, summary, reached, self.tol, current_linalg())
        self._take(family, result, summary.dtype)

    @_fit_context(prefer_skip_nested_validation=True)  # type: ignore[untyped-decorator]
    def _start_from_arguments(self, n_features: int, dtype: np.dtype[Any]) -> None:
        """Take the parameters that the constructor was given."""
        with config_context(backend=self.backend), TranslatedErrors(self, dtype):
            given = self._given_start(n_features)
        if given is None:
            raise NotFittedError(
                f"This {type(self).__name__} instance has no parameters yet: call 'initialize' "
                "with some rows, or 'fit', or give the constructor a whole start, first."
            )
        family, start = given
        self._take(family, EMResult(start, [], False, 0), dtype)


def _check_summary(summary: PassResult, moments: Moments, form: Form) -> None:
    """Check that a global step can go by a summary: that it is of the present parameters."""
    statistics = summary.statistics
    if statistics is None or statistics.moments != moments:
        found = "none" if statistics is None else repr(statistics.moments)
        raise ValueError(
            f"summary must have moments {moments!r}, as summarize of this mixture returns; got "
            f"{found}"
        )
    same = np.array_equal if isinstance(form, Quadratic) else _same_shape
    if not same(statistics.centres, form.centres):
        raise ValueError(
            "summary must be of the parameters that the mixture has now; it was made with "
            "others. Call summarize again after every maximize"
        )


def of_ordinary_weights(runner: BaseRunner, family: Family[Any]) -> BaseRunner:
    """Return a runner whose weights are at least one on average, if that is all the same."""
    if not family.scale_free:
        return runner
    return runner.weighted(of_ordinary_scale(runner.sample_weight))


def _same_shape(one: Any, other: Any) -> bool:
    return bool(np.shape(one) == np.shape(other))
