"""The command ``vbfast``: each subcommand is a module with ``add_parser`` and ``run``."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence

import vbfast
from vbfast.cli import bench, demo, fit, info, score

__all__ = ["main"]


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one subcommand.

    Parameters
    ----------
    arguments : sequence of str, optional
        Without the program's name; those of the process by default.

    Returns
    -------
    int
        The exit status: 0, 1 for an error of the input, 130 after Ctrl-C.
    """
    parser = argparse.ArgumentParser(
        prog="vbfast", description="Large Gaussian mixtures, fitted fast."
    )
    parser.add_argument("--version", action="version", version=f"vbfast {vbfast.__version__}")
    subparsers = parser.add_subparsers(dest="command", required=True, metavar="COMMAND")
    for command in (info, fit, score, bench, demo):
        command.add_parser(subparsers)
    options = parser.parse_args(arguments)
    try:
        options.run(options)
    except KeyboardInterrupt:
        return 130
    except (OSError, ValueError, ImportError) as error:
        print(f"vbfast {options.command}: {error}", file=sys.stderr)
        return 1
    return 0
