"""The functions of :mod:`vbfast.numba_api` as Python knows them: signatures and documentation.

Outside compiled code (and with ``NUMBA_DISABLE_JIT``) they call the array functions of the package,
and raise what those raise.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from vbfast import results
from vbfast.arrays import functions as array_functions
from vbfast.config.settings import config_context

Array = npt.NDArray[Any]


class ElboTerms(NamedTuple):
    """The bound and its terms, in nats, as compiled code has them.

    ``elbo == expected_log_joint + entropy`` and ``log_evidence == elbo + kl``, to rounding.

    See Also
    --------
    vbfast.ElboTerms : Their meaning.
    """

    elbo: float
    expected_log_joint: float
    entropy: float
    log_evidence: float
    kl: float


def _as_tuple(terms: results.ElboTerms) -> ElboTerms:
    return ElboTerms(*(float(getattr(terms, name)) for name in ElboTerms._fields))


def _threads(num_threads: int) -> Any:
    return config_context(num_threads=num_threads or None)


# ------------------------------------------------------------------------------- of one slice


def logsumexp(a: Array) -> Any:
    """Logarithm of the sum of exponentials of a 1-d array, as :func:`vbfast.logsumexp`.

    Parameters
    ----------
    a : array of shape (n,), float64 or float32, of any stride

    Returns
    -------
    float64 or float32
        -inf for an empty array.
    """
    return array_functions.logsumexp(a)


def softmax(a: Array, out: Array) -> None:
    """Write the softmax of a 1-d array, as :func:`vbfast.softmax`.

    Parameters
    ----------
    a : array of shape (n,), float64 or float32, of any stride
    out : array of shape (n,), of the same type
        May be `a` itself; otherwise, where it overlaps `a`, that is copied first.

    Raises
    ------
    ValueError
        If `out` has another shape.
    """
    array_functions.softmax(a, out=out)


def log_softmax(a: Array, out: Array) -> None:
    """Write the logarithm of the softmax of a 1-d array, as :func:`vbfast.log_softmax`.

    Parameters
    ----------
    a : array of shape (n,), float64 or float32, of any stride
    out : array of shape (n,), of the same type
        May be `a` itself; otherwise, where it overlaps `a`, that is copied first.

    Raises
    ------
    ValueError
        If `out` has another shape.
    """
    array_functions.log_softmax(a, out=out)


def entropy(probs: Array | None = None, logits: Array | None = None) -> Any:
    """Entropy of a distribution, in nats, as :func:`vbfast.entropy`.

    Parameters
    ----------
    probs, logits : array of shape (n,), float64 or float32, of any stride
        Exactly one of them: probabilities, or their unnormalised logarithms.

    Returns
    -------
    float64 or float32
        NaN if `probs` is no distribution.
    """
    return array_functions.entropy(probs, logits)


def kl_divergence(
    q_probs: Array | None = None,
    p_probs: Array | None = None,
    q_logits: Array | None = None,
    p_logits: Array | None = None,
) -> Any:
    """Kullback-Leibler divergence of q from p, in nats, as :func:`vbfast.kl_divergence`.

    Parameters
    ----------
    q_probs, p_probs, q_logits, p_logits : array of shape (n,), float64 or float32, of any stride
        Of each of q and p exactly one: probabilities, or their unnormalised logarithms.

    Returns
    -------
    float64 or float32
        NaN if probabilities are no distribution.

    Raises
    ------
    ValueError
        If the shapes differ.
    """
    return array_functions.kl_divergence(q_probs, p_probs, q_logits=q_logits, p_logits=p_logits)


def elbo(log_joint: Array, q: Array | None = None, q_logits: Array | None = None) -> ElboTerms:
    """Evidence lower bound of q and its terms, in nats, as :func:`vbfast.elbo`.

    Parameters
    ----------
    log_joint : array of shape (n,), float64 or float32, of any stride
    q, q_logits : array of shape (n,), of the same type, optional
        At most one of them; by default q is the posterior.

    Returns
    -------
    ElboTerms
        A named tuple of float64; NaN throughout if q is no distribution.

    Raises
    ------
    ValueError
        If the shapes differ.
    """
    return _as_tuple(array_functions.elbo(log_joint, q=q, q_logits=q_logits))


def elbo_and_grad(log_joint: Array, q_logits: Array | None, out: tuple[Array, Array]) -> ElboTerms:
    """Evidence lower bound and its gradients, as :func:`vbfast.elbo_and_grad`.

    Parameters
    ----------
    log_joint : array of shape (n,), float64 or float32, of any stride
    q_logits : array of shape (n,), of the same type, or None
        None is the posterior.
    out : tuple of two arrays of shape (n,), of the same type
        Where to write the gradients, in `q_logits` and in `log_joint`. They must not overlap each
        other; an input that overlaps one is copied first.

    Returns
    -------
    ElboTerms
        NaN throughout if q is no distribution; the gradients are unspecified then.

    Raises
    ------
    ValueError
        If the shapes differ.
    """
    return _as_tuple(array_functions.elbo_and_grad(log_joint, q_logits=q_logits, out=out)[0])


# -------------------------------------------------------------------------- of the rows of a matrix


def logsumexp_rows(a: Array, num_threads: int = 1) -> Array:
    """:func:`logsumexp` of each row.

    Parameters
    ----------
    a : array of shape (n_rows, n), float64 or float32, of any strides
    num_threads : int, default=1
        1 keeps to the calling thread, 0 takes the number of vbfast's pool. Within another parallel
        region of vbfast, or while another thread has the pool, the call is serial.

    Returns
    -------
    array of shape (n_rows,), of the type of `a`
    """
    with _threads(num_threads):
        return np.asarray(array_functions.logsumexp(a, axis=1))


def softmax_rows(a: Array, out: Array, num_threads: int = 1) -> None:
    """:func:`softmax` of each row.

    Parameters
    ----------
    a, out : array of shape (n_rows, n), float64 or float32, of any strides
        `out` may be `a` itself; otherwise, where it overlaps `a`, that is copied first.
    num_threads : int, default=1
        As for :func:`logsumexp_rows`.

    Raises
    ------
    ValueError
        If `out` has another shape.
    """
    with _threads(num_threads):
        array_functions.softmax(a, axis=1, out=out)


def log_softmax_rows(a: Array, out: Array, num_threads: int = 1) -> None:
    """:func:`log_softmax` of each row.

    Parameters
    ----------
    a, out : array of shape (n_rows, n), float64 or float32, of any strides
        `out` may be `a` itself; otherwise, where it overlaps `a`, that is copied first.
    num_threads : int, default=1
        As for :func:`logsumexp_rows`.

    Raises
    ------
    ValueError
        If `out` has another shape.
    """
    with _threads(num_threads):
        array_functions.log_softmax(a, axis=1, out=out)


def entropy_rows(
    probs: Array | None = None, logits: Array | None = None, num_threads: int = 1
) -> Array:
    """:func:`entropy` of each row.

    Parameters
    ----------
    probs, logits : array of shape (n_rows, n), float64 or float32, of any strides
        Exactly one of them.
    num_threads : int, default=1
        As for :func:`logsumexp_rows`.

    Returns
    -------
    array of shape (n_rows,), of the type of the input

    Raises
    ------
    ValueError
        If a row of `probs` is no distribution; the second argument of the error is the first such.
    """
    with _threads(num_threads):
        return np.asarray(array_functions.entropy(probs, logits))


def kl_divergence_rows(
    q_probs: Array | None = None,
    p_probs: Array | None = None,
    q_logits: Array | None = None,
    p_logits: Array | None = None,
    num_threads: int = 1,
) -> Array:
    """:func:`kl_divergence` of each row.

    Parameters
    ----------
    q_probs, p_probs, q_logits, p_logits : array of shape (n_rows, n), float64 or float32
        Of each of q and p exactly one.
    num_threads : int, default=1
        As for :func:`logsumexp_rows`.

    Returns
    -------
    array of shape (n_rows,), of the type of the input

    Raises
    ------
    ValueError
        If the shapes differ or a row is no distribution, as for :func:`entropy_rows`.
    """
    with _threads(num_threads):
        return np.asarray(
            array_functions.kl_divergence(q_probs, p_probs, q_logits=q_logits, p_logits=p_logits)
        )


def elbo_rows(
    log_joint: Array,
    q: Array | None = None,
    q_logits: Array | None = None,
    sample_weight: Array | None = None,
    num_threads: int = 1,
) -> ElboTerms:
    """Bound of all rows: the weighted sum of :func:`elbo`.

    Parameters
    ----------
    log_joint : array of shape (n_rows, n), float64 or float32, of any strides
    q, q_logits : array of shape (n_rows, n), of the same type, optional
        At most one of them; by default q is the posterior.
    sample_weight : contiguous array of shape (n_rows,), float64, optional
        Finite and not negative.
    num_threads : int, default=1
        As for :func:`logsumexp_rows`.

    Returns
    -------
    ElboTerms

    Raises
    ------
    ValueError
        If the shapes differ, a weight is negative or not finite, or a row of q is no distribution,
        as for :func:`entropy_rows`.
    """
    with _threads(num_threads):
        return _as_tuple(
            array_functions.elbo(log_joint, q=q, q_logits=q_logits, sample_weight=sample_weight)
        )


def elbo_and_grad_rows(
    log_joint: Array,
    q_logits: Array | None,
    out: tuple[Array, Array],
    sample_weight: Array | None = None,
    num_threads: int = 1,
) -> ElboTerms:
    """Bound of all rows and its gradients, as :func:`elbo_and_grad` has them of one.

    Parameters
    ----------
    log_joint : array of shape (n_rows, n), float64 or float32, of any strides
    q_logits : array of shape (n_rows, n), of the same type, or None
        None is the posterior.
    out : tuple of two arrays of shape (n_rows, n), of the same type
        Where to write the gradients, in `q_logits` and in `log_joint`. They must not overlap each
        other; an input that overlaps one is copied first.
    sample_weight : contiguous array of shape (n_rows,), float64, optional
        Finite and not negative.
    num_threads : int, default=1
        As for :func:`logsumexp_rows`.

    Returns
    -------
    ElboTerms

    Raises
    ------
    ValueError
        If the shapes differ, a weight is negative or not finite, or a row of q is no distribution,
        as for :func:`entropy_rows`.
    """
    with _threads(num_threads):
        terms, _ = array_functions.elbo_and_grad(
            log_joint, q_logits=q_logits, sample_weight=sample_weight, out=out
        )
        return _as_tuple(terms)
