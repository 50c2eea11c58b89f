"""What becomes an array of numbers without losing its meaning on the way.

NumPy makes an array of almost anything: of a masked array without its mask, of records with one
field, of dates counted in some unit. The numbers are then not what the caller meant, and nothing
says so. One check, for every argument that becomes an array.
"""

from __future__ import annotations

from typing import Any

import numpy as np

__all__ = ["check_plain"]

# Records and raw bytes, dates, spans of time: NumPy has numbers for them, which mean nothing
# without a field's name or a unit. What text and objects hold their conversion tells.
_MORE_THAN_NUMBERS = (np.void, np.datetime64, np.timedelta64)
# An object with one of these that is not an array is sparse.
_SPARSE = ("tocsr", "todense", "toarray")
_SCALARS = (float, int, np.floating, np.integer, np.bool_)


def check_plain(a: Any, name: str) -> None:
    """Check that numbers are all that an argument has to say.

    Parameters
    ----------
    a : array_like or an array that lives elsewhere
    name : str
        Of the argument, for messages.

    Raises
    ------
    TypeError
        If it is masked somewhere, sparse (a matrix or array of any format), or of dates or records
        (a structured dtype).

    Examples
    --------
    >>> import numpy as np
    >>> from vbfast.inputs.plain import check_plain
    >>> check_plain([[1.0, 2.0]], "X")
    >>> try:
    ...     check_plain(np.ma.array([1.0, 2.0], mask=[True, False]), "X")
    ... except TypeError as error:
    ...     print(str(error)[:42])
    X is a masked array with 1 masked entry, w
    """
    if isinstance(a, list | tuple):
        # By type, as most lists are long and hold numbers.
        others = {kind for kind in set(map(type, a)) if not _is_scalar(kind)}
        for item in a if others else ():
            if type(item) in others:
                check_plain(item, name)
        return
    if isinstance(a, np.ma.MaskedArray):
        _check_unmasked(a, name)
    elif not isinstance(a, np.ndarray) and any(hasattr(type(a), method) for method in _SPARSE):
        raise TypeError(
            f"Sparse data was passed for {name}, but dense data is required. "
            f"Use {name}.toarray() to convert to a dense numpy array."
        )
    for dtype in _dtypes(a):
        if isinstance(dtype, np.dtype) and issubclass(dtype.type, _MORE_THAN_NUMBERS):
            raise TypeError(_not_numbers(dtype, name))


def _is_scalar(kind: type) -> bool:
    return issubclass(kind, _SCALARS) and not issubclass(kind, np.timedelta64)


def _dtypes(a: Any) -> tuple[Any, ...]:
    """Return the dtype of an array, or those of the columns of a data frame."""
    if hasattr(a, "dtype"):
        return (a.dtype,)
    return tuple(a.dtypes) if hasattr(a, "iloc") else ()


def _check_unmasked(a: np.ma.MaskedArray[Any, Any], name: str) -> None:
    n_masked = int(np.count_nonzero(np.ma.getmask(a)))
    if n_masked:
        raise TypeError(
            f"{name} is a masked array with {n_masked} masked "
            f"{'entry' if n_masked == 1 else 'entries'}, which would count as if they were not "
            f"masked. Leave their rows out, replace them with {name}.filled(...), or pass "
            f"{name}.data to use what lies under the mask."
        )


def _not_numbers(dtype: np.dtype[Any], name: str) -> str:
    if dtype.names is not None:
        return (
            f"{name} must be numeric; got the structured dtype {dtype}. Use "
            f"numpy.lib.recfunctions.structured_to_unstructured({name}), or one field"
        )
    return f"{name} must be numeric; got dtype {dtype}"
