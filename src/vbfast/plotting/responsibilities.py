"""Responsibilities of rows, as a heat map."""

from __future__ import annotations

from typing import Any, Self

import numpy as np

from vbfast.inputs.distributions import sum_tolerance
from vbfast.inputs.numbers import as_numbers
from vbfast.plotting.axes import axes_and_figure, tick_whole_numbers

__all__ = ["ResponsibilitiesDisplay"]


class ResponsibilitiesDisplay:
    """Responsibilities of rows, sorted by label and by how sure the label is.

    Parameters
    ----------
    responsibilities : array-like of shape (n_samples, n_components)
        Each row a distribution over the components.

    Attributes
    ----------
    responsibilities : ndarray of shape (n_samples, n_components)
        In the order of the rows.
    labels : ndarray of shape (n_samples,), int64
        The first component of highest responsibility, in the order of the rows.
    order : ndarray of shape (n_samples,), int64
        The rows from top to bottom: by label, and the surest first.
    ax_ : matplotlib Axes
    figure_ : matplotlib Figure
    image_ : matplotlib AxesImage
    borders_ : matplotlib LineCollection
        Between the labels.
    colorbar_ : matplotlib Colorbar or None

    Raises
    ------
    TypeError
        If the responsibilities are no real numbers.
    ValueError
        If they have another shape, or a row is no distribution.

    See Also
    --------
    ResponsibilitiesDisplay.from_estimator : Those that a mixture has for rows.

    Examples
    --------
    >>> from matplotlib.figure import Figure
    >>> from vbfast.plotting import ResponsibilitiesDisplay
    >>> display = ResponsibilitiesDisplay([[0.2, 0.8], [0.6, 0.4], [0.9, 0.1]])
    >>> display.order.tolist()
    [2, 1, 0]
    >>> display.plot(ax=Figure().subplots()).image_.get_array().shape
    (3, 2)
    """

    def __init__(self, responsibilities: Any) -> None:
        array = as_numbers(responsibilities, "responsibilities")
        if array.ndim != 2 or 0 in array.shape:
            raise ValueError(
                "responsibilities must have shape (n_samples, n_components), neither of them zero; "
                f"got {array.shape}"
            )
        if array.dtype.kind != "f":  # labels as ones and zeros
            array = array.astype(np.float64)
        tolerance = sum_tolerance(array.dtype)
        # A NaN fails both comparisons.
        valid = (array >= 0).all(axis=1) & (np.abs(array.sum(axis=1) - 1) <= tolerance)
        if not valid.all():
            row = int(np.argmin(valid))
            raise ValueError(
                "responsibilities must be distributions, not negative and with sum one, as "
                f"predict_proba returns; row {row} is not"
            )
        self.responsibilities = array
        self.labels = array.argmax(axis=1)
        self.order = np.lexsort((-array.max(axis=1), self.labels))

    @classmethod
    def from_estimator(
        cls, estimator: Any, X: Any, *, ax: Any = None, colorbar: bool = True, **image_kw: Any
    ) -> Self:
        """Draw the responsibilities that a mixture has for rows.

        Parameters
        ----------
        estimator : GaussianMixture, BayesianGaussianMixture or Mixture
            Fitted; or whatever has ``predict_proba``.
        X : array-like of shape (n_samples, n_features)
        ax : matplotlib Axes, optional
            A new figure's by default.
        colorbar : bool, default=True
        **image_kw
            For ``ax.imshow``.

        Returns
        -------
        ResponsibilitiesDisplay

        Raises
        ------
        ImportError
            If matplotlib is not installed (extra ``plot``).
        sklearn.exceptions.NotFittedError
            If the estimator is not fitted.
        TypeError
            If the estimator has no ``predict_proba``.
        ValueError
            As ``estimator.predict_proba``.

        Examples
        --------
        >>> import numpy as np
        >>> from matplotlib.figure import Figure
        >>> import vbfast
        >>> from vbfast.plotting import ResponsibilitiesDisplay
        >>> X = np.random.default_rng(0).normal(size=(100, 2))
        >>> mixture = vbfast.GaussianMixture(3, random_state=0).fit(X)
        >>> axes = Figure().subplots()
        >>> display = ResponsibilitiesDisplay.from_estimator(mixture, X, ax=axes)
        >>> bool((display.labels == mixture.predict(X)).all())
        True
        """
        if not hasattr(estimator, "predict_proba"):
            raise TypeError(
                "estimator must have predict_proba, as the mixtures of vbfast have; "
                f"got {type(estimator).__name__}"
            )
        return cls(estimator.predict_proba(X)).plot(ax, colorbar=colorbar, **image_kw)

    def plot(self, ax: Any = None, *, colorbar: bool = True, **image_kw: Any) -> Self:
        """Draw a line of colours for each row, with a border between labels.

        Parameters
        ----------
        ax : matplotlib Axes, optional
            A new figure's by default.
        colorbar : bool, default=True
        **image_kw
            For ``ax.imshow``.

        Returns
        -------
        ResponsibilitiesDisplay
            This one, with ``ax_``, ``figure_`` and the artists.

        Raises
        ------
        ImportError
            If matplotlib is not installed (extra ``plot``).
        TypeError
            If ``ax`` is no matplotlib Axes.
        """
        self.ax_, self.figure_ = axes_and_figure(ax, "ResponsibilitiesDisplay.plot")
        n_components = self.responsibilities.shape[1]
        style = {"aspect": "auto", "interpolation": "nearest", **image_kw}
        if "norm" not in style:  # which has limits of its own
            style = {"vmin": 0.0, "vmax": 1.0, **style}
        self.image_ = self.ax_.imshow(self.responsibilities[self.order], **style)
        ends = np.cumsum(np.bincount(self.labels, minlength=n_components))
        # Of a label without rows the border would be another's, and the last one the frame.
        borders = np.unique(ends[(ends > 0) & (ends < len(self.labels))])
        self.borders_ = self.ax_.hlines(
            borders - 0.5, -0.5, n_components - 0.5, colors="white", linewidths=1.0
        )
        tick_whole_numbers(self.ax_.xaxis)
        self.ax_.set_xlabel("component")
        self.ax_.set_ylabel("rows, sorted by label")
        self.colorbar_ = None
        if colorbar:
            self.colorbar_ = self.figure_.colorbar(self.image_, ax=self.ax_, label="responsibility")
        return self
