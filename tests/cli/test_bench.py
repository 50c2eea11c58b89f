from __future__ import annotations

import contextlib
import json

import numpy as np
import pytest

import vbfast
from vbfast.benchmark.cases import CASES
from vbfast.benchmark.peers import entrants
from vbfast.benchmark.peers.process import PeerError
from vbfast.benchmark.peers.registry import PEERS
from vbfast.cli import bench, main


class Entrant:
    """One that takes no time: it says what it is told to say."""

    def __init__(self, name, seconds, shift=0.0, fails=False):
        self.name, self._seconds, self._shift, self._fails = name, seconds, shift, fails

    def version(self):
        return "1.0"

    def lacks(self, task):
        return "has no float32" if self._fails and task.rows.dtype == np.float32 else None

    def warm_up(self, task):
        if self._fails:
            raise PeerError("ValueError: no")
        self._start = task.case.start()
        return 1

    def turn(self):
        return self._seconds

    def parameters(self):
        precisions = self._start["precisions_init"]  # of unit variances
        means = self._start["means_init"] + self._shift
        return self._start["weights_init"], means, precisions


class Product:
    def warm_up(self, task):
        return 1

    def peak(self):
        return 1e11


@pytest.fixture(autouse=True)
def asked(monkeypatch):
    """What the field was asked for; it has a peer that agrees, one that differs, one that fails."""
    asked = {}

    @contextlib.contextmanager
    def entered(names, **options):
        asked.update(options, names=names)
        there = [
            Entrant("vbfast", 0.5),
            Entrant("equal", 1.5),
            Entrant("other", 0.25, shift=1.0),
            Entrant("broken", 1.0, fails=True),
        ]
        yield entrants.Field(there, Product(), {"gone": "gone is not installed"})

    monkeypatch.setattr(bench, "FEWER_ROWS", 1000)
    monkeypatch.setattr(entrants, "entered", entered)
    return asked


def printed_lines(capsys):
    machine, _, *lines = capsys.readouterr().out.splitlines()
    assert "threads" in machine
    return [line.split() for line in lines]


def test_every_case_and_dtype_by_default(capsys, asked):
    assert main(["bench", "--repeats", "1"]) == 0
    lines = printed_lines(capsys)
    ours = [line[:2] for line in lines if line[2] == "vbfast"]
    assert ours == [[name, dtype] for dtype in ("float64", "float32") for name in CASES]
    assert asked["names"] == list(PEERS)
    assert lines[-1] == ["without", "gone:", "gone", "is", "not", "installed"]


def test_a_ratio_is_printed_only_where_the_bounds_agree(capsys):
    assert main(["bench", "tied_32", "--dtype", "float64", "--repeats", "1"]) == 0
    lines = {line[2]: line for line in printed_lines(capsys)}
    assert lines["vbfast"][3:5] == ["1.0", "0.5000"]
    assert lines["equal"][8:] == ["3.0", "0.0e+00"]
    other = lines["other"]
    assert other[8] == "-"
    assert abs(float(other[9])) > 1e-3
    assert " ".join(other[10:]) == "no ratio: the bounds differ"
    assert lines["broken"][-2:] == ["ValueError:", "no"]
    assert " ".join(lines["floor"]).endswith("at 100 GFLOP/s")
    assert list(lines)[:4] == ["vbfast", "other", "equal", "broken"]  # ours, then by time


def test_numbers_agree_with_each_other(tmp_path):
    path, figure = tmp_path / "times.json", tmp_path / "times.png"
    options = ["--dtype", "float32", "--repeats", "2", "--json", str(path), "--figure", str(figure)]
    pytest.importorskip("matplotlib")
    assert main(["bench", "diag_32", "full_2d", *options]) == 0
    assert figure.read_bytes().startswith(b"\x89PNG")
    record = json.loads(path.read_text())
    assert "threads" in record["machine"]
    assert record["absent"] == {"gone": "gone is not installed"}
    assert [each["case"] for each in record["comparisons"]] == ["diag_32", "full_2d"]
    for comparison in record["comparisons"]:
        case = CASES[comparison["case"]].fewer_rows(1000)
        assert comparison["n_samples"] == case.n_samples
        assert comparison["floor_seconds"] == pytest.approx(case.floor(1e11, "float32", 1))
        results = {result["library"]: result for result in comparison["results"]}
        assert results["equal"]["ratio"] == pytest.approx(3.0)
        assert results["other"]["ratio"] is None
        assert results["broken"]["remark"] == "has no float32"


def test_quick_takes_few_rows_and_little_patience(asked, tmp_path):
    path = tmp_path / "times.json"
    assert main(["bench", "--quick", "--repeats", "1", "--json", str(path)]) == 0
    comparisons = json.loads(path.read_text())["comparisons"]
    assert [each["case"] for each in comparisons] == list(bench.QUICK_CASES)
    assert {each["dtype"] for each in comparisons} == {"float64"}
    assert all(each["n_samples"] <= 10_000 for each in comparisons)
    assert asked["limit"] == bench.QUICK_LIMIT


def test_peers_interpreters_and_threads_are_handed_on(asked):
    options = ["--peers", "JAX,oneDAL", "--onedal-python", "other/python", "--threads", "3"]
    assert main(["bench", "full_2d", "--repeats", "1", *options]) == 0
    assert asked == {
        "names": ["JAX", "oneDAL"],
        "interpreters": {"oneDAL": "other/python"},
        "limit": 60.0,
        "most_processors": 3,
    }
    assert main(["bench", "full_2d", "--repeats", "1", "--peers", "none"]) == 0
    assert asked["names"] == []


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["full_3d"], "no case full_3d; there are full_2d"),
        (["--peers", "JAX,jax"], "no peer jax; there are scikit-learn"),
        (["--figure", "times.txt"], "--figure times.txt: the name must end in .png"),
    ],
)
def test_wrong_options_are_errors_of_one_line(capsys, options, message):
    assert main(["bench", *options]) == 2
    error = capsys.readouterr().err
    assert error.startswith(f"vbfast bench: {message}")
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
    monkeypatch.setenv("COLUMNS", "140")
    assert main(["bench", "full_256", "--repeats", "1", "--dtype", "float64"]) == 0
    printed = capsys.readouterr().out
    for name in ("full_256", "bound less ours", "floor", "equal"):
        assert name in printed


def test_the_version_of_ours_is_that_of_the_package():
    from vbfast.benchmark.peers.adapters.estimators import Ours

    assert Ours.version() == vbfast.__version__
