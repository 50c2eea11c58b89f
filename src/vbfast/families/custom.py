"""Custom components: three functions of the user's, two of which are compiled into the passes."""

from __future__ import annotations

import operator
from collections.abc import Callable
from dataclasses import dataclass, fields
from typing import Any, Self

import numpy as np

from vbfast.contract import Float64Array, FloatArray, LogJoint, Statistics, UserFunction
from vbfast.families.component_family import ComponentFamily, ComponentParameters
from vbfast.families.family import Rows
from vbfast.user_functions import (
    ARGUMENTS,
    check_function,
    compiled,
    require_numba,
    try_density,
    try_statistics,
)

__all__ = ["Custom"]

# With this many, the sums of one component take 128 MB.
MOST_STATISTICS = 1 << 24


@dataclass(frozen=True, repr=False)
class Custom(ComponentFamily):
    """A family of component densities, for :class:`vbfast.Mixture`.

    Two functions are compiled into the passes over the rows: one fused pass an iteration, on all
    threads, reproducible to the bit, as for the Gaussian families. ``numba.njit`` compiles them,
    with bounds checks; one that is compiled already is compiled again from its Python function,
    with its options, so that an index beyond the ends of an array is an error and not memory of
    another's.

    Parameters
    ----------
    log_density : callable ``(x, theta) -> float``
        Log density, in nats, of a row ``x`` of shape (n_features,) under parameters ``theta`` of
        shape (n_parameters,), float64. ``x`` has the dtype of the rows, float32 or float64. Both
        are read-only, in C order. ``-inf`` for an impossible row; ``+inf`` and NaN are errors.
    sufficient_statistics : callable ``(x, out) -> None``
        Fills ``out`` of shape (n_statistics,), float64, zero before; ``x`` is read-only.
    maximize : callable ``(statistics, weight) -> theta``
        The global step, plain Python: of ``statistics`` of shape (n_components, n_statistics), the
        sums ``sum_n r_nk t(x_n)``, and ``weight`` of shape (n_components,), ``N_k = sum_n r_nk``,
        it makes the parameters, of shape (n_components, n_parameters), as many every time.
        Components without rows are left out, and keep the parameters that they have.
    n_statistics : int or callable ``(n_features) -> int``
        The length of ``out``.
    sample : callable ``(theta, n_samples, random_state) -> X``, optional
        Draws rows of shape (n_samples, n_features) of one component with a
        ``numpy.random.RandomState``; what :meth:`vbfast.Mixture.sample` needs.

    Raises
    ------
    ImportError
        If numba is not installed.
    TypeError
        If a function is not callable, takes other arguments or is not one that numba can compile;
        if ``n_statistics`` is not an integer. A fit raises it if a function cannot be compiled or
        does not return a number.
    ValueError
        If ``n_statistics`` is not positive, or more than 2**24. A fit raises it where a function
        writes to ``x`` or ``theta``, or goes beyond the ends of an array.

    Notes
    -----
    Bounds checks add 3 % to the instructions of a density of logarithms and gamma functions, 20 %
    to those of one of a subtraction and two multiplications a feature, and 8 to 33 % to those of
    statistics that are as cheap; the environment variable ``NUMBA_BOUNDSCHECK=0`` leaves them out.
    They do not reach into other compiled functions that the two call, nor into what has no Python
    function to compile again, as a ufunc.

    Sums of ``t(x)`` are float64 whatever the rows are. For data far from the origin choose
    statistics about a point near it, or centre the data: sums of ``x`` and ``x ** 2`` cancel there.

    Examples
    --------
    Angles in clusters: a mixture of von Mises distributions (Mardia and Jupp 2000, section 3.5.4;
    the concentration's approximate maximizer is that of Banerjee et al. 2005, eq. 4.4, for two
    dimensions).

    >>> import math
    >>> import numba
    >>> import numpy as np
    >>> from scipy.special import i0e
    >>> import vbfast
    >>> @numba.njit
    ... def log_density(x, theta):
    ...     mean, concentration, log_normaliser = theta
    ...     return concentration * math.cos(x[0] - mean) - log_normaliser
    >>> @numba.njit
    ... def sufficient_statistics(x, out):
    ...     out[0] = math.cos(x[0])
    ...     out[1] = math.sin(x[0])
    >>> def maximize(statistics, weight):
    ...     length = np.hypot(*statistics.T) / weight
    ...     concentration = length * (2 - length**2) / (1 - length**2)
    ...     log_normaliser = np.log(2 * np.pi * i0e(concentration)) + concentration
    ...     mean = np.arctan2(statistics[:, 1], statistics[:, 0])
    ...     return np.column_stack([mean, concentration, log_normaliser])
    >>> von_mises = vbfast.families.Custom(
    ...     log_density=log_density,
    ...     sufficient_statistics=sufficient_statistics,
    ...     maximize=maximize,
    ...     n_statistics=2,
    ... )
    >>> rng = np.random.default_rng(0)
    >>> angles = np.concatenate([rng.vonmises(-2, 8, 3000), rng.vonmises(1, 4, 1000)])
    >>> mixture = vbfast.Mixture(von_mises, 2, random_state=0).fit(angles[:, np.newaxis])
    >>> order = np.argsort(mixture.parameters_[:, 0])
    >>> mixture.parameters_[order, 0].round(1), mixture.weights_[order].round(2)
    (array([-2.,  1.]), array([0.75, 0.25]))
    """

    log_density: Callable[[Any, Any], Any]
    sufficient_statistics: Callable[[Any, Any], Any]
    maximize: Callable[[Float64Array, Float64Array], Any]
    n_statistics: int | Callable[[int], int]
    sample: Callable[[Float64Array, int, np.random.RandomState], Any] | None = None

    def __post_init__(self) -> None:
        require_numba("a custom family of components")
        for name in ARGUMENTS:
            function = getattr(self, name)
            if name != "sample" or function is not None:
                check_function(name, function)
        if not callable(self.n_statistics):
            self.statistics_length(1)
        for name in ("log_density", "sufficient_statistics"):
            object.__setattr__(self, name, compiled(name, getattr(self, name)))

    def __repr__(self) -> str:
        functions = {field.name: getattr(self, field.name) for field in fields(self)}
        named = (
            f"{name}={getattr(value, '__name__', value)}"
            for name, value in functions.items()
            if value is not None
        )
        return f"Custom({', '.join(named)})"

    def __deepcopy__(self, memo: dict[int, Any]) -> Self:
        """Return the family itself, which never changes: a copy would be compiled once more."""
        return self

    def statistics_length(self, n_features: int) -> int:
        """Return the length of ``out`` for rows of a number of features.

        Raises
        ------
        TypeError, ValueError
            If it is not an integer, or not positive, or a function that fails.
        """
        wanted = self.n_statistics
        try:
            found = wanted(n_features) if callable(wanted) else wanted
        except Exception as error:
            raise TypeError(
                f"n_statistics must take the number of features, {n_features}; it raised "
                f"{type(error).__name__}"
            ) from error
        try:
            length = operator.index(found)
        except TypeError:
            raise TypeError(
                "n_statistics must be an integer, or a function of n_features that returns one; "
                f"got {found!r}"
            ) from None
        if length < 1:
            raise ValueError(f"n_statistics must be positive; got {length}")
        if length > MOST_STATISTICS:
            raise ValueError(f"n_statistics must be at most {MOST_STATISTICS}; got {length}")
        return length

    def log_densities(self, theta: Float64Array, n_features: int) -> LogJoint:
        """Return ``log_density`` of every component, as a log-joint without weights."""
        K = len(theta)
        return LogJoint(np.zeros(K), self._form(K, n_features, theta))

    def statistics_form(self, n_components: int, rows: Rows) -> UserFunction:
        """Return the form without parameters, once ``sufficient_statistics`` was tried on a row.

        Raises
        ------
        TypeError
            If it cannot be compiled for such a row.
        ValueError
            If it writes to ``x``, or goes beyond the ends of an array.
        """
        row = rows.first_weighted_row()
        if np.isfinite(row).all():  # else the first pass says which row is not
            self.check_statistics(row)
        return self._form(n_components, rows.n_features, None)

    def start(self, statistics: Statistics, rows: Rows) -> ComponentParameters:
        """Return the parameters of the first responsibilities, once ``log_density`` was tried.

        Raises
        ------
        TypeError
            If it cannot be compiled for a row, or what it returns is no real number.
        ValueError
            If it writes to an argument, or goes beyond the ends of one; or if a component has no
            rows to start from.
        """
        parameters = super().start(statistics, rows)
        self.check_density(rows.first_weighted_row(), parameters.theta[0])
        return parameters

    def check_statistics(self, x: FloatArray) -> None:
        """Try ``sufficient_statistics`` on a row of shape (n_features,).

        Raises
        ------
        TypeError, ValueError
            As :meth:`statistics_form`.
        """
        try_statistics(self.sufficient_statistics, x, self.statistics_length(len(x)))

    def check_density(self, x: FloatArray, theta: Float64Array) -> None:
        """Try ``log_density`` on a row and the parameters of a component.

        Raises
        ------
        TypeError, ValueError
            As :meth:`start`.
        """
        try_density(self.log_density, x, theta)

    def _form(self, n_components: int, n_features: int, theta: Float64Array | None) -> UserFunction:
        return UserFunction(
            self.log_density,
            self.sufficient_statistics,
            n_components,
            n_features,
            self.statistics_length(n_features),
            theta,
        )
