from __future__ import annotations

import numpy as np
import pytest

import vbfast
from vbfast.contract import NonFiniteRowError, Request
from vbfast.passes.rows import as_row_source
from vbfast.passes.runner import LocalRunner
from vbfast.passes.sections import batches


@pytest.fixture(params=["array", "chunks", "file"])
def given_rows(request, rng, tmp_path):
    rows = rng.normal(size=(1000, 3))
    if request.param == "array":
        return rows, rows
    if request.param == "chunks":
        return rows, [rows[:250], rows[250:260], rows[260:]]
    np.save(tmp_path / "rows.npy", rows)
    return rows, tmp_path / "rows.npy"


def test_a_section_has_the_bits_of_its_rows(given_rows, rng):
    rows, given = given_rows
    weights = rng.uniform(size=1000)
    mixture = vbfast.GaussianMixture(3, random_state=0).fit(rows)
    log_joint, request = mixture._fitted_parameters().log_joint(), Request(moments="full")
    whole = LocalRunner(as_row_source(given), weights)
    section = whole.section(slice(200, 700))
    alone = LocalRunner(as_row_source(rows[200:700].copy()), weights[200:700])
    assert section.run(log_joint, request) == alone.run(log_joint, request)
    assert np.array_equal(section.gather(np.array([499, 0])), rows[[699, 200]])
    assert section.total_weight == alone.total_weight


def test_a_section_of_a_section_names_rows_among_all(rng):
    rows = rng.normal(size=(1000, 3))
    rows[640, 1] = np.nan
    section = LocalRunner(as_row_source(rows)).section(slice(100, 900)).section(slice(500, 800))
    with pytest.raises(NonFiniteRowError) as caught:
        section.column_moments()
    assert caught.value.row == 640


def test_batches_end_where_chunks_do():
    def cut(X, batch_size):
        return [(rows.start, rows.stop) for rows in batches(as_row_source(X), batch_size)]

    assert cut(np.zeros((10, 1)), 100) == [(0, 10)]
    assert cut(np.zeros((10, 1)), 4) == [(0, 3), (3, 6), (6, 10)]
    assert cut([np.zeros((5, 1)), np.zeros((2, 1))], 4) == [(0, 2), (2, 5), (5, 7)]
    assert cut(np.zeros((3, 1)), 1) == [(0, 1), (1, 2), (2, 3)]
