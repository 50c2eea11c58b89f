"""What the functions of tensors do with their arguments."""

from __future__ import annotations

import functools
import operator
from collections.abc import Callable, Sequence
from typing import Any

import torch

__all__ = [
    "COMPUTED_IN",
    "as_array",
    "check",
    "dimensions",
    "eager",
    "mapped",
    "of_one_type",
    "one_forward_mode",
    "wants_gradient",
]

COMPUTED_IN = {
    torch.float16: torch.float32,
    torch.bfloat16: torch.float32,
    torch.float32: torch.float32,
    torch.float64: torch.float64,
}


def check(name: str, tensor: Any) -> None:
    """Check that a tensor has memory that the kernels can read.

    Raises
    ------
    TypeError
        If it is no dense real tensor.
    ValueError
        If it lies on another device than the CPU.
    """
    if not isinstance(tensor, torch.Tensor):
        raise TypeError(f"{name} must be a torch.Tensor; got {type(tensor).__name__}")
    if tensor.is_complex() or tensor.is_quantized:
        raise TypeError(f"{name} must be real; got {tensor.dtype}")
    if tensor.layout != torch.strided or tensor.is_nested:
        kind = "nested" if tensor.is_nested else str(tensor.layout)
        raise TypeError(f"{name} must be dense; got a tensor that is {kind}. Convert it first")
    if tensor.device.type != "cpu":
        raise ValueError(f"{name} must be on the CPU; got {tensor.device}. Use {name}.cpu()")


def of_one_type(**tensors: Any) -> tuple[Any, list[Any]]:
    """Return the floating-point type of tensors, and them in the type to compute in.

    Raises
    ------
    TypeError
        If a type is not of floating point, or they differ, or as :func:`check`.
    ValueError
        As :func:`check`.
    """
    first_name, first = next(iter(tensors.items()))
    for name, tensor in tensors.items():
        check(name, tensor)
        if tensor.dtype not in COMPUTED_IN:
            raise TypeError(
                f"{name} must be float32, float64, float16 or bfloat16; got {tensor.dtype}"
            )
        if tensor.dtype != first.dtype:
            raise TypeError(
                f"{name} must have the dtype of {first_name}, {first.dtype}; got {tensor.dtype}"
            )
    return first.dtype, [tensor.to(COMPUTED_IN[first.dtype]) for tensor in tensors.values()]


def eager(function: Callable[..., Any]) -> Callable[..., Any]:
    """Keep a function out of the graphs of ``torch.compile``, which cannot see into kernels.

    The compiler is asked for that only where it is at work: importing it takes seconds.
    """

    @functools.wraps(function)
    def call(*args: Any, **kwargs: Any) -> Any:
        if torch.compiler.is_dynamo_compiling():
            return torch.compiler.disable(function)(*args, **kwargs)
        return function(*args, **kwargs)

    return call


def as_array(tensor: Any) -> Any:
    """Return the memory of a tensor as an array, without a copy."""
    return tensor.detach().resolve_neg().numpy()


def mapped(size: int, in_dims: tuple[int | None, ...], *tensors: Any) -> tuple[Any, ...]:
    """Return tensors with the dimension that ``vmap`` maps over in front, of length ``size``."""
    return tuple(
        tensor
        if tensor is None
        else tensor.expand(size, *tensor.shape)
        if dim is None
        else tensor.movedim(dim, 0)
        for tensor, dim in zip(tensors, in_dims, strict=True)
    )


def wants_gradient(x: Any) -> bool:
    """Tell whether a tensor takes part in a derivative."""
    return bool(torch.is_grad_enabled() and x.requires_grad)


def one_forward_mode() -> None:
    """Refuse forward mode inside forward mode, where torch would drop the outer tangents.

    Rules of a function's own for forward mode run without other tangents, so that their result
    would be a wrong number.

    Raises
    ------
    NotImplementedError
        If more than one forward mode of :mod:`torch.func` is in force.
    """
    transforms = torch._C._functorch.get_interpreter_stack() or ()
    forward = [t for t in transforms if t.key() == torch._C._functorch.TransformType.Jvp]
    if len(forward) > 1:
        raise NotImplementedError(
            "vbfast.torch has no forward mode inside forward mode; use reverse mode for all "
            "derivatives but one, as torch.func.hessian does"
        )


def dimensions(dim: int | Sequence[int] | None, n_dimensions: int) -> tuple[int, ...]:
    """Return dimensions as numbers that are not negative; none for a number."""
    if dim is None:
        return tuple(range(n_dimensions))
    given = tuple(dim) if isinstance(dim, Sequence) else (dim,)
    if not given:
        raise ValueError("dim must name a dimension, or be None for all of them; got ()")
    size = max(1, n_dimensions)  # a number has the dimension 0, as elsewhere in torch
    try:
        dims = [operator.index(d) for d in given]
    except TypeError as error:
        raise TypeError(f"dim must be an integer, several or None; got {dim!r}") from error
    for d in dims:
        if not -size <= d < size:
            raise IndexError(f"dim must be in the range of [{-size}, {size - 1}]; got {d}")
    dims = sorted(d % size for d in dims)
    if len(set(dims)) < len(dims):
        raise ValueError(f"dim must name each dimension once; got {given}")
    return tuple(dims) if n_dimensions else ()
