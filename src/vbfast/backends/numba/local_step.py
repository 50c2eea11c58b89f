"""The local step of a batch: responsibilities and the terms of the bound from the log-joint.

``joint`` is what :mod:`vbfast.backends.numba.loops` leaves. Afterwards, times ``scale``, it holds
the responsibilities.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from vbfast.backends.numba.batch import Batch
from vbfast.backends.numba.compiling import group_rows, kernel
from vbfast.backends.numba.exponential import exp_nonpositive
from vbfast.contract import Float64Array, FloatArray

__all__ = ["add_terms", "assign_given", "assign_posterior", "find_labels", "weigh"]


@kernel
def find_labels(joint: Any, row_max: Any, label: Any) -> None:
    """Set ``label`` to the first component of largest log-joint."""
    for g in range(len(joint)):
        for k in range(joint.shape[1] - 1, -1, -1):
            for i in range(group_rows(joint)):
                if joint[g, k, i] == row_max[g, i]:
                    label[g, i] = k


@kernel
def posterior_rows(
    joint: Any, shift: Any, cutoff: Any, moment_wanted: Any, total: Any, moment: Any
) -> None:
    """Turn log-joints ``l`` into ``e = exp(l - shift)``, zero below the cutoff.

    ``total`` becomes each row's sum of ``e``; ``moment`` that of ``e (l - shift)``.
    """
    group, zero = group_rows(joint), cutoff - cutoff
    for g in range(len(joint)):
        for i in range(group):
            total[g, i] = zero
            moment[g, i] = zero
        for k in range(joint.shape[1]):
            if moment_wanted:
                for i in range(group):
                    difference = joint[g, k, i] - shift[g, i]
                    e = exp_nonpositive(difference, cutoff)
                    moment[g, i] += e * (cutoff if difference < cutoff else difference)
                    total[g, i] += e
                    joint[g, k, i] = e
            else:
                for i in range(group):
                    e = exp_nonpositive(joint[g, k, i] - shift[g, i], cutoff)
                    total[g, i] += e
                    joint[g, k, i] = e


def assign_posterior(batch: Batch, cutoff: float, *, entropy: bool) -> None:
    """Set responsibilities to the posterior, ``softmax(l)``.

    Expected log-joint and entropy are left out where they are not wanted.
    """
    joint, row_max = batch.joint, batch.row_max
    infinite = row_max[:, np.newaxis] == np.inf
    if infinite.any():  # components at +inf share the row's mass
        joint[...] = np.where(infinite, np.where(joint == np.inf, 0, -np.inf), joint)
    shift = np.where(np.isfinite(row_max), row_max, 0)
    total, moment = np.empty_like(shift), np.empty_like(shift)
    posterior_rows(joint, shift, shift.dtype.type(cutoff), entropy, total, moment)
    possible = total > 0  # of nothing but -inf no component is responsible
    np.divide(1, total, out=batch.scale, where=possible)
    batch.scale[~possible] = 0
    log_total = np.log(total, out=np.full(total.shape, -np.inf), where=possible)
    np.add(row_max, log_total, out=batch.terms[1])
    if entropy:
        batch.terms[3] = np.where(possible, np.maximum(log_total - moment * batch.scale, 0), 0)
        # The sum that must hold to the last bits is evidence = expected + entropy.
        np.subtract(batch.terms[1], batch.terms[3], out=batch.terms[2])


@kernel
def _log_evidence(joint: Any, g: Any, i: Any, largest: Any) -> Any:
    if not np.isfinite(largest):
        return largest
    total = 0.0
    for k in range(joint.shape[1]):
        total += math.exp(np.float64(joint[g, k, i]) - largest)
    return largest + math.log(total)


@kernel
def general_rows(
    joint: Any, row_max: Any, given: Any, label: Any, evidence_wanted: Any, terms: Any
) -> None:
    """Replace log-joints by responsibilities that need not be the posterior.

    They are those of ``given``, or where that is of length zero all mass is on ``label``; -1 is
    none.
    """
    group, n_components = group_rows(joint), joint.shape[1]
    for n in range(joint.shape[0] * group):
        g, i = n // group, n % group
        largest = np.float64(row_max[g, i])
        evidence = _log_evidence(joint, g, i, largest) if evidence_wanted else largest
        expected, entropy, kl = 0.0, 0.0, 0.0
        for k in range(n_components):
            p = np.float64(label[g, i] == k)
            if len(given) > 0:
                p = np.float64(given[min(n, len(given) - 1), k])
            if p > 0:
                value, log_p = np.float64(joint[g, k, i]), math.log(p)
                expected += p * value
                entropy -= p * log_p
                kl += p * (log_p - (value - evidence))
            joint[g, k, i] = p
        if largest == -np.inf:
            expected, entropy, kl = -np.inf, 0.0, 0.0
        terms[1, g, i], terms[2, g, i] = evidence, expected
        terms[3, g, i], terms[4, g, i] = max(entropy, 0.0), max(kl, 0.0)


def assign_given(batch: Batch, given: FloatArray, *, evidence: bool) -> None:
    """Set responsibilities to those given, or where these are of length zero to the labels.

    Evidence and KL are left out where they are not wanted.
    """
    given = given if given.flags.writeable else given.copy()  # else a type of its own to numba
    general_rows(batch.joint, batch.row_max, given, batch.label, evidence, batch.terms)
    batch.scale.fill(1)


def weigh(batch: Batch, weights: Float64Array | None) -> None:
    """Multiply ``scale`` by the weights of the rows, zero beyond the last."""
    if weights is not None:
        batch.of_rows(batch.scale)[:] *= weights
    batch.scale.reshape(-1)[batch.n_rows :] = 0


def add_terms(
    batch: Batch, weights: Float64Array | None, tile_rows: int, sums: Float64Array
) -> None:
    """Add the terms of the rows, times weights, tile by tile."""
    terms = batch.of_rows(batch.terms)
    if weights is not None:
        terms = np.multiply(terms, weights, out=np.zeros(terms.shape), where=weights > 0)
    with np.errstate(over="ignore"):
        tiles = np.add.reduceat(terms, np.arange(0, batch.n_rows, tile_rows), axis=1)
        for tile in tiles.T:
            sums += tile
