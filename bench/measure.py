"""What the benchmark scripts share, beyond ``vbfast.benchmark``: options, tables, warm calls."""

from __future__ import annotations

import argparse
import os
import sys
import timeit


def restart_without(variable="OPENBLAS_CORETYPE"):
    """Run this script again without a variable that would slow NumPy's BLAS down."""
    if variable in os.environ:
        del os.environ[variable]
        os.execv(sys.executable, [sys.executable, *sys.argv])


def markdown(header, rows):
    lines = [header, ["---"] * len(header), *rows]
    return "\n".join("| " + " | ".join(line) + " |" for line in lines)


def options(description, **defaults):
    """Parse ``--quick`` (small sizes, only to see that the script runs) and the given defaults."""
    parser = argparse.ArgumentParser(description=description.splitlines()[0])
    parser.add_argument("--quick", action="store_true")
    for name, value in defaults.items():
        if isinstance(value, bool):
            parser.add_argument(f"--{name.replace('_', '-')}", action="store_true")
        elif isinstance(value, list):
            parser.add_argument(f"--{name}", nargs="+", default=value)
        else:
            parser.add_argument(f"--{name}", type=type(value), default=value)
    return parser.parse_args()


def warm_seconds(call, number=1):
    """Seconds of one of so many calls, after one that is not timed.

    That one gets the call's working memory anew: what was freed before others had their turns may
    have gone back to the system, or from a virtual machine to its host, and pages that come from
    there take up to twenty times as long as pages that are reused.
    """
    call()
    return timeit.timeit(call, number=number) / number
