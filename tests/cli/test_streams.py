"""What goes to which stream, and the exit status."""

from __future__ import annotations

import os
import subprocess
import sys
import warnings
from pathlib import Path

import numpy as np
import pytest

from vbfast.cli import main


@pytest.fixture
def rows(rng):
    return rng.normal(size=(300, 3)) + 4 * rng.integers(2, size=(300, 1))


def run(arguments, folder, **options):
    """Run a process of the command line."""
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, sys.path))}
    command = [sys.executable, "-m", "vbfast", *arguments]
    return subprocess.run(command, env=environment, cwd=folder, check=False, **options)


def test_a_closed_pipe_is_quiet(tmp_path):
    reading, writing = os.pipe()
    os.close(reading)
    try:
        result = run(["info"], tmp_path, stdout=writing, stderr=subprocess.PIPE, text=True)
    finally:
        os.close(writing)
    assert (result.returncode, result.stderr) == (141, "")


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="there is no /dev/full")
def test_results_that_cannot_be_printed(tmp_path):
    with Path("/dev/full").open("w") as full:
        result = run(["info"], tmp_path, stdout=full, stderr=subprocess.PIPE, text=True)
    assert result.returncode == 1
    assert result.stderr.startswith("vbfast info: No space left")
    assert len(result.stderr.splitlines()) == 1


@pytest.mark.skipif(sys.platform == "win32", reason="limits of files are POSIX's")
def test_a_model_that_cannot_be_written_leaves_the_one_that_was_there(tmp_path, rows):
    import resource

    np.save(tmp_path / "x.npy", rows)
    assert (
        main(["fit", str(tmp_path / "x.npy"), "-k", "2", "-q", "-o", str(tmp_path / "m.npz")]) == 0
    )
    before = (tmp_path / "m.npz").read_bytes()

    def limit():
        resource.setrlimit(resource.RLIMIT_FSIZE, (1024, 1024))

    result = run(
        ["fit", "x.npy", "-k", "100", "-o", "m.npz", "-q"],
        tmp_path,
        preexec_fn=limit,
        capture_output=True,
        text=True,
    )
    assert result.returncode == 1
    assert result.stdout == ""
    assert result.stderr.startswith("vbfast fit: m.npz: ")
    assert (tmp_path / "m.npz").read_bytes() == before
    assert sorted(path.name for path in tmp_path.iterdir()) == ["m.npz", "x.npy"]


def test_rows_from_standard_input(tmp_path, rows):
    np.savetxt(tmp_path / "x.csv", rows, delimiter=",", header="a,b,c", comments="")
    result = run(
        ["fit", "-", "-k", "2", "-q"],
        tmp_path,
        input=(tmp_path / "x.csv").read_bytes(),
        capture_output=True,
    )
    assert result.returncode == 0
    assert b"rows 300, features 3, dtype float64, seed 0" in result.stdout


def test_results_alone_go_to_standard_output(tmp_path, capsys, rows):
    np.save(tmp_path / "x.npy", rows)
    assert main(["fit", str(tmp_path / "x.npy"), "-k", "2"]) == 0
    printed = capsys.readouterr()
    words = [line.split()[0] for line in printed.out.splitlines()]
    assert words[0] == "rows"
    assert words[2] == "evidence"
    assert len(words) == 3
    assert printed.err.startswith("Initialization 0\n")
    assert "\n  Iteration 1\t" in printed.err
    assert "inf" not in printed.err
    lines = [line for line in printed.err.splitlines() if line.startswith("  Iteration ")]
    for line in lines[1:]:
        assert line.count("ll change") + line.count("(") == 1


def test_the_seed_is_fixed_and_printed(tmp_path, capsys, rows):
    np.save(tmp_path / "x.npy", rows)
    fit = ["fit", str(tmp_path / "x.npy"), "-k", "3", "-q", "--init", "random", "--max-iter", "3"]
    printed = []
    for extra in ([], [], ["--seed", "0"], ["--seed", "1"]):
        assert main([*fit, *extra]) == 0
        printed.append(capsys.readouterr().out)
    assert "seed 0\n" in printed[0]
    assert printed[0] == printed[1] == printed[2] != printed[3]
    assert "seed 1\n" in printed[3]


def test_warnings_are_notes(tmp_path, capsys, rows):
    """The prior of a constant column is improper."""
    np.save(tmp_path / "x.npy", np.column_stack([rows, np.ones(300)]))
    with warnings.catch_warnings():
        warnings.simplefilter("default")
        assert main(["fit", str(tmp_path / "x.npy"), "-k", "2", "-q", "--bayesian"]) == 0
    error = capsys.readouterr().err
    assert error.startswith("vbfast: note: covariance_prior is singular")
    assert ".py" not in error


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["fit", "x.npy", "-k", "0"], "--components: must be at least 1; got 0"),
        (["fit", "x.npy", "-k", "two"], "--components: expected an integer; got 'two'"),
        (["fit", "x.npy", "-k", "2", "--tol", "nan"], "--tol: expected a number that is not neg"),
        (["fit", "x.npy", "-k", "2", "--tol", "-1"], "--tol: expected a number that is not neg"),
        (["fit", "x.npy", "-k", "2", "--bayesian", "--concentration", "0"], "must be above zero"),
        (["fit", "x.npy", "-k", "2", "--threads", "0"], "--threads: must be at least 1; got 0"),
        (["fit", "x.npy", "-k", "2", "--seed", "-1"], "--seed: must be at least 0; got -1"),
        (["fit", "x.npy", "-k", "2", "--seed", "4294967296"], "--seed: must be at most 4294967295"),
        (["fit", "x.csv", "-k", "2", "--delimiter", "ab"], "expected one character; got 'ab'"),
        (["demo", "--patches", "-5"], "--patches: must be at least 1; got -5"),
        (["demo", "--components", "0"], "--components: must be at least 1; got 0"),
    ],
)
def test_options_that_cannot_be_meant(capsys, arguments, message):
    with pytest.raises(SystemExit) as caught:
        main(arguments)
    assert caught.value.code == 2
    printed = capsys.readouterr()
    assert printed.out == ""
    assert message in printed.err
