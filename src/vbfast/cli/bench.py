"""``vbfast bench``."""

from __future__ import annotations

import argparse
import contextlib
import importlib
import importlib.util
import json
import sys
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING

from vbfast.atomic_file import written_whole
from vbfast.benchmark.cases import CASES
from vbfast.benchmark.machine import machine
from vbfast.benchmark.peers.registry import PEERS
from vbfast.cli.arguments import UsageError, check_outputs, count, positive
from vbfast.optional import needed

if TYPE_CHECKING:
    from typing import Any

    from vbfast.benchmark.side_by_side import Comparison, Result

FEWER_ROWS = 8
# With every peer the quick cases take about two minutes, most of them to start processes.
QUICK_CASES, QUICK_FEWER_ROWS, QUICK_LIMIT = ("full_16", "diag_32"), 20, 10.0
QUICK_REPEATS = 3

HEADER = ("case", "dtype", "library", "seconds", "least to most", "ratio", "bound less ours", "")
WIDTHS = (10, 8, 20, 9, 17, 7, 16, 0)
FIRST_NUMBER, LAST_NUMBER = 3, 6


def add_parser(subparsers: Any) -> None:
    """Declare the subcommand."""
    parser = subparsers.add_parser(
        "bench",
        help="time EM iterations on this machine, beside other libraries",
        description=(
            "Time an EM iteration of each case, vbfast's and that of every other library that is "
            "found, in turns and from the same parameters. A ratio, how many times as long as "
            "vbfast's, is given where the bounds agree to 1e-3 nats a row. The floor is the "
            "necessary floating-point operations at the speed of a matrix product that is timed "
            "between the iterations, plus a fixed cost of the exponentials."
        ),
    )
    parser.add_argument(
        "cases", nargs="*", metavar="CASE", help=f"of {', '.join(CASES)}; all by default"
    )
    parser.add_argument("--dtype", choices=("float64", "float32"), help="both by default")
    size = parser.add_mutually_exclusive_group()
    size.add_argument(
        "--full", action="store_true", help=f"all rows: up to {FEWER_ROWS} times as many"
    )
    size.add_argument(
        "--quick",
        action="store_true",
        help=f"{', '.join(QUICK_CASES)} in float64 with few rows, for about two minutes",
    )
    parser.add_argument(
        "--peers",
        metavar="NAME,...",
        help=f"of {', '.join(PEERS)}, or none; all that are found by default",
    )
    parser.add_argument(
        "--onedal-python",
        metavar="PYTHON",
        help="the interpreter of an environment with daal4py, for oneDAL",
    )
    parser.add_argument(
        "--limit",
        type=positive,
        default=60.0,
        help="seconds that a peer's run may take, and about those of all its turns",
    )
    parser.add_argument("--repeats", type=count(1), default=5, help="turns of each, for the median")
    parser.add_argument("--threads", type=count(1), help="at most, of everybody")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write the numbers, too")
    parser.add_argument("--figure", type=Path, metavar="FILE", help="draw them: .png, .svg, .pdf")
    parser.set_defaults(run=run)


def run(options: argparse.Namespace) -> None:
    """Compare case by case, print each as it is done, and write what was asked for."""
    from vbfast.benchmark.figure import draw_comparisons
    from vbfast.benchmark.peers.entrants import Task, entered
    from vbfast.benchmark.side_by_side import compare, record_of

    peers = _chosen_peers(options.peers)
    check_outputs(
        [("--json", options.json, ()), ("--figure", options.figure, (".png", ".svg", ".pdf"))]
    )
    if options.figure is not None:
        with needed("matplotlib", by="--figure"):
            importlib.import_module("matplotlib")
    done = []
    given = {"oneDAL": options.onedal_python} if options.onedal_python else {}
    limit = min(options.limit, QUICK_LIMIT) if options.quick else options.limit
    repeats = min(options.repeats, QUICK_REPEATS) if options.quick else options.repeats
    print(machine())
    with (
        entered(peers, interpreters=given, limit=limit, most_processors=options.threads) as field,
        _table() as add_line,
    ):
        for case, dtype in _chosen_cases(options):
            with tempfile.TemporaryDirectory() as folder:
                task = Task.write(case, dtype, Path(folder))
                comparison = compare(
                    task, field.entrants, field.product, repeats=repeats, patience=limit
                )
            done.append(comparison)
            for line in _lines(comparison):
                add_line(line)
    for name, reason in field.absent.items():
        print(f"without {name}: {reason}")
    record = record_of(done, field.absent)
    if options.json is not None:
        with written_whole(options.json) as file:
            file.write((json.dumps(record, indent=2) + "\n").encode())
        print(f"wrote {options.json}")
    if options.figure is not None:
        draw_comparisons(record, options.figure)
        print(f"wrote {options.figure}")


def _chosen_peers(text: str | None) -> list[str]:
    if text is None:
        return list(PEERS)
    names = [] if text == "none" else text.split(",")
    unknown = [name for name in names if name not in PEERS]
    if unknown:
        raise UsageError(f"no peer {', '.join(unknown)}; there are {', '.join(PEERS)}")
    return names


def _chosen_cases(options: argparse.Namespace) -> Iterator[tuple[Any, str]]:
    unknown = [name for name in options.cases if name not in CASES]
    if unknown:
        raise UsageError(f"no case {', '.join(unknown)}; there are {', '.join(CASES)}")
    fewer = 1 if options.full else QUICK_FEWER_ROWS if options.quick else FEWER_ROWS
    names = options.cases or (QUICK_CASES if options.quick else CASES)
    by_default = ("float64",) if options.quick else ("float64", "float32")
    for dtype in (options.dtype,) if options.dtype else by_default:
        for name in names:
            yield CASES[name].fewer_rows(fewer), dtype


def _lines(comparison: Comparison) -> Iterator[list[str]]:
    """Return the lines of a case: ours, the peers in the order of their times, the floor."""
    start = [comparison.case.name, comparison.dtype]
    ours, *others = comparison.results
    peers = sorted(others, key=lambda result: (bool(result.remark), result.median))
    for result in (ours, *peers):
        yield [*start, *_cells(result, ours)]
    share = comparison.floor / ours.median
    yield [*start, "floor", f"{comparison.floor:.4f}", "", f"{share:.2f}", "",
           f"at {comparison.peak / 1e9:.0f} GFLOP/s"]  # fmt: skip


def _cells(result: Result, ours: Result) -> list[str]:
    name = f"{result.library} {result.version}".rstrip()
    if result.remark:
        return [name, "-", "", "-", "", result.remark]
    ratio = result.ratio(ours)
    remark = ""
    if ratio is None:
        remark = "too short to time" if result.agrees(ours) else "no ratio: the bounds differ"
    return [
        name,
        f"{result.median:.4f}",
        f"{min(result.seconds):.4f} to {max(result.seconds):.4f}",
        "-" if ratio is None else f"{ratio:.1f}",
        "" if result is ours else f"{result.bound - ours.bound:.1e}",
        remark,
    ]


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
            for column in table.columns[FIRST_NUMBER : LAST_NUMBER + 1]:
                column.justify = "right"
            with Live(table, console=console, auto_refresh=False) as live:

                def add_row(cells: list[str]) -> None:
                    table.add_row(*cells)
                    live.refresh()

                yield add_row
            return

    def print_line(cells: list[str]) -> None:
        text = [
            f"{cell:>{width}}" if FIRST_NUMBER <= place <= LAST_NUMBER else f"{cell:<{width}}"
            for place, (cell, width) in enumerate(zip(cells, WIDTHS, strict=True))
        ]
        print(" ".join(text).rstrip(), flush=True)

    print_line(list(HEADER))
    yield print_line
