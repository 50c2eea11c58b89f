"""Watching importance sampling: silence, lines of text, or a progress bar."""

from __future__ import annotations

import time
from typing import Any

from vbfast.inference.bars import BarWatcher, Watcher, bar_console

__all__ = ["BarDrawMonitor", "DrawMonitor", "LineDrawMonitor", "make_draw_monitor"]


class DrawMonitor(Watcher):
    """What importance sampling reports to; this one is silent."""

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


class BarDrawMonitor(BarWatcher, DrawMonitor):
    """Draws a bar, on a terminal or in a notebook."""

    def __init__(self, n_draws: int, console: Any) -> None:
        from rich.progress import BarColumn, TextColumn, TimeRemainingColumn

        super().__init__(
            console,
            TextColumn("draws"),
            BarColumn(bar_width=24),
            TextColumn("{task.completed:.0f}/{task.total}"),
            TimeRemainingColumn(),
        )
        self._n_draws = n_draws
        self._task = self._progress.add_task("draws", total=n_draws)

    def done(self, draws: float) -> None:
        """Move the bar."""
        self._progress.update(self._task, completed=draws)
        if draws < self._n_draws:
            self._draw_again()
        else:
            self._draw()


def make_draw_monitor(n_draws: int, *, verbose: int) -> DrawMonitor:
    """Choose how importance sampling is watched: as a fit of that ``verbose`` is."""
    if not verbose:
        return DrawMonitor()
    console = bar_console()
    return LineDrawMonitor(n_draws) if console is None else BarDrawMonitor(n_draws, console)
