"""What a selection among mixtures has found: a table, a plot, and the best of them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from vbfast.estimators.selection_table import html_table, text_table
from vbfast.optional import needed

__all__ = ["CRITERIA", "SERIES", "Selection"]

# What mixtures are compared by, and whether the highest value is the best.
CRITERIA = {"elbo": True, "bic": False, "aic": False, "icl": False}

# What distinguishes the curves of a plot.
SERIES = (
    "covariance_type",
    "weight_concentration_prior_type",
    "weight_concentration_prior",
    "mean_precision_prior",
    "degrees_of_freedom_prior",
)


@dataclass(frozen=True, repr=False)
class Selection:
    """What :func:`vbfast.select` found.

    It is shown as a table, by ``print`` and in notebooks, with the best fit marked.

    Attributes
    ----------
    table : list of dict
        One a fit: the parameters that were varied; what it is compared by; ``n_iter`` and
        ``converged``; and ``start``, which start it came from: 'fresh' or 'split'. By the bound
        that is ``elbo``, with all its constants, and ``elbo_with_symmetry``, the bound plus
        ``log_symmetry``, nats; and ``n_active``, how many components hold at least half a row. By
        information criteria ``log_likelihood``, nats, ``n_parameters``, ``aic``, ``bic`` and
        ``icl``.
    mixtures : list of BayesianGaussianMixture or of GaussianMixture
        The fits, in the order of the table.
    criterion : {'elbo', 'bic', 'aic', 'icl'}
        What decides.
    """

    table: list[dict[str, Any]]
    mixtures: list[Any]
    criterion: str = "elbo"

    @property
    def best_(self) -> Any:
        """The mixture with the highest bound, without ``log_symmetry``, or lowest criterion."""
        return self.mixtures[self._best]

    @property
    def _best(self) -> int:
        values = [row[self.criterion] for row in self.table]
        return int(np.argmax(values) if CRITERIA[self.criterion] else np.argmin(values))

    def to_dataframe(self) -> Any:
        """Return the table as a pandas data frame.

        Raises
        ------
        ImportError
            If pandas is not installed (extra ``pandas``).
        """
        with needed("pandas", by="to_dataframe"):
            import pandas as pd
        return pd.DataFrame(self.table)

    def plot(self, ax: Any = None) -> Any:
        """Plot what decides over the number of components, with ``log_symmetry`` dashed.

        Parameters
        ----------
        ax : matplotlib Axes, optional
            A new figure's by default.

        Returns
        -------
        ax : matplotlib Axes

        Raises
        ------
        ImportError
            If matplotlib is not installed (extra ``plot``).
        """
        if ax is None:
            with needed("matplotlib", by="plot"):
                from matplotlib import pyplot as plt
            ax = plt.subplots()[1]
        varied = self._varied
        series: dict[tuple[Any, ...], list[dict[str, Any]]] = {}
        for row in self.table:
            series.setdefault(tuple(row[name] for name in varied), []).append(row)
        for values, rows in series.items():
            label = ", ".join(str(value) for value in values) or self._name
            K = [row["n_components"] for row in rows]
            (line,) = ax.plot(K, [row[self.criterion] for row in rows], "o-", label=label)
            if any(row.get("log_symmetry") for row in rows):
                symmetric = [row["elbo_with_symmetry"] for row in rows]
                ax.plot(K, symmetric, "--", color=line.get_color(), label=f"{label}, plus ln K!")
        ax.set_xlabel("components")
        unit = " on the log marginal likelihood, nats" if self.criterion == "elbo" else ""
        ax.set_ylabel(f"{self._name}{unit}")
        ax.legend()
        return ax

    def __str__(self) -> str:
        return text_table(self.table)

    def __repr__(self) -> str:
        return f"{self._caption}\n{text_table(self._shown, self._best)}"

    def _repr_html_(self) -> str:
        return html_table(self._shown, self._best, self._caption)

    @property
    def _name(self) -> str:
        return "bound" if self.criterion == "elbo" else self.criterion.upper()

    @property
    def _varied(self) -> list[str]:
        """The parameters besides the number of components that the fits differ in."""
        return [
            name
            for name in SERIES
            if name in self.table[0] and len({row[name] for row in self.table}) > 1
        ]

    @property
    def _shown(self) -> list[dict[str, Any]]:
        """The table without the parameters that are the same for all."""
        same = set(SERIES) - set(self._varied)
        return [
            {name: value for name, value in row.items() if name not in same} for row in self.table
        ]

    @property
    def _caption(self) -> str:
        kind = type(self.mixtures[0]).__name__
        same = ", ".join(
            f"{name}={self.table[0][name]!r}"
            for name in SERIES
            if name in self.table[0] and name not in self._varied
        )
        end = "highest" if CRITERIA[self.criterion] else "lowest"
        return f"{kind}({same}): the best has the {end} {self.criterion}, marked *"
