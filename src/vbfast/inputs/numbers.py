"""Arrays that a caller gives: real numbers of a known shape, or an error that names the argument.

What lives elsewhere (HDF5, Zarr, a class of the caller's own) says what it is in ``shape`` and
``dtype`` and is read in slices; neither is taken on trust, as kernels go by them.
"""

from __future__ import annotations

import operator
from typing import Any

import numpy as np
import numpy.typing as npt

from vbfast.inputs.plain import check_plain

__all__ = [
    "as_array",
    "as_numbers",
    "check_real",
    "claimed_dtype",
    "claimed_shape",
    "read_slice",
]

_NUMERIC_KINDS = "biufO"  # objects may be numbers: their conversion tells


def as_array(values: Any, name: str) -> npt.NDArray[Any]:
    """Make an array, of subclasses of NumPy's too.

    Raises
    ------
    TypeError
        If something would be lost on the way, as :func:`~vbfast.inputs.plain.check_plain` says.
    ValueError
        If values make no array, as lists of different lengths.
    """
    check_plain(values, name)
    try:
        return np.asanyarray(values)
    except ValueError as error:
        raise ValueError(f"{name} must be an array: {error}") from error


def check_real(dtype: np.dtype[Any], name: str) -> None:
    """Check that a dtype is of real numbers, or of objects that may be.

    Raises
    ------
    TypeError
        If it is not.
    """
    if dtype.kind not in _NUMERIC_KINDS:
        wanted = "real" if dtype.kind == "c" else "numeric"
        raise TypeError(f"{name} must be {wanted}; got dtype {dtype}")


def as_numbers(values: Any, name: str) -> npt.NDArray[Any]:
    """Make an array of real numbers; those that are Python objects become float64.

    Parameters
    ----------
    values : array-like
    name : str
        Of the argument, for messages.

    Returns
    -------
    ndarray
        Of a boolean, integer or floating dtype.

    Raises
    ------
    TypeError
        If they are complex or no numbers.
    ValueError
        If they make no array, or are too large for float64.

    Examples
    --------
    >>> from vbfast.inputs.numbers import as_numbers
    >>> as_numbers([1, 2], "sample_weight")
    array([1, 2])
    """
    array = as_array(values, name)
    check_real(array.dtype, name)
    if array.dtype.kind == "O":
        try:
            return array.astype(np.float64)
        except TypeError as error:
            raise TypeError(f"{name} must be numeric: {error}") from error
        except (ValueError, OverflowError) as error:
            raise ValueError(f"{name} must be numeric: {error}") from error
    return array


def claimed_shape(array: Any, name: str) -> tuple[int, ...]:
    """Return what an array says that its shape is.

    Raises
    ------
    TypeError
        If that is not a tuple of integers.
    """
    try:
        return tuple(operator.index(length) for length in array.shape)
    except TypeError:
        raise TypeError(f"{name}.shape must be integers; got {array.shape!r}") from None


def claimed_dtype(array: Any, name: str) -> np.dtype[Any]:
    """Return what an array says that its dtype is, in native byte order.

    Raises
    ------
    TypeError
        If that is not a dtype of NumPy.
    """
    try:
        dtype: np.dtype[Any] = np.dtype(array.dtype)
    except TypeError:
        raise TypeError(f"{name}.dtype must be a NumPy dtype; got {array.dtype!r}") from None
    return dtype.newbyteorder("=")


def read_slice(
    data: Any, start: int, stop: int, shape: tuple[int, ...], dtype: npt.DTypeLike, name: str
) -> npt.NDArray[Any]:
    """Read ``data[start:stop]``, and see that it is what ``data`` said.

    Parameters
    ----------
    data : sliceable
    start, stop : int
    shape : tuple of int
        Of the slice.
    dtype : dtype
        What they will be converted to, float32 or float64.
    name : str
        Of the argument, for messages.

    Returns
    -------
    ndarray of ``shape``
        Of the dtype that ``data`` says it has, or of one that ``dtype`` holds every value of.

    Raises
    ------
    TypeError
        If they are complex or no numbers.
    ValueError
        If they are of another shape or dtype.
    """
    name_of_slice = f"{name}[{start}:{stop}]"
    found = as_numbers(data[start:stop], name_of_slice)
    if found.shape != shape:
        raise ValueError(f"{name_of_slice} should have shape {shape}; got {found.shape}")
    claimed = claimed_dtype(data, name)
    if claimed not in (found.dtype, np.dtype(object)) and not np.can_cast(found.dtype, dtype):
        raise ValueError(
            f"{name_of_slice} should have the dtype that {name} has, {claimed}; got {found.dtype}"
        )
    return found
