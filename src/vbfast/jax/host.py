"""What the functions of JAX arrays do with their arguments, and how they reach the kernels."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from vbfast.inputs.plain import check_plain

__all__ = ["computed", "on_host", "real"]


def real(*, integers: bool = False, **arrays: Any) -> tuple[Any, list[Any]]:
    """Return the type of a result of several arrays, and them in the type to compute in.

    Parameters
    ----------
    integers : bool, default=False
        Whether they are allowed; their result has the type of JAX's own function.
    **arrays : array_like

    Raises
    ------
    TypeError
        If one is not float32, float64, float16 or bfloat16, nor an integer that is allowed, or is
        masked, sparse or no array to JAX.
    """
    for name, array in arrays.items():
        check_plain(array, name)
    values = {name: _as_array(name, array) for name, array in arrays.items()}
    for name, value in values.items():
        dtype = value.dtype
        if integers and (jnp.issubdtype(dtype, jnp.integer) or dtype == jnp.bool_):
            continue
        if dtype not in (jnp.float16, jnp.bfloat16, jnp.float32, jnp.float64):
            raise TypeError(f"{name} must be float32, float64, float16 or bfloat16; got {dtype}")
    dtype = jnp.result_type(*values.values())
    if not jnp.issubdtype(dtype, jnp.floating):
        dtype = jax.eval_shape(jax.nn.logsumexp, jax.ShapeDtypeStruct((1,), dtype)).dtype
    return dtype, [value.astype(computed(dtype)) for value in values.values()]


def _as_array(name: str, array: Any) -> Any:
    try:
        return jnp.asarray(array)
    except (TypeError, ValueError, OverflowError) as error:
        raise TypeError(f"{name} must be an array of numbers that JAX has: {error}") from error


def computed(dtype: Any) -> Any:
    """Return the type to compute in: float64 in itself, all others in float32."""
    return jnp.float64 if dtype == jnp.float64 else jnp.float32


def on_host(
    function: Callable[..., Any], results: tuple[tuple[int, ...], ...], *arguments: Any
) -> tuple[Any, ...]:
    """Call a function of NumPy arrays outside the compiled code.

    Under :func:`jax.vmap` the arrays have further axes in front, of length one where an array is
    not mapped over.

    Parameters
    ----------
    function : callable
        Returns a tuple of arrays.
    results : tuple of shapes
        Of these arrays, which get the type of the arguments.
    *arguments : jax.Array
    """
    dtype = arguments[0].dtype

    def call(*values: Any) -> Any:
        returned = function(*map(np.asarray, values))
        return tuple(np.asarray(array, dtype=dtype) for array in returned)

    wanted = tuple(jax.ShapeDtypeStruct(shape, dtype) for shape in results)
    return tuple(jax.pure_callback(call, wanted, *arguments, vmap_method="expand_dims"))
