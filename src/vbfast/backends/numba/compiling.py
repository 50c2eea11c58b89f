"""How kernels are compiled, and the operations that numba has no word for.

Fused multiply-adds are all that ``fastmath`` allows, but for plain sums (:func:`reduction`):
reassociation, or assuming that no number is infinite or NaN, would break the numerical contract.
Kernels hold no lock of the interpreter, and are compiled when they are first called.

Compiled kernels are kept on disk, in ``__pycache__``. numba looks at the file of a kernel alone,
while kernels are compiled together with those that they call and with constants of other modules:
here all files decide, and the package's version.

No two arrays that a kernel is given overlap where it writes. The compiler is told so: it would have
to check before every loop, which takes longer than a loop over a few features.
"""

from __future__ import annotations

import functools
import hashlib
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar, cast

import numpy as np
from llvmlite import ir
from numba import njit
from numba.extending import intrinsic, overload

from vbfast._version import __version__
from vbfast.backends.numba.blocking import GROUP_BYTES

F = TypeVar("F", bound=Callable[..., Any])

_OPTIONS: dict[str, Any] = {"nogil": True, "fastmath": {"contract"}, "error_model": "numpy"}


@functools.cache
def _package_stamp() -> str:
    """Return a hash of the package's version and of the sources of its kernels."""
    found = hashlib.sha256(__version__.encode())
    for path in sorted(Path(__file__).parent.glob("*.py")):
        found.update(path.name.encode() + path.read_bytes())
    return found.hexdigest()


def _without_overlap(flags: Any) -> Any:
    flags.noalias = True
    return flags


def compiled(function: F) -> F:
    """Compile a function that takes one of the user's, which no file can stand for."""
    dispatcher: Any = njit(**_OPTIONS)(function)
    if hasattr(dispatcher, "_compiler"):  # not where numba's compiler is switched off
        dispatcher._compiler._customize_flags = _without_overlap  # numba has no option for it
    return cast(F, dispatcher)


def kernel(function: F) -> F:
    """Compile a function of a module, and keep the machine code on disk."""
    dispatcher: Any = compiled(function)
    if hasattr(dispatcher, "enable_caching"):
        dispatcher.enable_caching()
        dispatcher._cache._cache_file._source_stamp = _package_stamp()
    return cast(F, dispatcher)


@kernel
def group_rows(array: Any) -> Any:
    """Return how many numbers of an array the array functions process together in lanes.

    Compiled code has it as a constant, so that loops over the rows of a group become vector code.
    """
    return 8 * GROUP_BYTES // np.finfo(array.dtype).bits


def inlined(function: F) -> F:
    """Compile a function into each kernel that calls it."""
    return cast(F, njit(inline="always", **_OPTIONS)(function))


def reduction(function: F) -> F:
    """Compile a function that may add numbers up in any order, which is fixed with the code."""
    return cast(F, njit(**{**_OPTIONS, "fastmath": {"contract", "reassoc"}})(function))


def by_type(choices: dict[type, Callable[..., Any]]) -> Callable[..., Any]:
    """Return a function that is one of the choices, compiled into each kernel that calls it.

    The type of the first argument, a named tuple, is the key.
    """

    def chosen(*arguments: Any) -> Any:
        raise NotImplementedError("compiled code only")

    def choose(first: Any, *others: Any) -> Any:  # noqa: ARG001
        return choices.get(getattr(first, "instance_class", None))  # type: ignore[arg-type]

    overload(chosen, inline="always", strict=False)(choose)
    return chosen


# ``a if a > b else b`` is a comparison and a choice, and where one outcome is what an array holds
# already LLVM makes it a store under a mask, for which AMD's processors take ten times as long.
def _extreme(name: str) -> Any:
    """Return the larger or the smaller of two floating numbers, ``b`` the one that is stored over.

    Where one is NaN it is the other.
    """

    def extreme(typing_context: Any, a: Any, b: Any) -> Any:  # noqa: ARG001
        def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:  # noqa: ARG001
            number = arguments[0].type
            binary = ir.FunctionType(number, (number, number))
            function = builder.module.declare_intrinsic(name, [number], binary)
            # In this order; the other one is a choice once more.
            return builder.call(function, (arguments[1], arguments[0]))

        return a(a, a), generate

    return intrinsic(extreme)


larger: Any = _extreme("llvm.maxnum")
smaller: Any = _extreme("llvm.minnum")
