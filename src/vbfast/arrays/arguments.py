"""What the array functions do with their arguments, and where they find their kernels."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from vbfast import _vbfast
from vbfast.backends import DEFAULT_BACKEND, get_array_functions
from vbfast.config.settings import current_overrides
from vbfast.inputs import numbers
from vbfast.inputs.plain import check_plain

__all__ = [
    "Array",
    "Axis",
    "apart",
    "as_array",
    "as_real",
    "check_shape_of_log_joint",
    "executor",
    "is_unusual",
    "same_kind",
    "same_precision",
]

Axis = int | tuple[int, ...] | None
Array = npt.NDArray[Any]

_FAST = (np.dtype(np.float64), np.dtype(np.float32))


def executor() -> tuple[Any, int]:
    """Return what executes reductions and maps, by the backend in force, and on how many threads.

    The number of threads is 0 for the pool's own.
    """
    overrides = current_overrides()
    if overrides is None:
        return _vbfast, 0
    functions = get_array_functions(overrides.backend or DEFAULT_BACKEND)
    return functions, overrides.num_threads or 0


def as_array(a: npt.ArrayLike, name: str) -> Array:
    """Return an array, of no subclass."""
    return a if type(a) is np.ndarray else np.asarray(numbers.as_array(a, name))


def as_real(a: npt.ArrayLike, name: str) -> Array:
    """Return a float32 or float64 array, without a copy of one."""
    array = as_array(a, name)
    if array.dtype in _FAST:
        return array
    check_plain(array, name)
    numbers.check_real(array.dtype, name)
    if array.dtype == object and array.ndim == 0:
        raise TypeError(f"{name} must be numeric; got dtype {array.dtype}")
    single = array.dtype.kind == "f" and array.dtype.itemsize <= 4  # of either byte order, or half
    try:
        return array.astype(np.float32 if single else np.float64)
    except (TypeError, ValueError) as error:
        raise TypeError(f"{name} must be numeric; got dtype {array.dtype}") from error
    except OverflowError as error:
        raise ValueError(f"{name} must be numeric: {error}") from error


def check_shape_of_log_joint(name: str, shape: tuple[int, ...], wanted: tuple[int, ...]) -> None:
    """Check the shape of an argument that goes with a log-joint.

    Raises
    ------
    ValueError
        If it is another.
    """
    if shape != wanted:
        raise ValueError(f"{name} must have the shape of log_joint, {wanted}; got {shape}")


def same_precision(a: Array, b: Array) -> tuple[Array, Array]:
    """Give two arrays one type, the wider."""
    if a.dtype == b.dtype:
        return a, b
    return a.astype(np.float64, copy=False), b.astype(np.float64, copy=False)


def same_kind(a: Array, b: Array) -> tuple[Array, Array]:
    """Give two arrays one precision and one shape."""
    a, b = same_precision(a, b)
    if a.shape != b.shape:
        a, b = np.broadcast_arrays(a, b)
    return a, b


def is_unusual(array: Array) -> bool:
    """Tell the types that SciPy computes in themselves, and the kernels do not have."""
    return array.dtype not in _FAST and (array.dtype.kind == "c" or array.dtype.char in "eg")


def apart(array: Array, out: Array) -> Array:
    """Return the array, or a copy if the output overlaps it without being it."""
    return _vbfast.apart(array, out)
