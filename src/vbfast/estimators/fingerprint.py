"""What a checkpoint has in common with the fit that may go on from it."""

from __future__ import annotations

import hashlib
from typing import Any

import numpy as np

from vbfast._version import __version__
from vbfast.passes.base_runner import BaseRunner

__all__ = ["difference", "fingerprint"]

# Parameters that a fit does not depend on, or that belong to the machine.
_LEFT_OUT = (
    "backend",
    "checkpoint",
    "checkpoint_interval",
    "truncation_state",
    "verbose",
    "verbose_interval",
)
SAMPLED_ROWS = 64


def fingerprint(model: Any, runner: BaseRunner, start: Any = None) -> dict[str, str]:
    """Return texts that are equal where the same fit is made of the same data.

    Parameters
    ----------
    model : estimator
    runner : BaseRunner
        Of whose rows the number, the dtype and a sample count.
    start : object, optional
        Attributes that the fit goes on from.

    Returns
    -------
    dict of str to str
        By what the texts describe.
    """
    rows = np.unique(np.linspace(0, runner.n_samples - 1, SAMPLED_ROWS).astype(np.intp))
    parameters = model.get_params(deep=False)
    described = {
        name: _text(value) for name, value in sorted(parameters.items()) if name not in _LEFT_OUT
    }
    return {
        "vbfast": __version__,
        "class": type(model).__name__,
        **described,
        "shape of X": f"{runner.n_samples} x {runner.n_features}",
        "dtype": str(runner.dtype),
        "rows": _digest(runner.gather(rows)),
        "sample_weight": _text(runner.sample_weight),
        "fit that it goes on from": _text(start),
    }


def difference(kept: dict[str, str], now: dict[str, str]) -> str | None:
    """Say in what two fits differ; ``None`` where they do not."""
    for name in {**now, **kept}:
        before, here = kept.get(name), now.get(name)
        if before != here:
            if name == "rows":
                return "it is of other rows"
            return f"it is of a fit with {name}: {before}; this fit has {here}"
    return None


def _text(value: Any) -> str:
    """Return a short text that tells values apart."""
    if isinstance(value, np.random.RandomState):
        state = value.get_state(legacy=False)
        assert isinstance(state, dict)
        return f"RandomState at {_digest(state['state']['key'])}, {state['state']['pos']}"
    if isinstance(value, list | tuple):
        array = np.asarray(value)
        value = array if array.dtype.kind in "biuf" else repr(value)
    if isinstance(value, np.ndarray):
        return f"array of shape {value.shape} at {_digest(value)}"
    if callable(value):
        return f"{getattr(value, '__module__', '')}.{getattr(value, '__qualname__', value)}"
    return repr(value.item() if isinstance(value, np.generic) else value)


def _digest(array: Any) -> str:
    """Return a hash of an array's numbers and shape."""
    array = np.ascontiguousarray(array)
    found = hashlib.sha256(f"{array.shape} {array.dtype.str}".encode())
    found.update(array.view(np.uint8).data if array.size else b"")
    return found.hexdigest()[:16]
