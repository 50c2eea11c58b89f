from __future__ import annotations

import numpy as np
import pytest

from vbfast import load
from vbfast.cli import main

NAMES = ("a", "b", "c")


@pytest.fixture
def files(tmp_path, rng, monkeypatch, capsys):
    """Rows of three clusters, in files with the columns in several orders, and a model of them."""
    rows = rng.normal(size=(120, 3)) + 9.0 * rng.integers(3, size=(120, 1)) * [1.0, -1.0, 0.5]
    monkeypatch.chdir(tmp_path)
    for order in ("abc", "cab", "abdc", "ab"):
        columns = [rows[:, NAMES.index(name)] if name in NAMES else rows[:, 0] for name in order]
        header = ",".join(order)
        np.savetxt(
            f"{order}.csv", np.column_stack(columns), delimiter=",", header=header, comments=""
        )
    np.savetxt("none.csv", rows, delimiter=",")
    np.save("rows.npy", rows)
    assert main(["fit", "abc.csv", "-k", "3", "-q", "-o", "m.npz"]) == 0
    capsys.readouterr()
    return rows


def scored(capsys, name):
    status = main(["score", "m.npz", name])
    printed = capsys.readouterr()
    return status, printed.out, printed.err


def test_names_are_kept_in_the_model(files):
    model = load("m.npz")
    np.testing.assert_array_equal(model.feature_names_in_, NAMES)
    pandas = pytest.importorskip("pandas")
    model.score(pandas.DataFrame(files, columns=NAMES))


def test_columns_in_another_order_are_put_in_the_models(files, capsys):
    status, expected, note = scored(capsys, "abc.csv")
    assert (status, note) == (0, "")
    status, out, note = scored(capsys, "cab.csv")
    assert (status, out) == (0, expected)
    assert "cab.csv: columns taken in the model's order, a, b, c" in note


def test_other_columns_are_left_out_and_named(files, capsys):
    _, expected, _ = scored(capsys, "abc.csv")
    status, out, note = scored(capsys, "abdc.csv")
    assert (status, out) == (0, expected)
    assert note == "vbfast: note: abdc.csv: left out d, which the model was not fitted to\n"


def test_a_missing_column_is_refused(files, capsys):
    status, out, error = scored(capsys, "ab.csv")
    assert (status, out) == (1, "")
    assert "ab.csv has no column c, which the model was fitted to; it has a, b" in error


@pytest.mark.parametrize("name", ["none.csv", "rows.npy"])
def test_rows_without_names_are_taken_in_order(files, capsys, name):
    _, expected, _ = scored(capsys, "abc.csv")
    status, out, note = scored(capsys, name)
    assert (status, out) == (0, expected)
    assert f"{name} has no names of columns; they are taken for a, b, c, in this order" in note


def test_a_model_without_names_takes_columns_as_they_are(files, capsys):
    assert main(["fit", "rows.npy", "-k", "3", "-q", "-o", "m.npz"]) == 0
    capsys.readouterr()
    assert not hasattr(load("m.npz"), "feature_names_in_")
    status, _, note = scored(capsys, "cab.csv")
    assert (status, note) == (0, "")


@pytest.mark.parametrize("suffix", [".npy", ".h5"])
@pytest.mark.parametrize("value", [np.nan, np.inf])
def test_a_value_that_is_not_finite_is_named(files, capsys, suffix, value):
    """With the counting of the library, for files in which cells are not looked at beforehand."""
    files[7, 1] = value
    if suffix == ".npy":
        np.save("bad.npy", files)
    else:
        with pytest.importorskip("h5py").File("bad.h5", "w") as file:
            file["rows"] = files
    message = f"bad{suffix}: row 7, column 1, counted from 0, is {value} in float64; expected"
    assert main(["fit", f"bad{suffix}", "-k", "2", "-q"]) == 1
    assert message in capsys.readouterr().err
    assert main(["score", "m.npz", f"bad{suffix}"]) == 1
    assert message in capsys.readouterr().err


@pytest.mark.parametrize("suffix", [".npy", ".h5"])
def test_rows_on_disk_are_converted_as_they_are_read(files, capsys, suffix):
    if suffix == ".h5":
        with pytest.importorskip("h5py").File("rows.h5", "w") as file:
            file["rows"] = files
    fit = ["fit", f"rows{suffix}", "-k", "3", "-q", "--dtype", "float32", "-o", "mapped.npz"]
    assert main(fit) == 0
    np.savez("rows.npz", files)
    assert main(["fit", "rows.npz", *fit[2:-1], "memory.npz"]) == 0
    mapped, memory = load("mapped.npz"), load("memory.npz")
    assert mapped.means_.dtype == np.float32
    np.testing.assert_array_equal(mapped.means_, memory.means_)
    assert mapped.lower_bounds_ == memory.lower_bounds_
