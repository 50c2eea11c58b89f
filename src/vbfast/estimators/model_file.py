"""A fitted mixture as an ``.npz`` file of plain arrays."""

from __future__ import annotations

import json
import os
import zipfile
from pathlib import Path
from typing import IO, Any

import numpy as np
import numpy.typing as npt
from sklearn.utils.validation import check_is_fitted

from vbfast._version import __version__
from vbfast.atomic_file import written_whole
from vbfast.contract import COVARIANCE_TYPES, covariance_shape
from vbfast.estimators.bayesian import BayesianGaussianMixture
from vbfast.estimators.fitted import FittedMixture
from vbfast.estimators.gaussian import GaussianMixture
from vbfast.estimators.priors import WEIGHT_PRIORS
from vbfast.estimators.starts import check_given_start
from vbfast.families.stored import check_covariances, check_prior_covariance

__all__ = ["FORMAT_VERSION", "SUFFIX", "load", "save_model"]

Arrays = dict[str, npt.NDArray[Any]]
GaussianEstimator = GaussianMixture | BayesianGaussianMixture

# Raised when a key is added, removed or changes its meaning. The first format, of 0.1.0, has no
# number: it lacks `parameters`, `feature_names` and how the fit ended.
FORMAT_VERSION = 2
SUFFIX = ".npz"

_ARRAYS = ("weights_", "means_", "covariances_", "precisions_", "precisions_cholesky_")
_POSTERIOR = ("weight_concentration_", "mean_precision_", "degrees_of_freedom_")
_PRIOR = (
    "weight_concentration_prior_",
    "mean_precision_prior_",
    "mean_prior_",
    "degrees_of_freedom_prior_",
    "covariance_prior_",
)
_ENDED = {"converged_": "b", "n_iter_": "iu", "n_passes_": "iu"}  # kinds of dtype
_CLASSES: dict[str, type[GaussianEstimator]] = {
    "GaussianMixture": GaussianMixture,
    "BayesianGaussianMixture": BayesianGaussianMixture,
}
# Parameters of the classes that decide the arrays' shapes, and what they may be.
_CHOICES = (
    ("covariance_type", COVARIANCE_TYPES),
    ("weight_concentration_prior_type", tuple(WEIGHT_PRIORS)),
)
# Parameters that belong to the machine.
_NOT_KEPT = ("backend",)
# The key of a parameter that is an array.
_GIVEN = "given_"


def save_model(path: str | os.PathLike[str], model: FittedMixture) -> None:
    """Write a fitted mixture, see :meth:`~vbfast.estimators.fitted.FittedMixture.save`.

    The keys are ``format_version``, ``vbfast_version``, ``model``, the name of the class,
    ``parameters``, a JSON object of the constructor's parameters that are numbers, names or None,
    ``given_`` and a parameter's name for those that are arrays, ``covariance_type``,
    ``feature_names`` (empty where there are none), ``lower_bounds``, ``converged``, ``n_iter``,
    ``n_passes`` and the fitted attributes ``weights``, ``means``, ``covariances``, ``precisions``
    and ``precisions_cholesky``, shaped as scikit-learn's; of a Bayesian mixture also
    ``weight_concentration_prior_type`` and the attributes that hold its posterior and prior, with
    the two rows of a Dirichlet process's ``weight_concentration`` in one array.

    Parameters
    ----------
    path : str or path
        Ends in ``.npz``.
    model : GaussianMixture or BayesianGaussianMixture
        Fitted.
    """
    path, name = Path(path), type(model).__name__
    if _CLASSES.get(name) is not type(model):
        raise TypeError(
            f"a model file holds a {' or '.join(_CLASSES)}, whose parameters are arrays; got a "
            f"{name}. User functions are Python code: pickle the mixture with cloudpickle"
        )
    assert isinstance(model, GaussianEstimator)
    if path.suffix.lower() != SUFFIX:
        raise ValueError(f"path must end in {SUFFIX}, which is what is written; got {path}")
    check_is_fitted(model)
    arrays = _arrays_of(model)
    try:
        _restored(arrays)
    except ValueError as error:
        raise ValueError(f"the mixture could not be read again from {path}: {error}") from error
    with written_whole(path) as file:
        np.savez(file, **arrays)  # type: ignore[arg-type]


def load(path: str | os.PathLike[str]) -> GaussianEstimator:
    """Read a mixture that ``save``, or ``vbfast fit -o``, wrote.

    The file holds no code, and its arrays are checked as thoroughly as a start that is given to the
    constructor.

    Parameters
    ----------
    path : str or path
        Files of earlier versions are read; those of 0.1.0 have no parameters but
        ``covariance_type`` and ``weight_concentration_prior_type``, and do not say how the fit
        ended: other parameters have their defaults, and ``converged_`` and ``n_passes_`` are
        missing.

    Returns
    -------
    mixture : GaussianMixture or BayesianGaussianMixture
        Equal to the one that was saved.

    Raises
    ------
    OSError
        If the file cannot be read.
    ValueError
        If it is not an archive, is damaged, was written by a later version, lacks one of the keys,
        names an unknown class or covariance type, or has an array of the wrong shape or dtype, with
        NaN, or with impossible numbers (negative weights, say).

    Examples
    --------
    >>> import pathlib, tempfile
    >>> import numpy as np
    >>> import vbfast
    >>> X = np.random.default_rng(0).normal(size=(100, 2))
    >>> mixture = vbfast.GaussianMixture(2, random_state=0).fit(X)
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     path = pathlib.Path(folder) / "mixture.npz"
    ...     mixture.save(path)
    ...     loaded = vbfast.load(path)
    >>> loaded.score(X) == mixture.score(X)
    True
    """
    path = Path(path)
    with path.open("rb") as file:
        try:
            return _restored(_read(file))
        except ValueError as error:
            raise ValueError(f"{path} is no model file: {error}") from error


def _arrays_of(model: GaussianEstimator) -> Arrays:
    """Return what a file holds of a mixture."""
    values: dict[str, Any] = {
        attribute.rstrip("_"): getattr(model, attribute) for attribute in _attributes(type(model))
    }
    values |= {name: getattr(model, name) for name in _choices(type(model))}
    plain = {}
    for name, value in model.get_params(deep=False).items():
        if isinstance(value, np.generic):
            value = value.item()
        if name in _NOT_KEPT:
            continue
        if value is None or isinstance(value, bool | int | float | str):
            plain[name] = value
        elif name.endswith(("_init", "_prior")):
            values[_GIVEN + name] = value
    return {
        "format_version": np.asarray(FORMAT_VERSION),
        "vbfast_version": np.asarray(__version__),
        "model": np.asarray(type(model).__name__),
        "parameters": np.asarray(json.dumps(plain)),
        "feature_names": np.asarray(getattr(model, "feature_names_in_", ()), dtype=np.str_),
        "lower_bounds": np.asarray(model.lower_bounds_, dtype=np.float64),
        **{attribute.rstrip("_"): np.asarray(getattr(model, attribute)) for attribute in _ENDED},
        **{key: np.asarray(value) for key, value in values.items()},
    }


def _attributes(mixture: type[GaussianEstimator]) -> tuple[str, ...]:
    if mixture is BayesianGaussianMixture:
        return (*_ARRAYS, *_POSTERIOR, *_PRIOR, "n_active_components_")
    return _ARRAYS


def _choices(mixture: type[GaussianEstimator]) -> dict[str, tuple[str, ...]]:
    return dict(_CHOICES if mixture is BayesianGaussianMixture else _CHOICES[:1])


def _read(file: IO[bytes]) -> Arrays:
    """Return the arrays of an archive whose checksums are right."""
    try:
        if not zipfile.is_zipfile(file):
            raise ValueError("no .npz archive")
        with zipfile.ZipFile(file) as archive:
            broken = archive.testzip()
        if broken is not None:
            raise ValueError(f"{broken} is damaged")
        file.seek(0)
        with np.load(file, allow_pickle=False) as arrays:
            read = {key: arrays[key] for key in arrays}
        foreign = [key for key, array in read.items() if not isinstance(array, np.ndarray)]
        if foreign:
            raise ValueError(f"{', '.join(foreign)} is not what NumPy writes")
        return read
    except Exception as error:
        # A flipped byte makes zipfile raise nearly anything: that an archive is encrypted, say.
        raise ValueError(str(error) or type(error).__name__) from error


def _restored(arrays: Arrays) -> GaussianEstimator:
    """Return the mixture that the arrays of a file make."""
    version = _format_version(arrays)
    name = str(arrays.get("model", ""))
    if name not in _CLASSES:
        raise ValueError(f"it names the class {name!r}" if name else "it names no class")
    mixture = _CLASSES[name]
    attributes, choices = _attributes(mixture), _choices(mixture)
    ended = _ENDED if version > 1 else {}
    keys = [attribute.rstrip("_") for attribute in attributes]
    needed = (*choices, *keys, "lower_bounds", *(attribute.rstrip("_") for attribute in ended))
    if version > 1:
        needed += ("parameters", "feature_names")
    missing = [key for key in needed if key not in arrays]
    if missing:
        raise ValueError(f"{', '.join(missing)} missing")
    chosen = {choice: str(arrays[choice]) for choice in choices}
    for choice, known in choices.items():
        if chosen[choice] not in known:
            raise ValueError(f"{choice} is {chosen[choice]!r}, none of {', '.join(known)}")
    _check_arrays(arrays, keys, **chosen)

    model = mixture(len(arrays["weights"]))
    model.set_params(**_parameters(arrays, model) | chosen)
    model._validate_params()
    for attribute, key in zip(attributes, keys, strict=True):
        # [()] makes numbers of arrays without dimensions.
        setattr(model, attribute, arrays[key][()])
    for attribute, kinds in ended.items():
        setattr(model, attribute, _number(arrays, attribute.rstrip("_"), kinds))
    model.lower_bounds_ = arrays["lower_bounds"].tolist()
    model.lower_bound_ = model.lower_bounds_[-1] if model.lower_bounds_ else -np.inf
    if version == 1:
        model.n_iter_ = len(model.lower_bounds_)
    model.n_features_in_ = model.means_.shape[1]
    _restore_names(model, arrays.get("feature_names"))
    _check_values(model)
    return model


def _format_version(arrays: Arrays) -> int:
    if "format_version" not in arrays:
        return 1
    version = _number(arrays, "format_version", "iu")
    if version > FORMAT_VERSION:
        raise ValueError(
            f"it has format {version}, of vbfast {arrays.get('vbfast_version', '')}; this is "
            f"vbfast {__version__}, which reads formats up to {FORMAT_VERSION}: upgrade it"
        )
    return int(version)


def _number(arrays: Arrays, key: str, kinds: str) -> Any:
    value = arrays[key]
    if value.shape or value.dtype.kind not in kinds:
        raise ValueError(f"{key} must be one {'truth value' if kinds == 'b' else 'integer'}")
    if value < 0:
        raise ValueError(f"{key} must not be negative; got {value}")
    return value.item()


def _parameters(arrays: Arrays, model: GaussianEstimator) -> dict[str, Any]:
    """Return the constructor's parameters that a file names."""
    try:
        parameters = json.loads(str(arrays.get("parameters", "{}")))
    except (ValueError, RecursionError) as error:
        raise ValueError(f"parameters is no JSON: {error}") from error
    if not isinstance(parameters, dict):
        raise ValueError("parameters is no JSON object")
    given = {
        key.removeprefix(_GIVEN): array for key, array in arrays.items() if key.startswith(_GIVEN)
    }
    unknown = sorted({*parameters, *given} - set(model.get_params(deep=False)))
    if unknown:
        raise ValueError(f"{type(model).__name__} has no parameter {', '.join(unknown)}")
    return {**parameters, **given}


def _check_arrays(
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
    fitted = [attribute.rstrip("_") for attribute in (*_ARRAYS, *_POSTERIOR)]
    dtypes = {str(arrays[key].dtype) for key in fitted if key in keys}
    if len(dtypes) > 1:
        raise ValueError(f"arrays have the dtypes {' and '.join(sorted(dtypes))}; expected one")


def _restore_names(model: GaussianEstimator, names: npt.NDArray[Any] | None) -> None:
    """Set the names of the features, where there are any."""
    if names is None or names.shape == (0,):
        return
    if names.dtype.kind != "U" or names.shape != (model.n_features_in_,):
        raise ValueError(
            f"feature_names has shape {names.shape} and dtype {names.dtype}; expected "
            f"{model.n_features_in_} strings"
        )
    model.feature_names_in_ = names.astype(object)


def _check_values(model: GaussianEstimator) -> None:
    """Check the values, once the shapes are right."""
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
    if isinstance(model, BayesianGaussianMixture):
        _check_posterior(model)


def _check_posterior(model: BayesianGaussianMixture) -> None:
    """Check a posterior and its prior, and give them the types of a fit's."""
    D = model.n_features_in_
    for name in (*_POSTERIOR, *_PRIOR):
        values = np.asarray(getattr(model, name))
        if not np.isfinite(values).all():
            raise ValueError(f"{name.rstrip('_')} must be finite")
        least = D - 1 if name.startswith("degrees") else 0
        if name not in ("mean_prior_", "covariance_prior_") and not (values > least).all():
            raise ValueError(f"{name.rstrip('_')} must be greater than {least}")
    check_prior_covariance(model.covariance_type, np.asarray(model.covariance_prior_))
    if model.weight_concentration_.ndim == 2:
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
    mean = model._posterior().weights.mean
    if not np.allclose(model.weights_, mean, rtol=16.0 * (len(mean) + 8) * eps, atol=1e-30):
        raise ValueError("weights must be the means of weight_concentration")
