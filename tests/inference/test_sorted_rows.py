from __future__ import annotations

import numpy as np
import pytest

from vbfast.inference.sorted_rows import order_of_rows
from vbfast.passes.rows import as_row_source
from vbfast.passes.runner import LocalRunner
from vbfast.passes.sections import batches


def order(rows, batch_size=500):
    source = as_row_source(rows)
    return order_of_rows(LocalRunner(source), batches(source, batch_size))


def test_shuffled_rows_are_not_sorted(rng):
    labels = rng.integers(5, size=20_000)
    rows = 20.0 * labels[:, np.newaxis] + rng.normal(size=(20_000, 3)) + 1e6
    found = order(rows)
    assert not found.sorted
    assert found.between < 0.05


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_sorted_rows_are(rng, dtype):
    labels = np.sort(rng.integers(5, size=20_000))
    rows = rng.normal(size=(20_000, 3))
    rows[:, 2] += 3.0 * labels
    found = order(rows.astype(dtype))
    assert found.sorted
    assert found.feature == 2
    assert found.between > 0.8


def test_rows_that_are_all_alike_within_batches(rng):
    rows = np.repeat(np.arange(40.0), 500)[:, np.newaxis] * [0.0, 1.0]
    assert order(rows) == (1, 1.0)
    assert not order(np.zeros((1000, 2))).sorted


def test_too_few_rows_to_tell(rng):
    rows = rng.normal(size=(20, 2))
    assert not order(rows, 20).sorted  # one batch
    assert not order(rows, 1).sorted  # of one row each
