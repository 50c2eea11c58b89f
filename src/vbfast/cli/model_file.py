"""A fitted mixture as an ``.npz`` file of plain arrays."""

from __future__ import annotations

import zipfile
from pathlib import Path
from typing import Any

import numpy as np

from vbfast.estimators import BayesianGaussianMixture, GaussianMixture

__all__ = ["load_model", "save_model"]

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
        If the file is no archive, lacks one of the keys, or names a class that is none of these.
    """
    with path.open("rb") as file:
        if not zipfile.is_zipfile(file):
            raise ValueError(f"{path} is no model file: no .npz archive")
    with np.load(path, allow_pickle=False) as archive:
        name = str(archive["model"]) if "model" in archive else ""
        if name not in _CLASSES:
            raise ValueError(f"{path} is no model file: it names the class {name!r}")
        mixture, attributes = _CLASSES[name]
        missing = [
            key
            for key in ("covariance_type", *(attribute.rstrip("_") for attribute in attributes))
            if key not in archive
        ]
        if missing:
            raise ValueError(f"{path} is no model file: {', '.join(missing)} missing")
        model = mixture(len(archive["weights"]))
        model.set_params(covariance_type=str(archive["covariance_type"]))
        for attribute in attributes:
            # [()] makes numbers of arrays without dimensions.
            setattr(model, attribute, archive[attribute.rstrip("_")][()])
        if isinstance(model, BayesianGaussianMixture):
            _restore_weight_prior(model, archive)
        model.lower_bounds_ = archive["lower_bounds"].tolist()
        model.lower_bound_ = model.lower_bounds_[-1] if model.lower_bounds_ else -np.inf
        model.n_features_in_ = model.means_.shape[1]
    return model


def _restore_weight_prior(model: BayesianGaussianMixture, archive: Any) -> None:
    model.set_params(
        weight_concentration_prior_type=str(archive["weight_concentration_prior_type"])
    )
    if model.weight_concentration_prior_type == "dirichlet_process":
        model.weight_concentration_ = tuple(model.weight_concentration_)
