"""Seconds of this tree's fits and array functions as a multiple of another commit's.

Builds the other commit in a temporary worktree. Each build has a process of its own, and they take
turns: every round times both, in changing order, each for a while. The median of the rounds' ratios
is printed, with the quartiles; rows slower by more than 3 % are marked.

    python bench/same_speed.py            # changes that are not committed
    python bench/same_speed.py --commit HEAD~1 --rounds 15
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import time
import warnings
from pathlib import Path

import measure
from checkouts import ROOT, add_options, environment, other_checkout

if __name__ == "__main__":
    measure.restart_without()

import numpy as np

DTYPES = ("float64", "float32")
ALLOWED = 1.03


class Build:
    """A process that imports one of the builds and times what it is told to."""

    def __init__(self, source: Path) -> None:
        self._process = subprocess.Popen(
            [sys.executable, str(ROOT / "bench" / "same_speed.py"), "--times"],
            env=environment(source),
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
    """Return a call of some iterations of a fit, or of an array function."""
    import vbfast

    function = make_function(name, dtype, rows)

    def call():
        with vbfast.config_context(backend=backend):
            function()

    return call


def make_function(name, dtype, rows):
    import array_peers
    import vbfast
    from vbfast.benchmark.cases import CASES

    if name not in CASES:
        inputs = array_peers.Inputs.draw(rows or 200_000, 256, dtype)
        return array_peers.vbfast_calls(inputs)[name]
    case = CASES[name]
    if rows:
        case = case.smaller(max(1, case.n_samples // rows))
    X = case.rows(dtype)
    mixture = vbfast.GaussianMixture(**case.start(), max_iter=3)
    warnings.simplefilter("ignore")  # that they do not converge
    return lambda: mixture.fit(X)


def main() -> int:
    import array_peers
    from vbfast.benchmark.cases import CASES

    names = (*CASES, *array_peers.FUNCTIONS)
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    add_options(parser)
    parser.add_argument("--names", nargs="+", default=names, choices=names)
    parser.add_argument("--rounds", type=int, default=9)
    parser.add_argument("--seconds", type=float, default=0.2, help="of a turn, at least")
    parser.add_argument("--rows", type=int, default=0, help="fewer than the cases have")
    parser.add_argument("--backend", default="native")
    parser.add_argument("--times", action="store_true", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.times:
        answer_requests()
        return 0
    lines, slower = [], 0
    with other_checkout(options) as other:
        builds = [Build(ROOT), Build(other)]
        for dtype in DTYPES:
            for name in options.names:
                for build in builds:
                    build.ask("make", name, dtype, options.rows, options.backend)
                times = np.empty((options.rounds, 2))
                for turn in range(options.rounds):
                    for which in (0, 1) if turn % 2 else (1, 0):
                        times[turn, which] = builds[which].ask("time", options.seconds)
                low, ratio, high = np.quantile(times[:, 0] / times[:, 1], [0.25, 0.5, 0.75])
                slower += ratio > ALLOWED
                lines.append(
                    [name, dtype, f"{np.median(times[:, 0]):.5f}", f"{ratio:.3f}",
                     f"{low:.3f}-{high:.3f}", "slower" if ratio > ALLOWED else ""]
                )  # fmt: skip
        for build in builds:
            build.close()
    print(measure.Table(["case", "dtype", "seconds", "ratio", "quartiles", ""], lines))
    return 1 if slower else 0


if __name__ == "__main__":
    sys.exit(main())
