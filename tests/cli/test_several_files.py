"""Rows of several files, and of folders, one after another."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from vbfast import GaussianMixture, load
from vbfast.cli import main
from vbfast.cli.data import load_tables
from vbfast.passes import files
from vbfast.passes.parquet_rows import ParquetRows

NAMES = ("a", "b", "c")


@pytest.fixture
def rows(rng, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    return rng.normal(size=(300, 3)) + 4 * rng.integers(2, size=(300, 1))


def write_parquet(path, rows, names=NAMES):
    pyarrow = pytest.importorskip("pyarrow")
    from pyarrow import parquet

    table = pyarrow.table(dict(zip(names, rows.T, strict=True)))
    parquet.write_table(table, path, row_group_size=64)


def write_text(path, rows, names=NAMES):
    header = ",".join(names)
    np.savetxt(path, rows, delimiter=",", header=header, comments="", fmt="%.17g")


FIT = ["-k", "2", "-q", "-o", "m.npz"]


def test_they_are_fitted_and_scored_as_one(rows, capsys, tmp_path):
    np.save("one.npy", rows[:100])
    write_text("two.csv", rows[100:120])
    np.savez("three.npz", rows[120:])
    paths = ["one.npy", "two.csv", "three.npz"]
    assert main(["fit", *paths, *FIT]) == 0
    expected = GaussianMixture(2, random_state=0).fit(rows)
    printed = capsys.readouterr().out
    assert printed.startswith("rows 300, features 3, dtype float64, seed 0\n")
    assert f"evidence {expected.score(rows):.6f} nats a row, 300 rows" in printed
    np.testing.assert_array_equal(load("m.npz").means_, expected.means_)
    assert main(["score", "m.npz", *paths, "-o", "s.npy", "--labels", "l.csv"]) == 0
    np.testing.assert_array_equal(np.load("s.npy"), expected.score_samples(rows))
    np.testing.assert_array_equal(np.loadtxt("l.csv", skiprows=1), expected.predict(rows))


def test_weights_are_of_all_rows(rows, capsys):
    np.save("one.npy", rows[:100])
    np.save("two.npy", rows[100:])
    np.save("weights.npy", np.arange(300.0))
    assert main(["fit", "one.npy", "two.npy", *FIT, "--weights", "weights.npy"]) == 0
    expected = GaussianMixture(2, random_state=0).fit(rows, sample_weight=np.arange(300.0))
    np.testing.assert_array_equal(load("m.npz").means_, expected.means_)
    capsys.readouterr()
    assert main(["fit", "one.npy", *FIT, "--weights", "weights.npy"]) == 1
    assert "expected (100,): one weight a row" in capsys.readouterr().err


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_a_folder_of_parquet_files(rows, capsys, tmp_path, dtype):
    (tmp_path / "folder").mkdir()
    write_parquet("folder/b.parquet", rows[170:])
    write_parquet("folder/a.parquet", rows[:170])
    (tmp_path / "folder" / "notes.txt").write_text("no rows")
    assert main(["fit", "folder", *FIT, "--dtype", dtype]) == 0
    expected = GaussianMixture(2, random_state=0).fit(rows.astype(dtype))
    model = load("m.npz")
    np.testing.assert_array_equal(model.means_, expected.means_)
    np.testing.assert_array_equal(model.feature_names_in_, NAMES)
    fitted = capsys.readouterr().out.splitlines()
    assert main(["score", "m.npz", "folder"]) == 0
    assert capsys.readouterr().out.strip() in fitted
    (tmp_path / "empty").mkdir()
    assert main(["score", "m.npz", "empty"]) == 1
    assert "empty is a folder without .parquet files" in capsys.readouterr().err


def test_columns_are_those_of_the_first(rows, capsys):
    write_text("first.csv", rows[:100])
    order = [2, 0, 1]
    write_parquet("second.parquet", rows[100:200][:, order], [NAMES[index] for index in order])
    more = np.column_stack([rows[200:], rows[200:, 0]])
    write_text("third.csv", more, (*NAMES, "d"))
    assert main(["fit", "first.csv", "second.parquet", "third.csv", *FIT]) == 0
    printed = capsys.readouterr()
    expected = GaussianMixture(2, random_state=0).fit(rows)
    np.testing.assert_array_equal(load("m.npz").means_, expected.means_)
    assert "second.parquet: columns taken in the order of first.csv, a, b, c" in printed.err
    assert "third.csv: left out d, which first.csv does not have" in printed.err
    write_text("fourth.csv", rows[:, :2], NAMES[:2])
    assert main(["fit", "first.csv", "fourth.csv", *FIT]) == 1
    message = "fourth.csv has no column c, which first.csv has; it has a, b"
    assert message in capsys.readouterr().err
    assert main(["score", "m.npz", "second.parquet", "fourth.csv"]) == 1
    message = "fourth.csv has no column c, which the model was fitted to; it has a, b"
    assert message in capsys.readouterr().err


def test_a_value_that_is_not_finite_is_named_in_its_file(rows, capsys):
    np.save("one.npy", rows[:100])
    rows[107, 1] = np.inf
    np.save("two.npy", rows[100:])
    message = "two.npy: row 7, column 1, counted from 0, is inf in float64; expected a finite"
    assert main(["fit", "one.npy", "two.npy", *FIT]) == 1
    assert message in capsys.readouterr().err


@pytest.mark.parametrize(
    ("second", "message"),
    [
        (lambda rows: rows[:, :2], "two.npy has 2 features, but one.npy has 3"),
        (
            lambda rows: rows.astype(np.float32),
            "two.npy is computed in float32, but one.npy in float64: convert one of them",
        ),
    ],
)
def test_files_that_do_not_go_together(rows, capsys, second, message):
    np.save("one.npy", rows)
    np.save("two.npy", second(rows))
    assert main(["fit", "one.npy", "two.npy", *FIT]) == 1
    assert message in capsys.readouterr().err
    if "convert" in message:
        assert main(["fit", "one.npy", "two.npy", *FIT, "--dtype", "float32"]) == 0


def test_no_file_of_several_is_overwritten(rows, capsys):
    np.save("one.npy", rows)
    np.savez("two.npz", rows)
    assert main(["fit", "one.npy", "two.npz", "-k", "2", "-q", "-o", "two.npz"]) == 2
    assert "cannot write two.npz: it is an input" in capsys.readouterr().err


def test_files_are_read_as_the_passes_go(rows):
    """And not mapped: a file that has shrunk is an error."""
    np.save("one.npy", rows)
    write_parquet("two.parquet", rows)
    tables = load_tables([Path("one.npy"), Path("two.parquet")])
    sources = [part.rows for part in tables.parts]
    assert isinstance(sources[0].data, files._NumpyArray)
    assert isinstance(sources[1], ParquetRows)
    assert tables.rows.in_memory is None
    assert tables.rows.n_samples == 600


def test_a_file_that_shrinks_while_it_is_fitted(rows, capsys, monkeypatch):
    np.save("one.npy", rows)
    read = files._NumpyArray._read

    def shrinking(self, first, values):
        with Path("one.npy").open("r+b") as file:
            file.truncate(128 + 30 * 3 * 8)
        read(self, first, values)

    monkeypatch.setattr(files._NumpyArray, "_read", shrinking)
    assert main(["fit", "one.npy", *FIT]) == 1
    assert "one.npy has 30 rows; its header says 300" in capsys.readouterr().err


@pytest.mark.parametrize("suffix", [".npy", ".parquet", ".h5"])
def test_nothing_is_opened_twice(rows, suffix, monkeypatch):
    path = f"one{suffix}"
    if suffix == ".npy":
        np.save(path, rows)
    elif suffix == ".h5":
        with pytest.importorskip("h5py").File(path, "w") as file:
            file["rows"] = rows
    else:
        write_parquet(path, rows)
    opened = []
    for module, name in (
        ("vbfast.passes.files", "_NumpyArray"),
        ("vbfast.passes.files", "open_hdf5"),
        ("vbfast.cli.data", "ParquetRows"),
    ):
        original = getattr(__import__(module, fromlist=[name]), name)

        def counted(*given, original=original):
            opened.append(given[0])
            return original(*given)

        monkeypatch.setattr(f"{module}.{name}", counted)
    monkeypatch.setattr("vbfast.cli.table.ParquetRows", ParquetRows)
    assert main(["fit", path, *FIT]) == 0
    assert len(opened) == 1
