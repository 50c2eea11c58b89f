"""Odd values of arguments, by kind, each with what has to come of it.

A kind is a list of functions ``(rng, valid) -> Odd`` that make an odd value from a valid one.
"""

from __future__ import annotations

import datetime as dt
import decimal
import fractions
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import scipy.sparse

__all__ = ["KINDS", "Odd", "Sliced"]


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
    view = wide[tuple(slice(None, None, 3) for _ in array.shape)]
    view[...] = array
    return view


def backwards(rng: np.random.Generator, valid: Any) -> Any:
    return np.ascontiguousarray(np.flip(np.asarray(valid)))[
        (slice(None, None, -1),) * np.ndim(valid)
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
    refused("sparse", lambda rng, valid: scipy.sparse.csr_matrix(np.atleast_2d(valid))),
    refused("too large", lambda rng, valid: np.full(np.shape(valid), 10**400, object).tolist()),
    refused("a generator", lambda rng, valid: (value for value in np.asarray(valid))),
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

KINDS["rows"] = [
    refused("wider slices", lambda rng, v: Sliced(np.asarray(v, np.float64), dtype=np.dtype("f4"))),
    refused("None", lambda rng, valid: None),
    *NO_NUMBERS,
    *STORED,
    *WRONG_SHAPES,
    *NOT_FINITE,
    *LIARS,
    *HONEST,
    either("huge numbers", lambda rng, valid: np.asarray(valid) * (np.finfo(valid.dtype).max / 16)),
    either("tiny numbers", lambda rng, valid: np.asarray(valid) * np.finfo(valid.dtype).tiny),
    either("one value", lambda rng, valid: np.full_like(valid, 3)),
    refused("a matrix", lambda rng, valid: np.asmatrix(valid)),
]

KINDS["rows of a fitted mixture"] = [
    *KINDS["rows"],
    refused("a column more", lambda rng, valid: np.c_[valid, valid[:, :1]]),
    refused("a column less", lambda rng, valid: np.asarray(valid)[:, :-1]),
    refused("transposed", lambda rng, valid: np.asarray(valid).T),
]

KINDS["weights"] = [
    *NO_NUMBERS,
    *STORED,
    *NOT_FINITE,
    refused("one more", lambda rng, valid: np.r_[valid, 1.0]),
    refused("one less", lambda rng, valid: np.asarray(valid)[1:]),
    refused("a column", lambda rng, valid: np.asarray(valid)[:, np.newaxis]),
    refused("none", lambda rng, valid: []),
    refused("negative", with_one(-1.0)),
    refused("all zero", lambda rng, valid: np.zeros_like(valid)),
    refused("NaN for all", lambda rng, valid: np.nan),
    refused("their sum overflows", lambda rng, valid: np.full(np.shape(valid), 1e308)),
    refused("ragged", lambda rng, valid: [[1.0, 2.0], [3.0]]),
    either("huge", lambda rng, valid: np.asarray(valid) * 1e300),
    either("tiny", lambda rng, valid: np.asarray(valid) * 1e-300),
    either("one number", lambda rng, valid: 2.5),
]

KINDS["resp"] = [
    *NO_NUMBERS,
    *STORED[:8],
    *WRONG_SHAPES,
    *NOT_FINITE,
    *LIARS,
    *HONEST,
    refused("a block attribute", lambda rng, valid: Blocks()),
    refused_in_rows("negative", with_negative),
    refused_in_rows("sums of two", lambda rng, valid: np.asarray(valid) * 2),
    refused_in_rows("zeros", lambda rng, valid: np.zeros_like(valid)),
    refused("labels too large", lambda rng, valid: np.full(len(valid), np.shape(valid)[1])),
    refused("labels too small", lambda rng, valid: np.full(len(valid), -2)),
    refused("labels too few", lambda rng, valid: np.zeros(len(valid) - 1, int)),
    refused("unsigned labels", lambda rng, valid: np.full(len(valid), 2**64 - 1, np.uint64)),
    refused("labels that are floats", lambda rng, valid: np.zeros(len(valid))),
    refused(
        "liars of labels",
        lambda rng, valid: Sliced(np.zeros(len(valid), int), rows=lambda rows: rows[1:]),
    ),
    lambda rng, valid: Odd(
        "labels in slices", Sliced(np.zeros(len(valid), int)), plain=np.zeros(len(valid), int)
    ),
    lambda rng, valid: Odd(
        "small labels", np.zeros(len(valid), np.int8), plain=np.zeros(len(valid), int)
    ),
]

NO_SCALARS = [
    *NO_ARRAYS,
    refused("a list", lambda rng, valid: [valid]),
    refused("an array", lambda rng, valid: np.array([valid, valid])),
    refused("NaN", lambda rng, valid: float("nan")),
    refused("-infinity", lambda rng, valid: -np.inf),
    refused("-1", lambda rng, valid: -1),
    refused("every attribute", lambda rng, valid: Everything()),
]

KINDS["count"] = [
    *NO_SCALARS,
    refused("None", lambda rng, valid: None),
    refused("a fraction", lambda rng, valid: 1.5),
    refused("Fraction", lambda rng, valid: fractions.Fraction(1, 2)),
    refused("Decimal", lambda rng, valid: decimal.Decimal(2)),
    refused("-2**63", lambda rng, valid: -(2**63)),
    refused("a number as text", lambda rng, valid: "2"),
    same("NumPy's", lambda rng, valid: np.int64(valid)),
    same("a small type", lambda rng, valid: np.uint8(valid)),
]

KINDS["components"] = [
    *KINDS["count"],
    refused("0", lambda rng, valid: 0),
    refused("more than rows", lambda rng, valid: 1000),
    refused("2**40", lambda rng, valid: 2**40),
    refused("2**70", lambda rng, valid: 2**70),
]

KINDS["positive count"] = [*KINDS["count"], refused("0", lambda rng, valid: 0)]

KINDS["real"] = [
    *NO_SCALARS,
    refused("infinity", lambda rng, valid: np.inf),
    same("NumPy's", lambda rng, valid: np.float64(valid)),
    either("tiny", lambda rng, valid: 5e-324),
    either("huge", lambda rng, valid: 1e308),
    either("Fraction", lambda rng, valid: fractions.Fraction(1, 2)),
]

KINDS["positive real"] = [*KINDS["real"], refused("0", lambda rng, valid: 0.0)]

KINDS["choice"] = [
    *NO_ARRAYS,
    refused("upper case", lambda rng, valid: str(valid).upper() + "?"),
    refused("a number", lambda rng, valid: 3),
    refused("a list", lambda rng, valid: [valid, 3]),
    refused("empty", lambda rng, valid: ""),
]

KINDS["seed"] = [
    *NO_ARRAYS,
    refused("-1", lambda rng, valid: -1),
    refused("too large", lambda rng, valid: 2**32),
    refused("a fraction", lambda rng, valid: 1.5),
    refused("a list", lambda rng, valid: [valid]),
    refused("a generator of another kind", lambda rng, valid: np.random.default_rng(0)),
]

KINDS["array"] = [
    refused("None", lambda rng, valid: None),
    *NO_NUMBERS,
    *STORED[:8],
    refused("ragged", lambda rng, valid: [[1.0, 2.0], [3.0]]),
]

KINDS["axis"] = [
    *NO_ARRAYS[:1],
    refused("out of range", lambda rng, valid: 7),
    refused("below range", lambda rng, valid: -8),
    refused("huge", lambda rng, valid: 2**70),
    refused("a fraction", lambda rng, valid: 0.5),
    refused("twice", lambda rng, valid: (0, 0)),
    refused("out of range in a tuple", lambda rng, valid: (0, 9)),
    refused("text in a tuple", lambda rng, valid: ("a",)),
    refused("an object", lambda rng, valid: object()),
]

KINDS["output"] = [
    refused("another shape", lambda rng, valid: np.empty((*np.shape(valid), 2))),
    refused("too small", lambda rng, valid: np.empty(np.asarray(valid)[1:].shape, valid.dtype)),
    refused("integers", lambda rng, valid: np.empty(np.shape(valid), int)),
    refused(
        "another precision",
        lambda rng, valid: np.empty(
            np.shape(valid), np.float32 if valid.dtype == np.float64 else np.float64
        ),
    ),
    refused("complex", lambda rng, valid: np.empty(np.shape(valid), complex)),
    refused("objects", lambda rng, valid: np.empty(np.shape(valid), object)),
    refused("read-only", read_only),
    refused("a list", lambda rng, valid: np.asarray(valid).tolist()),
    refused("text", lambda rng, valid: "abc"),
    refused("a number", lambda rng, valid: 3.0),
    refused(
        "one number many times",
        lambda rng, valid: np.broadcast_to(valid.dtype.type(0), valid.shape),
    ),
    refused("every attribute", lambda rng, valid: Everything()),
    refused("read in slices", lambda rng, valid: Sliced(np.asarray(valid))),
]

# What SciPy has functions of.
KINDS["real or complex array"] = [
    refused("None", lambda rng, valid: None),
    *NO_ARRAYS[:10],
    either("complex", lambda rng, valid: np.asarray(valid) + 1j),
    *STORED[:7],
    *STORED[10:],
    refused("ragged", lambda rng, valid: [[1.0, 2.0], [3.0]]),
    refused("text", lambda rng, valid: np.asarray(valid).astype(str)),
    refused("dates", lambda rng, valid: np.zeros(np.shape(valid), "M8[s]")),
]

# What may be left out.
KINDS["factors"] = KINDS["real or complex array"][1:]
KINDS["array or none"] = KINDS["array"][1:]

KINDS["weights of rows"] = [
    *NO_NUMBERS,
    *STORED[:8],
    *NOT_FINITE,
    refused("one more", lambda rng, valid: np.r_[valid, 1.0]),
    refused("a column", lambda rng, valid: np.asarray(valid)[:, np.newaxis]),
    refused("none", lambda rng, valid: []),
    refused("negative", with_one(-1.0)),
    refused("one number", lambda rng, valid: 2.5),
    refused("ragged", lambda rng, valid: [[1.0, 2.0], [3.0]]),
    either("all zero", lambda rng, valid: np.zeros_like(valid)),
    either("their sum overflows", lambda rng, valid: np.full(np.shape(valid), 1e308)),
]

KINDS["distributions"] = [
    *KINDS["array"],
    refused_in_rows("negative", with_negative),
    refused_in_rows("sums of two", lambda rng, valid: np.asarray(valid) * 2),
    either("zeros", lambda rng, valid: np.zeros_like(valid)),
]

KINDS["distributions or none"] = KINDS["distributions"][1:]

KINDS["start"] = [
    *KINDS["resp"],
    refused("no name", lambda rng, valid: "no start"),
    refused("a number", lambda rng, valid: 3),
    refused("None", lambda rng, valid: None),
    *(
        refused(f"a function that returns {value!r:.20}", lambda rng, valid, v=value: lambda *_: v)
        for value in (None, "abc", 3, np.ones(3), np.full((7, 3), np.nan), object(), [[1], [2, 3]])
    ),
    refused("a function of no arguments", lambda rng, valid: lambda: valid),
    lambda rng, valid: Odd("a function", lambda *_: valid, plain=valid),
]

KINDS["distribution"] = [
    *NO_NUMBERS,
    *STORED[:8],
    *NOT_FINITE,
    refused("one more", lambda rng, valid: np.r_[valid, 0.0]),
    refused("sum of two", lambda rng, valid: 2 * valid),
    refused("negative", with_negative),
]

KINDS["array of a shape"] = [
    *NO_NUMBERS,
    *STORED[:8],
    *NOT_FINITE,
    refused("an axis more", lambda rng, valid: np.asarray(valid)[..., np.newaxis]),
    refused("one more", lambda rng, valid: np.concatenate([valid, valid[:1]])),
    refused("empty", lambda rng, valid: np.empty(0)),
    refused("ragged", lambda rng, valid: [[1.0, 2.0], [3.0]]),
]

KINDS["attribute"] = [
    refused("None", lambda rng, valid: None),
    refused("text", lambda rng, valid: "abc"),
    refused("an object", lambda rng, valid: object()),
    refused("complex", lambda rng, valid: np.asarray(valid) + 1j),
    *NOT_FINITE,
    refused("one more", lambda rng, valid: np.concatenate([valid, valid[:1]])),
    refused("one less", lambda rng, valid: np.asarray(valid)[1:]),
    refused("an axis more", lambda rng, valid: np.asarray(valid)[..., np.newaxis]),
    refused("empty", lambda rng, valid: np.asarray(valid)[:0]),
    refused("nothing", lambda rng, valid: np.empty(0)),
    *STORED[:7],
]

KINDS["flag"] = [
    *NO_ARRAYS,
    refused("a number as text", lambda rng, valid: "True"),
    refused("2.5", lambda rng, valid: 2.5),
]
KINDS["verbosity"] = [*NO_ARRAYS, refused("-1", lambda rng, valid: -1)]
KINDS["family"] = [*NO_ARRAYS, refused("None", lambda rng, valid: None)]
KINDS["jobs"] = [*NO_ARRAYS, refused("0", lambda rng, valid: 0), refused("1.5", lambda rng, v: 1.5)]
KINDS["components to try"] = [
    *NO_ARRAYS,
    refused("None", lambda rng, valid: None),
    refused("none", lambda rng, valid: []),
    refused("zero", lambda rng, valid: [1, 0]),
    refused("negative", lambda rng, valid: -1),
    refused("text", lambda rng, valid: ["a"]),
    refused("a fraction", lambda rng, valid: [1.5]),
    refused("None among them", lambda rng, valid: [1, None]),
    refused("too many", lambda rng, valid: [2**70]),
    refused("lists", lambda rng, valid: [[1], [2]]),
    lambda rng, valid: Odd("a generator", (n for n in valid), plain=valid),
    lambda rng, valid: Odd("an array", np.array(valid), plain=valid),
]
KINDS["prior to try"] = [
    *NO_ARRAYS,
    refused("none", lambda rng, valid: []),
    refused("zero", lambda rng, valid: [1.0, 0.0]),
    refused("text", lambda rng, valid: ["a"]),
    refused("NaN", lambda rng, valid: np.nan),
]
KINDS["threads or none"] = [
    *(
        maker
        for maker in KINDS["positive count"]
        if maker(np.random.default_rng(0), 2).value is not None
    ),
    refused("2**40", lambda rng, valid: 2**40),
]
KINDS["threads"] = [*KINDS["positive count"][:-1], refused("2**40", lambda rng, valid: 2**40)]

KINDS["coordinates"] = [
    *NO_NUMBERS,
    *STORED[:7],
    *NOT_FINITE,
    refused("an axis more", lambda rng, valid: np.asarray(valid)[..., np.newaxis]),
    refused("twice as many", lambda rng, valid: np.r_[np.atleast_1d(valid), np.atleast_1d(valid)]),
    refused("empty", lambda rng, valid: np.empty(0)),
    refused("None", lambda rng, valid: None),
    either("negative", lambda rng, valid: -np.asarray(valid)),
]
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
KINDS["length"] = [
    refused("one less", lambda rng, valid: valid[..., :-1].copy()),
    refused("one more", lambda rng, valid: np.concatenate([valid, valid[..., :1]], axis=-1)),
    refused("none", lambda rng, valid: valid[..., :0].copy()),
    same("strided", strided),
    same("backwards", backwards),
]
KINDS["contiguous length"] = KINDS["length"][:3]  # what is no more is refused when it is compiled
KINDS["tensor"] = [
    *NO_ARRAYS,
    refused("an array", lambda rng, valid: valid.numpy()),
    refused("None", lambda rng, valid: None),
    refused("a list", lambda rng, valid: valid.tolist()),
    refused("complex", lambda rng, valid: valid + 1j),
    refused("shorter", lambda rng, valid: valid[:, :-1]),
    same("transposed twice", lambda rng, valid: valid.T.contiguous().T),
]


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


class _Growing:
    """A global step that returns more parameters every time."""

    def __init__(self, step: Any) -> None:
        self._step = step
        self._more = 0

    def __call__(self, statistics: Any, weight: Any) -> Any:
        self._more += 1
        found = self._step(statistics, weight)
        return np.concatenate([found] + [found[:, :1]] * self._more, axis=1)
