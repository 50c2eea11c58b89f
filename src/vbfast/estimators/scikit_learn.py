"""Fitted mixtures as scikit-learn's own estimators, and the other way."""

from __future__ import annotations

import copy
from numbers import Integral
from typing import Any

import numpy as np
import sklearn.mixture
from sklearn.utils.validation import check_is_fitted

from vbfast.estimators.stored import Stored, check_arrays

__all__ = ["SCIKIT_LEARN", "add_ours", "from_scikit_learn", "to_scikit_learn"]

# Taken when this module is imported: its own classes, whatever its names stand for later.
SCIKIT_LEARN: dict[str, Any] = {
    "GaussianMixture": sklearn.mixture.GaussianMixture,
    "BayesianGaussianMixture": sklearn.mixture.BayesianGaussianMixture,
}

# How a fit ended, where both libraries mean the same by it, and of a mixture that was never fitted.
_ENDED = {"converged_": False, "n_iter_": 0}
# What scikit-learn's classes do not have.
_OURS = ("n_active_components_",)


def to_scikit_learn(mixture: Any) -> Any:
    """Return scikit-learn's estimator with the parameters and attributes of a fitted mixture."""
    theirs = _class_of(type(mixture))
    known = theirs().get_params()
    parameters = {name: value for name, value in mixture.get_params().items() if name in known}
    if not isinstance(parameters["init_params"], str):
        del parameters["init_params"]
    made = theirs(**copy.deepcopy(parameters))
    _copy(mixture, made, [name for name in mixture._stored.attributes if name not in _OURS])
    return made


def from_scikit_learn(mixture: Any, own: type[Any]) -> Any:
    """Return a mixture of a class of this package, fitted as scikit-learn's estimator is."""
    theirs = _class_of(own)
    if not isinstance(mixture, theirs):
        raise TypeError(f"mixture must be scikit-learn's {theirs.__name__}; got {type(mixture)!r}")
    check_is_fitted(mixture)
    parameters = mixture.get_params()
    made = own(**copy.deepcopy({name: parameters[name] for name in theirs().get_params()}))
    stored: Stored = own._stored
    attributes = [name for name in stored.attributes if name not in _OURS]
    _copy(mixture, made, attributes)
    missing = [name for name in attributes if not hasattr(made, name)]
    if missing:
        raise ValueError(
            f"mixture has no {', '.join(missing)}: it was not fitted, or not wholly set"
        )
    arrays = {name.rstrip("_"): _as_real(getattr(made, name)) for name in attributes}
    chosen = {name: parameters[name] for name in stored.choices}
    check_arrays(
        {**arrays, "lower_bounds": np.asarray(made.lower_bounds_, dtype=np.float64)},
        list(arrays),
        **chosen,
    )
    made.n_features_in_ = made.means_.shape[1]
    add_ours(made)
    stored.check(made)
    return made


def add_ours(mixture: Any) -> None:
    """Complete a mixture that has what scikit-learn's fit sets."""
    mixture.n_passes_ = mixture.n_iter_
    if not hasattr(mixture, "lower_bounds_"):  # an older scikit-learn's
        mixture.lower_bounds_ = [mixture.lower_bound_]
    if isinstance(getattr(mixture, "degrees_of_freedom_prior_", None), Integral):
        # Where it is the number of features; a model file holds real numbers.
        mixture.degrees_of_freedom_prior_ = float(mixture.degrees_of_freedom_prior_)
    for name in _OURS:
        if name in mixture._stored.attributes:
            family = mixture._fitted_family()
            fitted = family.attributes(mixture._fitted_parameters(), mixture.means_.dtype)
            setattr(mixture, name, fitted[name])


def _as_real(value: Any) -> Any:
    """Return an attribute as an array; scikit-learn's degrees of freedom may be an integer."""
    array = np.asarray(value)
    return array.astype(np.float64) if array.dtype.kind in "iu" else array


def _class_of(own: type[Any]) -> Any:
    """Return scikit-learn's class that one of ours stands for."""
    for known in own.__mro__:
        if known.__name__ in SCIKIT_LEARN:
            return SCIKIT_LEARN[known.__name__]
    raise TypeError(f"{own.__name__} stands for no class of scikit-learn's")


def _copy(fitted: Any, made: Any, attributes: list[str]) -> None:
    for name in (*attributes, "n_features_in_", "feature_names_in_"):
        if hasattr(fitted, name):
            setattr(made, name, copy.deepcopy(getattr(fitted, name)))
    for name, value in _ENDED.items():
        setattr(made, name, getattr(fitted, name, value))
    comparable = any(isinstance(one, SCIKIT_LEARN["GaussianMixture"]) for one in (made, fitted))
    made.lower_bound_ = getattr(fitted, "lower_bound_", -np.inf) if comparable else -np.inf
    made.lower_bounds_ = list(getattr(fitted, "lower_bounds_", [])) if comparable else []
