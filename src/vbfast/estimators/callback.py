"""A user's function that hears of every iteration of a fit, and may end it."""

from __future__ import annotations

import contextvars
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import partial
from typing import Any

import sklearn

from vbfast.inference.monitor import IterationReport, Monitor, RelayingMonitor

__all__ = ["Callback", "CallbackMonitor", "CallersContext", "FitIteration"]


@dataclass(frozen=True)
class FitIteration:
    """What a callback of ``fit`` is given after an iteration.

    Attributes
    ----------
    initialization : int
        The start that the iterations go on from, from 0 to ``n_init - 1``.
    iteration : int
        From 1.
    lower_bound : float
        Nats, in the unit of ``lower_bounds_``: its entry of this iteration.
    change : float
        From the iteration before, nats; infinity for the first one of a new start.
    """

    initialization: int
    iteration: int
    lower_bound: float
    change: float
    _fitted: Callable[[], Any] = field(repr=False, compare=False)

    def fitted_estimator(self) -> Any:
        """Return a copy of the estimator, fitted as far as this iteration has come.

        Returns
        -------
        estimator : object
            Its ``converged_`` says whether this iteration was the last one of its start.

        Raises
        ------
        ValueError
            If a fitted attribute overflows the dtype of the rows.
        """
        return self._fitted()


Callback = Callable[[FitIteration], Any]


class CallersContext:
    """The context of whoever makes this, for calls from within that of a fit."""

    def __init__(self) -> None:
        self._variables = contextvars.copy_context()
        self._skips = sklearn.get_config()["skip_parameter_validation"]

    def run(self, function: Callable[..., Any], /, *args: Any, **kwargs: Any) -> Any:
        """Call a function there, and return what it returns."""
        with sklearn.config_context(skip_parameter_validation=self._skips):
            return self._variables.run(function, *args, **kwargs)


def in_this_context(callback: Callback | None) -> Callback | None:
    """Return what calls a callback in the context of the caller, not in that of its fit.

    Raises
    ------
    TypeError
        If it cannot be called.
    """
    if callback is None:
        return None
    if not callable(callback):
        raise TypeError(f"callback must be callable; got {type(callback).__name__}")
    return partial(CallersContext().run, callback)


class CallbackMonitor(RelayingMonitor):
    """Tells a monitor and a callback; ``stopped`` is true once the callback has said so.

    Parameters
    ----------
    shown : Monitor
    callback : callable
    as_reached : callable
        Returns a function that makes a copy of the estimator, fitted as far as the iterations have
        come.
    """

    def __init__(self, shown: Monitor, callback: Callback, as_reached: Callable[[], Any]) -> None:
        super().__init__(shown)
        self._callback, self._as_reached = callback, as_reached
        self._index = 0

    def initialisation_begins(self, index: int) -> None:
        """Pass it on."""
        super().initialisation_begins(index)
        self._index = index

    def iteration_done(self, report: IterationReport) -> None:
        """Pass it on, and ask the callback whether to go on."""
        super().iteration_done(report)
        iteration = FitIteration(
            self._index, report.iteration, report.lower_bound, report.change, self._as_reached()
        )
        self.stopped = bool(self._callback(iteration))
