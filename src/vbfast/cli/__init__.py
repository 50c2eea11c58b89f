"""The command ``vbfast``: each subcommand is a module with ``add_parser`` and ``run``."""

from __future__ import annotations

import argparse
import contextlib
import os
import sys
import warnings
from collections.abc import Iterator, Sequence
from typing import Any

import vbfast
from vbfast.cli import bench, demo, fit, info, score
from vbfast.cli.arguments import UsageError
from vbfast.cli.table import note

__all__ = ["main"]


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one subcommand.

    Results go to standard output, everything else to standard error.

    Parameters
    ----------
    arguments : sequence of str, optional
        Without the program's name; those of the process by default.

    Returns
    -------
    int
        The exit status: 0, 1 for data that is refused and files that cannot be read or written, 2
        for wrong options, 130 after Ctrl-C, 141 if nobody reads what is printed.
    """
    parser = argparse.ArgumentParser(
        prog="vbfast", description="Large Gaussian mixtures, fitted fast."
    )
    parser.add_argument("--version", action="version", version=f"vbfast {vbfast.__version__}")
    subparsers = parser.add_subparsers(dest="command", required=True, metavar="COMMAND")
    for command in (info, fit, score, bench, demo):
        command.add_parser(subparsers)
    options = parser.parse_args(arguments)
    status = _run(options)
    try:
        sys.stdout.flush()
    except OSError as error:
        _discard_output()
        if status == 0:
            status = _report(options, error)
    return status


def _run(options: argparse.Namespace) -> int:
    """Run the subcommand and return the exit status."""
    try:
        with _warnings_as_notes():
            options.run(options)
    except KeyboardInterrupt:
        return 130
    except (OSError, ValueError, ImportError, MemoryError) as error:
        return _report(options, error)
    return 0


def _report(options: argparse.Namespace, error: Exception) -> int:
    """Say what went wrong, and return the exit status for it."""
    if isinstance(error, BrokenPipeError):
        return 141
    print(f"vbfast {options.command}: {_one_line(error)}", file=sys.stderr)
    return 2 if isinstance(error, UsageError) else 1


def _one_line(error: BaseException) -> str:
    if isinstance(error, OSError) and error.filename is not None and error.strerror is not None:
        return f"{error.filename}: {error.strerror}"
    if isinstance(error, OSError) and error.strerror is not None:
        return error.strerror  # of standard output, which has no name
    if isinstance(error, MemoryError):
        return f"not enough memory: {error}"
    return " ".join(str(error).split())


@contextlib.contextmanager
def _warnings_as_notes() -> Iterator[None]:
    """Print warnings as sentences, without the line of code that they come from."""

    def show(message: Warning | str, *details: Any, **options: Any) -> None:  # noqa: ARG001
        note(" ".join(str(message).split()))

    with warnings.catch_warnings():
        warnings.showwarning = show
        yield


def _discard_output() -> None:
    """Keep the interpreter from writing, as it ends, what could not be written."""
    with contextlib.suppress(OSError, ValueError):
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
