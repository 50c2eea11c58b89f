"""Odd values of arguments, by kind, each with what has to come of it.

A kind is a list of functions ``(rng, valid) -> Odd`` that make an odd value from a valid one.
"""

from __future__ import annotations

import datetime as dt
import decimal
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import scipy.sparse


@dataclass
class Odd:
    """An odd value of an argument.

    ``refused``: an exception that names the argument has to come. ``in_rows``: it is what every row
    holds that is refused, which rows of weight zero may. ``plain``: the result has to be that of
    this value instead, to the bit. None of these: a result or an exception that names it.
    """

    what: str
    value: Any
    refused: bool = False
    in_rows: bool = False
    plain: Any = None


Maker = Callable[[np.random.Generator, Any], Odd]
KINDS: dict[str, Sequence[Maker]] = {}


class Sliced:
    """An array that has a shape, a dtype and row slicing, which may be lies."""

    def __init__(self, array: Any, shape: Any = None, dtype: Any = None, rows: Any = None) -> None:
        self._array = array
        self._rows = rows or (lambda rows: rows)
        self.shape = array.shape if shape is None else shape
        self.dtype = array.dtype if dtype is None else dtype

    def __getitem__(self, rows: Any) -> Any:
        return self._rows(self._array[rows].copy())


class Everything:
    """An object that has every attribute, each of which is another such object."""

    def __getattr__(self, name: str) -> Any:
        if name.startswith("__"):
            raise AttributeError(name)
        return Everything()

    def __call__(self, *arguments: Any, **named: Any) -> Any:
        return Everything()


class Blocks:
    """Has what a source of responsibilities has."""

    in_memory = False
    shape = (7, 3)
    dtype = np.dtype(float)

    def block(self, start: int, stop: int) -> Any:
        return np.full((1, 3), 1 / 3)


def refused(what: str, make: Callable[[np.random.Generator, Any], Any]) -> Maker:
    return lambda rng, valid: Odd(what, make(rng, valid), refused=True)


def refused_in_rows(what: str, make: Callable[[np.random.Generator, Any], Any]) -> Maker:
    return lambda rng, valid: Odd(what, make(rng, valid), refused=True, in_rows=True)


def same(what: str, make: Callable[[np.random.Generator, Any], Any]) -> Maker:
    return lambda rng, valid: Odd(what, make(rng, valid), plain=valid)


def either(what: str, make: Callable[[np.random.Generator, Any], Any]) -> Maker:
    return lambda rng, valid: Odd(what, make(rng, valid))


def with_one(bad: Any) -> Callable[[np.random.Generator, Any], Any]:
    def make(rng: np.random.Generator, valid: Any) -> Any:
        array = np.array(valid, dtype=np.result_type(np.asarray(valid), np.float32))
        array[tuple(rng.integers(length) for length in array.shape)] = bad
        return array

    return make


def with_negative(rng: np.random.Generator, valid: Any) -> Any:
    """In every row, a negative entry and the same sum, exactly."""
    array = np.array(valid)
    array[..., -1] += array[..., 0] + 0.25
    array[..., 0] = -0.25
    return array


def strided(rng: np.random.Generator, valid: Any) -> Any:
    array = np.asarray(valid)
    wide = np.full(tuple(3 * n for n in array.shape), 7, array.dtype)
    view = wide[(*(slice(None, None, 3) for _ in array.shape), ...)]
    view[...] = array
    return view


def backwards(rng: np.random.Generator, valid: Any) -> Any:
    return np.array(np.flip(np.asarray(valid)), order="C")[
        (*(slice(None, None, -1),) * np.ndim(valid), ...)
    ]


def misaligned(rng: np.random.Generator, valid: Any) -> Any:
    array = np.asarray(valid)
    memory = np.zeros(array.nbytes + 1, np.uint8)[1:]
    view = memory.view(array.dtype).reshape(array.shape) if array.size else array
    view[...] = array
    return view


def read_only(rng: np.random.Generator, valid: Any) -> Any:
    array = np.array(valid)
    array.flags.writeable = False
    return array


def swapped(rng: np.random.Generator, valid: Any) -> Any:
    array = np.asarray(valid)
    return array.astype(array.dtype.newbyteorder())


def _flat(valid: Any) -> Any:
    """Return a table of all numbers."""
    array = np.atleast_2d(valid)
    return array.reshape(-1, array.shape[-1])


class Subclass(np.ndarray):
    """An array of a class of its own."""


NO_ARRAYS = [
    refused(f"{value!r:.20}", lambda rng, valid, value=value: value)
    for value in (
        "abc",
        b"abc",
        {},
        {"a": 1.0},
        object(),
        len,
        int,
        ...,
        NotImplemented,
        dt.date(2020, 1, 1),
        1j,
        np.ma.masked,
        slice(3),
    )
]

NO_NUMBERS = [
    *NO_ARRAYS,
    refused("every attribute", lambda rng, valid: Everything()),
    refused("text", lambda rng, valid: np.asarray(valid).astype(str)),
    refused("bytes", lambda rng, valid: np.asarray(valid).astype("S8")),
    refused("complex", lambda rng, valid: np.asarray(valid) + 1j),
    refused("dates", lambda rng, valid: np.zeros(np.shape(valid), "M8[s]")),
    refused("records", lambda rng, valid: np.zeros(np.shape(valid), "f8,f8")),
    refused("objects", lambda rng, valid: np.full(np.shape(valid), object)),
    refused("sparse", lambda rng, valid: scipy.sparse.csr_matrix(_flat(valid))),
    refused("too large", lambda rng, valid: np.full(np.shape(valid), 10**400, object).tolist()),
    refused("a generator", lambda rng, valid: (value for value in np.ravel(valid))),
    refused("a set", lambda rng, valid: set(np.ravel(valid).tolist())),
]

STORED = [
    same("strided", strided),
    same("backwards", backwards),
    same("misaligned", misaligned),
    same("read-only", read_only),
    same("other byte order", swapped),
    same("Fortran order", lambda rng, valid: np.array(valid, order="F")),
    same("subclass", lambda rng, valid: np.asarray(valid).view(Subclass)),
    lambda rng, valid: Odd("list", np.asarray(valid).tolist(), plain=np.asarray(valid, float)),
    lambda rng, valid: Odd(
        "objects", np.asarray(valid).astype(object), plain=np.asarray(valid, float)
    ),
    lambda rng, valid: Odd(
        "decimals",
        np.vectorize(lambda v: decimal.Decimal(float(v)), otypes=[object])(valid),
        plain=np.asarray(valid, float),
    ),
    either("long double", lambda rng, valid: np.asarray(valid, np.longdouble)),
    either("half", lambda rng, valid: np.asarray(valid, np.float16)),
    either("integers", lambda rng, valid: np.asarray(valid).astype(int)),
    either("bools", lambda rng, valid: np.asarray(valid) > 0),
]

WRONG_SHAPES = [
    refused("an axis more", lambda rng, valid: np.asarray(valid)[..., np.newaxis]),
    refused("an axis less", lambda rng, valid: np.asarray(valid)[..., 0]),
    refused("empty", lambda rng, valid: np.empty((0,) * np.ndim(valid))),
    refused("no first axis", lambda rng, valid: np.asarray(valid)[:0]),
    refused("no last axis", lambda rng, valid: np.asarray(valid)[..., :0]),
    refused("empty list", lambda rng, valid: []),
    refused("ragged", lambda rng, valid: [[1.0, 2.0], [3.0], 4.0]),
]

NOT_FINITE = [
    refused("NaN", with_one(np.nan)),
    refused("infinity", with_one(np.inf)),
    refused("-infinity", with_one(-np.inf)),
]

LIARS = [
    refused(what, make)
    for what, make in {
        "a row too few": lambda rng, v: Sliced(v, rows=lambda rows: rows[1:]),
        "one row": lambda rng, v: Sliced(np.repeat(v, 2, axis=0), rows=lambda rows: rows[:1]),
        "rows too many": lambda rng, v: Sliced(v, rows=lambda rows: np.r_[rows, rows]),
        "columns too few": lambda rng, v: Sliced(v, rows=lambda rows: rows[:, :-1]),
        "flat rows": lambda rng, v: Sliced(v, rows=np.ravel),
        "nothing": lambda rng, v: Sliced(v, rows=lambda rows: None),
        "text slices": lambda rng, v: Sliced(v, rows=lambda rows: rows.astype(str)),
        "complex slices": lambda rng, v: Sliced(v, rows=lambda rows: rows + 1j),
        "records as slices": lambda rng, v: Sliced(
            v, rows=lambda rows: np.zeros(rows.shape, "f8,f8")
        ),
        "NaN in slices": lambda rng, v: Sliced(v, rows=lambda rows: np.where(True, np.nan, rows)),
        "shape of more rows": lambda rng, v: Sliced(v, shape=(len(v) + 5, *v.shape[1:])),
        "shape of floats": lambda rng, v: Sliced(v, shape=tuple(map(float, v.shape))),
        "shape of text": lambda rng, v: Sliced(v, shape="ab"),
        "negative shape": lambda rng, v: Sliced(v, shape=tuple(-n for n in v.shape)),
        "shape a number": lambda rng, v: Sliced(v, shape=3),
        "no dtype": lambda rng, v: Sliced(v, dtype="no dtype"),
        "text dtype": lambda rng, v: Sliced(v, dtype=np.dtype("U3")),
        "complex dtype": lambda rng, v: Sliced(v, dtype=np.dtype(complex)),
    }.items()
]

HONEST = [same("read in slices", lambda rng, valid: Sliced(np.asarray(valid)))]
