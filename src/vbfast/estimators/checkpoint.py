"""A file that a fit goes on from after its process has ended: a model file, and the loop's state.

A checkpoint is a model file with two keys more. ``fingerprint`` tells fits and their data apart,
and ``state``, with arrays of its own, is all that the next step depends on. The checkpoint of a fit
that has ended has no ``state``.
"""

from __future__ import annotations

import contextlib
import json
import math
import os
import time
import warnings
import weakref
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from vbfast.atomic_file import remove_abandoned, written_whole
from vbfast.estimators.fingerprint import difference
from vbfast.estimators.model_file import arrays_of, check_is_stored, read_archive, restored
from vbfast.estimators.stored_state import FitState, packed, unpacked
from vbfast.estimators.validation import callers_level

__all__ = ["Checkpoint", "Content", "StreamCheckpoint"]

Content = Callable[[], tuple[Any, Any]]
_FINGERPRINT, _STATE = "fingerprint", "state"
_ADVICE = "Remove it, or give another path"
# When the checkpoint of a mixture that learns from batches was written last.
_written: weakref.WeakKeyDictionary[Any, float] = weakref.WeakKeyDictionary()


class Checkpoint:
    """The checkpoint of one fit.

    Parameters
    ----------
    path : str or path
        Ends in ``.npz``.
    interval : float
        Seconds between one writing and the next.
    model : GaussianMixture or BayesianGaussianMixture
        What is fitted.
    fingerprint : dict of str to str
        From :func:`~vbfast.estimators.fingerprint.fingerprint`.

    Attributes
    ----------
    state : object or None
        What the file says that the fit goes on from.
    finished : estimator or None
        The end of the fit, if the file has it.

    Raises
    ------
    OSError
        If there is a file that cannot be read, or no folder for one.
    TypeError
        If the mixture's class has no model files.
    ValueError
        If the file is damaged, no checkpoint, or of another fit or other rows.
    """

    def __init__(
        self,
        path: str | os.PathLike[str],
        interval: float,
        model: Any,
        fingerprint: dict[str, str],
    ) -> None:
        self.path = Path(path)
        self._interval, self._fingerprint = interval, fingerprint
        self.state: Any = None
        self.finished: Any = None
        self._waiting: Content | None = None
        self._written = time.monotonic()
        check_is_stored(model, self.path, "checkpoint")
        if not self.path.parent.is_dir():
            raise FileNotFoundError(f"checkpoint: there is no folder {self.path.parent}")
        remove_abandoned(self.path)
        if self.path.exists():
            self._read(model)

    def _read(self, model: Any) -> None:
        try:
            with self.path.open("rb") as file:
                arrays = read_archive(file)
            if _FINGERPRINT not in arrays:
                raise ValueError("it is no checkpoint of a fit")
            differs = difference(json.loads(str(arrays[_FINGERPRINT])), self._fingerprint)
            if differs is not None:
                raise ValueError(differs)
            if _STATE in arrays:
                self.state = unpacked(arrays, _STATE)
                if not isinstance(self.state, FitState):
                    raise ValueError("its state is none of a fit")
            else:
                self.finished = restored(arrays, {type(model).__name__: type(model)})
        except (ValueError, AttributeError) as error:  # JSON may be of another kind
            raise ValueError(
                f"checkpoint {self.path} cannot be gone on from: {error}. {_ADVICE}"
            ) from error

    def offer(self, content: Content) -> None:
        """Write a fitted mixture and a state, if it is time to.

        Parameters
        ----------
        content : callable
            Makes both. It is called now, or when the fit is interrupted.
        """
        self._waiting = content
        if time.monotonic() - self._written >= self._interval:
            self.write_waiting()

    def write_waiting(self) -> None:
        """Write what was offered last, if it is not written yet."""
        content, self._waiting = self._waiting, None
        if content is None:
            return
        with contextlib.suppress(ValueError):  # of numbers that overflow the rows' dtype
            model, state = content()
            self._write(model, state)

    def finish(self, model: Any) -> None:
        """Write the end of the fit."""
        self._waiting = None
        self._write(model, None)

    def _write(self, model: Any, state: Any) -> None:
        stored = {**arrays_of(model), _FINGERPRINT: np.asarray(json.dumps(self._fingerprint))}
        if state is not None:
            stored |= packed(state, _STATE)
        _write_or_warn(self.path, stored)
        self._written = time.monotonic()


def _write_or_warn(path: Path, arrays: dict[str, Any]) -> None:
    """Write arrays to a file whole; warn where the system cannot, and leave what was there."""
    try:
        with written_whole(path) as file:
            np.savez(file, **arrays)
    except OSError as error:
        warnings.warn(
            f"checkpoint {path} could not be written: {error.strerror or error}. The fit goes on, "
            "and the file is what it was",
            RuntimeWarning,
            stacklevel=callers_level(),
        )


class StreamCheckpoint:
    """The checkpoint of a mixture that learns from batches.

    Parameters
    ----------
    path : str or path
    model : GaussianMixture or BayesianGaussianMixture
        That is about to learn from a batch.

    Raises
    ------
    TypeError
        If the mixture's class has no model files.
    ValueError
        If the batch is a first one and there is a file already.
    """

    def __init__(self, path: str | os.PathLike[str], model: Any) -> None:
        self._path = Path(path)
        check_is_stored(model, self._path, "checkpoint")
        if not hasattr(model, "n_batch_iter_"):
            remove_abandoned(self._path)
            if self._path.exists():
                raise ValueError(
                    f"checkpoint {self._path} is there already, and this is a first batch. Go on "
                    f"from the file with vbfast.load, or begin anew: remove it, or give another "
                    "path"
                )

    def offer(self, model: Any, interval: float) -> None:
        """Write the mixture if it is time to, as it is after the first batch."""
        now = time.monotonic()
        if now - _written.get(model, -math.inf) >= interval or model.n_batch_iter_ == 1:
            _write_or_warn(self._path, arrays_of(model))
            _written[model] = now
