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
from vbfast.contract import LogJoint, Request
from vbfast.passes.one_pass import run_pass
from vbfast.passes.rows import as_row_source

rng = np.random.default_rng(0)
small = rng.normal(size=(5000, 4))

def fit():
    return vbfast.GaussianMixture(3, random_state=0, max_iter=5, tol=0.0).fit(small).means_

def long_pass(n_rows=400_000):
    rows = as_row_source(np.zeros((n_rows, 64), np.float32))
    params = LogJoint.quadratic("full", np.zeros(200), rng.normal(size=(200, 64)),
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
# Children of a shell's background jobs ignore it.
signal.signal(signal.SIGINT, signal.default_int_handler)
sent = []
def interrupt():
    time.sleep(0.5)
    sent.append(time.perf_counter())
    os.kill(os.getpid(), signal.SIGINT)

threading.Thread(target=interrupt).start()
try:
    while True:
        long_pass()
except KeyboardInterrupt:
    print(time.perf_counter() - sent[0])
"""
    )
    assert float(printed) < 1.0


@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork")
@pytest.mark.parametrize("backend", ["native", "numba"])
@pytest.mark.parametrize("num_threads", [1, 3])
def test_a_fork_in_a_signal_handler_during_a_call(backend, num_threads):
    """The child returns from the handler into the call: it finishes it, or raises."""
    if backend == "numba":
        pytest.importorskip("numba")
    printed = run(
        f"""
vbfast.set_num_threads({num_threads})
X = rng.normal(size=(10_000, 4))

def call():
    with vbfast.config_context(backend={backend!r}):
        mixture = vbfast.GaussianMixture(30, init_params="random", random_state=0, max_iter=5,
                                         tol=0.0)
        evidence = vbfast.logsumexp(np.broadcast_to(X[:, :1], (10_000, 1_000)), axis=1)
        return evidence[::500], mixture.fit(X).means_

expected = call()
children = []
def fork(*_):
    children.append(os.fork())

signal.signal(signal.SIGALRM, fork)
told = 0
for delay in (0.02, 0.1):
    signal.setitimer(signal.ITIMER_REAL, delay)
    try:
        while len(children) == 0:
            result = call()
    except RuntimeError as error:
        assert "forked" in str(error) and children[0] == 0, error
        os._exit(7)
    for ours, right in zip(result, expected):
        np.testing.assert_array_equal(ours, right)
    if children[0] == 0:
        os._exit(0)
    deadline = time.time() + 60
    while True:
        ended, status = os.waitpid(children[0], os.WNOHANG)
        if ended:
            break
        if time.time() > deadline:
            os.kill(children[0], signal.SIGKILL)
            sys.exit("the child hangs")
        time.sleep(0.05)
    told += os.waitstatus_to_exitcode(status) == 7
    assert os.waitstatus_to_exitcode(status) in ({{0}} if {num_threads} == 1 else {{0, 7}})
    children.clear()
print("done", told)
"""
    )
    assert printed.startswith("done")
    assert num_threads > 1 or printed == "done 0\n"


@pytest.mark.parametrize("num_threads", [1, 3])
def test_daemon_threads_in_calls_do_not_abort_the_exit(num_threads):
    run(
        f"""
vbfast.set_num_threads({num_threads})
X = rng.normal(size=(20_000, 16))
mixture = vbfast.GaussianMixture(20, init_params="random", random_state=0, max_iter=100, tol=0.0)
start = vbfast.GaussianMixture(20, init_params="random", random_state=0, max_iter=1).fit(X[:2000])
matrices = np.tile(np.eye(100), (100, 1, 1))

def packing():
    outputs = (None,) * 5 + (np.empty((10, 100)), None)
    vbfast._vbfast.EStep("full", np.zeros(100), np.zeros((100, 100)), matrices, "posterior",
                         "none", False, False, (0, 10), 64, False, 1, outputs,
                         vbfast._vbfast.Workspace(), {num_threads})

def forever(call):
    while True:
        call()

for call in (
    lambda: vbfast.logsumexp(np.broadcast_to(np.float64(1), (20_000, 20_000)), axis=1),
    lambda: vbfast.logsumexp(np.broadcast_to(np.float64(1), (300, 20)), axis=1),
    lambda: mixture.fit(X),
    lambda: start.log_evidence_and_grad(X, wrt_x=True),
    lambda: vbfast._vbfast.precision_cholesky(matrices, {num_threads}),
    packing,
):
    threading.Thread(target=forever, args=(call,), daemon=True).start()
time.sleep(0.5)
"""
    )  # whose exit status is checked


@pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")
def test_address_space_does_not_grow_with_the_threads_asked_for():
    printed = run(
        """
def gigabytes():
    with open("/proc/self/status") as lines:
        return next(int(line.split()[1]) for line in lines if line.startswith("VmSize")) / 1e6

rows, X = np.zeros((20_000, 1_000)), rng.normal(size=(20_000, 8))

def call(backend):
    with vbfast.config_context(backend=backend):
        vbfast.logsumexp(rows, axis=1)
        vbfast.GaussianMixture(3, random_state=0, max_iter=2, tol=0.0).fit(X)

call("native")
before = gigabytes()
vbfast.set_num_threads(65_535)
call("native")
print(gigabytes() - before)
"""
    )
    assert float(printed) < 0.1 + 0.03 * max(64, os.cpu_count())  # stacks, and malloc's arenas


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
