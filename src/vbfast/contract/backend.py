"""What executes passes."""

from __future__ import annotations

from collections.abc import Sequence
from functools import cache
from typing import Any, Protocol, TypeGuard, runtime_checkable

import numpy as np

from vbfast.contract.blocking import Blocking
from vbfast.contract.linear_algebra import LinearAlgebra
from vbfast.contract.log_joint import LogJoint
from vbfast.contract.request import Request, RowOutputs
from vbfast.contract.result import PassResult
from vbfast.contract.rows import RowBlock, RowSource
from vbfast.contract.statistics import Moments
from vbfast.contract.types import Float64Array, FloatArray

__all__ = ["Backend", "BoundingBackend", "Pass", "SeedingPass", "offers_bounds"]


class Pass(Protocol):
    """One pass in progress. Not reusable after :meth:`finish`."""

    def run(self, blocks: Sequence[RowBlock], num_threads: int) -> None:
        """Process blocks of distinct partitions, in parallel.

        Raises
        ------
        NonFiniteRowError
            If a row is not finite; the lowest such index among the blocks.
        ValueError
            If an array of a block has another shape, dtype or order than the pass was begun for,
            or an output has no room for it.
        KeyboardInterrupt
            If a signal handler raised it while the kernel ran.
        """

    def finish(self) -> PassResult:
        """Merge the partitions in their fixed order and return the sums."""


class SeedingPass(Protocol):
    """One pass of k-means++ seeding over squared distances (Arthur and Vassilvitskii 2007)."""

    def run(
        self,
        blocks: Sequence[RowBlock],
        closest: Sequence[FloatArray],
        lowered: Sequence[FloatArray | None],
        num_threads: int,
    ) -> None:
        """Visit blocks, each with its slices of ``closest`` and ``lowered``.

        With ``candidates`` of shape (L, D), adds ``w_n min(closest_n, ||x_n - c_l||^2)`` to
        potential ``l``, and writes that minimum to ``lowered[l, n]`` where it is not None. Both
        are in the dtype of the computation, ``closest`` in C order, ``lowered`` of shape
        (L, n_rows) with rows one after another. Raises as :meth:`Pass.run`.
        """

    def finish(self) -> Float64Array:
        """Return the potentials, shape (L,), merged over partitions in their fixed order."""


class Backend(Protocol):
    """What executes passes, with all that depends on how: each backend has its own.

    Attributes
    ----------
    name : str
    """

    name: str

    def evaluates(self, log_joint: LogJoint) -> bool:
        """Return whether passes with such a log-joint can be run here."""

    def adopt(self, source: RowSource) -> RowSource:
        """Return the rows where this backend keeps them for many passes: views, or a copy.

        What it has returned before it returns as it is.
        """

    def blocking(
        self,
        n_samples: int,
        row_length: int,
        n_components: int,
        dtype: np.dtype[Any],
        moments: Moments | None,
    ) -> Blocking:
        """Fix which rows are added up together.

        Parameters
        ----------
        n_samples : int
        row_length : int
            Numbers of a row that a tile has to hold, :attr:`Form.row_length`.
        n_components : int
        dtype : float32 or float64
        moments : the moments that the pass sums, or None
        """

    def begin(
        self,
        log_joint: LogJoint,
        request: Request,
        blocking: Blocking,
        *,
        outputs: RowOutputs,
        workspace: Any,
        num_threads: int,
    ) -> Pass:
        """Start a pass, in memory that :meth:`workspace` returned.

        Raises
        ------
        NotImplementedError
            If it asks for what this backend does not compute.
        ValueError
            If an output has another shape, dtype or order than the pass fills.
        """

    def begin_seeding(self, candidates: Float64Array, blocking: Blocking) -> SeedingPass:
        """Start a k-means++ pass."""

    def workspace(self) -> Any:
        """Return memory for the passes of one fit, of which one runs at a time."""

    def linalg(self, num_threads: int) -> LinearAlgebra:
        """Return the linear algebra of the global step, on a number of threads."""


@runtime_checkable
class BoundingBackend(Protocol):
    """What a backend may offer beside: passes of k-means that leave out distances.

    Bounds on the distances of rows from centres, kept from one pass to the next, tell of most rows
    which centre is nearest. They are an optimisation: labels, outputs and statistics have the bits
    that they have without bounds, and who has none may run any other pass in between.
    """

    def nearest_bounds(self, n_samples: int) -> Any:
        """Return new bounds for passes over a number of rows. They say nothing as yet.

        At most 64 bytes a row. They are of the rows of one source, whatever their weights.
        """

    def begin_bounded(
        self,
        log_joint: LogJoint,
        request: Request,
        blocking: Blocking,
        *,
        outputs: RowOutputs,
        workspace: Any,
        num_threads: int,
        bounds: Any,
    ) -> Pass:
        """Start a pass as :meth:`Backend.begin` does, which goes by bounds and renews them.

        The expected log-joint, which takes the distances, is not summed: it is NaN. Passes for
        which bounds are of no use are run without.
        """


def offers_bounds(backend: Backend) -> TypeGuard[BoundingBackend]:
    """Return whether a backend is a :class:`BoundingBackend`."""
    return _has_methods_of_bounds(type(backend))


@cache  # to look for the methods takes as long as a small pass
def _has_methods_of_bounds(kind: type) -> bool:
    return issubclass(kind, BoundingBackend)
