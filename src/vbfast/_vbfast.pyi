"""Stubs of the extension module."""

from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

_Float64 = npt.NDArray[np.float64]

def build_info() -> dict[str, Any]: ...
def get_num_threads() -> int: ...
def set_num_threads(num_threads: int) -> None: ...
def available_threads() -> int: ...
def precision_cholesky(covariances: _Float64, num_threads: int) -> tuple[_Float64, int]: ...
def ratio_norms(factors: _Float64, denominators: _Float64, num_threads: int) -> _Float64: ...
def squares(factors: _Float64, num_threads: int) -> _Float64: ...
def subtract_symmetric(
    matrices: _Float64, a: _Float64, b: _Float64, num_threads: int
) -> _Float64: ...
def average_moved(
    matrices: _Float64,
    a: _Float64,
    b: _Float64,
    kept: float,
    others: _Float64,
    taken: float,
    num_threads: int,
) -> _Float64: ...
def matrix_gradients(
    weight: _Float64,
    first: _Float64,
    second: _Float64,
    factors: _Float64,
    num_threads: int,
) -> tuple[_Float64, _Float64, _Float64]: ...
def draw_rows(
    rows: _Float64,
    counts: npt.NDArray[np.int64],
    factors: _Float64,
    means: _Float64,
    num_threads: int,
) -> None: ...
def log1p_less_argument(x: npt.ArrayLike) -> Any: ...
def itakura_saito(x: npt.ArrayLike, y: npt.ArrayLike, step: npt.ArrayLike) -> Any: ...
def log_ratio(x: npt.ArrayLike, step: npt.ArrayLike) -> Any: ...
def digamma_less_log(x: npt.ArrayLike) -> Any: ...
def log_gamma_increment(x: npt.ArrayLike, step: npt.ArrayLike) -> Any: ...
def log_gamma_divergence(x: npt.ArrayLike, step: npt.ArrayLike) -> Any: ...
def dirichlet_expected_log(concentration: _Float64) -> _Float64: ...
def dirichlet_log_evidence(prior_concentration: float, counts: _Float64) -> float: ...
def stick_expected_log(taken: _Float64, left: _Float64) -> _Float64: ...
def stick_log_evidence(gamma: float, rows: _Float64, later: _Float64) -> float: ...
def normal_wishart_posterior(
    covariance_type: str,
    prior_mean_precision: float,
    prior_mean: _Float64,
    prior_degrees_of_freedom: float,
    prior_covariance: _Float64,
    centres: _Float64,
    weight: _Float64,
    mass: _Float64,
    first: _Float64,
    second: _Float64,
    variance: float,
    least_count: float,
    num_threads: int,
) -> tuple[_Float64, _Float64, _Float64, _Float64, _Float64, int]: ...
def normal_wishart_divergence(
    covariance_type: str,
    q: tuple[_Float64, _Float64, _Float64, _Float64],
    r: tuple[_Float64, _Float64, _Float64, _Float64],
    num_threads: int,
) -> _Float64: ...
def expected_log_density(
    covariance_type: str, q: tuple[_Float64, _Float64, _Float64, _Float64], num_threads: int
) -> _Float64: ...
def expected_log_det(
    covariance_type: str,
    n_features: int,
    degrees_of_freedom: _Float64,
    factor: _Float64,
    num_threads: int,
) -> _Float64: ...
def gaussian_moments(
    covariance_type: str,
    centres: _Float64,
    weight: _Float64,
    mass: _Float64,
    first: _Float64,
    second: _Float64,
    variance: float,
    least_count: float,
    empty: float,
    previous_means: _Float64 | None,
    previous_covariances: _Float64 | None,
    num_threads: int,
) -> tuple[_Float64, _Float64, _Float64]: ...
def gaussian_offsets(
    covariance_type: str, weights: _Float64, factor: _Float64, n_features: int
) -> _Float64: ...
def second_moments_cancel(
    factor_type: str,
    offset: _Float64,
    centres: _Float64,
    factor: _Float64,
    second_type: str,
    weight: _Float64,
    first: _Float64,
    second: _Float64,
    floor: _Float64,
    tolerated: float,
    reach: float,
) -> bool: ...

C_API_VERSION: int
C_FUNCTIONS: dict[str, dict[str, int]]
_C_API: object

REDUCTIONS: dict[str, int]
MAPPINGS: dict[str, int]
RESULTS: dict[str, int]
SUM_TOLERANCES: dict[str, float]

def reduced_axes(n_dimensions: int, axis: object) -> tuple[int, ...]: ...
def check_out(out: object, shape: tuple[int, ...], dtype: np.dtype[Any], name: str) -> None: ...
def apart(array: npt.NDArray[Any], out: npt.NDArray[Any]) -> npt.NDArray[Any]: ...
def ready_operands(
    log_joint: object, q: object
) -> tuple[npt.NDArray[Any], npt.NDArray[Any] | None] | None: ...
def check_weights(weights: npt.NDArray[np.float64], joint: npt.NDArray[Any]) -> bool: ...
def apart_from_gradients(
    joint: npt.NDArray[Any],
    q_logits: npt.NDArray[Any] | None,
    weights: npt.NDArray[Any] | None,
    in_logits: object,
    in_joint: object,
) -> tuple[npt.NDArray[Any], npt.NDArray[Any] | None, npt.NDArray[Any] | None]: ...
def reduce_array(
    reduction: int,
    x: npt.NDArray[Any],
    y: npt.NDArray[Any] | None,
    axis: int | tuple[int, ...] | None,
    keepdims: bool,
    which: tuple[int, ...],
    names: tuple[str, ...],
    tolerances: tuple[float, ...],
    out: npt.NDArray[Any] | None,
    num_threads: int,
) -> Any: ...
def map_array(
    mapping: int,
    x: npt.NDArray[Any],
    axis: int | tuple[int, ...] | None,
    out: npt.NDArray[Any] | None,
    num_threads: int,
) -> npt.NDArray[Any]: ...
def bound_terms(
    log_joint: npt.NDArray[Any],
    q: npt.NDArray[Any] | None,
    is_logits: bool,
    tolerance: float | None,
    weight: npt.NDArray[np.float64] | None,
    per_sample: bool,
    num_threads: int,
) -> tuple[Any, Any, Any, Any, Any]: ...
def bound_and_gradients(
    log_joint: npt.NDArray[Any],
    q: npt.NDArray[Any] | None,
    is_logits: bool,
    tolerance: float | None,
    weight: npt.NDArray[np.float64] | None,
    per_sample: bool,
    out: tuple[npt.NDArray[Any], npt.NDArray[Any]] | None,
    num_threads: int,
) -> tuple[tuple[Any, Any, Any, Any, Any], tuple[npt.NDArray[Any], npt.NDArray[Any]]]: ...

class Workspace:
    def __init__(self) -> None: ...

class NearestBounds:
    met: float
    def __init__(self, n_rows: int) -> None: ...

class EStep:
    def __init__(
        self,
        form: str,
        offset: _Float64,
        means: _Float64,
        coefficients: _Float64,
        assignment: str,
        moments: str,
        entropy: bool,
        single_precision: bool,
        partition_bounds: Sequence[int],
        tile_rows: int,
        split_components: bool,
        open_partitions: int,
        outputs: tuple[Any, ...],
        workspace: Workspace,
        num_threads: int,
        bounds: NearestBounds | None = None,
    ) -> None: ...
    def run(self, blocks: list[tuple[Any, ...]], num_threads: int) -> int: ...
    def sums(self) -> tuple[float, float, float, float, float, float]: ...
    def statistics(self, num_threads: int) -> tuple[_Float64, _Float64, _Float64 | None]: ...

class TruncatedPass:
    def __init__(
        self,
        form: str,
        offset: _Float64,
        centres: _Float64,
        coefficients: _Float64,
        assignment: str,
        moments: str,
        entropy: bool,
        single_precision: bool,
        n_kept: int,
        neighbors: npt.NDArray[np.int32] | None,
        n_neighbors: int,
        candidates: npt.NDArray[np.int32] | None,
        cells: tuple[npt.NDArray[np.int64], npt.NDArray[np.int32]] | None,
        n_random: int,
        key: int,
        learn: bool,
        about: _Float64 | None,
        workspace: Workspace,
        num_threads: int,
    ) -> None: ...
    def run(
        self,
        start: int,
        rows: npt.NDArray[Any],
        weights: _Float64 | None,
        kept: npt.NDArray[np.int32],
        log_evidence: npt.NDArray[Any] | None,
        resp: npt.NDArray[Any] | None,
        num_threads: int,
    ) -> int: ...
    def sums(self) -> tuple[float, float, float, float, float]: ...
    def statistics(self, num_threads: int) -> tuple[_Float64, _Float64, _Float64 | None]: ...
    def learned(
        self,
    ) -> tuple[npt.NDArray[np.int32], npt.NDArray[np.int64], npt.NDArray[np.float64]]: ...

class LoopedRows:
    def __init__(
        self,
        blocks: list[tuple[Any, ...]],
        n_features: int,
        single_precision: bool,
        assignment: str,
        moments: str | None,
        partition_bounds: Sequence[int],
        tile_rows: int,
        split_components: bool,
        open_partitions: int,
        workspace: Workspace,
    ) -> None: ...

def move_centres(
    rows: LoopedRows,
    centres: _Float64,
    precision: float,
    tolerance: float,
    max_iterations: int,
    bounds: NearestBounds | None,
    num_threads: int,
) -> tuple[_Float64, int, bool, bool, int]: ...
def choose_seeds(
    for_one: LoopedRows,
    for_trials: LoopedRows,
    n_centres: int,
    n_trials: int,
    quantiles: _Float64,
    num_threads: int,
) -> tuple[npt.NDArray[np.int64], float, int]: ...

class GaussianStep: ...

class LikelihoodStep(GaussianStep):
    def __init__(
        self,
        covariance_type: str,
        parameters: tuple[_Float64, ...],
        variance: float,
        least_count: float,
        empty: float,
    ) -> None: ...
    def parameters(self) -> tuple[_Float64, _Float64, _Float64, _Float64, _Float64]: ...

class VariationalStep(GaussianStep):
    def __init__(
        self,
        covariance_type: str,
        prior: tuple[Any, ...],
        posterior: tuple[_Float64, ...],
        variance: float,
        least_count: float,
    ) -> None: ...
    def posterior(
        self,
    ) -> tuple[_Float64, _Float64, _Float64, _Float64, _Float64, _Float64, _Float64, _Float64]: ...

def iterate_gaussians(
    rows: LoopedRows,
    step: GaussianStep,
    settling: tuple[float, float, float, float],
    ordinary: tuple[float, float, float],
    most: int,
    lowest_log_evidence: float,
    bounds: list[float],
    num_threads: int,
) -> tuple[list[float], bool, bool, tuple[float, float, float, float, float, float]]: ...

class Seeding:
    def __init__(
        self,
        candidates: _Float64,
        single_precision: bool,
        partition_bounds: Sequence[int],
        tile_rows: int,
    ) -> None: ...
    def run(self, blocks: list[tuple[Any, ...]], num_threads: int) -> int: ...
    def potentials(self) -> _Float64: ...
