"""A user's functions of a row: checked, compiled by numba, and tried before a pass runs them.

They are given arrays that they cannot write to and code that looks where it reads, so that they
harm nothing but themselves.
"""

from __future__ import annotations

import contextlib
import functools
import inspect
from collections.abc import Callable, Iterator
from numbers import Real
from typing import Any

import numpy as np
import numpy.typing as npt

from vbfast.contract import Float64Array, FloatArray
from vbfast.optional import needed

__all__ = [
    "ARGUMENTS",
    "check_function",
    "compiled",
    "guarded",
    "read_only",
    "require_numba",
    "try_density",
    "try_statistics",
]

# What each is called with.
ARGUMENTS = {
    "log_density": ("x", "theta"),
    "sufficient_statistics": ("x", "out"),
    "maximize": ("statistics", "weight"),
    "sample": ("theta", "n_samples", "random_state"),
}

_BEYOND = 64  # numbers after `out` that a mistaken function may write to


def require_numba(by: str) -> None:
    """Raise an error that says how to install numba, where it is not.

    Parameters
    ----------
    by : str
        What needs it.

    Raises
    ------
    ImportError
    """
    with needed("numba", by=by):
        import numba  # noqa: F401


def check_function(name: str, function: Any) -> None:
    """Check that a function can be called with the arguments of its name.

    Raises
    ------
    TypeError
        If it is not callable or takes others.
    """
    arguments = ARGUMENTS[name]
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


def compiled(name: str, function: Callable[..., Any]) -> Callable[..., Any]:
    """Return a function as compiled by numba, with bounds checks where it has Python code.

    Raises
    ------
    TypeError
        If numba cannot take it.
    """
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
    checked: Callable[..., Any] = jit(**options)(python)
    return checked


def read_only(array: npt.NDArray[Any]) -> npt.NDArray[Any]:
    """Return a view for which numba compiles no code that writes to it."""
    view = array.view()
    view.flags.writeable = False
    return view


@contextlib.contextmanager
def guarded(
    name: str, function: Callable[..., Any], dtype: npt.DTypeLike, **lengths: int
) -> Iterator[None]:
    """Say what is wrong with one of a family's functions, where calls of it fail.

    ``lengths`` are those of its arguments, ``dtype`` that of the rows.

    Raises
    ------
    TypeError
        If numba does not compile it.
    ValueError
        If it writes to an argument that it must not write to, or goes beyond the ends of one.
    """
    from numba.core.errors import NumbaError

    try:
        yield
    except NumbaError as error:
        if "setitem(readonly array" in str(error):
            raise ValueError(f"{name} must not write to its arguments") from error
        # Numba's own words are long, and of our kernels for the greater part.
        raise TypeError(
            f"{name} cannot be compiled for rows of {dtype}; numba's error, the cause of this "
            "one, says why"
        ) from error
    except IndexError as error:
        given = getattr(function, "__name__", name)
        found = " and ".join(f"{argument} has length {n}" for argument, n in lengths.items())
        raise ValueError(
            f"the family's {name} ({given}) has an index beyond the ends of an array, where {found}"
        ) from error
    except Exception as error:
        error.add_note(f"Raised by the family's {name}.")
        raise


def try_statistics(function: Callable[[Any, Any], Any], x: FloatArray, length: int) -> None:
    """Try ``sufficient_statistics`` on a row.

    Parameters
    ----------
    function : callable
        From :func:`compiled`.
    x : ndarray of shape (n_features,)
    length : int
        Of ``out``.

    Raises
    ------
    TypeError
        If it cannot be compiled for such a row.
    ValueError
        If it writes to ``x``, or goes beyond the ends of an array.
    """
    longer = np.full(length + _BEYOND, np.nan)
    longer[:length] = 0.0
    _try("sufficient_statistics", function, x, longer[:length])
    if not np.isnan(longer[length:]).all():
        raise ValueError(
            f"sufficient_statistics must write no more than n_statistics = {length} numbers "
            "to out; it writes beyond them"
        )


def try_density(function: Callable[[Any, Any], Any], x: FloatArray, theta: Float64Array) -> None:
    """Try ``log_density`` on a row and the parameters of a component.

    Parameters
    ----------
    function : callable
        From :func:`compiled`.
    x : ndarray of shape (n_features,)
    theta : ndarray of shape (n_parameters,)

    Raises
    ------
    TypeError
        If it cannot be compiled for such a row, or what it returns is no real number.
    ValueError
        If it writes to an argument, or goes beyond the ends of one.
    """
    value = _try("log_density", function, x, read_only(theta))
    if not isinstance(value, Real):
        raise TypeError(f"log_density must return a real number; got {value!r}")


def _try(name: str, function: Callable[[Any, Any], Any], x: FloatArray, other: Float64Array) -> Any:
    row = x.copy()
    lengths = dict(zip(ARGUMENTS[name], (len(x), len(other)), strict=True))
    with guarded(name, function, x.dtype, **lengths):
        value = function(read_only(row), other)
    if not np.array_equal(row, x):
        raise ValueError(f"{name} must not write to x")
    return value
