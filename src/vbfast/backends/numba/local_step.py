"""Responsibilities, outputs and sums of a batch, from its log-joint.

``joint`` is what :mod:`vbfast.backends.numba.loops` leaves, but for rows whose maximum is ``-inf``
and that have logarithms of responsibilities in its place. Afterwards it holds the responsibilities:
unnormalised ones, which ``scale`` (the row's weight, divided by their sum) makes the ``r_nk`` of
the statistics. Outputs that are not wanted, and weights of one each, are arrays of length zero.
Sums are (weight, log evidence, expected log-joint, entropy, kl), added up tile by tile.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from vbfast.backends.numba.compiling import group_rows, kernel
from vbfast.backends.numba.exponential import exp_nonpositive

__all__ = ["find_labels", "general_rows", "posterior_rows"]


@kernel
def find_labels(joint: Any, row_max: Any, n_rows: Any, label: Any) -> None:
    """Set ``label`` to the first component of largest log-joint."""
    group = group_rows(joint)
    n_groups, n_components, _ = joint.shape
    for g in range(n_groups):
        for i in range(group):
            if g * group + i < n_rows:
                label[g * group + i] = 0
        for k in range(n_components - 1, 0, -1):
            for i in range(group):
                if joint[g, k, i] == row_max[g, i] and g * group + i < n_rows:
                    label[g * group + i] = k
        for i in range(group):
            if joint[g, 0, i] == row_max[g, i] and g * group + i < n_rows:
                label[g * group + i] = 0


@kernel
def _weight(weights: Any, n: Any) -> Any:
    return weights[n] if len(weights) > 0 else 1.0


@kernel
def _softmax(
    joint: Any, row_max: Any, g: Any, cutoff: Any, moment_wanted: Any, total: Any, moment: Any
) -> None:
    """Turn a group's log-joints ``l`` into ``e = exp(l - m)``, ``m`` the rows' finite maxima.

    ``total`` becomes the sum of ``e``; ``moment`` that of ``e (l - m)``.
    """
    group = group_rows(joint)
    zero = cutoff - cutoff
    shift = row_max[g].copy()
    for i in range(group):
        if shift[i] == np.inf:  # components at +inf share the row's mass
            for k in range(joint.shape[1]):
                joint[g, k, i] = zero if joint[g, k, i] == np.inf else -np.inf
        if not np.isfinite(shift[i]):
            shift[i] = zero
        total[i] = zero
        moment[i] = zero
    for k in range(joint.shape[1]):
        if moment_wanted:
            for i in range(group):
                difference = joint[g, k, i] - shift[i]
                e = exp_nonpositive(difference, cutoff)
                moment[i] += e * (cutoff if difference < cutoff else difference)
                total[i] += e
                joint[g, k, i] = e
        else:
            for i in range(group):
                e = exp_nonpositive(joint[g, k, i] - shift[i], cutoff)
                total[i] += e
                joint[g, k, i] = e


@kernel
def posterior_rows(
    joint: Any,
    row_max: Any,
    scale: Any,
    weights: Any,
    n_rows: Any,
    tile_rows: Any,
    cutoff: Any,
    entropy_wanted: Any,
    out_log_evidence: Any,
    out_resp: Any,
    out_entropy: Any,
    out_expected: Any,
    sums: Any,
    lowest: Any,
) -> None:
    """Treat rows whose responsibilities are the posterior, ``softmax(l)``.

    ``lowest`` of shape (1,) falls to the least log evidence of a row with positive weight.
    """
    group = group_rows(joint)
    zero = cutoff - cutoff
    total = np.empty_like(row_max[0])
    moment = np.empty_like(row_max[0])
    tile = np.zeros(5)
    for g in range(len(joint)):
        _softmax(joint, row_max, g, cutoff, entropy_wanted, total, moment)
        for i in range(group):
            n = g * group + i
            if n >= n_rows:
                scale[g, i] = zero
                continue
            # Nothing but -inf: no component is responsible.
            possible = total[i] > 0
            inverse = total.dtype.type(1) / total[i] if possible else zero
            evidence = row_max[g, i]
            if possible:
                evidence += math.log(total[i])
            w = _weight(weights, n)
            scale[g, i] = inverse * total.dtype.type(w)
            if len(out_resp) > 0:
                for k in range(joint.shape[1]):
                    out_resp[n, k] = joint[g, k, i] * inverse
            if evidence == -np.inf:  # what counts nowhere has responsibilities all the same
                scale[g, i] = zero
                for k in range(joint.shape[1]):
                    joint[g, k, i] = zero
            if len(out_log_evidence) > 0:
                out_log_evidence[n] = evidence
            tile[0] += w
            if w != 0:
                tile[1] += w * np.float64(evidence)
                lowest[0] = min(lowest[0], evidence)
            if entropy_wanted:
                entropy = zero
                if np.isfinite(evidence):
                    entropy = evidence - (row_max[g, i] + moment[i] * inverse)
                elif evidence == np.inf:
                    entropy = math.log(total[i])
                entropy = max(entropy, zero)
                # The sum that must hold to the last bits is evidence = expected + entropy.
                expected = np.float64(evidence)
                if np.isfinite(evidence):
                    expected -= np.float64(entropy)
                if len(out_entropy) > 0:
                    out_entropy[n] = entropy
                if len(out_expected) > 0:
                    out_expected[n] = expected
                if w != 0:
                    tile[2] += w * expected
                    tile[3] += w * np.float64(entropy)
            if (n + 1) % tile_rows == 0 or n + 1 == n_rows:
                for term in range(5):
                    sums[term] += tile[term]
                    tile[term] = 0


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
    joint: Any,
    row_max: Any,
    scale: Any,
    weights: Any,
    given: Any,
    label: Any,
    n_rows: Any,
    tile_rows: Any,
    evidence_wanted: Any,
    out_log_evidence: Any,
    out_resp: Any,
    out_entropy: Any,
    out_expected: Any,
    sums: Any,
) -> None:
    """Treat rows whose responsibilities need not be the posterior, one row at a time.

    They are those of ``given``, or where that is of length zero all mass is on ``label``; -1 is
    none.
    """
    group = group_rows(joint)
    n_groups, n_components, _ = joint.shape
    by_label = len(given) == 0
    zero = joint.dtype.type(0)
    tile = np.zeros(5)
    for g in range(n_groups):
        for i in range(group):
            n = g * group + i
            if n >= n_rows:
                scale[g, i] = 0
                for k in range(n_components):
                    joint[g, k, i] = 0
                continue
            largest = np.float64(row_max[g, i])
            impossible = largest == -np.inf
            evidence = largest
            if evidence_wanted:
                evidence = _log_evidence(joint, g, i, largest)
            entropy, expected, kl = 0.0, 0.0, 0.0
            k = max(label[n], 0) if by_label else 0
            last = min(label[n] + 1, n_components) if by_label else n_components
            while k < last:
                p = 1.0 if by_label else np.float64(given[n, k])
                if p > 0:
                    value = np.float64(joint[g, k, i])
                    log_p = math.log(p)
                    expected += p * value
                    entropy -= p * log_p
                    kl += p * (log_p - (value - evidence))
                k += 1
            if impossible:
                expected, entropy, kl = -np.inf, 0.0, 0.0
            entropy, kl = max(entropy, 0.0), max(kl, 0.0)
            for k in range(n_components):
                q = given[n, k] if not by_label else zero + (k == label[n])
                joint[g, k, i] = q
                if len(out_resp) > 0:
                    out_resp[n, k] = q
            if len(out_log_evidence) > 0:
                out_log_evidence[n] = evidence
            if len(out_entropy) > 0:
                out_entropy[n] = entropy
            if len(out_expected) > 0:
                out_expected[n] = expected
            w = _weight(weights, n)
            scale[g, i] = w
            tile[0] += w
            if w != 0:
                tile[1] += w * evidence
                tile[2] += w * expected
                tile[3] += w * entropy
                tile[4] += w * kl
            if (n + 1) % tile_rows == 0 or n + 1 == n_rows:
                for term in range(5):
                    sums[term] += tile[term]
                    tile[term] = 0
