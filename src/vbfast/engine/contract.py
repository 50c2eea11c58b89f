"""The E-step contract: what a pass over the rows is given and what it returns.

A *pass* visits every row once. For row ``n`` and component ``k`` it evaluates the log-joint

    l_nk = offset_k - 1/2 || (x_n - mu_k) P_k ||^2

with ``P_k`` the precision Cholesky factor, forms the responsibilities ``q_nk`` (local step), and
adds up the sufficient statistics (summary step). Maximum-likelihood and variational mixtures differ
only in ``offset`` and in the scale of ``P_k``: an expected log-joint is a log-joint with other
constants (Bishop 2006, eq. 10.46 and 10.64-10.65).

Nothing here computes; the backends do (:mod:`vbfast.backends`), and :mod:`vbfast.engine.engine`
drives them over the row blocks that :mod:`vbfast.engine.plan` fixes.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar, Literal, Protocol

import numpy as np
import numpy.typing as npt

FloatArray = npt.NDArray[np.floating[Any]]
Float64Array = npt.NDArray[np.float64]
CovarianceType = Literal["full", "tied", "diag", "spherical"]
StatisticsKind = Literal["full", "tied", "diag", "spherical", "means"]
Assignment = Literal["posterior", "hard", "given"]

# Backends may sum the moments of a component about a point away from its mean. This is the largest
# squared distance, in standard deviations of its narrowest direction; second moments lose this many
# epsilons.
NEAR_LIMIT = {np.dtype(np.float64): 1e6, np.dtype(np.float32): 1024.0}

COVARIANCE_TYPES: tuple[CovarianceType, ...] = ("full", "tied", "diag", "spherical")


def covariance_shape(
    covariance_type: CovarianceType, n_components: int, n_features: int
) -> tuple[int, ...]:
    """Return the shape that covariances, precisions and their factors have."""
    return {
        "full": (n_components, n_features, n_features),
        "tied": (n_features, n_features),
        "diag": (n_components, n_features),
        "spherical": (n_components,),
    }[covariance_type]


@dataclass(frozen=True)
class KernelParams:
    """Parameters of the log-joint ``l_nk = offset_k - 1/2 ||(x_n - means_k) P_k||^2``, all float64.

    Attributes
    ----------
    covariance_type : {'full', 'tied', 'diag', 'spherical'}
    offset : ndarray of shape (n_components,)
        Everything in the log-joint that does not depend on the row, in nats; ``-inf`` for a
        component of zero weight.
    means : ndarray of shape (n_components, n_features)
    precision_cholesky : ndarray
        Upper triangular ``P`` with ``P @ P.T`` the precision. Shape (K, D, D) for 'full', (D, D)
        for 'tied', (K, D) for 'diag' and (K,) for 'spherical'.
    """

    covariance_type: CovarianceType
    offset: Float64Array
    means: Float64Array
    precision_cholesky: Float64Array

    backend: ClassVar[str | None] = None

    def __post_init__(self) -> None:
        # Kernels go by these shapes.
        if self.means.ndim != 2 or 0 in self.means.shape:
            raise ValueError(
                "means must have shape (n_components, n_features), at least one of each; got "
                f"shape {self.means.shape}"
            )
        shapes = (self.offset.shape, self.precision_cholesky.shape)
        factors = covariance_shape(self.covariance_type, self.n_components, self.n_features)
        if shapes != ((self.n_components,), factors):
            raise ValueError(
                f"offset and precision_cholesky must have shapes {(self.n_components,)} and "
                f"{factors} for means of shape {self.means.shape} and covariance_type "
                f"{self.covariance_type!r}; got {shapes[0]} and {shapes[1]}"
            )

    @property
    def n_components(self) -> int:
        """Number of components."""
        return int(self.means.shape[0])

    @property
    def n_features(self) -> int:
        """Number of features."""
        return int(self.means.shape[1])

    @property
    def row_length(self) -> int:
        """Numbers of a row that a tile has to hold."""
        return self.n_features


@dataclass(frozen=True)
class CustomParams:
    """Parameters of the log-joint ``l_nk = offset_k + log_density(x_n, theta_k)``.

    A pass of statistics 'means' adds up ``sum_n w_n q_nk t(x_n)``, with ``t`` the sufficient
    statistics, as the first moments about zero.

    Attributes
    ----------
    log_density : callable, compiled by numba
        ``(x, theta) -> float``, of a row of shape (n_features,) and its dtype, and parameters of
        shape (n_parameters,), float64.
    sufficient_statistics : callable, compiled by numba
        ``(x, out)``: fills ``out`` of shape (n_statistics,), float64.
    n_features, n_statistics : int
    offset : ndarray of shape (n_components,), float64
        As in :class:`KernelParams`; where it is ``-inf`` no density is evaluated.
    theta : ndarray of shape (n_components, n_parameters), float64, C order, or None
        ``None`` leaves the density out: given responsibilities need none.
    """

    log_density: Callable[..., Any]
    sufficient_statistics: Callable[..., Any]
    n_features: int
    n_statistics: int
    offset: Float64Array
    theta: Float64Array | None

    backend: ClassVar[str | None] = "numba"

    def __post_init__(self) -> None:
        # Kernels go by these shapes.
        if self.offset.ndim != 1 or len(self.offset) == 0:
            raise ValueError(
                "offset must have shape (n_components,), at least one; got shape "
                f"{self.offset.shape}"
            )
        theta = self.theta
        if theta is not None and (theta.ndim != 2 or len(theta) != len(self.offset)):
            raise ValueError(
                f"theta must have shape (n_components, n_parameters) with n_components = "
                f"{len(self.offset)}; got shape {theta.shape}"
            )

    @property
    def n_components(self) -> int:
        """Number of components."""
        return len(self.offset)

    @property
    def row_length(self) -> int:
        """Numbers of a row that a tile has to hold."""
        return max(self.n_features, self.n_statistics)


# What a pass is run with. ``backend`` names the only backend that can, or is None.
PassParams = KernelParams | CustomParams


@dataclass(frozen=True)
class Request:
    """What a pass is asked for.

    Attributes
    ----------
    assignment : {'posterior', 'hard', 'given'}
        'posterior': ``q = softmax(l)``. 'hard': all mass on the first component of largest ``l``
        (k-means). 'given': ``q`` is read from :attr:`RowBlock.resp`.
    statistics : {'full', 'tied', 'diag', 'spherical', 'means'} or None
        Which second moments to add up; 'means' stops at the first moments.
    entropy : bool
        Whether the sums of entropy, expected log-joint and KL are wanted. Without it a 'posterior'
        pass returns the evidence alone. 'hard' and 'given' passes always return the expected
        log-joint.
    """

    assignment: Assignment = "posterior"
    statistics: StatisticsKind | None = None
    entropy: bool = False


@dataclass
class RowOutputs:
    """Arrays that a pass fills row by row; ``None`` where an output is not wanted.

    Attributes
    ----------
    log_evidence : ndarray of shape (n_samples,), dtype of the computation, optional
        ``log p(x_n) = logsumexp_k l_nk``.
    labels : ndarray of shape (n_samples,), int64, optional
        The first component of largest ``l_nk``, also where that overflows.
    resp : ndarray of shape (n_samples, n_components), dtype of the computation, C order, optional
        ``q_nk``, exact also where it is too small to matter for the statistics. A row that is so
        far from all components that every log-joint is ``-inf`` has the limit, all mass on the
        largest log-joint or shared by those that are equal to it, though it counts nowhere else;
        only where every offset is ``-inf`` it is zero.
    entropy : ndarray of shape (n_samples,), dtype of the computation, optional
        ``H[q_n]`` in nats.
    expected_log_joint : ndarray of shape (n_samples,), dtype of the computation, optional
        ``sum_k q_nk l_nk``.
    gradient : ndarray of shape (n_samples, n_features), dtype of the computation, C order, optional
        ``d log p(x_n) / d x_n = sum_k q_nk P_k P_k^T (mu_k - x_n)``, whatever the row's weight;
        zero where the evidence is ``-inf``. 'posterior' passes only.
    log_joint : ndarray of shape (n_samples, n_components), dtype of the computation, C order, \
optional
        ``l_nk``. 'posterior' passes only.
    """

    log_evidence: FloatArray | None = None
    labels: npt.NDArray[np.int64] | None = None
    resp: FloatArray | None = None
    entropy: FloatArray | None = None
    expected_log_joint: FloatArray | None = None
    gradient: FloatArray | None = None
    log_joint: FloatArray | None = None


@dataclass(frozen=True)
class RowBlock:
    """Consecutive rows of one partition, in memory.

    Attributes
    ----------
    partition : int
        The partial statistic that these rows are added to. A partition's blocks come in row order.
    start : int
        Index of the first row in the whole data, a multiple of ``plan.tile_rows`` from the start of
        the partition.
    rows : ndarray of shape (n_rows, n_features), any strides
        In the dtype of the computation, float32 or float64.
    weights : ndarray of shape (n_rows,), float64, C order, or None
        ``None`` means one each.
    resp : ndarray of shape (n_rows, n_components) in the dtype of the computation, C order,
        or of shape (n_rows,), int64, or None
        The given ``q``; as labels where one-dimensional, with -1 for a row without a component.
        In two dimensions such a row is all zeros.
    """

    partition: int
    start: int
    rows: FloatArray
    weights: Float64Array | None = None
    resp: FloatArray | npt.NDArray[np.int64] | None = None


@dataclass(frozen=True)
class Statistics:
    """Sufficient statistics about fixed centres, float64.

    With ``r = w_n q_nk`` and ``d = x_n - centres_k``:

    Attributes
    ----------
    kind : {'full', 'tied', 'diag', 'spherical', 'means'}
    centres : ndarray of shape (n_components, n_features)
    weight : ndarray of shape (n_components,)
        ``N_k = sum_n r``.
    first : ndarray of shape (n_components, n_features)
        ``sum_n r d``.
    second : ndarray or None
        'full': ``sum_n r d d^T``, shape (K, D, D), symmetric; 'tied': the same summed over k,
        shape (D, D); 'diag': ``sum_n r d^2``, shape (K, D); 'spherical': its mean over the
        features, shape (K,).
    """

    kind: StatisticsKind
    centres: Float64Array
    weight: Float64Array
    first: Float64Array
    second: Float64Array | None


@dataclass(frozen=True)
class PassResult:
    """Sums over all rows, weighted by ``w_n``; nats. A term that was not asked for is NaN.

    Attributes
    ----------
    total_weight : float
        ``sum_n w_n``.
    log_evidence, expected_log_joint, entropy, kl : float
        Weighted sums of the terms that :class:`vbfast.ElboTerms` names.
    statistics : Statistics or None
    lowest_log_evidence : float
        The least ``log p(x_n)`` of a row with positive weight, of a 'posterior' pass.
    """

    total_weight: float
    log_evidence: float
    expected_log_joint: float
    entropy: float
    kl: float
    statistics: Statistics | None
    lowest_log_evidence: float = math.nan

    def times_power_of_two(self, exponent: int) -> PassResult:
        """Return the sums of rows that weigh ``2 ** exponent`` times as much."""
        with np.errstate(over="ignore"):
            sums = {
                name: float(np.ldexp(getattr(self, name), exponent))
                for name in (
                    "total_weight",
                    "log_evidence",
                    "expected_log_joint",
                    "entropy",
                    "kl",
                )
            }
            statistics = None
            if self.statistics is not None:
                weight, first, second = (
                    None if part is None else np.asarray(np.ldexp(part, exponent))
                    for part in (
                        self.statistics.weight,
                        self.statistics.first,
                        self.statistics.second,
                    )
                )
                assert weight is not None
                assert first is not None
                statistics = Statistics(
                    self.statistics.kind, self.statistics.centres, weight, first, second
                )
        return PassResult(
            **sums, statistics=statistics, lowest_log_evidence=self.lowest_log_evidence
        )


class NonFiniteRowError(ValueError):
    """A pass met a row with NaN or infinity. ``row`` is its index in the whole data."""

    def __init__(self, row: int) -> None:
        super().__init__(f"row {row} has a value that is NaN or infinite")
        self.row = row


class Pass(Protocol):
    """One pass in progress. Not reusable after :meth:`finish`."""

    def run(self, blocks: Sequence[RowBlock], num_threads: int) -> None:
        """Process blocks of distinct partitions, in parallel.

        Raises
        ------
        NonFiniteRowError
            If a row is not finite; the lowest such index among the blocks.
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
    """What executes passes: 'native', 'numba', 'reference'."""

    name: str

    def begin(
        self,
        params: Any,
        request: Request,
        plan: Any,
        outputs: RowOutputs | None = None,
        workspace: Any = None,
    ) -> Pass:
        """Start a pass, in memory that :meth:`workspace` returned.

        ``params`` are :class:`KernelParams`, or :class:`CustomParams` that name this backend.

        Raises
        ------
        NotImplementedError
            If an output is asked for that this backend does not compute.
        """

    def begin_seeding(self, candidates: Float64Array, plan: Any) -> SeedingPass:
        """Start a k-means++ pass."""

    def workspace(self) -> Any:
        """Memory that the passes of one fit reuse."""
