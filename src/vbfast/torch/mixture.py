"""The density of mixtures as a function that autograd and torch.func differentiate.

The value and its first derivatives are passes over the rows (:class:`MixtureFunction`), further
derivatives those of the same function in array mathematics.
"""

from __future__ import annotations

import functools
import math
from collections.abc import Callable
from typing import Any

import torch
from torch.utils._pytree import tree_map

from vbfast.contract import CovarianceType
from vbfast.mixtures.function import MixtureFunction
from vbfast.torch.array_functions import evidence
from vbfast.torch.tensors import as_array, mapped, one_forward_mode, wants_gradient

__all__ = ["log_density"]


def log_density(
    kind: CovarianceType, x: Any, weights_logits: Any, means: Any, precisions_cholesky: Any
) -> Any:
    """Return the log density of rows; the first dimensions of all arguments are the batch's."""
    parameters = (weights_logits, means, precisions_cholesky)
    return _Mixture.apply(kind, wants_gradient(x), x, *parameters)[0]


def _function(kind: CovarianceType, parameters: tuple[Any, ...]) -> MixtureFunction:
    return MixtureFunction.of(kind, *map(as_array, parameters))


class _Mixture(torch.autograd.Function):  # type: ignore[misc]
    """The log evidence and, on request, its gradient in x, which is made with it.

    The first dimensions of x are those of the batch, which the parameters have too.
    """

    @staticmethod
    def forward(kind: CovarianceType, wrt_x: bool, x: Any, *parameters: Any) -> Any:
        results = _function(kind, parameters).value(as_array(x), wrt_x=wrt_x)
        return tuple(torch.as_tensor(array) for array in results if array is not None)

    @staticmethod
    def setup_context(ctx: Any, inputs: Any, output: Any) -> None:
        ctx.kind, wrt_x, *arguments = inputs
        in_x = output[1] if wrt_x else None
        if wrt_x:
            ctx.mark_non_differentiable(in_x)
        ctx.save_for_backward(in_x, *arguments)
        ctx.save_for_forward(in_x, *arguments)

    @staticmethod
    def backward(ctx: Any, cotangent: Any, _: Any = None) -> Any:
        in_x, x, *parameters = ctx.saved_tensors
        wrt_x, wrt_parameters = ctx.needs_input_grad[2], any(ctx.needs_input_grad[3:])
        gradients = _MixtureGradients.apply(
            ctx.kind, wrt_x, wrt_parameters, in_x, x, cotangent, *parameters
        )
        of_x = gradients[:1] if wrt_x else (None,)
        of_parameters = gradients[wrt_x:] if wrt_parameters else (None, None, None)
        return None, None, *of_x, *of_parameters

    @staticmethod
    def jvp(ctx: Any, _kind: None, _wrt_x: None, *tangents: Any) -> Any:
        in_x, *arguments = ctx.saved_tensors
        tangent = _push_forward(
            functools.partial(_by_array_mathematics, ctx.kind), arguments, tangents
        )
        return (tangent,) if in_x is None else (tangent, None)

    @staticmethod
    def vmap(
        info: Any, in_dims: Any, kind: CovarianceType, wrt_x: bool, x: Any, *parameters: Any
    ) -> Any:
        wrt_x = wrt_x or wants_gradient(x)
        if all(dim is None for dim in in_dims[3:]):  # more rows of the same mixtures
            at = parameters[0].dim() - 1
            arguments = (x.movedim(in_dims[2], at), *parameters)
        else:
            at = 0
            arguments = mapped(info.batch_size, in_dims[2:], x, *parameters)
        results = _Mixture.apply(kind, wrt_x, *arguments)
        return results, (at,) * len(results)


class _MixtureGradients(torch.autograd.Function):  # type: ignore[misc]
    """Gradients of the log evidence times a cotangent, in x and in parameters, each on request.

    ``in_x`` is what :class:`_Mixture` made of it, or None. Derivatives of the gradients are those
    of array mathematics.
    """

    @staticmethod
    def forward(
        kind: CovarianceType, wrt_x: bool, wrt_parameters: bool,
        in_x: Any, x: Any, cotangent: Any, *parameters: Any,
    ) -> Any:  # fmt: skip
        gradients: tuple[Any, ...] = ()
        function = None
        if wrt_x:
            if in_x is None:
                function = _function(kind, parameters)
                in_x = torch.as_tensor(function.value(as_array(x), wrt_x=True)[1])
            gradients = (cotangent.unsqueeze(-1) * in_x,)
        if wrt_parameters:
            function = function or _function(kind, parameters)
            of_parameters = function.pull_back(as_array(x), as_array(cotangent))
            gradients += tuple(torch.as_tensor(array, dtype=x.dtype) for array in of_parameters)
        return gradients

    @staticmethod
    def setup_context(ctx: Any, inputs: Any, output: Any) -> None:  # noqa: ARG004
        ctx.kind, ctx.wrt_x, ctx.wrt_parameters, _, *arguments = inputs
        ctx.save_for_backward(*arguments)
        ctx.save_for_forward(*arguments)

    @staticmethod
    def _again(ctx: Any) -> Any:
        """Return the same function of x, cotangent and parameters in array mathematics."""
        first, last = 0 if ctx.wrt_x else 1, 4 if ctx.wrt_parameters else 1

        def gradients(x: Any, cotangent: Any, *parameters: Any) -> Any:
            evaluate = functools.partial(_by_array_mathematics, ctx.kind)
            _, pull_back = torch.func.vjp(evaluate, x, *parameters)
            return pull_back(cotangent)[first:last]

        return gradients

    @staticmethod
    def backward(ctx: Any, *above: Any) -> Any:
        _, pull_back = torch.func.vjp(_MixtureGradients._again(ctx), *ctx.saved_tensors)
        return None, None, None, None, *pull_back(above)

    @staticmethod
    def jvp(ctx: Any, *tangents: Any) -> Any:
        return _push_forward(_MixtureGradients._again(ctx), ctx.saved_tensors, tangents[4:])

    @staticmethod
    def vmap(
        info: Any, in_dims: Any, kind: CovarianceType, wrt_x: bool, wrt_parameters: bool,
        *tensors: Any,
    ) -> Any:  # fmt: skip
        results = _MixtureGradients.apply(
            kind, wrt_x, wrt_parameters, *mapped(info.batch_size, in_dims[3:], *tensors)
        )
        return results, (0,) * len(results)


def _push_forward(function: Callable[..., Any], arguments: Any, tangents: Any) -> Any:
    """Differentiate in forward mode by two reverse ones: the pullback's pullback.

    (Townsend 2017, "A new trick for calculating Jacobian vector products".) Forward mode would be
    one inside another.
    """
    one_forward_mode()
    value, pull_back = torch.func.vjp(function, *arguments)
    zeros = tree_map(torch.zeros_like, value)
    _, push_forward = torch.func.vjp(pull_back, zeros)
    given = tuple(
        torch.zeros_like(argument) if tangent is None else tangent
        for argument, tangent in zip(arguments, tangents, strict=True)
    )
    return push_forward(given)[0]


def _by_array_mathematics(
    kind: CovarianceType, x: Any, weights_logits: Any, means: Any, precisions_cholesky: Any
) -> Any:
    """Return the log density as torch's own function, with all log-joints in memory."""
    batch, D = weights_logits.shape[:-1], means.shape[-1]
    axes_of_rows = x.dim() - 1 - len(batch)

    def aligned(parameter: Any) -> Any:
        return parameter.reshape(*batch, *(1,) * axes_of_rows, *parameter.shape[len(batch) :])

    d, P = x.unsqueeze(-2) - aligned(means), precisions_cholesky
    if kind in ("full", "tied"):
        log_det = P.diagonal(dim1=-2, dim2=-1).log().sum(-1)
        subscripts = "...kd,...kde->...ke" if kind == "full" else "...kd,...de->...ke"
        y = torch.einsum(subscripts, d, aligned(P.triu()))
        log_det = log_det if kind == "full" else log_det.unsqueeze(-1)
    elif kind == "diag":
        log_det, y = P.log().sum(-1), d * aligned(P)
    else:
        log_det, y = D * P.log(), d * aligned(P).unsqueeze(-1)
    offset = torch.log_softmax(weights_logits, -1) + log_det - 0.5 * D * math.log(2.0 * math.pi)
    log_joint = aligned(offset) - 0.5 * y.square().sum(-1)
    return evidence(log_joint, (log_joint.dim() - 1,)).squeeze(-1)
