"""Forks, signals and thread counts, each in a process of its own."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest

COMMON = """
import multiprocessing, os, signal, sys, threading, time
import numpy as np
import vbfast
from vbfast.engine.contract import KernelParams, Request
from vbfast.engine.engine import run_pass
from vbfast.engine.rows import as_row_source

rng = np.random.default_rng(0)
small = rng.normal(size=(5000, 4))

def fit():
    return vbfast.GaussianMixture(3, random_state=0, max_iter=5, tol=0.0).fit(small).means_

def long_pass(n_rows=400_000):
    rows = as_row_source(np.zeros((n_rows, 64), np.float32))
    params = KernelParams("full", np.zeros(200), rng.normal(size=(200, 64)),
                          np.tile(np.eye(64), (200, 1, 1)))
    return run_pass(rows, params, Request())
"""


def run(code, timeout=120):
    environment = {**os.environ, "PYTHONPATH": ":".join(filter(None, sys.path))}
    environment["VBFAST_NUM_THREADS"] = "2"
    environment["PYTHONWARNINGS"] = "ignore"
    return subprocess.run(
        [sys.executable, "-c", COMMON + code],
        env=environment,
        timeout=timeout,
        check=True,
        capture_output=True,
        text=True,
    ).stdout


CHILD = """
def child(queue):
    queue.put(fit())

context = multiprocessing.get_context("fork")
queue = context.Queue()
expected = fit()
{before}
process = context.Process(target=child, args=(queue,))
process.start()
np.testing.assert_array_equal(queue.get(timeout=60), expected)
process.join(60)
print(process.exitcode)
{after}
"""


@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork")
def test_fit_in_a_forked_child_after_a_fit_in_the_parent():
    assert run(CHILD.format(before="", after="")) == "0\n"


@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork")
def test_fork_while_another_thread_is_in_a_kernel():
    before = """
thread = threading.Thread(target=long_pass)
thread.start()
time.sleep(0.3)
assert thread.is_alive()
"""
    assert run(CHILD.format(before=before, after="thread.join()")) == "0\n"


@pytest.mark.skipif(sys.platform == "win32", reason="sends a POSIX signal")
def test_an_interrupt_stops_a_long_pass_within_a_second():
    printed = run(
        """
sent = []
def interrupt():
    time.sleep(0.5)
    sent.append(time.perf_counter())
    os.kill(os.getpid(), signal.SIGINT)

threading.Thread(target=interrupt).start()
try:
    for _ in range(100):
        long_pass()
except KeyboardInterrupt:
    print(time.perf_counter() - sent[0])
"""
    )
    assert float(printed) < 1.0


@pytest.mark.parametrize(
    ("variables", "expected"),
    [
        ({"VBFAST_NUM_THREADS": "3", "OMP_NUM_THREADS": "5"}, "3"),
        ({"OMP_NUM_THREADS": "5"}, "5"),
    ],
)
def test_environment_sets_the_number_of_threads(variables, expected):
    environment = {**os.environ, "PYTHONPATH": ":".join(filter(None, sys.path))}
    environment.pop("VBFAST_NUM_THREADS", None)
    environment.pop("OMP_NUM_THREADS", None)
    code = "import vbfast; print(vbfast.get_num_threads())"
    printed = subprocess.run(
        [sys.executable, "-c", code],
        env={**environment, **variables},
        check=True,
        capture_output=True,
        text=True,
    ).stdout
    assert printed.strip() == expected
