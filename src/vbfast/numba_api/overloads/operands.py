"""How arrays reach the C functions, and the bound's terms come back.

An argument that is None has a null pointer, and strides that do not matter.
"""

from __future__ import annotations

from numba import types
from numba.extending import intrinsic, overload, register_jitable

from vbfast.numba_api.functions import ElboTerms
from vbfast.numba_api.overloads.checks import is_none

__all__ = [
    "aligned",
    "apart",
    "apart_from_both",
    "bound_terms",
    "either",
    "elements",
    "null",
    "step",
]


def either(a, b):
    """Return the one that is given, of at most one."""


@overload(either)
def _overload_either(a, b):
    return (lambda a, b: b) if is_none(a) else (lambda a, b: a)


def aligned(a):
    """Return the array, or a copy where its elements are not whole steps apart."""


@overload(aligned)
def _overload_aligned(a):
    if is_none(a) or (a.layout != "A" and a.aligned):
        return lambda a: a
    if not a.aligned:
        return lambda a: a.copy()

    def copy_if_needed(a):
        for stride in a.strides:
            if stride % a.itemsize != 0:
                return a.copy()
        return a

    return copy_if_needed


@register_jitable
def _extent(a):
    """Return the addresses of the first and after the last byte of an array."""
    first = a.ctypes.data
    if a.size == 0:
        return first, first
    last = first + a.itemsize
    for d in range(a.ndim):
        reach = (a.shape[d] - 1) * a.strides[d]
        if reach < 0:
            first += reach
        else:
            last += reach
    return first, last


@register_jitable
def _meet(a, b):
    """Tell whether the memory of two arrays may overlap."""
    a_first, a_last = _extent(a)
    b_first, b_last = _extent(b)
    return a_first < b_last and b_first < a_last


def apart(a, out):
    """Return the array, or a copy where it overlaps an output without being it."""


@overload(apart)
def _overload_apart(a, out):
    def copy_if_needed(a, out):
        same = a.ctypes.data == out.ctypes.data and a.strides == out.strides
        return a.copy() if _meet(a, out) and not same else a

    return copy_if_needed


def apart_from_both(a, out):
    """Return an input of the bound, or a copy where it overlaps an output, even if it is it."""


@overload(apart_from_both)
def _overload_apart_from_both(a, out):
    if is_none(a):
        return lambda a, out: a

    def copy_if_needed(a, out):
        return a.copy() if _meet(a, out[0]) or _meet(a, out[1]) else a

    return copy_if_needed


def step(a, axis):
    """Return a stride in elements."""


@overload(step)
def _overload_step(a, axis):
    if is_none(a):
        return lambda a, axis: 0
    if a.ndim == 1 and a.is_contig:
        return lambda a, axis: 1
    return lambda a, axis: a.strides[axis] // a.itemsize


@intrinsic
def null(typingcontext, like):
    """Return a null pointer to elements of an array's type."""
    pointer = types.CPointer(like.dtype)

    def null(context, builder, signature, arguments):
        return context.get_constant_null(pointer)

    return pointer(like), null


def elements(a, like):
    """Return a pointer to the elements, of the type of those of another array."""


@overload(elements)
def _overload_elements(a, like):
    if is_none(a):
        return lambda a, like: null(like)
    return lambda a, like: a.ctypes


@register_jitable
def bound_terms(values):
    """Return the terms that a call wrote to an array."""
    return ElboTerms(values[0], values[1], values[2], values[3], values[4])
