from __future__ import annotations

import json

import pytest

import vbfast
from vbfast.benchmark import timing
from vbfast.benchmark.cases import CASES
from vbfast.cli import bench, main


class Product:
    operations = 1e11

    def __init__(self, dtype):
        self.dtype = dtype

    def seconds(self):
        return 1.0 if self.dtype == "float64" else 0.5


@pytest.fixture(autouse=True)
def small(monkeypatch):
    monkeypatch.setattr(bench, "FEWER_ROWS", 1000)
    monkeypatch.setattr(timing, "MatrixProduct", Product)


def test_every_case_and_dtype_by_default(capsys):
    assert main(["bench", "--repeats", "1", "--no-peer"]) == 0
    machine, *rows = capsys.readouterr().out.splitlines()
    assert "threads" in machine
    cells = [row.split() for row in rows if row.split()[0] in CASES]
    assert [row[0] for row in cells] == 2 * list(CASES)
    assert [row[1] for row in cells] == 8 * ["float64"] + 8 * ["float32"]
    assert all(row[4:6] == ["-", "-"] for row in cells)
    assert [row[6] for row in cells] == 8 * ["100"] + 8 * ["200"]


def test_numbers_agree_with_each_other(capsys, tmp_path):
    path = tmp_path / "times.json"
    options = ["--dtype", "float32", "--repeats", "1", "--json", str(path)]
    assert main(["bench", "diag_32", "full_2d", *options]) == 0
    assert "scikit-learn" in capsys.readouterr().out
    record = json.loads(path.read_text())
    assert "threads" in record["machine"]
    assert [row["case"] for row in record["iterations"]] == ["diag_32", "full_2d"]
    for row in record["iterations"]:
        case = CASES[row["case"]].smaller(1000)
        assert row["n_samples"] == case.n_samples
        assert row["dtype"] == "float32"
        assert row["matrix_product_flops"] == 2e11
        assert row["scikit_learn_seconds"] > 0
        ratio = row["scikit_learn_seconds"] / row["seconds"]
        assert row["ratio"] == pytest.approx(ratio)
        assert row["rows_per_second"] == pytest.approx(case.n_samples / row["seconds"])
        assert row["fraction_of_floor"] == pytest.approx(row["floor_seconds"] / row["seconds"])


def test_without_a_peer(tmp_path):
    path = tmp_path / "times.json"
    options = ["--no-peer", "--dtype", "float64", "--repeats", "1", "--json", str(path)]
    assert main(["bench", "sph_bigK", *options]) == 0
    (row,) = json.loads(path.read_text())["iterations"]
    assert row["scikit_learn_seconds"] is None
    assert row["ratio"] is None


def test_threads_hold_for_the_run_only(capsys, restore_num_threads):
    before = vbfast.get_num_threads()
    options = ["--threads", "3", "--no-peer", "--repeats", "1", "--dtype", "float64"]
    assert main(["bench", "full_64", *options]) == 0
    assert ", 3 threads" in capsys.readouterr().out
    assert vbfast.get_num_threads() == before


def test_an_unknown_case_is_an_error_of_one_line(capsys):
    assert main(["bench", "full_3d"]) == 2
    error = capsys.readouterr().err
    assert error.startswith("vbfast bench: no case full_3d; there are full_2d")
    assert len(error.splitlines()) == 1


@pytest.mark.parametrize("option", ["--repeats", "--threads"])
def test_numbers_are_at_least_one(capsys, option):
    with pytest.raises(SystemExit) as caught:
        main(["bench", option, "0"])
    assert caught.value.code == 2
    assert f"{option}: must be at least 1; got 0" in capsys.readouterr().err


def test_a_terminal_gets_a_table(capsys, monkeypatch):
    pytest.importorskip("rich")
    monkeypatch.setenv("FORCE_COLOR", "1")
    monkeypatch.setenv("COLUMNS", "120")
    assert main(["bench", "full_256", "--no-peer", "--repeats", "1", "--dtype", "float64"]) == 0
    printed = capsys.readouterr().out
    for name in ("full_256", "rows/s", "fraction"):
        assert name in printed
