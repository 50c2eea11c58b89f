"""The bound of every iteration, and the terms that it is the sum of."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Self

import numpy as np
import numpy.typing as npt
from sklearn.utils.validation import check_is_fitted

from vbfast.contract import Float64Array
from vbfast.estimators.fitted import FittedMixture
from vbfast.inputs.numbers import as_numbers
from vbfast.inputs.weights import as_sample_weight
from vbfast.plotting.axes import axes_and_figure, tick_whole_numbers
from vbfast.results import ElboTerms, VariationalElboTerms

__all__ = ["BoundDisplay"]


class BoundDisplay:
    """The bound of every iteration, and its terms where they are known.

    Parameters
    ----------
    lower_bounds : array-like of shape (n_iter,)
        The bound of each iteration.
    terms : dict of str to array-like of shape (n_iter,) or float, optional
        What the bound is the sum of, by name: of each iteration, or at the end.
    unit : str, default='nats'

    Attributes
    ----------
    lower_bounds : ndarray of shape (n_iter,), float64
    terms : dict of str to ndarray of shape (n_iter,) or (), float64
        Empty where they are not known.
    unit : str
    ax_ : matplotlib Axes
    figure_ : matplotlib Figure
    line_ : matplotlib Line2D
        The bound.
    term_lines_ : dict of str to matplotlib Line2D
        A term at the end has a line without points, for the legend, which has its value.

    Raises
    ------
    TypeError
        If arrays are no numbers, or ``terms`` is no dictionary.
    ValueError
        If arrays have other shapes, or ``lower_bounds`` is empty.

    See Also
    --------
    BoundDisplay.from_estimator : The trace of a fit.
    BoundDisplay.from_terms : Terms that were taken as a fit went on.

    Examples
    --------
    >>> from matplotlib.figure import Figure
    >>> from vbfast.plotting import BoundDisplay
    >>> display = BoundDisplay([-5.0, -4.2, -4.1]).plot(ax=Figure().subplots())
    >>> display.line_.get_xdata().tolist()
    [1, 2, 3]
    """

    def __init__(
        self,
        lower_bounds: Any,
        *,
        terms: Mapping[str, Any] | None = None,
        unit: str = "nats",
    ) -> None:
        self.lower_bounds = _curve(lower_bounds, "lower_bounds")
        if len(self.lower_bounds) == 0:
            raise ValueError("lower_bounds must have at least one iteration's; got none")
        if terms is not None and not isinstance(terms, Mapping):
            raise TypeError(
                "terms must be a dictionary of arrays; from_terms takes ElboTerms. "
                f"Got {type(terms).__name__}"
            )
        self.terms: dict[str, Float64Array] = {}
        for name, values in (terms or {}).items():
            array = as_numbers(values, f"terms[{name!r}]").astype(np.float64)
            if array.shape not in ((), self.lower_bounds.shape):
                raise ValueError(
                    f"terms[{name!r}] must be a number or have shape {self.lower_bounds.shape}, as "
                    f"lower_bounds have; got {array.shape}"
                )
            self.terms[name] = array
        self.unit = unit

    @classmethod
    def from_estimator(
        cls,
        estimator: Any,
        X: Any = None,
        *,
        sample_weight: Any = None,
        ax: Any = None,
        **plot_kw: Any,
    ) -> Self:
        """Draw the trace of a fit.

        Parameters
        ----------
        estimator : GaussianMixture, BayesianGaussianMixture or Mixture
            Fitted.
        X : array-like of shape (n_samples, n_features), optional
            The rows of the fit. The legend then has the terms of the bound at the fitted
            parameters, whose sum is that of one more pass over the rows.
        sample_weight : array-like of shape (n_samples,), optional
            The rows' weights in the fit.
        ax : matplotlib Axes, optional
            A new figure's by default.
        **plot_kw
            For :meth:`plot`.

        Returns
        -------
        BoundDisplay
            In the unit of ``lower_bounds_``: nats a row, or nats if Bayesian.

        Raises
        ------
        ImportError
            If matplotlib is not installed (extra ``plot``).
        sklearn.exceptions.NotFittedError
            If the estimator is not fitted.
        TypeError
            If the estimator is no mixture of this package.
        ValueError
            If no iteration has led to the estimator; or as ``estimator.elbo``.

        Examples
        --------
        >>> import numpy as np
        >>> from matplotlib.figure import Figure
        >>> import vbfast
        >>> from vbfast.plotting import BoundDisplay
        >>> X = np.random.default_rng(0).normal(size=(100, 2))
        >>> mixture = vbfast.BayesianGaussianMixture(2, random_state=0).fit(X)
        >>> display = BoundDisplay.from_estimator(mixture, X, ax=Figure().subplots())
        >>> list(display.terms)
        ['expected log-joint', 'entropy', '-KL of the weights', '-KL of the components']
        """
        if not isinstance(estimator, FittedMixture):
            raise TypeError(
                "estimator must be a GaussianMixture, BayesianGaussianMixture or Mixture of "
                f"vbfast; got {type(estimator).__name__}"
            )
        check_is_fitted(estimator)
        bounds = getattr(estimator, "lower_bounds_", [])
        if len(bounds) == 0:
            raise ValueError(
                "estimator has no iterations to show, as after max_iter=0, or a fit in steps: fit "
                "it, or give the terms of each step to from_terms"
            )
        per_row = estimator._fitted_family().per_unit_of_weight
        unit = "nats a row" if per_row else "nats"
        if X is None:
            return cls(bounds, unit=unit).plot(ax, **plot_kw)
        terms = {
            name: values[0]
            for name, values in _named([estimator.elbo(X, sample_weight=sample_weight)]).items()
        }
        if per_row:
            weights = as_sample_weight(sample_weight, len(X))
            whole = len(X) if weights is None else weights.sum()
            terms = {name: value / whole for name, value in terms.items()}
        return cls(bounds, terms=terms, unit=unit).plot(ax, **plot_kw)

    @classmethod
    def from_terms(
        cls,
        terms: Sequence[Any],
        *,
        total_weight: float | None = None,
        ax: Any = None,
        **plot_kw: Any,
    ) -> Self:
        """Draw bounds with their terms, which were taken one an iteration.

        Parameters
        ----------
        terms : sequence of ElboTerms or of VariationalElboTerms, of length n_iter
            Sums over rows.
        total_weight : float, optional
            What the sums are divided by, for a bound in nats a row: the number of rows, or the sum
            of their weights.
        ax : matplotlib Axes, optional
            A new figure's by default.
        **plot_kw
            For :meth:`plot`.

        Returns
        -------
        BoundDisplay

        Raises
        ------
        ImportError
            If matplotlib is not installed (extra ``plot``).
        TypeError
            If the terms are something else, or of both kinds.
        ValueError
            If there are none, they are of single rows, or ``total_weight`` is not positive.

        Examples
        --------
        A fit in steps, and the bound before each:

        >>> import numpy as np
        >>> from matplotlib.figure import Figure
        >>> import vbfast
        >>> from vbfast.plotting import BoundDisplay
        >>> X = np.random.default_rng(0).normal(size=(100, 2))
        >>> mixture = vbfast.GaussianMixture(2, random_state=0).initialize(X)
        >>> terms = []
        >>> for _ in range(5):
        ...     terms.append(mixture.elbo(X))
        ...     mixture = mixture.maximize(mixture.summarize(X))
        >>> display = BoundDisplay.from_terms(terms, total_weight=100, ax=Figure().subplots())
        >>> bool(np.allclose(sum(display.terms.values()), display.lower_bounds))
        True
        """
        several = list(terms)
        if not several:
            raise ValueError("terms must have at least one iteration's; got none")
        kind = type(several[0])
        if not issubclass(kind, ElboTerms) or any(type(of_one) is not kind for of_one in several):
            names = ", ".join(sorted({type(of_one).__name__ for of_one in several}))
            raise TypeError(
                "terms must be ElboTerms, or all VariationalElboTerms, as elbo(X) returns; "
                f"got {names}"
            )
        if any(np.ndim(of_one.elbo) > 0 for of_one in several):
            raise ValueError("terms must be sums over rows, without per_sample=True")
        if total_weight is not None and not total_weight > 0:
            raise ValueError(f"total_weight must be positive; got {total_weight!r}")
        whole = 1.0 if total_weight is None else total_weight
        bounds = np.array([_bound(of_one) for of_one in several]) / whole
        named = {name: values / whole for name, values in _named(several).items()}
        unit = "nats" if total_weight is None else "nats a row"
        return cls(bounds, terms=named, unit=unit).plot(ax, **plot_kw)

    def plot(self, ax: Any = None, *, relative: bool = False, **line_kw: Any) -> Self:
        """Draw the bound over the iterations, and its terms dashed.

        Parameters
        ----------
        ax : matplotlib Axes, optional
            A new figure's by default.
        relative : bool, default=False
            Whether everything starts from zero: which terms have raised the bound is seen then,
            where one of them is much larger than the others.
        **line_kw
            Of the bound's line, for ``ax.plot``.

        Returns
        -------
        BoundDisplay
            This one, with ``ax_``, ``figure_`` and the lines.

        Raises
        ------
        ImportError
            If matplotlib is not installed (extra ``plot``).
        TypeError
            If ``ax`` is no matplotlib Axes.
        """
        self.ax_, self.figure_ = axes_and_figure(ax, "BoundDisplay.plot")
        iterations = np.arange(1, len(self.lower_bounds) + 1)
        # A single point has no line to see.
        style = {"marker": "o" if len(iterations) == 1 else "", "label": "bound", **line_kw}
        (self.line_,) = self.ax_.plot(iterations, _shown(self.lower_bounds, relative), **style)
        self.term_lines_ = {}
        for name, values in self.terms.items():
            if values.ndim == 0:
                (line,) = self.ax_.plot([], [], " ", label=f"{name}: {values:.6g}")
            else:
                shown = _shown(values, relative)
                (line,) = self.ax_.plot(
                    iterations, shown, linestyle="--", marker=style["marker"], label=name
                )
            self.term_lines_[name] = line
        self.ax_.set_xlabel("iteration")
        since = " above the first" if relative else ""
        self.ax_.set_ylabel(f"bound, {self.unit}{since}")
        tick_whole_numbers(self.ax_.xaxis)
        self.ax_.legend()
        return self


def _shown(values: Float64Array, relative: bool) -> Float64Array:
    return values - values[0] if relative else values


def _curve(values: Any, name: str) -> Float64Array:
    array: npt.NDArray[Any] = as_numbers(values, name)
    if array.ndim != 1:
        raise ValueError(f"{name} must have one dimension; got shape {array.shape}")
    return array.astype(np.float64)


def _bound(terms: ElboTerms) -> Any:
    return terms.total if isinstance(terms, VariationalElboTerms) else terms.elbo


def _named(several: Sequence[ElboTerms]) -> dict[str, Float64Array]:
    """Return what the bounds are the sums of, each of shape (n_terms,)."""
    columns: dict[str, list[Any]] = {
        "expected log-joint": [terms.expected_log_joint for terms in several],
        "entropy": [terms.entropy for terms in several],
    }
    bayesian = [terms for terms in several if isinstance(terms, VariationalElboTerms)]
    if bayesian:
        columns["-KL of the weights"] = [-terms.kl_weights for terms in bayesian]
        columns["-KL of the components"] = [-np.sum(terms.kl_components) for terms in bayesian]
    return {name: np.array(values, dtype=np.float64) for name, values in columns.items()}
