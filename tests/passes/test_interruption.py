"""Signals reach a call within half a second, and other threads of Python run meanwhile."""

from __future__ import annotations

import signal
import sys
import threading
import time

import numpy as np
import pytest

import vbfast
from vbfast import _vbfast

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="needs POSIX timers")

# Half a second is promised, and twice that is allowed. Seconds are those of a processor's time, of
# which a busy machine takes as many as an idle one.
LATEST = 1.0


class AlarmError(Exception):
    """Raised by the signal handler."""


def broad(*shape):
    """A large array without its memory."""
    return np.broadcast_to(np.float64(0.5), shape)


def model(covariance_type, n_components, n_features, gradient=None):
    """A function that packs a model, for a gradient in the rows that are all in one tile."""
    factors = np.eye(n_features)
    if covariance_type == "full":
        factors = np.tile(factors, (n_components, 1, 1))
    outputs = (None,) * 5 + (gradient, None)
    n_rows = 2048 if gradient is None else len(gradient)
    means = np.zeros((n_components, n_features))
    return lambda num_threads: _vbfast.EStep(
        covariance_type, np.zeros(n_components), means, factors, "posterior", "none", False,
        False, (0, n_rows), 2048, False, 1, outputs, _vbfast.Workspace(), num_threads,
    )  # fmt: skip


def packing(covariance_type, n_components, n_features):
    """Of a gradient, which multiplies every factor by itself."""
    return model(covariance_type, n_components, n_features, np.empty((1, n_features)))


def one_tile(n_components, n_features, with_gradient):
    rows = np.ones((2048, n_features))
    gradient = np.empty_like(rows) if with_gradient else None
    estep = model("full", n_components, n_features, gradient)(2)
    return lambda num_threads: estep.run([(0, rows, None, None)], num_threads)


def factors(name, n_matrices, n_features):
    """A function of a batch of matrices; of one of them, where the batch is its columns."""
    matrices = np.tile(np.eye(n_features), (n_matrices, 1, 1))
    arguments = {
        "precision_cholesky": (matrices,),
        "ratio_norms": (matrices, matrices),
        "matrix_gradients": (
            np.ones(n_matrices),
            np.zeros((n_matrices, 1, n_features)),
            matrices,
            matrices,
        ),
        "draw_rows": (
            np.zeros((200_000, n_features)),
            np.full(n_matrices, 200_000 // n_matrices),
            matrices,
            np.zeros((n_matrices, n_features)),
        ),
    }[name]
    return lambda num_threads: getattr(_vbfast, name)(*arguments, num_threads)


def array_function(function, *arguments, **options):
    def call(num_threads):
        with vbfast.config_context(num_threads=num_threads):
            return function(*arguments, **options)

    return call


CALLS = {
    "logsumexp of rows": lambda: array_function(vbfast.logsumexp, broad(10**6, 10**4), axis=1),
    "logsumexp of columns": lambda: array_function(vbfast.logsumexp, broad(10**6, 10**4), axis=0),
    "logsumexp of a few very long slices": lambda: array_function(
        vbfast.logsumexp, broad(40, 10**9), axis=1
    ),
    "logsumexp of infinities": lambda: array_function(
        vbfast.logsumexp, np.broadcast_to(np.inf, (40, 2**22 + 1)), axis=1
    ),
    "softmax into one place": lambda: array_function(
        vbfast.softmax, broad(40, 10**9), axis=1, out=_one_place(40, 10**9)
    ),
    "log_softmax into one place": lambda: array_function(
        vbfast.log_softmax, broad(10**9, 40), axis=0, out=_one_place(10**9, 40)
    ),
    "entropy": lambda: array_function(vbfast.entropy, logits=broad(10**6, 10**4)),
    "kl_divergence": lambda: array_function(
        vbfast.kl_divergence, q_logits=broad(10**6, 10**4), p_logits=broad(10**6, 10**4)
    ),
    "elbo": lambda: array_function(vbfast.elbo, broad(10**6, 10**4)),
    "factors of many matrices": lambda: factors("precision_cholesky", 60, 700),
    "factor of a large matrix": lambda: factors("precision_cholesky", 1, 3500),
    "ratio of large matrices": lambda: factors("ratio_norms", 1, 4000),
    "gradients of many matrices": lambda: factors("matrix_gradients", 30, 600),
    "draws": lambda: factors("draw_rows", 5, 1000),
    "packing of many components": lambda: packing("full", 300, 250),
    "packing of a large tied factor": lambda: packing("tied", 2, 2500),
    "one tile": lambda: one_tile(60, 700, with_gradient=False),
    "one tile with its gradient": lambda: one_tile(60, 700, with_gradient=True),
}


def _one_place(*shape):
    return np.lib.stride_tricks.as_strided(np.empty(1), shape, (0, 0), writeable=True)


@pytest.mark.parametrize("num_threads", [1, 2])
@pytest.mark.parametrize("name", CALLS)
def test_a_signal_ends_a_long_call(name, num_threads):
    call = CALLS[name]()
    ticks, ended = [time.process_time()], threading.Event()

    def alarm(*_):
        raise AlarmError

    def tick():
        while not ended.wait(0.01):
            ticks.append(time.process_time())

    delay = 0.1
    before = signal.signal(signal.SIGPROF, alarm)
    ticker = threading.Thread(target=tick)
    ticker.start()
    try:
        start = time.process_time()
        signal.setitimer(signal.ITIMER_PROF, delay)
        with pytest.raises(AlarmError):
            call(num_threads)
        end = time.process_time()
    finally:
        signal.setitimer(signal.ITIMER_PROF, 0)
        signal.signal(signal.SIGPROF, before)
        ended.set()
        ticker.join()
    assert end - (start + delay) < LATEST * num_threads
    assert max(np.diff([*ticks, time.process_time()])) < LATEST * num_threads


NOT_AS_USUAL = {
    "logsumexp of an infinite factor": lambda: array_function(
        vbfast.logsumexp, broad(60_000_000), b=np.broadcast_to(np.inf, 60_000_000)
    ),
    "elbo of distances that overflow": lambda: array_function(
        vbfast.elbo,
        np.append(np.full(30_000_000, -1e308), 1e308),
        q=np.full(30_000_001, 1 / 30_000_001),
    ),
    "logsumexp of slices without elements": lambda: array_function(
        vbfast.logsumexp, np.zeros((60_000_000, 0), np.float32), axis=1
    ),
}


@pytest.mark.parametrize("name", NOT_AS_USUAL)
def test_signals_are_seen_while_odd_slices_are_looked_at_again(name):
    """A handler that lets the call go on, which ends what the kernels do for ordinary slices."""
    call, seen = NOT_AS_USUAL[name](), []
    before = signal.signal(signal.SIGPROF, lambda *_: seen.append(time.process_time()))
    try:
        signal.setitimer(signal.ITIMER_PROF, 0.02, 0.02)
        call(1)
        seen.append(time.process_time())
    finally:
        signal.setitimer(signal.ITIMER_PROF, 0)
        signal.signal(signal.SIGPROF, before)
    assert len(seen) > 3
    assert max(np.diff(seen)) < LATEST / 2
