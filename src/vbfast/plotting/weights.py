"""Weights of a Bayesian mixture, and which of its components are active."""

from __future__ import annotations

from typing import Any, Self

import numpy as np
from scipy.special import betaincinv
from sklearn.utils.validation import check_is_fitted

from vbfast.contract import Float64Array
from vbfast.estimators.bayesian import BayesianGaussianMixture
from vbfast.inputs.numbers import as_numbers
from vbfast.plotting.axes import axes_and_figure

__all__ = ["WeightsDisplay"]


class WeightsDisplay:
    """Expected weights of components, the heaviest first, and which of them are active.

    Parameters
    ----------
    weights : array-like of shape (n_components,)
        Expected weights.
    active : array-like of shape (n_components,), bool
        Which components hold rows.
    intervals : array-like of shape (n_components, 2), optional
        The ends of a credible interval of each weight.
    mass : float, optional
        The probability of each interval.

    Attributes
    ----------
    weights : ndarray of shape (n_components,), float64
    active : ndarray of shape (n_components,), bool
    intervals : ndarray of shape (n_components, 2), float64, or None
    mass : float or None
    order : ndarray of shape (n_components,), int64
        The components from left to right.
    ax_ : matplotlib Axes
    figure_ : matplotlib Figure
    bars_ : matplotlib BarContainer
        In the order of the picture.
    intervals_ : matplotlib LineCollection or None

    Raises
    ------
    TypeError
        If weights or intervals are no numbers.
    ValueError
        If arrays have other shapes.

    See Also
    --------
    WeightsDisplay.from_estimator : The weights of a fit.

    Examples
    --------
    >>> from matplotlib.figure import Figure
    >>> from vbfast.plotting import WeightsDisplay
    >>> display = WeightsDisplay([0.3, 0.0, 0.7], [True, False, True])
    >>> display.order.tolist()
    [2, 0, 1]
    >>> len(display.plot(ax=Figure().subplots()).bars_)
    3
    """

    def __init__(
        self, weights: Any, active: Any, *, intervals: Any = None, mass: float | None = None
    ) -> None:
        self.weights: Float64Array = as_numbers(weights, "weights").astype(np.float64)
        if self.weights.ndim != 1 or len(self.weights) == 0:
            raise ValueError(
                "weights must have shape (n_components,), at least one; "
                f"got shape {self.weights.shape}"
            )
        self.active = np.asarray(active, dtype=bool)
        if self.active.shape != self.weights.shape:
            raise ValueError(
                f"active must have shape {self.weights.shape}, as weights have; "
                f"got {self.active.shape}"
            )
        self.intervals: Float64Array | None = None
        if intervals is not None:
            self.intervals = as_numbers(intervals, "intervals").astype(np.float64)
            if self.intervals.shape != (len(self.weights), 2):
                raise ValueError(
                    f"intervals must have shape {(len(self.weights), 2)}; "
                    f"got {self.intervals.shape}"
                )
        self.mass = mass
        self.order = np.argsort(-self.weights, kind="stable")

    @classmethod
    def from_estimator(
        cls, estimator: Any, *, mass: float = 0.95, ax: Any = None, **bar_kw: Any
    ) -> Self:
        """Draw the weights of a Bayesian mixture.

        Parameters
        ----------
        estimator : BayesianGaussianMixture
            Fitted.
        mass : float, default=0.95
            The probability of the intervals, in (0, 1), with as much below as above. A weight with
            a Dirichlet posterior has a Beta distribution, whose quantiles they are. Under a
            Dirichlet process a weight is a product of such, and there are no intervals.
        ax : matplotlib Axes, optional
            A new figure's by default.
        **bar_kw
            For ``ax.bar``.

        Returns
        -------
        WeightsDisplay

        Raises
        ------
        ImportError
            If matplotlib is not installed (extra ``plot``).
        sklearn.exceptions.NotFittedError
            If the estimator is not fitted.
        TypeError
            If it is of another class, or ``mass`` no number.
        ValueError
            If ``mass`` is not between 0 and 1.

        Notes
        -----
        The Beta marginals are ``Beta(a_k, sum(a) - a_k)`` with ``a = weight_concentration_``
        (Bishop 2006, appendix B).

        Examples
        --------
        >>> import numpy as np
        >>> from matplotlib.figure import Figure
        >>> import vbfast
        >>> from vbfast.plotting import WeightsDisplay
        >>> X = np.concatenate([np.linspace(-1, 1, 50), np.linspace(99, 101, 50)])[:, np.newaxis]
        >>> mixture = vbfast.BayesianGaussianMixture(
        ...     5,
        ...     weight_concentration_prior_type="dirichlet_distribution",
        ...     max_iter=1000,
        ...     random_state=0,
        ... ).fit(X)
        >>> display = WeightsDisplay.from_estimator(mixture, ax=Figure().subplots())
        >>> int(display.active.sum())
        2
        """
        if not isinstance(estimator, BayesianGaussianMixture):
            raise TypeError(
                "estimator must be a BayesianGaussianMixture of vbfast, which has a posterior of "
                f"its weights; got {type(estimator).__name__}"
            )
        check_is_fitted(estimator)
        level = as_numbers(mass, "mass")
        if level.ndim != 0 or not 0 < level < 1:
            raise ValueError(f"mass must be a number between 0 and 1; got {mass!r}")
        posterior = estimator._fitted_parameters()
        intervals = None
        if estimator.weight_concentration_prior_type == "dirichlet_distribution":
            intervals = _beta_intervals(posterior.weights.parameters, float(level))
        made = cls(
            posterior.weights.mean,
            posterior.active,
            intervals=intervals,
            mass=None if intervals is None else float(level),
        )
        return made.plot(ax, **bar_kw)

    def plot(self, ax: Any = None, **bar_kw: Any) -> Self:
        """Draw a bar for each component, grey where it is not active, and its interval.

        Parameters
        ----------
        ax : matplotlib Axes, optional
            A new figure's by default.
        **bar_kw
            For ``ax.bar``.

        Returns
        -------
        WeightsDisplay
            This one, with ``ax_``, ``figure_`` and the artists.

        Raises
        ------
        ImportError
            If matplotlib is not installed (extra ``plot``).
        TypeError
            If ``ax`` is no matplotlib Axes.
        """
        self.ax_, self.figure_ = axes_and_figure(ax, "WeightsDisplay.plot")
        positions = np.arange(len(self.order))
        active = self.active[self.order]
        said = np.where(active, f"active: {active.sum()} of {len(active)}", "not active")
        # The legend has each word once: of the bars after the first it takes no notice.
        first = np.isin(positions, np.unique(active, return_index=True)[1])
        style = {
            "color": np.where(active, "C0", "lightgrey").tolist(),
            "label": np.where(first, said, "_").tolist(),
            **bar_kw,
        }
        self.bars_ = self.ax_.bar(positions, self.weights[self.order], **style)
        self.intervals_ = None
        if self.intervals is not None:
            # Not error bars: a skewed distribution may have its mean outside.
            low, high = self.intervals[self.order].T
            name = "interval" if self.mass is None else f"{100 * self.mass:g} % interval"
            self.intervals_ = self.ax_.vlines(positions, low, high, colors="black", label=name)
        ticks = self.ax_.set_xticks(positions, [str(component) for component in self.order])
        for tick, holds_rows in zip(ticks, active, strict=True):
            tick.label1.set_color("black" if holds_rows else "grey")
        self.ax_.set_xlabel("component")
        self.ax_.set_ylabel("expected weight")
        self.ax_.legend()
        return self


def _beta_intervals(concentration: Float64Array, mass: float) -> Float64Array:
    """Return quantiles of the marginals of a Dirichlet distribution, shape (n_components, 2)."""
    if len(concentration) == 1:
        return np.ones((1, 2))  # the only weight is known
    others = np.array(
        [np.delete(concentration, component).sum() for component in range(len(concentration))]
    )
    tails = np.array([0.5 - 0.5 * mass, 0.5 + 0.5 * mass])
    return np.asarray(betaincinv(concentration[:, np.newaxis], others[:, np.newaxis], tails))
