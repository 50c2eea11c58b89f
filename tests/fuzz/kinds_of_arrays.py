"""Odd arrays: rows, weights, responsibilities, outputs, parameters, tensors."""

from __future__ import annotations

from typing import Any

import numpy as np

from odd_values import (
    HONEST,
    KINDS,
    LIARS,
    NO_ARRAYS,
    NO_NUMBERS,
    NOT_FINITE,
    STORED,
    WRONG_SHAPES,
    Blocks,
    Everything,
    Odd,
    Sliced,
    backwards,
    either,
    read_only,
    refused,
    refused_in_rows,
    same,
    strided,
    with_negative,
    with_one,
)

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

KINDS["array"] = [
    refused("None", lambda rng, valid: None),
    *NO_NUMBERS,
    *STORED[:8],
    refused("ragged", lambda rng, valid: [[1.0, 2.0], [3.0]]),
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

KINDS["temperatures or none"] = [
    refused("text", lambda rng, valid: "abc"),
    refused("an object", lambda rng, valid: object()),
    refused("a number", lambda rng, valid: 0.5),
    refused("complex", lambda rng, valid: [0.5j]),
    refused("negative", lambda rng, valid: [-0.5]),
    refused("zero", lambda rng, valid: [0.5, 0.0]),
    refused("above one", lambda rng, valid: [1.5]),
    refused("NaN", lambda rng, valid: [np.nan]),
    refused("two axes", lambda rng, valid: [[0.5, 0.6]]),
    refused("ragged", lambda rng, valid: [[0.5], [0.5, 0.6]]),
    refused("masked", lambda rng, valid: np.ma.masked_array([0.5, 0.6], [True, False])),
    either("none", lambda rng, valid: []),
    either("tiny", lambda rng, valid: [5e-324]),
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
    refused("one more", lambda rng, valid: np.r_[np.atleast_1d(valid), np.atleast_1d(valid)[:1]]),
    refused("one less", lambda rng, valid: np.atleast_1d(valid)[1:]),
    refused("an axis more", lambda rng, valid: np.asarray(valid)[..., np.newaxis]),
    refused("empty", lambda rng, valid: np.atleast_1d(valid)[:0]),
    refused("nothing", lambda rng, valid: np.empty(0)),
    *STORED[:7],
]

# A copy stays in its byte order.
KINDS["copied attribute"] = [kind for kind in KINDS["attribute"] if kind is not STORED[4]]

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

KINDS["length"] = [
    refused("one less", lambda rng, valid: valid[..., :-1].copy()),
    refused("one more", lambda rng, valid: np.concatenate([valid, valid[..., :1]], axis=-1)),
    refused("none", lambda rng, valid: valid[..., :0].copy()),
]
# What is refused when its caller is compiled.
NOT_COMPILED = [
    refused("an axis more", lambda rng, valid: valid[..., np.newaxis]),
    refused("integers", lambda rng, valid: valid.astype(int)),
    refused("half", lambda rng, valid: valid.astype(np.float16)),
    refused("complex", lambda rng, valid: valid + 1j),
    refused("None", lambda rng, valid: None),
    refused("text", lambda rng, valid: "abc"),
    refused("a number", lambda rng, valid: 3.0),
    refused("a tuple", lambda rng, valid: tuple(valid.ravel().tolist())),
]
KINDS["compiled array"] = [
    *NOT_COMPILED,
    same("strided", strided),
    same("backwards", backwards),
]
KINDS["compiled distributions"] = [
    *KINDS["compiled array"],
    refused("negative", with_negative),
    refused("sums of two", lambda rng, valid: valid * 2),
]
KINDS["compiled length"] = [
    *KINDS["length"],
    *(
        kind for kind in KINDS["compiled array"] if kind is not NOT_COMPILED[4]
    ),  # it may be left out
    refused("another precision", lambda rng, valid: valid.astype(np.float32)),
]
KINDS["compiled output"] = [
    *KINDS["length"],
    *KINDS["compiled array"],
    refused("another precision", lambda rng, valid: valid.astype(np.float32)),
    refused("read-only", read_only),
]
KINDS["compiled weights"] = [
    *KINDS["length"],
    *(kind for kind in NOT_COMPILED if kind is not NOT_COMPILED[4]),
    refused("strided", strided),
    refused("negative", with_one(-1.0)),
    *NOT_FINITE,
]

KINDS["tensor"] = [
    *NO_ARRAYS,
    refused("an array", lambda rng, valid: valid.numpy()),
    refused("None", lambda rng, valid: None),
    refused("a list", lambda rng, valid: valid.tolist()),
    refused("complex", lambda rng, valid: valid + 1j),
    same("strided", lambda rng, valid: valid.unsqueeze(-1).repeat_interleave(3, -1)[..., 1]),
    same("a view from the end", lambda rng, valid: valid.flip(0).contiguous().flip(0)),
]
KINDS["tensor of a shape"] = [
    *KINDS["tensor"],
    refused("shorter", lambda rng, valid: valid[..., :-1]),
    refused("integers", lambda rng, valid: valid.long()),
    refused("another precision", lambda rng, valid: valid.to(_other_precision(valid))),
]
KINDS["finite tensor"] = [
    *KINDS["tensor of a shape"],
    refused("NaN", lambda rng, valid: valid / 0 * 0),
]
# JAX has no other byte order.
KINDS["array for JAX"] = [kind for kind in KINDS["array"] if kind is not STORED[4]]
KINDS["finite array for JAX"] = [*KINDS["array for JAX"], *NOT_FINITE]


def _other_precision(valid: Any) -> Any:
    return type(valid)([0]).dtype if valid.element_size() == 8 else valid.double().dtype
