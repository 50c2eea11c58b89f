"""Custom components: three functions, and the global step of a mixture of them.

A component's density is ``exp(log_density(x, theta_k))``; what the global step needs of the rows
are the sums over them of statistics ``t(x)``, weighted with the responsibilities. For an
exponential family they are its sufficient statistics, and the maximiser is the ``theta`` whose
expectation of ``t`` is ``sum_n r_nk t(x_n) / N_k`` (Bishop 2006, eq. 2.226-2.228); whatever
``maximize`` does to raise ``sum_n r_nk log_density(x_n, theta_k)`` makes a generalised EM
(Dempster, Laird and Rubin 1977, section 3).
"""

from __future__ import annotations

import functools
import inspect
import operator
from collections.abc import Callable
from dataclasses import dataclass, fields, replace
from numbers import Real
from typing import Any, Self

import numpy as np

from vbfast.backends.numba.bounds import beyond_the_ends, not_compiled, read_only
from vbfast.engine.contract import (
    CustomParams,
    Float64Array,
    FloatArray,
    PassResult,
    Request,
    Statistics,
)
from vbfast.families.evidence import PerUnitOfWeight
from vbfast.families.gaussian import EMPTY_COMPONENT

__all__ = ["Custom", "CustomLikelihood", "CustomParameters"]


@dataclass(frozen=True, repr=False)
class Custom:
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
    the concentration's approximate maximiser is that of Banerjee et al. 2005, eq. 4.4, for two
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
        from vbfast.backends.numba import require_numba

        require_numba("a custom family of components")
        for name, arguments in _ARGUMENTS.items():
            function = getattr(self, name)
            if name != "sample" or function is not None:
                _check_function(name, function, arguments)
        if not callable(self.n_statistics):
            self.statistics_length(1)
        for name in ("log_density", "sufficient_statistics"):
            object.__setattr__(self, name, _compiled(name, getattr(self, name)))

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
        """Return the length of ``out`` for rows of so many features.

        Raises
        ------
        TypeError, ValueError
            If it is not an integer, or not positive.
        """
        wanted = self.n_statistics
        found = wanted(n_features) if callable(wanted) else wanted
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

    def check_statistics(self, x: FloatArray) -> None:
        """Try ``sufficient_statistics`` on a row.

        Parameters
        ----------
        x : ndarray of shape (n_features,)

        Raises
        ------
        TypeError
            If it cannot be compiled for such a row.
        ValueError
            If it writes to ``x``, or goes beyond the ends of an array.
        """
        length = self.statistics_length(len(x))
        longer = np.full(length + _BEYOND, np.nan)
        longer[:length] = 0.0
        self._try("sufficient_statistics", x, longer[:length])
        if not np.isnan(longer[length:]).all():
            raise ValueError(
                f"sufficient_statistics must write no more than n_statistics = {length} numbers "
                "to out; it writes beyond them"
            )

    def check_density(self, x: FloatArray, theta: Float64Array) -> None:
        """Try ``log_density`` on a row and the parameters of a component.

        Parameters
        ----------
        x : ndarray of shape (n_features,)
        theta : ndarray of shape (n_parameters,)

        Raises
        ------
        TypeError
            If it cannot be compiled for such a row, or what it returns is no real number.
        ValueError
            If it writes to an argument, or goes beyond the ends of one.
        """
        value = self._try("log_density", x, read_only(theta))
        if not isinstance(value, Real):
            raise TypeError(f"log_density must return a real number; got {value!r}")

    def _try(self, name: str, x: FloatArray, other: Float64Array) -> Any:
        from numba.core.errors import NumbaError

        row = x.copy()
        try:
            value = getattr(self, name)(read_only(row), other)
        except NumbaError as error:
            raise not_compiled(name, x.dtype, error) from error
        except IndexError as error:
            lengths = dict(zip(_ARGUMENTS[name], (len(x), len(other)), strict=True))
            raise beyond_the_ends(name, getattr(self, name), **lengths) from error
        if not np.array_equal(row, x):
            raise ValueError(f"{name} must not write to x")
        return value


_ARGUMENTS = {
    "log_density": ("x", "theta"),
    "sufficient_statistics": ("x", "out"),
    "maximize": ("statistics", "weight"),
    "sample": ("theta", "n_samples", "random_state"),
}

# With this many, the sums of one component take 128 MB.
MOST_STATISTICS = 1 << 24

_BEYOND = 64  # numbers after `out` that a mistaken function may write to


def _check_function(name: str, function: Any, arguments: tuple[str, ...]) -> None:
    if not callable(function):
        raise TypeError(f"{name} must be callable; got {function!r}")
    try:
        signature = inspect.signature(getattr(function, "py_func", function))
    except (TypeError, ValueError):  # some builtins tell nothing
        return
    try:
        signature.bind(*arguments)
    except TypeError:
        raise TypeError(
            f"{name} must take the arguments ({', '.join(arguments)}); got {function!r}, which "
            f"takes {signature}"
        ) from None


def _compiled(name: str, function: Callable[..., Any]) -> Callable[..., Any]:
    from numba import typeof

    if inspect.isfunction(function) or hasattr(function, "py_func"):
        return _bounds_checked(function)
    try:
        typeof(function)
    except ValueError:
        raise TypeError(
            f"{name} must be a function, or one that numba.njit returned; got {function!r}"
        ) from None
    return function


@functools.lru_cache(maxsize=64)
def _bounds_checked(function: Callable[..., Any]) -> Callable[..., Any]:
    """Compile a function, once more if it is already, so that it looks where it reads and writes.

    Signatures that it was declared with are for arrays that may be written to, and fall away.
    """
    from numba import jit

    python = getattr(function, "py_func", function)
    options = {**getattr(function, "targetoptions", {}), "nopython": True, "boundscheck": True}
    compiled: Callable[..., Any] = jit(**options)(python)
    return compiled


@dataclass(frozen=True)
class CustomParameters:
    """Parameters of a mixture of custom components, all float64.

    Attributes
    ----------
    family : Custom
    n_features : int
    weights : ndarray of shape (n_components,)
        Mixing proportions.
    theta : ndarray of shape (n_components, n_parameters), or None
        ``None`` before the first global step: good for given responsibilities only.
    """

    family: Custom
    n_features: int
    weights: Float64Array
    theta: Float64Array | None

    def kernel_params(self) -> CustomParams:
        """Return the log-joint ``log pi_k + log_density(x, theta_k)`` as a pass takes it."""
        with np.errstate(divide="ignore"):
            offset = np.log(self.weights)
        return CustomParams(
            self.family.log_density,
            self.family.sufficient_statistics,
            self.n_features,
            self.family.statistics_length(self.n_features),
            offset,
            self.theta,
        )


@dataclass(frozen=True)
class CustomLikelihood(PerUnitOfWeight):
    """What expectation-maximisation climbs: the evidence of a mixture of custom components.

    Attributes
    ----------
    eps : float
        Machine epsilon of the dtype of the rows.
    """

    eps: float

    @property
    def request(self) -> Request:
        """A posterior pass that sums the statistics."""
        return Request(statistics="means")

    def maximise(self, statistics: Statistics, previous: CustomParameters) -> CustomParameters:
        """Take the global step with the family's ``maximize``.

        A component with ``N_k < 1000 * eps`` has lost its rows: it keeps its parameters, and its
        weight is what it has left.

        Raises
        ------
        TypeError
            If ``maximize`` returns no real numbers.
        ValueError
            If what ``maximize`` returns has another shape or is not finite, if a component has
            no rows to start from, or if none has rows.
        """
        weight = statistics.weight
        held = weight >= EMPTY_COMPONENT * self.eps
        if not held.any():
            raise ValueError(
                "no component holds rows: log_density is -inf for all of them, or the sum of "
                "sample_weight next to zero"
            )
        sums = statistics.first[held]
        if not np.isfinite(sums).all():
            row = int(np.argmin(np.isfinite(sums).all(axis=1)))
            raise ValueError(
                "sufficient_statistics must fill out with finite numbers; the sums of component "
                f"{np.flatnonzero(held)[row]} are {sums[row]}"
            )
        theta = _checked_theta(previous.family.maximize(sums, weight[held]), int(held.sum()))
        if previous.theta is not None and theta.shape[1] != previous.theta.shape[1]:
            raise ValueError(
                f"maximize returned {theta.shape[1]} parameters a component, and "
                f"{previous.theta.shape[1]} before"
            )
        if not held.all():
            if previous.theta is None:
                raise ValueError(
                    "every component needs rows to start from; component "
                    f"{int(np.argmin(held))} has none"
                )
            kept = previous.theta.copy()
            kept[held] = theta
            theta = kept
        return replace(previous, weights=weight / weight.sum(), theta=theta)

    def lower_bound(
        self, sums: PassResult, previous: CustomParameters, updated: CustomParameters
    ) -> float:
        """Return the evidence per unit of weight under the parameters that the pass was run with.

        As for the Gaussian families, the updated parameters do not enter.
        """
        del previous, updated
        return sums.log_evidence / sums.total_weight


def _checked_theta(returned: Any, n_components: int) -> Float64Array:
    try:
        found = np.asarray(returned)
    except ValueError as error:
        raise ValueError(f"maximize must return an array: {error}") from error
    if found.dtype.kind not in "biuf":
        raise TypeError(f"maximize must return real numbers; got {returned!r}")
    theta = np.ascontiguousarray(found, dtype=np.float64)
    if theta.ndim != 2 or len(theta) != n_components or theta.shape[1] == 0:
        raise ValueError(
            "maximize must return an array of shape (n_components, n_parameters) with "
            f"n_components = {n_components}; got shape {np.shape(returned)}"
        )
    finite = np.isfinite(theta).all(axis=1)
    if not finite.all():
        component = int(np.argmin(finite))
        raise ValueError(
            f"maximize must return finite parameters; component {component} of {n_components} has "
            f"{theta[component]}"
        )
    return theta
