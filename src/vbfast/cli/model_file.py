"""A fitted mixture as an ``.npz`` file of plain arrays."""

from __future__ import annotations

import zipfile
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from vbfast.cli.data import BROKEN_ARCHIVE
from vbfast.engine.contract import COVARIANCE_TYPES, covariance_shape
from vbfast.estimators import BayesianGaussianMixture, GaussianMixture
from vbfast.estimators.priors import WEIGHT_PRIORS

__all__ = ["load_model", "save_model"]

Arrays = dict[str, npt.NDArray[Any]]

_ARRAYS = ("weights_", "means_", "covariances_", "precisions_", "precisions_cholesky_")
_POSTERIOR = (
    "weight_concentration_",
    "mean_precision_",
    "degrees_of_freedom_",
    "weight_concentration_prior_",
    "mean_precision_prior_",
    "mean_prior_",
    "degrees_of_freedom_prior_",
    "covariance_prior_",
    "n_active_components_",
)
# Parameters of the classes that decide the arrays' shapes, and what they may be.
_CHOICES = (
    ("covariance_type", COVARIANCE_TYPES),
    ("weight_concentration_prior_type", tuple(WEIGHT_PRIORS)),
)
_CLASSES: dict[str, tuple[type[GaussianMixture | BayesianGaussianMixture], tuple[str, ...]]] = {
    "GaussianMixture": (GaussianMixture, _ARRAYS),
    "BayesianGaussianMixture": (BayesianGaussianMixture, _ARRAYS + _POSTERIOR),
}


def save_model(path: Path, model: GaussianMixture | BayesianGaussianMixture) -> None:
    """Write a fitted mixture.

    The keys are ``model``, the name of the class, ``covariance_type``, ``lower_bounds`` and the
    fitted attributes ``weights``, ``means``, ``covariances``, ``precisions`` and
    ``precisions_cholesky``, shaped as scikit-learn's; of a Bayesian mixture also
    ``weight_concentration_prior_type`` and the attributes that hold its posterior and prior, with
    the two rows of a Dirichlet process's ``weight_concentration`` in one array.

    Parameters
    ----------
    path : Path
        Overwritten.
    model : GaussianMixture or BayesianGaussianMixture
        Fitted.
    """
    name = type(model).__name__
    arrays = {attribute.rstrip("_"): getattr(model, attribute) for attribute in _CLASSES[name][1]}
    if isinstance(model, BayesianGaussianMixture):
        arrays["weight_concentration_prior_type"] = model.weight_concentration_prior_type
    with path.open("wb") as file:
        np.savez(
            file,
            model=name,
            covariance_type=model.covariance_type,
            lower_bounds=np.asarray(model.lower_bounds_),
            **arrays,
        )


def load_model(path: Path) -> GaussianMixture | BayesianGaussianMixture:
    """Read a mixture that :func:`save_model` wrote.

    Raises
    ------
    ValueError
        If the file is no archive, is damaged, lacks one of the keys, names a class or a covariance
        type that is none of these, or has an array of the wrong shape, of no numbers or with NaN.
    """
    try:
        return _restored(_read(path))
    except ValueError as error:
        raise ValueError(f"{path} is no model file: {error}") from error


def _read(path: Path) -> Arrays:
    with path.open("rb") as file:
        if not zipfile.is_zipfile(file):
            raise ValueError("no .npz archive")
    try:
        with np.load(path, allow_pickle=False) as archive:
            return {key: archive[key] for key in archive}
    except BROKEN_ARCHIVE as error:
        raise ValueError(error) from error


def _restored(arrays: Arrays) -> GaussianMixture | BayesianGaussianMixture:
    """Return the mixture that the arrays of a file make."""
    name = str(arrays.get("model", ""))
    if name not in _CLASSES:
        raise ValueError(f"it names the class {name!r}")
    mixture, attributes = _CLASSES[name]
    choices = _CHOICES if mixture is BayesianGaussianMixture else _CHOICES[:1]
    keys = [attribute.rstrip("_") for attribute in attributes]
    needed = (*(choice for choice, _ in choices), *keys, "lower_bounds")
    missing = [key for key in needed if key not in arrays]
    if missing:
        raise ValueError(f"{', '.join(missing)} missing")
    chosen = {choice: str(arrays[choice]) for choice, _ in choices}
    for choice, known in choices:
        if chosen[choice] not in known:
            raise ValueError(f"{choice} is {chosen[choice]!r}, none of {', '.join(known)}")
    _check_arrays(arrays, keys, **chosen)

    model = mixture(len(arrays["weights"]))
    model.set_params(**chosen)
    for attribute, key in zip(attributes, keys, strict=True):
        # [()] makes numbers of arrays without dimensions.
        setattr(model, attribute, arrays[key][()])
    if isinstance(model, BayesianGaussianMixture) and model.weight_concentration_.ndim == 2:
        model.weight_concentration_ = tuple(model.weight_concentration_)
    model.lower_bounds_ = arrays["lower_bounds"].tolist()
    model.lower_bound_ = model.lower_bounds_[-1] if model.lower_bounds_ else -np.inf
    model.n_features_in_ = model.means_.shape[1]
    return model


def _check_arrays(
    arrays: Arrays,
    keys: list[str],
    covariance_type: Any,
    weight_concentration_prior_type: str | None = None,
) -> None:
    """Check that the arrays hold numbers, and have the shapes that go with those of the means."""
    for key in (*keys, "lower_bounds"):
        if arrays[key].dtype.kind not in "biuf":
            raise ValueError(f"{key} has dtype {arrays[key].dtype}; expected real numbers")
        if np.isnan(arrays[key]).any():
            raise ValueError(f"{key} has NaN")
    if arrays["means"].ndim != 2:
        raise ValueError(f"means has shape {arrays['means'].shape}; expected two dimensions")
    K, D = arrays["means"].shape
    covariances = covariance_shape(covariance_type, K, D)
    tied, sticks = covariance_type == "tied", weight_concentration_prior_type == "dirichlet_process"
    shapes: dict[str, tuple[int, ...]] = {
        "weights": (K,),
        "covariances": covariances,
        "precisions": covariances,
        "precisions_cholesky": covariances,
        "weight_concentration": (2, K) if sticks else (K,),
        "mean_precision": (K,),
        "degrees_of_freedom": () if tied else (K,),
        "mean_prior": (D,),
        "covariance_prior": covariances if tied else covariances[1:],
    }
    for key in keys:
        shape = (K, D) if key == "means" else shapes.get(key, ())
        if arrays[key].shape != shape:
            raise ValueError(
                f"{key} has shape {arrays[key].shape}; expected {shape} for means of shape {(K, D)}"
            )
