"""Rows in files of HDF5 and in folders of Zarr, by their path."""

from __future__ import annotations

import numpy as np
import pytest

import vbfast
from vbfast.passes import array_rows, one_pass
from vbfast.passes.rows import as_row_source, is_row_path

SUFFIXES = [".h5", ".hdf5", ".zarr"]
every_kind = pytest.mark.parametrize("suffix", SUFFIXES)


@pytest.fixture(name="X", params=[np.float32, np.float64])
def rows(request):
    rng = np.random.default_rng(0)
    means = 5.0 * rng.normal(size=(3, 4))
    return (means[rng.integers(3, size=3000)] + rng.normal(size=(3000, 4))).astype(request.param)


@pytest.fixture(autouse=True)
def small(monkeypatch):
    monkeypatch.setattr(one_pass, "ROUND_BYTES", 1 << 13)
    monkeypatch.setattr(array_rows, "SLICE_BYTES", 64)


def write(path, chunks=(256, 3), **arrays):
    """Write arrays by their names, compressed."""
    chunks_of = {
        name: tuple(map(min, chunks, array.shape)) for name, array in arrays.items()
    }  # which are no larger than the array
    if path.suffix == ".zarr":
        zarr = pytest.importorskip("zarr")
        group = zarr.open_group(str(path), mode="w")
        for name, array in arrays.items():
            made = group.create_array(
                name, shape=array.shape, dtype=array.dtype, chunks=chunks_of[name]
            )
            made[:] = array
        return path
    with pytest.importorskip("h5py").File(path, "w") as file:
        for name, array in arrays.items():
            file.create_dataset(name, data=array, chunks=chunks_of[name], compression="gzip")
    return path


def fit(X, **arguments):
    return vbfast.GaussianMixture(3, random_state=0, **arguments).fit(X)


@every_kind
@pytest.mark.parametrize("chunks", [(256, 3), (17, 4), (3000, 4)])
def test_bits_are_those_of_one_array(X, tmp_path, suffix, chunks):
    path = write(tmp_path / f"x{suffix}", chunks, rows=X)
    whole = fit(X)
    for given in (path, str(path), vbfast.open_rows(path), [path, path]):
        both = isinstance(given, list)
        again = fit(given)
        expected = fit(np.concatenate([X, X])) if both else whole
        np.testing.assert_array_equal(again.means_, expected.means_)
        assert again.lower_bounds_ == expected.lower_bounds_
        assert again.means_.dtype == X.dtype
    np.testing.assert_array_equal(whole.predict(path), whole.predict(X))
    learned = vbfast.GaussianMixture(3, random_state=0).partial_fit(path)
    np.testing.assert_array_equal(
        learned.means_, vbfast.GaussianMixture(3, random_state=0).partial_fit(X).means_
    )


@every_kind
def test_one_of_several_arrays(X, tmp_path, suffix):
    path = write(tmp_path / f"x{suffix}", **{"group/rows": X, "others": X[:9]})
    for key in ("group/rows", "/group/rows"):
        source = vbfast.open_rows(path, key=key)
        np.testing.assert_array_equal(source.block(0, 3000), X)
    with pytest.raises(ValueError, match=r"holds (group/rows, others|others, group/rows); choose"):
        fit(path)
    with pytest.raises(ValueError, match=rf"x\{suffix}: has no array 'more', only"):
        vbfast.open_rows(path, key="more")


def test_a_folder_that_is_one_array(X, tmp_path):
    zarr = pytest.importorskip("zarr")
    path = tmp_path / "x.zarr"
    zarr.create_array(str(path), data=X, chunks=(100, 4))
    np.testing.assert_array_equal(vbfast.open_rows(path).block(5, 250), X[5:250])
    with pytest.raises(ValueError, match="is one array, and has none by the name 'rows'"):
        vbfast.open_rows(path, key="rows")


def test_a_zarr_of_shards(X, tmp_path):
    zarr = pytest.importorskip("zarr")
    path = tmp_path / "x.zarr"
    zarr.create_array(str(path), data=X, chunks=(100, 4), shards=(1000, 4))
    np.testing.assert_array_equal(fit(path).means_, fit(X).means_)


def test_a_dataset_without_chunks(X, tmp_path):
    h5py = pytest.importorskip("h5py")
    with h5py.File(tmp_path / "x.h5", "w") as file:
        file["rows"] = X
    source = as_row_source(tmp_path / "x.h5")
    assert not source.in_chunks
    np.testing.assert_array_equal(fit(source).means_, fit(X).means_)


@every_kind
def test_a_row_that_is_not_finite_is_named(X, tmp_path, suffix):
    X[2021, 2] = np.nan
    path = write(tmp_path / f"x{suffix}", rows=X)
    with pytest.raises(ValueError, match="Input X contains NaN") as caught:
        fit(path)
    assert str(caught.value).endswith(f"\nThe first such row is row 2021 of {path}.")


@every_kind
@pytest.mark.parametrize(
    ("array", "message"),
    [
        (np.ones(3), r"shape \(3,\); expected two dimensions"),
        (np.ones((3, 2, 1)), r"shape \(3, 2, 1\); expected two dimensions"),
        (np.ones((3, 2), complex), "dtype complex128; expected real numbers"),
    ],
)
def test_what_is_no_table(tmp_path, suffix, array, message):
    path = write(tmp_path / f"x{suffix}", chunks=(2, 1, 1), rows=array)
    with pytest.raises(ValueError, match=rf"x\{suffix} has an array of {message}"):
        fit(path)


@every_kind
def test_what_is_no_file(tmp_path, suffix):
    write(tmp_path / f"none{suffix}")
    with pytest.raises(ValueError, match="holds no array; choose one"):
        fit(tmp_path / f"none{suffix}")
    with pytest.raises(FileNotFoundError, match=f"missing{suffix}"):
        fit(tmp_path / f"missing{suffix}")
    with pytest.raises(ValueError, match="have no names"):
        vbfast.open_rows(tmp_path / f"none{suffix}", columns=["a"])
    wrong = tmp_path / f"wrong{suffix}"
    if suffix == ".zarr":
        wrong.mkdir()
    else:
        wrong.write_text("1,2")
    with pytest.raises(ValueError, match=rf"wrong\{suffix}"):
        fit(wrong)
    assert is_row_path(wrong)
    assert is_row_path(str(wrong))


@pytest.mark.parametrize("suffix", [".h5", ".zarr"])
def test_no_one_decompresses_twice(X, tmp_path, suffix, monkeypatch):
    """By the slices that the libraries are asked for: each begins where a chunk does."""
    path = write(tmp_path / f"x{suffix}", rows=X)
    source = as_row_source(path)
    asked, read_slice = [], array_rows.read_slice

    def read(data, start, stop, *others):
        asked.append((start, stop))
        return read_slice(data, start, stop, *others)

    monkeypatch.setattr(array_rows, "read_slice", read)
    fitted = fit(X)
    for count in (1, 2):
        fitted.score(source)
        assert len(asked) == count * 12
    assert {start % 256 for start, _ in asked} == {0}
    assert sorted(asked[:12]) == [(start, min(start + 256, 3000)) for start in range(0, 3000, 256)]
