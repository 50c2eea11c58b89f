"""The E-step contract in plain NumPy and float64: the oracle of the other backends' tests.

Written for reading: every line is a formula of the contract, nothing is fused, and float32 rows are
computed in float64. A tile of rows is worked on at a time, so that memory stays bounded.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from vbfast.engine.contract import (
    Backend,
    Float64Array,
    FloatArray,
    KernelParams,
    NonFiniteRowError,
    Pass,
    PassResult,
    Request,
    RowBlock,
    RowOutputs,
    SeedingPass,
    Statistics,
    StatisticsKind,
)
from vbfast.engine.plan import Plan


def log_joint(X: Float64Array, params: KernelParams) -> Float64Array:
    """Return ``l_nk = offset_k - 1/2 ||(x_n - mu_k) P_k||^2``, shape (n_rows, n_components)."""
    result = np.empty((X.shape[0], params.n_components))
    with np.errstate(over="ignore", invalid="ignore"):
        for k in range(params.n_components):
            whitened = multiply(X - params.means[k], factor(params, k))
            square = np.sum(whitened**2, axis=1)
            # A difference that overflows may meet a zero of the factor, or an infinity.
            result[:, k] = params.offset[k] - 0.5 * np.where(np.isnan(square), np.inf, square)
    return result


def factor(params: KernelParams, k: int) -> Float64Array:
    """Return ``P_k``: a matrix ('full', 'tied'), its diagonal ('diag'), or a number."""
    P = params.precision_cholesky
    return P if params.covariance_type == "tied" else np.asarray(P[k])


def multiply(rows: Float64Array, P: Float64Array) -> Float64Array:
    """Return rows times what :func:`factor` returned."""
    return np.asarray(rows @ P if P.ndim == 2 else rows * P)


def gradient_in_rows(X: Float64Array, q: Float64Array, params: KernelParams) -> Float64Array:
    """Return ``sum_k q_nk P_k P_k^T (mu_k - x_n)``, shape (n_rows, n_features)."""
    result = np.zeros_like(X)
    for k in range(params.n_components):
        rows, P = q[:, k] > 0.0, factor(params, k)
        whitened = multiply(params.means[k] - X[rows], P)
        result[rows] += q[rows, k, np.newaxis] * multiply(whitened, P.T)
    return result


def log_sum_exp(log_joints: Float64Array) -> Float64Array:
    """Return ``log sum_k exp(l_nk)`` of each row: -inf for nothing but -inf, +inf for any +inf."""
    largest = np.max(log_joints, axis=1)
    shift = np.where(np.isfinite(largest), largest, 0.0)
    total = np.sum(np.exp(log_joints - shift[:, np.newaxis]), axis=1)
    return np.asarray(shift + np.log(total))


def log_posterior(log_joints: Float64Array) -> Float64Array:
    """Return ``log p(z_n = k | x_n) = l_nk - log p(x_n)``.

    Relative to the row's largest log-joint: where that is large ``log p(x_n)`` is no longer above
    it. A row of nothing but -inf has no posterior: its entries are -inf, so that it counts nowhere.
    The components of a row that are at +inf share its mass equally, the others have none.
    """
    largest = np.max(log_joints, axis=1, keepdims=True)
    infinite = log_joints == np.inf
    below = np.subtract(
        log_joints,
        np.where(np.isfinite(largest), largest, 0.0),
        out=np.where(infinite, 0.0, -np.inf),
        where=np.broadcast_to(np.isfinite(largest), log_joints.shape),
    )
    possible = largest > -np.inf
    total = np.sum(np.exp(below), axis=1, keepdims=True, where=possible, initial=0.0)
    return np.asarray(below - np.log(total, out=np.zeros_like(total), where=possible))


def limiting_posterior(X: Float64Array, params: KernelParams) -> Float64Array:
    """Return ``q_nk`` of rows that are too far from all components for a finite log-joint.

    The component with the largest log-joint takes the row: its lead underflows all others. Squared
    distances are compared as mantissas and exponents, since they overflow. Where these are equal,
    as for components that share a factor, whose means are rounded away beside a distant row, the
    rounding errors are compared. Components equal in both share the row by their offsets.
    """
    possible = np.flatnonzero(params.offset > -np.inf)
    size = np.maximum(np.abs(X).max(axis=1), np.abs(params.means[possible]).max())
    exponent = np.frexp(size)[1][:, np.newaxis] + 1  # the difference of two is below one
    X = np.ldexp(X, -exponent)
    power, fraction, cross = np.full((3, len(X), params.n_components), np.inf)
    for k in possible.tolist():
        P = factor(params, k)
        scale = int(np.frexp(np.abs(P).max())[1])
        P, mean = np.ldexp(P, -scale), np.ldexp(params.means[k], -exponent)
        # The rounding of a difference (Knuth 1997, section 4.2.2, theorem B).
        difference = X - mean
        back = X - difference
        lost = (X - (difference + back)) + (back - mean)
        # |a + b|^2 = |a|^2 + 2 a b + ..., times a power of two that keeps |a|^2 from vanishing.
        whitened = multiply(difference, P)
        shift = np.frexp(np.abs(whitened).max(axis=1))[1]
        whitened = np.ldexp(whitened, -shift[:, np.newaxis])
        rest = np.ldexp(multiply(lost, P), -shift[:, np.newaxis])
        fraction[:, k], power[:, k] = np.frexp(np.sum(whitened**2, axis=1))
        cross[:, k] = np.ldexp(np.sum(whitened * rest, axis=1), -power[:, k].astype(int))
        power[:, k] += 2 * (scale + shift)
    nearest = np.ones(power.shape, dtype=bool)
    for part in (power, fraction, cross):
        part[~nearest] = np.inf
        nearest &= part == part.min(axis=1, keepdims=True)
    offsets = np.where(nearest, params.offset, -np.inf)
    shares = np.exp(offsets - offsets.max(axis=1, keepdims=True))
    return np.asarray(shares / shares.sum(axis=1, keepdims=True))


def one_hot(labels: npt.NDArray[np.int64], n_components: int) -> Float64Array:
    """Return ``q_nk`` of shape (n_rows, n_components): one at the label, nothing for -1."""
    return np.asarray(labels[:, np.newaxis] == np.arange(n_components), dtype=np.float64)


def times(q: Float64Array, value: Float64Array) -> Float64Array:
    """Return ``q * value`` with zero wherever ``q`` is zero, as 0 log 0 = 0 demands."""
    return np.multiply(q, value, out=np.zeros_like(q), where=q > 0)


class _Sums:
    """What one partition has added up."""

    def __init__(self, params: KernelParams, kind: StatisticsKind | None) -> None:
        K, D = params.means.shape
        self.total_weight = 0.0
        self.log_evidence = 0.0
        self.expected_log_joint = 0.0
        self.entropy = 0.0
        self.kl = 0.0
        self.lowest_log_evidence = np.inf
        self.weight = np.zeros(K)
        self.first = np.zeros((K, D))
        shapes = {"full": (K, D, D), "tied": (D, D), "diag": (K, D), "spherical": (K,)}
        self.second = np.zeros(shapes[kind]) if kind in shapes else None

    def merge(self, other: _Sums) -> None:
        self.total_weight += other.total_weight
        self.log_evidence += other.log_evidence
        self.expected_log_joint += other.expected_log_joint
        self.entropy += other.entropy
        self.kl += other.kl
        self.lowest_log_evidence = min(self.lowest_log_evidence, other.lowest_log_evidence)
        self.weight += other.weight
        self.first += other.first
        if self.second is not None and other.second is not None:
            self.second += other.second


class _ReferencePass:
    """A pass over the rows, each formula as :class:`vbfast.ElboTerms` states it."""

    def __init__(
        self, params: KernelParams, request: Request, plan: Plan, outputs: RowOutputs
    ) -> None:
        self._params = params
        self._request = request
        self._plan = plan
        self._outputs = outputs
        self._partitions = [_Sums(params, request.statistics) for _ in range(plan.n_partitions)]

    def run(self, blocks: Sequence[RowBlock], num_threads: int) -> None:  # noqa: ARG002
        """Process blocks one after another."""
        _check_finite(blocks)
        for block in blocks:
            for first in range(0, len(block.rows), self._plan.tile_rows):
                self._run_tile(block, slice(first, first + self._plan.tile_rows))

    def _run_tile(self, block: RowBlock, tile: slice) -> None:
        X = np.array(block.rows[tile], dtype=np.float64, order="C")
        weights = np.ones(len(X)) if block.weights is None else block.weights[tile]
        K = self._params.n_components

        with np.errstate(over="ignore", divide="ignore"):  # distances to +inf, log 0
            log_joints = log_joint(X, self._params)
            log_evidence = log_sum_exp(log_joints)
            log_post = log_posterior(log_joints)
            labels = np.argmax(log_joints, axis=1)
            impossible = log_evidence == -np.inf
            # What rows are most likely of is known where it overflows their dtype all the same,
            # unless nothing is possible.
            overflowed = log_evidence.astype(block.rows.dtype) == -np.inf
            limit = np.zeros((0, K))
            if overflowed.any() and np.any(self._params.offset > -np.inf):
                limit = limiting_posterior(X[overflowed], self._params)
                labels[overflowed] = np.argmax(limit, axis=1)
            if self._request.assignment == "posterior":
                q, log_q = np.exp(log_post), log_post
            else:
                hard = self._request.assignment == "hard"
                q = one_hot(labels, K) if hard else _given(block, tile, K)
                log_q = np.log(q)

        log_ratio = np.subtract(log_q, log_post, out=np.zeros_like(q), where=q > 0)
        expected = np.where(impossible, -np.inf, times(q, log_joints).sum(axis=1))
        entropy = np.where(impossible, 0.0, -times(q, log_q).sum(axis=1))
        kl = np.where(impossible, 0.0, times(q, log_ratio).sum(axis=1))

        resp = q
        if self._request.assignment == "posterior" and len(limit) > 0:
            resp = q.copy()
            resp[overflowed] = limit

        start = block.start + tile.start
        rows = slice(start, start + len(X))
        for array, values in (
            (self._outputs.log_evidence, log_evidence),
            (self._outputs.labels, labels),
            (self._outputs.resp, resp),
            (self._outputs.entropy, entropy),
            (self._outputs.expected_log_joint, expected),
            (self._outputs.log_joint, log_joints),
        ):
            if array is not None:
                with np.errstate(over="ignore"):  # beyond single precision
                    array[rows] = values
        if self._outputs.gradient is not None:
            with np.errstate(over="ignore"):
                self._outputs.gradient[rows] = gradient_in_rows(X, q, self._params)

        sums = self._partitions[block.partition]
        sums.total_weight += float(weights.sum())
        sums.log_evidence += _weighted_sum(weights, log_evidence)
        sums.expected_log_joint += _weighted_sum(weights, expected)
        sums.entropy += _weighted_sum(weights, entropy)
        sums.kl += _weighted_sum(weights, kl)
        lowest = float(np.min(log_evidence, where=weights > 0, initial=np.inf))
        sums.lowest_log_evidence = min(sums.lowest_log_evidence, lowest)
        if self._request.statistics is not None:
            self._add_statistics(sums, X, weights[:, np.newaxis] * q)

    @np.errstate(over="ignore", invalid="ignore")  # of squares: what they are summed to is infinite
    def _add_statistics(self, sums: _Sums, X: Float64Array, r: Float64Array) -> None:
        kind = self._request.statistics
        sums.weight += r.sum(axis=0)
        for k, centre in enumerate(self._params.means):
            d = X - centre
            rd = r[:, k, np.newaxis] * d
            sums.first[k] += rd.sum(axis=0)
            if sums.second is None:
                continue
            if kind == "full":
                sums.second[k] += rd.T @ d
            elif kind == "tied":
                sums.second += rd.T @ d
            elif kind == "diag":
                sums.second[k] += (rd * d).sum(axis=0)
            else:
                sums.second[k] += (rd * d).mean(axis=1).sum()

    def finish(self) -> PassResult:
        """Add the partitions up in their order."""
        request = self._request
        total = _Sums(self._params, request.statistics)
        for partition in self._partitions:
            total.merge(partition)
        statistics = None
        if request.statistics is not None:
            second = total.second
            if second is not None and request.statistics in ("full", "tied"):
                second = 0.5 * (second + second.swapaxes(-1, -2))
            statistics = Statistics(
                request.statistics, self._params.means, total.weight, total.first, second
            )
        nan = float("nan")
        posterior = request.assignment == "posterior"
        return PassResult(
            total_weight=total.total_weight,
            log_evidence=total.log_evidence if posterior or request.entropy else nan,
            expected_log_joint=nan
            if posterior and not request.entropy
            else total.expected_log_joint,
            entropy=total.entropy if request.entropy else nan,
            kl=total.kl if request.entropy else nan,
            statistics=statistics,
            lowest_log_evidence=total.lowest_log_evidence if posterior else nan,
        )


class _ReferenceSeedingPass:
    """Sums of squared distances to the closest of the centres so far and one candidate."""

    def __init__(self, candidates: Float64Array, plan: Plan) -> None:
        self._candidates = candidates
        self._partitions = np.zeros((plan.n_partitions, len(candidates)))
        self._tile_rows = plan.tile_rows

    def run(
        self,
        blocks: Sequence[RowBlock],
        closest: Sequence[FloatArray],
        lowered: Sequence[FloatArray | None],
        num_threads: int,  # noqa: ARG002
    ) -> None:
        """Process blocks one after another."""
        _check_finite(blocks)
        for block, before, after in zip(blocks, closest, lowered, strict=True):
            for first in range(0, len(block.rows), self._tile_rows):
                self._run_tile(block, slice(first, first + self._tile_rows), before, after)

    def _run_tile(
        self, block: RowBlock, tile: slice, closest: FloatArray, lowered: FloatArray | None
    ) -> None:
        X = np.array(block.rows[tile], dtype=np.float64, order="C")
        weights = np.ones(len(X)) if block.weights is None else block.weights[tile]
        for index, candidate in enumerate(self._candidates):
            with np.errstate(over="ignore"):
                distance = np.minimum(closest[tile], np.sum((X - candidate) ** 2, axis=1))
            self._partitions[block.partition, index] += _weighted_sum(weights, distance)
            if lowered is not None:
                with np.errstate(over="ignore"):  # beyond single precision
                    lowered[index, tile] = distance

    def finish(self) -> Float64Array:
        """Add the partitions up in their order."""
        potentials = np.zeros(len(self._candidates))
        for partition in self._partitions:
            potentials += partition
        return potentials


class ReferenceBackend:
    """See the module's docstring. One thread, whatever it is asked for."""

    name = "reference"

    def begin(
        self,
        params: KernelParams,
        request: Request,
        plan: Plan,
        outputs: RowOutputs | None = None,
        workspace: Any = None,  # noqa: ARG002
    ) -> Pass:
        """Start a pass."""
        return _ReferencePass(params, request, plan, outputs or RowOutputs())

    def begin_seeding(self, candidates: Float64Array, plan: Plan) -> SeedingPass:
        """Start a k-means++ pass."""
        return _ReferenceSeedingPass(candidates, plan)

    def workspace(self) -> None:
        """Nothing is kept between passes."""


def create_backend() -> Backend:
    """Return the backend, for :func:`vbfast.backends.get_backend`."""
    return ReferenceBackend()


def _given(block: RowBlock, tile: slice, n_components: int) -> Float64Array:
    if block.resp is None:
        raise ValueError("a 'given' pass needs RowBlock.resp")
    resp = block.resp[tile]
    if resp.ndim == 1:
        return one_hot(resp.astype(np.int64), n_components)
    return resp.astype(np.float64)


def _weighted_sum(weights: Float64Array, values: Float64Array) -> float:
    return float(times(weights, values).sum())


def _check_finite(blocks: Sequence[RowBlock]) -> None:
    """Raise for the first row, of all blocks, that is not finite: also where its weight is zero."""
    bad = [
        block.start + int(np.argmin(finite))
        for block in blocks
        if not (finite := np.isfinite(block.rows).all(axis=1)).all()
    ]
    if bad:
        raise NonFiniteRowError(min(bad))
