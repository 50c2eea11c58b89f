"""Which of a file's arrays is meant."""

from __future__ import annotations

from collections.abc import Sequence

__all__ = ["chosen_name"]


def chosen_name(names: Sequence[str], wanted: str | None, advice: str) -> str:
    """Return the name of an array among those of a file: the one that is wanted, or the only one.

    Parameters
    ----------
    names : sequence of str
    wanted : str or None
    advice : str
        What the message about several names ends with.

    Returns
    -------
    str

    Raises
    ------
    ValueError
        If there is none of that name, or several and none is wanted.

    Examples
    --------
    >>> from vbfast.inputs.named_arrays import chosen_name
    >>> chosen_name(["rows"], None, "choose one")
    'rows'
    """
    if wanted is None and len(names) != 1:
        raise ValueError(f"holds {', '.join(names) or 'no array'}; {advice}")
    name = names[0] if wanted is None else wanted
    if name not in names:
        raise ValueError(f"has no array {name!r}, only {', '.join(names)}")
    return name
