"""Passes over the rows of this machine, and the runner that goes with other rows."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import numpy.typing as npt

from vbfast.backends import backend_for
from vbfast.config.settings import current_num_threads
from vbfast.contract import (
    Backend,
    Float64Array,
    FloatArray,
    LogJoint,
    Moments,
    NonFiniteRowError,
    PassResult,
    Request,
    RowOutputs,
    RowSource,
    Search,
    TruncatedPass,
    offers_bounds,
    offers_truncation,
)
from vbfast.passes.array_rows import ArrayRows, DoubleRows
from vbfast.passes.base_runner import BaseRunner, BringsRunner
from vbfast.passes.looping import Looping
from vbfast.passes.one_pass import Layouts, run_pass, run_seeding
from vbfast.passes.responsibilities import RespSource
from vbfast.passes.sections import SectionRows
from vbfast.passes.tasks import RowsRunner

__all__ = ["LocalRunner", "runner_over"]

# Rows read at a time to find one.
SEARCHED_ROWS = 1 << 14


class LocalRunner(Looping, BaseRunner):
    """Runs passes over rows in memory, or read from this machine's disks.

    Parameters
    ----------
    source : RowSource
    sample_weight : ndarray of shape (n_samples,), float64, optional
        From :func:`vbfast.inputs.weights.as_sample_weight`.
    backend : str, optional
        By default the one in use when the runner is made.
    workspaces : dict, optional
        Memory that other runners have used, by the name of the backend: none of them runs a pass
        meanwhile.
    first_row : int, optional
        The place of the first row among all, by which errors name a row.

    Attributes
    ----------
    source : RowSource
        The rows, where the backend keeps them.
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
        workspaces: dict[str, Any] | None = None,
        first_row: int = 0,
    ) -> None:
        super().__init__(source, sample_weight, backend=backend)
        self.source = self._backend.adopt(source)
        self._first_row = first_row
        self._workspaces = {} if workspaces is None else workspaces
        self._layouts: dict[str, Layouts] = {}

    @property
    def workspaces(self) -> dict[str, Any]:
        """Memory that passes use again, by the name of the backend."""
        return self._workspaces

    @property
    def first_row(self) -> int:
        """The place of the first row among all, by which errors name a row."""
        return self._first_row

    def weighted(self, sample_weight: Float64Array | None) -> LocalRunner:
        """Return a runner over the same rows with other weights, in the same memory."""
        return LocalRunner(
            self.source,
            sample_weight,
            backend=self._backend.name,
            workspaces=self._workspaces,
            first_row=self._first_row,
        )

    def in_float64(self) -> LocalRunner:
        """Return a runner over the same rows that computes in float64."""
        if self.dtype == np.float64:
            return self
        return LocalRunner(
            DoubleRows(self.source),
            self.sample_weight,
            backend=self._backend.name,
            first_row=self._first_row,
        )

    def in_memory(self) -> LocalRunner:
        """Return this runner: its rows may be read as often as one likes."""
        return self

    def only(self, indices: npt.NDArray[np.intp]) -> LocalRunner:
        """Return a runner over copies of some rows, each of weight one."""
        return LocalRunner(ArrayRows(self._take(indices)), backend=self._backend.name)

    def run(
        self,
        log_joint: LogJoint,
        request: Request,
        *,
        resp: Any = None,
        outputs: RowOutputs | None = None,
        bounds: Any = None,
        blocking_components: int | None = None,
    ) -> PassResult:
        """Visit every row once, see :func:`vbfast.passes.one_pass.run_pass`."""
        backend = backend_for(log_joint, self._backend.name)
        if backend is not self._backend and getattr(self.source, "backend", None) is not None:
            raise NotImplementedError(
                f"rows that the backend {self._backend.name!r} alone can read need a model that it "
                f"evaluates: copy X to the host"
            )
        try:
            return run_pass(
                self.source,
                log_joint,
                request,
                sample_weight=self.sample_weight,
                resp=resp,
                outputs=outputs,
                backend=backend,
                workspace=self._workspace(backend),
                bounds=bounds,
                blocking_components=blocking_components,
                layouts=self._layouts.setdefault(backend.name, {}),
            )
        except NonFiniteRowError as error:
            raise NonFiniteRowError(self._first_row + error.row) from None

    def _sum(self, task: Callable[[RowsRunner], PassResult]) -> PassResult:
        return task(self)

    def nearest_bounds(self) -> Any:
        """Return bounds for 'hard' passes over these rows; None where the backend has none.

        They are the memory of a loop from pass to pass, see
        :class:`vbfast.contract.BoundingBackend`. Runners of other weights may use the same.
        """
        backend = self._backend
        return backend.nearest_bounds(self.n_samples) if offers_bounds(backend) else None

    def _workspace(self, backend: Backend) -> Any:
        if backend.name not in self._workspaces:
            self._workspaces[backend.name] = backend.workspace()
        return self._workspaces[backend.name]

    def begin_truncated(
        self,
        log_joint: LogJoint,
        request: Request,
        search: Search,
        *,
        about: Float64Array | None = None,
    ) -> TruncatedPass:
        """Start a truncated pass, see :class:`vbfast.contract.TruncatingBackend`."""
        backend = self._backend
        workspace = self._workspace(backend)
        assert offers_truncation(backend)
        return backend.begin_truncated(
            log_joint,
            request,
            search,
            dtype=self.dtype,
            workspace=workspace,
            num_threads=current_num_threads(),
            about=about,
        )

    def moments_again(self, log_joint: LogJoint, centred: LogJoint, moments: Moments) -> PassResult:
        """Return the moments about other centres, of a log-joint's responsibilities.

        Parameters
        ----------
        log_joint : LogJoint
        centred : LogJoint
            Of the centres.
        moments : the moments that are taken
        """
        resp = PosteriorResponsibilities(self, log_joint)
        return self.run(centred, Request("given", moments), resp=resp)

    def largest_row(self) -> int:
        """Return the first row of positive weight that has the largest number in it."""
        return self.largest()[1]

    def largest(self) -> tuple[float, int]:
        """Return the largest number of rows of positive weight, and the first row with it.

        Without such rows the number is -1.
        """
        largest, row = -1.0, 0
        for start in range(0, self.n_samples, SEARCHED_ROWS):
            stop = min(start + SEARCHED_ROWS, self.n_samples)
            size = np.abs(self.source.block(start, stop)).max(axis=1)
            if self.sample_weight is not None:
                size[self.sample_weight[start:stop] == 0.0] = -1.0
            if size.max() > largest:
                largest, row = float(size.max()), start + int(np.argmax(size))
        return largest, self._first_row + row

    def seed(
        self,
        candidates: Float64Array,
        closest: FloatArray,
        *,
        lowered: FloatArray | None = None,
    ) -> Float64Array:
        """Weigh candidates for a centre, see :func:`vbfast.passes.one_pass.run_seeding`."""
        try:
            return run_seeding(
                self.source,
                candidates,
                closest,
                sample_weight=self.sample_weight,
                lowered=lowered,
                backend=self._backend,
                layouts=self._layouts.setdefault(self._backend.name, {}),
            )
        except NonFiniteRowError as error:
            raise NonFiniteRowError(self._first_row + error.row) from None

    def parts(self, n_rows: int) -> Iterator[tuple[slice, LocalRunner]]:
        """Yield runners over consecutive rows, read once and kept in memory meanwhile.

        Parameters
        ----------
        n_rows : int
            The most rows of a part.

        Yields
        ------
        rows : slice
        runner : LocalRunner
            Its errors name a row by its place among all.
        """
        for start in range(0, self.n_samples, n_rows):
            rows = slice(start, min(start + n_rows, self.n_samples))
            weight = None if self.sample_weight is None else self.sample_weight[rows]
            part = LocalRunner(
                ArrayRows(self.source.block(rows.start, rows.stop)),
                weight,
                backend=self._backend.name,
                workspaces=self._workspaces,
                first_row=self._first_row + start,
            )
            yield rows, part

    def section(self, rows: slice) -> LocalRunner:
        """Return a runner over consecutive rows, in the same memory, which reads as it goes.

        Parameters
        ----------
        rows : slice
        """
        weight = None if self.sample_weight is None else self.sample_weight[rows]
        return LocalRunner(
            SectionRows(self.source, rows.start, rows.stop),
            weight,
            backend=self._backend.name,
            workspaces=self._workspaces,
            first_row=self._first_row + rows.start,
        )


class PosteriorResponsibilities(RespSource):
    """The responsibilities of a log-joint, made block by block."""

    def __init__(self, runner: LocalRunner, log_joint: LogJoint) -> None:
        self._runner = runner
        self._log_joint = log_joint

    def block(self, start: int, stop: int) -> FloatArray:
        """Return the responsibilities of the rows ``start`` to ``stop``, C order."""
        runner = self._runner
        rows = ArrayRows(runner.source.block(start, stop))
        resp = np.empty((stop - start, self._log_joint.n_components), dtype=rows.dtype)
        part = LocalRunner(rows, backend=runner._backend.name)
        part.run(self._log_joint, Request(), outputs=RowOutputs(resp=resp))
        return resp


def runner_over(
    source: RowSource,
    sample_weight: Float64Array | None = None,
    *,
    workspaces: dict[str, Any] | None = None,
) -> BaseRunner:
    """Return the runner of passes over some rows: the one that they bring, or this machine's.

    Parameters
    ----------
    source : RowSource
        A :class:`~vbfast.passes.base_runner.BringsRunner` where rows are not to be had in any
        order.
    sample_weight : ndarray of shape (n_samples,), float64, optional
        From :func:`vbfast.inputs.weights.as_sample_weight`.
    workspaces : dict, optional
        For this machine's, see :class:`LocalRunner`.
    """
    if isinstance(source, BringsRunner):
        return source.runner(sample_weight)
    return LocalRunner(source, sample_weight, workspaces=workspaces)
