"""The state of a fit as plain arrays and JSON, and back: values, and the classes that hold them.

Reading makes objects of a fixed list of classes and runs no code of the file's.
"""

from __future__ import annotations

import json
from dataclasses import dataclass, fields, is_dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from vbfast.contract import PassResult, Statistics
from vbfast.families.gaussian_parameters import GaussianParameters
from vbfast.families.mixing_weights import Dirichlet, StickBreaking
from vbfast.families.mixture_posterior import MixturePosterior
from vbfast.families.normal_wishart import NormalWishart
from vbfast.families.normal_wishart_prior import NormalWishartPrior
from vbfast.inference.em import EMResult, EMState
from vbfast.inference.epochs import EpochsState
from vbfast.inference.incremental import IncrementalState
from vbfast.inference.stochastic import Stream

__all__ = ["FitState", "packed", "unpacked"]

Arrays = dict[str, npt.NDArray[Any]]


@dataclass(frozen=True)
class FitState:
    """Where a fit is, in the middle of the iterations from one of its starts.

    Attributes
    ----------
    index : int
        The number of the start, from 0.
    best : EMResult or None
        Of those before.
    loop : EMState, IncrementalState or EpochsState
    random_state : dict
        Of the generator of starts.
    stopped : bool
        Whether something ended the iterations of a start before.
    search : dict or None
        What the runner remembers of truncated posteriors, and the neighbours of ``best``.
    """

    index: int
    best: EMResult[Any] | None
    loop: Any
    random_state: dict[str, Any]
    stopped: bool
    search: dict[str, Any] | None = None


_CLASSES: dict[str, type[Any]] = {
    kind.__name__: kind
    for kind in (
        Dirichlet,
        EMResult,
        EMState,
        EpochsState,
        FitState,
        GaussianParameters,
        IncrementalState,
        MixturePosterior,
        NormalWishart,
        NormalWishartPrior,
        PassResult,
        Statistics,
        StickBreaking,
        Stream,
    )
}
# A field that belongs to the backend in use: what is read has that of the reader.
_NOT_KEPT = "linalg"


def packed(value: Any, name: str) -> Arrays:
    """Return arrays that hold a value: ``name``, a JSON text, and ``name_0``, ``name_1``, ...

    Parameters
    ----------
    value : None, bool, int, float, str, dtype, ndarray; list, tuple or dict of such; or an object \
of one of the classes
        An object that occurs twice is one object when it is read.
    name : str

    Raises
    ------
    TypeError
        If it is anything else.
    """
    writer = _Writer(name)
    tree = writer.tree(value)
    return {name: np.asarray(json.dumps(tree)), **writer.arrays}


def unpacked(arrays: Arrays, name: str) -> Any:
    """Return the value that arrays hold.

    Raises
    ------
    ValueError
        If they hold none.
    """
    try:
        return _Reader(arrays, name).value(json.loads(str(arrays[name])))
    except (KeyError, IndexError, TypeError, ValueError, RecursionError) as error:
        raise ValueError(f"{name} holds no state of a fit: {error!r}") from error


class _Writer:
    """Numbers arrays, and objects in the order in which they end."""

    def __init__(self, name: str) -> None:
        self._name = name
        self.arrays: Arrays = {}
        self._numbers: dict[int, int] = {}

    def tree(self, value: Any) -> Any:
        """Return what stands for a value in JSON."""
        if value is None or isinstance(value, bool | int | str):
            return value
        if isinstance(value, float):
            return ["float", value.hex()]
        if isinstance(value, np.ndarray | np.generic):
            key = f"{self._name}_{len(self.arrays)}"
            self.arrays[key] = np.asarray(value)
            return ["array" if isinstance(value, np.ndarray) else "number", key]
        if isinstance(value, np.dtype):
            return ["dtype", value.str]
        if isinstance(value, list | tuple):
            return [type(value).__name__, *map(self.tree, value)]
        if isinstance(value, dict):
            return ["dict", *([self.tree(key), self.tree(item)] for key, item in value.items())]
        if not is_dataclass(value) or type(value).__name__ not in _CLASSES:
            raise TypeError(f"the state of a fit holds a {type(value).__name__}")
        if id(value) in self._numbers:
            return ["again", self._numbers[id(value)]]
        names = [field.name for field in fields(value) if field.name != _NOT_KEPT]
        held = [[name, self.tree(getattr(value, name))] for name in names]
        self._numbers[id(value)] = len(self._numbers)
        return [type(value).__name__, *held]


class _Reader:
    """The inverse of :class:`_Writer`."""

    def __init__(self, arrays: Arrays, name: str) -> None:
        self._arrays, self._name = arrays, name
        self._objects: list[Any] = []

    def value(self, tree: Any) -> Any:
        """Return the value that a tree stands for."""
        if not isinstance(tree, list):
            return tree
        kind, *held = tree
        if kind == "float":
            return float.fromhex(held[0])
        if kind in ("array", "number"):
            array = self._arrays[held[0]]
            return array if kind == "array" else array[()]
        if kind == "dtype":
            return np.dtype(held[0])
        if kind in ("list", "tuple"):
            values = [self.value(item) for item in held]
            return values if kind == "list" else tuple(values)
        if kind == "dict":
            return {self.value(key): self.value(item) for key, item in held}
        if kind == "again":
            return self._objects[held[0]]
        made = _CLASSES[kind](**{name: self.value(item) for name, item in held})
        self._objects.append(made)
        return made
