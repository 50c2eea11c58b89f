"""Stubs of the extension module."""

from typing import Any

import numpy as np
import numpy.typing as npt

_Float64 = npt.NDArray[np.float64]

def build_info() -> dict[str, Any]: ...
def get_num_threads() -> int: ...
def set_num_threads(num_threads: int) -> None: ...
def available_threads() -> int: ...
def precision_cholesky(
    covariances: _Float64, num_threads: int
) -> tuple[_Float64, _Float64, int]: ...

class Workspace:
    def __init__(self) -> None: ...

class EStep:
    def __init__(
        self,
        covariance_type: str,
        offset: _Float64,
        means: _Float64,
        precision_cholesky: _Float64,
        assignment: str,
        statistics: str,
        entropy: bool,
        single_precision: bool,
        n_partitions: int,
        tile_rows: int,
        split_components: bool,
        outputs: tuple[Any, ...],
        workspace: Workspace,
        num_threads: int,
    ) -> None: ...
    def run(self, blocks: list[tuple[Any, ...]], num_threads: int) -> int: ...
    def sums(self) -> tuple[float, float, float, float, float]: ...
    def statistics(self, num_threads: int) -> tuple[_Float64, _Float64, _Float64 | None]: ...

class Seeding:
    def __init__(
        self,
        candidates: _Float64,
        single_precision: bool,
        n_partitions: int,
        tile_rows: int,
    ) -> None: ...
    def run(self, blocks: list[tuple[Any, ...]], num_threads: int) -> int: ...
    def potentials(self) -> _Float64: ...
