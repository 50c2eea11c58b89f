"""The C functions as LLVM symbols, which compiled and cached code refers to by name.

A cached caller is loaded without a look at this package's version, so names carry that of the
table: code compiled for functions that have changed since does not find them, instead of calling
others.
"""

from __future__ import annotations

from typing import Any

import llvmlite.binding
from numba import types

from vbfast import _vbfast

__all__ = ["LOGITS", "PROBS", "external", "register"]

LOGITS, PROBS = 0, 1

_SUFFIXES = {types.float64: "f64", types.float32: "f32"}

# What each function takes, after vbfast.h: n a size or stride, p a pointer to elements, d one to
# doubles, i an int. A reduction of one slice returns an element, others the info.
_ARGUMENTS = {
    "logsumexp": "npn",
    "softmax": "npnpn",
    "log_softmax": "npnpn",
    "entropy": "nipn",
    "kl_divergence": "nipnipn",
    "elbo": "npnipnd",
    "elbo_and_grad": "npnpndpnpn",
    "logsumexp_rows": "nnpnnpi",
    "softmax_rows": "nnpnnpnni",
    "log_softmax_rows": "nnpnnpnni",
    "entropy_rows": "nnipnnpi",
    "kl_divergence_rows": "nnipnnipnnpi",
    "elbo_rows": "nnpnnipnndddi",
    "elbo_and_grad_rows": "nnpnnpnndddpnnpnni",
}
_RETURNS_ELEMENT = ("logsumexp", "entropy", "kl_divergence")


def _symbol(name: str, suffix: str) -> str:
    return f"vbfast_v{_vbfast.C_API_VERSION}_{name}_{suffix}"


def register() -> None:
    """Tell LLVM the addresses, for code that is compiled or loaded later in this process."""
    for suffix, functions in _vbfast.C_FUNCTIONS.items():
        for name, address in functions.items():
            llvmlite.binding.add_symbol(_symbol(name, suffix), address)


def external(name: str, dtype: Any) -> Any:
    """Return a function of the table for elements of a numba type, callable in compiled code."""
    kinds = {
        "n": types.int64,
        "i": types.int32,
        "p": types.CPointer(dtype),
        "d": types.CPointer(types.float64),
    }
    returned = dtype if name in _RETURNS_ELEMENT else types.int64
    signature = returned(*(kinds[kind] for kind in _ARGUMENTS[name]))
    return types.ExternalFunction(_symbol(name, _SUFFIXES[dtype]), signature)
