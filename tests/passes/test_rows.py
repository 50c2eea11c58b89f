"""Row sources: what is used where it lies, what is converted, what is read in slices, what is not
taken."""

from __future__ import annotations

import numpy as np
import pytest
from scipy import sparse

from elsewhere import Elsewhere
from vbfast.passes.rows import ArrayRows, SlicedRows, as_row_source


@pytest.fixture(name="X")
def some_rows(rng):
    return rng.normal(size=(40, 3))


class Subclass(np.ndarray):
    """An array with a class of its own, whose slices have it too."""


@pytest.mark.parametrize(
    ("given", "computed"),
    [
        ("f4", "f4"),
        ("f8", "f8"),
        (">f4", "f4"),
        (">f8", "f8"),
        ("f2", "f8"),
        ("g", "f8"),
        ("?", "f8"),
        ("i1", "f8"),
        ("u8", "f8"),
        (">i4", "f8"),
        ("O", "f8"),
    ],
)
@pytest.mark.parametrize("wrap", [lambda a: a, Elsewhere], ids=["array", "elsewhere"])
def test_dtype_of_the_computation(given, computed, wrap):
    values = np.array([[0, 1], [1, 1], [1, 0]]).astype(given)
    source = as_row_source(wrap(values))
    assert source.dtype == np.dtype(computed)
    rows = source.block(0, 3)
    assert rows.dtype == np.dtype(computed)
    assert rows.dtype.isnative
    np.testing.assert_array_equal(rows, [[0, 1], [1, 1], [1, 0]])


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize(
    "lay",
    [
        lambda X: X,
        np.asfortranarray,
        lambda X: np.repeat(X, 2, axis=0)[::2],
        lambda X: np.repeat(X, 3, axis=1)[:, ::3],
        lambda X: X[::-1],
        lambda X: X[:, ::-1],
        lambda X: np.broadcast_to(X[:1], X.shape),
    ],
    ids=["C", "fortran", "every other row", "every third column", "rows backwards",
         "columns backwards", "one row repeated"],
)  # fmt: skip
def test_arrays_are_used_where_they_lie(X, dtype, lay):
    laid = lay(X.astype(dtype))
    source = as_row_source(laid)
    assert isinstance(source, ArrayRows)
    assert source.in_memory.strides == laid.strides
    assert np.shares_memory(source.in_memory, laid)
    block = source.block(3, 17)
    assert np.shares_memory(block, laid)
    np.testing.assert_array_equal(block, laid[3:17])


def test_a_read_only_array_stays_where_it_is(X):
    X.setflags(write=False)
    assert np.shares_memory(as_row_source(X).in_memory, X)


@pytest.mark.parametrize("kind", ["big endian", "unaligned", "integers", "a subclass", "list"])
def test_other_arrays_are_converted_once(X, kind):
    if kind == "unaligned":
        records = np.zeros(len(X), dtype=[("flag", "u1"), ("x", X.dtype, X.shape[1])])
        records["x"] = X
        given = records["x"]
        assert not given.flags.aligned
    else:
        X = np.round(X)
        given = {
            "big endian": lambda: X.astype(">f8"),
            "integers": lambda: X.astype(np.int16),
            "a subclass": lambda: X.astype(np.int16).view(Subclass),
            "list": X.tolist,
        }[kind]()
    source = as_row_source(given)
    rows = source.in_memory
    assert type(rows) is np.ndarray
    assert rows.dtype == np.float64
    assert rows.dtype.isnative
    assert rows.flags.aligned
    np.testing.assert_array_equal(rows, X)
    assert source.block(0, 2).base is not None  # a view: blocks are not converted again


def test_arrays_of_other_libraries_in_memory(X):
    torch = pytest.importorskip("torch")
    source = as_row_source(torch.from_numpy(X))
    assert isinstance(source, ArrayRows)
    assert np.shares_memory(source.in_memory, X)


@pytest.mark.parametrize("dtype", ["f4", "f8"])
def test_a_memory_map_is_used_where_it_lies(X, dtype, tmp_path):
    np.save(tmp_path / "x.npy", X.astype(dtype))
    mapped = np.load(tmp_path / "x.npy", mmap_mode="r")
    source = as_row_source(mapped)
    assert np.shares_memory(source.in_memory, mapped)
    assert source.dtype == dtype


@pytest.mark.parametrize("dtype", [">f8", "i4", "f2"])
def test_a_memory_map_of_another_dtype_is_read_in_slices(X, dtype, tmp_path):
    X = np.round(X)
    np.save(tmp_path / "x.npy", X.astype(dtype))
    source = as_row_source(np.load(tmp_path / "x.npy", mmap_mode="r"))
    assert isinstance(source, SlicedRows)
    assert source.in_memory is None
    assert source.block(5, 9).dtype == np.float64
    np.testing.assert_array_equal(source.block(5, 9), X[5:9])


def test_an_unaligned_memory_map_is_read_in_slices(X, tmp_path):
    with (tmp_path / "x.bin").open("wb") as file:
        file.write(b"!" + X.tobytes())
    mapped = np.memmap(tmp_path / "x.bin", dtype=X.dtype, mode="r", offset=1, shape=X.shape)
    source = as_row_source(mapped)
    assert source.in_memory is None
    assert source.block(0, 40).flags.aligned
    np.testing.assert_array_equal(source.block(0, 40), X)


@pytest.fixture
def hdf5(tmp_path):
    h5py = pytest.importorskip("h5py")
    with h5py.File(tmp_path / "x.h5", "w") as file:
        yield lambda X: file.create_dataset("x", data=X, chunks=(8, 2))


@pytest.fixture
def zarr(tmp_path):
    library = pytest.importorskip("zarr")

    def write(X):
        array = library.create_array(
            store=str(tmp_path / "x.zarr"), shape=X.shape, dtype=X.dtype, chunks=(8, 2)
        )
        array[:] = X
        return array

    return write


@pytest.mark.parametrize("kind", ["hdf5", "zarr", "elsewhere"])
@pytest.mark.parametrize("dtype", ["f4", "f8", "i2"])
def test_arrays_elsewhere_are_read_slice_by_slice(request, X, kind, dtype):
    X = np.round(X).astype(dtype)
    stored = Elsewhere(X) if kind == "elsewhere" else request.getfixturevalue(kind)(X)
    source = as_row_source(stored)
    assert isinstance(source, SlicedRows)
    assert source.data is stored
    assert source.in_memory is None
    assert (source.n_samples, source.n_features) == X.shape
    for start, stop in ((0, 7), (7, 8), (33, 40)):
        block = source.block(start, stop)
        assert block.dtype == source.dtype
        np.testing.assert_array_equal(block, X[start:stop])


def test_nothing_is_read_before_it_is_asked_for(X):
    stored = Elsewhere(X)
    source = as_row_source(stored)
    assert stored.slices == []
    source.block(4, 6)
    assert stored.slices == [(4, 6)]


@pytest.mark.parametrize("kind", ["array", "hdf5", "zarr", "elsewhere"])
def test_take_in_any_order_and_more_than_once(request, X, kind):
    stored = {"array": lambda X: X, "elsewhere": Elsewhere}.get(kind)
    stored = (stored or request.getfixturevalue(kind))(X)
    source = as_row_source(stored)
    indices = np.array([31, 2, 2, 39, 0, 31])
    taken = source.take(indices)
    np.testing.assert_array_equal(taken, X[indices])
    assert taken.dtype == source.dtype
    taken[:] = 0
    np.testing.assert_array_equal(source.take(indices), X[indices])
    assert source.take(np.array([], dtype=np.intp)).shape == (0, 3)


@pytest.mark.parametrize(
    "answer", [lambda rows: rows[:-1], lambda rows: rows[:, :2], lambda rows: rows[0]]
)
def test_slices_of_the_wrong_shape(X, answer):
    class Wrong(Elsewhere):
        def __getitem__(self, rows):
            return answer(super().__getitem__(rows))

    source = as_row_source(Wrong(X))
    with pytest.raises(ValueError, match=r"X\[10:14\] should have shape \(4, 3\); got"):
        source.block(10, 14)


@pytest.mark.parametrize(
    ("answer", "error", "message"),
    [
        (lambda rows: rows.astype(complex), TypeError, r"X\[10:14\] must be real"),
        (lambda rows: rows.astype(str), TypeError, r"X\[10:14\] must be numeric; got dtype <U"),
        (
            lambda rows: rows.astype(np.float64),
            ValueError,
            "dtype that X has, float32; got float64",
        ),
        (lambda rows: None, ValueError, r"should have shape \(4, 3\); got \(\)"),
        (lambda rows: [[1.0], [1.0, 2.0]], ValueError, r"X\[10:14\] must be an array"),
    ],
)
def test_slices_of_the_wrong_dtype(X, answer, error, message):
    class Wrong(Elsewhere):
        def __getitem__(self, rows):
            return answer(super().__getitem__(rows))

    source = as_row_source(Wrong(X.astype(np.float32)))
    with pytest.raises(error, match=message):
        source.block(10, 14)


def test_slices_of_a_dtype_whose_numbers_all_fit(X):
    """As of a NetCDF variable, which is packed as integers and scaled when it is read."""

    class Scaled(Elsewhere):
        def __getitem__(self, rows):
            return super().__getitem__(rows).astype(np.float32) * np.float32(0.5)

    source = as_row_source(Scaled(np.round(X).astype(np.int16)))
    np.testing.assert_array_equal(source.block(3, 9), np.round(X[3:9]) * 0.5)


@pytest.mark.parametrize(
    ("claim", "error", "message"),
    [
        ({"shape": (40.0, 3.0)}, TypeError, "X.shape must be integers; got"),
        ({"shape": "ab"}, TypeError, "X.shape must be integers; got 'ab'"),
        ({"shape": 3}, TypeError, "X.shape must be integers; got 3"),
        ({"dtype": "no dtype"}, TypeError, "X.dtype must be a NumPy dtype; got 'no dtype'"),
    ],
)
def test_claims_that_are_none(X, claim, error, message):
    given = Elsewhere(X)
    vars(given).update(claim)
    with pytest.raises(error, match=message):
        as_row_source(given)


def test_a_source_comes_back_as_it_is(X):
    for source in (as_row_source(X), as_row_source(Elsewhere(X))):
        assert as_row_source(source) is source


@pytest.mark.parametrize(
    ("given", "error", "message"),
    [
        (np.zeros(3), ValueError, r"got shape \(3,\)"),
        (np.zeros((3, 1, 1)), ValueError, r"got shape \(3, 1, 1\)"),
        (1.5, ValueError, r"got shape \(\)"),
        (np.zeros((0, 2)), ValueError, "0 sample"),
        (np.zeros((2, 0)), ValueError, "0 feature"),
        (Elsewhere(np.zeros(3)), ValueError, "shape"),
        (Elsewhere(np.zeros((0, 3))), ValueError, "0 sample"),
        (np.zeros((2, 2), complex), TypeError, "X must be real; got dtype complex128"),
        ([[1j, 2]], TypeError, "X must be real"),
        (["a", "b"], TypeError, "X must be numeric; got dtype <U1"),
        ([[10**400, 1]], ValueError, "X must be numeric: int too large"),
        (Elsewhere(np.zeros((2, 2), "c8")), TypeError, "X must be real; got dtype complex64"),
        (sparse.csr_array((2, 2)), TypeError, "Sparse data"),
        (sparse.coo_matrix((2, 2)), TypeError, "Sparse data"),
        ([[1, 2], [3]], ValueError, "inhomogeneous"),
        (np.array([["a", "b"]]), ValueError, "X must be numeric; got dtype <U1"),
        (np.array([["a", 1]], dtype=object), ValueError, "could not convert"),
        (np.zeros((2, 2), "M8[s]"), TypeError, "X must be numeric"),
        (np.zeros((2, 2), "i4,f8"), TypeError, "X must be numeric"),
        (Elsewhere(np.zeros((2, 2), "S3")), ValueError, "X must be numeric"),
    ],
)
def test_what_is_not_taken(given, error, message):
    with pytest.raises(error, match=message):
        as_row_source(given)
