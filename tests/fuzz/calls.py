"""What a call of the fuzzer of arguments is: valid arguments, the kinds of them, and a setting."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import numpy as np

__all__ = [
    "CALLS",
    "Call",
    "D",
    "K",
    "N",
    "Scene",
    "add",
    "responsibilities",
    "rows",
    "scene",
    "weights",
]


@dataclass
class Scene:
    """Valid arguments of a call, and the estimator that it is made on."""

    settings: str
    backend: str
    arguments: dict[str, Any]
    estimator: Any = None


@dataclass
class Call:
    """A public function or method.

    ``also``: patterns by argument that a message may have in place of the argument's name, in the
    words of scikit-learn. ``arguments`` makes valid ones from a generator and a dtype, ``derived``
    those that come from the estimator. ``pairs``: whether two odd arguments are as odd as one.
    ``errors``: what a wrong argument may raise beside what all may. ``weight``: how often it is
    drawn. ``warmed``: whether the valid call is made once before children make odd ones.
    """

    name: str
    function: Callable[[Scene, dict[str, Any]], Any]
    kinds: dict[str, str]
    arguments: Callable[[np.random.Generator, Any], dict[str, Any]]
    estimator: Callable[..., Any] | None = None
    derived: Callable[[Scene], dict[str, Any]] = lambda stage: {}
    also: dict[str, tuple[str, ...]] = field(default_factory=dict)
    pairs: bool = True
    backends: tuple[str, ...] = ("native", "numba", "reference")
    errors: tuple[type[Exception], ...] = ()
    weight: float = 1.0
    warmed: bool = True


TYPES = ("full", "tied", "diag", "spherical")
N, D, K = 7, 2, 3


def scene(rng: np.random.Generator, call: Call) -> Scene:
    """Draw the settings and valid arguments of a call."""
    dtype = [np.float64, np.float32][rng.integers(2)]
    # Mostly the first: what is refused is hardly ever a backend's doing.
    backend = call.backends[rng.integers(len(call.backends)) if rng.random() < 0.3 else 0]
    kind = TYPES[rng.integers(4)]
    settings = f"{np.dtype(dtype)} {backend}"
    estimator = None
    arguments = call.arguments(rng, dtype)
    if call.estimator is not None:
        settings += f" {kind}"
        estimator = call.estimator(kind, dtype)
    drawn = Scene(settings, backend, arguments, estimator)
    arguments.update(call.derived(drawn))
    return drawn


def rows(rng: np.random.Generator, dtype: Any) -> Any:
    # On a grid that half precision has.
    return (rng.integers(1, 9, (N, D)) + np.arange(N)[:, np.newaxis] / 4).astype(dtype)


def weights(rng: np.random.Generator) -> Any:
    return rng.integers(1, 5, N) / 4


def responsibilities(rng: np.random.Generator, dtype: Any) -> Any:
    return (rng.multinomial(16, np.full(K, 1 / K), N) / 16).astype(dtype)


CALLS: list[Call] = []


def add(
    name: str,
    function: Callable[[Scene, dict[str, Any]], Any],
    kinds: dict[str, str],
    arguments: Callable[[np.random.Generator, Any], dict[str, Any]],
    **named: Any,
) -> None:
    CALLS.append(Call(name, function, kinds, arguments, **named))
