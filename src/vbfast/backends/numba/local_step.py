"""The local step of a batch: responsibilities and the terms of the bound from the log-joint.

``joint`` is what :mod:`vbfast.backends.numba.loops` leaves. Afterwards, times a factor of each row,
it holds the responsibilities. The terms of a row are one, log evidence, expected log-joint, entropy
and KL.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from vbfast.backends.numba.compiling import kernel, reduction, smaller
from vbfast.backends.numba.exponential import exp_nonpositive

__all__ = ["add_terms", "find_labels", "general_rows", "posterior_rows"]


@kernel
def find_labels(joint: Any, row_max: Any, label: Any) -> None:
    """Set ``label`` to the first component of largest log-joint."""
    for g in range(len(joint)):
        for k in range(joint.shape[1] - 1, -1, -1):
            for i in range(joint.shape[2]):
                if joint[g, k, i] == row_max[g, i]:
                    label[g, i] = k


@kernel
def posterior_rows(
    joint: Any, row_max: Any, cutoff: Any, entropy_wanted: Any, scale: Any, terms: Any
) -> None:
    """Turn log-joints ``l`` into ``e = exp(l - m)``, ``m`` the row's largest, for ``softmax(l)``.

    ``e`` is zero below the cutoff. ``scale`` becomes one divided by each row's sum of ``e``.
    """
    tile_rows, zero = joint.shape[2], cutoff - cutoff
    shift, total, moment = row_max[0].copy(), row_max[0].copy(), row_max[0].copy()
    for g in range(len(joint)):
        for i in range(tile_rows):
            if row_max[g, i] == np.inf:  # components at +inf share the mass
                for k in range(joint.shape[1]):
                    joint[g, k, i] = 0 if joint[g, k, i] == np.inf else -np.inf
            shift[i] = row_max[g, i] if np.isfinite(row_max[g, i]) else zero
            total[i] = zero
            moment[i] = zero
        for k in range(joint.shape[1]):
            for i in range(tile_rows):
                difference = joint[g, k, i] - shift[i]
                e = exp_nonpositive(difference, cutoff)
                if entropy_wanted:
                    moment[i] += e * (cutoff if difference < cutoff else difference)
                total[i] += e
                joint[g, k, i] = e
        for i in range(tile_rows):
            possible = total[i] > zero  # of nothing but -inf no component is responsible
            log_total = math.log(total[i]) if possible else zero
            scale[g, i] = total.dtype.type(1) / total[i] if possible else zero
            evidence = np.float64(row_max[g, i]) + log_total
            entropy = np.float64(max(log_total - moment[i] * scale[g, i], zero))
            terms[1, g, i] = evidence
            terms[3, g, i] = entropy
            # The sum that must hold to the last bits is evidence = expected + entropy.
            terms[2, g, i] = evidence - entropy


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
    tile_rows, n_components = joint.shape[2], joint.shape[1]
    for n in range(joint.shape[0] * tile_rows):
        g, i = n // tile_rows, n % tile_rows
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


@reduction
def _weighted_sum(weights: Any, values: Any) -> Any:
    total = 0.0
    for i in range(len(weights)):
        total += weights[i] * values[i] if weights[i] > 0 else 0.0  # also of infinite values
    return total


@kernel
def add_terms(terms: Any, weights: Any, scale: Any, sums: Any) -> Any:
    """Add terms of the rows, times weights, tile by tile; returns the least log evidence.

    ``scale`` is multiplied by the weights as well, and by zero beyond the last row.
    """
    tile_rows = scale.shape[1]
    own, lowest = np.zeros(tile_rows), np.full(tile_rows, np.inf)
    for g in range(len(scale)):
        rows = weights[g * tile_rows : (g + 1) * tile_rows]
        own[: len(rows)] = rows
        own[len(rows) :] = 0
        for i in range(tile_rows):
            scale[g, i] *= own[i]
            lowest[i] = smaller(terms[1, g, i] if own[i] > 0 else np.inf, lowest[i])
        for term in range(len(terms)):
            sums[term] += _weighted_sum(own, terms[term, g])
    return lowest.min()
