r"""Evidence and lower bound as differentiable PyTorch functions of tensors on the CPU.

Needs the extra ``vbfast[torch]``. Each function runs vbfast's kernels on the tensors' memory,
without copies, and gives autograd their gradients:

- :func:`logsumexp`, the evidence of a log-joint,
- :func:`elbo`, the lower bound of a distribution over its components,
- :func:`mixture_log_evidence`, the density of a Gaussian mixture, for instance the prior of a
  variational autoencoder, trained with it.

First derivatives only: asking for a second raises.

Examples
--------
>>> import torch
>>> import vbfast.torch
>>> z = torch.zeros(1, 2, requires_grad=True)
>>> prior = (torch.zeros(3), torch.eye(3, 2), torch.ones(3, 2))
>>> vbfast.torch.mixture_log_evidence(z, *prior, "diag").sum().backward()
>>> z.grad.numpy().round(3)
array([[0.274, 0.274]], dtype=float32)
"""

from __future__ import annotations

import functools
import operator
from collections.abc import Callable
from typing import Any

try:
    import torch
except ImportError as error:
    raise ImportError(
        "vbfast.torch needs PyTorch: pip install 'vbfast[torch]', or see https://pytorch.org"
    ) from error

from vbfast import ops
from vbfast.engine.contract import CovarianceType
from vbfast.families.mixture_function import (
    MixtureFunction,
    check_covariance_type,
    check_shapes,
)

__all__ = ["elbo", "logsumexp", "mixture_log_evidence"]


def _checked(**tensors: Any) -> None:
    """Check that tensors are of one real type, on the CPU.

    Raises
    ------
    TypeError
        If one is no tensor of float32 or float64, or their types differ.
    ValueError
        If one lies elsewhere.
    """
    first_name, first = next(iter(tensors.items()))
    for name, tensor in tensors.items():
        if not isinstance(tensor, torch.Tensor):
            raise TypeError(f"{name} must be a torch.Tensor; got {type(tensor).__name__}")
        if tensor.dtype not in (torch.float32, torch.float64):
            raise TypeError(f"{name} must be float32 or float64; got {tensor.dtype}")
        if tensor.dtype != first.dtype:
            raise TypeError(
                f"{name} must have the dtype of {first_name}, {first.dtype}; got {tensor.dtype}"
            )
        if tensor.device.type != "cpu":
            raise ValueError(f"{name} must be on the CPU; got {tensor.device}. Use {name}.cpu()")


def _array(tensor: Any) -> Any:
    """Return the memory of a tensor as an array, without a copy."""
    return tensor.detach().resolve_neg().numpy()


class _NoSecondDerivative(torch.autograd.Function):  # type: ignore[misc]
    """The identity in a first derivative, as a function of what it depends on."""

    @staticmethod
    def forward(ctx: Any, gradient: Any, *inputs: Any) -> Any:  # noqa: ARG004
        return gradient.view_as(gradient)

    @staticmethod
    def backward(ctx: Any, *cotangents: Any) -> Any:
        raise NotImplementedError("vbfast.torch has first derivatives only")


def _once_differentiable(backward: Callable[..., Any]) -> Callable[..., Any]:
    """Make a backward rule that saved its inputs raise when it is differentiated.

    torch's own decorator lets a gradient through as a constant where the cotangent is one.
    """

    @functools.wraps(backward)
    def guarded(ctx: Any, cotangent: Any) -> Any:
        with torch.no_grad():
            gradients = backward(ctx, cotangent)
        if not torch.is_grad_enabled():
            return gradients
        inputs = (*ctx.saved_tensors, cotangent)
        return tuple(
            None if gradient is None else _NoSecondDerivative.apply(gradient, *inputs)
            for gradient in gradients
        )

    return guarded


class _LogSumExp(torch.autograd.Function):  # type: ignore[misc]
    @staticmethod
    def forward(ctx: Any, log_joint: Any, dim: int) -> Any:
        ctx.dim = dim
        ctx.save_for_backward(log_joint)
        return torch.as_tensor(ops.logsumexp(_array(log_joint), axis=dim))

    @staticmethod
    @_once_differentiable
    def backward(ctx: Any, cotangent: Any) -> Any:
        (log_joint,) = ctx.saved_tensors
        resp = torch.as_tensor(ops.softmax(_array(log_joint), axis=ctx.dim))
        # A row of nothing but -inf has no posterior: its gradient is zero.
        none = (log_joint == -torch.inf).all(dim=ctx.dim, keepdim=True)
        return resp.masked_fill_(none, 0.0).mul_(cotangent.unsqueeze(ctx.dim)), None


class _Elbo(torch.autograd.Function):  # type: ignore[misc]
    @staticmethod
    def forward(ctx: Any, log_joint: Any, q_logits: Any) -> Any:
        joint, logits = _array(log_joint), _array(q_logits)
        terms = ops.elbo(joint, q_logits=logits, per_sample=True)
        if any(ctx.needs_input_grad):
            _, ctx.gradient = ops.elbo_and_grad(joint, q_logits=logits)
            ctx.save_for_backward(log_joint, q_logits)
        return torch.as_tensor(terms.elbo, dtype=log_joint.dtype)

    @staticmethod
    @_once_differentiable
    def backward(ctx: Any, cotangent: Any) -> Any:
        gradients = (ctx.gradient.log_joint, ctx.gradient.q_logits)
        return tuple(cotangent.unsqueeze(-1) * torch.from_numpy(array) for array in gradients)


class _MixtureLogEvidence(torch.autograd.Function):  # type: ignore[misc]
    @staticmethod
    def forward(ctx: Any, covariance_type: CovarianceType, x: Any, *parameters: Any) -> Any:
        ctx.function = MixtureFunction.of(covariance_type, *map(_array, parameters))
        log_evidence, ctx.gradient = ctx.function.value(_array(x), wrt_x=ctx.needs_input_grad[1])
        ctx.save_for_backward(x, *parameters)
        return torch.as_tensor(log_evidence)

    @staticmethod
    @_once_differentiable
    def backward(ctx: Any, cotangent: Any) -> Any:
        x = ctx.saved_tensors[0]
        in_x, in_parameters = None, (None, None, None)
        if ctx.gradient is not None:
            in_x = cotangent.unsqueeze(-1) * torch.from_numpy(ctx.gradient)
        if any(ctx.needs_input_grad[2:]):
            in_parameters = tuple(
                torch.as_tensor(array, dtype=x.dtype)
                for array in ctx.function.pull_back(_array(x), _array(cotangent))
            )
        return None, in_x, *in_parameters


def logsumexp(log_joint: Any, dim: int = -1, keepdim: bool = False) -> Any:
    r"""Log evidence :math:`\log \sum_k \exp(\ell_k)` of a log-joint, in nats.

    Parameters
    ----------
    log_joint : torch.Tensor, float32 or float64, on the CPU
    dim : int, default=-1
        The dimension of the components.
    keepdim : bool, default=False

    Returns
    -------
    torch.Tensor
        Differentiable once, in the log-joint: its gradient is the posterior,
        :math:`\mathrm{softmax}(\ell)`, and zero for nothing but -inf.

    Raises
    ------
    TypeError
        If the log-joint is no tensor of float32 or float64.
    ValueError
        If it lies on another device.
    """
    _checked(log_joint=log_joint)
    if log_joint.dim() == 0:
        return log_joint.clone()
    result = _LogSumExp.apply(log_joint, operator.index(dim))
    return result.unsqueeze(dim) if keepdim else result


def elbo(log_joint: Any, q_logits: Any) -> Any:
    r"""Lower bound :math:`\sum_k q_k (\ell_k - \log q_k)` with :math:`q = \mathrm{softmax}(\eta)`.

    Parameters
    ----------
    log_joint : torch.Tensor of shape (..., n_components), float32 or float64, on the CPU
        :math:`\ell`.
    q_logits : torch.Tensor of the same shape and dtype
        :math:`\eta`, unnormalised logarithms of q.

    Returns
    -------
    torch.Tensor of shape (...)
        In nats; differentiable once, in both arguments.

    Raises
    ------
    TypeError, ValueError
        As :func:`logsumexp`; if the shapes differ, or the logits are no distribution.
    """
    _checked(log_joint=log_joint, q_logits=q_logits)
    if log_joint.shape != q_logits.shape:
        raise ValueError(
            f"q_logits must have the shape of log_joint, {tuple(log_joint.shape)}; "
            f"got {tuple(q_logits.shape)}"
        )
    return _Elbo.apply(log_joint, q_logits)


def mixture_log_evidence(
    x: Any,
    weights_logits: Any,
    means: Any,
    precisions_cholesky: Any,
    covariance_type: str = "full",
) -> Any:
    r"""Log density of a Gaussian mixture, in nats.

    :math:`\log \sum_k \pi_k \mathcal N(x \mid \mu_k, (P_k P_k^\top)^{-1})` with
    :math:`\pi = \mathrm{softmax}(\eta)`.

    Parameters
    ----------
    x : torch.Tensor of shape (..., n_features), float32 or float64, on the CPU
    weights_logits : torch.Tensor of shape (n_components,), dtype of x
        :math:`\eta`.
    means : torch.Tensor of shape (n_components, n_features), dtype of x
    precisions_cholesky : torch.Tensor, dtype of x
        :math:`P`, shaped as the ``precisions_cholesky_`` of :class:`vbfast.GaussianMixture`:
        (K, D, D) for 'full', (D, D) for 'tied', (K, D) for 'diag', (K,) for 'spherical'. Of
        matrices only the upper triangle is read.
    covariance_type : {'full', 'tied', 'diag', 'spherical'}, default='full'

    Returns
    -------
    torch.Tensor of shape (...)
        Differentiable once, in x and in all parameters. The gradient in x is made in the forward
        pass, where x asks for one; the parameters' takes a second pass over the rows (a third one,
        where gradients that flow back to the rows differ in sign).

    Raises
    ------
    TypeError, ValueError
        As :func:`logsumexp`; if shapes do not fit, a number is not finite, or the diagonal of P not
        positive.
    """
    kind = check_covariance_type(covariance_type)
    parameters = {
        "weights_logits": weights_logits,
        "means": means,
        "precisions_cholesky": precisions_cholesky,
    }
    _checked(x=x, **parameters)
    check_shapes(kind, *(tuple(tensor.shape) for tensor in (x, *parameters.values())))
    return _MixtureLogEvidence.apply(kind, x, *parameters.values())
