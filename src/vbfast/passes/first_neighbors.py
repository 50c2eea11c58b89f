"""Where a search among thousands of components begins: cells around some, and first neighbours.

The centres of the components are rows as well: who is likely there is near.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import numpy.typing as npt

from vbfast.contract import Cells, Components, Float64Array, Search

__all__ = ["Visit", "begin_beside", "cells_around", "first_neighbors", "some_components"]

# Searches for what the components' centres keep.
Visit = Callable[[Components, Search], None]

# So many components are tried by every row; of more, twice their root.
TRIED_BY_ALL = 64
# Up to so many components, all are compared with one another to find their first neighbours.
ALL_PAIRS = 1024
# In how many cells a component lies, how many a centre looks into, and how many components of one.
CELLS = 2
SEARCHED_CELLS = 3
MOST_OF_CELL = 2048


def some_components(offset: Float64Array) -> Components:
    """Return the components that every row tries first: of many, those that have some weight.

    Parameters
    ----------
    offset : ndarray of shape (n_components,)
        Of the log-joint.
    """
    n_components = len(offset)
    possible = np.flatnonzero(offset > -np.inf)
    if n_components <= TRIED_BY_ALL or len(possible) == 0:
        possible = np.arange(n_components)
    count = n_components
    if n_components > TRIED_BY_ALL:
        count = max(TRIED_BY_ALL, 2 * int(np.ceil(np.sqrt(n_components))))
    count = min(count, len(possible))
    return possible[np.arange(count) * len(possible) // count].astype(np.int32)


def cells_around(some: Components, n_components: int, visit: Visit) -> Cells | None:
    """Return the components around each of some; None where these are all.

    A row that has found the best of some looks into their cells.

    Parameters
    ----------
    some : ndarray of shape (n_some,), int32
    n_components : int
    visit : callable

    Returns
    -------
    cells : Cells or None
        The others have none.
    """
    if len(some) == n_components:
        return None
    nearest = np.full((n_components, min(CELLS, len(some))), -1, np.int32)
    visit(nearest, Search(nearest.shape[1], candidates=some))
    order = np.argsort(nearest, axis=None, kind="stable").astype(np.int32)
    cell, component = nearest.ravel()[order], order // nearest.shape[1]
    place = np.arange(len(cell)) - np.searchsorted(cell, cell)
    inside = (cell >= 0) & (place < MOST_OF_CELL)
    if not inside.any():
        return None
    begin = np.searchsorted(cell[inside], np.arange(n_components + 1))
    return Cells(begin.astype(np.int64), np.ascontiguousarray(component[inside]))


def first_neighbors(
    some: Components, cells: Cells | None, n_components: int, n_neighbors: int, visit: Visit
) -> Components:
    """Return the components that are likeliest where the others have their centres.

    Parameters
    ----------
    some : ndarray of shape (n_some,), int32
    cells : Cells or None
        Of :func:`some_components` and :func:`cells_around`.
    n_components, n_neighbors : int
    visit : callable

    Returns
    -------
    neighbors : ndarray of shape (n_components, n_neighbors), int32
        Every component is among its own.
    """
    every = np.arange(n_components, dtype=np.int32)
    kept = np.full((n_components, n_neighbors), -1, np.int32)
    if cells is None or n_components <= ALL_PAIRS:
        visit(kept, Search(n_neighbors, candidates=every))
    else:
        nearest = np.full((n_components, min(SEARCHED_CELLS, n_neighbors)), -1, np.int32)
        visit(nearest, Search(nearest.shape[1], candidates=some))
        kept[:, : nearest.shape[1]] = nearest
        visit(kept, Search(n_neighbors, cells=cells))
    missing = ~(kept == every[:, np.newaxis]).any(axis=1)
    kept[missing, -1] = every[missing]
    return kept


def begin_beside(
    hosts: npt.NDArray[np.intp], components: npt.NDArray[np.intp], neighbors: Components
) -> None:
    """Make components neighbours of the hosts that they begin beside, and those theirs.

    A host's farthest neighbours give way, one for each component.

    Parameters
    ----------
    hosts, components : ndarray of shape (n_moved,), intp
    neighbors : ndarray of shape (n_components, n_neighbors), int32
        Changed in place.
    """
    width = int(neighbors.shape[1])
    places = dict.fromkeys(hosts.tolist(), width)
    for component, host in zip(components.tolist(), hosts.tolist(), strict=True):
        neighbors[component] = neighbors[host]
        neighbors[component, -1], neighbors[component, 0] = host, component
        places[host] -= 1
        if places[host] > 0:
            neighbors[host, places[host]] = component
