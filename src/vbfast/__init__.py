"""Fast evidence, entropy and variational lower bounds of large mixture models.

The names below load what they need when they are first used: scikit-learn with the estimators, and
nothing but NumPy otherwise.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from vbfast.capi import get_include
    from vbfast.engine.config import config_context, get_num_threads, set_num_threads
    from vbfast.estimators import GaussianMixture
    from vbfast.info import show_config
    from vbfast.ops import (
        ElboGradient,
        elbo,
        elbo_and_grad,
        entropy,
        kl_divergence,
        log_softmax,
        logsumexp,
        softmax,
    )
    from vbfast.results import ElboTerms

__version__ = "0.1.0"

__all__ = [
    "ElboGradient",
    "ElboTerms",
    "GaussianMixture",
    "__version__",
    "config_context",
    "elbo",
    "elbo_and_grad",
    "entropy",
    "get_include",
    "get_num_threads",
    "kl_divergence",
    "log_softmax",
    "logsumexp",
    "set_num_threads",
    "show_config",
    "softmax",
]

_HOMES = {
    "get_include": "vbfast.capi",
    "ElboGradient": "vbfast.ops",
    "elbo": "vbfast.ops",
    "elbo_and_grad": "vbfast.ops",
    "entropy": "vbfast.ops",
    "kl_divergence": "vbfast.ops",
    "log_softmax": "vbfast.ops",
    "logsumexp": "vbfast.ops",
    "softmax": "vbfast.ops",
    "ElboTerms": "vbfast.results",
    "GaussianMixture": "vbfast.estimators",
    "config_context": "vbfast.engine.config",
    "get_num_threads": "vbfast.engine.config",
    "set_num_threads": "vbfast.engine.config",
    "show_config": "vbfast.info",
}


def __getattr__(name: str) -> Any:
    home = _HOMES.get(name)
    if home is None:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    value = getattr(importlib.import_module(home), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
