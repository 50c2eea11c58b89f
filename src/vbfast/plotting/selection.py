"""What a selection among mixtures found, as curves over the number of components."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Self

import numpy as np

from vbfast.estimators.selection_result import SERIES, Selection
from vbfast.optional import needed
from vbfast.plotting.axes import axes_and_figure, tick_whole_numbers

__all__ = ["SelectionDisplay"]

# What a table may be drawn by: the axis' label, and whether the highest is best.
_CRITERIA = {
    "elbo": ("bound on the log marginal likelihood, nats", True),
    "elbo_with_symmetry": ("bound on the log marginal likelihood, plus ln K!, nats", True),
    "bic": ("BIC", False),
    "aic": ("AIC", False),
    "icl": ("ICL", False),
}
_LINES = ("-", "--", ":", "-.")


class SelectionDisplay:
    """What mixtures were compared by, over their numbers of components.

    A covariance type has a colour, and other parameters that were varied a line style.

    Parameters
    ----------
    table : sequence of dict
        As :class:`vbfast.Selection` has it.
    criterion : {'elbo', 'elbo_with_symmetry', 'bic', 'aic', 'icl'}, default='elbo'
        The column that is drawn.

    Attributes
    ----------
    table : list of dict
    criterion : str
    curves : dict of str to ndarray of shape (n_fits, 2)
        Numbers of components and what they are compared by, for each curve by its label.
    best : dict
        The row of the table that the criterion is in favour of; one without a value is not.
    ax_ : matplotlib Axes
    figure_ : matplotlib Figure
    lines_ : dict of str to matplotlib Line2D
    unconverged_ : matplotlib Line2D or None
        Markers of the fits that did not converge, if there are any.
    best_ : matplotlib Line2D
        The marker of the best.

    Raises
    ------
    TypeError
        If the table is no sequence of dictionaries.
    ValueError
        If the table is empty, lacks the criterion or the numbers of components, or has NaN alone
        for the criterion.

    See Also
    --------
    SelectionDisplay.from_selection : What :func:`vbfast.select` found.

    Examples
    --------
    >>> from matplotlib.figure import Figure
    >>> from vbfast.plotting import SelectionDisplay
    >>> table = [
    ...     {"n_components": 1, "covariance_type": "full", "bic": 9.0, "converged": True},
    ...     {"n_components": 2, "covariance_type": "full", "bic": 7.0, "converged": True},
    ... ]
    >>> display = SelectionDisplay(table, criterion="bic").plot(ax=Figure().subplots())
    >>> display.curves
    {'full': array([[1., 9.],
           [2., 7.]])}
    """

    def __init__(self, table: Any, *, criterion: str = "elbo") -> None:
        if criterion not in _CRITERIA:
            raise ValueError(f"criterion must be one of {', '.join(_CRITERIA)}; got {criterion!r}")
        if not isinstance(table, Sequence) or not all(isinstance(row, Mapping) for row in table):
            raise TypeError(
                "table must be a sequence of dictionaries, as Selection.table is; "
                f"got {type(table).__name__}"
            )
        if not table:
            raise ValueError("table must have at least one row; got none")
        if not all(criterion in row for row in table):
            had = [name for name in _CRITERIA if all(name in row for row in table)]
            raise ValueError(
                f"criterion={criterion!r} is no column of this table, which has {', '.join(had)}"
            )
        if not all("n_components" in row for row in table):
            raise ValueError("table must have n_components in every row")
        self.table = [dict(row) for row in table]
        self.criterion = criterion
        self._series: dict[tuple[str, str], list[dict[str, Any]]] = {}
        varied = [name for name in SERIES[1:] if len({row.get(name) for row in self.table}) > 1]
        for row in self.table:
            kind = str(row.get("covariance_type", "mixture"))
            others = ", ".join(f"{name}={row.get(name)}" for name in varied)
            self._series.setdefault((kind, others), []).append(row)
        self.curves = {
            _label(series): np.array(
                [(row["n_components"], row[criterion]) for row in rows], dtype=np.float64
            )
            for series, rows in self._series.items()
        }
        values = np.array([row[criterion] for row in self.table], dtype=np.float64)
        if np.isnan(values).all():
            raise ValueError(f"{criterion} is NaN in every row of the table")
        highest = _CRITERIA[criterion][1]
        self.best = self.table[int(np.nanargmax(values) if highest else np.nanargmin(values))]

    @classmethod
    def from_selection(
        cls, selection: Any, *, criterion: str | None = None, ax: Any = None, **line_kw: Any
    ) -> Self:
        """Draw what :func:`vbfast.select` found.

        Parameters
        ----------
        selection : Selection
        criterion : {'elbo', 'elbo_with_symmetry', 'bic', 'aic', 'icl'}, optional
            What decided by default.
        ax : matplotlib Axes, optional
            A new figure's by default.
        **line_kw
            Of the curves, for ``ax.plot``.

        Returns
        -------
        SelectionDisplay

        Raises
        ------
        ImportError
            If matplotlib is not installed (extra ``plot``).
        TypeError
            If it is no Selection.
        ValueError
            If its table lacks the criterion: bounds are of Bayesian mixtures, the others of
            mixtures of maximum likelihood.

        Examples
        --------
        >>> import numpy as np
        >>> from matplotlib.figure import Figure
        >>> import vbfast
        >>> from vbfast.plotting import SelectionDisplay
        >>> rng = np.random.default_rng(0)
        >>> X = np.concatenate([rng.normal(size=(100, 2)), rng.normal(size=(100, 2)) + 8.0])
        >>> selection = vbfast.select(
        ...     X, [1, 2, 3], covariance_type=["full", "diag"], random_state=0
        ... )
        >>> display = SelectionDisplay.from_selection(selection, ax=Figure().subplots())
        >>> list(display.curves), display.best["n_components"]
        (['full', 'diag'], 2)
        """
        if not isinstance(selection, Selection):
            raise TypeError(
                "selection must be a Selection, as vbfast.select returns; "
                f"got {type(selection).__name__}"
            )
        made = cls(
            selection.table, criterion=selection.criterion if criterion is None else criterion
        )
        return made.plot(ax, **line_kw)

    def plot(self, ax: Any = None, **line_kw: Any) -> Self:
        """Draw the curves, with a star at the best, and hollow markers where fits did not converge.

        Parameters
        ----------
        ax : matplotlib Axes, optional
            A new figure's by default.
        **line_kw
            Of the curves, for ``ax.plot``.

        Returns
        -------
        SelectionDisplay
            This one, with ``ax_``, ``figure_`` and the lines.

        Raises
        ------
        ImportError
            If matplotlib is not installed (extra ``plot``).
        TypeError
            If ``ax`` is no matplotlib Axes.
        """
        self.ax_, self.figure_ = axes_and_figure(ax, "SelectionDisplay.plot")
        with needed("matplotlib", by="SelectionDisplay.plot"):
            from matplotlib import cbook, lines
        line_kw = cbook.normalize_kwargs(line_kw, lines.Line2D)
        kinds = list(dict.fromkeys(kind for kind, _ in self._series))
        others = list(dict.fromkeys(other for _, other in self._series))
        self.lines_ = {}
        for (kind, other), curve in zip(self._series, self.curves.values(), strict=True):
            label = _label((kind, other))
            style = {
                "color": f"C{kinds.index(kind)}",
                "linestyle": _LINES[others.index(other) % len(_LINES)],
                "marker": "o",
                "label": label,
                **line_kw,
            }
            (self.lines_[label],) = self.ax_.plot(*curve.T, **style)
        open_ends = [row for row in self.table if not row.get("converged", True)]
        self.unconverged_ = None
        if open_ends:
            self.unconverged_ = self._mark(
                open_ends,
                marker="o",
                markersize=5,
                markerfacecolor="white",
                markeredgecolor="dimgrey",
                label="not converged",
            )
        self.best_ = self._mark(
            [self.best], marker="*", markersize=14, color="black", label="best", zorder=2.5
        )
        self.ax_.set_xlabel("components")
        self.ax_.set_ylabel(_CRITERIA[self.criterion][0])
        tick_whole_numbers(self.ax_.xaxis)
        self.ax_.legend()
        return self

    def _mark(self, rows: list[dict[str, Any]], **style: Any) -> Any:
        numbers = [row["n_components"] for row in rows]
        values = [row[self.criterion] for row in rows]
        (line,) = self.ax_.plot(numbers, values, linestyle="none", **style)
        return line


def _label(series: tuple[str, str]) -> str:
    return ", ".join(word for word in series if word)
