"""What a model file holds of a class of mixtures, and whether arrays from anywhere can be one."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from vbfast.contract import covariance_shape
from vbfast.estimators.starts import check_given_start
from vbfast.families.attributes import GAUSSIAN_ATTRIBUTES
from vbfast.families.stored import check_covariances, check_prior_covariance
from vbfast.families.variational import POSTERIOR_ATTRIBUTES, PRIOR_ATTRIBUTES

__all__ = ["Stored", "check_arrays", "check_gaussian", "check_posterior"]

Arrays = dict[str, npt.NDArray[Any]]


@dataclass(frozen=True)
class Stored:
    """What a model file holds of a class of mixtures.

    Attributes
    ----------
    attributes : tuple of str
        Fitted attributes.
    choices : dict of str to tuple of str
        Parameters of the class that decide the arrays' shapes, and what they may be.
    check : callable
        Checks the values of a mixture from a file, once the shapes are right.
    """

    attributes: tuple[str, ...]
    choices: dict[str, tuple[str, ...]]
    check: Callable[[Any], None]


def check_arrays(
    arrays: Arrays,
    keys: list[str],
    covariance_type: Any,
    weight_concentration_prior_type: str | None = None,
) -> None:
    """Check that the arrays hold numbers, and have the shapes that go with those of the means."""
    for key in (*keys, "lower_bounds"):
        kind = "iu" if key == "n_active_components" else "f"
        array = arrays[key]
        if array.dtype.kind not in kind or (kind == "f" and array.dtype.itemsize not in (4, 8)):
            raise ValueError(f"{key} has dtype {array.dtype}; expected real numbers")
        if np.isnan(array).any():
            raise ValueError(f"{key} has NaN")
        arrays[key] = array.astype(array.dtype.newbyteorder("="), copy=False)
    if arrays["means"].ndim != 2 or 0 in arrays["means"].shape:
        raise ValueError(
            f"means has shape {arrays['means'].shape}; expected two dimensions, none of them empty"
        )
    if arrays["lower_bounds"].ndim != 1:
        raise ValueError(
            f"lower_bounds has shape {arrays['lower_bounds'].shape}; expected one dimension"
        )
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
    fitted = [attribute.rstrip("_") for attribute in (*GAUSSIAN_ATTRIBUTES, *POSTERIOR_ATTRIBUTES)]
    dtypes = {str(arrays[key].dtype) for key in fitted if key in keys}
    if len(dtypes) > 1:
        raise ValueError(f"arrays have the dtypes {' and '.join(sorted(dtypes))}; expected one")


def check_gaussian(model: Any) -> None:
    """Check the values of means and covariances, once the shapes are right."""
    K, D = model.means_.shape
    check_given_start(
        model.weights_,
        model.means_,
        None,
        covariance_type=model.covariance_type,
        n_components=K,
        n_features=D,
    )
    check_covariances(
        model.covariance_type, model.covariances_, model.precisions_, model.precisions_cholesky_
    )


def check_posterior(model: Any) -> None:
    """Check a posterior and its prior as well, and give them the types of a fit's."""
    check_gaussian(model)
    D = model.n_features_in_
    for name in (*POSTERIOR_ATTRIBUTES, *PRIOR_ATTRIBUTES):
        values = np.asarray(getattr(model, name))
        if not np.isfinite(values).all():
            raise ValueError(f"{name.rstrip('_')} must be finite")
        least = D - 1 if name.startswith("degrees") else 0
        if name not in ("mean_prior_", "covariance_prior_") and not (values > least).all():
            raise ValueError(f"{name.rstrip('_')} must be greater than {least}")
    check_prior_covariance(model.covariance_type, np.asarray(model.covariance_prior_))
    if np.ndim(model.weight_concentration_) == 2:
        model.weight_concentration_ = tuple(model.weight_concentration_)
    for name in (
        "weight_concentration_prior_",
        "mean_precision_prior_",
        "degrees_of_freedom_prior_",
    ):
        setattr(model, name, float(getattr(model, name)))
    model.n_active_components_ = int(model.n_active_components_)
    if not 0 <= model.n_active_components_ <= len(model.weights_):
        raise ValueError(
            f"n_active_components must be at most {len(model.weights_)}; got "
            f"{model.n_active_components_}"
        )
    eps = float(np.finfo(model.weights_.dtype).eps)
    mean = model._fitted_parameters().weights.mean
    if not np.allclose(model.weights_, mean, rtol=16.0 * (len(mean) + 8) * eps, atol=1e-30):
        raise ValueError("weights must be the means of weight_concentration")
