"""Errors of a fit that the rows are to blame for."""

from __future__ import annotations

from typing import Any, Protocol, Self

import numpy as np

from vbfast.contract import PassResult

__all__ = ["DistantRowError", "NoResponsibilityError", "check_reach"]


class Rows(Protocol):
    """What is asked about the rows: see :class:`vbfast.inference.runner.Runner`."""

    @property
    def dtype(self) -> np.dtype[Any]:
        """Dtype of the computation."""

    def largest_row(self) -> int:
        """Return the first row of positive weight that has the largest number in it."""


class NoResponsibilityError(ValueError):
    """No component is responsible for any row."""

    def __init__(self) -> None:
        super().__init__(
            "every row has log-density -inf under all components, which leaves nothing to "
            "estimate them from: start from means nearer to the rows"
        )


class DistantRowError(ValueError):
    """A row is so far away that its squared distance overflows. ``row`` is its index."""

    def __init__(self, row: int, message: str) -> None:
        super().__init__(message)
        self.row = row

    @classmethod
    def of_start(cls, row: int, dtype: np.dtype[Any]) -> Self:
        """Return the error of a row that is too far from the other rows."""
        return cls(
            row,
            f"row {row} is so far from others that its squared distance overflows {dtype}. "
            f"Scale X{_wider(dtype)} or leave the row out",
        )

    @classmethod
    def of_iteration(cls, row: int, dtype: np.dtype[Any]) -> Self:
        """Return the error of a row that is too far from all components."""
        return cls(
            row,
            f"row {row} has log-density -inf under all components: its squared distance from them "
            f"overflows {dtype}. Scale X{_wider(dtype)}, leave the row out, or start from means "
            "nearer to the rows",
        )


def check_reach(sums: PassResult, runner: Rows) -> None:
    """Check that a global step failed for another reason than squared distances that overflow.

    Parameters
    ----------
    sums : PassResult
        That it was to go by.
    runner : Runner
        Whose rows were summed.

    Raises
    ------
    DistantRowError
        If second moments overflow; it names the row that is farthest out.
    """
    assert sums.statistics is not None
    second = sums.statistics.second
    if second is not None and not np.isfinite(second).all():
        raise DistantRowError.of_start(runner.largest_row(), runner.dtype)


def _wider(dtype: np.dtype[Any]) -> str:
    return "" if dtype == np.float64 else ", pass float64 data"
