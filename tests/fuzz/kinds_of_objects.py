"""Odd values in place of objects of the library, and functions that do what they must not."""

from __future__ import annotations

import copy
from dataclasses import replace
from typing import Any

import numpy as np
import sklearn.mixture
import sklearn.preprocessing

from odd_values import KINDS, NO_ARRAYS, either, refused, same
from vbfast.families import Linear, LogJoint

KINDS["no natural parameters"] = [
    *NO_ARRAYS,
    refused("an array", lambda rng, valid: valid.mean_precision),
    refused("None", lambda rng, valid: None),
]
KINDS["summary"] = [
    *NO_ARRAYS,
    refused("an array", lambda rng, valid: valid.statistics.first),
    refused("its statistics", lambda rng, valid: valid.statistics),
    refused("None", lambda rng, valid: None),
    refused("without statistics", lambda rng, valid: replace(valid, statistics=None)),
    refused(
        "of fewer components",
        lambda rng, valid: replace(valid, statistics=valid.statistics.select(np.arange(2))),
    ),
    same("twice its half", lambda rng, valid: 0.5 * valid + 0.5 * valid),
]
KINDS["summaries"] = [
    refused("none", lambda rng, valid: []),
    refused("no iterable", lambda rng, valid: 3),
    refused("None", lambda rng, valid: None),
    same("a generator", lambda rng, valid: iter(valid)),
    same("a tuple", lambda rng, valid: tuple(valid)),
]
KINDS["factor"] = [
    *(maker for maker in NO_ARRAYS),
    refused("an array", lambda rng, valid: np.ones(2)),
    either("NaN", lambda rng, valid: np.nan),
    same("NumPy's", lambda rng, valid: np.float64(valid)),
]


KINDS["scikit-learn's mixture"] = [
    *NO_ARRAYS,
    refused("None", lambda rng, valid: None),
    refused("not fitted", lambda rng, valid: type(valid)()),
    refused("another class", lambda rng, valid: sklearn.mixture.GaussianMixture.__mro__[1]),
    refused("a scaler", lambda rng, valid: sklearn.preprocessing.StandardScaler()),
    same("a subclass", lambda rng, valid: _of_a_subclass(valid)),
]


def _of_a_subclass(valid: Any) -> Any:
    copied = copy.copy(valid)
    copied.__class__ = type("Mine", (type(valid),), {"__init__": type(valid).__init__})
    return copied


def _density_beyond(x: Any, theta: Any) -> float:
    return -theta[0] * x[0] if x[0] < 30 else theta[100_000]


def _density_writes(x: Any, theta: Any) -> float:
    theta[0] = 1.0
    return -x[0]


def _density_nan(x: Any, theta: Any) -> float:
    return -theta[0] * x[0] if x[0] < 30 else np.nan


def _density_text(x: Any, theta: Any) -> str:
    return "a"


def _density_none(x: Any, theta: Any) -> None:
    return None


def _density_array(x: Any, theta: Any) -> Any:
    return x


def _statistics_beyond(x: Any, out: Any) -> None:
    for d in range(2 if x[0] < 30 else 5000):
        out[d] = x[0]


def _statistics_before(x: Any, out: Any) -> None:
    for d in range(2 if x[0] < 30 else 5000):
        out[-d] = x[0]


def _statistics_write(x: Any, out: Any) -> None:
    out[0] = x[0]
    x[0] = 3.0


def _statistics_nan(x: Any, out: Any) -> None:
    out[0] = np.nan


def _statistics_long(x: Any, out: Any) -> None:
    out[:] = np.ones(7)


NO_FUNCTIONS = [
    refused("None", lambda rng, valid: None),
    refused("a number", lambda rng, valid: 3),
    refused("text", lambda rng, valid: "abc"),
    refused("of no arguments", lambda rng, valid: lambda: 1.0),
    refused("of three", lambda rng, valid: lambda a, b, c: 1.0),
    refused("a class", lambda rng, valid: dict),
]
KINDS["density"] = [
    *NO_FUNCTIONS,
    *(
        refused(function.__name__, lambda rng, valid, function=function: function)
        for function in (
            _density_beyond,
            _density_writes,
            _density_nan,
            _density_text,
            _density_none,
            _density_array,
        )
    ),
]
KINDS["statistics"] = [
    *NO_FUNCTIONS,
    *(
        refused(function.__name__, lambda rng, valid, function=function: function)
        for function in (
            _statistics_beyond,
            _statistics_before,
            _statistics_write,
            _statistics_nan,
            _statistics_long,
        )
    ),
]
KINDS["global step"] = [
    *NO_FUNCTIONS[:5],
    *(
        refused(f"returns {value!r:.20}", lambda rng, valid, v=value: lambda statistics, weight: v)
        for value in (None, 3, "abc", np.ones(2), np.ones((5, 2)), [[1], [1, 2]], object(), 1j)
    ),
    refused("NaN", lambda rng, valid: lambda s, w: s * np.nan),
    refused("complex", lambda rng, valid: lambda s, w: s + 1j),
    refused("grows", lambda rng, valid: _Growing(valid)),
]
KINDS["draw"] = [
    *NO_FUNCTIONS[1:5],
    *(
        refused(f"returns {value!r:.20}", lambda rng, valid, v=value: lambda t, n, r: v)
        for value in (None, 3, "abc", np.ones(2), np.ones((5, 2)), [[1], [1, 2]], object(), 1j)
    ),
    refused("NaN", lambda rng, valid: lambda t, n, r: np.full((n, 2), np.nan)),
]


KINDS["returned parameters"] = KINDS["global step"][5:]
KINDS["returned rows"] = KINDS["draw"][4:]
KINDS["densities"] = [
    *(
        refused(f"return {value!r:.20}", lambda rng, valid, v=value: lambda theta, n_features: v)
        for value in (None, 3, "abc", np.ones(2), [[1], [1, 2]], object(), 1j)
    ),
    refused("of a component more", lambda rng, valid: _of_theta(lambda t: np.r_[t, t[:1]])),
    refused("of a component less", lambda rng, valid: _of_theta(lambda t: t[1:])),
    refused("of a feature more", lambda rng, valid: _of_theta(lambda t: np.c_[t, t[:, :1]])),
    refused("of a feature less", lambda rng, valid: _of_theta(lambda t: t[:, 1:])),
    refused("of NaN", lambda rng, valid: _of_theta(lambda t: t, np.nan)),
    refused("of infinity", lambda rng, valid: _of_theta(lambda t: t, np.inf)),
]


class _Growing:
    """A global step that returns more parameters every time."""

    def __init__(self, step: Any) -> None:
        self._step = step
        self._more = 0

    def __call__(self, statistics: Any, weight: Any) -> Any:
        self._more += 1
        found = self._step(statistics, weight)
        return np.concatenate([found] + [found[:, :1]] * self._more, axis=1)


def _of_theta(change: Any, offset: Any = 0.0) -> Any:
    """Densities of other parameters."""

    def log_densities(theta: Any, n_features: int) -> Any:
        changed = change(theta)
        return LogJoint(np.log(changed).sum(axis=1) + offset, Linear(-changed))

    return log_densities
