"""Calls of the functions for code under numba, for PyTorch and for JAX.

They are drawn less often than others: compiled code takes seconds, and JAX starts in every child.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any

import jax
import numba
import numpy as np
import torch
from numba.core.errors import TypingError

import vbfast.jax
import vbfast.torch
from calls import Scene, add, responsibilities, weights
from function_calls import logits, mixture
from vbfast import numba_api

SELDOM = 0.2

# -------------------------------------------------------------------------------------- numba


@numba.njit
def logsumexp(a: Any) -> Any:
    return numba_api.logsumexp(a)


@numba.njit
def logsumexp_rows(a: Any) -> Any:
    return numba_api.logsumexp_rows(a)


@numba.njit
def softmax(a: Any, out: Any) -> Any:
    numba_api.softmax(a, out)
    return out


@numba.njit
def softmax_rows(a: Any, out: Any) -> Any:
    numba_api.softmax_rows(a, out)
    return out


@numba.njit
def log_softmax(a: Any, out: Any) -> Any:
    numba_api.log_softmax(a, out)
    return out


@numba.njit
def log_softmax_rows(a: Any, out: Any) -> Any:
    numba_api.log_softmax_rows(a, out)
    return out


@numba.njit
def entropy(probs: Any) -> Any:
    return numba_api.entropy(probs)


@numba.njit
def entropy_rows(probs: Any) -> Any:
    return numba_api.entropy_rows(probs)


@numba.njit
def kl_divergence(q_probs: Any, p_logits: Any) -> Any:
    return numba_api.kl_divergence(q_probs, p_logits=p_logits)


@numba.njit
def kl_divergence_rows(q_probs: Any, p_probs: Any) -> Any:
    return numba_api.kl_divergence_rows(q_probs, p_probs)


@numba.njit
def elbo(log_joint: Any, q: Any) -> Any:
    return numba_api.elbo(log_joint, q)


@numba.njit
def elbo_rows(log_joint: Any, q_logits: Any, sample_weight: Any) -> Any:
    return numba_api.elbo_rows(log_joint, q_logits=q_logits, sample_weight=sample_weight)


@numba.njit
def elbo_and_grad(log_joint: Any, q_logits: Any, out: Any, other: Any) -> Any:
    numba_api.elbo_and_grad(log_joint, q_logits, (out, other))
    return out, other


@numba.njit
def elbo_and_grad_rows(log_joint: Any, q_logits: Any, out: Any, other: Any) -> Any:
    numba_api.elbo_and_grad_rows(log_joint, q_logits, (out, other))
    return out, other


def compiled(function: Callable[..., Any]) -> Callable[[Scene, dict[str, Any]], Any]:
    """Return a call that raises what the compiler found as an error of its own."""

    def call(stage: Scene, arguments: dict[str, Any]) -> Any:
        try:
            return function(*arguments.values())
        except TypingError as error:
            found = re.search(r"TypingError: (.* must be .*)", str(error))
            if found is None:
                raise
            raise TypeError(found[1]) from error

    return call


# By the names above: which arguments there are, and of which kind.
FIRST, SECOND, OUT = "compiled array", "compiled length", "compiled output"
OF_TWO = {"a": FIRST, "out": OUT}
OF_GRADIENTS = {"log_joint": FIRST, "q_logits": SECOND, "out": OUT, "other": OUT}
COMPILED = {
    logsumexp: {"a": FIRST},
    softmax: OF_TWO,
    log_softmax: OF_TWO,
    entropy: {"probs": FIRST},
    kl_divergence: {"q_probs": FIRST, "p_logits": SECOND},
    elbo: {"log_joint": FIRST, "q": SECOND},
    elbo_and_grad: OF_GRADIENTS,
    logsumexp_rows: {"a": FIRST},
    softmax_rows: OF_TWO,
    log_softmax_rows: OF_TWO,
    entropy_rows: {"probs": "compiled distributions"},
    kl_divergence_rows: {"q_probs": "compiled distributions", "p_probs": SECOND},
    elbo_rows: {"log_joint": FIRST, "q_logits": SECOND, "sample_weight": "compiled weights"},
    elbo_and_grad_rows: OF_GRADIENTS,
}
# What messages call the arguments of several functions, or of the function that they stem from.
CALLED = {
    "q_probs": (r"\bq\b", "no distribution"),
    "probs": ("no distribution",),
    "p_probs": (r"\bp\b",),
    "p_logits": (r"\bp\b",),
    "q": ("log_joint",),
    "q_logits": ("log_joint",),
    "out": ("the input",),
    "other": (r"\bout\b",),
}
for function, kinds in COMPILED.items():
    add(
        f"numba_api {function.__name__}",
        compiled(function),
        kinds,
        # Another type would be compiled as well.
        lambda rng, dtype, kinds=kinds, rows="_rows" in function.__name__: {
            name: weights(rng)
            if name == "sample_weight"
            else np.ascontiguousarray(responsibilities(rng, float)[slice(None) if rows else 0])
            for name in kinds
        },
        backends=("native",),
        also=CALLED,
        pairs=False,
        weight=SELDOM,
    )

# ------------------------------------------------------------------------------------- torch


def tensors(arguments: dict[str, Any]) -> dict[str, Any]:
    return {
        name: torch.from_numpy(value) if isinstance(value, np.ndarray) else value
        for name, value in arguments.items()
    }


def of_torch(name: str) -> Callable[[Scene, dict[str, Any]], Any]:
    return lambda stage, arguments: getattr(vbfast.torch, name)(**arguments).numpy()


add(
    "torch logsumexp",
    of_torch("logsumexp"),
    {"log_joint": "tensor", "dim": "axis"},
    lambda rng, dtype: {**tensors({"log_joint": logits(rng, dtype)}), "dim": 1},
    backends=("native",),
    errors=(IndexError,),
)
add(
    "torch elbo",
    of_torch("elbo"),
    {"log_joint": "tensor of a shape", "q_logits": "tensor of a shape"},
    lambda rng, dtype: tensors({name: logits(rng, dtype) for name in ("log_joint", "q_logits")}),
    backends=("native",),
)
add(
    "torch mixture_log_evidence",
    of_torch("mixture_log_evidence"),
    {
        "x": "finite tensor",
        "weights_logits": "tensor of a shape",
        "means": "finite tensor",
        "precisions_cholesky": "tensor of a shape",
        "covariance_type": "choice",
    },
    lambda rng, dtype: tensors(mixture(rng, dtype)),
    backends=("native",),
    pairs=False,  # of both one feature less is a mixture
    also={"means": (r"\bx\b",), "weights_logits": (r"\bmeans\b",)},
)

# --------------------------------------------------------------------------------------- JAX


def of_jax(name: str) -> Callable[[Scene, dict[str, Any]], Any]:
    return lambda stage, arguments: np.asarray(getattr(vbfast.jax, name)(**arguments))


JAX: dict[str, Any] = {
    "backends": ("native",),
    "weight": SELDOM,
    "warmed": False,  # its threads do not survive a fork
    "errors": (jax.errors.JaxRuntimeError,),
}
add(
    "jax logsumexp",
    of_jax("logsumexp"),
    {"log_joint": "array for JAX", "axis": "axis"},
    lambda rng, dtype: {"log_joint": logits(rng, dtype), "axis": 1},
    **JAX,
)
add(
    "jax elbo",
    of_jax("elbo"),
    {"log_joint": "array for JAX", "q_logits": "array for JAX"},
    lambda rng, dtype: {"log_joint": logits(rng, dtype), "q_logits": logits(rng, dtype)},
    **JAX,
)
add(
    "jax mixture_log_evidence",
    of_jax("mixture_log_evidence"),
    {
        "x": "finite array for JAX",
        "weights_logits": "array for JAX",
        "means": "finite array for JAX",
        "precisions_cholesky": "array for JAX",
        "covariance_type": "choice",
    },
    mixture,
    **JAX,
)
