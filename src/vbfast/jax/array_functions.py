"""Evidence and lower bound of log-joints as functions that JAX differentiates and maps.

Gradients are functions with rules of their own, so that they may be differentiated again.
"""

from __future__ import annotations

import functools
from typing import Any

import jax
import numpy as np

from vbfast.arrays import functions
from vbfast.jax.host import on_host

__all__ = ["bound", "evidence"]


@functools.partial(jax.custom_jvp, nondiff_argnums=(0,))
def evidence(n_axes: int, log_joint: Any) -> Any:
    """Sum exponentials over the last ``n_axes`` axes, which are kept with length one."""

    def call(joint: Any) -> Any:
        return (functions.logsumexp(joint, axis=tuple(range(-n_axes, 0)), keepdims=True),)

    shape = log_joint.shape[: log_joint.ndim - n_axes] + (1,) * n_axes
    return on_host(call, (shape,), log_joint)[0]


@evidence.defjvp  # type: ignore[untyped-decorator]
def _evidence_jvp(n_axes: int, primals: Any, tangents: Any) -> Any:
    resp = _posterior(n_axes, *primals)
    return evidence(n_axes, *primals), _total(n_axes, resp * tangents[0])


@functools.partial(jax.custom_jvp, nondiff_argnums=(0,))
def _posterior(n_axes: int, log_joint: Any) -> Any:
    def call(joint: Any) -> Any:
        return (functions.posterior(joint, tuple(range(-n_axes, 0))),)

    return on_host(call, (log_joint.shape,), log_joint)[0]


@_posterior.defjvp  # type: ignore[untyped-decorator]
def _posterior_jvp(n_axes: int, primals: Any, tangents: Any) -> Any:
    resp = _posterior(n_axes, *primals)
    return resp, resp * (tangents[0] - _total(n_axes, resp * tangents[0]))


def _total(n_axes: int, array: Any) -> Any:
    return array.sum(axis=tuple(range(-n_axes, 0)), keepdims=True)


@jax.custom_jvp  # type: ignore[untyped-decorator]
def bound(log_joint: Any, q_logits: Any) -> Any:
    """Return the lower bound of each row, over the last axis."""

    def call(*arrays: Any) -> Any:
        joint, logits = np.broadcast_arrays(*arrays)
        return (functions.elbo(joint, q_logits=logits, per_sample=True).elbo,)

    return on_host(call, (log_joint.shape[:-1],), log_joint, q_logits)[0]


@bound.defjvp  # type: ignore[untyped-decorator]
def _bound_jvp(primals: Any, tangents: Any) -> Any:
    value, q, s = _bound_and_gradients(*primals)
    return value, (q * tangents[0] + s * tangents[1]).sum(axis=-1)


@jax.custom_jvp  # type: ignore[untyped-decorator]
def _bound_and_gradients(log_joint: Any, q_logits: Any) -> Any:
    """Return the bound and its gradients in the log-joint, q, and in the logits, s."""

    def call(*arrays: Any) -> Any:
        joint, logits = np.broadcast_arrays(*arrays)
        terms = functions.elbo(joint, q_logits=logits, per_sample=True)
        _, gradient = functions.elbo_and_grad(joint, q_logits=logits)
        return terms.elbo, gradient.log_joint, gradient.q_logits

    shapes = (log_joint.shape[:-1], log_joint.shape, log_joint.shape)
    return on_host(call, shapes, log_joint, q_logits)


@_bound_and_gradients.defjvp  # type: ignore[untyped-decorator]
def _bound_and_gradients_jvp(primals: Any, tangents: Any) -> Any:
    """Differentiate ``s_k = q_k (l_k - log q_k - L)``, with u the change of log q."""
    value, q, s = _bound_and_gradients(*primals)
    in_joint, in_logits = tangents
    u = in_logits - (q * in_logits).sum(axis=-1, keepdims=True)
    change = (q * in_joint + s * in_logits).sum(axis=-1, keepdims=True)
    return (value, q, s), (change[..., 0], q * u, s * u + q * (in_joint - u - change))
