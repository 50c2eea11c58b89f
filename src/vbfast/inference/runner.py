"""What the loops ask of whoever runs passes over the rows, wherever those are.

:class:`vbfast.passes.runner.LocalRunner` has all of it for the rows of this machine, and
:class:`vbfast.passes.chunk_runner.ChunkRunner` for rows in chunks, here or on a cluster. A runner
that merges what others have summed needs the members of :class:`Runner` for
:func:`vbfast.inference.em.run_em`, and those of :class:`RowRunner` for starts, for priors taken
from the rows, and for diagnoses.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import cache
from typing import Any, Protocol, TypeGuard

import numpy as np
import numpy.typing as npt

from vbfast.contract import (
    Components,
    Float64Array,
    FloatArray,
    Iterated,
    LinearAlgebra,
    LogJoint,
    Moments,
    MovedCentres,
    PassResult,
    Request,
    RowOutputs,
    RowSource,
    Settling,
    Statistics,
    Steps,
)
from vbfast.families.family import Rows

__all__ = ["LoopingRunner", "RowRunner", "Runner", "SearchingRunner", "may_loop", "searches"]


class Runner(Protocol):
    """Who runs the passes of a fit."""

    @property
    def dtype(self) -> np.dtype[Any]:
        """Dtype of the computation, float32 or float64."""

    @property
    def linalg(self) -> LinearAlgebra:
        """The linear algebra of the backend that passes run on."""

    @property
    def n_passes(self) -> int:
        """How many passes :meth:`iterate` has made."""

    def iterate(
        self,
        log_joint: LogJoint,
        request: Request,
        *,
        previous: PassResult | None = None,
        scatter_floor: Callable[[Float64Array], Float64Array] | None = None,
    ) -> PassResult:
        """Make the pass of an iteration, or as many as it takes.

        It is more than a pass: a runner that knows what the last one summed, and how exact second
        moments have to be, may leave components out and take moments again. It may as well run the
        request as it stands.

        Parameters
        ----------
        log_joint : LogJoint
        request : Request
            Of a 'posterior' pass with moments.
        previous : PassResult, optional
            Of a pass with similar parameters, without its statistics.
        scatter_floor : callable, optional
            See :attr:`vbfast.families.family.Objective.scatter_floor`.

        Returns
        -------
        PassResult
            Sums over all rows, with statistics.
        """

    def impossible_row(self, log_joint: LogJoint) -> int:
        """Return the first row of positive weight whose log evidence is ``-inf``."""

    def largest_row(self) -> int:
        """Return the first row of positive weight that has the largest number in it."""


class RowRunner(Runner, Rows, Protocol):
    """A runner that can be asked for single rows, for parts of them, and for any pass."""

    @property
    def source(self) -> RowSource:
        """The rows."""

    @property
    def sample_weight(self) -> Float64Array | None:
        """Weights of the rows, shape (n_samples,); ``None`` means one each."""

    @property
    def n_samples(self) -> int:
        """Number of rows."""

    def run(
        self,
        log_joint: LogJoint,
        request: Request,
        *,
        resp: Any = None,
        outputs: RowOutputs | None = None,
        bounds: Any = None,
    ) -> PassResult:
        """Visit every row once, see :func:`vbfast.passes.one_pass.run_pass`."""

    def nearest_bounds(self) -> Any:
        """Return bounds for 'hard' passes over these rows; None where the backend has none."""

    def seed(
        self,
        candidates: Float64Array,
        closest: FloatArray,
        *,
        lowered: FloatArray | None = None,
    ) -> Float64Array:
        """Weigh candidates for a centre, see :func:`vbfast.passes.one_pass.run_seeding`."""

    def gather(self, indices: npt.NDArray[np.intp]) -> Float64Array:
        """Return copies of a few rows in float64, in the order of ``indices``."""

    def best_components(self, log_joint: LogJoint) -> tuple[npt.NDArray[Any], FloatArray]:
        """Return the best component of each row, -1 for none, and its log-evidence."""

    def moments_about(self, centre: Float64Array, moments: Moments) -> Statistics:
        """Return the statistics of all rows as one component, about a point."""

    def column_moments(self) -> tuple[Float64Array, Float64Array]:
        """Return the weighted mean and variance of each column."""

    def weighted(self, sample_weight: Float64Array | None) -> RowRunner:
        """Return a runner over the same rows with other weights."""

    def in_float64(self) -> RowRunner:
        """Return a runner over the same rows that computes in float64."""

    def in_memory(self) -> RowRunner:
        """Return a runner over the same rows for many passes: over copies, where there are few."""

    def only(self, indices: npt.NDArray[np.intp]) -> RowRunner:
        """Return a runner over copies of some rows, each of weight one."""

    def section(self, rows: slice) -> RowRunner:
        """Return a runner over consecutive rows, which reads as it goes."""

    def parts(self, n_rows: int) -> Iterator[tuple[slice, RowRunner]]:
        """Yield runners over consecutive rows, ``n_rows`` at most."""

    def log_joint_blocks(
        self, log_joint: LogJoint, n_rows: int
    ) -> Iterator[tuple[slice, FloatArray]]:
        """Yield blocks of consecutive rows and their log-joints."""


class SearchingRunner(RowRunner, Protocol):
    """A runner whose iterations have truncated posteriors: rows keep a few components each.

    Attributes
    ----------
    neighbors : ndarray of shape (n_components, n_neighbors), int32, or None
        What was learned of the components; None before the first search, and of whole posteriors.
    n_kept : int or None
        How many components a row keeps; None before that is decided.
    """

    neighbors: Components | None
    n_kept: int | None

    def begin_anew(self) -> None:
        """Forget what rows keep."""

    def memory(self) -> dict[str, Any]:
        """Return copies of what the next search depends on."""

    def remember(self, memory: dict[str, Any]) -> None:
        """Go on from what :meth:`memory` returned, for the same rows."""

    def search(self, log_joint: LogJoint, request: Request) -> PassResult:
        """Search once for better components of every row, in a 'posterior' or 'hard' pass."""

    def reseed(
        self,
        components: npt.NDArray[np.intp],
        hosts: npt.NDArray[np.intp],
        random_state: np.random.RandomState,
    ) -> Float64Array:
        """Return rows of the hosts for components to begin at, which these rows then try."""

    def bound_gap(self, log_joint: LogJoint) -> float:
        """Return how far the bound over what rows keep is below their evidence, nats a row."""

    def begin_beside(self, components: npt.NDArray[np.intp], hosts: npt.NDArray[np.intp]) -> None:
        """Let components begin anew beside hosts: the rows of these will try them."""


class LoopingRunner(RowRunner, Protocol):
    """A runner that may run whole loops in its backend, see :mod:`vbfast.inference.ahead`."""

    def choose_seeds(
        self, n_clusters: int, *, n_trials: int, quantiles: Float64Array
    ) -> tuple[npt.NDArray[np.intp], float] | None:
        """Choose first centres of k-means; None if the loop is not the backend's."""

    def move_centres(
        self,
        centres: Float64Array,
        unit: float,
        *,
        tolerance: float,
        max_iterations: int,
        bounds: Any,
    ) -> MovedCentres | None:
        """Make some of Lloyd's iterations; None likewise."""

    def iterate_gaussians(
        self,
        steps: Steps,
        settling: Settling,
        *,
        most: int,
        bounds: list[float],
        previous: PassResult | None,
    ) -> Iterated | None:
        """Make some iterations of a Gaussian mixture; None likewise."""


def may_loop(runner: Runner) -> TypeGuard[LoopingRunner]:
    """Return whether a runner is a :class:`LoopingRunner`."""
    return _has_loops(type(runner))


@cache  # to look for the members takes as long as a small pass
def _has_loops(kind: type) -> bool:
    names = ("choose_seeds", "move_centres", "iterate_gaussians")
    return all(hasattr(kind, name) for name in names)


def searches(runner: Runner) -> TypeGuard[SearchingRunner]:
    """Return whether a runner is a :class:`SearchingRunner`."""
    return _has_searches(type(runner))


@cache
def _has_searches(kind: type) -> bool:
    names = ("begin_anew", "memory", "remember", "search", "reseed", "bound_gap", "begin_beside")
    return all(hasattr(kind, name) for name in names)
