"""The array functions on the device, with the signatures of the extension module's.

NumPy arrays are copied there once, and results come back as NumPy arrays. Functions whose names end
in ``_there`` take arrays that are on the device already, as ``interchange`` has them.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from vbfast import _vbfast
from vbfast.backends.cuda.extension import load_extension, require_device
from vbfast.backends.cuda.interchange import Borrowed, Lent

__all__ = [
    "bound_and_gradients",
    "bound_terms",
    "bound_there",
    "map_array",
    "map_there",
    "reduce_array",
    "reduce_there",
]

Array = npt.NDArray[Any]
Axis = int | tuple[int, ...] | None


class _Copies:
    """NumPy arrays of one shape on the device, in an order of axes in which kernels take them.

    Axes that are reduced stay where they are if they follow one another, and come last otherwise.
    Arrays whose first axis is the fastest are copied, and results made, in that order.
    """

    def __init__(self, first: Array, axes: tuple[int, ...]) -> None:
        n = first.ndim
        order = list(range(n))
        if first.flags.f_contiguous and not first.flags.c_contiguous:
            order.reverse()
        places = [d for d, axis in enumerate(order) if axis in axes]
        if places and places[-1] - places[0] + 1 != len(places):
            order = [d for d in order if d not in axes] + [d for d in order if d in axes]
        self.order = order
        self.axes = [d for d, axis in enumerate(order) if axis in axes]
        self._reduced = set(axes)
        self.stream = load_extension().Stream(require_device()["index"])

    def put(self, array: Array) -> Any:
        """Copy an array of the full shape to the device."""
        return self._copy(array.transpose(self.order))

    def put_slices(self, array: Array) -> Any:
        """Copy an array of one number a slice to the device."""
        return self._copy(array.transpose(self._slices()))

    def _copy(self, array: Array) -> Any:
        packed = np.ascontiguousarray(array).reshape(array.shape)
        return load_extension().DeviceArray.copy_of(packed, self.stream)

    def get(self, array: Any) -> Array:
        """Return an array of the full shape, or that keeps all axes, from the device."""
        return _inverse(array.to_host(self.stream), self.order)

    def get_slices(self, array: Any) -> Array:
        """Return an array of one number a slice from the device."""
        return _inverse(array.to_host(self.stream), self._slices())

    def number(self, array: Any) -> float:
        """Return an array without dimensions from the device, as a number."""
        return float(array.to_host(self.stream))

    def _slices(self) -> list[int]:
        kept = [d for d in self.order if d not in self._reduced]
        return [sorted(kept).index(d) for d in kept]


def _inverse(array: Array, order: Sequence[int]) -> Array:
    return array.transpose(np.argsort(order)) if len(order) else array


def reduce_array(
    reduction: int,
    x: Array,
    y: Array | None,
    axis: Axis,
    keepdims: bool,
    which: tuple[int, ...],
    names: tuple[str, ...],
    tolerances: tuple[float, ...],
    out: Array | None,
    num_threads: int,
) -> Any:
    """Reduce an array over some of its axes."""
    del num_threads
    copies = _Copies(x, _vbfast.reduced_axes(x.ndim, axis))
    there = [None if a is None else copies.put(a) for a in (x, y)]
    results = load_extension().reduce_array(
        copies.stream, reduction, *there, copies.axes, keepdims, which, names, tolerances
    )
    get = copies.get if keepdims else copies.get_slices
    arrays = [get(result) for result in results]
    if out is not None:
        out[...] = arrays[0]
        return out
    plain = tuple(array if array.ndim else array[()] for array in arrays)
    return plain if len(plain) > 1 else plain[0]


def map_array(mapping: int, x: Array, axis: Axis, out: Array | None, num_threads: int) -> Array:
    """Softmax or log_softmax of an array over some axes."""
    del num_threads
    copies = _Copies(x, _vbfast.reduced_axes(x.ndim, axis))
    result = copies.get(
        load_extension().map_array(copies.stream, mapping, copies.put(x), copies.axes)
    )
    if out is None:
        return result
    out[...] = result
    return out


def _bound(
    log_joint: Array,
    q: Array | None,
    is_logits: bool,
    tolerance: float | None,
    weight: Array | None,
    per_sample: bool,
    out: tuple[Array, Array] | None,
    gradients: bool,
) -> tuple[Any, Any]:
    copies = _Copies(log_joint, (log_joint.ndim - 1,))
    # The bound is over the last axis.
    if copies.axes != [log_joint.ndim - 1]:
        copies = _Copies(np.ascontiguousarray(log_joint), (log_joint.ndim - 1,))
    terms, written = load_extension().bound(
        copies.stream,
        copies.put(log_joint),
        None if q is None else copies.put(q),
        is_logits,
        _tolerance(log_joint.dtype, tolerance),
        None if weight is None else copies.put_slices(weight),
        per_sample,
        gradients,
    )
    of_rows: tuple[Any, ...] = tuple(map(copies.get_slices if per_sample else copies.number, terms))
    arrays = tuple(copies.get(gradient) for gradient in written)
    if out is None:
        return of_rows, arrays
    for to, array in zip(out, arrays, strict=True):
        to[...] = array
    return of_rows, out


def _tolerance(dtype: np.dtype[Any], tolerance: float | None) -> float:
    return _vbfast.SUM_TOLERANCES[dtype.name] if tolerance is None else tolerance


def bound_terms(
    log_joint: Array,
    q: Array | None,
    is_logits: bool,
    tolerance: float | None,
    weight: Array | None,
    per_sample: bool,
    num_threads: int,
) -> tuple[Any, ...]:
    """Return the terms of the evidence lower bound."""
    del num_threads
    terms: tuple[Any, ...] = _bound(
        log_joint, q, is_logits, tolerance, weight, per_sample, None, False
    )[0]
    return terms


def bound_and_gradients(
    log_joint: Array,
    q: Array | None,
    is_logits: bool,
    tolerance: float | None,
    weight: Array | None,
    per_sample: bool,
    out: tuple[Array, Array] | None,
    num_threads: int,
) -> tuple[Any, Any]:
    """Return its terms and its gradients."""
    del num_threads
    return _bound(log_joint, q, is_logits, tolerance, weight, per_sample, out, True)


def reduce_there(
    reduction: int,
    x: Borrowed,
    y: Borrowed | None,
    axis: Axis,
    keepdims: bool,
    which: tuple[int, ...],
    names: tuple[str, ...],
) -> Any:
    """Reduce an array on the device; results are of its library."""
    with x.lend(y) as lent:
        results = load_extension().reduce_array(
            lent.stream,
            reduction,
            *lent.arrays,
            _vbfast.reduced_axes(len(x.shape), axis),
            keepdims,
            which,
            names,
            (_vbfast.SUM_TOLERANCES[x.dtype.name],) * 2,
        )
        given = tuple(map(x.give_back, results))
    return given if len(given) > 1 else given[0]


def map_there(mapping: int, x: Borrowed, axis: Axis) -> Any:
    """Softmax or log_softmax of an array on the device; the result is of its library."""
    with x.lend() as lent:
        axes = _vbfast.reduced_axes(len(x.shape), axis)
        return x.give_back(load_extension().map_array(lent.stream, mapping, *lent.arrays, axes))


def bound_there(
    log_joint: Borrowed,
    q: Borrowed | None,
    is_logits: bool,
    weight: Borrowed | None,
    per_sample: bool,
    gradients: bool,
) -> tuple[Any, Any]:
    """Terms of the bound, as arrays of the log-joint's library, and gradients if they are wanted.

    Sums are arrays without dimensions.
    """
    with log_joint.lend(q, weight) as lent:
        joint, given, weights = lent.arrays
        terms, written = load_extension().bound(
            lent.stream,
            joint,
            given,
            is_logits,
            _vbfast.SUM_TOLERANCES[log_joint.dtype.name],
            None if weights is None else _checked_weights(weights, log_joint, gradients, lent),
            per_sample,
            gradients,
        )
        give = log_joint.give_back
        return tuple(map(give, terms)), tuple(map(give, written))


def _checked_weights(weights: Any, log_joint: Borrowed, gradients: bool, lent: Lent) -> Any:
    """Return weights as float64, if there is one a row, finite and not negative."""
    shape = log_joint.shape
    try:
        on_host = weights.to_host(lent.stream).astype(np.float64, copy=False)
    except BufferError as error:
        raise NotImplementedError("sample_weight on the device must be C-contiguous") from error
    one_each = np.broadcast_to(np.zeros((), log_joint.dtype), shape)  # an array of that shape
    within = _vbfast.check_weights(on_host, one_each)
    if gradients and log_joint.dtype == np.float32 and not within:
        raise NotImplementedError(
            "sample_weight on the device must be of a size that float32 has, where the log-joint "
            "is float32 and gradients are wanted"
        )
    return load_extension().DeviceArray.copy_of(on_host, lent.stream)
