"""Responsibilities that a caller gives: checked and converted block by block, never as a whole.

A row of zero weight is skipped: what is no distribution there is taken for no component at all.
"""

from __future__ import annotations

from typing import Any, Protocol

import numpy as np
import numpy.typing as npt

from vbfast.engine.contract import Float64Array, FloatArray
from vbfast.engine.distributions import sum_tolerance
from vbfast.engine.plain import check_plain
from vbfast.engine.rows import is_sliceable


class RespSource(Protocol):
    """Responsibilities of all rows, asked for in blocks; each partition's in row order."""

    @property
    def in_memory(self) -> bool:
        """Whether a block of any size is had without a copy."""

    def block(self, start: int, stop: int) -> FloatArray | npt.NDArray[np.int64]:
        """Return :attr:`RowBlock.resp` for the rows ``start`` to ``stop``."""


class RespLabels:
    """Each row wholly in one component, or (-1) in none."""

    in_memory = True

    def __init__(
        self,
        labels: Any,
        n_samples: int,
        n_components: int,
        *,
        sample_weight: Float64Array | None = None,
    ) -> None:
        given = np.asarray(labels)
        if given.shape != (n_samples,):
            raise ValueError(
                f"resp given as labels must have shape {(n_samples,)}; got {given.shape}"
            )
        # Before the conversion, which would make -1 of the largest unsigned number.
        bad = (given < -1) | (given >= n_components)
        counting = bad & _counts(sample_weight, 0, n_samples)
        if counting.any():
            row = int(np.argmax(counting))
            raise ValueError(
                f"resp given as labels must lie in -1..{n_components - 1}; "
                f"row {row} has {given[row]}"
            )
        labels = np.ascontiguousarray(given, dtype=np.int64)
        self._labels = np.where(bad, -1, labels) if bad.any() else labels

    def block(self, start: int, stop: int) -> npt.NDArray[np.int64]:
        """Return labels of shape (stop - start,)."""
        return self._labels[start:stop]


class RespMatrix:
    """A distribution over the components for each row, renormalised against rounding."""

    in_memory = False

    def __init__(
        self,
        resp: Any,
        n_samples: int,
        n_components: int,
        dtype: npt.DTypeLike,
        *,
        sample_weight: Float64Array | None = None,
    ) -> None:
        self._dtype = np.dtype(dtype)
        self._sample_weight = sample_weight
        self._resp = resp
        self._n_components = n_components
        if tuple(resp.shape) != (n_samples, n_components):
            raise ValueError(
                f"resp must have shape (n_samples, n_components) = {(n_samples, n_components)}; "
                f"got {tuple(resp.shape)}"
            )
        given = np.dtype(resp.dtype)
        if given.kind == "c":
            raise TypeError(f"resp must be real; got dtype {given}")
        self._tolerance = sum_tolerance(given if given.kind == "f" else self._dtype)

    def block(self, start: int, stop: int) -> FloatArray:
        """Return distributions of shape (stop - start, n_components), or raise ``ValueError``.

        A row of zero weight that is no distribution is all zeros.
        """
        resp = np.asarray(self._resp[start:stop], dtype=np.float64)
        if resp.shape != (stop - start, self._n_components):
            raise ValueError(
                f"resp[{start}:{stop}] should have shape {(stop - start, self._n_components)}; "
                f"got {resp.shape}"
            )
        with np.errstate(over="ignore", invalid="ignore"):
            sums = resp.sum(axis=1)
        # Written so that a NaN is bad too.
        bad = ~((np.abs(sums - 1) <= self._tolerance) & (resp.min(axis=1) >= 0))
        counting = bad & _counts(self._sample_weight, start, stop)
        if counting.any():
            row = int(np.argmax(counting))
            raise ValueError(
                f"resp must have non-negative rows that sum to one; row {start + row} has least "
                f"entry {resp[row].min()} and sum {sums[row]}"
            )
        sums[bad] = 1.0
        normalised = resp / sums[:, np.newaxis]
        normalised[bad] = 0.0
        return np.ascontiguousarray(normalised, dtype=self._dtype)


def _counts(
    sample_weight: Float64Array | None, start: int, stop: int
) -> npt.NDArray[np.bool_] | np.bool_:
    """Whether the rows ``start`` to ``stop`` have a positive weight."""
    return np.True_ if sample_weight is None else sample_weight[start:stop] > 0.0


def as_resp_source(
    resp: Any,
    n_samples: int,
    n_components: int,
    dtype: npt.DTypeLike,
    *,
    sample_weight: Float64Array | None = None,
) -> RespSource:
    """Make given responsibilities readable by passes.

    Parameters
    ----------
    resp : array-like or RespSource
        Shape (n_samples, n_components): rows that are distributions, to within 1e-6 (float64) or
        1e-3 (float32), and are renormalised. Shape (n_samples,) and an integer dtype: the component
        of each row, -1 for none.
    n_samples, n_components : int
    dtype : float32 or float64
        Dtype of the computation.
    sample_weight : ndarray of shape (n_samples,), float64, optional
        A row of zero weight may be no distribution, or its label out of range: it then has no
        component.

    Returns
    -------
    RespSource
        A row that is no distribution raises ``ValueError`` when its block is asked for.

    Raises
    ------
    ValueError
        If the shape is wrong or a label is out of range.
    TypeError
        If resp is complex, masked, sparse, or of records or dates.
    """
    if hasattr(resp, "block"):
        return resp  # type: ignore[no-any-return]
    check_plain(resp, "resp")
    if not isinstance(resp, np.ndarray) and not is_sliceable(resp):
        resp = np.asarray(resp)
    if len(resp.shape) == 1 and np.dtype(resp.dtype).kind in "iu":
        return RespLabels(resp, n_samples, n_components, sample_weight=sample_weight)
    return RespMatrix(resp, n_samples, n_components, dtype, sample_weight=sample_weight)
