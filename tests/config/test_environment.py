"""Environment variables, which are read once: each in a process of its own."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest

from vbfast.info import configuration

VARIABLES = ("VBFAST_SIMD", "VBFAST_NUM_THREADS", "OMP_NUM_THREADS")


def run(code, **variables):
    environment = {k: v for k, v in os.environ.items() if k not in VARIABLES}
    environment.update(variables, PYTHONPATH=":".join(filter(None, sys.path)))
    return subprocess.run(
        [sys.executable, "-c", code],
        env=environment,
        timeout=120,
        capture_output=True,
        text=True,
        check=False,
    )


FIT = """
import numpy as np, vbfast
from vbfast.info import configuration
X = np.random.default_rng(0).normal(size=(500, 3))
print(configuration()["simd"], vbfast.GaussianMixture(2, random_state=0).fit(X).lower_bound_)
"""


def test_every_level_fits_alike():
    bounds = []
    for level in configuration()["simd_available"]:
        done = run(FIT, VBFAST_SIMD=level)
        assert done.returncode == 0, done.stderr
        name, bound = done.stdout.split()
        assert name == level
        bounds.append(float(bound))
    assert bounds == pytest.approx([bounds[0]] * len(bounds), rel=1e-9)


def test_the_best_level_is_the_default():
    assert run(FIT).stdout.split()[0] == configuration()["simd_available"][-1]


def test_an_unknown_level_names_what_there_is():
    done = run(FIT, VBFAST_SIMD="avx1024")
    assert done.returncode != 0
    assert "avx1024" in done.stderr
    for level in configuration()["simd_available"]:
        assert level in done.stderr


THREADS = "import vbfast; print(vbfast.get_num_threads())"


@pytest.mark.parametrize(
    ("variables", "expected"),
    [
        ({"VBFAST_NUM_THREADS": "3", "OMP_NUM_THREADS": "5"}, 3),
        ({"OMP_NUM_THREADS": "5"}, 5),
    ],
)
def test_number_of_threads(variables, expected):
    assert int(run(THREADS, **variables).stdout) == expected


@pytest.mark.parametrize("text", ["abc", "0", "-2", "3 or 4"])
def test_a_number_of_threads_that_is_none_is_named(text):
    done = run(THREADS, VBFAST_NUM_THREADS=text)
    assert done.returncode != 0
    assert f"VBFAST_NUM_THREADS={text}" in done.stderr


@pytest.mark.skipif(not hasattr(os, "sched_setaffinity"), reason="affinity is Linux's")
def test_affinity_is_the_default():
    code = "import os; os.sched_setaffinity(0, {min(os.sched_getaffinity(0))}); " + THREADS
    assert int(run(code).stdout) == 1
