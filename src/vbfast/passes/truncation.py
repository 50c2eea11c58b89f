"""How posteriors are truncated, and whether that saves anything."""

from __future__ import annotations

import math
import os
from dataclasses import dataclass

import numpy as np

from vbfast.contract import Components

__all__ = ["FEWEST", "Truncation", "components_worth_keeping", "memory_of_kept", "saves_time"]

# A row keeps twice as many components as share it, by the entropy of responsibilities, within these
# bounds.
FEWEST, MOST = 3, 8
# What a pair of a row and a component costs in a search, in those of a whole pass.
PAIR_COST = 2.5
# The part of the neighbours of kept components that is not common to several.
DISTINCT = 0.6


@dataclass(frozen=True)
class Truncation:
    """How posteriors are truncated.

    Attributes
    ----------
    n_kept : int or None
        Components that a row has responsibilities for, ``C'`` of Hirschberger et al. (2022). None
        leaves it, and whether posteriors are truncated at all, to the first iteration.
    n_neighbors : int
        Neighbours of a component that are tried with it, itself included: ``G``.
    n_random : int
        Components that are tried at random for every row: ``E``.
    seed : int
        Of the random ones.
    state : path or None
        A file to keep what rows keep in, mapped to memory.
    """

    n_kept: int | None = 3
    n_neighbors: int = 15
    n_random: int = 1
    seed: int = 0
    state: str | os.PathLike[str] | None = None


def components_worth_keeping(mean_entropy: float) -> int:
    """Return how many components a row is to keep.

    Parameters
    ----------
    mean_entropy : float
        Of the rows' exact responsibilities, nats: ``exp(entropy)`` components share a row.
    """
    return max(FEWEST, min(MOST, math.ceil(2.0 * math.exp(min(mean_entropy, 5.0)))))


def saves_time(n_components: int, n_kept: int, n_neighbors: int, n_random: int) -> bool:
    """Return whether a search costs less than a whole pass."""
    evaluated = 1 + DISTINCT * n_kept * n_neighbors + n_random
    return n_components > PAIR_COST * evaluated


def memory_of_kept(
    shape: tuple[int, int], path: str | os.PathLike[str] | None = None
) -> Components:
    """Return memory for what rows keep, who keep nothing yet.

    Parameters
    ----------
    shape : tuple of int
        ``(n_rows, n_kept)``.
    path : path, optional
        Of a file that is mapped to memory.
    """
    if path is None:
        return np.full(shape, -1, np.int32)
    kept: Components = np.lib.format.open_memmap(path, "w+", np.int32, shape)
    kept[:] = -1
    return kept
