"""Peers side by side: the same iterations from the same parameters, in turns, in one run.

Whoever takes part starts from the same weights, means and covariances. An iteration's seconds are
those of a run of six iterations less those of a run of one, divided by five. Before that each
compiles and allocates in runs that are not timed. Then all take turns, so that all see the same
machine. The bound, nats a row, is computed here from the parameters that come out, for everybody by
the same function; a ratio of times is given only where the bounds agree.
"""

from __future__ import annotations

import datetime as dt
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol

import numpy as np

import vbfast
from vbfast.benchmark.cases import Case
from vbfast.benchmark.machine import machine
from vbfast.benchmark.peers.entrants import ITERATIONS, Entrant, Task
from vbfast.benchmark.peers.process import PeerError
from vbfast.contract import CovarianceType, Float64Array, FloatArray
from vbfast.families.covariances import precision_factor

__all__ = ["AGREEMENT", "Comparison", "Peak", "Result", "bound_of", "compare", "record_of"]

# Nats a row, up to which bounds are equal.
AGREEMENT = 1e-3


class Peak(Protocol):
    """A large matrix product."""

    def warm_up(self, task: Task) -> int:
        """Let it have its memory and threads."""
        ...

    def peak(self) -> float:
        """Return the floating-point operations a second of one more product."""
        ...


@dataclass
class Result:
    """What a library has done with a case.

    Attributes
    ----------
    library, version : str
    processors : int
        Those that it was faster with; 0 if it did not run.
    seconds : list of float
        Of an iteration, one for each turn.
    bound : float
        Mean log evidence after six iterations, nats; NaN if there is none.
    remark : str
        Why there are no seconds.
    """

    library: str
    version: str = ""
    processors: int = 0
    seconds: list[float] = field(default_factory=list)
    bound: float = math.nan
    remark: str = ""

    @property
    def median(self) -> float:
        """Median seconds of an iteration; NaN if none was timed."""
        return float(np.median(self.seconds)) if self.seconds else math.nan

    def record(self, ours: Result) -> dict[str, Any]:
        """Return what is written to JSON."""
        timed, known = bool(self.seconds), math.isfinite(self.bound)
        return {
            "library": self.library,
            "version": self.version,
            "processors": self.processors,
            "turns": len(self.seconds),
            "seconds": self.median if timed else None,
            "least_seconds": min(self.seconds) if timed else None,
            "most_seconds": max(self.seconds) if timed else None,
            "bound": self.bound if known else None,
            "bound_difference": self.bound - ours.bound if known else None,
            "ratio": self.ratio(ours),
            "remark": self.remark,
        }

    def agrees(self, ours: Result) -> bool:
        """Return whether the bound is ours."""
        return abs(self.bound - ours.bound) <= AGREEMENT  # NaN is no agreement

    def ratio(self, ours: Result) -> float | None:
        """Return how many times as long as ours it takes; None where the bounds differ."""
        if not (self.agrees(ours) and self.median > 0.0 and ours.median > 0.0):
            return None
        return self.median / ours.median


@dataclass(frozen=True)
class Comparison:
    """A case in one dtype, with the results of everybody; ours are the first.

    Attributes
    ----------
    case : Case
    dtype : str
    results : list of Result
    peak : float
        Floating-point operations a second of a matrix product.
    floor : float
        Seconds that an iteration cannot do without, :meth:`Case.floor`.
    """

    case: Case
    dtype: str
    results: list[Result]
    peak: float
    floor: float

    def record(self) -> dict[str, Any]:
        """Return what is written to JSON."""
        ours = self.results[0]
        return {
            "case": self.case.name,
            "dtype": self.dtype,
            "covariance_type": self.case.covariance_type,
            "n_samples": self.case.n_samples,
            "n_features": self.case.n_features,
            "n_components": self.case.n_components,
            "matrix_product_flops": self.peak,
            "floor_seconds": self.floor,
            "results": [result.record(ours) for result in self.results],
        }


def bound_of(
    rows: FloatArray,
    parameters: tuple[Float64Array, Float64Array, Float64Array],
    covariance_type: CovarianceType,
) -> float:
    """Return the mean log evidence of rows, nats, in float64.

    Parameters
    ----------
    rows : ndarray of shape (n_samples, n_features)
    parameters : tuple of ndarray, float64
        Weights, means and covariances, shaped as scikit-learn's.
    covariance_type : {'full', 'tied', 'diag', 'spherical'}

    Raises
    ------
    PeerError
        If the parameters are those of no mixture.
    """
    weights, means, covariances = parameters
    try:
        with np.errstate(divide="ignore", invalid="ignore"):
            factors = precision_factor(covariance_type, covariances)
            evidence = vbfast.mixture_log_evidence(
                rows, np.log(weights), means, factors, covariance_type
            )
    except ValueError as error:
        raise PeerError(f"no mixture came out: {error}") from error
    return float(np.mean(evidence, dtype=np.float64))


def compare(
    task: Task,
    entrants: Sequence[Entrant],
    product: Peak,
    *,
    repeats: int,
    patience: float = math.inf,
) -> Comparison:
    """Let everybody take the same iterations, in turns.

    Parameters
    ----------
    task : Task
    entrants : sequence of Entrant
        Ours is the first. One that fails is left out from then on, and its result says why.
    product : Peak
        It has its turn right after ours.
    repeats : int
        Turns of each.
    patience : float
        Seconds of turns, after which a slow library has no more of them.

    Returns
    -------
    Comparison

    Raises
    ------
    PeerError
        If ours or the product fails.
    """
    results = [Result(entrant.name) for entrant in entrants]
    product.warm_up(task)
    running = [pair for pair in zip(entrants, results, strict=True) if _warm(*pair, task)]
    ours = results[0]
    if not ours.processors:
        raise PeerError(ours.remark)
    peaks: list[float] = []
    for _ in range(repeats):
        for entrant, result in running:
            spent = (2 + ITERATIONS) * sum(result.seconds)
            if not result.remark and (result is ours or spent < patience):
                _turn(entrant, result)
            if result is ours:
                peaks.append(product.peak())
    for result in results:
        if result.remark:
            result.seconds.clear()
    floors = [task.case.floor(peak, task.rows.dtype, ours.processors) for peak in peaks]
    return Comparison(
        task.case,
        task.rows.dtype.name,
        results,
        float(np.median(peaks)),
        float(np.median(floors)),
    )


def _warm(entrant: Entrant, result: Result, task: Task) -> bool:
    """Let one compile and allocate; return whether it can run, and note the bound."""
    lack = entrant.lacks(task)
    if lack is not None:
        result.remark = lack
        return False
    try:
        result.version = entrant.version()
        processors = entrant.warm_up(task)
        result.bound = bound_of(task.rows, entrant.parameters(), task.case.covariance_type)
    except PeerError as error:
        result.remark = str(error)
        return False
    result.processors = processors
    return True


def _turn(entrant: Entrant, result: Result) -> None:
    try:
        result.seconds.append(entrant.turn())
    except PeerError as error:
        result.remark = str(error)


def record_of(
    comparisons: Sequence[Comparison], absent: Mapping[str, str], **others: Any
) -> dict[str, Any]:
    """Return what is written to JSON: tables and figures are made from this alone.

    Parameters
    ----------
    comparisons : sequence of Comparison
    absent : mapping of str to str
        Why peers did not take part.
    **others
        More entries, of JSON's types.
    """
    return {
        "machine": machine(),
        "date": str(dt.date.today()),
        "iterations": ITERATIONS,
        "agreement": AGREEMENT,
        **others,
        "comparisons": [comparison.record() for comparison in comparisons],
        "absent": dict(absent),
    }
