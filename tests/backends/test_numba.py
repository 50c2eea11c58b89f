"""What is the numba backend's own: its exponential, its code, its threads, its absence."""

from __future__ import annotations

import os
import platform
import re
import subprocess
import sys
import threading

import mpmath
import numpy as np
import pytest
from sklearn.base import clone

import vbfast
from vbfast.backends import get_backend
from vbfast.config.settings import config_context
from vbfast.contract import LogJoint, Request, RowOutputs, UserFunction
from vbfast.families.covariances import MOMENTS_OF
from vbfast.passes.one_pass import run_pass
from vbfast.passes.rows import as_row_source

numba = pytest.importorskip("numba")

from vbfast.backends.numba import (  # noqa: E402
    array_kernels,
    local_step,
    loops,
    moments,
)
from vbfast.backends.numba.compiling import compiled, larger, smaller  # noqa: E402
from vbfast.backends.numba.exponential import SMALLEST_EXPONENT, exp_nonpositive  # noqa: E402
from vbfast.backends.numba.memory import empty_lines  # noqa: E402
from vbfast.backends.numba.threads import run_tasks  # noqa: E402

DTYPES = (np.float64, np.float32)


@pytest.fixture(scope="module")
def exponential():
    @numba.njit(fastmath={"contract"})
    def evaluate(x, cutoff, out):
        for i in range(len(x)):
            out[i] = exp_nonpositive(x[i], cutoff)

    def call(x, cutoff=None):
        out = np.empty_like(x)
        smallest = SMALLEST_EXPONENT[x.dtype] if cutoff is None else cutoff
        evaluate(x, x.dtype.type(smallest), out)
        return out

    return call


@pytest.mark.parametrize("dtype", DTYPES)
def test_exponential_is_within_one_and_a_half_ulp(exponential, rng, dtype):
    smallest = SMALLEST_EXPONENT[np.dtype(dtype)]
    x = np.concatenate(
        [
            rng.uniform(smallest, 0, 2000),
            -np.geomspace(1e-20, 1, 500),
            np.log(2) * (np.arange(-100, 0) + 0.5),
            [0.0, smallest],
        ]
    ).astype(dtype)
    for value, actual in zip(x, exponential(x), strict=True):
        exact = mpmath.exp(mpmath.mpf(float(value)))
        ulp = np.spacing(np.asarray(float(exact), dtype))
        assert abs(mpmath.mpf(float(actual)) - exact) <= 1.5 * float(ulp)


@pytest.mark.parametrize("dtype", DTYPES)
def test_exponential_of_what_is_not_a_number_or_below_the_cutoff(exponential, dtype):
    x = np.array([np.nan, -np.inf, -1e30, -70.0, -68.0], dtype=dtype)
    out = exponential(x, cutoff=-69.0)
    assert np.isnan(out[0])
    np.testing.assert_array_equal(out[1:4], 0)
    assert out[4] > 0


@pytest.mark.parametrize("dtype", DTYPES)
def test_larger_and_smaller_pass_over_a_nan(dtype):
    @numba.njit(fastmath={"contract"})
    def both(a, over, under):
        for i in range(len(a)):
            over[i] = larger(a[i], over[i])
            under[i] = smaller(a[i], under[i])

    a = np.array([1.0, 3.0, np.nan, 2.0, -np.inf, np.inf, np.nan] * 20, dtype)
    b = np.array([2.0, 1.0, 2.0, np.nan, 0.0, 0.0, np.nan] * 20, dtype)
    over, under = b.copy(), b.copy()
    both(a, over, under)
    np.testing.assert_array_equal(over, np.fmax(a, b))
    np.testing.assert_array_equal(under, np.fmin(a, b))


@pytest.mark.parametrize("shape", [(7,), (3, 5), (0, 4, 2)], ids=str)
def test_memory_begins_at_a_cache_line(shape):
    for dtype in DTYPES:
        memory = empty_lines(shape, dtype)
        assert (memory.shape, memory.dtype) == (shape, dtype)
        assert memory.flags.c_contiguous
        assert memory.flags.writeable
        assert memory.ctypes.data % 64 == 0 or memory.size == 0
        memory[...] = 1


def assembly_of(kernel, signature):
    kernel.compile(signature)
    return kernel.inspect_asm(signature)


def counts_as_vector_code(assembly):
    return len(re.findall(r"(?:mul|add|sub|fmadd\d+|fnmadd\d+)p[sd]\s", assembly)) >= 10


@pytest.mark.skipif(platform.machine() not in ("x86_64", "AMD64"), reason="reads x86 assembly")
def test_loops_over_rows_are_vector_code(random_params, sample, rng):
    with config_context(backend="numba"):
        for covariance_type in ("diag", "spherical"):
            params = random_params(rng, covariance_type, 3, 5)
            rows = as_row_source(sample(rng, params, 100))
            outputs = RowOutputs(gradient=np.empty((100, 5)))
            run_pass(rows, params, Request(moments=MOMENTS_OF[covariance_type]), outputs=outputs)
        vbfast.softmax(np.ones((100, 3)), axis=1)
    for kernel in (
        loops.fill_log_joint,
        loops.add_gradient,
        local_step.posterior_rows,
        moments.add_moments,
        array_kernels.add_sums,
        array_kernels.map_elements,
    ):
        anew = compiled(kernel.py_func)  # code from the cache cannot be read
        codes = (assembly_of(anew, signature) for signature in kernel.signatures)
        if kernel is loops.fill_log_joint:
            for code in codes:
                assert counts_as_vector_code(code)
                assert "maskmov" not in code  # slow: see compiling.larger
        else:  # one form: tests before this one may have compiled all
            assert any(map(counts_as_vector_code, codes)), kernel


def test_a_mixture_fitted_by_either_backend(rng):
    X = rng.normal(size=(2000, 3)) + 4 * rng.integers(3, size=(2000, 1))
    fits = {}
    for backend in ("native", "numba"):
        mixture = vbfast.GaussianMixture(3, random_state=0, tol=0, max_iter=20, backend=backend)
        with pytest.warns(match="did not converge"):
            fits[backend] = mixture.fit(X)
        with vbfast.config_context(backend=backend):
            same = clone(mixture).set_params(backend=None)
            with pytest.warns(match="did not converge"):
                same.fit(X)
        np.testing.assert_array_equal(same.means_, mixture.means_)
        proba = mixture.predict_proba(X)
        np.testing.assert_allclose(proba.sum(axis=1), 1, rtol=1e-12)
    assert np.any(fits["numba"].means_ != fits["native"].means_)
    np.testing.assert_allclose(fits["numba"].means_, fits["native"].means_, rtol=1e-9)
    np.testing.assert_allclose(
        fits["numba"].lower_bounds_, fits["native"].lower_bounds_, rtol=1e-12
    )


def test_components_of_one_s_own_have_no_gradient(diagonal_gaussian):
    functions = diagonal_gaussian.log_density, diagonal_gaussian.sufficient_statistics
    params = LogJoint(np.zeros(1), UserFunction(*functions, 1, 2, 4, None))
    outputs = RowOutputs(gradient=np.empty((5, 2)))
    with pytest.raises(NotImplementedError, match="derivative of a custom log_density"):
        run_pass(as_row_source(np.ones((5, 2))), params, Request(), outputs=outputs)


def test_an_estimator_s_backend_is_checked(rng):
    mixture = vbfast.GaussianMixture(backend="fortran")
    with pytest.raises(ValueError, match="'backend' parameter of GaussianMixture must be"):
        mixture.fit(rng.normal(size=(10, 2)))


def test_passes_in_several_threads_at_once(random_params, sample, rng, run, assert_same_bits):
    params = random_params(rng, "diag", 5, 4)
    X = sample(rng, params, 20_000)
    request = Request(moments="diag", entropy=True)

    def one_pass():
        with config_context(backend="numba", num_threads=2):
            return run(X, params, request)

    expected = one_pass()
    results = []
    callers = [threading.Thread(target=lambda: results.append(one_pass())) for _ in range(4)]
    for caller in callers:
        caller.start()
    for caller in callers:
        caller.join()
    assert len(results) == 4
    for result in results:
        assert_same_bits(result, expected)


def test_tasks_stop_once_one_fails():
    steps = []
    before = threading.active_count()

    def failing(worker):
        yield
        raise RuntimeError("as told")

    def endless(worker):
        while True:
            steps.append(worker)
            yield

    with pytest.raises(RuntimeError, match="as told"):
        run_tasks([endless, failing], 2)
    assert threading.active_count() == before
    run_tasks([], 3)


def run_code(code):
    environment = {**os.environ, "PYTHONPATH": ":".join(filter(None, sys.path))}
    environment["VBFAST_NUM_THREADS"] = "2"
    done = subprocess.run(
        [sys.executable, "-c", code],
        env=environment,
        timeout=120,
        check=True,
        capture_output=True,
        text=True,
    )
    return done.stdout.strip()


@pytest.mark.skipif(sys.platform == "win32", reason="sends a POSIX signal")
@pytest.mark.parametrize("n_components", [20, 3000])
def test_an_interrupt_stops_a_pass_within_a_second(n_components):
    """Many partitions, and one whose components the threads share."""
    printed = run_code(
        f"""
import os, signal, threading, time
import numpy as np
import vbfast
from vbfast.contract import LogJoint, Request
from vbfast.passes.one_pass import run_pass
from vbfast.passes.rows import as_row_source

signal.signal(signal.SIGINT, signal.default_int_handler)  # background jobs may ignore it
K, D = {n_components}, 32
rows = as_row_source(np.random.default_rng(0).normal(size=(200_000, D)))
params = LogJoint.quadratic("full", np.zeros(K), np.zeros((K, D)), np.tile(np.eye(D), (K, 1, 1)))

def long_pass(n_rows):
    with vbfast.config_context(backend="numba"):
        run_pass(as_row_source(rows.data[:n_rows]), params, Request(moments="full"))

sent = []
def interrupt():
    time.sleep(0.5)
    sent.append(time.perf_counter())
    os.kill(os.getpid(), signal.SIGINT)

long_pass(64)
threading.Thread(target=interrupt).start()
try:
    for _ in range(100):
        long_pass(None)
except KeyboardInterrupt:
    print(time.perf_counter() - sent[0], threading.active_count())
"""
    )
    seconds, threads_left = printed.split()
    assert float(seconds) < 1.0
    assert int(threads_left) <= 2


@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork")
def test_a_pass_in_a_forked_child():
    printed = run_code(
        """
import multiprocessing
import numpy as np
import vbfast

X = np.random.default_rng(0).normal(size=(5000, 3))

def fit(queue=None):
    with vbfast.config_context(backend="numba"):
        bound = vbfast.GaussianMixture(2, covariance_type="diag", random_state=0, tol=1).fit(X)
    if queue is None:
        return bound.lower_bound_
    queue.put(bound.lower_bound_)

expected = fit()
context = multiprocessing.get_context("fork")
queue = context.Queue()
child = context.Process(target=fit, args=(queue,))
child.start()
print(queue.get(timeout=60) == expected)
child.join(60)
"""
    )
    assert printed == "True"


def test_without_numba_the_error_says_what_to_install():
    printed = run_code(
        """
import sys
sys.modules["numba"] = None
import vbfast
from vbfast.backends import get_backend
for use in (
    lambda: get_backend("numba"),
    lambda: vbfast.families.Custom(abs, abs, abs, n_statistics=1),
):
    try:
        use()
    except ImportError as error:
        print("vbfast[numba]" in str(error))
"""
    )
    assert printed.split() == ["True", "True"]


def test_the_backend_knows_its_name():
    assert get_backend("numba").name == "numba"
    assert get_backend("numba").workspace() is None
