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
from vbfast.estimators.stored import Stored, check_arrays
from vbfast.estimators.stored_neighbors import neighbor_arrays, restore_neighbors
from vbfast.estimators.stored_stream import restore_stream, stream_arrays

__all__ = [
    "FORMAT_VERSION",
    "SUFFIX",
    "arrays_of",
    "check_is_stored",
    "read_archive",
    "read_model",
    "restored",
    "save_model",
]

Arrays = dict[str, npt.NDArray[Any]]

# Raised when a key is added, removed or changes its meaning. The first format, of 0.1.0, has no
# number: it lacks `parameters`, `feature_names` and how the fit ended.
FORMAT_VERSION = 2
SUFFIX = ".npz"

_ENDED = {"converged_": "b", "n_iter_": "iu", "n_passes_": "iu"}  # kinds of dtype
# Parameters that belong to the machine.
_NOT_KEPT = ("backend",)
# The key of a parameter that is an array.
_GIVEN = "given_"


def save_model(path: str | os.PathLike[str], model: Any) -> None:
    """Write a fitted mixture, see :meth:`~vbfast.estimators.fitted.FittedMixture.save`.

    The keys are ``format_version``, ``vbfast_version``, ``model``, the name of the class,
    ``parameters``, a JSON object of the constructor's parameters that are numbers, names or None,
    ``given_`` and a parameter's name for those that are arrays, ``covariance_type``,
    ``feature_names`` (empty where there are none), ``lower_bounds``, ``converged``, ``n_iter``,
    ``n_passes`` and the fitted attributes ``weights``, ``means``, ``covariances``, ``precisions``
    and ``precisions_cholesky``, shaped as scikit-learn's; of a Bayesian mixture also
    ``weight_concentration_prior_type`` and the attributes that hold its posterior and prior, with
    the two rows of a Dirichlet process's ``weight_concentration`` in one array. Of a mixture that
    has learned from batches there is what :mod:`vbfast.estimators.stored_stream` names, and
    ``neighbors`` and ``n_kept`` after a fit with ``truncation``, and ``bound_gap`` where that was
    measured.

    Parameters
    ----------
    path : str or path
        Ends in ``.npz``.
    model : GaussianMixture or BayesianGaussianMixture
        Fitted.
    """
    path, name = Path(path), type(model).__name__
    check_is_stored(model, path, "path")
    check_is_fitted(model)
    arrays = arrays_of(model)
    try:
        restored(arrays, {name: type(model)})
    except ValueError as error:
        raise ValueError(f"the mixture could not be read again from {path}: {error}") from error
    with written_whole(path) as file:
        np.savez(file, **arrays)  # type: ignore[arg-type]


def check_is_stored(model: Any, path: Path, argument: str) -> None:
    """Check that a model file can hold a mixture, and has a name as such.

    Raises
    ------
    TypeError
        If the mixture's class has no such files.
    ValueError
        If the path, which was given as ``argument``, ends otherwise.
    """
    # A derived class may hold what its base does not.
    if "_stored" not in vars(type(model)):
        raise TypeError(
            "a model file holds a GaussianMixture or BayesianGaussianMixture, whose parameters are "
            f"arrays; got a {type(model).__name__}. User functions are Python code: pickle the "
            "mixture with cloudpickle"
        )
    if path.suffix.lower() != SUFFIX:
        raise ValueError(f"{argument} must end in {SUFFIX}, which is what is written; got {path}")


def read_model(path: str | os.PathLike[str], classes: dict[str, type[Any]]) -> Any:
    """Read a mixture of one of these classes, by their names.

    Raises
    ------
    OSError, ValueError
        As :func:`vbfast.load`.
    """
    path = Path(path)
    with path.open("rb") as file:
        try:
            return restored(read_archive(file), classes)
        except ValueError as error:
            raise ValueError(f"{path} is no model file: {error}") from error


def arrays_of(model: Any) -> Arrays:
    """Return what a file holds of a mixture."""
    values: dict[str, Any] = {
        attribute.rstrip("_"): getattr(model, attribute) for attribute in model._stored.attributes
    }
    values |= {name: getattr(model, name) for name in model._stored.choices}
    plain = {}
    for name, value in model.get_params(deep=False).items():
        if isinstance(value, np.generic):
            value = value.item()
        if isinstance(value, os.PathLike):
            value = os.fspath(value)
        if name in _NOT_KEPT:
            continue
        if value is None or isinstance(value, bool | int | float | str):
            plain[name] = value
        elif name.endswith(("_init", "_prior")) or name == "annealing":
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
        **stream_arrays(model),
        **neighbor_arrays(model),
    }


def read_archive(file: IO[bytes]) -> Arrays:
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


def restored(arrays: Arrays, classes: dict[str, type[Any]]) -> Any:
    """Return the mixture that the arrays of a file make."""
    version = _format_version(arrays)
    name = str(arrays.get("model", ""))
    if name not in classes:
        raise ValueError(f"it names the class {name!r}" if name else "it names no class")
    mixture = classes[name]
    stored: Stored = mixture._stored
    attributes, choices = stored.attributes, stored.choices
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
    check_arrays(arrays, keys, **chosen)

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
    restore_stream(arrays, model)
    restore_neighbors(arrays, model)
    stored.check(model)
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


def _parameters(arrays: Arrays, model: Any) -> dict[str, Any]:
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


def _restore_names(model: Any, names: npt.NDArray[Any] | None) -> None:
    """Set the names of the features, where there are any."""
    if names is None or names.shape == (0,):
        return
    if names.dtype.kind != "U" or names.shape != (model.n_features_in_,):
        raise ValueError(
            f"feature_names has shape {names.shape} and dtype {names.dtype}; expected "
            f"{model.n_features_in_} strings"
        )
    model.feature_names_in_ = names.astype(object)
