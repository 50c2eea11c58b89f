"""The array functions of arrays that are on a device: what they are given to, and their checks.

Public through :mod:`vbfast.arrays.functions` and :mod:`vbfast.arrays.bounds`.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from vbfast.arrays.arguments import Axis, check_shape_of_log_joint
from vbfast.backends import get_array_functions

__all__ = ["any_on_device", "bound", "map_array", "reduce_array"]

_HOST = (np.ndarray, np.generic, list, tuple, int, float, type(None))


def any_on_device(*arrays: Any) -> bool:
    """Return whether one of the arguments is an array on a device.

    Parameters
    ----------
    *arrays : object
    """
    for array in arrays:
        if type(array) is np.ndarray or isinstance(array, _HOST):
            continue
        if hasattr(array, "__dlpack_device__") or hasattr(array, "__cuda_array_interface__"):
            from vbfast.backends.cuda.interchange import device_of

            if device_of(array) is not None:
                return True
    return False


def _borrow(**arrays: Any) -> list[Any]:
    """Borrow arrays by their names, None left out.

    Raises
    ------
    TypeError
        If they are not on one device, or not of one type.
    """
    from vbfast.backends.cuda.interchange import borrow, device_of

    given = {name: array for name, array in arrays.items() if array is not None}
    devices = {name: device_of(array) for name, array in given.items()}
    (first, place), *others = devices.items()
    for name, other in others:
        if other != place:
            raise TypeError(
                f"arrays must be on one device; got {first} on {_place(given[first], place)} and "
                f"{name} on {_place(given[name], other)}"
            )
    get_array_functions("cuda")  # says what is missing
    return [None if array is None else borrow(array, name) for name, array in arrays.items()]


def _place(array: Any, device: int | None) -> str:
    kind = f"{type(array).__module__.partition('.')[0]}.{type(array).__name__}"
    return f"{'the host' if device is None else f'cuda:{device}'} ({kind})"


def _check_dtypes(first: str, a: Any, second: str, b: Any) -> None:
    if a.dtype != b.dtype:
        raise TypeError(
            f"{first} and {second} on the device must have one dtype; got {a.dtype} and {b.dtype}"
        )


def _check_no_output(out: Any) -> None:
    if out is not None:
        raise NotImplementedError("out is for NumPy arrays; on the device results are new arrays")


def reduce_array(
    reduction: int,
    first: str,
    a: Any,
    second: str,
    b: Any,
    axis: Axis,
    keepdims: bool,
    which: tuple[int, ...],
    checked: tuple[str, ...],
    out: Any = None,
) -> Any:
    """Reduce an array, or two that broadcast against each other.

    Parameters
    ----------
    reduction : int
        One of ``_vbfast.REDUCTIONS``.
    first, second : str
        The names of the arrays.
    a, b : arrays on a device, or a number or None in the place of the second
    axis, keepdims
        As for the public functions.
    which : tuple of int
        Of ``_vbfast.RESULTS``.
    checked : tuple of str
        Names of those that have to be distributions, else empty.
    out : None

    Returns
    -------
    array, or tuple of arrays, of the library of the first
    """
    _check_no_output(out)
    if isinstance(b, (bool, int, float)):
        from vbfast.backends.cuda.interchange import put_number

        b = put_number(a, b)
    x, y = _borrow(**{first: a, second: b})
    if y is not None:
        _check_dtypes(first, x, second, y)
        shape = np.broadcast_shapes(x.shape, y.shape)
        x, y = x.broadcast_to(shape), y.broadcast_to(shape)
    functions: Any = get_array_functions("cuda")
    return functions.reduce_there(reduction, x, y, axis, keepdims, which, checked)


def map_array(mapping: int, a: Any, axis: Axis, out: Any) -> Any:
    """Softmax or log_softmax, as an array of the library of its argument."""
    _check_no_output(out)
    (x,) = _borrow(a=a)
    functions: Any = get_array_functions("cuda")
    return functions.map_there(mapping, x, axis)


def bound(
    log_joint: Any,
    q: Any,
    q_logits: Any,
    sample_weight: Any,
    per_sample: bool,
    gradients: bool,
    out: Any = None,
) -> tuple[tuple[Any, ...], tuple[Any, ...]]:
    """Return the terms of the bound, in the order of ElboTerms, and gradients if they are wanted.

    Sums are arrays without dimensions.
    """
    _check_no_output(out)
    if q is not None and q_logits is not None:
        raise ValueError("at most one of q and q_logits may be given")
    name, given = ("q_logits", q_logits) if q is None else ("q", q)
    joint, other, weight = _borrow(
        **{"log_joint": log_joint, name: given, "sample_weight": sample_weight}
    )
    if len(joint.shape) == 0 or joint.shape[-1] == 0:
        raise ValueError(
            "log_joint must have shape (..., n_components) with at least one component; got "
            f"shape {joint.shape}"
        )
    if other is not None:
        check_shape_of_log_joint(name, other.shape, joint.shape)
        _check_dtypes("log_joint", joint, name, other)
    functions: Any = get_array_functions("cuda")
    terms, written = functions.bound_there(joint, other, q is None, weight, per_sample, gradients)
    return terms, written
