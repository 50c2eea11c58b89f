"""Which parameters of a fit do not go together, and why: docs/truncation.md has the whole table."""

from __future__ import annotations

from typing import Any

from vbfast.families.custom import Custom
from vbfast.families.family import Family

__all__ = ["check_combinations"]

# Pairs that are not both to be given.
CONFLICTS = {
    ("truncation", "batch_size"): "batches would have to remember what their rows keep",
    ("truncation", "accelerate"): "an extrapolated step is judged by the bound, which a search "
    "changes as well",
    ("accelerate", "batch_size"): "extrapolation is of whole passes, and batches take steps within "
    "one",
    ("annealing", "batch_size"): "temperatures are of whole passes, and batches take steps within "
    "one",
    ("annealing", "accelerate"): "an extrapolated step is judged by the bound, which another "
    "temperature changes as well",
    (
        "reseeding",
        "batch_size",
    ): "components begin anew between whole passes, and batches take steps within one",
    ("reseeding", "accelerate"): "an extrapolated step goes by the last two, and a component that "
    "begins anew is elsewhere",
}


# What a log-density has to have that is no user's function.
OF_GAUSSIANS = {
    "annealing": "whose log-density has multiples",
    "reseeding": "whose statistics are of a row's features",
}


def check_combinations(mixture: Any, family: Family[Any]) -> None:
    """Check that the parameters of a fit go together, and with the components.

    Raises
    ------
    ValueError
        If two do not; the message says why.
    NotImplementedError
        If one is not for components of a user's functions.
    """
    for (one, other), reason in CONFLICTS.items():
        values = getattr(mixture, one), getattr(mixture, other)
        if values[0] is not None and values[1] is not None:
            raise ValueError(
                f"{one}={values[0]!r} and {other}={values[1]!r} do not go together: {reason}. "
                "Leave one of them None"
            )
    for name, reason in OF_GAUSSIANS.items():
        value = getattr(mixture, name)
        if value is not None and isinstance(family, Custom):
            raise NotImplementedError(
                f"{name}={value!r} needs Gaussian components, or others of a linear form, {reason}"
                f"; got {family!r}: use {name}=None"
            )
