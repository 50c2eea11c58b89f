"""Truncated passes in plain NumPy, which evaluate all and leave out what is not searched."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import numpy.typing as npt

from vbfast.backends.reference.forms import evaluate
from vbfast.backends.reference.passes import statistics_about, symmetric
from vbfast.backends.reference.posterior import log_posterior, log_sum_exp, times
from vbfast.contract import (
    Components,
    Float64Array,
    FloatArray,
    LogJoint,
    NearnessSums,
    NonFiniteRowError,
    PassResult,
    Request,
    Search,
)

__all__ = ["ReferenceTruncatedPass", "drawn_components"]


def drawn_components(search: Search, rows: npt.NDArray[Any], n_components: int) -> Components:
    """Return the components drawn for rows, shape (n_rows, n_random).

    The upper half of a number mixed from the key and the row, times the number of components,
    divided by 2**32 (Steele, Lea and Flood 2014, the generator splitmix64).
    """
    counter = rows[:, np.newaxis] * search.n_random + np.arange(search.n_random)
    with np.errstate(over="ignore"):  # modulo 2**64
        z = np.uint64(search.key) + (counter + 1).astype(np.uint64) * np.uint64(0x9E3779B97F4A7C15)
        z = (z ^ (z >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
        z = (z ^ (z >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
        z ^= z >> np.uint64(31)
        return ((z >> np.uint64(32)) * np.uint64(n_components) >> np.uint64(32)).astype(np.int32)


class ReferenceTruncatedPass:
    """A truncated pass, see :class:`vbfast.contract.TruncatedPass`."""

    def __init__(
        self,
        log_joint: LogJoint,
        request: Request,
        search: Search,
        dtype: np.dtype[Any],
        about: Float64Array | None,
    ) -> None:
        self._log_joint, self._request, self._search = log_joint, request, search
        self._about = log_joint.form.centres if about is None else about
        self._dtype = dtype
        self._total: PassResult | None = None
        K = log_joint.n_components
        self._differences = np.zeros((K, K))
        self._counts = np.zeros((K, K), np.int64)

    def run(
        self,
        start: int,
        rows: FloatArray,
        weights: Float64Array | None,
        kept: Components,
        *,
        log_evidence: FloatArray | None = None,
        resp: FloatArray | None = None,
    ) -> None:
        """Visit consecutive rows."""
        finite = np.isfinite(rows).all(axis=1)
        if not finite.all():
            raise NonFiniteRowError(start + int(np.argmin(finite)))
        X = rows.astype(np.float64)
        w = np.ones(len(X)) if weights is None else weights
        with np.errstate(over="ignore"):
            log_joints = evaluate(X, self._log_joint)
        searched = self._searched(start, kept)
        if self._search.learn:
            self._learn(np.where(w > 0.0, kept[:, 0], -1), searched, log_joints)
        self._renew(kept, np.where(searched, log_joints, -np.inf))
        values = np.where(
            kept >= 0, np.take_along_axis(log_joints, np.maximum(kept, 0), 1), -np.inf
        )
        hard = self._request.assignment == "hard"
        with np.errstate(divide="ignore"):
            evidence = values[:, 0] if hard else log_sum_exp(values)
            log_q = log_posterior(values)
            q = np.exp(log_q)
        if hard:
            q = np.zeros_like(values)
            q[:, 0] = values[:, 0] > -np.inf
        entropy = np.zeros(len(X)) if hard else -times(q, log_q).sum(axis=1)
        if log_evidence is not None:
            log_evidence[:] = evidence
        if resp is not None:
            resp[:] = q
        r = np.zeros_like(log_joints)
        np.put_along_axis(r, np.maximum(kept, 0), np.where(kept >= 0, q, 0.0), 1)
        moments = self._request.moments
        total = float(times(w, evidence).sum())
        sums = PassResult(
            total_weight=float(w.sum()),
            log_evidence=total,
            expected_log_joint=float(times(w, evidence - entropy).sum()),
            entropy=float(times(w, entropy).sum()),
            kl=math.nan,
            statistics=None
            if moments is None
            else statistics_about(self._about, moments, X, w[:, np.newaxis] * r),
            lowest_log_evidence=float(np.min(evidence, where=w > 0, initial=np.inf)),
            dtype=self._dtype,
        )
        self._total = sums if self._total is None else self._total + sums

    def _searched(self, start: int, kept: Components) -> npt.NDArray[np.bool_]:
        """Return which components each row is evaluated under, shape (n_rows, n_components)."""
        search, (n, K) = self._search, (len(kept), self._log_joint.n_components)
        searched = np.zeros((n, K + 1), bool)  # the last column is of no component
        every = np.arange(n)[:, np.newaxis]
        searched[every, kept] = True
        if search.neighbors is not None:
            none = np.full((1, search.n_neighbors), -1, np.int32)
            near = np.concatenate([search.neighbors, none])[kept]
            searched[every, near.reshape(n, -1)] = True
        if search.cells is not None:
            begin, members = search.cells
            for row, place in np.argwhere(kept >= 0):
                k = kept[row, place]
                searched[row, members[begin[k] : begin[k + 1]]] = True
        if search.candidates is not None:
            searched[:, search.candidates] = True
        searched[every, drawn_components(search, start + np.arange(n), K)] = True
        return searched[:, :K]

    def _renew(self, kept: Components, values: Float64Array) -> None:
        """Keep the components of largest log-joint, and of what is impossible what was kept."""
        before = kept.copy()
        order = np.argsort(-values, axis=1, kind="stable")[:, : kept.shape[1]]
        kept[:] = np.where(np.take_along_axis(values, order, 1) > -np.inf, order, -1)
        for n in np.flatnonzero((kept < 0).any(axis=1)):
            spare = [k for k in before[n] if k >= 0 and k not in kept[n]]
            places = np.flatnonzero(kept[n] < 0)[: len(spare)]
            kept[n, places] = spare[: len(places)]

    def _learn(
        self, best: Components, searched: npt.NDArray[np.bool_], log_joints: Float64Array
    ) -> None:
        for c in np.unique(best[best >= 0]):
            rows = best == c
            with np.errstate(invalid="ignore"):
                difference = log_joints[rows, c, np.newaxis] - log_joints[rows]
            self._differences[c] += np.where(searched[rows], difference, 0.0).sum(axis=0)
            self._counts[c] += searched[rows].sum(axis=0)

    def finish(self) -> PassResult:
        """Return the sums."""
        assert self._total is not None
        total = self._total
        return PassResult.answer(
            self._request,
            total.total_weight,
            total.log_evidence,
            total.expected_log_joint,
            total.entropy,
            total.kl,
            symmetric(total.statistics),
            total.lowest_log_evidence,
            self._dtype,
        )

    def learned(self) -> NearnessSums:
        """Return what was learned."""
        K = self._log_joint.n_components
        every = np.broadcast_to(np.arange(K, dtype=np.int32), (K, K))
        components = np.where(self._counts > 0, every, np.int32(-1))
        sums = NearnessSums(components, self._counts, self._differences)
        return sums.nearest(self._search.n_neighbors)
