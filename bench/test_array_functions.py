"""pytest-benchmark of the array functions, peers beside ours, all of which must agree."""

from __future__ import annotations

import functools

import numpy as np
import pytest

from array_peers import FUNCTIONS, MAKERS, Inputs, installed


@functools.cache
def calls_of(library, shape, dtype):
    return MAKERS[library](inputs_of(shape, dtype))


@functools.cache
def inputs_of(shape, dtype):
    return Inputs.draw(*shape, dtype)


def as_arrays(result):
    """Copies: the next call may write to the same memory."""
    values = result if isinstance(result, tuple) else (result,)
    return [np.asarray(value).copy() for value in values]


@pytest.mark.parametrize("library", installed())
@pytest.mark.parametrize("function", FUNCTIONS)
@pytest.mark.parametrize("dtype", ["float64", "float32"])
def test_array_function(benchmark, smoke, function, library, dtype):
    benchmark.group = f"{function}, {dtype}"
    shape = (64, 256) if smoke else (200_000, 256)
    call = calls_of(library, shape, dtype).get(function)
    if call is None:
        pytest.skip(f"{library} has no such function")
    result = as_arrays(benchmark.pedantic(call, rounds=3, warmup_rounds=0 if smoke else 1))
    expected = as_arrays(calls_of("vbfast", shape, dtype)[function]())
    # Peers add up float32 in float32.
    tolerance = 1e-10 if dtype == "float64" else 1e-3
    for theirs, ours in zip(result, expected, strict=True):
        np.testing.assert_allclose(theirs, ours, rtol=tolerance, atol=tolerance)
