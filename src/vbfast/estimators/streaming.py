"""Learning from rows that come in batches."""

from __future__ import annotations

import contextvars
import warnings
from dataclasses import replace
from typing import Any, Self

import numpy as np
import numpy.typing as npt
from sklearn.base import _fit_context

from vbfast.contract import PassResult, RowSource
from vbfast.estimators.stepwise import StepwiseMixture, of_ordinary_weights
from vbfast.estimators.validation import (
    RealInterval,
    as_random_state,
    callers_level,
    check_enough_rows,
    unchanged_on_failure,
    validate_rows,
)
from vbfast.families.family import Family
from vbfast.inference.em import EMResult
from vbfast.inference.stochastic import StepSizes, Stream, after_batch, average_of
from vbfast.inputs.weights import as_sample_weight
from vbfast.passes.runner import LocalRunner

__all__ = ["STREAM_PARAMETERS", "StreamingMixture"]

# scikit-learn's online models have the first two, with these ranges.
STREAM_PARAMETERS: dict[str, Any] = {
    "learning_decay": [RealInterval(0.0, 1.0, closed="both")],
    "learning_offset": [RealInterval(1.0, None, closed="left")],
    "step_size": [RealInterval(0.0, 1.0, closed="neither"), None],
    "total_samples": [RealInterval(0.0, None, closed="neither"), None],
}

_ADVICE = (
    "total_samples is None: the prior is weighed against the rows seen so far. Give the number of "
    "rows that the stream stands for, if it is known"
)


class StreamingMixture(StepwiseMixture):
    """A mixture that goes on learning, batch by batch."""

    learning_decay: float
    learning_offset: float
    step_size: float | None
    total_samples: float | None
    n_batch_iter_: int
    n_samples_seen_: float
    _average: PassResult

    def partial_fit(self, X: Any, y: Any = None, sample_weight: Any = None) -> Self:  # noqa: ARG002
        """Learn from a batch of rows: one pass over them, and a step of the parameters.

        Stepwise expectation-maximization or, of a Bayesian mixture, stochastic variational
        inference: a running average of the rows' statistics moves towards that of the batch, by
        ``(learning_offset + t) ** -learning_decay`` after ``t`` batches or, if it is given, by
        ``step_size``. The parameters are those of the running average.

        The first batch starts the components, as a fit of it would, and takes priors that are not
        given from it. After :meth:`fit` the parameters that it has found are gone on from, as if
        they were a batch's; a fit after ``partial_fit`` begins anew, or goes on with
        ``warm_start=True``.

        Parameters
        ----------
        X : array-like of shape (n_samples, n_features)
            A batch; what :meth:`fit` takes. Fitted attributes keep the dtype that the first batch,
            or the fit, has given them.
        y : Ignored
            Not used, present for API consistency by convention.
        sample_weight : array-like of shape (n_samples,), optional
            Within the batch: a batch whose weights are all doubled moves the average as far.

        Returns
        -------
        self : object
            With ``n_batch_iter_``, how many batches have come since the last fit;
            ``n_samples_seen_``, the sum of their weights and, of a Bayesian mixture, of those of
            that fit; and ``lower_bounds_``, the bounds of the parameters that the batches met,
            nats, with a running average of the rows' evidence.

        Raises
        ------
        ValueError
            As :meth:`fit`; if the first batch has fewer rows than components, unless the
            constructor was given a whole start; if ``n_components`` has been changed since. The
            mixture stays as it was.

        Warns
        -----
        UserWarning
            At the first batch, of a Bayesian mixture that was given no ``total_samples`` and comes
            from no fit.

        References
        ----------
        O. Cappe and E. Moulines (2009), On-line expectation-maximization algorithm for latent data
        models. M. D. Hoffman, D. M. Blei, C. Wang and J. Paisley (2013), Stochastic variational
        inference.

        Examples
        --------
        >>> import numpy as np
        >>> import vbfast
        >>> rng = np.random.default_rng(0)
        >>> mixture = vbfast.GaussianMixture(2, random_state=0)
        >>> for _ in range(50):
        ...     batch = rng.normal(size=(200, 1)) + 8.0 * rng.integers(2, size=(200, 1))
        ...     mixture = mixture.partial_fit(batch)
        >>> print(np.sort(mixture.means_.ravel()).round(), mixture.n_batch_iter_)
        [0. 8.] 50
        """
        with unchanged_on_failure(self):
            contextvars.copy_context().run(self._partial_fit, X, sample_weight)
        return self

    @_fit_context(prefer_skip_nested_validation=True)  # type: ignore[untyped-decorator]
    def _partial_fit(self, X: Any, sample_weight: Any) -> None:
        first = not hasattr(self, "converged_")
        rows = validate_rows(self, X, reset=first)
        weights = as_sample_weight(sample_weight, rows.n_samples)
        with self._passes_over(rows):
            runner = LocalRunner(rows, weights)
            family, stream = self._begun(runner) if first else self._stream(rows)
            begins = stream.average is None
            if begins and not family.per_unit_of_weight and self.total_samples is None:
                warnings.warn(_ADVICE, UserWarning, stacklevel=callers_level())
            stream = after_batch(
                stream,
                of_ordinary_weights(runner, family),
                family,
                StepSizes(self.learning_decay, self.learning_offset, self.step_size),
                runner.total_weight,
                self.total_samples,
            )
        n_batches = stream.n_batches
        reached = EMResult(stream.parameters, stream.lower_bounds, False, n_batches)
        dtype = rows.dtype if first else np.asarray(self.weights_).dtype
        self._take(family, reached, dtype)
        assert stream.average is not None
        self.n_batch_iter_, self.n_samples_seen_ = n_batches, stream.total_weight
        self._average = stream.average

    def _begun(self, runner: LocalRunner) -> tuple[Family[Any], Stream[Any]]:
        """Return a family and a stream that its first batch starts."""
        family = self._family(runner)
        if family.given_start() is None:
            try:
                check_enough_rows(self.n_components, runner.n_samples, runner.sample_weight)
            except ValueError as error:
                raise ValueError(
                    f"{error}. The first batch starts the components: give it more rows, or the "
                    "constructor a whole start"
                ) from None
        runner = of_ordinary_weights(runner, family)
        start = self._start(family, runner, as_random_state(self.random_state))
        return family, Stream(start, None, 0.0, 0, [])

    def _stream(self, rows: RowSource) -> tuple[Family[Any], Stream[Any]]:
        """Return the family and where the batches so far, or a fit, have led."""
        family, parameters = self._fitted_family(), self._fitted_parameters()
        n_components = len(self.weights_)
        if n_components != self.n_components:
            raise ValueError(
                f"partial_fit goes on with {n_components} components, and n_components is now "
                f"{self.n_components}. Clone the estimator to begin anew"
            )
        if hasattr(self, "n_batch_iter_"):
            stream = Stream(
                parameters,
                self._average,
                self.n_samples_seen_,
                self.n_batch_iter_,
                self.lower_bounds_,
            )
            return family, stream
        statistics = family.statistics_of(parameters) if self.n_iter_ > 0 else None
        if statistics is None or not statistics.weight.any():  # a posterior may be the prior
            return family, Stream(parameters, None, 0.0, 0, [])
        average = average_of(statistics, rows.dtype)
        seen = 0.0 if family.per_unit_of_weight else float(np.sum(statistics.weight))
        return family, Stream(parameters, average, seen, 0, [])

    def _follow_stream(self, other: Self, components: npt.NDArray[np.bool_]) -> None:
        """Go on where batches have led another mixture, if they have, with some components."""
        if not hasattr(other, "n_batch_iter_"):
            return
        assert other._average.statistics is not None
        self.n_batch_iter_, self.n_samples_seen_ = other.n_batch_iter_, other.n_samples_seen_
        self._average = replace(
            other._average, statistics=other._average.statistics.select(components)
        )

    def _forget_stream(self) -> None:
        """Leave what batches have led to behind, as a fit does."""
        for name in ("n_batch_iter_", "n_samples_seen_", "_average"):
            self.__dict__.pop(name, None)
