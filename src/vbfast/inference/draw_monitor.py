"""Watching importance sampling: silence, lines of text, or a progress bar."""

from __future__ import annotations

import sys
import time
from types import TracebackType
from typing import Self

from vbfast.inference.monitor import ProgressMonitor, Workload, make_monitor

__all__ = ["BarDrawMonitor", "DrawMonitor", "LineDrawMonitor", "make_draw_monitor"]


class DrawMonitor:
    """What importance sampling reports to; this one is silent.

    A context, which leaves the terminal in order whatever happens within it.
    """

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        return None

    def done(self, draws: float) -> None:
        """Hear how many draws are done; a fraction is of the rows that some have been shown."""


class LineDrawMonitor(DrawMonitor):
    """Prints a line for every tenth of the draws, for logs and pipes."""

    LINES = 10

    def __init__(self, n_draws: int) -> None:
        self._n_draws = n_draws
        self._shown = 0
        self._begun = time.perf_counter()

    def done(self, draws: float) -> None:
        """Show how many are done, and the time left."""
        lines = int(self.LINES * draws / self._n_draws)
        if lines > self._shown:
            self._shown = lines
            left = (time.perf_counter() - self._begun) * (self._n_draws / draws - 1.0)
            print(f"  Draw {int(draws)} of {self._n_draws}\t about {left:.0f} s left", flush=True)


class BarDrawMonitor(DrawMonitor):
    """Draws a bar with rich, on a terminal or in a notebook."""

    # Seconds between drawings.
    REDRAW = 0.1

    def __init__(self, n_draws: int) -> None:
        from rich.console import Console
        from rich.progress import BarColumn, Progress, TextColumn, TimeRemainingColumn

        # Drawn by the passes themselves and not by a thread of rich's: they may precede a fork.
        self._progress = Progress(
            TextColumn("draws"),
            BarColumn(bar_width=24),
            TextColumn("{task.completed:.0f}/{task.total}"),
            TimeRemainingColumn(),
            console=Console(file=sys.stdout),
            auto_refresh=False,
        )
        self._task = self._progress.add_task("draws", total=n_draws)
        self._drawn = 0.0

    def __enter__(self) -> Self:
        self._progress.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self._progress.refresh()
        self._progress.stop()

    def done(self, draws: float) -> None:
        """Move the bar."""
        self._progress.update(self._task, completed=draws)
        if time.perf_counter() - self._drawn > self.REDRAW:
            self._progress.refresh()
            self._drawn = time.perf_counter()


def make_draw_monitor(n_samples: int, n_draws: int, *, verbose: int) -> DrawMonitor:
    """Choose how importance sampling is watched: as a fit of that ``verbose`` is."""
    if not verbose:
        return DrawMonitor()
    of_fit = make_monitor(Workload(n_samples, n_draws, 1), verbose=verbose, interval=1)
    if isinstance(of_fit, ProgressMonitor):
        return BarDrawMonitor(n_draws)
    return LineDrawMonitor(n_draws)
