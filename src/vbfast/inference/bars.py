"""Where watchers draw progress bars: rich, on terminals and in notebooks that can show them."""

from __future__ import annotations

import contextlib
import importlib
import importlib.util
import math
import sys
import time
from types import TracebackType
from typing import Any, Self

__all__ = ["BarWatcher", "Watcher", "bar_console"]


class Watcher:
    """A context, which leaves the terminal in order whatever happens within it; this is silent."""

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        return None


class BarWatcher(Watcher):
    """Draws bars with rich.

    Parameters
    ----------
    console : rich.console.Console
    *columns : rich.progress.ProgressColumn
    """

    # Seconds between drawings: many short steps must not wait for the terminal.
    REDRAW = 0.1

    def __init__(self, console: Any, *columns: Any) -> None:
        from rich.progress import Progress

        # Drawn by the passes themselves and not by a thread of rich's: they may precede a fork.
        self._progress = Progress(*columns, console=console, auto_refresh=False)
        self._drawn = -math.inf

    def __enter__(self) -> Self:
        self._progress.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self._progress.stop()

    def _draw_again(self) -> None:
        """Draw, unless that was done just now."""
        if time.perf_counter() - self._drawn > self.REDRAW:
            self._draw()

    def _draw(self) -> None:
        self._progress.refresh()
        self._drawn = time.perf_counter()


def bar_console() -> Any | None:
    """Return standard output as what bars are drawn on, or None where they cannot be."""
    if importlib.util.find_spec("rich") is None:
        return None
    from rich.console import Console

    console = Console(file=sys.stdout)
    return console if _shows_bars(console) else None


def _shows_bars(console: Any) -> bool:
    if console.is_jupyter:
        # What rich draws with there; without it rich warns and shows nothing.
        with contextlib.suppress(ImportError):
            importlib.import_module("IPython.display")
            importlib.import_module("ipywidgets")
            return True
        return False
    return bool(console.is_terminal and not console.is_dumb_terminal)
