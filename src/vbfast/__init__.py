"""Fast evidence, entropy and variational lower bounds of large mixture models.

The names below load what they need when they are first used: scikit-learn with the estimators, and
nothing but NumPy otherwise.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

from vbfast._version import __version__

if TYPE_CHECKING:
    from vbfast import families, plotting
    from vbfast.arrays.functions import (
        ElboGradient,
        elbo,
        elbo_and_grad,
        entropy,
        kl_divergence,
        log_softmax,
        logsumexp,
        softmax,
    )
    from vbfast.capi import get_include
    from vbfast.config.settings import config_context, get_num_threads, set_num_threads
    from vbfast.contract import PassResult, RowSource, Statistics, merge
    from vbfast.estimators import (
        BayesianGaussianMixture,
        GaussianMixture,
        Mixture,
        Selection,
        load,
        select,
    )
    from vbfast.families.natural import NaturalParameters, VariationalGradient
    from vbfast.info import show_config
    from vbfast.mixtures.evidence import mixture_log_evidence, mixture_log_evidence_and_grad
    from vbfast.passes.files import open_rows
    from vbfast.patch import patch_sklearn, unpatch_sklearn
    from vbfast.results import (
        BoundGap,
        ElboTerms,
        EvidenceEstimate,
        MixtureEvidenceGradient,
        MixtureGradient,
        VariationalElboTerms,
    )

__all__ = [
    "BayesianGaussianMixture",
    "BoundGap",
    "ElboGradient",
    "ElboTerms",
    "EvidenceEstimate",
    "GaussianMixture",
    "Mixture",
    "MixtureEvidenceGradient",
    "MixtureGradient",
    "NaturalParameters",
    "PassResult",
    "RowSource",
    "Selection",
    "Statistics",
    "VariationalElboTerms",
    "VariationalGradient",
    "__version__",
    "config_context",
    "elbo",
    "elbo_and_grad",
    "entropy",
    "families",
    "get_include",
    "get_num_threads",
    "kl_divergence",
    "load",
    "log_softmax",
    "logsumexp",
    "merge",
    "mixture_log_evidence",
    "mixture_log_evidence_and_grad",
    "open_rows",
    "patch_sklearn",
    "plotting",
    "select",
    "set_num_threads",
    "show_config",
    "softmax",
    "unpatch_sklearn",
]

_HOMES = {
    "get_include": "vbfast.capi",
    "ElboGradient": "vbfast.arrays.functions",
    "elbo": "vbfast.arrays.functions",
    "elbo_and_grad": "vbfast.arrays.functions",
    "entropy": "vbfast.arrays.functions",
    "kl_divergence": "vbfast.arrays.functions",
    "log_softmax": "vbfast.arrays.functions",
    "logsumexp": "vbfast.arrays.functions",
    "softmax": "vbfast.arrays.functions",
    "BoundGap": "vbfast.results",
    "ElboTerms": "vbfast.results",
    "EvidenceEstimate": "vbfast.results",
    "VariationalElboTerms": "vbfast.results",
    "NaturalParameters": "vbfast.families.natural",
    "VariationalGradient": "vbfast.families.natural",
    "BayesianGaussianMixture": "vbfast.estimators",
    "GaussianMixture": "vbfast.estimators",
    "Mixture": "vbfast.estimators",
    "MixtureEvidenceGradient": "vbfast.results",
    "MixtureGradient": "vbfast.results",
    "PassResult": "vbfast.contract",
    "RowSource": "vbfast.contract",
    "Statistics": "vbfast.contract",
    "merge": "vbfast.contract",
    "mixture_log_evidence": "vbfast.mixtures.evidence",
    "mixture_log_evidence_and_grad": "vbfast.mixtures.evidence",
    "open_rows": "vbfast.passes.files",
    "Selection": "vbfast.estimators",
    "load": "vbfast.estimators",
    "select": "vbfast.estimators",
    "config_context": "vbfast.config.settings",
    "get_num_threads": "vbfast.config.settings",
    "set_num_threads": "vbfast.config.settings",
    "patch_sklearn": "vbfast.patch",
    "unpatch_sklearn": "vbfast.patch",
    "show_config": "vbfast.info",
}


_SUBMODULES = ("families", "plotting")


def __getattr__(name: str) -> Any:
    if name in _SUBMODULES:
        return importlib.import_module(f"vbfast.{name}")
    home = _HOMES.get(name)
    if home is None:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    value = getattr(importlib.import_module(home), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
