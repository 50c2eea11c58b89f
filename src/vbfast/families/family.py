"""What a family of mixtures is: the protocol that estimators and the loops of inference stand on.

A family turns statistics of the rows into parameters, and parameters into the log-joint that the
next pass is run with. It says what the iterations climb, how a fit starts, and which attributes of
an estimator hold the parameters. It runs no passes and knows no backend.

``P`` is the type of its parameters, whatever that is: weights, means and covariances, or a
posterior over them.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import cache
from typing import Any, Protocol, TypeGuard, TypeVar, runtime_checkable

import numpy as np
import numpy.typing as npt

from vbfast.contract import (
    Float64Array,
    FloatArray,
    Form,
    LinearAlgebra,
    LogJoint,
    Moments,
    PassResult,
    Statistics,
    Steps,
)

__all__ = ["Coordinates", "Family", "Looped", "Objective", "Parameters", "Rows", "takes_steps"]


class Parameters(Protocol):
    """Parameters, or a posterior over them, that passes can be run with."""

    def log_joint(self) -> LogJoint:
        """Return the log-joint, or its expectation under the posterior."""

    def log_density(self) -> LogJoint:
        """Return the log-joint without the weights: the log-densities of the components."""

    @property
    def log_weights(self) -> Float64Array:
        """The weights' share of the log-joint, shape (n_components,), nats."""


P = TypeVar("P", bound=Parameters)


class Objective(Protocol[P]):
    """The bound that iterations climb, and the global step that climbs it."""

    @property
    def moments(self) -> Moments:
        """The moments that a pass sums, to serve the global step and the bound."""

    @property
    def scatter_floor(self) -> Callable[[Float64Array], Float64Array] | None:
        """What the global step adds to sums of squares about the means; None without such sums.

        A function of the components' weights ``N_k``. Second moments that have lost digits beside
        what it returns are taken again about the new means.
        """

    def global_step(self, sums: PassResult, previous: P, linalg: LinearAlgebra) -> P:
        """Maximize the bound at fixed responsibilities.

        Parameters
        ----------
        sums : PassResult
            With statistics.
        previous : parameters
            What the pass was run with.
        linalg : LinearAlgebra
            Of the backend that took the pass.
        """

    def lower_bound(self, sums: PassResult, previous: P, updated: P) -> float:
        """Return the bound, from a pass's sums, what it was run with and what it led to.

        Parameters
        ----------
        sums : PassResult
            With statistics.
        previous, updated : parameters
            What the pass was run with, and what :meth:`global_step` made of its sums.
        """

    @property
    def per_unit_of_weight(self) -> bool:
        """Whether the bound is an average over the rows."""

    def merit(self, lower_bound: float, sums: PassResult, previous: P, updated: P) -> float:
        """Return what the iterations climb, where that is not the bound itself.

        Parameters
        ----------
        lower_bound : float
            The result of :meth:`lower_bound` for the other arguments.
        sums : PassResult
        previous, updated : parameters
        """

    @property
    def climbs_merit(self) -> bool:
        """Whether no iteration lowers the merit but by rounding."""

    def threshold(self, tol: float, total_weight: float) -> float:
        """Return the change of the bound below which the iterations have converged.

        Parameters
        ----------
        tol : float
            The estimator's.
        total_weight : float
            Sum of the rows' weights.
        """


class Looped(Objective[P], Protocol[P]):
    """An objective whose global steps a backend can take by itself, in a loop of its own."""

    def steps(self, parameters: P, dtype: np.dtype[Any]) -> Steps | None:
        """Return what the loop begins with.

        ``None`` if it cannot: with these parameters, or for passes in ``dtype``.
        """

    def after(self, steps: Any, previous: P) -> P:
        """Return the parameters that the steps have led to, from ``previous`` ones on."""

    @property
    def weight_of_tolerance(self) -> float:
        """The weight of all rows up to which :meth:`threshold` is the tolerance.

        Beyond it the threshold grows in proportion to the weight. May be infinite.
        """


def takes_steps(objective: Objective[P]) -> TypeGuard[Looped[P]]:
    """Return whether an objective is :class:`Looped`."""
    return _has_steps(type(objective))


@cache  # to look for the members takes as long as a small pass
def _has_steps(kind: type) -> bool:
    return all(hasattr(kind, name) for name in ("steps", "after", "weight_of_tolerance"))


class Coordinates(Protocol[P]):
    """Unconstrained coordinates of parameters: every vector of them is valid."""

    def vector(self, parameters: P) -> Float64Array:
        """Return the coordinates, all finite."""

    def metric(self, parameters: P) -> Float64Array:
        """Return the positive weights of squared differences of coordinates, near parameters."""

    def parameters(self, vector: Float64Array, image: P) -> P:
        """Return the parameters at coordinates; ``image`` stands in where they say nothing."""


class Rows(Protocol):
    """What the start of a fit may ask about its rows, of whoever runs the passes."""

    @property
    def n_features(self) -> int:
        """Number of columns."""

    @property
    def dtype(self) -> np.dtype[Any]:
        """Dtype of the computation, float32 or float64."""

    @property
    def total_weight(self) -> float:
        """Sum of the rows' weights."""

    @property
    def linalg(self) -> LinearAlgebra:
        """The linear algebra of the backend that passes run on."""

    def first_weighted_row(self) -> FloatArray:
        """Return a copy of the first row of positive weight, shape (n_features,)."""


@runtime_checkable
class Family(Objective[P], Protocol[P]):
    """A family of mixtures: parameters, log-joint, start, global step and bound.

    Whoever has these members can be the ``family`` of :class:`vbfast.Mixture`.
    :class:`~vbfast.families.ComponentFamily` is a base class that has most of them for families
    that are fitted by maximum likelihood.
    """

    @property
    def attribute_names(self) -> tuple[str, ...]:
        """The fitted attributes of an estimator that hold the parameters, ``weights_`` first."""

    def attributes(self, parameters: P, dtype: np.dtype[Any]) -> dict[str, Any]:
        """Return the fitted attributes of parameters.

        Arrays may be those of the parameters: estimators have copies, and write to neither.

        Parameters
        ----------
        parameters : parameters
        dtype : float32 or float64
            Of the rows of the fit.

        Raises
        ------
        ValueError
            If a number overflows ``dtype``.
        """

    def parameters(self, attributes: Mapping[str, Any]) -> P:
        """Return the parameters that fitted attributes hold.

        Parameters
        ----------
        attributes : mapping of str to Any
            By name; they may have been set after the fit.

        Raises
        ------
        TypeError
            If an attribute is complex or not numeric.
        ValueError
            If shapes do not go together, or numbers are impossible.
        """

    def statistics_form(self, n_components: int, rows: Rows) -> Form | None:
        """Return the form of passes that sum the statistics of a start, with no parameters yet.

        ``None`` for moments of the rows about the components' means.

        Parameters
        ----------
        n_components : int
        rows : Rows
            With ``n_features`` and ``dtype``.
        """

    @property
    def scale_free(self) -> bool:
        """Whether parameters depend on the ratios of the rows' weights alone.

        A fit then scales small weights up: what is added to ``N_k`` against division by zero is not
        to count.
        """

    def given_start(self) -> P | None:
        """Return a start that the family was made with and that needs no rows, if there is one."""

    def start(self, statistics: Statistics, rows: Rows) -> P:
        """Return the parameters that the statistics of the first responsibilities lead to.

        Parameters
        ----------
        statistics : Statistics
        rows : Rows
            With ``n_features`` and ``dtype``.
        """

    @property
    def coordinates(self) -> Coordinates[P] | None:
        """Coordinates to extrapolate iterations in; ``None`` where there are none."""

    def n_free_parameters(self, n_components: int, n_features: int) -> int | None:
        """Return how many free parameters a mixture has; ``None`` where that is not known.

        Parameters
        ----------
        n_components, n_features : int
        """

    def bound_at(self, sums: PassResult, parameters: P) -> float:
        """Return the bound of parameters, from the sums of a pass that was run with them.

        It is in the unit of :meth:`lower_bound`, which pairs the pass's responsibilities with the
        next parameters instead.

        Parameters
        ----------
        sums : PassResult
        parameters : parameters
        """

    def statistics_of(self, parameters: P) -> Statistics | None:
        """Return statistics that lead to these parameters; ``None`` where they are not known.

        They stand for the rows of a fit that are not there any more. Their weights are those of the
        rows, or sum to one where the parameters do not tell.

        Parameters
        ----------
        parameters : parameters
        """

    @property
    def draws(self) -> bool:
        """Whether :meth:`draw` can be asked for rows."""

    def draw(
        self,
        parameters: P,
        counts: npt.NDArray[np.int64],
        random_state: np.random.RandomState,
    ) -> Float64Array:
        """Draw ``counts[k]`` rows of each component, ordered by component.

        Parameters
        ----------
        parameters : parameters
        counts : ndarray of shape (n_components,), int64
        random_state : numpy.random.RandomState

        Returns
        -------
        ndarray of shape (counts.sum(), n_features)
        """
