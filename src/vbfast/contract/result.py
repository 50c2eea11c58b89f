"""What a pass returns, as a value: the sums of the bound's terms, and the statistics."""

from __future__ import annotations

import math
from dataclasses import dataclass, fields
from typing import Any

import numpy as np

from vbfast.contract.moment_shifts import MomentShifts
from vbfast.contract.request import Request
from vbfast.contract.statistics import Statistics

__all__ = ["PassResult"]

FLOAT64 = np.dtype(np.float64)
_SUMS = ("total_weight", "log_evidence", "expected_log_joint", "entropy", "kl")


@dataclass(frozen=True, eq=False, repr=False)
class PassResult:
    """Sums over rows, weighted by ``w_n``; nats. A term that was not asked for is NaN.

    Values: results of the same request with the same log-joint add up to that of the rows of both,
    and a result times ``c`` is that of rows that weigh ``c`` times as much. A fixed order of
    additions gives fixed bits.

    Attributes
    ----------
    total_weight : float
        ``sum_n w_n``.
    log_evidence, expected_log_joint, entropy, kl : float
        Weighted sums of the terms that :class:`vbfast.ElboTerms` names.
    statistics : Statistics or None
    lowest_log_evidence : float
        The least ``log p(x_n)`` of a row with positive weight, of a 'posterior' pass.
    dtype : numpy.dtype
        Of the computation, float32 or float64.

    Examples
    --------
    >>> import vbfast
    >>> one = vbfast.PassResult(2.0, -3.5, float("nan"), float("nan"), float("nan"), None, -2.0)
    >>> both = one + 2.0 * one
    >>> both.total_weight, both.log_evidence, both.lowest_log_evidence
    (6.0, -10.5, -2.0)
    """

    total_weight: float
    log_evidence: float
    expected_log_joint: float
    entropy: float
    kl: float
    statistics: Statistics | None
    lowest_log_evidence: float = math.nan
    dtype: np.dtype[Any] = FLOAT64

    @classmethod
    def answer(
        cls,
        request: Request,
        total_weight: float,
        log_evidence: float,
        expected_log_joint: float,
        entropy: float,
        kl: float,
        statistics: Statistics | None,
        lowest_log_evidence: float,
        dtype: np.dtype[Any],
    ) -> PassResult:
        """Return a result with NaN for the terms that a request did not ask for."""
        posterior, all_terms = request.assignment == "posterior", request.entropy
        return cls(
            total_weight,
            log_evidence if posterior or all_terms else math.nan,
            expected_log_joint if not posterior or all_terms else math.nan,
            entropy if all_terms else math.nan,
            kl if all_terms else math.nan,
            statistics,
            lowest_log_evidence if posterior else math.nan,
            dtype,
        )

    def answering(self, request: Request) -> PassResult:
        """Return the result with NaN for the terms that a request did not ask for."""
        return self.answer(request, *(getattr(self, field.name) for field in fields(self)))

    def __add__(self, other: PassResult) -> PassResult:
        """Return the sums over the rows of both.

        Raises
        ------
        ValueError
            If they are of other requests, dtypes or centres.
        """
        if not isinstance(other, PassResult):
            return NotImplemented
        if self.dtype != other.dtype:
            raise ValueError(
                f"sums of {self.dtype} and {other.dtype} rows do not add up: convert the rows"
            )
        if (self.statistics is None) != (other.statistics is None):
            raise ValueError("sums with and without statistics do not add up")
        statistics = None
        if self.statistics is not None and other.statistics is not None:
            statistics = self.statistics + other.statistics
        return PassResult(
            **{name: getattr(self, name) + getattr(other, name) for name in _SUMS},
            statistics=statistics,
            lowest_log_evidence=float(
                np.minimum(self.lowest_log_evidence, other.lowest_log_evidence)
            ),
            dtype=self.dtype,
        )

    def __mul__(self, factor: float) -> PassResult:
        """Return the sums over rows that weigh ``factor`` times as much."""
        by = float(factor)  # Python's, which overflow silently, as their products do
        return PassResult(
            **{name: float(getattr(self, name)) * by for name in _SUMS},
            statistics=None if self.statistics is None else self.statistics * factor,
            lowest_log_evidence=self.lowest_log_evidence,
            dtype=self.dtype,
        )

    def averaged_with(
        self, kept: float, other: PassResult, taken: float, linalg: MomentShifts | None = None
    ) -> PassResult:
        """Return ``kept`` times these sums plus ``taken`` times others, about the others' centres.

        Parameters
        ----------
        kept : float
        other : PassResult
            With statistics, as this one. The result has its dtype.
        taken : float
        linalg : MomentShifts, optional
            As for :meth:`vbfast.Statistics.averaged_with`.
        """
        assert self.statistics is not None
        assert other.statistics is not None
        kept, taken = float(kept), float(taken)
        return PassResult(
            **{
                name: float(getattr(self, name)) * kept + float(getattr(other, name)) * taken
                for name in _SUMS
            },
            statistics=self.statistics.averaged_with(kept, other.statistics, taken, linalg),
            lowest_log_evidence=float(
                np.minimum(self.lowest_log_evidence, other.lowest_log_evidence)
            ),
            dtype=other.dtype,
        )

    __rmul__ = __mul__

    def __eq__(self, other: object) -> bool:
        """Whether all terms and arrays are equal, to the bit."""
        if not isinstance(other, PassResult):
            return NotImplemented
        names = (*_SUMS, "lowest_log_evidence")
        return (
            all(
                np.array_equal(getattr(self, name), getattr(other, name), equal_nan=True)
                for name in names
            )
            and self.dtype == other.dtype
            and self.statistics == other.statistics
        )

    __hash__ = None  # type: ignore[assignment]

    def __repr__(self) -> str:
        terms = ", ".join(
            f"{field.name}={getattr(self, field.name):.8g}"
            for field in fields(self)
            if field.name in _SUMS and not math.isnan(getattr(self, field.name))
        )
        statistics = self.statistics
        of = "None"
        if statistics is not None:
            K, D = statistics.first.shape
            of = f"<{statistics.moments!r} moments of {K} components, {D} features>"
        return f"PassResult({terms}, statistics={of}, dtype={self.dtype})"
