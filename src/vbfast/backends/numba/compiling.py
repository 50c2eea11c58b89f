"""How kernels are compiled, and the loads and stores that numba has no word for.

Fused multiply-adds are all that ``fastmath`` allows: reassociation, or assuming that no number is
infinite or NaN, would break the numerical contract. Kernels hold no lock of the interpreter, are
compiled when they are first called, and are kept on disk.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeVar, cast

from numba import njit
from numba.extending import intrinsic

__all__ = ["GROUP_ROWS", "STEP_COST", "compiled", "kernel", "load_at", "store_at"]

F = TypeVar("F", bound=Callable[..., Any])

# Rows that are processed together in lanes: loops over so many, a constant, become vector code. It
# divides the number of rows of every tile (vbfast.engine.plan).
GROUP_ROWS = 32

# Multiplications between two looks for signals: some ten milliseconds.
STEP_COST = 5e7

_OPTIONS: dict[str, Any] = {"nogil": True, "fastmath": {"contract"}, "error_model": "numpy"}


def kernel(function: F) -> F:
    """Compile a function of a module, and keep the machine code on disk."""
    return cast(F, njit(cache=True, **_OPTIONS)(function))


def compiled(function: F) -> F:
    """Compile a function that closes over one of the user's, which no file can stand for."""
    return cast(F, njit(**_OPTIONS)(function))


# Rows come in any strides, aligned or not, writeable or not: for numba each is a type of array of
# its own, for which a kernel would be compiled once more. An address is one type.
def _load_at(typing_context: Any, address: Any, like: Any) -> Any:  # noqa: ARG001
    """Return the number at an address, aligned or not, of the type of ``like``."""

    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        value_type = context.get_value_type(signature.return_type)
        pointer = builder.inttoptr(arguments[0], value_type.as_pointer())
        return builder.load(pointer, align=1)

    return like(address, like), generate


def _store_at(typing_context: Any, address: Any, value: Any) -> Any:  # noqa: ARG001
    """Store a number at an address, aligned or not; returns the number."""

    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        value_type = context.get_value_type(signature.return_type)
        pointer = builder.inttoptr(arguments[0], value_type.as_pointer())
        builder.store(arguments[1], pointer, align=1)
        return arguments[1]

    return value(address, value), generate


load_at: Any = intrinsic(_load_at)
store_at: Any = intrinsic(_store_at)
