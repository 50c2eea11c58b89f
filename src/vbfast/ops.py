"""Array functions: log-sum-exp, softmax, entropy, KL divergence, the bound and its gradients.

All take float32 or float64 arrays of any shape and strides, without copying them; other real types
become float64. Everything is in nats. NaN propagates. Sums do not depend on the number of threads.
The kernels are those of the backend in force, see :func:`vbfast.config_context`.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
import numpy.typing as npt

from vbfast import _vbfast
from vbfast.backends import DEFAULT_BACKEND, get_array_functions
from vbfast.engine.config import current_backend, current_num_threads
from vbfast.results import ElboTerms

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

Axis = int | tuple[int, ...] | None
Array = npt.NDArray[Any]
Kind = Literal["logits", "probs"]

_FAST = (np.dtype(np.float64), np.dtype(np.float32))
_LOG_EVIDENCE, _SIGN = _vbfast.RESULTS["log_evidence"], _vbfast.RESULTS["sign"]


@dataclass(frozen=True)
class ElboGradient:
    r"""Gradients of the summed bound, as :func:`elbo_and_grad` returns them.

    Attributes
    ----------
    q_logits : ndarray of the shape of the log-joint
        :math:`\partial L / \partial \eta_{nk} = w_n q_{nk} (\ell_{nk} - \log q_{nk} - L_n)` with
        :math:`q = \mathrm{softmax}(\eta)`.
    log_joint : ndarray of the shape of the log-joint
        :math:`\partial L / \partial \ell_{nk} = w_n q_{nk}`.
    """

    q_logits: Array
    log_joint: Array


def _executor() -> Any:
    """Return what executes reductions and maps, by the backend in force."""
    name = current_backend()
    return _vbfast if name == DEFAULT_BACKEND else get_array_functions(name)


def _real(a: npt.ArrayLike, name: str) -> Array:
    """Return a float32 or float64 array, without a copy of one."""
    array = np.asarray(a)
    if array.dtype in _FAST:
        return array
    if array.dtype.kind == "c":
        raise TypeError(f"{name} must be real; got dtype {array.dtype}")
    try:
        return array.astype(np.float32 if array.dtype == np.float16 else np.float64)
    except (TypeError, ValueError) as error:
        raise TypeError(f"{name} must be numeric; got dtype {array.dtype}") from error


def _same_kind(a: Array, b: Array) -> tuple[Array, Array]:
    """Give two arrays one precision and one shape."""
    if a.dtype != b.dtype:
        a, b = a.astype(np.float64, copy=False), b.astype(np.float64, copy=False)
    if a.shape != b.shape:
        a, b = np.broadcast_arrays(a, b)
    return a, b


def _is_unusual(array: Array) -> bool:
    """Tell the types that SciPy computes in themselves, and the kernels do not have."""
    return array.dtype.kind == "c" or array.dtype.char in "eg"


def _check_out(out: Any, shape: tuple[int, ...], dtype: np.dtype[Any], name: str = "out") -> None:
    if not isinstance(out, np.ndarray):
        raise TypeError(f"{name} must be a NumPy array; got {type(out).__name__}")
    if out.shape != shape or out.dtype != dtype:
        raise ValueError(
            f"{name} must have shape {shape} and dtype {dtype}; got shape {out.shape} and "
            f"dtype {out.dtype}"
        )
    if not out.flags.writeable or not out.flags.aligned:
        raise ValueError(f"{name} must be writeable and aligned")


def _apart(array: Array, *outputs: Array) -> Array:
    """Return the array, or a copy if an output overlaps it without being it."""
    for out in outputs:
        if not np.may_share_memory(array, out):
            continue
        same = (
            out.__array_interface__["data"] == array.__array_interface__["data"]
            and out.strides == array.strides
        )
        if not same:
            return array.copy()
    return array


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

    Examples
    --------
    >>> import numpy as np
    >>> import vbfast
    >>> print(vbfast.logsumexp(np.log([1.0, 2.0, 3.0])).round(12) == np.log(6.0).round(12))
    True
    >>> print(vbfast.logsumexp([1000.0, 1000.0]).round(6))
    1000.693147
    """
    array = np.asarray(a)
    if _is_unusual(array) or (b is not None and _is_unusual(np.asarray(b))):
        from scipy.special import logsumexp as of_scipy

        return of_scipy(a, axis=axis, b=b, keepdims=keepdims, return_sign=return_sign)
    array = _real(array, "a")
    reduction, factors = _vbfast.REDUCTIONS["sum_exp"], None
    if b is not None:
        array, factors = _same_kind(array, _real(b, "b"))
        reduction = _vbfast.REDUCTIONS["scaled_sum_exp"]
    which = (_LOG_EVIDENCE, _SIGN) if return_sign else (_LOG_EVIDENCE,)
    return _executor().reduce_array(
        reduction, array, factors, axis, keepdims, which, (), None, current_num_threads()
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
    return _map("softmax", a, axis, out)


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
    return _map("log_softmax", a, axis, out)


def _map(name: str, a: npt.ArrayLike, axis: Axis, out: Array | None) -> Any:
    array = np.asarray(a)
    if _is_unusual(array):
        import scipy.special

        result = getattr(scipy.special, name)(array, axis=axis)
        if out is None:
            return result
        _check_out(out, result.shape, result.dtype)
        out[...] = result
        return out
    array = _real(array, "a")
    if out is None:
        # Not empty_like: broadcast input would give it overlapping strides on some versions.
        target = np.empty(array.shape, array.dtype, order="F" if array.flags.fnc else "C")
    else:
        _check_out(out, array.shape, array.dtype)
        target = out
        array = _apart(array, target)
    _executor().map_array(_vbfast.MAPPINGS[name], array, axis, target, current_num_threads())
    return target if out is not None or target.ndim else target[()]


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
        If probabilities are negative or sum to something else than one, by more than 1e-8
        (float64) or 1e-3 (float32); nearer ones are renormalised.

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
    array = _real(logits if probs is None else probs, kind)  # type: ignore[arg-type]
    names = ("probs",) if kind == "probs" else ()
    if out is not None:
        _check_out(out, _reduced_shape(array, axis, keepdims), array.dtype)
        array = _apart(array, out)
    return _executor().reduce_array(
        _vbfast.REDUCTIONS[f"{kind}_entropy"], array, None, axis, keepdims,
        (_vbfast.RESULTS["entropy"],), names, out, current_num_threads(),
    )  # fmt: skip


def _reduced_shape(array: Array, axis: Axis, keepdims: bool) -> tuple[int, ...]:
    shape = array.shape
    n = max(1, len(shape))
    axes = range(n) if axis is None else axis if isinstance(axis, tuple) else (axis,)
    reduced = {a % n for a in axes}
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
        Never negative; +inf where q has mass and p has none.

    Raises
    ------
    ValueError
        If probabilities are no distribution, as for :func:`entropy`.

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
    q = _real(q_logits if q_probs is None else q_probs, f"q_{q_kind}")  # type: ignore[arg-type]
    p = _real(p_logits if p_probs is None else p_probs, f"p_{p_kind}")  # type: ignore[arg-type]
    q, p = _same_kind(q, p)
    names = tuple(
        f"{name}_probs" if kind == "probs" else "" for name, kind in (("q", q_kind), ("p", p_kind))
    )
    if out is not None:
        _check_out(out, _reduced_shape(q, axis, keepdims), q.dtype)
        q, p = _apart(q, out), _apart(p, out)
    return _executor().reduce_array(
        _vbfast.REDUCTIONS[f"{q_kind}_{p_kind}"], q, p, axis, keepdims, (_vbfast.RESULTS["kl"],),
        names, out, current_num_threads(),
    )  # fmt: skip


def _joint(log_joint: npt.ArrayLike) -> Array:
    array = _real(log_joint, "log_joint")
    if array.ndim == 0 or array.shape[-1] == 0:
        raise ValueError(
            "log_joint must have shape (..., n_components) with at least one component; got "
            f"shape {array.shape}"
        )
    return array


def _weights(sample_weight: npt.ArrayLike | None, shape: tuple[int, ...]) -> Array | None:
    if sample_weight is None:
        return None
    weights = np.asarray(sample_weight, dtype=np.float64)
    if weights.shape != shape:
        raise ValueError(f"sample_weight must have shape {shape}; got {weights.shape}")
    if not (np.isfinite(weights).all() and (weights >= 0).all()):
        raise ValueError("sample_weight must be finite and not negative")
    return weights


def _terms(values: tuple[Any, ...]) -> ElboTerms:
    log_evidence, entropy_, expected, kl, bound = values
    return ElboTerms(
        elbo=bound, expected_log_joint=expected, entropy=entropy_, log_evidence=log_evidence, kl=kl
    )


def _paired(joint: Array, q: npt.ArrayLike, name: str) -> tuple[Array, Array]:
    array = _real(q, name)
    if array.shape != joint.shape:
        raise ValueError(
            f"{name} must have the shape of log_joint, {joint.shape}; got {array.shape}"
        )
    return _same_kind(array, joint)


def elbo(
    log_joint: npt.ArrayLike,
    q: npt.ArrayLike | None = None,
    *,
    q_logits: npt.ArrayLike | None = None,
    sample_weight: npt.ArrayLike | None = None,
    per_sample: bool = False,
) -> ElboTerms:
    r"""Evidence lower bound of q and its terms, in nats.

    .. math::

        \mathcal L(q) = \sum_n w_n \Big(\sum_k q_{nk} \ell_{nk} - \sum_k q_{nk} \log q_{nk}\Big)
                      = \sum_n w_n \Big(\log \sum_k e^{\ell_{nk}}
                        - \mathrm{KL}(q_n \,\|\, \mathrm{softmax}(\ell_n))\Big)

    (Blei, Kucukelbir and McAuliffe 2017, eq. 13-14). The divergence is summed directly.

    Parameters
    ----------
    log_joint : array_like of shape (..., n_components)
        :math:`\ell_{nk} = \log p(x_n, z_n = k)`; its last axis is summed over.
    q : array_like of the same shape, optional
        Probabilities. By default q is the posterior, softmax of the log-joint, and ``kl`` is zero.
    q_logits : array_like of the same shape, optional
        Unnormalised logarithms of q instead.
    sample_weight : array_like of shape (...), optional
        Weights of the rows; a row of weight zero is skipped, whatever it holds.
    per_sample : bool, default=False
        Return arrays of one (weighted) number a row, as float64, instead of their sums.

    Returns
    -------
    ElboTerms
        Where q has mass on a log-joint of -inf, ``elbo`` is -inf and ``kl`` +inf. A row of
        nothing but -inf has ``log_evidence`` and ``elbo`` -inf, ``entropy`` and ``kl`` zero. A row
        with +inf has ``log_evidence`` +inf and NaN in the terms that it leaves undefined.

    Raises
    ------
    ValueError
        If both of `q` and `q_logits` are given; if q is no distribution: a negative entry, a row
        that does not sum to one within 1e-8 (float64) or 1e-3 (float32), logits with +inf or all
        -inf; the message names the row.

    Examples
    --------
    >>> import numpy as np
    >>> import vbfast
    >>> terms = vbfast.elbo(np.log([[0.1, 0.3], [0.2, 0.2]]), q=[[0.5, 0.5], [0.5, 0.5]])
    >>> bool(np.isclose(terms.log_evidence, terms.elbo + terms.kl))
    True
    """
    if q is not None and q_logits is not None:
        raise ValueError("at most one of q and q_logits may be given")
    joint = _joint(log_joint)
    weights = _weights(sample_weight, joint.shape[:-1])
    if q is None and q_logits is None:
        return _terms(
            _executor().bound_terms(
                _vbfast.REDUCTIONS["logits_entropy"], joint, None, weights, per_sample, (), None,
                current_num_threads(),
            )
        )  # fmt: skip
    kind, name = ("probs", "q") if q_logits is None else ("logits", "q_logits")
    given, joint = _paired(joint, q if q_logits is None else q_logits, name)  # type: ignore[arg-type]
    return _terms(
        _executor().bound_terms(
            _vbfast.REDUCTIONS[f"{kind}_logits"], given, joint, weights, per_sample, (name, ""),
            None, current_num_threads(),
        )
    )  # fmt: skip


def elbo_and_grad(
    log_joint: npt.ArrayLike,
    q_logits: npt.ArrayLike | None = None,
    *,
    sample_weight: npt.ArrayLike | None = None,
    out: tuple[Array, Array] | None = None,
) -> tuple[ElboTerms, ElboGradient]:
    r"""Evidence lower bound and its gradients in the logits of q and in the log-joint.

    With :math:`q = \mathrm{softmax}(\eta)` and the bound :math:`L = \sum_n w_n L_n` of
    :func:`elbo`,

    .. math::

        \partial L / \partial \eta_{nk} = w_n q_{nk} (\ell_{nk} - \log q_{nk} - L_n), \qquad
        \partial L / \partial \ell_{nk} = w_n q_{nk}.

    Parameters
    ----------
    log_joint : array_like of shape (..., n_components)
        :math:`\ell`; its last axis is summed over.
    q_logits : array_like of the same shape, optional
        :math:`\eta`; by default that of the posterior, :math:`\eta = \ell`, where the first
        gradient is zero.
    sample_weight : array_like of shape (...), optional
        Weights of the rows; a row of weight zero has gradient zero, whatever it holds.
    out : tuple of two ndarrays, optional
        Where to write the gradients, in `q_logits` and in `log_joint`.

    Returns
    -------
    ElboTerms
        The summed bound and its terms.
    ElboGradient
        The gradients, of the type of the input. Zero in a row of nothing but -inf, NaN in other
        rows whose bound is infinite.

    Raises
    ------
    ValueError
        If `q_logits` is no distribution, or `out` does not fit.

    Examples
    --------
    >>> import numpy as np
    >>> import vbfast
    >>> terms, gradient = vbfast.elbo_and_grad(np.log([[0.1, 0.3]]), [[0.0, 0.0]])
    >>> print(gradient.log_joint, gradient.q_logits.round(6))
    [[0.5 0.5]] [[-0.274653  0.274653]]
    """
    joint = _joint(log_joint)
    weights = _weights(sample_weight, joint.shape[:-1])
    given = None
    if q_logits is not None:
        given, joint = _paired(joint, q_logits, "q_logits")
    if out is None:
        gradients = (np.empty(joint.shape, joint.dtype), np.empty(joint.shape, joint.dtype))
    else:
        gradients = out
        for target, name in zip(gradients, ("out[0]", "out[1]"), strict=True):
            _check_out(target, joint.shape, joint.dtype, name)
        if np.may_share_memory(*gradients):
            raise ValueError("the two arrays of out must not overlap")
        joint = joint.copy() if any(np.may_share_memory(joint, g) for g in gradients) else joint
        if given is not None and any(np.may_share_memory(given, g) for g in gradients):
            given = given.copy()
    first, second, reduction = (
        (joint, None, "logits_entropy") if given is None else (given, joint, "logits_logits")
    )
    values = _executor().bound_terms(
        _vbfast.REDUCTIONS[reduction], first, second, weights, False, ("q_logits", ""), gradients,
        current_num_threads(),
    )  # fmt: skip
    return _terms(values), ElboGradient(q_logits=gradients[0], log_joint=gradients[1])
