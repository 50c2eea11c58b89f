"""What a mixture with truncated posteriors says about rows, by walks among its neighbours."""

from __future__ import annotations

import math
from collections.abc import Iterator
from numbers import Integral
from typing import Any

import numpy as np
import numpy.typing as npt
from scipy import sparse
from sklearn.utils import check_scalar

from vbfast.contract import FloatArray, LogJoint, Request, RowOutputs, RowSource
from vbfast.estimators.validation import as_random_state
from vbfast.inputs.outputs import check_out
from vbfast.passes.array_rows import ArrayRows
from vbfast.passes.chunk_runner import ChunkRunner
from vbfast.passes.runner import LocalRunner, runner_over
from vbfast.passes.walks import Found, walks
from vbfast.results import BoundGap

__all__ = [
    "TruncatedMixture",
    "found_by_walks",
    "searched_evidence",
    "searched_labels",
    "searched_responsibilities",
]


def found_by_walks(mixture: Any, rows: RowSource, log_joint: LogJoint) -> Iterator[Found]:
    """Yield what rows find with the neighbours that a fit has learned.

    Parameters
    ----------
    mixture : FittedMixture
        With ``neighbors_``.
    rows : RowSource
    log_joint : LogJoint
    """
    runner = runner_over(rows)
    assert isinstance(runner, LocalRunner | ChunkRunner)
    neighbors = np.ascontiguousarray(mixture.neighbors_, dtype=np.int32)
    return walks(runner, log_joint, neighbors, mixture.truncation_)


def searched_labels(found: Iterator[Found], rows: RowSource, out: Any) -> npt.NDArray[np.int64]:
    """Return the best component that each row has found, in ``out`` if given."""
    labels = _output(out, rows.n_samples, np.dtype(np.int64))
    for part in found:
        labels[part.rows] = part.kept[:, 0]
    return labels


def searched_evidence(found: Iterator[Found], rows: RowSource, out: Any) -> FloatArray:
    """Return the log-sum-exp over what each row has found, in ``out`` if given."""
    evidence = _output(out, rows.n_samples, rows.dtype)
    for part in found:
        evidence[part.rows] = part.log_evidence
    return evidence


def searched_responsibilities(
    found: Iterator[Found], rows: RowSource, n_components: int
) -> sparse.csr_matrix:
    """Return the responsibilities of what rows have found, shape (n_samples, n_components)."""
    parts = list(found)
    kept = np.concatenate([part.kept for part in parts])
    resp = np.concatenate([part.resp for part in parts])
    some = kept >= 0
    ends = np.concatenate([[0], np.cumsum(some.sum(axis=1))])
    shape = (rows.n_samples, n_components)
    matrix = sparse.csr_matrix((resp[some], kept[some], ends), shape=shape)
    matrix.sort_indices()
    return matrix


class TruncatedMixture:
    """What mixtures can say of their truncation."""

    def bound_gap(self: Any, X: Any, n_samples: int | None = None) -> BoundGap:
        """Measure what truncated posteriors cost: how far their bound is below the evidence.

        That is the mean over rows of ``KL(q || p(z|x))``, minus the logarithm of the mass that the
        exact posterior has on the components that a row finds. It takes an exact pass.

        Parameters
        ----------
        X : array-like of shape (n_samples, n_features)
        n_samples : int, optional
            A random sample of so many rows stands for all; it is drawn with ``random_state``.

        Returns
        -------
        BoundGap
            In nats a row, with its standard error.

        Raises
        ------
        ValueError
            If the mixture was fitted without truncation, or ``n_samples`` is not from 1 to the
            number of rows.

        Examples
        --------
        >>> import numpy as np
        >>> import vbfast
        >>> rng = np.random.default_rng(0)
        >>> X = rng.normal(size=(5000, 2)) + 9.0 * rng.integers(10, size=(5000, 2))
        >>> mixture = vbfast.GaussianMixture(
        ...     100, covariance_type="spherical", truncation=3, random_state=0
        ... ).fit(X)
        >>> gap = mixture.bound_gap(X, n_samples=1000)
        >>> exact = mixture.score(X[:1000], exact=True)
        >>> bool(0.0 < gap.mean < 0.1), bool(mixture.score(X[:1000]) < exact)
        (True, True)
        """
        rows = self._fitted_rows(X)
        if not self._searches(exact=False):
            raise ValueError(
                "bound_gap needs a mixture that was fitted with truncation: another has no gap"
            )
        with self._passes_over(rows):
            if n_samples is not None:
                check_scalar(n_samples, "n_samples", Integral, min_val=1, max_val=rows.n_samples)
                drawn = as_random_state(self.random_state).choice(
                    rows.n_samples, size=n_samples, replace=False
                )
                rows = ArrayRows(rows.take(np.sort(drawn)))
            log_joint = self._fitted_log_joint()
            evidence = np.empty(rows.n_samples, rows.dtype)
            outputs = RowOutputs(log_evidence=evidence)
            runner_over(rows).run(log_joint, Request(), outputs=outputs)
            found = searched_evidence(found_by_walks(self, rows, log_joint), rows, None)
        with np.errstate(invalid="ignore"):  # of impossible rows
            gap = np.maximum(evidence.astype(np.float64) - found, 0.0)
        gap[evidence == found] = 0.0
        error = 0.0
        if n_samples is not None and n_samples > 1:
            error = float(gap.std(ddof=1)) / math.sqrt(n_samples)
        return BoundGap(float(gap.mean()), error, len(gap))


def _output(out: Any, n_rows: int, dtype: np.dtype[Any]) -> npt.NDArray[Any]:
    if out is None:
        return np.empty(n_rows, dtype)
    check_out(out, (n_rows,), dtype, "out")
    return np.asanyarray(out)
