"""What the benchmark scripts share, beyond ``vbfast.benchmark``: tables, options, warm calls.

A script has a function ``tables`` that returns blocks of Markdown, most of them a :class:`Table`.
Its keyword arguments are the script's options, its module's docstring says how things are measured.
"""

from __future__ import annotations

import argparse
import inspect
import math
import multiprocessing
import os
import sys
import timeit
from collections.abc import Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass

MISSING = "-"


@dataclass(frozen=True)
class Table:
    """A table, whose cells are text. In Markdown it is what ``str`` returns."""

    header: Sequence[str]
    rows: Sequence[Sequence[str]]

    def __str__(self):
        lines = [self.header, ["---"] * len(self.header), *self.rows]
        return "\n".join("| " + " | ".join(line) + " |" for line in lines)


def cell(value, digits, missing=MISSING):
    """Return a number as text; ``missing`` for None and NaN."""
    return missing if _unknown(value) else f"{value:,.{digits}f}"


def speed_up(other, ours, words="slower"):
    """Return how many times as fast ours is as the other, with ``words`` where it is slower."""
    if _unknown(other) or _unknown(ours):
        return MISSING
    times = other / ours
    return f"{times:.2f}, {words}" if round(times, 2) < 1 else f"{times:.1f}"


def _unknown(value):
    return value is None or math.isnan(value)


def run_script(tables):
    """Print the blocks that ``tables`` returns, called with the options of the command line.

    ``--quick`` takes small sizes, only to see that the script runs.
    """
    parser = argparse.ArgumentParser(
        description=inspect.getmodule(tables).__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    for name, parameter in inspect.signature(tables).parameters.items():
        option, default = f"--{name.replace('_', '-')}", parameter.default
        if isinstance(default, bool):
            parser.add_argument(option, action="store_true")
        elif isinstance(default, tuple):
            parser.add_argument(option, nargs="+", default=default, help=f"of {', '.join(default)}")
        else:
            parser.add_argument(option, type=type(default), default=default)
    print(*tables(**vars(parser.parse_args())), sep="\n\n")


def quick_arguments(tables):
    """Return the arguments that show within seconds whether a script runs."""
    once = {"repeats": 1} if "repeats" in inspect.signature(tables).parameters else {}
    return {"quick": True, **once}


def fresh(function, *arguments):
    """Call a function in a process of its own: peak memory and the heap belong to that call."""
    with ProcessPoolExecutor(1, mp_context=multiprocessing.get_context("spawn")) as pool:
        return pool.submit(function, *arguments).result()


def restart_without(variable="OPENBLAS_CORETYPE"):
    """Run this script again without a variable that would slow NumPy's BLAS down."""
    if variable in os.environ:
        del os.environ[variable]
        os.execv(sys.executable, [sys.executable, *sys.argv])


def warm_seconds(call, number=1):
    """Seconds of one of ``number`` calls, after one that is not timed.

    That one gets the call's working memory anew: what was freed before others had their turns may
    have gone back to the system, or from a virtual machine to its host, and pages that come from
    there take up to twenty times as long as pages that are reused.
    """
    call()
    return timeit.timeit(call, number=number) / number
