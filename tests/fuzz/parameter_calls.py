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


def of_ones_own(stage: Scene, arguments: dict[str, Any]) -> Any:
    """Fit a mixture of a family some of whose functions are odd."""
    X = np.arange(1.0, 41.0).reshape(20, D)
    family = vbfast.families.Custom(**arguments)
    stage.estimator = vbfast.Mixture(family, 2, tol=0.0, max_iter=3, random_state=0)
    fitted_to, stage.estimator = stage.estimator.fit(X), None
    return fitted_to, fitted_to.sample(4)


add(
    "Custom",
    of_ones_own,
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
