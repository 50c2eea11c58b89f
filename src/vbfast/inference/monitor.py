"""Watching a fit: silence, lines of text, or a progress bar."""

from __future__ import annotations

import math
import time
from dataclasses import dataclass
from typing import Any

from vbfast.inference.bars import BarWatcher, Watcher, bar_console

__all__ = [
    "SILENT",
    "IterationReport",
    "LineMonitor",
    "Monitor",
    "ProgressMonitor",
    "RelayingMonitor",
    "Workload",
    "make_monitor",
]


@dataclass(frozen=True)
class IterationReport:
    """One iteration's outcome: its number from 1, the bound in nats, and its change."""

    iteration: int
    lower_bound: float
    change: float


@dataclass(frozen=True)
class Workload:
    """How much there is to do: rows a pass, iterations an initialisation at most, and starts.

    ``bound_per_row`` says whether the bounds that are reported are averages over the rows.
    """

    n_samples: int
    max_iter: int
    n_init: int
    bound_per_row: bool = True

    def describe_bound(self, bound: float) -> str:
        """Return the bound and what it is of."""
        return f"bound {bound:.6f} {'a row' if self.bound_per_row else 'nats'}"


class Monitor(Watcher):
    """What a fit reports to; this one is silent.

    The reports come in the order of the methods below.

    Attributes
    ----------
    stopped : bool
        Whether the iterations of this start are to end after the one that was reported last or,
        after a start, whether it was the last one.
    """

    stopped = False

    @property
    def silent(self) -> bool:
        """Whether nobody listens, so that several steps may be taken together."""
        return type(self) is Monitor

    def initialisation_begins(self, index: int) -> None:
        """Hear that start number ``index`` (from 0) is being computed."""

    def start_progressed(self, step: str) -> None:
        """Hear which step of computing the start comes next."""

    def iterations_begin(self) -> None:
        """Hear that the start is there and the iterations begin."""

    def iteration_begins(self) -> None:
        """Hear that an iteration begins, or is tried once more from other parameters."""

    def iteration_done(self, report: IterationReport) -> None:
        """Hear how an iteration went."""

    def initialisation_ends(self, lower_bound: float, converged: bool) -> None:
        """Hear where the iterations from this start ended."""


SILENT = Monitor()


class RelayingMonitor(Monitor):
    """Passes every report on to another monitor, whose context whoever made it enters.

    Parameters
    ----------
    shown : Monitor
    """

    def __init__(self, shown: Monitor) -> None:
        self._shown = shown

    def initialisation_begins(self, index: int) -> None:
        """Pass it on."""
        self._shown.initialisation_begins(index)

    def start_progressed(self, step: str) -> None:
        """Pass it on."""
        self._shown.start_progressed(step)

    def iterations_begin(self) -> None:
        """Pass it on."""
        self._shown.iterations_begin()

    def iteration_begins(self) -> None:
        """Pass it on."""
        self._shown.iteration_begins()

    def iteration_done(self, report: IterationReport) -> None:
        """Pass it on."""
        self._shown.iteration_done(report)

    def initialisation_ends(self, lower_bound: float, converged: bool) -> None:
        """Pass it on."""
        self._shown.initialisation_ends(lower_bound, converged)


class _Pace:
    """Rows per second and time left, from the iterations of one initialisation."""

    def __init__(self, workload: Workload) -> None:
        self._workload = workload
        self._begun = time.perf_counter()

    @property
    def elapsed(self) -> float:
        return time.perf_counter() - self._begun

    def rows_per_second(self, iteration: int) -> float:
        return self._workload.n_samples * iteration / max(self.elapsed, 1e-9)

    def seconds_left(self, iteration: int) -> float:
        """Seconds until ``max_iter``: convergence may come sooner."""
        return self.elapsed / iteration * (self._workload.max_iter - iteration)

    def describe(self, report: IterationReport, *, change: bool = True) -> str:
        changed = _change(report, " ({:+.2e})") if change else ""
        return (
            f"{self._workload.describe_bound(report.lower_bound)}{changed}"
            f"  {_si(self.rows_per_second(report.iteration))} rows/s"
            f"  at most {_clock(self.seconds_left(report.iteration))} left"
        )


class LineMonitor(Monitor):
    """Prints lines that begin as scikit-learn's do, for logs, pipes and plain notebooks.

    Parameters
    ----------
    workload : Workload
    verbose : int
        From 2 on with the time that the steps took.
    interval : int
        Iterations between lines.
    """

    # Seconds after which there is a line again, whatever the interval.
    LONGEST_SILENCE = 5.0

    def __init__(self, workload: Workload, verbose: int, interval: int) -> None:
        self._workload = workload
        self._timed = verbose >= 2
        self._interval = interval

    def initialisation_begins(self, index: int) -> None:
        """Name the start."""
        self._begun = self._last = time.perf_counter()
        self._starting = False
        self._iterations = 0
        self._print(f"Initialization {index}")

    def start_progressed(self, step: str) -> None:
        """Show the first step of the start, and later ones from time to time."""
        if not self._starting or self._silent_for_long():
            self._starting = True
            self._print(f"  {step}")

    def iterations_begin(self) -> None:
        """Start the clock of the pace."""
        self._pace = _Pace(self._workload)

    def iteration_done(self, report: IterationReport) -> None:
        """Show bound, change, pace and time left."""
        self._iterations = report.iteration
        if report.iteration % self._interval and not self._silent_for_long():
            return
        line = f"  Iteration {report.iteration}"
        if self._timed:
            line += f"\t time lapse {time.perf_counter() - self._last:.5f}s"
            line += _change(report, "\t ll change {:.5f}")
        self._print(f"{line}\t {self._pace.describe(report, change=not self._timed)}")

    def initialisation_ends(self, lower_bound: float, converged: bool) -> None:
        """Show the outcome."""
        line = f"Initialization {'converged' if converged else 'did not converge'}."
        if self._timed:
            elapsed = time.perf_counter() - self._begun
            line += f" time lapse {elapsed:.5f}s\t lower bound {lower_bound:.5f}."
        elif self._iterations:
            bound = self._workload.describe_bound(lower_bound)
            line += f"\t {bound} after {_count(self._iterations, 'iteration')}"
        self._print(line)

    def _silent_for_long(self) -> bool:
        return time.perf_counter() - self._last > self.LONGEST_SILENCE

    def _print(self, line: str) -> None:
        print(line, flush=True)
        self._last = time.perf_counter()


class ProgressMonitor(BarWatcher, Monitor):
    """Draws a bar for each initialisation, on a terminal or in a notebook."""

    def __init__(self, workload: Workload, console: Any) -> None:
        from rich.progress import BarColumn, MofNCompleteColumn, TextColumn

        super().__init__(
            console,
            TextColumn("{task.description}"),
            BarColumn(bar_width=24),
            MofNCompleteColumn(),
            TextColumn("{task.fields[figures]}"),
        )
        self._workload = workload

    def initialisation_begins(self, index: int) -> None:
        """Name the start."""
        name = "fit" if self._workload.n_init == 1 else f"fit {index + 1}/{self._workload.n_init}"
        self._task = self._progress.add_task(
            name, total=self._workload.max_iter, figures="initialising"
        )
        self._draw()

    def start_progressed(self, step: str) -> None:
        """Show the step."""
        self._progress.update(self._task, figures=step)
        self._draw_again()

    def iterations_begin(self) -> None:
        """Start the clock of the pace."""
        self._pace = _Pace(self._workload)

    def iteration_done(self, report: IterationReport) -> None:
        """Show bound, change, pace and time left."""
        self._progress.update(
            self._task, completed=report.iteration, figures=self._pace.describe(report)
        )
        self._draw_again()

    def initialisation_ends(self, lower_bound: float, converged: bool) -> None:
        """Show the outcome."""
        outcome = "converged" if converged else "did not converge"
        bound = self._workload.describe_bound(lower_bound)
        self._progress.update(self._task, figures=f"{outcome}, {bound}")
        self._draw()


def make_monitor(workload: Workload, *, verbose: int, interval: int) -> Monitor:
    """Choose how a fit is watched.

    Parameters
    ----------
    workload : Workload
    verbose : int
        0 for silence; else a progress bar where rich is installed and standard output is a terminal
        or a notebook that can show it, and lines of text otherwise.
    interval : int
        Iterations between lines of text.

    Returns
    -------
    Monitor
    """
    if not verbose:
        return Monitor()
    console = bar_console()
    if console is not None:
        return ProgressMonitor(workload, console)
    return LineMonitor(workload, verbose, interval)


def _change(report: IterationReport, form: str) -> str:
    """Return the change in words; nothing for the first iteration, which changes no bound."""
    return form.format(report.change) if math.isfinite(report.change) else ""


def _count(number: int, what: str) -> str:
    return f"{number} {what}" if number == 1 else f"{number} {what}s"


def _si(number: float) -> str:
    """Three digits and a prefix: 1.23M."""
    for scale, prefix in ((1e9, "G"), (1e6, "M"), (1e3, "k")):
        if number >= scale:
            return f"{number / scale:.3g}{prefix}"
    return f"{number:.3g}"


def _clock(seconds: float) -> str:
    """Minutes and seconds, hours where there are any."""
    minutes, whole = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02}:{whole:02}" if hours else f"{minutes}:{whole:02}"
