"""What numba compiles for the functions of this package.

Each overload checks the types of its arguments, so that compiling a caller names those that do not
fit, and returns a call of the C function on the array's data and strides. A pointer is taken in the
call itself (``a.ctypes``), so that the array outlives it.
"""

from __future__ import annotations

import numpy as np
from numba import types
from numba.core.errors import TypingError
from numba.extending import intrinsic, overload, register_jitable

from vbfast.numba_api import functions
from vbfast.numba_api.functions import ElboTerms
from vbfast.numba_api.symbols import LOGITS, PROBS, external

# ------------------------------------------------------------------------------- checks of types


def _is_none(a):
    return a is None or isinstance(a, (types.NoneType, types.Omitted))


def _check_array(name, a, ndim, dtype=None, *, output=False):
    dtypes = (types.float64, types.float32) if dtype is None else (dtype,)
    fits = isinstance(a, types.Array) and a.ndim == ndim and a.dtype in dtypes
    if not fits or (output and not (a.mutable and a.aligned)):
        wanted = " or ".join(map(str, dtypes))
        kind = "a writeable, aligned" if output else "a"
        raise TypingError(f"{name} must be {kind} {ndim}-d array of {wanted}; got {a}")
    return a.dtype


def _check_one_of(**arguments):
    """Return the kind of the one argument given, of two: probabilities and logits."""
    given = [not _is_none(a) for a in arguments.values()]
    if given.count(True) != 1:
        raise TypingError(f"exactly one of {' and '.join(arguments)} must be given")
    return PROBS if given[0] else LOGITS


def _check_pair(ndim, q_probs, p_probs, q_logits, p_logits):
    """Return the kinds of q and of p, and their type."""
    q_kind = _check_one_of(q_probs=q_probs, q_logits=q_logits)
    p_kind = _check_one_of(p_probs=p_probs, p_logits=p_logits)
    dtype = _check_array("q", q_probs if q_kind else q_logits, ndim)
    _check_array("p", p_probs if p_kind else p_logits, ndim, dtype)
    return q_kind, p_kind, dtype


def _check_q(dtype, ndim, **arguments):
    """Return the kind of q, of at most one argument of two; any for the posterior, none given."""
    if all(_is_none(a) for a in arguments.values()):
        return LOGITS
    kind = _check_one_of(**arguments)
    for name, a in arguments.items():
        if not _is_none(a):
            _check_array(name, a, ndim, dtype)
    return kind


def _check_gradients(dtype, ndim, out):
    if not isinstance(out, types.BaseTuple) or len(out) != 2:
        raise TypingError(f"out must be a tuple of two arrays, of the gradients; got {out}")
    for k, a in enumerate(out):
        _check_array(f"out[{k}]", a, ndim, dtype, output=True)


def _check_weights(sample_weight):
    if not _is_none(sample_weight):
        _check_array("sample_weight", sample_weight, 1, types.float64)
        if not sample_weight.is_c_contig:
            raise TypingError(f"sample_weight must be contiguous; got {sample_weight}")


# --------------------------------------------------------------------------- data of the arguments
#
# An argument that is None has a null pointer, and strides that do not matter.


def _either(a, b):
    """Return the one that is given, of at most one."""


@overload(_either)
def _overload_either(a, b):
    return (lambda a, b: b) if _is_none(a) else (lambda a, b: a)


def _aligned(a):
    """Return the array, or a copy where its elements are not whole steps apart."""


@overload(_aligned)
def _overload_aligned(a):
    if _is_none(a) or (a.layout != "A" and a.aligned):
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


def _apart(a, out):
    """Return the array, or a copy where it overlaps an output without being it."""


@overload(_apart)
def _overload_apart(a, out):
    def copy_if_needed(a, out):
        same = a.ctypes.data == out.ctypes.data and a.strides == out.strides
        return a.copy() if _meet(a, out) and not same else a

    return copy_if_needed


def _apart_from_both(a, out):
    """Return an input of the bound, or a copy where it overlaps an output, even if it is it."""


@overload(_apart_from_both)
def _overload_apart_from_both(a, out):
    if _is_none(a):
        return lambda a, out: a

    def copy_if_needed(a, out):
        return a.copy() if _meet(a, out[0]) or _meet(a, out[1]) else a

    return copy_if_needed


def _step(a, axis):
    """Return a stride in elements."""


@overload(_step)
def _overload_step(a, axis):
    if _is_none(a):
        return lambda a, axis: 0
    if a.ndim == 1 and a.is_contig:
        return lambda a, axis: 1
    return lambda a, axis: a.strides[axis] // a.itemsize


@intrinsic
def _null(typingcontext, like):
    """Return a null pointer to elements of an array's type."""
    pointer = types.CPointer(like.dtype)

    def null(context, builder, signature, arguments):
        return context.get_constant_null(pointer)

    return pointer(like), null


def _elements(a, like):
    """Return a pointer to the elements, of the type of those of another array."""


@overload(_elements)
def _overload_elements(a, like):
    if _is_none(a):
        return lambda a, like: _null(like)
    return lambda a, like: a.ctypes


def _shape_check(message):
    """Return what raises where a second input does not fit the first."""

    def check(a, like):
        pass

    @overload(check)
    def choose(a, like):
        if _is_none(a):
            return lambda a, like: None

        def check_shape(a, like):
            if a.shape != like.shape:
                raise ValueError(message)

        return check_shape

    return check


_check_shape_of_p = _shape_check("p must have the shape of q")
_check_shape_of_q = _shape_check("q, or q_logits, must have the shape of log_joint")


def _check_weights_fit(sample_weight, log_joint):
    """Raise unless there is one weight a row, none of them negative or NaN."""


@overload(_check_weights_fit)
def _overload_check_weights_fit(sample_weight, log_joint):
    if _is_none(sample_weight):
        return lambda sample_weight, log_joint: None

    def check_weights_fit(sample_weight, log_joint):
        if sample_weight.size != log_joint.shape[0]:
            raise ValueError("sample_weight must have one number a row of log_joint")
        for weight in sample_weight:
            if not 0.0 <= weight < np.inf:
                raise ValueError("sample_weight must be finite and not negative")

    return check_weights_fit


@register_jitable
def _check_out(out, like):
    """Raise where an output does not fit its input, or cannot be stepped through."""
    if out.shape != like.shape:
        raise ValueError("out must have the shape of the input")
    for stride in out.strides:
        if stride % out.itemsize != 0:
            raise ValueError("the strides of out must be multiples of its itemsize")


@register_jitable
def _check_gradients_fit(grad_q, grad, like):
    """Raise where the outputs of the gradients do not fit the log-joint."""
    _check_out(grad_q, like)
    _check_out(grad, like)


@register_jitable
def _check_info(info):
    """Raise what the info of a call tells."""
    if info < 0:
        raise MemoryError
    if info > 0:
        raise ValueError("a row is no distribution", info - 1)


@register_jitable
def _terms(values):
    """Return the terms that a call wrote to an array."""
    return ElboTerms(values[0], values[1], values[2], values[3], values[4])


# ------------------------------------------------------------------------------- of one slice


@overload(functions.logsumexp)
def _overload_logsumexp(a):
    call = external("logsumexp", _check_array("a", a, 1))

    def logsumexp(a):
        x = _aligned(a)
        return call(x.size, x.ctypes, _step(x, 0))

    return logsumexp


def _overload_map(function):
    name = function.__name__

    def overload_map(a, out):
        dtype = _check_array("a", a, 1)
        _check_array("out", out, 1, dtype, output=True)
        call = external(name, dtype)

        def map_slice(a, out):
            _check_out(out, a)
            x = _apart(_aligned(a), out)
            _check_info(call(x.size, x.ctypes, _step(x, 0), out.ctypes, _step(out, 0)))

        return map_slice

    overload(function)(overload_map)


_overload_map(functions.softmax)
_overload_map(functions.log_softmax)


@overload(functions.entropy)
def _overload_entropy(probs=None, logits=None):
    kind = _check_one_of(probs=probs, logits=logits)
    call = external("entropy", _check_array("a distribution", probs if kind else logits, 1))

    def entropy(probs=None, logits=None):
        x = _aligned(_either(probs, logits))
        return call(x.size, kind, x.ctypes, _step(x, 0))

    return entropy


@overload(functions.kl_divergence)
def _overload_kl_divergence(q_probs=None, p_probs=None, q_logits=None, p_logits=None):
    q_kind, p_kind, dtype = _check_pair(1, q_probs, p_probs, q_logits, p_logits)
    call = external("kl_divergence", dtype)

    def kl_divergence(q_probs=None, p_probs=None, q_logits=None, p_logits=None):
        q = _aligned(_either(q_probs, q_logits))
        p = _aligned(_either(p_probs, p_logits))
        _check_shape_of_p(p, q)
        return call(q.size, q_kind, q.ctypes, _step(q, 0), p_kind, p.ctypes, _step(p, 0))

    return kl_divergence


@overload(functions.elbo)
def _overload_elbo(log_joint, q=None, q_logits=None):
    dtype = _check_array("log_joint", log_joint, 1)
    kind = _check_q(dtype, 1, q=q, q_logits=q_logits)
    call = external("elbo", dtype)

    def elbo(log_joint, q=None, q_logits=None):
        x, y = _aligned(log_joint), _aligned(_either(q, q_logits))
        _check_shape_of_q(y, x)
        terms = np.empty(5)
        call(x.size, x.ctypes, _step(x, 0), kind, _elements(y, x), _step(y, 0), terms.ctypes)
        return _terms(terms)

    return elbo


@overload(functions.elbo_and_grad)
def _overload_elbo_and_grad(log_joint, q_logits, out):
    dtype = _check_array("log_joint", log_joint, 1)
    _check_q(dtype, 1, q_logits=q_logits)
    _check_gradients(dtype, 1, out)
    call = external("elbo_and_grad", dtype)

    def elbo_and_grad(log_joint, q_logits, out):
        grad_q, grad = out
        _check_shape_of_q(q_logits, log_joint)
        _check_gradients_fit(grad_q, grad, log_joint)
        x = _apart_from_both(_aligned(log_joint), out)
        y = _apart_from_both(_aligned(q_logits), out)
        terms = np.empty(5)
        call(
            x.size, x.ctypes, _step(x, 0), _elements(y, x), _step(y, 0), terms.ctypes,
            grad_q.ctypes, _step(grad_q, 0), grad.ctypes, _step(grad, 0),
        )  # fmt: skip
        return _terms(terms)

    return elbo_and_grad


# -------------------------------------------------------------------------- of the rows of a matrix


@overload(functions.logsumexp_rows)
def _overload_logsumexp_rows(a, num_threads=1):
    dtype = _check_array("a", a, 2)
    call = external("logsumexp_rows", dtype)

    def logsumexp_rows(a, num_threads=1):
        x = _aligned(a)
        N, n = x.shape
        out = np.empty(N, x.dtype)
        _check_info(call(N, n, x.ctypes, _step(x, 0), _step(x, 1), out.ctypes, num_threads))
        return out

    return logsumexp_rows


def _overload_map_rows(function):
    name = function.__name__

    def overload_map_rows(a, out, num_threads=1):
        dtype = _check_array("a", a, 2)
        _check_array("out", out, 2, dtype, output=True)
        call = external(name, dtype)

        def map_rows(a, out, num_threads=1):
            _check_out(out, a)
            x = _apart(_aligned(a), out)
            N, n = x.shape
            _check_info(
                call(
                    N, n, x.ctypes, _step(x, 0), _step(x, 1),
                    out.ctypes, _step(out, 0), _step(out, 1), num_threads,
                )
            )  # fmt: skip

        return map_rows

    overload(function)(overload_map_rows)


_overload_map_rows(functions.softmax_rows)
_overload_map_rows(functions.log_softmax_rows)


@overload(functions.entropy_rows)
def _overload_entropy_rows(probs=None, logits=None, num_threads=1):
    kind = _check_one_of(probs=probs, logits=logits)
    call = external("entropy_rows", _check_array("distributions", probs if kind else logits, 2))

    def entropy_rows(probs=None, logits=None, num_threads=1):
        x = _aligned(_either(probs, logits))
        N, n = x.shape
        out = np.empty(N, x.dtype)
        _check_info(call(N, n, kind, x.ctypes, _step(x, 0), _step(x, 1), out.ctypes, num_threads))
        return out

    return entropy_rows


@overload(functions.kl_divergence_rows)
def _overload_kl_divergence_rows(
    q_probs=None, p_probs=None, q_logits=None, p_logits=None, num_threads=1
):
    q_kind, p_kind, dtype = _check_pair(2, q_probs, p_probs, q_logits, p_logits)
    call = external("kl_divergence_rows", dtype)

    def kl_divergence_rows(q_probs=None, p_probs=None, q_logits=None, p_logits=None, num_threads=1):
        q = _aligned(_either(q_probs, q_logits))
        p = _aligned(_either(p_probs, p_logits))
        _check_shape_of_p(p, q)
        N, n = q.shape
        out = np.empty(N, q.dtype)
        _check_info(
            call(
                N, n, q_kind, q.ctypes, _step(q, 0), _step(q, 1),
                p_kind, p.ctypes, _step(p, 0), _step(p, 1), out.ctypes, num_threads,
            )
        )  # fmt: skip
        return out

    return kl_divergence_rows


@overload(functions.elbo_rows)
def _overload_elbo_rows(log_joint, q=None, q_logits=None, sample_weight=None, num_threads=1):
    dtype = _check_array("log_joint", log_joint, 2)
    kind = _check_q(dtype, 2, q=q, q_logits=q_logits)
    _check_weights(sample_weight)
    call = external("elbo_rows", dtype)

    def elbo_rows(log_joint, q=None, q_logits=None, sample_weight=None, num_threads=1):
        x, y = _aligned(log_joint), _aligned(_either(q, q_logits))
        _check_shape_of_q(y, x)
        _check_weights_fit(sample_weight, x)
        N, n = x.shape
        terms = np.empty(5)
        _check_info(
            call(
                N, n, x.ctypes, _step(x, 0), _step(x, 1),
                kind, _elements(y, x), _step(y, 0), _step(y, 1),
                _elements(sample_weight, terms), _null(terms), terms.ctypes, num_threads,
            )
        )  # fmt: skip
        return _terms(terms)

    return elbo_rows


@overload(functions.elbo_and_grad_rows)
def _overload_elbo_and_grad_rows(log_joint, q_logits, out, sample_weight=None, num_threads=1):
    dtype = _check_array("log_joint", log_joint, 2)
    _check_q(dtype, 2, q_logits=q_logits)
    _check_gradients(dtype, 2, out)
    _check_weights(sample_weight)
    call = external("elbo_and_grad_rows", dtype)

    def elbo_and_grad_rows(log_joint, q_logits, out, sample_weight=None, num_threads=1):
        grad_q, grad = out
        _check_shape_of_q(q_logits, log_joint)
        _check_weights_fit(sample_weight, log_joint)
        _check_gradients_fit(grad_q, grad, log_joint)
        x = _apart_from_both(_aligned(log_joint), out)
        y = _apart_from_both(_aligned(q_logits), out)
        weights = _apart_from_both(sample_weight, out)
        N, n = x.shape
        terms = np.empty(5)
        _check_info(
            call(
                N, n, x.ctypes, _step(x, 0), _step(x, 1),
                _elements(y, x), _step(y, 0), _step(y, 1),
                _elements(weights, terms), _null(terms), terms.ctypes,
                grad_q.ctypes, _step(grad_q, 0), _step(grad_q, 1),
                grad.ctypes, _step(grad, 0), _step(grad, 1), num_threads,
            )
        )  # fmt: skip
        return _terms(terms)

    return elbo_and_grad_rows
