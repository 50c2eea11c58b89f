"""Scripts of bench/ that work out more than a table."""

from __future__ import annotations

import importlib
import platform
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from sklearn.exceptions import ConvergenceWarning

import vbfast
from vbfast.backends.cuda.extension import DeviceError, require_device
from vbfast.benchmark.cases import Case
from vbfast.benchmark.datasets import DATASETS
from vbfast.families.gaussian_parameters import GaussianParameters

BENCH = Path(__file__).parents[2] / "bench"

pytestmark = pytest.mark.skipif(
    not BENCH.is_dir(), reason="bench/ is not part of this distribution"
)


@pytest.fixture
def script(monkeypatch):
    """A function that imports a script of bench/."""
    monkeypatch.syspath_prepend(str(BENCH))
    return importlib.import_module


def test_slopes_are_exponents(script):
    slope = script("scaling").slope
    values = np.array([1.0, 10.0, 1000.0])
    assert slope(values, 3.0 * values**1.5) == pytest.approx(1.5)
    assert slope(values, 2.0 / values) == pytest.approx(-1.0)
    assert np.isnan(slope(values[:1], [1.0]))
    assert np.isnan(slope(values, [1.0, 2.0, -1.0]))


def test_a_curve_ends_where_a_fit_stops(script):
    asked = []

    def fit(dataset, rows, seed, max_iter):
        asked.append(max_iter)
        D = rows.shape[1]
        return (np.ones(1), np.zeros((1, D)), np.ones((1, D))), max_iter >= 4

    points, remark = script("evidence_curves").curve(fit, DATASETS["digits"], 0, 1, 100)
    assert asked == [point["max_iter"] for point in points] == [1, 2, 4]
    assert remark == ""
    _, held_out = DATASETS["digits"].split(0)
    squares = (held_out**2).sum(axis=1) + held_out.shape[1] * np.log(2 * np.pi)
    assert points[-1]["evidence"] == pytest.approx(-0.5 * squares.mean())


def test_a_fit_that_fails_ends_its_curve(script):
    def fit(dataset, rows, seed, max_iter):
        raise RuntimeError("singular")

    assert script("evidence_curves").curve(fit, DATASETS["iris"], 0, 1, 8) == ([], "singular")


@pytest.mark.skipif(
    sys.platform != "linux" or platform.machine() != "x86_64" or shutil.which("cc") is None,
    reason="single steps are counted on x86-64 and Linux, with a C compiler",
)
@pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")
def test_instructions_are_counted(script, tmp_path, restore_num_threads):
    instructions = script("instructions")
    counter = instructions.compiled(tmp_path)
    few, many, again = (
        instructions.row_instructions(
            counter, Case("x", 1, 2, K, "diag", 0.1), "float64", n_rows=64, repeats=4
        )
        for K in (4, 32, 32)
    )
    assert 32 * 2 / 8 < many < 32 * 100  # lanes of 8 at most; a component is some instructions
    assert few < many / 2
    assert many == pytest.approx(again, rel=0.3)


def test_rows_are_aligned(script):
    rows = np.arange(12.0).reshape(4, 3)
    copy = script("instructions").aligned(rows)
    assert copy.ctypes.data % 4096 == 0
    np.testing.assert_array_equal(copy, rows)


@pytest.mark.skipif(sys.platform != "linux", reason="pages are evicted, and memory read, on Linux")
def test_passes_from_disk_are_measured(script, tmp_path):
    pytest.importorskip("pyarrow")
    tables = script("from_disk").tables
    [table] = tables(rows=20_000, folder=str(tmp_path), repeats=1)
    assert [line[0] for line in table.rows] == [".npy", ".parquet"]
    for line in table.rows:
        whole, disk, kernel, reader, ratio, memory = (float(value) for value in line[1:7])
        assert ratio == pytest.approx(whole / (max(disk, kernel) + reader / 2), abs=2.0)
        assert 10 < memory < 1000
    assert sorted(path.name for path in tmp_path.iterdir()) == [
        "rows-20000.npy",
        "rows-20000.parquet",
    ]
    written = (tmp_path / "rows-20000.npy").stat().st_mtime_ns
    tables(rows=20_000, folder=str(tmp_path), repeats=1)  # they are found again
    assert (tmp_path / "rows-20000.npy").stat().st_mtime_ns == written
    rows = np.load(tmp_path / "rows-20000.npy")
    assert (rows.shape, rows.dtype) == ((20_000, 16), np.float32)


@pytest.mark.skipif(sys.platform != "linux", reason="memory is read on Linux")
def test_batches_are_measured(script):
    [table] = script("streaming").tables(quick=True)
    [[batches, rate, full, part, start, end]] = table.rows
    assert batches == "40"
    rate, full = (float(value.replace(",", "")) for value in (rate, full))
    assert float(part.rstrip("%")) == pytest.approx(100.0 * rate / full, abs=0.6)
    assert 0 < float(start) <= float(end) + 20.0


def test_passes_on_a_cluster_are_counted(script):
    pytest.importorskip("distributed")
    beside, scheduled, sizes = script("cluster").tables(quick=True, repeats=1)
    assert np.isfinite(float(beside.rows[0][2]))  # of times that are noise at this size
    # Chunks of few rows are one group in the first table, and each a group in the others.
    assert beside.rows[0][3] == "2"
    assert [row[:2] for row in scheduled.rows] == [["4", "6"], ["8", "10"]]
    [model] = sizes.rows
    assert 0.0 < float(model[1]) < 1.0


def test_without_a_device_cuda_says_why():
    try:
        require_device()
    except (ImportError, DeviceError) as error:
        reason = str(error)
    else:
        pytest.skip("there is a device")
    command = [sys.executable, str(BENCH / "cuda.py"), "--quick"]
    ended = subprocess.run(command, capture_output=True, text=True, check=True)
    assert ended.stdout == f"Nothing was timed: {reason}.\n"


@pytest.mark.parametrize("covariance_type", ["full", "diag", "spherical"])
def test_the_peer_of_cuda_comes_to_our_evidence(script, covariance_type):
    pytest.importorskip("torch")
    case = Case("small", 500, 3, 4, covariance_type, 0.1)
    rows, given = case.rows("float64"), case.start()
    mixture = vbfast.GaussianMixture(**given, max_iter=3)
    with pytest.warns(ConvergenceWarning):
        mixture.fit(rows)
    start = GaussianParameters.from_precisions(
        covariance_type, *(given[f"{name}_init"] for name in ("weights", "means", "precisions"))
    )
    peer = script("cuda_peer").TorchMixture(rows, start, case.reg_covar, "cpu")
    assert peer.iterate(3) == pytest.approx(mixture.lower_bound_, abs=1e-9)
