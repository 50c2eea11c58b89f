"""``vbfast info``."""

from __future__ import annotations

import argparse
from typing import Any

from vbfast.info import show_config


def add_parser(subparsers: Any) -> None:
    """Declare the subcommand."""
    parser = subparsers.add_parser(
        "info", help="version, instruction sets, threads, backends, GPU and build"
    )
    parser.set_defaults(run=run)


def run(options: argparse.Namespace) -> None:  # noqa: ARG001
    """Print the configuration."""
    show_config()
