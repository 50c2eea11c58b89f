"""What a model file holds of a mixture that has learned from batches, to go on from.

The keys are ``stream_n_batch_iter``, ``stream_n_samples_seen``, and those of the running average:
``stream_log_evidence``, ``stream_weight``, ``stream_first`` and ``stream_second``, about the points
``stream_centres``.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from vbfast.contract import PassResult, Statistics

__all__ = ["restore_stream", "stream_arrays"]

Arrays = dict[str, npt.NDArray[Any]]
_STATISTICS = ("centres", "weight", "first", "second")
_NOT_NEGATIVE = ("n_batch_iter", "n_samples_seen", "weight")


def stream_arrays(model: Any) -> Arrays:
    """Return the arrays of a mixture, none if its parameters are not where batches have led to."""
    if not model._is_on_stream():
        return {}
    average: PassResult = model._average
    return {
        "stream_n_batch_iter": np.asarray(model.n_batch_iter_),
        "stream_n_samples_seen": np.asarray(model.n_samples_seen_, dtype=np.float64),
        "stream_log_evidence": np.asarray(average.log_evidence, dtype=np.float64),
        **{f"stream_{name}": getattr(average.statistics, name) for name in _STATISTICS},
    }


def restore_stream(arrays: Arrays, model: Any) -> None:
    """Give a mixture the stream that the arrays of a file hold, if they do.

    Raises
    ------
    ValueError
        If an array is missing, or is not what it should be.
    """
    if "stream_n_batch_iter" not in arrays:
        return
    means = np.shape(model.means_)
    shapes = {
        "n_batch_iter": (),
        "n_samples_seen": (),
        "log_evidence": (),
        "centres": means,
        "weight": means[:1],
        "first": means,
        "second": np.shape(model.covariances_),
    }
    read = {name: _checked(arrays, name, shape) for name, shape in shapes.items()}
    statistics = Statistics(model._fitted_family().moments, *(read[name] for name in _STATISTICS))
    evidence, unknown = float(read["log_evidence"]), np.nan
    dtype = np.asarray(model.weights_).dtype
    average = PassResult(1.0, evidence, unknown, unknown, unknown, statistics, unknown, dtype)
    model._go_on_with(int(read["n_batch_iter"]), float(read["n_samples_seen"]), average)


def _checked(arrays: Arrays, name: str, shape: tuple[int, ...]) -> npt.NDArray[Any]:
    key, expected = f"stream_{name}", np.dtype(np.int64 if name == "n_batch_iter" else np.float64)
    if key not in arrays:
        raise ValueError(f"{key} missing")
    array = arrays[key]
    native = array.dtype.newbyteorder("=")
    if array.shape != shape or native != expected:
        raise ValueError(
            f"{key} has shape {array.shape} and dtype {array.dtype}; expected {shape} and "
            f"{expected}"
        )
    if not np.isfinite(array).all():
        raise ValueError(f"{key} is not finite")
    if name in _NOT_NEGATIVE and np.any(array < 0):
        raise ValueError(f"{key} must not be negative")
    return array.astype(native, copy=False)
