"""Errors of a fit that the rows are to blame for."""

from __future__ import annotations

from typing import Any, Self

import numpy as np

__all__ = ["DistantRowError", "NoResponsibilityError"]


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


def _wider(dtype: np.dtype[Any]) -> str:
    return "" if dtype == np.float64 else ", pass float64 data"
