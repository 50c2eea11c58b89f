"""Calls that take parameters: attributes, natural parameters, functions of a family."""

from __future__ import annotations

import copy
from collections.abc import Callable
from dataclasses import fields
from typing import Any

import numpy as np

import vbfast
from calls import D, Scene, add
from estimator_calls import POISSON, bayesian, fitted, gaussian, method, on_rows, own


def fitted_attributes(*names: str) -> Callable[[Scene], dict[str, Any]]:
    return lambda stage: {name: getattr(stage.estimator, name) for name in names}


def attributes(stage: Scene, arguments: dict[str, Any]) -> Any:
    """Predict with attributes that were set after the fit."""
    X = arguments.pop("X")
    changed = copy.copy(stage.estimator)
    for name, value in arguments.items():
        setattr(changed, name, value)
    return changed.predict_proba(X)


add(
    "gaussian attributes",
    attributes,
    {"weights_": "attribute", "means_": "attribute", "precisions_cholesky_": "attribute"},
    on_rows,
    estimator=fitted(gaussian),
    derived=fitted_attributes("weights_", "means_", "precisions_cholesky_"),
)
add(
    "bayesian attributes",
    attributes,
    {
        "weight_concentration_": "attribute",
        "means_": "attribute",
        "precisions_cholesky_": "attribute",
        "mean_precision_": "attribute",
        "degrees_of_freedom_": "attribute",
    },
    on_rows,
    estimator=fitted(bayesian),
    derived=fitted_attributes(
        "weight_concentration_",
        "means_",
        "precisions_cholesky_",
        "mean_precision_",
        "degrees_of_freedom_",
    ),
)
add(
    "own attributes",
    attributes,
    {"weights_": "attribute", "parameters_": "attribute"},
    on_rows,
    estimator=fitted(own),
    derived=fitted_attributes("weights_", "parameters_"),
    also={"parameters_": (r"\bweights_",)},  # of which there are to be as many
    pairs=False,  # of both one less is a mixture
)

# ------------------------------------------------------------------ marginals and conditionals

for maker in (gaussian, bayesian):
    add(
        f"{maker.__name__} marginal",
        method("marginal"),
        {"features": "features"},
        lambda rng, dtype: {"features": [1]},
        estimator=fitted(maker),
    )
    add(
        f"{maker.__name__} condition",
        method("condition"),
        {"features": "features", "values": "array of a shape"},
        lambda rng, dtype: {"features": [1], "values": np.array([2.5])},
        estimator=fitted(maker),
    )


# ------------------------------------------------------------------------------- scikit-learn


def from_sklearn(stage: Scene, arguments: dict[str, Any]) -> Any:
    """Take over scikit-learn's estimator, or what is none, with attributes that may be odd."""
    theirs = copy.copy(arguments.pop("mixture"))
    for name, value in arguments.items():
        if hasattr(theirs, name):
            setattr(theirs, name, value)
    return type(stage.estimator).from_sklearn(theirs)


for maker, more in (
    (gaussian, ("weights_",)),
    (bayesian, ("weight_concentration_", "mean_precision_", "degrees_of_freedom_")),
):
    names = (*more, "means_", "precisions_cholesky_")
    add(
        f"{maker.__name__} from_sklearn",
        from_sklearn,
        {"mixture": "scikit-learn's mixture", **dict.fromkeys(names, "copied attribute")},
        lambda rng, dtype: {},
        estimator=fitted(maker),
        derived=lambda stage, names=names: {
            "mixture": stage.estimator.to_sklearn(),
            **{name: getattr(stage.estimator.to_sklearn(), name) for name in names},
        },
        # As in a model file; of means there are to be as many as of weights.
        also={name: (rf"\b{name.rstrip('_')}", rf"\b{more[0].rstrip('_')}") for name in names},
        pairs=False,
    )

# ------------------------------------------------------------------------ natural parameters


def moved(stage: Scene, arguments: dict[str, Any]) -> Any:
    """Go to natural parameters some of which are odd."""
    found = stage.estimator.natural_parameters_
    values = {item.name: getattr(found, item.name) for item in fields(found)}
    return stage.estimator.with_natural_parameters(
        vbfast.NaturalParameters(**{**values, **arguments})
    )


def natural(stage: Scene) -> dict[str, Any]:
    found = stage.estimator.natural_parameters_
    return {item.name: getattr(found, item.name) for item in fields(found)}


add(
    "NaturalParameters",
    moved,
    {
        "weight_concentration": "coordinates",
        "mean_precision": "coordinates",
        "scaled_means": "coordinates",
        "second_moments": "coordinates",
        "degrees_of_freedom": "coordinates",
    },
    lambda rng, dtype: {},
    estimator=fitted(bayesian),
    derived=natural,
)
add(
    "bayesian with_natural_parameters",
    method("with_natural_parameters"),
    {"natural_parameters": "no natural parameters"},
    lambda rng, dtype: {},
    estimator=fitted(bayesian),
    derived=lambda stage: {"natural_parameters": stage.estimator.natural_parameters_},
)
add(
    "multiple of natural parameters",
    lambda stage, arguments: arguments["factor"] * stage.estimator.natural_parameters_,
    {"factor": "factor"},
    lambda rng, dtype: {"factor": 0.5},
    estimator=fitted(bayesian),
    also={"factor": ("NaturalParameters",)},
)

# ----------------------------------------------------------------------------- user functions


def of_custom_components(stage: Scene, arguments: dict[str, Any]) -> Any:
    """Fit a mixture of a family some of whose functions are odd."""
    X = np.arange(1.0, 41.0).reshape(20, D)
    family = vbfast.families.Custom(**arguments)
    stage.estimator = vbfast.Mixture(family, 2, tol=0.0, max_iter=3, random_state=0)
    fitted_to, stage.estimator = stage.estimator.fit(X), None
    return fitted_to, fitted_to.sample(4)


def of_a_gaussian(stage: Scene, arguments: dict[str, Any]) -> Any:
    X = np.arange(1.0, 41.0).reshape(20, D)
    family = vbfast.families.Gaussian(**arguments)
    return vbfast.Mixture(family, 2, tol=0.0, max_iter=3, random_state=0).fit(X)


add(
    "Gaussian",
    of_a_gaussian,
    {"covariance_type": "choice", "reg_covar": "real"},
    lambda rng, dtype: {"covariance_type": "diag", "reg_covar": 1e-3},
    backends=("native",),
)


def of_a_subclass(stage: Scene, arguments: dict[str, Any]) -> Any:
    """Fit a mixture of exponential distributions some of whose functions are odd."""

    class Exponential(vbfast.families.ComponentFamily):
        def log_densities(self, theta: Any, n_features: int) -> Any:
            return arguments["log_densities"](theta, n_features)

        def maximize(self, statistics: Any, weight: Any) -> Any:
            return arguments["maximize"](statistics, weight)

        def sample(self, theta: Any, n_samples: int, random_state: Any) -> Any:
            return arguments["sample"](theta, n_samples, random_state)

    X = np.arange(1.0, 41.0).reshape(20, D)
    mixture = vbfast.Mixture(Exponential(), 2, tol=0.0, max_iter=3, random_state=0).fit(X)
    return mixture, mixture.sample(4)


add(
    "ComponentFamily",
    of_a_subclass,
    {
        "log_densities": "densities",
        "maximize": "returned parameters",
        "sample": "returned rows",
    },
    lambda rng, dtype: {
        "log_densities": lambda theta, n_features: vbfast.families.LogJoint(
            np.log(theta).sum(axis=1), vbfast.families.Linear(-theta)
        ),
        "maximize": lambda statistics, weight: weight[:, np.newaxis] / statistics,
        "sample": lambda theta, n, generator: generator.exponential(1 / theta, (n, len(theta))),
    },
    backends=("native",),
    also={"maximize": ("log_densities",)},  # of other parameters
)
add(
    "Custom",
    of_custom_components,
    {
        "log_density": "density",
        "sufficient_statistics": "statistics",
        "maximize": "global step",
        "n_statistics": "length or function",
        "sample": "draw",
    },
    lambda rng, dtype: {
        "log_density": POISSON.log_density.py_func,
        "sufficient_statistics": POISSON.sufficient_statistics.py_func,
        "maximize": POISSON.maximize,
        "n_statistics": D,
        "sample": POISSON.sample,
    },
    backends=("native",),
)
