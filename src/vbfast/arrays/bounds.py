"""The evidence lower bound of arrays, and its gradients.

Public through :mod:`vbfast.arrays.functions`, whose rules on types, strides and NaN hold here.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from vbfast import _vbfast
from vbfast.arrays import on_device
from vbfast.arrays.arguments import (
    Array,
    as_real,
    check_shape_of_log_joint,
    executor,
    same_precision,
)
from vbfast.inputs.distributions import sum_tolerance
from vbfast.results import ElboTerms

__all__ = ["ElboGradient", "elbo", "elbo_and_grad"]


@dataclass(frozen=True)
class ElboGradient:
    r"""Gradients of the summed bound, as :func:`elbo_and_grad` returns them.

    Attributes
    ----------
    q_logits : ndarray of the shape of the log-joint
        :math:`\partial L / \partial \eta_{nk} = w_n q_{nk} (\ell_{nk} - \log q_{nk} - L_n)` with
        :math:`q = \mathrm{softmax}(\eta)`, also where q was given as probabilities.
    log_joint : ndarray of the shape of the log-joint
        :math:`\partial L / \partial \ell_{nk} = w_n q_{nk}`.
    """

    q_logits: Array
    log_joint: Array

    def __init__(self, q_logits: Array, log_joint: Array) -> None:
        fields = self.__dict__  # as ElboTerms
        fields["q_logits"] = q_logits
        fields["log_joint"] = log_joint


def _prepared(
    log_joint: npt.ArrayLike, q: npt.ArrayLike | None, name: str
) -> tuple[Array, Array | None, float | None]:
    """Return the log-joint and q as arrays of one type and shape, and the tolerance of q's sums."""
    joint = as_real(log_joint, "log_joint")
    if joint.ndim == 0 or joint.shape[-1] == 0:
        raise ValueError(
            "log_joint must have shape (..., n_components) with at least one component; got "
            f"shape {joint.shape}"
        )
    if q is None:
        return joint, None, None
    given = as_real(q, name)
    check_shape_of_log_joint(name, given.shape, joint.shape)
    return *same_precision(joint, given), sum_tolerance(given.dtype)


def _operands(
    log_joint: npt.ArrayLike, q: npt.ArrayLike | None, q_logits: npt.ArrayLike | None
) -> tuple[Array, Array | None, bool, float | None]:
    """Return the log-joint, q of either kind, whether that is logits, and its sums' tolerance."""
    if q is not None and q_logits is not None:
        raise ValueError("at most one of q and q_logits may be given")
    is_logits = q is None
    given = q_logits if is_logits else q
    ready = _vbfast.ready_operands(log_joint, given)
    if ready is not None:
        return *ready, is_logits, None
    joint, array, tolerance = _prepared(log_joint, given, "q_logits" if is_logits else "q")
    return joint, array, is_logits, tolerance


def _weights(sample_weight: npt.ArrayLike, joint: Array) -> tuple[Array, bool]:
    """Return weights, and whether float32 has numbers of their size."""
    weights = as_real(sample_weight, "sample_weight").astype(np.float64, copy=False)
    return weights, _vbfast.check_weights(weights, joint)


def elbo(
    log_joint: npt.ArrayLike,
    *,
    q: npt.ArrayLike | None = None,
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
        that does not sum to one within 1e-6, or 1e-3 where q is given as float32, logits with +inf
        or all -inf; the message names the row. Rows nearer to one are renormalised.

    Examples
    --------
    >>> import numpy as np
    >>> import vbfast
    >>> terms = vbfast.elbo(np.log([[0.1, 0.3], [0.2, 0.2]]), q=[[0.5, 0.5], [0.5, 0.5]])
    >>> bool(np.isclose(terms.log_evidence, terms.elbo + terms.kl))
    True
    """
    if on_device.any_on_device(log_joint, q, q_logits, sample_weight):
        terms, _ = on_device.bound(log_joint, q, q_logits, sample_weight, per_sample, False)
        return ElboTerms(*terms)
    joint, given, is_logits, tolerance = _operands(log_joint, q, q_logits)
    weights = None if sample_weight is None else _weights(sample_weight, joint)[0]
    functions, num_threads = executor()
    return ElboTerms(
        *functions.bound_terms(joint, given, is_logits, tolerance, weights, per_sample, num_threads)
    )


def elbo_and_grad(
    log_joint: npt.ArrayLike,
    *,
    q: npt.ArrayLike | None = None,
    q_logits: npt.ArrayLike | None = None,
    sample_weight: npt.ArrayLike | None = None,
    per_sample: bool = False,
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
    q : array_like of the same shape, optional
        Probabilities. The first gradient is in their logits all the same, at
        :math:`\eta = \log q`: steps in these leave q a distribution.
    q_logits : array_like of the same shape, optional
        :math:`\eta` instead; by default that of the posterior, :math:`\eta = \ell`, where the
        first gradient is zero.
    sample_weight : array_like of shape (...), optional
        Weights of the rows; a row of weight zero has gradient zero, whatever it holds.
    per_sample : bool, default=False
        Return the terms as arrays of one (weighted) number a row, as :func:`elbo`. The gradients
        are the same, of the sum: each entry is that of its own row's bound.
    out : tuple of two ndarrays, optional
        Where to write the gradients, in `q_logits` and in `log_joint`: of the shape of `log_joint`
        and the common type of the inputs. They must not overlap each other. An input that
        overlaps one is copied first.

    Returns
    -------
    ElboTerms
        The bound and its terms, summed or of each row.
    ElboGradient
        The gradients, of the type of the input; zero in a row of nothing but -inf. Else, where
        the bound of a row is not finite, NaN in the whole row of `q_logits`, and in `log_joint`
        still :math:`w_n q_{nk}`, as the bound is linear in it: NaN where q is, which at the
        posterior is where the log-joint has +inf or NaN.

    Raises
    ------
    TypeError
        If `out` is no pair of arrays.
    ValueError
        If both of `q` and `q_logits` are given or one is no distribution, as for :func:`elbo`, or
        `out` does not fit.

    Examples
    --------
    >>> import numpy as np
    >>> import vbfast
    >>> terms, gradient = vbfast.elbo_and_grad(np.log([[0.1, 0.3]]), q=[[0.5, 0.5]])
    >>> print(gradient.log_joint, gradient.q_logits.round(6))
    [[0.5 0.5]] [[-0.274653  0.274653]]
    """
    if on_device.any_on_device(log_joint, q, q_logits, sample_weight):
        there = on_device.bound(log_joint, q, q_logits, sample_weight, per_sample, True, out)
        return ElboTerms(*there[0]), ElboGradient(*there[1])
    joint, given, is_logits, tolerance = _operands(log_joint, q, q_logits)
    weights, within_single = None, True
    if sample_weight is not None:
        weights, within_single = _weights(sample_weight, joint)
    if out is not None:
        out = _two_outputs(out)
        joint, given, weights = _vbfast.apart_from_gradients(joint, given, weights, *out)
    functions, num_threads = executor()
    if joint.dtype == np.float32 and not within_single:
        return _by_way_of_double(
            functions, joint, given, is_logits, tolerance, weights, per_sample, out, num_threads
        )
    terms, gradients = functions.bound_and_gradients(
        joint, given, is_logits, tolerance, weights, per_sample, out, num_threads
    )
    return ElboTerms(*terms), ElboGradient(*gradients)


def _by_way_of_double(
    functions: Any,
    joint: Array,
    given: Array | None,
    is_logits: bool,
    tolerance: float | None,
    weights: Array | None,
    per_sample: bool,
    out: tuple[Array, Array] | None,
    num_threads: int,
) -> tuple[ElboTerms, ElboGradient]:
    """Return the bound and gradients of float32 arrays whose weights are beyond that type.

    The gradients, products of weights and what float32 has, may be within it all the same.
    """
    if tolerance is None:
        tolerance = sum_tolerance(joint.dtype)
    wide = None if given is None else given.astype(np.float64)
    terms, gradients = functions.bound_and_gradients(
        joint.astype(np.float64), wide, is_logits, tolerance, weights, per_sample, None, num_threads
    )
    if out is None:
        out = np.empty(joint.shape, joint.dtype), np.empty(joint.shape, joint.dtype)
    with np.errstate(over="ignore", under="ignore"):
        for narrow, gradient in zip(out, gradients, strict=True):
            narrow[...] = gradient
    return ElboTerms(*terms), ElboGradient(*out)


def _two_outputs(out: tuple[Array, Array]) -> tuple[Array, Array]:
    try:
        in_logits, in_joint = out
    except (TypeError, ValueError):
        raise TypeError(
            "out must be a tuple of two arrays, of the gradients in q_logits and in log_joint; "
            f"got {out!r}"
        ) from None
    return in_logits, in_joint
