from __future__ import annotations

import subprocess
import sys

import numpy as np
import pytest

from vbfast import GaussianMixture
from vbfast.cli import main


@pytest.fixture
def rows():
    rng = np.random.default_rng(0)
    return rng.normal(size=(300, 3)) + 4 * rng.integers(2, size=(300, 1))


def write(path, rows):
    if path.suffix == ".npy":
        np.save(path, rows)
    elif path.suffix == ".npz":
        np.savez(path, rows=rows, other=rows[:, :1])
    elif path.suffix == ".csv":
        np.savetxt(path, rows, delimiter=",", header="a,b,c", comments="", fmt="%.17g")
    else:
        pyarrow = pytest.importorskip("pyarrow")
        from pyarrow import parquet

        parquet.write_table(pyarrow.table(dict(zip("abc", rows.T, strict=True))), path)


@pytest.mark.parametrize("suffix", [".npy", ".npz", ".csv", ".parquet"])
def test_fit_and_score_agree_with_the_estimator(tmp_path, capsys, rows, suffix):
    data, model = tmp_path / f"data{suffix}", tmp_path / "model.npz"
    write(data, rows)
    key = ["--key", "rows"] if suffix == ".npz" else []
    fit = ["fit", str(data), "-k", "2", "--seed", "0", "-q", "-o", str(model), *key]
    assert main(fit) == 0
    expected = GaussianMixture(2, random_state=0).fit(rows)
    assert f"evidence {expected.lower_bound_:.6f} nats a row" in capsys.readouterr().out
    evidence, labels = tmp_path / "evidence.npy", tmp_path / "labels.npy"
    outputs = ["-o", str(evidence), "--labels", str(labels)]
    assert main(["score", str(model), str(data), *outputs, *key]) == 0
    np.testing.assert_allclose(np.load(evidence), expected.score_samples(rows), rtol=1e-12)
    np.testing.assert_array_equal(np.load(labels), expected.predict(rows))


def test_weights_and_dtype(tmp_path, capsys, rows):
    data, weights, model = (tmp_path / name for name in ("x.npy", "w.npy", "m.npz"))
    np.save(data, rows)
    np.save(weights, np.arange(300.0))
    options = ["--weights", str(weights), "--dtype", "float32", "--covariance", "diag", "-q"]
    assert main(["fit", str(data), "-k", "2", "--seed", "1", "-o", str(model), *options]) == 0
    assert "float32" in capsys.readouterr().out
    expected = GaussianMixture(2, covariance_type="diag", random_state=1).fit(
        rows.astype(np.float32), sample_weight=np.arange(300.0)
    )
    with np.load(model) as archive:
        np.testing.assert_array_equal(archive["means"], expected.means_)
        assert archive["means"].dtype == np.float32


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("missing.npy", None, "No such file"),
        ("rows.txt", "1", "expected .npy, .npz, .csv or .parquet"),
        ("rows.csv", "1,nan\n2,3\n", "NaN"),
    ],
)
def test_errors_are_one_line(tmp_path, capsys, name, content, message):
    path = tmp_path / name
    if content is not None:
        path.write_text(content)
    assert main(["fit", str(path), "-k", "1", "-q"]) == 1
    error = capsys.readouterr().err
    assert error.startswith("vbfast fit: ")
    assert message in error


def test_info(capsys):
    assert main(["info"]) == 0
    printed = capsys.readouterr().out
    for name in ("version", "simd", "num_threads", "backends", "compiler"):
        assert name in printed


def test_module_and_unavailable_instruction_set():
    command = [sys.executable, "-m", "vbfast", "info"]
    environment = {"PYTHONPATH": ":".join(filter(None, sys.path)), "VBFAST_SIMD": "mmx"}
    result = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    assert result.returncode != 0
    assert "VBFAST_SIMD=mmx: this machine has baseline" in result.stderr
