"""Components of a Gaussian mixture: ellipses in a plane, or curves over a feature."""

from __future__ import annotations

import copy
from collections.abc import Sequence
from numbers import Integral
from typing import Any, Self

import numpy as np
import numpy.typing as npt
from sklearn.utils import check_scalar
from sklearn.utils.validation import check_is_fitted

from vbfast.contract import Float64Array
from vbfast.estimators.bayesian import BayesianGaussianMixture
from vbfast.estimators.gaussian import GaussianMixture
from vbfast.inputs.numbers import as_numbers
from vbfast.optional import needed
from vbfast.plotting.axes import axes_and_figure
from vbfast.plotting.views import (
    as_labels,
    component_numbers,
    dense_covariances,
    every_nth,
    feature_labels,
    feature_view,
    projected_view,
    with_peaks,
)

__all__ = ["ComponentsDisplay"]

_DEPTH = 10.0  # nats below the highest density, where the picture of it ends
_BY = "ComponentsDisplay.plot"


class ComponentsDisplay:
    """Components of a Gaussian mixture of one or two features, and its density.

    Parameters
    ----------
    mixture : GaussianMixture
        Fitted, of one or two features.
    components : array-like of int, optional
        Those that are drawn; all by default. The density is of all.
    labels : sequence of str, optional
        Of the axes.
    rows : array-like of shape (n_rows, n_features), optional
        Drawn as points, or as ticks where there is one feature.
    row_labels : array-like of shape (n_rows,), int, optional
        The component whose colour a row has.

    Attributes
    ----------
    mixture : GaussianMixture
    components : ndarray of shape (n_drawn,), intp
    labels : tuple of str
    rows : ndarray of shape (n_rows, n_features), float64, or None
    row_labels : ndarray of shape (n_rows,), int64, or None
    ax_ : matplotlib Axes
    figure_ : matplotlib Figure
    ellipses_ : list of list of matplotlib Ellipse
        For each component that is drawn those of ``n_std``; empty where there is one feature.
    curves_ : list of matplotlib Line2D
        For each component that is drawn its weighted density; empty where there are two features.
    density_ : matplotlib QuadMesh, Line2D or None
        The log-density in a plane, nats, or the density over a feature.
    colorbar_ : matplotlib Colorbar or None
    points_ : matplotlib PathCollection, Line2D or None
        The rows.

    Raises
    ------
    sklearn.exceptions.NotFittedError
        If the mixture is not fitted.
    TypeError
        If it is no GaussianMixture, or other arguments are no numbers.
    ValueError
        If it has more features than two, or other arguments do not fit to it.

    See Also
    --------
    ComponentsDisplay.from_estimator : Two features, or a projection, of a mixture of any number.

    Examples
    --------
    >>> import numpy as np
    >>> from matplotlib.figure import Figure
    >>> import vbfast
    >>> from vbfast.plotting import ComponentsDisplay
    >>> X = np.random.default_rng(0).normal(size=(100, 3))
    >>> mixture = vbfast.GaussianMixture(2, random_state=0).fit(X)
    >>> display = ComponentsDisplay(mixture.marginal([0, 2]), components=[1])
    >>> len(display.plot(ax=Figure().subplots(), n_std=2).ellipses_)
    1
    """

    def __init__(
        self,
        mixture: Any,
        *,
        components: Any = None,
        labels: Sequence[str] | None = None,
        rows: Any = None,
        row_labels: Any = None,
    ) -> None:
        if not isinstance(mixture, GaussianMixture):
            raise TypeError(
                "mixture must be a GaussianMixture of vbfast, as marginal returns; "
                f"got {type(mixture).__name__}"
            )
        check_is_fitted(mixture)
        n_components, n_features = mixture.means_.shape
        if n_features > 2:
            raise ValueError(
                f"mixture must have one or two features, as marginal returns; got {n_features}. "
                "from_estimator takes any number"
            )
        self.mixture = mixture
        # Points of a grid have no names, which those of a data frame would be asked for.
        self._unnamed = copy.copy(mixture)
        if hasattr(mixture, "feature_names_in_"):
            del self._unnamed.feature_names_in_
        self.components = component_numbers(components, n_components)
        self.labels = feature_labels(mixture) if labels is None else tuple(labels)
        if len(self.labels) != n_features:
            raise ValueError(f"labels must be {n_features}; got {len(self.labels)}")
        self.rows: Float64Array | None = None
        self.row_labels: npt.NDArray[np.int64] | None = None
        if rows is not None:
            self.rows = as_numbers(rows, "rows").astype(np.float64)
            if self.rows.ndim != 2 or self.rows.shape[1] != n_features:
                raise ValueError(
                    f"rows must have shape (n_rows, {n_features}); got {self.rows.shape}"
                )
        if row_labels is not None:
            if self.rows is None:
                raise ValueError("row_labels need rows")
            self.row_labels = as_labels(row_labels, len(self.rows), n_components)

    @classmethod
    def from_estimator(
        cls,
        estimator: Any,
        X: Any = None,
        *,
        features: Any = None,
        projection: Any = None,
        components: Any = None,
        max_rows: int = 5000,
        ax: Any = None,
        **plot_kw: Any,
    ) -> Self:
        """Draw a mixture in one or two features, or in a projection.

        Parameters
        ----------
        estimator : GaussianMixture or BayesianGaussianMixture
            Fitted, with covariances of any type. What is drawn of a Bayesian one are its fitted
            attributes.
        X : array-like of shape (n_samples, n_features), optional
            Rows to draw, in the colours of the components that ``estimator.predict`` says.
        features : int, str, or array-like of one or two of them, optional
            As for ``estimator.marginal``; by default the first two, or the only one.
        projection : array-like of shape (2, n_features), or 'pca', optional
            Instead of features: coordinates ``projection @ x``, or those along the principal axes
            of the whole mixture's covariance.
        components : array-like of int, optional
            Those that are drawn. By default all; of a Bayesian mixture those that hold at least
            half a row, if there are any. The density is of all.
        max_rows : int, default=5000
            Of more rows every n-th is drawn.
        ax : matplotlib Axes, optional
            A new figure's by default.
        **plot_kw
            For :meth:`plot`.

        Returns
        -------
        ComponentsDisplay

        Raises
        ------
        ImportError
            If matplotlib is not installed (extra ``plot``).
        sklearn.exceptions.NotFittedError
            If the estimator is not fitted.
        TypeError
            If it is of another class, or features are neither columns nor names.
        ValueError
            If there are both features and a projection; if features are unknown or more than two;
            if the projection has another shape, or is not finite or of rank two; if ``max_rows`` is
            not positive; or as ``estimator.predict``.

        Examples
        --------
        >>> import numpy as np
        >>> from matplotlib.figure import Figure
        >>> import vbfast
        >>> from vbfast.plotting import ComponentsDisplay
        >>> X = np.random.default_rng(0).normal(size=(200, 4)) * [1, 2, 3, 4]
        >>> mixture = vbfast.GaussianMixture(3, covariance_type="tied", random_state=0).fit(X)
        >>> axes = Figure().subplots(1, 2)
        >>> left = ComponentsDisplay.from_estimator(mixture, X, features=[1, 3], ax=axes[0])
        >>> left.ax_.get_xlabel(), left.mixture.means_.shape
        ('feature 1', (3, 2))
        >>> right = ComponentsDisplay.from_estimator(mixture, projection="pca", ax=axes[1])
        >>> [len(of_component) for of_component in right.ellipses_]
        [2, 2, 2]
        """
        if not isinstance(estimator, GaussianMixture | BayesianGaussianMixture):
            raise TypeError(
                "estimator must be a GaussianMixture or BayesianGaussianMixture of vbfast, whose "
                f"from_sklearn takes scikit-learn's; got {type(estimator).__name__}"
            )
        check_is_fitted(estimator)
        if features is not None and projection is not None:
            raise ValueError("features and projection were given: one of them has to be None")
        if projection is None:
            view = feature_view(estimator, features)
        else:
            view = projected_view(estimator, projection)
        if components is None and isinstance(estimator, BayesianGaussianMixture):
            active = np.flatnonzero(estimator._fitted_parameters().active)
            components = active if len(active) > 0 else None
        rows = labels = None
        if X is not None:
            check_scalar(max_rows, "max_rows", Integral, min_val=1)
            drawn = every_nth(X, max_rows)
            labels = estimator.predict(drawn)
            rows = np.asarray(drawn).astype(np.float64) @ view.matrix.T
        made = cls(
            view.mixture, components=components, labels=view.labels, rows=rows, row_labels=labels
        )
        return made.plot(ax, **plot_kw)

    def plot(
        self,
        ax: Any = None,
        *,
        n_std: float | Sequence[float] = (1.0, 2.0),
        density: bool = True,
        n_grid: int = 200,
        cmap: Any = "Greys",
        colorbar: bool = False,
    ) -> Self:
        """Draw the components over the density, with the rows if there are any.

        In a plane a component is an ellipse around its mean, with its number. The density's picture
        is its logarithm, and ends 10 nats below its highest value. Over a single feature a
        component is the curve of its weighted density, and the density is their sum.

        Parameters
        ----------
        ax : matplotlib Axes, optional
            A new figure's by default.
        n_std : float or sequence of float, default=(1.0, 2.0)
            How many standard deviations along its axes an ellipse ends at: it holds
            ``1 - exp(-n_std**2 / 2)`` of its component. The largest decides how much is seen.
        density : bool, default=True
        n_grid : int, default=200
            Points of an axis where densities are evaluated; and, over one feature, 49 a component.
        cmap : str or matplotlib Colormap, default='Greys'
            Of the density in a plane.
        colorbar : bool, default=False
            Of the density in a plane.

        Returns
        -------
        ComponentsDisplay
            This one, with ``ax_``, ``figure_`` and the artists.

        Raises
        ------
        ImportError
            If matplotlib is not installed (extra ``plot``).
        TypeError
            If ``ax`` is no matplotlib Axes, or others are no numbers.
        ValueError
            If ``n_std`` has none or one that is not positive, or ``n_grid`` is below two.
        """
        radii = np.atleast_1d(as_numbers(n_std, "n_std")).astype(np.float64)
        if radii.ndim != 1 or len(radii) == 0 or not ((radii > 0) & (radii < np.inf)).all():
            raise ValueError(f"n_std must be a positive number, or several; got {n_std!r}")
        check_scalar(n_grid, "n_grid", Integral, min_val=2)
        self.ax_, self.figure_ = axes_and_figure(ax, _BY)
        self.ellipses_: list[list[Any]] = []
        self.curves_: list[Any] = []
        self.density_ = self.colorbar_ = self.points_ = None
        limits = self._limits(radii.max())
        grid = [np.linspace(*ends, n_grid) for ends in limits]
        if len(grid) == 2:
            self._plot_plane(grid, radii, density, cmap, colorbar)
            self.ax_.set_ylabel(self.labels[1])
        else:
            self._plot_feature(with_peaks(grid[0], self.mixture), density)
            self.ax_.set_ylabel("density")
        self.ax_.set_xlabel(self.labels[0])
        return self

    def _limits(self, radius: float) -> list[tuple[float, float]]:
        """Return what is seen of each axis: components up to a radius, and rows, with a margin."""
        means = np.asarray(self.mixture.means_, dtype=np.float64)[self.components]
        variances = dense_covariances(self.mixture).diagonal(axis1=1, axis2=2)[self.components]
        reach = max(radius, 3.0)  # a density goes on where a small ellipse ends
        ends = [means - reach * np.sqrt(variances), means + reach * np.sqrt(variances)]
        if self.rows is not None and len(self.rows) > 0:
            ends.append(self.rows)
        seen = np.concatenate(ends)
        low, high = seen.min(axis=0), seen.max(axis=0)
        margin = 0.05 * (high - low)
        return list(zip((low - margin).tolist(), (high + margin).tolist(), strict=True))

    def _plot_plane(
        self,
        grid: list[Float64Array],
        radii: Float64Array,
        density: bool,
        cmap: Any,
        colorbar: bool,
    ) -> None:
        with needed("matplotlib", by=_BY):
            from matplotlib import patches
        x, y = np.meshgrid(*grid)
        if density:
            points = np.column_stack([x.ravel(), y.ravel()])
            heights = self._unnamed.score_samples(points).reshape(x.shape)
            top = heights.max()
            self.density_ = self.ax_.pcolormesh(
                x,
                y,
                heights,
                cmap=cmap,
                vmin=top - _DEPTH,
                vmax=top,
                shading="nearest",
                rasterized=True,
                alpha=0.6,
                zorder=0,
            )
            if colorbar:
                self.colorbar_ = self.figure_.colorbar(
                    self.density_, ax=self.ax_, label="log-density, nats", extend="min"
                )
        if self.rows is not None:
            self.points_ = self.ax_.scatter(
                *self.rows.T, s=4, c=self._row_colours(), alpha=0.5, linewidths=0
            )
        values, vectors = np.linalg.eigh(dense_covariances(self.mixture))
        for k in self.components:
            mean, (short, long), axis = (
                self.mixture.means_[k],
                np.sqrt(np.maximum(values[k], 0.0)),
                vectors[k, :, 1],
            )
            self.ellipses_.append(
                [
                    patches.Ellipse(
                        mean,
                        2 * radius * long,
                        2 * radius * short,
                        angle=np.degrees(np.arctan2(axis[1], axis[0])),
                        fill=False,
                        edgecolor=_colour(k),
                        linewidth=1.5,
                        zorder=2,
                        label=f"component {k}" if radius == radii[0] else None,
                    )
                    for radius in radii
                ]
            )
            for ellipse in self.ellipses_[-1]:
                self.ax_.add_patch(ellipse)
            self.ax_.annotate(
                str(k),
                mean,
                ha="center",
                va="center",
                color=_colour(k),
                fontweight="bold",
                bbox={"boxstyle": "circle", "facecolor": "white", "alpha": 0.8, "linewidth": 0},
            )
        self.ax_.set_xlim(grid[0][0], grid[0][-1])
        self.ax_.set_ylim(grid[1][0], grid[1][-1])

    def _plot_feature(self, x: Float64Array, density: bool) -> None:
        if density:
            heights = np.exp(self._unnamed.score_samples(x[:, np.newaxis]))
            (self.density_,) = self.ax_.plot(x, heights, color="black", label="density")
        joint = np.exp(self._unnamed.log_joint(x[:, np.newaxis]))
        for k in self.components:
            (curve,) = self.ax_.plot(
                x, joint[:, k], color=_colour(k), linestyle="--", label=f"component {k}"
            )
            self.curves_.append(curve)
        if self.rows is not None:
            # In heights of the axes, so that the ticks of rows stay at the bottom.
            self.points_ = self.ax_.scatter(
                self.rows[:, 0],
                np.full(len(self.rows), 0.02),
                marker="|",
                s=30,
                c=self._row_colours(),
                alpha=0.5,
                transform=self.ax_.get_xaxis_transform(),
            )
        self.ax_.set_xlim(x[0], x[-1])
        self.ax_.set_ylim(bottom=0.0)
        if len(self.components) <= 10:
            self.ax_.legend()

    def _row_colours(self) -> Any:
        if self.row_labels is None:
            return "dimgrey"
        return [_colour(label) for label in self.row_labels]


def _colour(component: Any) -> str:
    return f"C{component}"  # which matplotlib begins again where there are no more
