"""scikit-learn's callbacks hear of the tasks of a fit: the fit, its starts, and their iterations.

scikit-learn has them from 1.9 on (``sklearn.callback``). Without any, a fit asks for none of this.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from vbfast.estimators.callback import CallersContext
from vbfast.inference.monitor import IterationReport, Monitor, RelayingMonitor

__all__ = ["FitTasks", "SetsCallbacks", "TaskMonitor", "fit_tasks", "forget_tasks"]

try:
    from sklearn.callback import CallbackSupportMixin as SetsCallbacks
except ImportError:

    class SetsCallbacks:  # type: ignore[no-redef]
        """What stands in for the mixin of a newer scikit-learn."""

        def set_callbacks(self, *callbacks: Any) -> Any:
            """Say that scikit-learn has no callbacks before 1.9."""
            raise NotImplementedError(
                "set_callbacks needs scikit-learn 1.9 or newer; fit(callback=) does not"
            )


# Attributes that scikit-learn keeps for the time of a fit.
_OF_THE_FIT = ("_callback_fit_ctx", "_skl_callbacks_to_teardown")


class FitTasks:
    """The tasks of one fit, told to the callbacks of its estimator in the context of its caller.

    Parameters
    ----------
    estimator : estimator
    X, y, sample_weight
        What it is fitted to.
    """

    def __init__(self, estimator: Any, X: Any, y: Any, sample_weight: Any) -> None:
        metadata = None if sample_weight is None else {"sample_weight": sample_weight}
        self._estimator, self._data = estimator, {"X": X, "y": y, "metadata": metadata}
        self._caller = CallersContext()

    def begin_fit(self, n_init: int) -> None:
        """Begin the task of the fit, with a number of starts.

        scikit-learn's ``_fit_context``, within which this is called, tears callbacks down.
        """
        self._root = self._caller.run(self._estimator._init_callback_context, max_subtasks=n_init)
        self._begin(self._root)

    def _begin(self, context: Any) -> None:
        self._caller.run(context.call_on_fit_task_begin, estimator=self._estimator, **self._data)

    def begin(self, name: str, parent: Any = None, max_subtasks: int = 0) -> Any:
        """Begin a task within another, by default within the fit, and return its context."""
        within = self._root if parent is None else parent
        context = within.subcontext(task_name=name, max_subtasks=max_subtasks)
        self._begin(context)
        return context

    def end(self, context: Any = None, fitted: Callable[[], Any] | None = None) -> bool:
        """End a task, by default the fit, and return whether a callback wants no more like it.

        ``fitted`` makes a copy of the estimator, fitted as far as the task has come.
        """
        return bool(
            self._caller.run(
                (self._root if context is None else context).call_on_fit_task_end,
                estimator=self._estimator,
                **self._data,
                reconstruction_attributes=fitted and (lambda: vars(fitted())),
            )
        )


def fit_tasks(estimator: Any, X: Any, y: Any, sample_weight: Any) -> FitTasks | None:
    """Return the tasks of a fit that is about to begin; ``None`` where nobody hears of them."""
    if hasattr(estimator, "_skl_callbacks") or hasattr(estimator, "_parent_callback_ctx"):
        return FitTasks(estimator, X, y, sample_weight)
    return None


def forget_tasks(copied: Any) -> None:
    """Take from a copy of an estimator that is being fitted what belongs to that fit."""
    for name in _OF_THE_FIT:
        vars(copied).pop(name, None)


class TaskMonitor(RelayingMonitor):
    """Tells another monitor, and callbacks, of starts and iterations.

    ``stopped`` is true once either has said so: after an iteration for its start, after a start for
    the fit.

    Parameters
    ----------
    shown : Monitor
    tasks : FitTasks
    max_iter : int
    as_reached : callable
        Returns a function that makes a copy of the estimator, fitted as far as the iterations have
        come.
    """

    def __init__(
        self,
        shown: Monitor,
        tasks: FitTasks,
        max_iter: int,
        as_reached: Callable[[], Callable[[], Any]],
    ) -> None:
        super().__init__(shown)
        self._tasks, self._max_iter, self._as_reached = tasks, max_iter, as_reached

    def initialisation_begins(self, index: int) -> None:
        """Begin a task."""
        super().initialisation_begins(index)
        self._start = self._tasks.begin("initialization", max_subtasks=self._max_iter)
        self._iteration: Any = None
        self._last: Callable[[], Any] | None = None

    def iteration_begins(self) -> None:
        """Begin a task, unless the iteration is tried once more."""
        super().iteration_begins()
        if self._iteration is None:
            self._iteration = self._tasks.begin("iteration", self._start)

    def iteration_done(self, report: IterationReport) -> None:
        """End the task."""
        super().iteration_done(report)
        self._last = self._as_reached()
        ended = self._tasks.end(self._iteration, self._last)
        self._iteration = None
        self.stopped = self._shown.stopped or ended

    def initialisation_ends(self, lower_bound: float, converged: bool) -> None:
        """End the task of the start."""
        super().initialisation_ends(lower_bound, converged)
        ended = self._tasks.end(self._start, self._last)
        self.stopped = self._shown.stopped or ended
