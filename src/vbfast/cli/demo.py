"""``vbfast demo``."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

from vbfast.cli.arguments import SEEDS, check_outputs, count


def add_parser(subparsers: Any) -> None:
    """Declare the subcommand."""
    parser = subparsers.add_parser(
        "demo", help="fit 200 components to photograph patches, then denoise with them"
    )
    parser.add_argument("--full", action="store_true", help="all 531,720 patches")
    parser.add_argument(
        "--patches", type=count(1), default=100_000, help="size of the subset; default 100000"
    )
    parser.add_argument("--components", type=count(1), default=200, help="default 200")
    parser.add_argument(
        "--max-iter", type=count(1), default=200, help="iterations at most; default 200"
    )
    parser.add_argument(
        "--dtype", choices=("float32", "float64"), default="float32", help="default float32"
    )
    parser.add_argument("--seed", type=count(0, SEEDS), default=0, help="default 0")
    parser.add_argument(
        "--output",
        type=Path,
        default=Path("vbfast-demo.png"),
        help="default vbfast-demo.png",
    )
    parser.set_defaults(run=run)


def run(options: argparse.Namespace) -> None:
    """Run the demonstration."""
    from vbfast.demo.demo import run_demo

    check_outputs([("--output", options.output, (".png",))])
    run_demo(
        n_patches=None if options.full else options.patches,
        n_components=options.components,
        max_iter=options.max_iter,
        dtype=options.dtype,
        seed=options.seed,
        output=options.output,
    )
