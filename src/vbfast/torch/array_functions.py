"""Evidence and lower bound of log-joints as functions that torch differentiates and maps.

A gradient is a function with rules of its own, so that it may be differentiated again.
"""

from __future__ import annotations

from typing import Any

import torch

from vbfast.arrays import functions
from vbfast.torch.tensors import as_array, mapped, one_forward_mode

__all__ = ["bound", "evidence"]


def evidence(log_joint: Any, dims: tuple[int, ...]) -> Any:
    """Sum exponentials over dimensions, which are kept with length one; float32 or float64."""
    return _LogSumExp.apply(log_joint, dims)


def bound(log_joint: Any, q_logits: Any) -> Any:
    """Return the lower bound of each row, over the last dimension; float32 or float64."""
    return _Elbo.apply(log_joint, q_logits)


# ------------------------------------------------------------------------------------- logsumexp


class _LogSumExp(torch.autograd.Function):  # type: ignore[misc]
    @staticmethod
    def forward(log_joint: Any, dims: tuple[int, ...]) -> Any:
        return torch.as_tensor(functions.logsumexp(as_array(log_joint), axis=dims, keepdims=True))

    @staticmethod
    def setup_context(ctx: Any, inputs: Any, output: Any) -> None:  # noqa: ARG004
        log_joint, ctx.dims = inputs
        ctx.save_for_backward(log_joint)
        ctx.save_for_forward(log_joint)

    @staticmethod
    def backward(ctx: Any, cotangent: Any) -> Any:
        return _Posterior.apply(*ctx.saved_tensors, cotangent, ctx.dims), None

    @staticmethod
    def jvp(ctx: Any, tangent: Any, _: None) -> Any:
        one_forward_mode()
        (log_joint,) = ctx.saved_tensors
        one = torch.ones((1,) * log_joint.dim(), dtype=log_joint.dtype)
        return (_Posterior.apply(log_joint, one, ctx.dims) * tangent).sum(ctx.dims, keepdim=True)

    @staticmethod
    def vmap(info: Any, in_dims: Any, log_joint: Any, dims: tuple[int, ...]) -> Any:
        (log_joint,) = mapped(info.batch_size, in_dims[:1], log_joint)
        return _LogSumExp.apply(log_joint, tuple(dim + 1 for dim in dims)), 0


class _Posterior(torch.autograd.Function):  # type: ignore[misc]
    """The posterior times the cotangent of its row, which has the reduced dimensions kept."""

    @staticmethod
    def forward(log_joint: Any, cotangent: Any, dims: tuple[int, ...]) -> Any:
        return torch.as_tensor(functions.posterior(as_array(log_joint), dims)).mul_(cotangent)

    @staticmethod
    def setup_context(ctx: Any, inputs: Any, output: Any) -> None:  # noqa: ARG004
        log_joint, cotangent, ctx.dims = inputs
        ctx.save_for_backward(log_joint, cotangent)
        ctx.save_for_forward(log_joint, cotangent)

    @staticmethod
    def _alone(ctx: Any) -> tuple[Any, Any]:
        log_joint, cotangent = ctx.saved_tensors
        one = torch.ones((1,) * log_joint.dim(), dtype=log_joint.dtype)
        return _Posterior.apply(log_joint, one, ctx.dims), cotangent

    @staticmethod
    def backward(ctx: Any, above: Any) -> Any:
        resp, cotangent = _Posterior._alone(ctx)
        weighted = resp * above
        mean = weighted.sum(ctx.dims, keepdim=True)
        return cotangent * (weighted - resp * mean), mean.sum_to_size(cotangent.shape), None

    @staticmethod
    def jvp(ctx: Any, in_joint: Any, in_cotangent: Any, _: None) -> Any:
        one_forward_mode()
        resp, cotangent = _Posterior._alone(ctx)
        mean = (resp * in_joint).sum(ctx.dims, keepdim=True)
        return resp * (in_cotangent + cotangent * (in_joint - mean))

    @staticmethod
    def vmap(info: Any, in_dims: Any, log_joint: Any, cotangent: Any, dims: Any) -> Any:
        log_joint, cotangent = mapped(info.batch_size, in_dims[:2], log_joint, cotangent)
        return _Posterior.apply(log_joint, cotangent, tuple(dim + 1 for dim in dims)), 0


# ------------------------------------------------------------------------------------------ elbo


class _Elbo(torch.autograd.Function):  # type: ignore[misc]
    @staticmethod
    def forward(log_joint: Any, q_logits: Any) -> Any:
        terms = functions.elbo(as_array(log_joint), q_logits=as_array(q_logits), per_sample=True)
        return torch.as_tensor(terms.elbo, dtype=log_joint.dtype)

    @staticmethod
    def setup_context(ctx: Any, inputs: Any, output: Any) -> None:  # noqa: ARG004
        ctx.save_for_backward(*inputs)
        ctx.save_for_forward(*inputs)

    @staticmethod
    def backward(ctx: Any, cotangent: Any) -> Any:
        in_joint, in_logits = _ElboGradients.apply(*ctx.saved_tensors)
        cotangent = cotangent.unsqueeze(-1)
        return cotangent * in_joint, cotangent * in_logits

    @staticmethod
    def jvp(ctx: Any, *tangents: Any) -> Any:
        one_forward_mode()
        in_joint, in_logits = _ElboGradients.apply(*ctx.saved_tensors)
        return (in_joint * tangents[0] + in_logits * tangents[1]).sum(-1)

    @staticmethod
    def vmap(info: Any, in_dims: Any, log_joint: Any, q_logits: Any) -> Any:
        return _Elbo.apply(*mapped(info.batch_size, in_dims, log_joint, q_logits)), 0


class _ElboGradients(torch.autograd.Function):  # type: ignore[misc]
    r"""The gradients of each row's bound, q in the log-joint and s in the logits.

    With s_k = q_k (l_k - log q_k - L), changes of the log-joint and of the logits change them by
    dq = q u and ds = s u + q (dl - u - dL), where u = d\eta - <q, d\eta> and
    dL = <q, dl> + <s, d\eta>.
    """

    @staticmethod
    def forward(log_joint: Any, q_logits: Any) -> Any:
        _, gradient = functions.elbo_and_grad(as_array(log_joint), q_logits=as_array(q_logits))
        return torch.as_tensor(gradient.log_joint), torch.as_tensor(gradient.q_logits)

    @staticmethod
    def setup_context(ctx: Any, inputs: Any, output: Any) -> None:  # noqa: ARG004
        ctx.save_for_backward(*output)
        ctx.save_for_forward(*output)

    @staticmethod
    def backward(ctx: Any, above_q: Any, above_s: Any) -> Any:
        q, s = ctx.saved_tensors
        weighted = q * above_s
        total = weighted.sum(-1, keepdim=True)
        change = q * above_q + s * above_s - weighted  # of dq and ds with u
        in_logits = change - q * change.sum(-1, keepdim=True) - s * total
        return weighted - q * total, in_logits

    @staticmethod
    def jvp(ctx: Any, in_joint: Any, in_logits: Any) -> Any:
        one_forward_mode()
        q, s = ctx.saved_tensors
        u = in_logits - (q * in_logits).sum(-1, keepdim=True)
        bound = (q * in_joint + s * in_logits).sum(-1, keepdim=True)
        return q * u, s * u + q * (in_joint - u - bound)

    @staticmethod
    def vmap(info: Any, in_dims: Any, log_joint: Any, q_logits: Any) -> Any:
        arguments = mapped(info.batch_size, in_dims, log_joint, q_logits)
        return _ElboGradients.apply(*arguments), (0, 0)
