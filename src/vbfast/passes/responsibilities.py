"""Responsibilities that a caller gives: checked and converted block by block, never as a whole.

A row of zero weight is skipped: if it is not a distribution, it is taken to be all zeros.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import Any

import numpy as np
import numpy.typing as npt

from vbfast.contract import Float64Array, FloatArray
from vbfast.inputs.distributions import sum_tolerance
from vbfast.inputs.numbers import (
    as_numbers,
    check_real,
    claimed_dtype,
    claimed_shape,
    read_slice,
)
from vbfast.inputs.plain import check_plain
from vbfast.passes.array_rows import is_sliceable


class RespSource(ABC):
    """Responsibilities of all rows, asked for in blocks; each partition's in row order."""

    # Whether blocks of any size are views, without a copy.
    in_memory = False

    @abstractmethod
    def block(self, start: int, stop: int) -> FloatArray | npt.NDArray[np.int64]:
        """Return :attr:`RowBlock.resp` for the rows ``start`` to ``stop``."""


class RespLabels(RespSource):
    """Each row wholly in one component, or (-1) in none."""

    in_memory = True

    def __init__(
        self,
        labels: Any,
        n_samples: int,
        n_components: int,
        *,
        sample_weight: Float64Array | None = None,
        name: str = "resp",
    ) -> None:
        if claimed_shape(labels, name) != (n_samples,):
            raise ValueError(
                f"{name} given as labels must have shape {(n_samples,)}; got {labels.shape}"
            )
        given = read_slice(labels, 0, n_samples, (n_samples,), np.int64, name)
        # Before the conversion, which would make -1 of the largest unsigned number.
        bad = (given < -1) | (given >= n_components)
        counting = bad & _counts(sample_weight, 0, n_samples)
        if counting.any():
            row = int(np.argmax(counting))
            raise ValueError(
                f"{name} given as labels must lie in -1..{n_components - 1}; "
                f"row {row} has {given[row]}"
            )
        labels = np.ascontiguousarray(given, dtype=np.int64)
        self._labels = np.where(bad, -1, labels) if bad.any() else labels

    def block(self, start: int, stop: int) -> npt.NDArray[np.int64]:
        """Return labels of shape (stop - start,)."""
        return self._labels[start:stop]


class RespMatrix(RespSource):
    """A distribution over the components for each row, renormalised against rounding."""

    def __init__(
        self,
        resp: Any,
        n_samples: int,
        n_components: int,
        dtype: npt.DTypeLike,
        *,
        sample_weight: Float64Array | None = None,
        name: str = "resp",
    ) -> None:
        self._dtype = np.dtype(dtype)
        self._name = name
        self._sample_weight = sample_weight
        self._resp = resp
        self._n_components = n_components
        shape = claimed_shape(resp, name)
        if shape != (n_samples, n_components):
            raise ValueError(
                f"{name} must have shape (n_samples, n_components) = {(n_samples, n_components)}; "
                f"got {shape}"
            )
        given = claimed_dtype(resp, name)
        check_real(given, name)
        self._tolerance = sum_tolerance(given if given.kind == "f" else self._dtype)

    def block(self, start: int, stop: int) -> FloatArray:
        """Return distributions of shape (stop - start, n_components), or raise ``ValueError``.

        A row of zero weight that is not a distribution is all zeros.
        """
        shape = (stop - start, self._n_components)
        found = read_slice(self._resp, start, stop, shape, np.float64, self._name)
        with np.errstate(over="ignore", invalid="ignore"):
            resp = np.asarray(found, dtype=np.float64)
            sums = resp.sum(axis=1)
        # Written so that a NaN is bad too.
        bad = ~((np.abs(sums - 1) <= self._tolerance) & (resp.min(axis=1) >= 0))
        counting = bad & _counts(self._sample_weight, start, stop)
        if counting.any():
            row = int(np.argmax(counting))
            raise ValueError(
                f"{self._name} must have non-negative rows that sum to one; row {start + row} has "
                f"least entry {resp[row].min()} and sum {sums[row]}"
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
    name: str = "resp",
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
    name : str, default='resp'
        Of the argument, for messages.

    Returns
    -------
    RespSource
        A row that is not a distribution raises ``ValueError`` when its block is asked for.

    Raises
    ------
    ValueError
        If the shape is wrong or a label is out of range.
    TypeError
        If resp is complex, masked, sparse, of records or dates, or has no numbers.
    """
    if isinstance(resp, RespSource):
        return resp
    check_plain(resp, name)
    if not isinstance(resp, np.ndarray) and not is_sliceable(resp):
        resp = as_numbers(resp, name)
    if len(claimed_shape(resp, name)) == 1 and claimed_dtype(resp, name).kind in "iu":
        return RespLabels(resp, n_samples, n_components, sample_weight=sample_weight, name=name)
    return RespMatrix(resp, n_samples, n_components, dtype, sample_weight=sample_weight, name=name)
