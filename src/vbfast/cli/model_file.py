"""A fitted mixture as an ``.npz`` file of plain arrays."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from vbfast.estimators import GaussianMixture

__all__ = ["load_model", "save_model"]

_ARRAYS = ("weights_", "means_", "covariances_", "precisions_", "precisions_cholesky_")


def save_model(path: Path, model: GaussianMixture) -> None:
    """Write a fitted mixture.

    The keys are ``covariance_type``, ``lower_bounds`` and the fitted attributes ``weights``,
    ``means``, ``covariances``, ``precisions`` and ``precisions_cholesky``, shaped as
    scikit-learn's.

    Parameters
    ----------
    path : Path
        Overwritten.
    model : GaussianMixture
        Fitted.
    """
    arrays = {name.rstrip("_"): getattr(model, name) for name in _ARRAYS}
    with path.open("wb") as file:
        np.savez(
            file,
            covariance_type=model.covariance_type,
            lower_bounds=np.asarray(model.lower_bounds_),
            **arrays,
        )


def load_model(path: Path) -> GaussianMixture:
    """Read a mixture that :func:`save_model` wrote.

    Raises
    ------
    ValueError
        If the file lacks one of the keys.
    """
    with np.load(path, allow_pickle=False) as archive:
        missing = [name.rstrip("_") for name in _ARRAYS if name.rstrip("_") not in archive]
        if missing or "covariance_type" not in archive:
            raise ValueError(f"{path} is no model file: {', '.join(missing)} missing")
        covariance_type = str(archive["covariance_type"])
        model = GaussianMixture(len(archive["weights"]))
        model.set_params(covariance_type=covariance_type)
        for name in _ARRAYS:
            setattr(model, name, archive[name.rstrip("_")])
        model.lower_bounds_ = archive["lower_bounds"].tolist()
        model.n_features_in_ = model.means_.shape[1]
    return model
