"""What arguments have to be: their types when a caller is compiled, their shapes when it runs."""

from __future__ import annotations

import numpy as np
from numba import types
from numba.core.errors import TypingError
from numba.extending import overload, register_jitable

from vbfast.numba_api.symbols import LOGITS, PROBS

__all__ = [
    "check_array",
    "check_gradients",
    "check_gradients_fit",
    "check_info",
    "check_one_of",
    "check_out",
    "check_pair",
    "check_q",
    "check_shape_of_p",
    "check_shape_of_q",
    "check_weights",
    "check_weights_fit",
    "is_none",
]

# ---------------------------------------------------------------------------------------- types


def is_none(a):
    """Tell whether an argument, or its type, says that it is not given."""
    return a is None or isinstance(a, (types.NoneType, types.Omitted))


def check_array(name, a, ndim, dtype=None, *, output=False):
    """Return the type of the elements of an array."""
    dtypes = (types.float64, types.float32) if dtype is None else (dtype,)
    fits = isinstance(a, types.Array) and a.ndim == ndim and a.dtype in dtypes
    if not fits or (output and not (a.mutable and a.aligned)):
        wanted = " or ".join(map(str, dtypes))
        kind = "a writeable, aligned" if output else "a"
        raise TypingError(f"{name} must be {kind} {ndim}-d array of {wanted}; got {a}")
    return a.dtype


def check_one_of(**arguments):
    """Return the kind of the one argument given, of two: probabilities and logits."""
    given = [not is_none(a) for a in arguments.values()]
    if given.count(True) != 1:
        raise TypingError(f"exactly one of {' and '.join(arguments)} must be given")
    return PROBS if given[0] else LOGITS


def check_pair(ndim, q_probs, p_probs, q_logits, p_logits):
    """Return the kinds of q and of p, and their type."""
    q_kind = check_one_of(q_probs=q_probs, q_logits=q_logits)
    p_kind = check_one_of(p_probs=p_probs, p_logits=p_logits)
    dtype = check_array("q", q_probs if q_kind else q_logits, ndim)
    check_array("p", p_probs if p_kind else p_logits, ndim, dtype)
    return q_kind, p_kind, dtype


def check_q(dtype, ndim, **arguments):
    """Return the kind of q, of at most one argument of two; any for the posterior, none given."""
    if all(is_none(a) for a in arguments.values()):
        return LOGITS
    kind = check_one_of(**arguments)
    for name, a in arguments.items():
        if not is_none(a):
            check_array(name, a, ndim, dtype)
    return kind


def check_gradients(dtype, ndim, out):
    """Check that gradients go to a pair of arrays."""
    if not isinstance(out, types.BaseTuple) or len(out) != 2:
        raise TypingError(f"out must be a tuple of two arrays, of the gradients; got {out}")
    for k, a in enumerate(out):
        check_array(f"out[{k}]", a, ndim, dtype, output=True)


def check_weights(sample_weight):
    """Check that weights, where they are given, are a contiguous array of doubles."""
    if not is_none(sample_weight):
        check_array("sample_weight", sample_weight, 1, types.float64)
        if not sample_weight.is_c_contig:
            raise TypingError(f"sample_weight must be contiguous; got {sample_weight}")


# ----------------------------------------------------------------------------- shapes and numbers


def _shape_check(message):
    """Return what raises where a second input does not fit the first."""

    def check(a, like):
        pass

    @overload(check)
    def choose(a, like):
        if is_none(a):
            return lambda a, like: None

        def check_shape(a, like):
            if a.shape != like.shape:
                raise ValueError(message)

        return check_shape

    return check


check_shape_of_p = _shape_check("p must have the shape of q")
check_shape_of_q = _shape_check("q, or q_logits, must have the shape of log_joint")


def check_weights_fit(sample_weight, log_joint):
    """Raise unless there is one weight a row, none of them negative or NaN."""


@overload(check_weights_fit)
def _overload_check_weights_fit(sample_weight, log_joint):
    if is_none(sample_weight):
        return lambda sample_weight, log_joint: None

    def check_weights_fit(sample_weight, log_joint):
        if sample_weight.size != log_joint.shape[0]:
            raise ValueError("sample_weight must have one number a row of log_joint")
        for weight in sample_weight:
            if not 0.0 <= weight < np.inf:
                raise ValueError("sample_weight must be finite and not negative")

    return check_weights_fit


@register_jitable
def check_out(out, like):
    """Raise where an output does not fit its input, or cannot be stepped through."""
    if out.shape != like.shape:
        raise ValueError("out must have the shape of the input")
    for stride in out.strides:
        if stride % out.itemsize != 0:
            raise ValueError("the strides of out must be multiples of its itemsize")


@register_jitable
def check_gradients_fit(grad_q, grad, like):
    """Raise where the outputs of the gradients do not fit the log-joint."""
    check_out(grad_q, like)
    check_out(grad, like)


@register_jitable
def check_info(info):
    """Raise what the info of a call tells."""
    if info < 0:
        raise MemoryError
    if info > 0:
        raise ValueError("a row is no distribution", info - 1)
