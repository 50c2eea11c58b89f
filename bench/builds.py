"""Calls that processes of two builds time by turns, for scripts that compare builds.

A call is named in words: a benchmark's case or an array function; or what is done, a covariance
type where there is one, and rows x features x components, as in "fit full 20000x32x8", "separated
full 20000x32x8" (a fit to clusters that do not overlap), "gradient diag 20000x32x8", "gradient-in-x
full 20000x32x8", "kmeans 100000x16x64", "linear 20000x256x64" or "sample full 100000x16x8".
"""

from __future__ import annotations

import json
import subprocess
import sys
import time
import warnings
from pathlib import Path

import numpy as np

from checkouts import environment


class Build:
    """A process that imports one of the builds and times what it is told to.

    Parameters
    ----------
    source : Path
    variables : dict of str to str, optional
        Of its environment, besides those of this process.
    """

    def __init__(self, source: Path, variables: dict[str, str] | None = None) -> None:
        self._process = subprocess.Popen(
            [sys.executable, __file__],
            env=environment(source) | (variables or {}),
            cwd=source,
            text=True,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
        )

    def ask(self, *request):
        """Send a request and return the answer."""
        print(json.dumps(request), file=self._process.stdin, flush=True)
        return json.loads(self._process.stdout.readline())

    def close(self) -> None:
        """End the process."""
        self._process.communicate()


def times_by_turns(builds, call, dtype, rows, backend, rounds, least_seconds):
    """Return the seconds of a call, shape (rounds, builds); they take turns, in changing order."""
    for build in builds:
        build.ask("make", call, dtype, rows, backend)
    times = np.empty((rounds, len(builds)))
    for turn in range(rounds):
        order = range(len(builds))
        for which in order if turn % 2 else reversed(order):
            times[turn, which] = builds[which].ask("time", least_seconds)
    return times


def answer_requests() -> None:
    """Make calls, and time them, as the lines of the standard input say."""
    call = None
    for line in sys.stdin:
        kind, *arguments = json.loads(line)
        if kind == "make":
            call = None  # of the former, the memory
            call = make_call(*arguments)
            call()
        print(json.dumps(timed(call, arguments[0]) if kind == "time" else None), flush=True)


def timed(call, least_seconds) -> float:
    """Return the seconds of a call, on average over calls that take that long together."""
    start, count = time.perf_counter(), 0
    while (spent := time.perf_counter() - start) < least_seconds or count == 0:
        call()
        count += 1
    return spent / count


def make_call(name, dtype, rows, backend):
    """Return a call of what is named, of as many rows as are given unless they are zero."""
    import vbfast

    function = make_function(name, dtype, rows)

    def call():
        with vbfast.config_context(backend=backend):
            function()

    return call


def make_function(name, dtype, rows):
    import array_peers
    from vbfast.benchmark.cases import CASES, Case

    warnings.simplefilter("ignore")  # that fits do not converge
    if name in array_peers.FUNCTIONS:
        inputs = array_peers.Inputs.draw(rows or 200_000, 256, dtype)
        return array_peers.vbfast_calls(inputs)[name]
    *words, shape = name.split()
    if shape in CASES:
        case = CASES[shape]
    else:
        covariance_type = words[1] if len(words) > 1 else "spherical"
        case = Case(name, *map(int, shape.split("x")), covariance_type)
    if rows:
        case = case.smaller(max(1, case.n_samples // rows))
    return FUNCTIONS[words[0] if words else "fit"](case, case.rows(dtype))


def fit(case, X, **start):
    import vbfast

    mixture = vbfast.GaussianMixture(**case.start(**start), max_iter=3)
    return lambda: mixture.fit(X)


def separated(case, X):
    return fit(case, case.rows(X.dtype, spread=4.0), spread=4.0)


def gradient(case, X, wrt_x=False):
    import vbfast

    mixture = vbfast.GaussianMixture(**case.start(), max_iter=2).fit(X)
    return lambda: mixture.log_evidence_and_grad(X, wrt_x=wrt_x)


def gradient_in_x(case, X):
    return gradient(case, X, wrt_x=True)


def sample(case, X):
    import vbfast

    mixture = vbfast.GaussianMixture(**case.start(), max_iter=2).fit(X[: 10 * case.n_components])
    return lambda: mixture.sample(case.n_samples)


def kmeans(case, X):
    from vbfast.inference.kmeans import lloyd
    from vbfast.passes.rows import as_row_source
    from vbfast.passes.runner import LocalRunner

    runner, centres = LocalRunner(as_row_source(X)), X[: case.n_components].astype(float)
    return lambda: lloyd(runner, centres, tolerance=-1.0, max_iterations=10)


def linear(case, X):
    from vbfast.contract import Linear, LogJoint, Request
    from vbfast.passes.rows import as_row_source
    from vbfast.passes.runner import LocalRunner

    rng, K = np.random.default_rng(2), case.n_components
    log_joint = LogJoint(np.zeros(K), Linear(0.1 * rng.normal(size=(K, case.n_features))))
    runner, request = LocalRunner(as_row_source(X)), Request(moments="first")
    return lambda: runner.run(log_joint, request)


FUNCTIONS = {
    "fit": fit,
    "gradient": gradient,
    "gradient-in-x": gradient_in_x,
    "kmeans": kmeans,
    "linear": linear,
    "sample": sample,
    "separated": separated,
}


if __name__ == "__main__":
    answer_requests()
