"""Calls of the estimators' constructors and methods, and of select."""

from __future__ import annotations

import copy
import math
import warnings
from collections.abc import Callable
from typing import Any

import numpy as np

import vbfast
from calls import D, K, N, Scene, add, responsibilities, rows, weights

# ------------------------------------------------------------------------------------ estimators


def poisson() -> Any:
    """A custom family."""

    def log_density(x: Any, theta: Any) -> float:
        total = 0.0
        for d in range(len(x)):
            total += x[d] * math.log(theta[d]) - theta[d] - math.lgamma(x[d] + 1)
        return total

    def sufficient_statistics(x: Any, out: Any) -> None:
        for d in range(len(x)):
            out[d] = x[d]

    def maximize(statistics: Any, weight: Any) -> Any:
        return np.maximum(statistics / weight[:, np.newaxis], 1e-6)

    def sample(theta: Any, n_samples: int, random_state: Any) -> Any:
        return random_state.poisson(theta, (n_samples, len(theta)))

    return vbfast.families.Custom(
        log_density, sufficient_statistics, maximize, lambda n_features: n_features, sample
    )


POISSON = poisson()

_fitted: dict[Any, Any] = {}


def fitted(make: Callable[[str], Any]) -> Callable[..., Any]:
    def get(kind: str, dtype: Any) -> Any:
        key = (make, kind, dtype)
        if key not in _fitted:
            X = np.random.default_rng(0).normal(size=(40, D)).astype(dtype)
            X[20:] += 6
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")
                _fitted[key] = make(kind).fit(np.abs(X).round(2))
        return _fitted[key]

    return get


def gaussian(kind: str) -> Any:
    return vbfast.GaussianMixture(K, covariance_type=kind, random_state=0, max_iter=3, tol=0.5)


def bayesian(kind: str) -> Any:
    return vbfast.BayesianGaussianMixture(
        K, covariance_type=kind, random_state=0, max_iter=3, tol=0.5
    )


def own(kind: str) -> Any:
    return vbfast.Mixture(POISSON, K, random_state=0, max_iter=3, tol=0.5)


def of_family(kind: str) -> Any:
    family = vbfast.families.Gaussian(kind)
    return vbfast.Mixture(family, K, random_state=0, max_iter=3, tol=0.5)


def method(name: str) -> Callable[[Scene, dict[str, Any]], Any]:
    return lambda stage, arguments: getattr(stage.estimator, name)(**arguments)


def fit(stage: Scene, arguments: dict[str, Any]) -> Any:
    """Fit a copy: the mixture itself is used by other cases."""
    given = {name: arguments.pop(name) for name in ("X", "sample_weight")}
    stage.estimator = copy.copy(stage.estimator).set_params(**arguments)
    return stage.estimator.fit(**given)


def fit_predict(stage: Scene, arguments: dict[str, Any]) -> Any:
    stage.estimator = copy.copy(stage.estimator)
    return stage.estimator.fit_predict(**arguments)


def initialize(stage: Scene, arguments: dict[str, Any]) -> Any:
    """Start a copy; the mixture itself is used by other cases."""
    stage.estimator = copy.copy(stage.estimator)
    return stage.estimator.initialize(**arguments)


def partial_fit(stage: Scene, arguments: dict[str, Any]) -> Any:
    """Learn with a copy."""
    stage.estimator = copy.copy(stage.estimator)
    return stage.estimator.partial_fit(**arguments)


def maximize(stage: Scene, arguments: dict[str, Any]) -> Any:
    """Take a step with a copy."""
    stage.estimator = copy.copy(stage.estimator)
    return stage.estimator.maximize(**arguments)


def summary(stage: Scene) -> dict[str, Any]:
    X = rows(np.random.default_rng(0), stage.estimator.weights_.dtype)
    return {"summary": stage.estimator.summarize(X)}


ROWS = {"X": "rows of a fitted mixture"}
WEIGHTED = {**ROWS, "sample_weight": "weights"}
SEED = {"random_state": (r"\bseed\b",)}


def on_rows(rng: np.random.Generator, dtype: Any) -> dict[str, Any]:
    return {"X": rows(rng, dtype)}


def on_weighted_rows(rng: np.random.Generator, dtype: Any) -> dict[str, Any]:
    return {"X": rows(rng, dtype), "sample_weight": weights(rng)}


# ----------------------------------------------------------------------------- after the fit

OF_ROWS = ("predict", "predict_proba", "predict_log_proba", "score_samples")
OF_WEIGHTED_ROWS = ("score", "summarize")
for maker, of_rows, of_weighted_rows in (
    (gaussian, (), ("log_evidence_and_grad", "aic", "bic", "icl")),
    (bayesian, ("log_predictive_density",), ("elbo_and_grad",)),
    (own, (), ()),
):
    for name in (*OF_ROWS, *of_rows):
        add(f"{maker.__name__} {name}", method(name), ROWS, on_rows, estimator=fitted(maker))
    for name in (*OF_WEIGHTED_ROWS, *of_weighted_rows):
        add(
            f"{maker.__name__} {name}",
            method(name),
            WEIGHTED,
            on_weighted_rows,
            estimator=fitted(maker),
        )
    add(
        f"{maker.__name__} initialize",
        initialize,
        {"X": "rows", "sample_weight": "weights"},
        on_weighted_rows,
        estimator=fitted(maker),
    )
    add(
        f"{maker.__name__} partial_fit",
        partial_fit,
        WEIGHTED,
        on_weighted_rows,
        estimator=fitted(maker),
    )
    add(
        f"{maker.__name__} maximize",
        maximize,
        {"summary": "summary"},
        lambda rng, dtype: {},
        estimator=fitted(maker),
        derived=summary,
    )
    add(
        f"{maker.__name__} elbo",
        method("elbo"),
        {**WEIGHTED, "resp": "resp"},
        lambda rng, dtype: {**on_weighted_rows(rng, dtype), "resp": responsibilities(rng, dtype)},
        estimator=fitted(maker),
    )
    add(
        f"{maker.__name__} log_joint",
        method("log_joint"),
        {**ROWS, "out": "output"},
        lambda rng, dtype: {**on_rows(rng, dtype), "out": np.empty((N, K), dtype)},
        estimator=fitted(maker),
        pairs=False,  # rows of another type make an output of another type right
    )
    add(
        f"{maker.__name__} sample",
        method("sample"),
        {"n_samples": "positive count", "random_state": "seed"},
        lambda rng, dtype: {"n_samples": 3, "random_state": int(rng.integers(9))},
        estimator=fitted(maker),
        also=SEED,
    )
    add(
        f"{maker.__name__} fit_predict",
        fit_predict,
        {"X": "rows", "sample_weight": "weights"},
        on_weighted_rows,
        estimator=fitted(maker),
    )

for name in ("aic", "bic", "icl"):
    add(f"own {name}", method(name), WEIGHTED, on_weighted_rows, estimator=fitted(of_family))
add(
    "merge",
    lambda stage, arguments: vbfast.merge(**arguments),
    {"summaries": "summaries"},
    lambda rng, dtype: {},
    estimator=fitted(gaussian),
    derived=lambda stage: {"summaries": [summary(stage)["summary"]] * 3},
)
add(
    "bayesian log_marginal_likelihood",
    method("log_marginal_likelihood"),
    {**WEIGHTED, "n_draws": "positive count or none", "random_state": "seed"},
    lambda rng, dtype: {**on_weighted_rows(rng, dtype), "n_draws": 25, "random_state": 0},
    estimator=fitted(bayesian),
    also=SEED,
)


def truncated(make: Callable[[str], Any]) -> Callable[..., Any]:
    return fitted(lambda kind: make(kind).set_params(truncation=2))


for owner, maker in (("gaussian", gaussian), ("bayesian", bayesian), ("own", of_family)):
    add(
        f"{owner} bound_gap",
        method("bound_gap"),
        {**ROWS, "n_samples": "positive count or none"},
        lambda rng, dtype: {**on_rows(rng, dtype), "n_samples": 2},
        estimator=truncated(maker),
    )

# --------------------------------------------------------------------------------- the fit

STARTS = {
    "n_components": "components",
    "tol": "real",
    "max_iter": "count",
    "n_init": "positive count",
    "random_state": "seed",
    "warm_start": "flag",
    "verbose": "verbosity",
    "verbose_interval": "positive count",
    "init_params": "start",
    "init_size": "positive count or none",
    "learning_decay": "real",
    "learning_offset": "real",
    "step_size": "real",
    "total_samples": "positive real",
    "batch_size": "positive count or none",
    "final_pass": "flag",
    "checkpoint_interval": "real",
    "truncation": "positive count or none",
    "n_neighbors": "positive count",
    "n_random": "count",
    "annealing": "temperatures or none",
    "compute_bound_gap": "flag",
    "reseeding": "part or none",
}
GAUSSIAN = {
    **STARTS,
    "reg_covar": "real",
    "covariance_type": "choice",
    "accelerate": "choice",
    "backend": "choice",
}
PRIORS = {
    "weight_concentration_prior_type": "choice",
    "weight_concentration_prior": "positive real",
    "mean_precision_prior": "positive real",
    "degrees_of_freedom_prior": "positive real",
    "mean_prior": "array of a shape",
    "covariance_prior": "array of a shape",
}


def fit_arguments(rng: np.random.Generator, dtype: Any) -> dict[str, Any]:
    return {
        **on_weighted_rows(rng, dtype),
        "n_components": K,
        "tol": 0.5,
        "max_iter": 2,
        "n_init": 1,
        "random_state": 0,
        "warm_start": False,
        "verbose": 0,
        "verbose_interval": 10,
        "init_params": responsibilities(rng, dtype) * 0.75 + 0.25 / K,
        "init_size": 100,
        "learning_decay": 0.75,
        "learning_offset": 8.0,
        "step_size": 0.25,
        "total_samples": 1000.0,
        "batch_size": 5,
        "final_pass": True,
        "checkpoint_interval": 60.0,
        "truncation": None,
        "n_neighbors": 15,
        "n_random": 1,
        "annealing": None,
        "compute_bound_gap": False,
        "reseeding": None,
    }


def gaussian_arguments(rng: np.random.Generator, dtype: Any) -> dict[str, Any]:
    return {
        **fit_arguments(rng, dtype),
        "reg_covar": 1e-3,
        "covariance_type": "diag",
        "accelerate": None,
        "backend": None,
    }


def start_arguments(rng: np.random.Generator, dtype: Any) -> dict[str, Any]:
    return {
        **gaussian_arguments(rng, dtype),
        "weights_init": np.array([0.25, 0.25, 0.5]),
        "means_init": rng.integers(1, 9, (K, D)).astype(float),
        "precisions_init": rng.integers(1, 9, (K, D)).astype(float),
    }


def prior_arguments(rng: np.random.Generator, dtype: Any) -> dict[str, Any]:
    return {
        **gaussian_arguments(rng, dtype),
        "weight_concentration_prior_type": "dirichlet_process",
        "weight_concentration_prior": 1.0,
        "mean_precision_prior": 1.0,
        "degrees_of_freedom_prior": 3.0,
        "mean_prior": rng.integers(1, 9, D).astype(float),
        "covariance_prior": rng.integers(1, 9, D).astype(float),
    }


FITTED_TO = {"X": "rows", "sample_weight": "weights"}
add(
    "gaussian fit",
    fit,
    {
        **FITTED_TO,
        **{name: kind for name, kind in GAUSSIAN.items() if name != "init_params"},
        "weights_init": "distribution",
        "means_init": "array of a shape",
        "precisions_init": "array of a shape",
    },
    start_arguments,
    estimator=fitted(gaussian),
    also={
        "weights_init": ("'weights'",),
        "means_init": ("'means'",),
        "precisions_init": ("precision'",),
        "covariance_type": ("precision'",),
    },
)
add(
    "gaussian fit from responsibilities",
    fit,
    {**FITTED_TO, **GAUSSIAN},
    gaussian_arguments,
    estimator=fitted(gaussian),
)
add(
    "bayesian fit",
    fit,
    {**FITTED_TO, **GAUSSIAN, **PRIORS},
    prior_arguments,
    estimator=fitted(bayesian),
    also={
        "mean_prior": ("'means'",),
        "covariance_prior": ("precision'",),
        "covariance_type": ("covariance_prior'",),
    },
)
add(
    "own fit",
    fit,
    {**FITTED_TO, **STARTS, "family": "family"},
    lambda rng, dtype: {**fit_arguments(rng, dtype), "family": POISSON},
    estimator=fitted(own),
)
add(
    "select",
    lambda stage, arguments: vbfast.select(**arguments, max_iter=1, random_state=0),
    {
        "X": "rows",
        "sample_weight": "weights",
        "n_components": "components to try",
        "covariance_type": "choice",
        "weight_concentration_prior_type": "choice",
        "mean_precision_prior": "prior to try",
        "n_jobs": "jobs",
    },
    lambda rng, dtype: {
        **on_weighted_rows(rng, dtype),
        "n_components": [1, 2],
        "covariance_type": "diag",
        "weight_concentration_prior_type": "dirichlet_process",
        "mean_precision_prior": 1.0,
        "n_jobs": 1,
    },
    backends=("native",),
)
