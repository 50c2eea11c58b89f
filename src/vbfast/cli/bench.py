"""``vbfast bench``."""

from __future__ import annotations

import argparse
import contextlib
import importlib.util
import json
import math
import os
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import threadpoolctl

from vbfast.atomic_file import written_whole
from vbfast.benchmark.cases import CASES
from vbfast.benchmark.machine import machine
from vbfast.cli.arguments import UsageError, check_outputs, count

if TYPE_CHECKING:
    from vbfast.benchmark.iterations import IterationTime

# So that the default is done within about a minute.
FEWER_ROWS = 8

HEADER = (
    "case",
    "dtype",
    "vbfast s",
    "rows/s",
    "scikit-learn s",
    "ratio",
    "GFLOP/s",
    "floor s",
    "fraction",
)


def add_parser(subparsers: Any) -> None:
    """Declare the subcommand."""
    parser = subparsers.add_parser(
        "bench",
        help="time EM iterations on this machine, beside scikit-learn's",
        description=(
            "Time one EM iteration of each case, vbfast's and scikit-learn's in turns. The floor "
            "is the necessary floating-point operations at the speed of a matrix product that is "
            "timed between the iterations (GFLOP/s), plus a fixed cost of the exponentials; the "
            "last column is the floor as a fraction of vbfast's time."
        ),
    )
    parser.add_argument(
        "cases", nargs="*", metavar="CASE", help=f"of {', '.join(CASES)}; all by default"
    )
    parser.add_argument("--dtype", choices=("float64", "float32"), help="both by default")
    parser.add_argument(
        "--full", action="store_true", help=f"all rows: {FEWER_ROWS} times as many, for minutes"
    )
    parser.add_argument("--no-peer", action="store_true", help="leave scikit-learn out")
    parser.add_argument(
        "--repeats", type=count(1), default=3, help="timings of each, for the median"
    )
    parser.add_argument("--threads", type=count(1), help="of vbfast and of BLAS")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write the numbers, too")
    parser.set_defaults(run=run)


def run(options: argparse.Namespace) -> None:
    """Time the cases, print a line for each as it is done, and write what was asked for."""
    from vbfast.benchmark.iterations import time_iteration
    from vbfast.benchmark.timing import MatrixProduct

    unknown = [name for name in options.cases if name not in CASES]
    if unknown:
        raise UsageError(f"no case {', '.join(unknown)}; there are {', '.join(CASES)}")
    check_outputs([("--json", options.json, ())])
    chosen = [CASES[name] for name in options.cases or CASES]
    if not options.full:
        chosen = [case.smaller(FEWER_ROWS) for case in chosen]
    dtypes = (options.dtype,) if options.dtype else ("float64", "float32")
    times = []
    with threadpoolctl.threadpool_limits(limits=options.threads):
        print(machine())
        if "OPENBLAS_CORETYPE" in os.environ:
            print("OPENBLAS_CORETYPE is set: scikit-learn and the peak may be slower than without")
        with _table() as add_line:
            for dtype in dtypes:
                product = MatrixProduct(dtype)
                for case in chosen:
                    time = time_iteration(
                        case,
                        dtype,
                        product,
                        repeats=options.repeats,
                        peer_repeats=0 if options.no_peer else options.repeats,
                    )
                    times.append(time)
                    add_line(_line(time))
        if options.json is not None:
            record = {
                "machine": machine(),
                "iterations": [_record(time) for time in times],
            }
            with written_whole(options.json) as file:
                file.write((json.dumps(record, indent=2) + "\n").encode())
            print(f"wrote {options.json}")


def _line(time: IterationTime) -> list[str]:
    timed = not math.isnan(time.peer)
    return [
        time.case.name,
        time.dtype,
        f"{time.ours:.4f}",
        f"{time.rows_per_second:,.0f}",
        f"{time.peer:.4f}" if timed else "-",
        f"{time.ratio:.1f}" if timed else "-",
        f"{time.peak / 1e9:.0f}",
        f"{time.floor:.4f}",
        f"{time.fraction:.2f}",
    ]


def _record(time: IterationTime) -> dict[str, Any]:
    timed = not math.isnan(time.peer)
    return {
        "case": time.case.name,
        "dtype": time.dtype,
        "n_samples": time.case.n_samples,
        "n_features": time.case.n_features,
        "n_components": time.case.n_components,
        "covariance_type": time.case.covariance_type,
        "seconds": time.ours,
        "rows_per_second": time.rows_per_second,
        "scikit_learn_seconds": time.peer if timed else None,
        "ratio": time.ratio if timed else None,
        "matrix_product_flops": time.peak,
        "floor_seconds": time.floor,
        "fraction_of_floor": time.fraction,
    }


@contextlib.contextmanager
def _table() -> Iterator[Callable[[list[str]], None]]:
    """Give a function that adds a line: drawn with rich on a terminal, else in plain columns."""
    if importlib.util.find_spec("rich") is not None:
        from rich.console import Console

        console = Console(file=sys.stdout)
        if console.is_terminal or console.is_jupyter:
            from rich.live import Live
            from rich.table import Table

            table = Table(*HEADER, box=None)
            for column in table.columns[2:]:
                column.justify = "right"
            with Live(table, console=console, auto_refresh=False) as live:

                def add_row(cells: list[str]) -> None:
                    table.add_row(*cells)
                    live.refresh()

                yield add_row
            return

    def print_line(cells: list[str]) -> None:
        columns = zip(cells, (10, 8, 10, 12, 14, 7, 8, 9, 9), strict=True)
        text = [f"{cell:<{n}}" if i < 2 else f"{cell:>{n}}" for i, (cell, n) in enumerate(columns)]
        print(" ".join(text), flush=True)

    print_line(list(HEADER))
    yield print_line
