"""Fits that are killed with SIGKILL at random moments, and started again until they end.

Each way of fitting is killed ``--kills`` times in all, at times drawn uniformly from its own
length; then it may end. Printed are how often it was killed, how many of these fits went on from a
file, whether the end has the bits of a fit that nobody killed, and what lies beside the checkpoint
after it. A checkpoint is written after every step, so that most kills meet a writing.

    python bench/checkpoints.py --kills 50
"""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import measure

if __name__ == "__main__":
    measure.restart_without()

import numpy as np

import vbfast

WAYS = {
    "EM, full, float64": ("GaussianMixture", "float64", {}),
    "EM, full, SQUAREM, float32": ("GaussianMixture", "float32", {"accelerate": "squarem"}),
    "VB, diag, three starts": (
        "BayesianGaussianMixture",
        "float64",
        {"covariance_type": "diag", "n_init": 3, "init_params": "random"},
    ),
    "incremental EM, tied": (
        "GaussianMixture",
        "float64",
        {"covariance_type": "tied", "batch_size": 2000, "batch_method": "incremental"},
    ),
    "stochastic VB, full": (
        "BayesianGaussianMixture",
        "float64",
        {"batch_size": 2000},
    ),
}
N_SAMPLES, N_FEATURES, N_COMPONENTS = 40_000, 8, 12


def fitted(way, n_samples, checkpoint=None):
    """Return the end of a fit."""
    name, dtype, parameters = WAYS[way]
    generator = np.random.default_rng(0)
    centres = 3.0 * generator.normal(size=(N_COMPONENTS, N_FEATURES))
    rows = centres[generator.integers(N_COMPONENTS, size=n_samples)]
    rows = (rows + generator.normal(size=rows.shape)).astype(dtype)
    mixture = getattr(vbfast, name)(
        N_COMPONENTS,
        random_state=0,
        tol=1e-9,
        max_iter=25,
        checkpoint=checkpoint,
        checkpoint_interval=0.0,
        **parameters,
    )
    return mixture.fit(rows)


def bits(mixture):
    """Return what two fits have to have in common."""
    names = ("weights_", "means_", "covariances_", "lower_bounds_", "n_passes_")
    return [np.asarray(getattr(mixture, name)) for name in names]


def started(way, n_samples, checkpoint):
    """Start a fit in a process of its own."""
    command = [sys.executable, "-W", "ignore", __file__, "fit", way, str(n_samples)]
    return subprocess.Popen([*command, str(checkpoint)], stdout=subprocess.PIPE)


def killed(way, kills, n_samples, generator):
    """Return a line of the table."""
    expected = bits(fitted(way, n_samples))
    with tempfile.TemporaryDirectory() as folder:
        checkpoint = Path(folder) / "checkpoint.npz"
        begun = time.perf_counter()
        process = started(way, n_samples, checkpoint)
        process.wait()
        whole = time.perf_counter() - begun
        checkpoint.unlink()
        n_killed = n_resumed = 0
        ended = True
        while n_killed < kills or not ended:
            n_resumed += checkpoint.exists()
            process = started(way, n_samples, checkpoint)
            if n_killed < kills:
                time.sleep(generator.uniform(0.0, whole))
                os.kill(process.pid, signal.SIGKILL)
            code = process.wait()
            if code > 0:
                raise RuntimeError(f"{way} failed")
            ended = code == 0
            n_killed += not ended
            if ended and n_killed < kills:
                checkpoint.unlink()
        same = all(map(np.array_equal, expected, bits(vbfast.load(checkpoint))))
        left = len(list(Path(folder).iterdir())) - 1
    return [way, f"{whole:.1f}", str(n_killed), str(n_resumed), "yes" if same else "no", str(left)]


def tables(*, quick=False, kills=50):
    """Return a table with a line for each way of fitting."""
    generator = np.random.default_rng(1)
    n_samples, kills = (4000, 2) if quick else (N_SAMPLES, kills)
    heads = ["fit", "seconds", "killed", "gone on from a file", "same bits", "files left"]
    ways = list(WAYS)[:2] if quick else WAYS
    return [measure.Table(heads, [killed(way, kills, n_samples, generator) for way in ways])]


if __name__ == "__main__":
    if sys.argv[1:2] == ["fit"]:
        fitted(sys.argv[2], int(sys.argv[3]), sys.argv[4])
    else:
        measure.run_script(tables)
