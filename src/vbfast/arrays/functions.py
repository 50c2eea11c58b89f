"""Array functions: log-sum-exp, softmax, entropy, KL divergence, the bound and its gradients.

All take float32 or float64 arrays of any shape and strides, without copying them; other real types
become float64. What would lose its meaning on the way, a mask, the zeros that a sparse matrix
leaves out, records or dates, is a ``TypeError``. Everything is in nats. NaN propagates. Sums do not
depend on the number of threads. The kernels are those of the backend in force, see
:func:`vbfast.config_context`.

Arrays on a CUDA device, of a library that has DLPack or ``__cuda_array_interface__``, are computed
there, and so are results, which are arrays of that library, sums of the bound too. All arrays of a
call are then on one device and of one type, float32 or float64, and there is no ``out``.
"""

from __future__ import annotations

from typing import Any, Literal

import numpy as np
import numpy.typing as npt

from vbfast import _vbfast
from vbfast.arrays import on_device
from vbfast.arrays.arguments import (
    Array,
    Axis,
    apart,
    as_array,
    as_real,
    executor,
    is_unusual,
    same_kind,
)
from vbfast.arrays.bounds import ElboGradient, elbo, elbo_and_grad
from vbfast.inputs.distributions import sum_tolerance

__all__ = [
    "ElboGradient",
    "elbo",
    "elbo_and_grad",
    "entropy",
    "kl_divergence",
    "log_softmax",
    "logsumexp",
    "softmax",
]

Kind = Literal["logits", "probs"]

_NUMBERS = (bool, int, float)

_SUM_EXP = _vbfast.REDUCTIONS["sum_exp"]
_SCALED_SUM_EXP = _vbfast.REDUCTIONS["scaled_sum_exp"]
_SOFTMAX, _LOG_SOFTMAX = _vbfast.MAPPINGS["softmax"], _vbfast.MAPPINGS["log_softmax"]
_LOG_EVIDENCE = (_vbfast.RESULTS["log_evidence"],)
_LOG_EVIDENCE_AND_SIGN = (*_LOG_EVIDENCE, _vbfast.RESULTS["sign"])
_ENTROPY, _KL = (_vbfast.RESULTS["entropy"],), (_vbfast.RESULTS["kl"],)


def logsumexp(
    a: npt.ArrayLike,
    axis: Axis = None,
    b: npt.ArrayLike | None = None,
    *,
    keepdims: bool = False,
    return_sign: bool = False,
) -> Any:
    r"""Logarithm of the sum of exponentials, the evidence of a log-joint.

    .. math:: \log \sum_k b_k \exp(a_k)

    computed about the largest element (Blanchard, Higham and Higham 2021, eq. 1.4), with what lies
    at the maximum kept apart from the rest, as :func:`scipy.special.logsumexp` does.

    Parameters
    ----------
    a : array_like
        Exponents, in nats. Complex, float16 and long double input goes to SciPy's function.
    axis : int, tuple of int or None, default=None
        Axes to sum over; all by default.
    b : array_like, optional
        Real factors that broadcast against `a`; elements with ``b == 0`` count for nothing.
    keepdims : bool, default=False
        Keep the axes summed over, with length one.
    return_sign : bool, default=False
        Return the sign of the sum as well, and the logarithm of its magnitude.

    Returns
    -------
    ndarray or scalar
        The logarithm, of the type of `a`; NaN for a negative sum unless `return_sign`. An empty sum
        gives -inf. A slice with +inf gives +inf.
    ndarray or scalar
        The sign, with `return_sign`.

    Raises
    ------
    numpy.exceptions.AxisError
        If an axis is out of range.

    Notes
    -----
    The error is at most ``4 eps max(1, max |a|, |result|)``, with eps of the type of the result,
    for any number of elements. With `b`, each term has up to ``10 + max(a) - a_k`` eps of its own,
    which count for more the more terms cancel.

    Examples
    --------
    >>> import numpy as np
    >>> import vbfast
    >>> print(vbfast.logsumexp(np.log([1.0, 2.0, 3.0])).round(12) == np.log(6.0).round(12))
    True
    >>> print(vbfast.logsumexp([1000.0, 1000.0]).round(6))
    1000.693147
    """
    which = _LOG_EVIDENCE_AND_SIGN if return_sign else _LOG_EVIDENCE
    if on_device.any_on_device(a, b):
        reduction = _SUM_EXP if b is None else _SCALED_SUM_EXP
        return on_device.reduce_array(reduction, "a", a, "b", b, axis, keepdims, which, ())
    array = as_array(a, "a")
    by: Any = b if b is None or type(b) in _NUMBERS else as_array(b, "b")
    if is_unusual(array) or (isinstance(by, np.ndarray) and is_unusual(by)):
        from scipy.special import logsumexp as of_scipy

        array = array if is_unusual(array) else as_real(array, "a")
        if isinstance(by, np.ndarray) and not is_unusual(by):
            by = as_real(by, "b")
        keywords: dict[str, Any] = {"axis": axis, "keepdims": keepdims, "return_sign": return_sign}
        whole = np.broadcast_shapes(array.shape, np.shape(by))
        _vbfast.reduced_axes(len(whole), axis)  # its errors name the argument
        if 0 not in whole:
            return of_scipy(array, b=by, **keywords)
        # SciPy's raises where there is nothing to sum along several axes.
        dtype = array.dtype if by is None else np.result_type(array, by)
        value = logsumexp(np.zeros(whole), **keywords)
        return tuple(v.astype(dtype) for v in value) if return_sign else value.astype(dtype)
    array = as_real(array, "a")
    reduction, factors = _SUM_EXP, None
    if by is not None:
        # As in NumPy, a number of Python's does not widen the array.
        weak = type(by) in _NUMBERS and array.ndim > 0
        array, factors = same_kind(array, np.asarray(by, array.dtype) if weak else as_real(by, "b"))
        reduction = _SCALED_SUM_EXP
    functions, num_threads = executor()
    return functions.reduce_array(
        reduction, array, factors, axis, keepdims, which, (), (), None, num_threads
    )


def softmax(a: npt.ArrayLike, axis: Axis = None, *, out: Array | None = None) -> Any:
    r"""Exponentials scaled to a sum of one, the responsibilities of a log-joint.

    .. math:: q_k = \exp(a_k) / \sum_j \exp(a_j)

    Parameters
    ----------
    a : array_like
        Logits. Complex, float16 and long double input goes to SciPy's function.
    axis : int, tuple of int or None, default=None
        Axes to sum over; all by default, as in :func:`scipy.special.softmax`.
    out : ndarray, optional
        Where to write, of the shape and type of the result; may be `a` itself.

    Returns
    -------
    ndarray
        The shape of `a`; NaN in slices whose largest element is not finite, as in SciPy.

    Raises
    ------
    ValueError
        If `out` has another shape or dtype.

    Examples
    --------
    >>> import vbfast
    >>> print(vbfast.softmax([[0.0, 0.0], [1.0, 1.0]], axis=1))
    [[0.5 0.5]
     [0.5 0.5]]
    """
    return _map(_SOFTMAX, a, axis, out)


def posterior(log_joint: Array, axis: int | tuple[int, ...]) -> Array:
    """Gradient of :func:`logsumexp`: softmax, and zero where there is nothing but -inf.

    Parameters
    ----------
    log_joint : ndarray, float32 or float64
    axis : int or tuple of int

    Returns
    -------
    ndarray
        A new array of the shape and type of the log-joint.
    """
    resp: Array = softmax(log_joint, axis)
    none = np.all(log_joint == -np.inf, axis=axis, keepdims=True)
    if none.any():
        np.copyto(resp, 0.0, where=none)
    return resp


def log_softmax(a: npt.ArrayLike, axis: Axis = None, *, out: Array | None = None) -> Any:
    r"""Logarithm of :func:`softmax`, :math:`a_k - \log \sum_j \exp(a_j)`.

    Parameters
    ----------
    a : array_like
        Logits. Complex, float16 and long double input goes to SciPy's function.
    axis : int, tuple of int or None, default=None
        Axes to sum over; all by default, as in :func:`scipy.special.log_softmax`.
    out : ndarray, optional
        Where to write, of the shape and type of the result; may be `a` itself.

    Returns
    -------
    ndarray
        The shape of `a`.

    Raises
    ------
    ValueError
        If `out` has another shape or dtype.

    Examples
    --------
    >>> import vbfast
    >>> print(vbfast.log_softmax([1000.0, 0.0]))
    [    0. -1000.]
    """
    return _map(_LOG_SOFTMAX, a, axis, out)


def _map(mapping: int, a: npt.ArrayLike, axis: Axis, out: Array | None) -> Any:
    if on_device.any_on_device(a, out):
        return on_device.map_array(mapping, a, axis, out)
    array = as_array(a, "a")
    if is_unusual(array):
        import scipy.special

        of_scipy = scipy.special.softmax if mapping == _SOFTMAX else scipy.special.log_softmax
        _vbfast.reduced_axes(array.ndim, axis)  # its errors name the argument
        # SciPy's looks for a largest of no numbers.
        result = of_scipy(array, axis=axis) if array.size else array.copy()
        if out is None:
            return result
        _vbfast.check_out(out, result.shape, result.dtype, "out")
        out[...] = result
        return out
    array = as_real(array, "a")
    if out is not None:
        _vbfast.check_out(out, array.shape, array.dtype, "out")
        array = apart(array, out)
    functions, num_threads = executor()
    result = functions.map_array(mapping, array, axis, out, num_threads)
    return result if out is not None or result.ndim else result[()]


def entropy(
    probs: npt.ArrayLike | None = None,
    logits: npt.ArrayLike | None = None,
    *,
    axis: Axis = -1,
    keepdims: bool = False,
    out: Array | None = None,
) -> Any:
    r"""Entropy of distributions, in nats.

    .. math:: H[q] = -\sum_k q_k \log q_k

    (Shannon 1948, theorem 2), where :math:`0 \log 0 = 0`; from logits,
    :math:`H = \log s - \frac1s \sum_k e^{d_k} d_k` with :math:`d_k` the distance to the largest
    logit and :math:`s = \sum_k e^{d_k}`, a sum of two terms that are never negative.

    Parameters
    ----------
    probs : array_like, optional
        Probabilities; exactly one of `probs` and `logits` is given.
    logits : array_like, optional
        Unnormalised logarithms of probabilities.
    axis : int, tuple of int or None, default=-1
        The axes of a distribution; None is all.
    keepdims : bool, default=False
        Keep the axes summed over, with length one.
    out : ndarray, optional
        Where to write, of the shape and type of the result.

    Returns
    -------
    ndarray or scalar
        Never negative; zero for logits that are all -inf, NaN where a logit is +inf.

    Raises
    ------
    ValueError
        If probabilities are negative or their sum is off by more than 1e-6, or 1e-3 where they are
        given as float32; nearer ones are renormalised.

    Notes
    -----
    For any number of elements, the error is at most ``16 eps max(1, H)`` from probabilities, and
    from logits ``8 eps max(1, d) H``, where d is the largest distance that counts for the entropy.

    Examples
    --------
    >>> import vbfast
    >>> print(vbfast.entropy([0.5, 0.25, 0.25]).round(6))
    1.039721
    >>> print(vbfast.entropy(logits=[3.0, 3.0, -float("inf")]).round(6))
    0.693147
    """
    if (probs is None) == (logits is None):
        raise ValueError("exactly one of probs and logits must be given")
    kind: Kind = "logits" if probs is None else "probs"
    reduction, given = _vbfast.REDUCTIONS[f"{kind}_entropy"], logits if probs is None else probs
    names = ("probs",) if kind == "probs" else ()
    if on_device.any_on_device(given, out):
        return on_device.reduce_array(
            reduction, kind, given, "", None, axis, keepdims, _ENTROPY, names, out
        )
    array = as_real(given, kind)  # type: ignore[arg-type]
    if out is not None:
        _vbfast.check_out(out, _reduced_shape(array, axis, keepdims), array.dtype, "out")
        array = apart(array, out)
    functions, num_threads = executor()
    return functions.reduce_array(
        reduction, array, None, axis, keepdims, _ENTROPY, names, (sum_tolerance(array.dtype),), out,
        num_threads,
    )  # fmt: skip


def _reduced_shape(array: Array, axis: Axis, keepdims: bool) -> tuple[int, ...]:
    shape = array.shape
    reduced = _vbfast.reduced_axes(array.ndim, axis)
    if keepdims:
        return tuple(1 if d in reduced else s for d, s in enumerate(shape))
    return tuple(s for d, s in enumerate(shape) if d not in reduced)


def kl_divergence(
    q_probs: npt.ArrayLike | None = None,
    p_probs: npt.ArrayLike | None = None,
    *,
    q_logits: npt.ArrayLike | None = None,
    p_logits: npt.ArrayLike | None = None,
    axis: Axis = -1,
    keepdims: bool = False,
    out: Array | None = None,
) -> Any:
    r"""Kullback-Leibler divergence of distributions, in nats.

    .. math:: \mathrm{KL}(q \,\|\, p) = \sum_k q_k \log (q_k / p_k)

    (Kullback and Leibler 1951, eq. 2.4), summed in one pass from either kind of input.

    Parameters
    ----------
    q_probs, p_probs : array_like, optional
        Probabilities of q and of p.
    q_logits, p_logits : array_like, optional
        Unnormalised logarithms instead: of each of q and p, exactly one kind is given. The two
        broadcast against each other.
    axis : int, tuple of int or None, default=-1
        The axes of a distribution; None is all.
    keepdims : bool, default=False
        Keep the axes summed over, with length one.
    out : ndarray, optional
        Where to write, of the shape and type of the result.

    Returns
    -------
    ndarray or scalar
        Never negative; +inf where q has mass and p has none. Logits of nothing but -inf are no
        distribution: NaN for q, and zero for p, as in :func:`elbo`.

    Raises
    ------
    ValueError
        If probabilities are no distribution, as for :func:`entropy`.

    Notes
    -----
    The error is at most ``16 eps max(1, s)`` with ``s = sum(q (|log q| + |log p|))``, for any
    number of elements: of distributions that are nearly equal it may be more than the divergence.

    Examples
    --------
    >>> import vbfast
    >>> print(vbfast.kl_divergence([0.5, 0.5], [0.25, 0.75]).round(6))
    0.143841
    >>> print(vbfast.kl_divergence([0.5, 0.5], p_logits=[7.0, 7.0]))
    0.0
    """
    if (q_probs is None) == (q_logits is None):
        raise ValueError("exactly one of q_probs and q_logits must be given")
    if (p_probs is None) == (p_logits is None):
        raise ValueError("exactly one of p_probs and p_logits must be given")
    q_kind: Kind = "logits" if q_probs is None else "probs"
    p_kind: Kind = "logits" if p_probs is None else "probs"
    given_q = q_logits if q_probs is None else q_probs
    given_p = p_logits if p_probs is None else p_probs
    reduction = _vbfast.REDUCTIONS[f"{q_kind}_{p_kind}"]
    names = ("q_probs" if q_kind == "probs" else "", "p_probs" if p_kind == "probs" else "")
    if on_device.any_on_device(given_q, given_p, out):
        kinds = f"q_{q_kind}", f"p_{p_kind}"
        return on_device.reduce_array(
            reduction, kinds[0], given_q, kinds[1], given_p, axis, keepdims, _KL, names, out
        )
    q = as_real(given_q, f"q_{q_kind}")  # type: ignore[arg-type]
    p = as_real(given_p, f"p_{p_kind}")  # type: ignore[arg-type]
    tolerances = (sum_tolerance(q.dtype), sum_tolerance(p.dtype))
    q, p = same_kind(q, p)
    if out is not None:
        _vbfast.check_out(out, _reduced_shape(q, axis, keepdims), q.dtype, "out")
        q, p = apart(q, out), apart(p, out)
    functions, num_threads = executor()
    return functions.reduce_array(
        reduction, q, p, axis, keepdims, _KL, names, tolerances, out, num_threads
    )
