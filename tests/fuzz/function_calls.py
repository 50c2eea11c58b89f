"""Calls of the array functions and the mixture's evidence, and of the configuration."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

import vbfast
from calls import K, N, Scene, add, responsibilities, rows, weights

# --------------------------------------------------------------------------- array functions


def logits(rng: np.random.Generator, dtype: Any) -> Any:
    return rng.integers(-8, 8, (N, K)).astype(dtype) / 4


def of_arrays(name: str) -> Callable[[Scene, dict[str, Any]], Any]:
    return lambda stage, arguments: getattr(vbfast, name)(**arguments)


ARRAYS = ("native", "numba")
add(
    "logsumexp",
    of_arrays("logsumexp"),
    {"a": "real or complex array", "b": "factors", "axis": "axis"},
    lambda rng, dtype: {"a": logits(rng, dtype), "b": logits(rng, dtype) ** 2, "axis": 1},
    backends=ARRAYS,
)
for name in ("softmax", "log_softmax"):
    add(
        name,
        of_arrays(name),
        {"a": "real or complex array", "axis": "axis", "out": "output"},
        lambda rng, dtype: {
            "a": logits(rng, dtype),
            "axis": 1,
            "out": np.empty((N, K), dtype),
        },
        backends=ARRAYS,
    )
add(
    "entropy",
    of_arrays("entropy"),
    {"probs": "distributions", "axis": "axis", "out": "output"},
    lambda rng, dtype: {
        "probs": responsibilities(rng, dtype),
        "axis": -1,
        "out": np.empty(N, dtype),
    },
    backends=ARRAYS,
)
add(
    "kl_divergence",
    of_arrays("kl_divergence"),
    {"q_probs": "distributions", "p_logits": "array", "axis": "axis", "out": "output"},
    lambda rng, dtype: {
        "q_probs": responsibilities(rng, dtype),
        "p_logits": logits(rng, dtype),
        "axis": -1,
        "out": np.empty(N, dtype),
    },
    backends=ARRAYS,
)
add(
    "elbo",
    of_arrays("elbo"),
    {"log_joint": "array", "q": "distributions or none", "sample_weight": "weights of rows"},
    lambda rng, dtype: {
        "log_joint": logits(rng, dtype),
        "q": responsibilities(rng, dtype),
        "sample_weight": weights(rng),
    },
    backends=ARRAYS,
)
add(
    "elbo_and_grad",
    of_arrays("elbo_and_grad"),
    {"log_joint": "array", "q_logits": "array or none", "sample_weight": "weights of rows"},
    lambda rng, dtype: {
        "log_joint": logits(rng, dtype),
        "q_logits": logits(rng, dtype),
        "sample_weight": weights(rng),
    },
    backends=ARRAYS,
)


def gradients_into(stage: Scene, arguments: dict[str, Any]) -> Any:
    out = (arguments.pop("out"), arguments.pop("out_too"))
    return vbfast.elbo_and_grad(**arguments, out=out)


add(
    "elbo_and_grad into arrays",
    gradients_into,
    {"log_joint": "array", "q": "distributions or none", "out": "output", "out_too": "output"},
    lambda rng, dtype: {
        "log_joint": logits(rng, dtype),
        "q": responsibilities(rng, dtype),
        "out": np.empty((N, K), dtype),
        "out_too": np.empty((N, K), dtype),
    },
    also={"out_too": (r"\bout\b",)},
    backends=ARRAYS,
)

# ------------------------------------------------------------------------------ mixtures

MIXTURE = {
    **dict.fromkeys(("x", "weights_logits", "means", "precisions_cholesky"), "array"),
    "covariance_type": "choice",
}


def mixture(rng: np.random.Generator, dtype: Any) -> dict[str, Any]:
    return {
        "x": rows(rng, dtype),
        "weights_logits": logits(rng, dtype)[0],
        "means": rows(rng, dtype)[:K],
        "precisions_cholesky": rows(rng, dtype)[:K],
        "covariance_type": "diag",
    }


add("mixture_log_evidence", of_arrays("mixture_log_evidence"), MIXTURE, mixture)
add(
    "mixture_log_evidence_and_grad",
    of_arrays("mixture_log_evidence_and_grad"),
    {**MIXTURE, "cotangent": "array"},
    lambda rng, dtype: {**mixture(rng, dtype), "cotangent": weights(rng), "wrt_x": True},
)

# ------------------------------------------------------------------------------ configuration


def configured(stage: Scene, arguments: dict[str, Any]) -> Any:
    with vbfast.config_context(**arguments):
        return vbfast.get_num_threads()


def set_threads(stage: Scene, arguments: dict[str, Any]) -> Any:
    vbfast.set_num_threads(**arguments)
    return vbfast.get_num_threads()


add(
    "config_context",
    configured,
    {"num_threads": "threads or none", "backend": "choice"},
    lambda rng, dtype: {"num_threads": 2, "backend": "native"},
    backends=("native",),
)
add(
    "set_num_threads",
    set_threads,
    {"num_threads": "threads"},
    lambda rng, dtype: {"num_threads": 2},
    backends=("native",),
)
