"""Learning from rows that come in batches."""

from __future__ import annotations

import contextlib
import contextvars
import copy
import os
import warnings
from collections.abc import Iterator
from dataclasses import replace
from typing import Any, Self
from weakref import WeakKeyDictionary

import numpy as np
import numpy.typing as npt
from sklearn.base import _fit_context

from vbfast.contract import PassResult, RowSource
from vbfast.estimators.checkpoint import StreamCheckpoint
from vbfast.estimators.stepwise import StepwiseMixture, of_ordinary_weights
from vbfast.estimators.truncation import Learned, tell_learned, truncated_runner
from vbfast.estimators.validation import (
    RealInterval,
    as_random_state,
    callers_level,
    check_enough_rows,
    unchanged_on_failure,
    validate_rows,
)
from vbfast.families.attributes import PrivateAttributes
from vbfast.families.family import Family
from vbfast.inference.em import EMResult
from vbfast.inference.runner import searches
from vbfast.inference.stochastic import StepSizes, Stream, after_batch
from vbfast.inputs.weights import as_sample_weight
from vbfast.passes.base_runner import BaseRunner
from vbfast.passes.runner import runner_over

__all__ = ["STREAM_PARAMETERS", "StreamingMixture"]

ON_DEMAND = frozenset({"covariances_", "precisions_", "precisions_cholesky_"})

# scikit-learn's online models have the first two, with these ranges.
STREAM_PARAMETERS: dict[str, Any] = {
    "learning_decay": [RealInterval(0.0, 1.0, closed="both")],
    "learning_offset": [RealInterval(1.0, None, closed="left")],
    "step_size": [RealInterval(0.0, 1.0, closed="neither"), None],
    "total_samples": [RealInterval(0.0, None, closed="neither"), None],
}

# The memory of passes over the last batch: to have it anew takes as long as some hundred rows. It
# is not in the estimator, as copies of that may learn at the same time.
_workspaces: WeakKeyDictionary[Any, dict[str, Any]] = WeakKeyDictionary()

_ADVICE = (
    "total_samples is None: the prior is weighed against the rows seen so far. Give the number of "
    "rows that the stream stands for, if it is known"
)


class OnDemand:
    """A fitted attribute that is copied when it is first asked for after a batch.

    To copy matrices, and to look whether they were written to, takes as long as a pass of some
    hundred rows. Who has not asked for one has not written to it either.
    """

    def __set_name__(self, owner: type, name: str) -> None:
        self._name = name

    def __get__(self, mixture: Any, owner: type) -> Any:
        """Return what the last batch has led to."""
        if mixture is None:
            return self
        held = vars(mixture)
        left = held.get("_left", {})
        if self._name not in left:
            raise AttributeError(f"{owner.__name__!r} object has no attribute {self._name!r}")
        return held.setdefault(self._name, copy.deepcopy(left[self._name]))


class StreamingMixture(StepwiseMixture):
    """A mixture that goes on learning, batch by batch."""

    covariances_: Any = OnDemand()
    precisions_: Any = OnDemand()
    precisions_cholesky_: Any = OnDemand()

    learning_decay: float
    learning_offset: float
    step_size: float | None
    total_samples: float | None
    checkpoint: str | os.PathLike[str] | None
    checkpoint_interval: float
    n_batch_iter_: int
    n_samples_seen_: float
    _average: PassResult
    _left: dict[str, Any]

    def partial_fit(self, X: Any, y: Any = None, sample_weight: Any = None) -> Self:  # noqa: ARG002
        """Learn from a batch of rows: one pass over them, and a step of the parameters.

        Stepwise expectation-maximization or, of a Bayesian mixture, stochastic variational
        inference: a running average of the rows' statistics moves towards that of the batch, by
        ``(learning_offset + t) ** -learning_decay`` after ``t`` batches or, if it is given, by
        ``step_size``. The parameters are those of the running average.

        The first batch starts the components, as a fit of it would, and takes priors that are not
        given from it. After :meth:`fit` the parameters that it has found are gone on from, as if
        they were a batch's; so are fitted attributes that were set, or written to, after the last
        batch. A fit after ``partial_fit`` begins anew, or goes on with ``warm_start=True``.

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
            With ``n_batch_iter_``, how many batches have come since the last fit, or since an
            attribute was set;
            ``n_samples_seen_``, the sum of their weights and, of a Bayesian mixture, of those of
            that fit; and ``lower_bounds_``, the bounds of the parameters that the batches met,
            nats, with a running average of the rows' evidence.

        Raises
        ------
        ValueError
            As :meth:`fit`; if the first batch has fewer rows than components, unless the
            constructor was given a whole start; if ``n_components`` has been changed since; if the
            first batch finds a file at ``checkpoint``. The mixture stays as it was.

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
        with unchanged_on_failure(self), _as_long_on_failure(vars(self).get("lower_bounds_")):
            contextvars.copy_context().run(self._partial_fit, X, sample_weight)
        return self

    @_fit_context(prefer_skip_nested_validation=True)  # type: ignore[untyped-decorator]
    def _partial_fit(self, X: Any, sample_weight: Any) -> None:
        first = not hasattr(self, "converged_")
        path = self.checkpoint
        checkpoint = None if path is None else StreamCheckpoint(path, self)
        rows = validate_rows(self, X, reset=first)
        weights = as_sample_weight(sample_weight, rows.n_samples)
        with self._passes_over(rows), _workspaces_of(self) as workspaces:
            runner = runner_over(rows, weights, workspaces=workspaces)
            if first:
                family, runner, stream = self._begun(runner)
            else:
                family, stream = self._stream(rows)
                runner = self._batch_runner(runner, family)
            begins = stream.average is None
            if begins and not family.per_unit_of_weight and self.total_samples is None:
                warnings.warn(_ADVICE, UserWarning, stacklevel=callers_level())
            stream = after_batch(
                stream,
                runner,
                family,
                StepSizes(self.learning_decay, self.learning_offset, self.step_size),
                float(rows.n_samples if weights is None else weights.sum()),
                self.total_samples,
            )
        n_batches = stream.n_batches
        reached = EMResult(stream.parameters, stream.lower_bounds, False, n_batches)
        dtype = rows.dtype if first else np.asarray(self.weights_).dtype
        self.__dict__.pop("_left", None)  # nobody asks for copies of that any more
        left = self._take(family, reached, dtype, on_demand=ON_DEMAND)
        tell_learned(self, Learned.of(runner) if searches(runner) else None)
        assert stream.average is not None
        self._go_on_with(n_batches, stream.total_weight, stream.average, left)
        if checkpoint is not None:
            checkpoint.offer(self, self.checkpoint_interval)

    def _batch_runner(self, runner: BaseRunner, family: Family[Any]) -> BaseRunner:
        """Return the runner over a batch, which knows the neighbours that were learned before."""
        runner = of_ordinary_weights(runner, family)
        if self.truncation is None:
            return runner
        batch = truncated_runner(
            self,
            family,
            runner,
            as_random_state(self.random_state),
            getattr(self, "n_batch_iter_", 0),
        )
        if searches(batch):
            batch.neighbors = getattr(self, "neighbors_", None)
        return batch

    def _begun(self, runner: BaseRunner) -> tuple[Family[Any], BaseRunner, Stream[Any]]:
        """Return a family, a runner and a stream that its first batch starts."""
        family = self._family(runner)
        if family.given_start() is None:
            try:
                check_enough_rows(self.n_components, runner.n_samples, runner.sample_weight)
            except ValueError as error:
                raise ValueError(
                    f"{error}. The first batch starts the components: give it more rows, or the "
                    "constructor a whole start"
                ) from None
        runner = self._batch_runner(runner, family)
        start = self._start(family, runner, as_random_state(self.random_state))
        return family, runner, Stream.of_start(start)

    def _stream(self, rows: RowSource) -> tuple[Family[Any], Stream[Any]]:
        """Return the family and where the batches so far, or a fit, have led."""
        family, on_stream = self._fitted_family(), self._is_on_stream()
        if on_stream:
            parameters = family.parameters(PrivateAttributes(self._left))
        else:
            parameters = self._fitted_parameters()
        n_components = len(self.weights_)
        if n_components != self.n_components:
            raise ValueError(
                f"partial_fit goes on with {n_components} components, and n_components is now "
                f"{self.n_components}. Clone the estimator to begin anew"
            )
        if on_stream:
            return family, Stream(
                parameters,
                self._average,
                self.n_samples_seen_,
                self.n_batch_iter_,
                self.lower_bounds_,
            )
        if self.n_iter_ > 0:
            return family, Stream.of_fit(parameters, family, rows.dtype)
        return family, Stream.of_start(parameters)

    def _is_on_stream(self) -> bool:
        """Whether the parameters are those that the last batch has led to: none was set since."""
        held = vars(self)
        return "_left" in held and all(
            _is_same(value, held[name]) if name in held else name in ON_DEMAND
            for name, value in self._left.items()
        )

    def _follow_stream(self, other: Self, components: npt.NDArray[np.bool_]) -> None:
        """Go on where batches have led another mixture, if they have, with some components."""
        if not other._is_on_stream():
            return
        statistics = other._average.statistics
        assert statistics is not None
        average = replace(other._average, statistics=statistics.select(components))
        self._go_on_with(other.n_batch_iter_, other.n_samples_seen_, average)

    def _go_on_with(
        self,
        n_batches: int,
        n_samples_seen: float,
        average: PassResult,
        left: dict[str, Any] | None = None,
    ) -> None:
        """Take the parameters for what batches have led to.

        Parameters
        ----------
        n_batches : int
        n_samples_seen : float
        average : PassResult
        left : dict, optional
            What the fitted attributes are copies of, by default copies of them.
        """
        self.n_batch_iter_, self.n_samples_seen_ = n_batches, n_samples_seen
        self._average = average
        self._left = copy.deepcopy(self._fitted_attributes()) if left is None else left

    def _forget_stream(self) -> None:
        """Leave what batches have led to behind, as a fit does."""
        self._copy_all()
        for name in ("n_batch_iter_", "n_samples_seen_", "_average", "_left"):
            self.__dict__.pop(name, None)

    def _copy_all(self) -> None:
        """Have copies of all fitted attributes, as if each had been asked for."""
        for name in ON_DEMAND:
            getattr(self, name, None)

    def __getstate__(self) -> dict[str, Any]:
        """Return what a copy has. The bounds are its own: batches append to them."""
        self._copy_all()
        state = {**super().__getstate__()}
        if isinstance(state.get("lower_bounds_"), list):
            state["lower_bounds_"] = state["lower_bounds_"].copy()
        return state


def _is_same(value: Any, held: Any) -> bool:
    """Return whether a mixture still holds a value that it was left with, or a copy of it."""
    number = held is value  # of which a copy is itself
    return number or np.array_equal(value, held)


@contextlib.contextmanager
def _as_long_on_failure(numbers: list[float] | None) -> Iterator[None]:
    """Take away what was appended to a list if the block fails or is interrupted."""
    length = 0 if numbers is None else len(numbers)
    try:
        yield
    except BaseException:
        if numbers is not None:
            del numbers[length:]
        raise


@contextlib.contextmanager
def _workspaces_of(estimator: Any) -> Iterator[dict[str, Any]]:
    """Hand out the memory that its last batch has left, to one call at a time."""
    workspaces = _workspaces.pop(estimator, {})
    yield workspaces
    _workspaces[estimator] = workspaces
