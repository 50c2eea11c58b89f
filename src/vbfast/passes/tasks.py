"""What is asked of the rows of a chunk: values that pickle, and are called with its runner."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
import numpy.typing as npt

from vbfast.contract import (
    Float64Array,
    FloatArray,
    LogJoint,
    Moments,
    PassResult,
    Request,
    RowOutputs,
    RowSource,
)

__all__ = ["Filled", "Largest", "MomentsAgain", "RowsRunner", "Seeding", "Sums"]


class RowsRunner(Protocol):
    """What tasks need of a runner over the rows that they are asked of."""

    @property
    def source(self) -> RowSource:
        """The rows."""

    @property
    def n_samples(self) -> int:
        """Number of rows."""

    @property
    def n_features(self) -> int:
        """Number of columns."""

    @property
    def dtype(self) -> np.dtype[Any]:
        """Dtype of the computation."""

    def run(
        self,
        log_joint: LogJoint,
        request: Request,
        *,
        resp: Any = None,
        outputs: RowOutputs | None = None,
        blocking_components: int | None = None,
    ) -> PassResult:
        """Visit every row once."""

    def moments_again(self, log_joint: LogJoint, centred: LogJoint, moments: Moments) -> PassResult:
        """Return the moments about other centres, of a log-joint's responsibilities."""

    def seed(
        self,
        candidates: Float64Array,
        closest: FloatArray,
        *,
        lowered: FloatArray | None = None,
    ) -> Float64Array:
        """Weigh candidates for a centre."""

    def largest(self) -> tuple[float, int]:
        """Return the largest number of rows of positive weight, and the first row with it."""


@dataclass(frozen=True)
class Sums:
    """The sums of a pass."""

    log_joint: LogJoint
    request: Request
    blocking_components: int | None = None

    def __call__(self, runner: RowsRunner, resp: Any = None) -> PassResult:
        """Run it; ``resp`` is that of these rows."""
        return runner.run(
            self.log_joint,
            self.request,
            resp=resp,
            blocking_components=self.blocking_components,
        )


@dataclass(frozen=True)
class MomentsAgain:
    """The moments about other centres, of a log-joint's responsibilities."""

    log_joint: LogJoint
    centred: LogJoint
    moments: Moments

    def __call__(self, runner: RowsRunner) -> PassResult:
        """Take them."""
        return runner.moments_again(self.log_joint, self.centred, self.moments)


@dataclass(frozen=True)
class Filled:
    """A pass that fills arrays, which come back with its sums."""

    log_joint: LogJoint
    request: Request
    names: tuple[str, ...]

    def __call__(
        self, runner: RowsRunner, resp: Any = None
    ) -> tuple[PassResult, dict[str, npt.NDArray[Any]]]:
        """Run it; ``resp`` is that of these rows."""
        arrays = {name: self._array(name, runner) for name in self.names}
        sums = runner.run(self.log_joint, self.request, resp=resp, outputs=RowOutputs(**arrays))
        return sums, arrays

    def _array(self, name: str, runner: RowsRunner) -> npt.NDArray[Any]:
        if name == "labels":
            return np.empty(runner.n_samples, np.int64)
        length = {
            "resp": (self.log_joint.n_components,),
            "log_joint": (self.log_joint.n_components,),
            "gradient": (runner.n_features,),
        }.get(name, ())
        return np.empty((runner.n_samples, *length), runner.dtype)


@dataclass(frozen=True)
class Seeding:
    """A pass of k-means++ seeding, with what the distances are lowered to where that is kept."""

    candidates: Float64Array
    keep: bool

    def __call__(
        self, runner: RowsRunner, closest: FloatArray
    ) -> tuple[Float64Array, FloatArray | None]:
        """Run it; ``closest`` is that of these rows."""
        lowered = None
        if self.keep:
            lowered = np.empty((len(self.candidates), runner.n_samples), runner.dtype)
        return runner.seed(self.candidates, closest, lowered=lowered), lowered


@dataclass(frozen=True)
class Largest:
    """The largest number of rows of positive weight, and the first row with it."""

    def __call__(self, runner: RowsRunner) -> tuple[float, int]:
        """Look for it."""
        return runner.largest()
