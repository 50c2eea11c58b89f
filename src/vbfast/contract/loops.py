"""Loops that a backend may run by itself: many passes over few rows.

Between two passes of a loop in Python lie some tens of microseconds, as long as a pass over a
thousand rows of a small mixture takes. A backend that takes the steps between passes as well has
the same bits, and leaves to its caller whatever is out of the ordinary.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from typing import Any, NamedTuple, Protocol, TypeGuard

import numpy as np
import numpy.typing as npt

from vbfast.contract.backend import Backend
from vbfast.contract.blocking import Blocking
from vbfast.contract.posteriors import NormalWishartArrays
from vbfast.contract.result import PassResult
from vbfast.contract.rows import RowBlock
from vbfast.contract.types import CovarianceType, Float64Array

__all__ = [
    "Iterated",
    "LikelihoodSteps",
    "LoopingBackend",
    "MovedCentres",
    "Ordinary",
    "Settling",
    "Steps",
    "VariationalSteps",
    "offers_loops",
]


@dataclass(frozen=True)
class LikelihoodSteps:
    """Where global steps of most likelihood begin, or have come to.

    Attributes
    ----------
    covariance_type : {'full', 'tied', 'diag', 'spherical'}
    weights, means, covariances, precision_cholesky : ndarray
        As of :class:`vbfast.families.gaussian_parameters.GaussianParameters`.
    offset : ndarray of shape (n_components,)
        Of the log-joint that they make.
    variance, least_count, empty : float
        As for :meth:`~vbfast.contract.linear_algebra.LinearAlgebra.gaussian_moments`.
    """

    covariance_type: CovarianceType
    weights: Float64Array
    means: Float64Array
    covariances: Float64Array
    precision_cholesky: Float64Array
    offset: Float64Array
    variance: float
    least_count: float
    empty: float


@dataclass(frozen=True)
class VariationalSteps:
    """Where global steps of variational Bayes begin, or have come to.

    Attributes
    ----------
    covariance_type : {'full', 'tied', 'diag', 'spherical'}
    sticks : bool
        Whether the weights are those of broken sticks, and not of a Dirichlet distribution.
    concentration : float
        Of the prior of the weights.
    prior : NormalWishartArrays
        Of the components, one for all.
    prior_covariance : ndarray
        ``W_0^-1``.
    counts, expected_log_weights : ndarray of shape (n_components,)
        Of the posterior of the weights.
    posterior : NormalWishartArrays
        Of the components.
    covariances : ndarray
        ``(nu_k W_k)^-1``.
    offset : ndarray of shape (n_components,)
        Of the expected log-joint.
    variance, least_count : float
        As for :meth:`~vbfast.contract.posteriors.Posteriors.normal_wishart_posterior`.
    """

    covariance_type: CovarianceType
    sticks: bool
    concentration: float
    prior: NormalWishartArrays
    prior_covariance: Float64Array
    counts: Float64Array
    expected_log_weights: Float64Array
    posterior: NormalWishartArrays
    covariances: Float64Array
    offset: Float64Array
    variance: float
    least_count: float


Steps = LikelihoodSteps | VariationalSteps


class Settling(NamedTuple):
    """When the bound has settled, see :func:`vbfast.inference.convergence.has_settled`.

    Attributes
    ----------
    tolerance : float
    weight_of_tolerance : float
        Of heavier rows the threshold is larger than the tolerance, in proportion. May be infinite.
    small : float
        The part of all change below which a change may be small.
    previous_bound : float
    """

    tolerance: float
    weight_of_tolerance: float
    small: float
    previous_bound: float


class Ordinary(NamedTuple):
    """What iterations are no longer ordinary by.

    Attributes
    ----------
    negligible : float
        How far below the lowest log evidence of the pass before no component's offset is, nats.
    tolerated, reach : float
        By which second moments have not cancelled, see
        :meth:`~vbfast.contract.moment_shifts.MomentShifts.second_moments_cancel`.
    """

    negligible: float
    tolerated: float
    reach: float


class MovedCentres(NamedTuple):
    """Where Lloyd's iterations have led.

    Attributes
    ----------
    centres : ndarray of shape (n_clusters, n_features)
    n_iterations : int
    rested : bool
        Whether the last shifts were within the tolerance.
    left : bool
        Whether the next iteration is the caller's, as a centre has no row, or a row is not finite.
    """

    centres: Float64Array
    n_iterations: int
    rested: bool
    left: bool


class Iterated(NamedTuple):
    """Where iterations have led.

    Attributes
    ----------
    steps : Steps
    bounds : list of float
        Of all iterations, those before included, nats.
    settled : bool
    left : bool
        Whether the next iteration is the caller's, as it is out of the ordinary.
    sums : PassResult
        Of the last pass that led to a bound, without statistics.
    """

    steps: Steps
    bounds: list[float]
    settled: bool
    left: bool
    sums: PassResult


class LoopingBackend(Backend, Protocol):
    """What a backend may offer beside: loops of k-means and of Gaussian mixtures."""

    def choose_seeds(
        self,
        blocks: Sequence[RowBlock],
        for_one: Blocking,
        for_trials: Blocking,
        n_clusters: int,
        *,
        n_trials: int,
        quantiles: Float64Array,
        workspace: Any,
        num_threads: int,
    ) -> tuple[npt.NDArray[np.intp], float] | None:
        """Choose rows as first centres by greedy k-means++ (Arthur and Vassilvitskii 2007).

        Parameters
        ----------
        blocks : sequence of RowBlock
            All rows, in one block.
        for_one, for_trials : Blocking
            Of seeding passes over one candidate, and over ``n_trials``.
        n_clusters : int
        n_trials : int
            Candidates for each centre but the first.
        quantiles : ndarray of shape (1 + (n_clusters - 1) * n_trials,)
            In [0, 1). Cumulative masses are inverted there, see
            :func:`vbfast.inference.kmeans.draw_rows`.
        workspace : object
        num_threads : int

        Returns
        -------
        rows : ndarray of shape (n_clusters,), intp
        separation : float
            The least squared distance between two that differ; infinite if none do.
        None
            If a row is not finite.
        """

    def move_centres(
        self,
        blocks: Sequence[RowBlock],
        blocking: Blocking,
        centres: Float64Array,
        *,
        precision: float,
        tolerance: float,
        max_iterations: int,
        bounds: Any,
        workspace: Any,
        num_threads: int,
    ) -> MovedCentres:
        """Move centres to the means of the rows closest to them (Lloyd 1982).

        Parameters
        ----------
        blocks : sequence of RowBlock
            All rows.
        blocking : Blocking
            Of 'hard' passes with first moments.
        centres : ndarray of shape (n_clusters, n_features)
        precision : float
            Of the spherical form that has the squared distances.
        tolerance : float
            The iterations end when the squares of the shifts sum to no more.
        max_iterations : int
        bounds : object
            What ``nearest_bounds`` returned, or None.
        workspace : object
        num_threads : int
        """

    def iterate_gaussians(
        self,
        blocks: Sequence[RowBlock],
        blocking: Blocking,
        steps: Steps,
        settling: Settling,
        ordinary: Ordinary,
        *,
        most: int,
        lowest_log_evidence: float,
        bounds: list[float],
        workspace: Any,
        num_threads: int,
    ) -> Iterated:
        """Alternate passes and global steps as :func:`vbfast.inference.em.run_em` does.

        Parameters
        ----------
        blocks : sequence of RowBlock
            All rows.
        blocking : Blocking
            Of 'posterior' passes with the moments of the covariance type.
        steps : Steps
        settling : Settling
        ordinary : Ordinary
        most : int
            Iterations at most.
        lowest_log_evidence : float
            Of the pass before, ``-inf`` before the first.
        bounds : list of float
            Of the iterations before.
        workspace : object
        num_threads : int
        """


def offers_loops(backend: Backend) -> TypeGuard[LoopingBackend]:
    """Return whether a backend is a :class:`LoopingBackend`."""
    return _has_methods_of_loops(type(backend))


@cache  # to look for the methods takes as long as a small pass
def _has_methods_of_loops(kind: type) -> bool:
    names = ("choose_seeds", "move_centres", "iterate_gaussians")
    return all(hasattr(kind, name) for name in names)
