"""What fuzzers share: cases by seed until the time is over, and how to repeat a failure.

A fuzzer is a script with ``case(rng)``, which draws one case from a generator, runs it, and returns
None or says in a string what is wrong. An exception is wrong, too. ::

    python tests/fuzz/fuzz_arrays.py --seconds 20
    python tests/fuzz/fuzz_arrays.py --seed 12345 --cases 1   # a failure again
"""

from __future__ import annotations

import argparse
import itertools
import sys
import time
import traceback
from collections.abc import Callable

import numpy as np

__all__ = ["Case", "fuzz", "main"]

Case = Callable[[np.random.Generator], str | None]


def fuzz(
    case: Case, *, seed: int = 0, seconds: float | None = None, cases: int | None = None
) -> tuple[int, dict[int, str]]:
    """Run cases with the seeds ``seed``, ``seed + 1``, ... and return their number and failures."""
    failures: dict[int, str] = {}
    start = time.monotonic()
    for count in itertools.count():
        if count == cases or (seconds is not None and time.monotonic() - start > seconds):
            return count, failures
        number = seed + count
        try:
            wrong = case(np.random.default_rng(number))
        except Exception:
            wrong = traceback.format_exc()
        if wrong:
            failures[number] = wrong
    raise AssertionError("unreachable")


def main(case: Case) -> None:
    """Command line of a fuzzer: exits with 1 if a case failed, and says with which seed."""
    parser = argparse.ArgumentParser(description=sys.modules["__main__"].__doc__)
    parser.add_argument("--seed", type=int, default=0, help="of the first case")
    parser.add_argument("--seconds", type=float, help="how long; 20 without --cases")
    parser.add_argument("--cases", type=int, help="how many")
    arguments = parser.parse_args()
    seconds = arguments.seconds
    if seconds is None and arguments.cases is None:
        seconds = 20.0
    count, failures = fuzz(case, seed=arguments.seed, seconds=seconds, cases=arguments.cases)
    for number, wrong in failures.items():
        print(f"--seed {number} --cases 1:\n{wrong}", file=sys.stderr)
    print(f"{count} cases, {len(failures)} failed")
    sys.exit(1 if failures else 0)
