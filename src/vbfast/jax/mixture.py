"""The density of mixtures as a function that JAX differentiates and maps.

The value and its first derivatives are passes over the rows (:class:`MixtureFunction`), further
derivatives those of the same function in array mathematics.
"""

from __future__ import annotations

import functools
import math
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp

from vbfast.contract import CovarianceType
from vbfast.jax.array_functions import evidence
from vbfast.jax.host import on_host
from vbfast.mixtures.function import MixtureFunction

__all__ = ["log_density"]


@functools.partial(jax.custom_vjp, nondiff_argnums=(0,))
def log_density(kind: CovarianceType, x: Any, *parameters: Any) -> Any:
    """Return the log density of rows; the first axes of all arguments are the batch's."""
    return _value(kind, False, x, *parameters)[0]


def _forward(kind: CovarianceType, x: Any, *parameters: Any) -> Any:
    values = tuple(parameter.value for parameter in parameters)
    log_evidence, *in_x = _value(kind, x.perturbed, x.value, *values)
    wrt_parameters = any(parameter.perturbed for parameter in parameters)
    return log_evidence, (in_x, (x.value, values) if wrt_parameters else None)


def _backward(kind: CovarianceType, residuals: Any, cotangent: Any) -> Any:
    in_x, arguments = residuals
    of_x = cotangent[..., jnp.newaxis] * in_x[0] if in_x else None
    if arguments is None:
        return of_x, None, None, None
    x, values = arguments
    return of_x, *_pull_back(kind, x, cotangent, *values)


log_density.defvjp(_forward, _backward, symbolic_zeros=True)


@functools.partial(jax.custom_jvp, nondiff_argnums=(0, 1))
def _value(kind: CovarianceType, wrt_x: bool, x: Any, *parameters: Any) -> Any:
    """Return the log evidence and, on request, its gradient in x."""

    def call(x: Any, *parameters: Any) -> Any:
        results = MixtureFunction.of(kind, *parameters).value(x, wrt_x=wrt_x)
        return tuple(array for array in results if array is not None)

    shapes = (x.shape[:-1], x.shape) if wrt_x else (x.shape[:-1],)
    return on_host(call, shapes, x, *parameters)


@_value.defjvp  # type: ignore[untyped-decorator]
def _value_jvp(kind: CovarianceType, wrt_x: bool, primals: Any, tangents: Any) -> Any:
    evaluate = functools.partial(_by_array_mathematics, kind)

    def again(x: Any, *parameters: Any) -> Any:
        if not wrt_x:
            return (evaluate(x, *parameters),)
        value, pull_back = jax.vjp(lambda x: evaluate(x, *parameters), x)
        return value, *pull_back(jnp.ones_like(value))

    return _value(kind, wrt_x, *primals), jax.jvp(again, primals, tangents)[1]


@functools.partial(jax.custom_jvp, nondiff_argnums=(0,))
def _pull_back(kind: CovarianceType, x: Any, cotangent: Any, *parameters: Any) -> Any:
    """Return the gradients in the parameters of the log evidence times a cotangent."""

    def call(x: Any, cotangent: Any, *parameters: Any) -> Any:
        return MixtureFunction.of(kind, *parameters).pull_back(x, cotangent)

    return on_host(call, tuple(array.shape for array in parameters), x, cotangent, *parameters)


@_pull_back.defjvp  # type: ignore[untyped-decorator]
def _pull_back_jvp(kind: CovarianceType, primals: Any, tangents: Any) -> Any:
    def again(x: Any, cotangent: Any, *parameters: Any) -> Any:
        evaluate: Callable[..., Any] = functools.partial(_by_array_mathematics, kind, x)
        return jax.vjp(evaluate, *parameters)[1](cotangent)

    return _pull_back(kind, *primals), jax.jvp(again, primals, tangents)[1]


def _by_array_mathematics(
    kind: CovarianceType, x: Any, weights_logits: Any, means: Any, precisions_cholesky: Any
) -> Any:
    """Return the log density as JAX's own function, with all log-joints in memory."""
    batch, D = weights_logits.shape[:-1], means.shape[-1]
    axes_of_rows = x.ndim - 1 - len(batch)

    def aligned(parameter: Any) -> Any:
        return parameter.reshape(*batch, *(1,) * axes_of_rows, *parameter.shape[len(batch) :])

    d, P = x[..., jnp.newaxis, :] - aligned(means), precisions_cholesky
    if kind in ("full", "tied"):
        log_det = jnp.log(jnp.diagonal(P, axis1=-2, axis2=-1)).sum(axis=-1)
        log_det = log_det if kind == "full" else log_det[..., jnp.newaxis]
        subscripts = "...kd,...kde->...ke" if kind == "full" else "...kd,...de->...ke"
        y = jnp.einsum(subscripts, d, aligned(jnp.triu(P)))
    elif kind == "diag":
        log_det, y = jnp.log(P).sum(axis=-1), d * aligned(P)
    else:
        log_det, y = D * jnp.log(P), d * aligned(P)[..., jnp.newaxis]
    offset = jax.nn.log_softmax(weights_logits) + log_det - 0.5 * D * math.log(2.0 * math.pi)
    log_joint = aligned(offset) - 0.5 * (y**2).sum(axis=-1)
    return evidence(1, log_joint)[..., 0]
