"""Odd numbers, and what is chosen among names or lists of numbers."""

from __future__ import annotations

import decimal
import fractions

import numpy as np

from odd_values import (
    KINDS,
    NO_ARRAYS,
    Everything,
    Odd,
    either,
    refused,
    same,
)

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
# A class may be called with the number of features.
KINDS["length or function"] = [
    maker
    for maker in KINDS["positive count"]
    if maker(np.random.default_rng(0), 2).value is not int
]

KINDS["real"] = [
    *NO_SCALARS,
    refused("infinity", lambda rng, valid: np.inf),
    same("NumPy's", lambda rng, valid: np.float64(valid)),
    either("tiny", lambda rng, valid: 5e-324),
    either("huge", lambda rng, valid: 1e308),
    refused("Fraction", lambda rng, valid: fractions.Fraction(1, 2)),
    refused("Decimal", lambda rng, valid: decimal.Decimal(1)),
]

KINDS["positive real"] = [*KINDS["real"], refused("0", lambda rng, valid: 0.0)]

KINDS["part or none"] = [
    refused("text", lambda rng, valid: "abc"),
    refused("an object", lambda rng, valid: object()),
    refused("a list", lambda rng, valid: [0.5]),
    refused("complex", lambda rng, valid: 0.5j),
    refused("NaN", lambda rng, valid: np.nan),
    refused("zero", lambda rng, valid: 0.0),
    refused("one", lambda rng, valid: 1.0),
    refused("negative", lambda rng, valid: -0.5),
]

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
KINDS["positive count or none"] = [
    maker
    for maker in KINDS["positive count"]
    if maker(np.random.default_rng(0), 2).value is not None
]
KINDS["threads or none"] = [
    *KINDS["positive count or none"],
    refused("2**40", lambda rng, valid: 2**40),
]
KINDS["threads"] = [*KINDS["positive count"][:-1], refused("2**40", lambda rng, valid: 2**40)]
# Of two features, the last.
KINDS["features"] = [
    *NO_ARRAYS,
    refused("None", lambda rng, valid: None),
    refused("none", lambda rng, valid: []),
    refused("twice", lambda rng, valid: [*valid, *valid]),
    refused("out of range", lambda rng, valid: [2]),
    refused("below range", lambda rng, valid: [-3]),
    refused("huge", lambda rng, valid: [2**70]),
    refused("a fraction", lambda rng, valid: [0.5]),
    refused("NaN", lambda rng, valid: [np.nan]),
    refused("names", lambda rng, valid: ["a"]),
    refused("an axis more", lambda rng, valid: [valid]),
    refused("too few truth values", lambda rng, valid: [True]),
    refused("ragged", lambda rng, valid: [valid, [0, 1]]),
    same("an array", lambda rng, valid: np.array(valid)),
    same("a small type", lambda rng, valid: np.array(valid, np.uint8)),
    same("a tuple", lambda rng, valid: tuple(valid)),
    same("truth values", lambda rng, valid: [False, True]),
    same("a number", lambda rng, valid: valid[0]),
]
