"""What runners of passes share, wherever their rows are: iterations, and questions about the rows.

A pass is a sum over the rows. How it is made of the sums of their parts is each runner's own.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator
from dataclasses import replace
from typing import Any

import numpy as np
import numpy.typing as npt

from vbfast.backends import get_backend
from vbfast.config.settings import current_backend, current_num_threads
from vbfast.contract import (
    Float64Array,
    FloatArray,
    LinearAlgebra,
    LogJoint,
    Moments,
    PassResult,
    Quadratic,
    Request,
    RowOutputs,
    RowSource,
    Statistics,
)
from vbfast.passes.distances import squared_distances
from vbfast.passes.negligible import MARGIN, negligible_components
from vbfast.passes.recentring import second_moments_cancel, way_to_the_means
from vbfast.passes.tasks import MomentsAgain, RowsRunner, Sums

__all__ = ["BaseRunner", "BringsRunner"]

# How many variances the square of a mean may be, measured from where moments are taken about.
FAR = 100.0


class BaseRunner(ABC):
    """Base class of runners of passes.

    Parameters
    ----------
    source : RowSource
    sample_weight : ndarray of shape (n_samples,), float64, optional
        From :func:`vbfast.inputs.weights.as_sample_weight`.
    backend : str, optional
        By default the one that the source is for, or the one in use when the runner is made.

    Attributes
    ----------
    source : RowSource
    sample_weight : ndarray of shape (n_samples,), float64, or None
    n_passes : int
        How many passes :meth:`iterate` has made.
    """

    def __init__(
        self,
        source: RowSource,
        sample_weight: Float64Array | None = None,
        *,
        backend: str | None = None,
    ) -> None:
        # Rows that are on a device, say, are read there alone.
        own = getattr(source, "backend", None)
        self._backend = get_backend(backend or own or current_backend())
        self.source = source
        self.sample_weight = sample_weight
        self.n_passes = 0
        self._first_row = 0  # the place of the first row among all, by which errors name a row

    @property
    def n_samples(self) -> int:
        """Number of rows."""
        return self.source.n_samples

    @property
    def n_features(self) -> int:
        """Number of columns."""
        return self.source.n_features

    @property
    def dtype(self) -> np.dtype[Any]:
        """Dtype of the computation, float32 or float64."""
        return self.source.dtype

    @property
    def backend_name(self) -> str:
        """The backend that passes run on."""
        return self._backend.name

    @property
    def total_weight(self) -> float:
        """Sum of the rows' weights."""
        return float(self.n_samples if self.sample_weight is None else self.sample_weight.sum())

    @property
    def linalg(self) -> LinearAlgebra:
        """The linear algebra of the backend that passes run on."""
        return self._backend.linalg(current_num_threads())

    @abstractmethod
    def weighted(self, sample_weight: Float64Array | None) -> BaseRunner:
        """Return a runner over the same rows with other weights."""

    @abstractmethod
    def in_float64(self) -> BaseRunner:
        """Return a runner over the same rows that computes in float64."""

    @abstractmethod
    def in_memory(self) -> BaseRunner:
        """Return a runner over the same rows for many passes: over copies, where there are few."""

    @abstractmethod
    def only(self, indices: npt.NDArray[np.intp]) -> BaseRunner:
        """Return a runner over copies of some rows, each of weight one."""

    @abstractmethod
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

    @abstractmethod
    def _sum(self, task: Callable[[RowsRunner], PassResult]) -> PassResult:
        """Return the sums of a task over all rows."""

    @abstractmethod
    def nearest_bounds(self) -> Any:
        """Return bounds for 'hard' passes over these rows; None where there are none."""

    @abstractmethod
    def seed(
        self,
        candidates: Float64Array,
        closest: FloatArray,
        *,
        lowered: FloatArray | None = None,
    ) -> Float64Array:
        """Weigh candidates for a centre, see :func:`vbfast.passes.one_pass.run_seeding`."""

    @abstractmethod
    def largest_row(self) -> int:
        """Return the first row of positive weight that has the largest number in it."""

    @abstractmethod
    def parts(self, n_rows: int) -> Iterator[tuple[slice, BaseRunner]]:
        """Yield runners over consecutive rows, read once and kept in memory meanwhile.

        Parameters
        ----------
        n_rows : int
            The most rows of a part.

        Yields
        ------
        rows : slice
        runner : BaseRunner
            Its errors name a row by its place among all.
        """

    def iterate(
        self,
        log_joint: LogJoint,
        request: Request,
        *,
        previous: PassResult | None = None,
        scatter_floor: Callable[[Float64Array], Float64Array] | None = None,
    ) -> PassResult:
        """Make the pass of an iteration, with statistics for a global step.

        Components that no row can notice are left out. The evidence of a pass is known after it.
        So the pass goes by the lowest evidence of the one before it, with a margin, and is repeated
        with every component should its own evidence not bear that out. Second moments that have
        cancelled are taken again, about the new means, in one more pass.

        Parameters
        ----------
        log_joint : LogJoint
        request : Request
            Of a 'posterior' pass with moments.
        previous : PassResult, optional
            Of a pass with similar parameters.
        scatter_floor : callable, optional
            Of the components' weights ``N_k``: what the global step adds to sums of squares about
            the components' means, so that smaller errors do not matter. Without it second moments
            are taken as they come.

        Returns
        -------
        PassResult
            Of all components: the statistics of a negligible one are zero.
        """
        self.n_passes += 1
        lowest = -np.inf if previous is None else previous.lowest_log_evidence
        result = self._without_negligible(log_joint, request, lowest)
        about = self._where_to_take_moments_again(log_joint, result.statistics, scatter_floor)
        if about is None:
            return result
        self.n_passes += 1
        centred, moments = squared_distances(about), request.moments
        assert moments is not None
        again = self._sum(MomentsAgain(log_joint, centred, moments))
        return replace(result, statistics=again.statistics)

    def _where_to_take_moments_again(
        self,
        log_joint: LogJoint,
        statistics: Statistics | None,
        scatter_floor: Callable[[Float64Array], Float64Array] | None,
    ) -> Float64Array | None:
        """Return the means that statistics lead to, if their second moments have cancelled."""
        if scatter_floor is None or not isinstance(log_joint.form, Quadratic):
            return None
        assert statistics is not None
        if statistics.second is None or not second_moments_cancel(
            log_joint.form,
            log_joint.offset,
            statistics,
            self.dtype,
            scatter_floor(statistics.weight),
            self.linalg,
        ):
            return None
        return statistics.centres + way_to_the_means(statistics)

    def _without_negligible(
        self, log_joint: LogJoint, request: Request, lowest_log_evidence: float
    ) -> PassResult:
        negligible = negligible_components(log_joint, lowest_log_evidence, margin=MARGIN)
        if np.logical_or.reduce(negligible) and not negligible.all():
            noticed = log_joint.select(~negligible)
            result = self._sum(Sums(noticed, request, log_joint.n_components))
            seen = negligible_components(log_joint, result.lowest_log_evidence)
            if np.all(seen[negligible]):
                statistics = result.statistics
                if statistics is not None:
                    statistics = statistics.among(~negligible, log_joint.form.centres)
                return replace(result, statistics=statistics)
        return self._sum(Sums(log_joint, request))

    def impossible_row(self, log_joint: LogJoint) -> int:
        """Return the first row of positive weight whose log evidence is ``-inf``."""
        log_evidence = np.empty(self.n_samples, self.dtype)
        self.run(log_joint, Request(), outputs=RowOutputs(log_evidence=log_evidence))
        impossible = log_evidence == -np.inf
        if self.sample_weight is not None:
            impossible &= self.sample_weight > 0.0
        return self._first_row + int(np.argmax(impossible))

    def best_components(self, log_joint: LogJoint) -> tuple[npt.NDArray[Any], FloatArray]:
        """Return the best component of each row, and its log-evidence.

        Parameters
        ----------
        log_joint : LogJoint

        Returns
        -------
        best : ndarray of shape (n_samples,), int
        log_evidence : ndarray of shape (n_samples,), dtype of the rows
        """
        self.n_passes += 1
        labels = np.empty(self.n_samples, np.int64)
        log_evidence = np.empty(self.n_samples, self.dtype)
        outputs = RowOutputs(log_evidence=log_evidence, labels=labels)
        self.run(log_joint, Request(), outputs=outputs)
        return labels, log_evidence

    def section(self, rows: slice) -> BaseRunner:
        """Return a runner over consecutive rows, which reads as it goes.

        Parameters
        ----------
        rows : slice

        Raises
        ------
        ValueError
            If rows cannot be read from the middle.
        """
        raise ValueError(
            f"batches of rows {rows.start} to {rows.stop} need rows that can be read from the "
            "middle: X yields its chunks from the first to the last. Use batch_size=None, "
            "partial_fit, or an array, file or list of them"
        )

    def first_weighted_row(self) -> FloatArray:
        """Return a copy of the first row of positive weight, shape (n_features,)."""
        weights = self.sample_weight
        row = 0 if weights is None else int(np.argmax(weights > 0.0))
        return np.asarray(self._take(np.array([row]))[0])

    def gather(self, indices: npt.NDArray[np.intp]) -> Float64Array:
        """Return copies of a few rows in float64, in the order of ``indices``."""
        return self._take(indices).astype(np.float64)

    def _take(self, indices: npt.NDArray[np.intp]) -> FloatArray:
        """Return copies of a few rows of a source, which may be anybody's."""
        rows, shape = self.source.take(indices), (len(indices), self.n_features)
        if (rows.shape, rows.dtype) != (shape, self.dtype):
            raise ValueError(
                f"X.take of {len(indices)} rows should have shape {shape} and dtype {self.dtype}; "
                f"got {rows.shape} and {rows.dtype}"
            )
        return rows

    def moments_about(self, centre: Float64Array, moments: Moments) -> Statistics:
        """Return the statistics of all rows as one component, about a point.

        Parameters
        ----------
        centre : ndarray of shape (n_features,)
        moments : {'first', 'diag', 'spherical', 'pooled', 'full'}

        Returns
        -------
        Statistics
            Of one component.

        Raises
        ------
        NonFiniteRowError
            If a row is not finite; the first such row.
        """
        one = LogJoint.quadratic("spherical", np.zeros(1), centre[np.newaxis], np.ones(1))
        result = self.run(one, Request("hard", moments))
        assert result.statistics is not None
        return result.statistics

    @np.errstate(over="ignore", invalid="ignore")  # a variance may be too large for a float64
    def column_moments(self) -> tuple[Float64Array, Float64Array]:
        """Return the weighted mean and variance of each column.

        Moments are taken about the first row, so that a mean far from zero costs no digits, and
        once more about the mean where the first row is so far from the others that they lost some.

        Returns
        -------
        mean, variance : ndarray of shape (n_features,), float64

        Raises
        ------
        NonFiniteRowError
            If a row is not finite; the first such row.
        """
        first_row = self.gather(np.array([0]))[0]
        centre = np.where(np.isfinite(first_row), first_row, 0.0)
        for _ in range(2):
            statistics = self.moments_about(centre, "diag")
            assert statistics.second is not None
            step = statistics.first[0] / statistics.weight[0]
            variance = statistics.second[0] / statistics.weight[0] - step**2
            centre = centre + step
            if not np.any(step**2 > FAR * variance):
                break
        return centre, np.maximum(variance, 0.0)

    def log_joint_blocks(
        self, log_joint: LogJoint, n_rows: int
    ) -> Iterator[tuple[slice, FloatArray]]:
        """Yield blocks of consecutive rows and their log-joints.

        Parameters
        ----------
        log_joint : LogJoint
        n_rows : int
            The most rows of a block.

        Yields
        ------
        rows : slice
        log_joint : ndarray of shape (n_rows, n_components), dtype of the rows
            In memory that the next block is written to.

        Raises
        ------
        NonFiniteRowError
            If a row is not finite; the first such row.
        """
        shape = (min(self.n_samples, n_rows), log_joint.n_components)
        memory = np.empty(shape, self.dtype)
        for rows, part in self.parts(n_rows):
            block = memory[: part.n_samples]
            part.run(log_joint, Request(), outputs=RowOutputs(log_joint=block))
            yield rows, block


class BringsRunner(ABC):
    """Base class of row sources that bring the runner of passes over them."""

    @abstractmethod
    def runner(self, sample_weight: Float64Array | None) -> BaseRunner:
        """Return a runner over the rows with some weights."""
