"""Given responsibilities: tolerances, renormalisation, labels, and errors that name the row."""

from __future__ import annotations

import numpy as np
import pytest
from scipy import sparse

from elsewhere import Elsewhere
from vbfast.passes.responsibilities import RespLabels, RespMatrix, as_resp_source


@pytest.fixture
def resp(rng):
    return rng.dirichlet(np.ones(4), size=50)


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize(
    "lay",
    [lambda q: q, np.asfortranarray, lambda q: q[::-1].copy()[::-1], lambda q: q.tolist(),
     lambda q: q.astype(">f8"), lambda q: q.astype("g"), Elsewhere],
    ids=["C", "fortran", "backwards", "list", "big endian", "long double", "elsewhere"],
)  # fmt: skip
def test_blocks_are_in_the_computation_s_dtype_and_c_order(resp, dtype, lay):
    source = as_resp_source(lay(resp), 50, 4, dtype)
    assert not source.in_memory
    for start, stop in ((0, 50), (7, 8), (30, 50)):
        block = source.block(start, stop)
        assert block.dtype == dtype
        assert block.flags.c_contiguous
        np.testing.assert_allclose(block, resp[start:stop], rtol=2 * np.finfo(dtype).eps)


@pytest.mark.parametrize(
    ("given", "tolerance"),
    [("f8", 1e-6), ("f4", 1e-3), ("f2", 1e-3), ("g", 1e-6), (">f4", 1e-3)],
)
@pytest.mark.parametrize("dtype", ["f4", "f8"])
def test_the_tolerance_is_that_of_the_given_dtype(given, tolerance, dtype):
    resp = np.array([[0.5, 0.5], [0.25, 0.75]])
    off = resp.copy()
    off[1] *= 1 + 0.5 * tolerance
    block = as_resp_source(off.astype(given), 2, 2, dtype).block(0, 2)
    np.testing.assert_allclose(block.sum(axis=1, dtype=float), 1, atol=2 * np.finfo(dtype).eps)
    off = resp.copy()
    off[1] *= 1 + 4 * tolerance
    with pytest.raises(ValueError, match=r"row 1 has least entry .* and sum"):
        as_resp_source(off.astype(given), 2, 2, dtype).block(0, 2)


def test_whole_numbers_as_a_matrix():
    resp = np.array([[1, 0], [0, 1]])
    block = as_resp_source(resp, 2, 2, np.float32).block(0, 2)
    np.testing.assert_array_equal(block, resp)
    with pytest.raises(ValueError, match=r"row 1 has least entry 0\.0 and sum 2\.0"):
        as_resp_source(2 * resp, 2, 2, np.float32).block(1, 2)


def test_rows_are_renormalised(resp):
    off = resp * (1 + 5e-7)
    block = as_resp_source(off, 50, 4, np.float64).block(0, 50)
    np.testing.assert_allclose(block.sum(axis=1), 1, rtol=1e-15)
    np.testing.assert_allclose(block, resp, rtol=1e-14)


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf, -1e-300])
def test_the_first_bad_row_is_named(resp, value):
    resp[31, 2] = resp[40, 0] = value
    source = as_resp_source(resp, 50, 4, np.float64)
    source.block(0, 31)  # the rows before are well
    with pytest.raises(ValueError, match="row 31 has least entry"):
        source.block(20, 50)


def test_infinities_of_both_signs_are_an_error_and_no_warning(resp):
    resp[0, :2] = np.inf, -np.inf
    with pytest.raises(ValueError, match="row 0 has least entry -inf"):
        as_resp_source(resp, 50, 4, np.float64).block(0, 1)


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("lay", [lambda q: q, Elsewhere], ids=["array", "elsewhere"])
def test_a_bad_row_of_zero_weight_is_all_zeros(resp, dtype, lay):
    bad = resp.copy()
    weight = np.ones(50)
    weight[[3, 20, 31, 40]] = 0.0, -0.0, 0.0, 0.0
    bad[3], bad[20], bad[31] = np.nan, 1e300, [np.inf, -np.inf, 0.0, 1.0]  # and row 40 is well
    before = bad.copy()
    source = as_resp_source(lay(bad), 50, 4, dtype, sample_weight=weight)
    expected = resp.copy()
    expected[[3, 20, 31]] = 0.0
    for start, stop in ((0, 50), (20, 21), (30, 50)):
        block = source.block(start, stop)
        np.testing.assert_allclose(block, expected[start:stop], rtol=2 * np.finfo(dtype).eps)
    np.testing.assert_array_equal(bad, before)
    weight[31] = 5e-324
    source = as_resp_source(lay(bad), 50, 4, dtype, sample_weight=weight)
    with pytest.raises(ValueError, match="row 31 has least entry -inf"):
        source.block(15, 50)


@pytest.mark.parametrize("dtype", [np.int64, np.int8])
def test_a_bad_label_of_zero_weight_is_none_of_the_components(dtype):
    given = np.array([2, -2, 1, 99], dtype=dtype)
    weight = np.array([0.0, 0.0, 1.0, 0.0])
    source = as_resp_source(given, 4, 3, np.float64, sample_weight=weight)
    np.testing.assert_array_equal(source.block(0, 4), [2, -1, 1, -1])
    np.testing.assert_array_equal(given, [2, -2, 1, 99])
    with pytest.raises(ValueError, match=r"lie in -1\.\.2; row 3 has 99"):
        as_resp_source(given, 4, 3, np.float64, sample_weight=np.array([0.0, 0.0, 1.0, 1e-9]))


def test_only_the_rows_asked_for_are_read(resp):
    stored = Elsewhere(resp)
    source = as_resp_source(stored, 50, 4, np.float64)
    assert stored.slices == []
    source.block(10, 20)
    assert stored.slices == [(10, 20)]


def test_hdf5(resp, tmp_path):
    h5py = pytest.importorskip("h5py")
    with h5py.File(tmp_path / "q.h5", "w") as file:
        source = as_resp_source(file.create_dataset("q", data=resp), 50, 4, np.float64)
        np.testing.assert_allclose(source.block(5, 9), resp[5:9], rtol=1e-15)
        labels = as_resp_source(file.create_dataset("l", data=[1, -1, 0]), 3, 2, np.float64)
        np.testing.assert_array_equal(labels.block(0, 3), [1, -1, 0])


def test_slices_of_the_wrong_shape(resp):
    class Short(Elsewhere):
        def __getitem__(self, rows):
            return super().__getitem__(rows)[:-1]

    source = as_resp_source(Short(resp), 50, 4, np.float64)
    with pytest.raises(ValueError, match=r"resp\[2:6\] should have shape \(4, 4\); got \(3, 4\)"):
        source.block(2, 6)


def test_slices_of_labels_of_the_wrong_shape():
    class Short(Elsewhere):
        def __getitem__(self, rows):
            return super().__getitem__(rows)[:-1]

    with pytest.raises(ValueError, match=r"resp\[0:5\] should have shape \(5,\); got \(4,\)"):
        as_resp_source(Short(np.zeros(5, int)), 5, 4, np.float64)


def test_slices_of_the_wrong_dtype(resp):
    class Complex(Elsewhere):
        def __getitem__(self, rows):
            return super().__getitem__(rows) + 1j

    with pytest.raises(TypeError, match=r"resp\[2:6\] must be real"):
        as_resp_source(Complex(resp), 50, 4, np.float64).block(2, 6)


def test_the_argument_that_they_came_as_is_named(resp):
    with pytest.raises(ValueError, match="init_params must have non-negative rows that sum to one"):
        as_resp_source(2 * resp, 50, 4, np.float64, name="init_params").block(0, 9)


def test_arrays_of_other_libraries_in_memory(resp):
    torch = pytest.importorskip("torch")
    block = as_resp_source(torch.from_numpy(resp), 50, 4, np.float64).block(0, 50)
    np.testing.assert_allclose(block, resp, rtol=1e-15)
    labels = as_resp_source(torch.tensor([1, -1, 0]), 3, 2, np.float64)
    np.testing.assert_array_equal(labels.block(0, 3), [1, -1, 0])


@pytest.mark.parametrize("dtype", ["i1", "i4", "i8", "u2", ">i4"])
def test_labels(dtype):
    given = np.array([2, 0, 1, 2]).astype(dtype)
    source = as_resp_source(given, 4, 3, np.float32)
    assert isinstance(source, RespLabels)
    assert source.in_memory
    block = source.block(1, 3)
    assert block.dtype == np.int64
    np.testing.assert_array_equal(block, [0, 1])


def test_labels_may_be_none_of_the_components():
    source = as_resp_source([-1, 0, -1], 3, 1, np.float64)
    np.testing.assert_array_equal(source.block(0, 3), [-1, 0, -1])


@pytest.mark.parametrize(
    ("labels", "message"),
    [
        ([0, 3, 1], "lie in -1..2; row 1 has 3"),
        ([0, 1, -2], "lie in -1..2; row 2 has -2"),
        (np.array([0, 2**64 - 1, 0], dtype=np.uint64), "row 1 has 18446744073709551615"),
        ([0, 1], r"must have shape \(3,\); got \(2,\)"),
    ],
)
def test_wrong_labels(labels, message):
    with pytest.raises(ValueError, match=message):
        as_resp_source(labels, 3, 3, np.float64)


@pytest.mark.parametrize(
    ("given", "error", "message"),
    [
        (np.ones((3, 2)), ValueError, r"\(n_samples, n_components\) = \(3, 3\); got \(3, 2\)"),
        (np.ones((2, 3)), ValueError, r"got \(2, 3\)"),
        (np.ones(3), ValueError, r"got \(3,\)"),
        (1.0, ValueError, r"got \(\)"),
        (np.ones((3, 3), complex), TypeError, "resp must be real; got dtype complex128"),
        (sparse.csr_array(np.eye(3)), TypeError, "Sparse data"),
    ],
)
def test_what_is_not_taken(given, error, message):
    with pytest.raises(error, match=message):
        as_resp_source(given, 3, 3, np.float64)


def test_a_source_comes_back_as_it_is(resp):
    source = as_resp_source(resp, 50, 4, np.float64)
    assert isinstance(source, RespMatrix)
    assert as_resp_source(source, 50, 4, np.float64) is source
