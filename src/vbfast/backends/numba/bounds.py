"""What a user's compiled functions are given, so that they can harm nothing but themselves."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator
from typing import Any

import numpy.typing as npt

__all__ = ["guarded", "read_only"]


def read_only(array: npt.NDArray[Any]) -> npt.NDArray[Any]:
    """Return a view for which numba compiles no code that writes to it."""
    view = array.view()
    view.flags.writeable = False
    return view


@contextlib.contextmanager
def guarded(
    name: str, function: Callable[..., Any], dtype: npt.DTypeLike, **lengths: int
) -> Iterator[None]:
    """Say what is wrong with one of a family's functions, where calls of it fail.

    ``lengths`` are those of its arguments, ``dtype`` that of the rows.

    Raises
    ------
    TypeError
        If numba does not compile it.
    ValueError
        If it writes to an argument that it must not write to, or goes beyond the ends of one.
    """
    from numba.core.errors import NumbaError

    try:
        yield
    except NumbaError as error:
        if "setitem(readonly array" in str(error):
            raise ValueError(f"{name} must not write to its arguments") from error
        # Numba's own words are long, and of our kernels for the greater part.
        raise TypeError(
            f"{name} cannot be compiled for rows of {dtype}; numba's error, the cause of this "
            "one, says why"
        ) from error
    except IndexError as error:
        given = getattr(function, "__name__", name)
        found = " and ".join(f"{argument} has length {n}" for argument, n in lengths.items())
        raise ValueError(
            f"the family's {name} ({given}) has an index beyond the ends of an array, where {found}"
        ) from error
    except Exception as error:
        error.add_note(f"Raised by the family's {name}.")
        raise
