"""What a user's compiled functions are given, so that they can harm nothing but themselves."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy.typing as npt

__all__ = ["beyond_the_ends", "not_compiled", "read_only"]


def read_only(array: npt.NDArray[Any]) -> npt.NDArray[Any]:
    """Return a view for which numba compiles no code that writes to it."""
    view = array.view()
    view.flags.writeable = False
    return view


def beyond_the_ends(name: str, function: Callable[..., Any], **lengths: int) -> ValueError:
    """Return the error for a bounds check that failed in one of a family's functions.

    ``lengths`` are those of its arguments.
    """
    given = getattr(function, "__name__", name)
    found = " and ".join(f"{argument} has length {length}" for argument, length in lengths.items())
    return ValueError(
        f"the family's {name} ({given}) has an index beyond the ends of an array, where {found}"
    )


def not_compiled(name: str, dtype: npt.DTypeLike, error: Exception) -> Exception:
    """Return the error for one of a family's functions that numba does not compile.

    Numba's own is its cause: that one is long, and of our kernels for the greater part.
    """
    if "setitem(readonly array" in str(error):
        return ValueError(f"{name} must not write to its arguments")
    return TypeError(
        f"{name} cannot be compiled for rows of {dtype}; numba's error, the cause of this one, "
        "says why"
    )
