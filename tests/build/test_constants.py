"""Numbers that stand in C++ and in Python are the same."""

from __future__ import annotations

import math
import re
from pathlib import Path

import numpy as np
import pytest

from vbfast.backends.native import blocking
from vbfast.contract.log_joint import NEAR_LIMIT
from vbfast.passes import negligible

SOURCES = Path(__file__).parents[2] / "csrc"


def constants(path, pattern):
    (found,) = re.findall(pattern, (SOURCES / path).read_text())
    return found


def test_how_far_a_near_component_may_be():
    double, single = constants(
        "estep/packing.cpp", r"near_limit = sizeof\(T\) == 8 \? (\S+) : (\S+);"
    )
    assert {np.dtype(float): float(double), np.dtype(np.float32): float(single)} == NEAR_LIMIT


def test_what_is_negligible():
    least = constants("kernels/estep/tile.h", r"least_responsibility = T\((\S+)\);")
    assert math.exp(-negligible.NEGLIGIBLE) <= 1.1 * float(least)


def test_statistics_are_as_large_as_their_layout():
    rows = int(constants("kernels/estep/triangle-inl.h", r"constexpr int triangle_rows = (\d+);"))
    assert rows == blocking.BLOCK_ROWS


@pytest.mark.parametrize("n", [1, 7, 8, 9, 16, 100])
def test_a_triangle_in_block_rows(n):
    """Each block row is as wide as its diagonal block reaches."""
    rows = blocking.BLOCK_ROWS
    size = sum(rows * rows * (block + 1) for block in range(-(-n // rows)))
    assert blocking.statistics_size("pooled", 1, n) == 1 + n + size
