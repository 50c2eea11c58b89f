"""The axes that a display draws on."""

from __future__ import annotations

from typing import Any

from vbfast.optional import needed

__all__ = ["axes_and_figure", "tick_whole_numbers"]


def axes_and_figure(ax: Any, by: str) -> tuple[Any, Any]:
    """Return the axes that are given, or those of a new figure, with their figure.

    Parameters
    ----------
    ax : matplotlib Axes or None
    by : str
        What draws, for messages.

    Returns
    -------
    ax : matplotlib Axes
    figure : matplotlib Figure

    Raises
    ------
    ImportError
        If matplotlib is not installed.
    TypeError
        If ``ax`` is something else.
    """
    with needed("matplotlib", by=by):
        from matplotlib import axes
    if ax is None:
        with needed("matplotlib", by=by):
            from matplotlib import pyplot as plt
        ax = plt.subplots()[1]
    elif not isinstance(ax, axes.Axes):
        raise TypeError(
            f"ax must be one matplotlib Axes, or None for a new figure's; got {type(ax).__name__}"
        )
    return ax, ax.figure


def tick_whole_numbers(axis: Any) -> None:
    """Put ticks at whole numbers alone, unless the axis is logarithmic or has ticks of its own.

    Parameters
    ----------
    axis : matplotlib Axis
    """
    with needed("matplotlib", by="a display"):
        from matplotlib import ticker
    locator = axis.get_major_locator()
    if isinstance(locator, ticker.MaxNLocator):
        locator.set_params(integer=True)
