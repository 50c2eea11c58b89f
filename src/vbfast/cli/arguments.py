"""Checks of options before any work: numbers, and files to write."""

from __future__ import annotations

import argparse
import math
import os
from collections.abc import Callable, Iterable
from pathlib import Path

from vbfast.atomic_file import linked_to

__all__ = ["SEEDS", "UsageError", "check_outputs", "count", "count_or", "positive", "real"]


# The largest that NumPy takes.
SEEDS = 2**32 - 1


class UsageError(ValueError):
    """Wrong or contradictory options, as opposed to data that is refused."""


def count(least: int, most: int | None = None) -> Callable[[str], int]:
    """Return an argparse type of integers from ``least`` to ``most``."""

    def parse(text: str) -> int:
        try:
            number = int(text)
        except ValueError:
            raise argparse.ArgumentTypeError(f"expected an integer; got {text!r}") from None
        if number < least:
            raise argparse.ArgumentTypeError(f"must be at least {least}; got {number}")
        if most is not None and number > most:
            raise argparse.ArgumentTypeError(f"must be at most {most}; got {number}")
        return number

    return parse


def count_or(word: str) -> Callable[[str], int | str]:
    """Return an argparse type of positive integers and one word."""

    def parse(text: str) -> int | str:
        return text if text == word else count(1)(text)

    return parse


def real(text: str) -> float:
    """Argparse type of finite numbers that are not negative."""
    try:
        number = float(text)
    except ValueError:
        number = math.nan
    if not 0.0 <= number < math.inf:
        raise argparse.ArgumentTypeError(f"expected a number that is not negative; got {text!r}")
    return number


def positive(text: str) -> float:
    """Argparse type of finite numbers above zero."""
    number = real(text)
    if number == 0.0:
        raise argparse.ArgumentTypeError(f"must be above zero; got {text!r}")
    return number


def check_outputs(
    outputs: Iterable[tuple[str, Path | None, tuple[str, ...]]], *inputs: Path | None
) -> None:
    """Check that the output files can be written, before the work that fills them.

    Parameters
    ----------
    outputs : iterable of (option, path or None, suffixes)
        The option that a path was given with, and the endings that say what will be written.
    *inputs : Path or None
        Files to read. A memory map is read during the passes, so none of them may be overwritten.

    Raises
    ------
    OSError
        If a folder does not exist or does not let files in, or a path is a folder itself.
    UsageError
        If the ending is not that of the format that is written, or if the path is that of an input
        or of another output.
    """
    taken: list[tuple[str, Path]] = []
    for option, path, suffixes in outputs:
        if path is None:
            continue
        _check_place(path)
        if suffixes and path.suffix.lower() not in suffixes:
            raise UsageError(f"{option} {path}: the name must end in {' or '.join(suffixes)}")
        if any(given is not None and _same(path, given) for given in inputs):
            raise UsageError(f"cannot write {path}: it is an input")
        for other, written in taken:
            if _same(path, written):
                raise UsageError(f"{other} and {option} name the same file, {path}")
        taken.append((option, path))


def _check_place(path: Path) -> None:
    if path.is_dir():
        raise IsADirectoryError(f"cannot write {path}: it is a folder")
    folder = linked_to(path).parent
    if not folder.is_dir():
        raise FileNotFoundError(f"cannot write {path}: there is no folder {folder}")
    if path.is_file() or not path.exists():
        # What is there is replaced by a file written beside it.
        if not os.access(folder, os.W_OK | os.X_OK):
            raise PermissionError(f"cannot write {path}: no permission to write in {folder}")
        if path.exists() and not os.access(path, os.W_OK):
            raise PermissionError(f"cannot write {path}: no permission to write to it")


def _same(path: Path, other: Path) -> bool:
    if path.exists() and other.exists():
        return path.samefile(other)
    return linked_to(path) == linked_to(other)
