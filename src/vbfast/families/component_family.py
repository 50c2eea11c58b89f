"""Components that are estimated from sums over the rows: a base class, and their parameters.

A component's parameters ``theta_k`` are estimated from ``sum_n r_nk t(x_n)`` and
``N_k = sum_n r_nk``, where ``r_nk`` are the responsibilities times the rows' weights. For an
exponential family ``t`` are its sufficient statistics, and the maximizer is the ``theta`` whose
expectation of ``t`` is ``sum_n r_nk t(x_n) / N_k`` (Bishop 2006, eq. 2.226-2.228). Whatever else
raises ``sum_n r_nk log p(x_n | theta_k)`` makes a generalised EM (Dempster, Laird and Rubin 1977,
section 3).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import numpy.typing as npt

from vbfast.contract import (
    Float64Array,
    Form,
    Linear,
    LinearAlgebra,
    LogJoint,
    Moments,
    PassResult,
    Statistics,
)
from vbfast.families.attributes import fitted_array, fitted_weights
from vbfast.families.evidence import EvidencePerRow
from vbfast.families.family import Rows
from vbfast.families.gaussian_step import EMPTY_COMPONENT
from vbfast.families.mixing_weights import log_proportions
from vbfast.inputs.numbers import as_numbers

__all__ = ["ComponentFamily", "ComponentParameters"]


@dataclass(frozen=True)
class ComponentParameters:
    """Parameters of a mixture of such components, all float64.

    Attributes
    ----------
    family : ComponentFamily
    n_features : int
    weights : ndarray of shape (n_components,)
        Mixing proportions.
    theta : ndarray of shape (n_components, n_parameters)
    """

    family: ComponentFamily
    n_features: int
    weights: Float64Array
    theta: Float64Array

    def log_joint(self) -> LogJoint:
        """Return the log-joint ``log pi_k + log p(x | theta_k)`` as a pass takes it."""
        density = self.log_density()
        return replace(density, offset=self.log_weights + density.offset)

    def log_density(self) -> LogJoint:
        """Return the log-joint without the weights.

        Raises
        ------
        TypeError, ValueError
            If ``log_densities`` returns no log-joint, or one of other components or features, or
            an offset of it is NaN or infinity.
        """
        density = self.family.log_densities(self.theta, self.n_features)
        if not isinstance(density, LogJoint):
            raise TypeError(f"log_densities must return a LogJoint; got {density!r}")
        K, D = len(self.theta), self.n_features
        if (density.n_components, density.n_features) != (K, D):
            raise ValueError(
                f"log_densities must return a LogJoint of {K} components and {D} features; got "
                f"{density.n_components} and {density.n_features}"
            )
        if not (density.offset < np.inf).all():
            raise ValueError(
                f"offsets that log_densities returns must be finite or -inf; got {density.offset}"
            )
        return density

    @property
    def log_weights(self) -> Float64Array:
        """``log pi_k``, nats."""
        return log_proportions(self.weights)


class ComponentFamily(EvidencePerRow):
    """Base class of a family of component densities, for :class:`vbfast.Mixture`.

    A subclass has :meth:`log_densities` and a method ``maximize(statistics, weight)``. That is the
    global step: of ``statistics`` of shape (n_components, n_statistics), the sums
    ``sum_n r_nk t(x_n)``, and ``weight`` of shape (n_components,), ``N_k = sum_n r_nk``, it makes
    the parameters, of shape (n_components, n_parameters), as many every time. The mixing weights
    are estimated here. Components without rows are left out, and keep the parameters that they
    have.

    With a method ``sample(theta, n_samples, random_state)`` a mixture can be drawn from: it makes
    rows, of shape (n_samples, n_features), of one component with ``theta`` of shape
    (n_parameters,). With :meth:`n_free_parameters` it has information criteria.

    Attributes
    ----------
    attribute : str
        The name of the fitted attribute that holds the components' parameters; ``'parameters_'``
        unless a subclass says otherwise.

    See Also
    --------
    Custom : A family of functions of a row, which numba compiles.

    Notes
    -----
    A density that is linear in the rows, ``offset_k + x . theta_k``, is evaluated by the passes as
    :class:`vbfast.families.Linear`, and what is summed are the rows themselves. A term of the
    density that depends on the row alone may be left out: it changes evidence and bound by a
    constant.

    Examples
    --------
    Waiting times, as a mixture of exponential distributions with independent features:

    >>> import numpy as np
    >>> import vbfast
    >>> from vbfast.families import ComponentFamily, Linear, LogJoint
    >>> class Exponential(ComponentFamily):
    ...     attribute = "rates_"
    ...
    ...     def log_densities(self, theta, n_features):
    ...         return LogJoint(np.log(theta).sum(axis=1), Linear(-theta))
    ...
    ...     def maximize(self, statistics, weight):
    ...         return weight[:, np.newaxis] / statistics
    >>> rng = np.random.default_rng(0)
    >>> X = np.concatenate([rng.exponential(0.1, (800, 2)), rng.exponential(5.0, (800, 2))])
    >>> mixture = vbfast.Mixture(Exponential(), 2, random_state=0).fit(X)
    >>> (1.0 / np.sort(mixture.rates_, axis=0)).round(1)
    array([[5.2, 4.9],
           [0.1, 0.1]])
    """

    attribute: str = "parameters_"
    moments: Moments = "first"
    scatter_floor: None = None
    scale_free: bool = False
    coordinates: None = None

    maximize: Callable[[Float64Array, Float64Array], Any]
    sample: Callable[[Float64Array, int, np.random.RandomState], Any] | None = None

    def log_densities(self, theta: Float64Array, n_features: int) -> LogJoint:
        """Return the components' log-densities, as a log-joint without weights.

        Parameters
        ----------
        theta : ndarray of shape (n_components, n_parameters), float64
        n_features : int

        Returns
        -------
        LogJoint
            Of as many components and features.
        """
        raise NotImplementedError

    def n_free_parameters(self, n_components: int, n_features: int) -> int | None:
        """Return how many free parameters a mixture has, its weights included.

        Parameters
        ----------
        n_components, n_features : int
        """

    def statistics_form(self, n_components: int, rows: Rows) -> Form:
        """Return a form whose statistics are those of the family: here of the rows themselves."""
        return Linear(np.zeros((n_components, rows.n_features)))

    def given_start(self) -> ComponentParameters | None:
        """Return ``None``: a start takes rows."""
        return None

    def start(self, statistics: Statistics, rows: Rows) -> ComponentParameters:
        """Return the parameters that the statistics of the first responsibilities lead to.

        Raises
        ------
        TypeError, ValueError
            As :meth:`global_step`, or if a component has no rows to start from.
        """
        return self._estimate(statistics, rows.dtype, rows.n_features, None)

    def global_step(
        self, sums: PassResult, previous: ComponentParameters, linalg: LinearAlgebra
    ) -> ComponentParameters:
        """Take the global step with ``maximize``.

        A component with ``N_k < 1000 * eps`` has lost its rows: it keeps its parameters, and its
        weight is what it has left.

        Raises
        ------
        TypeError
            If ``maximize`` returns no real numbers.
        ValueError
            If what it returns has another shape or is not finite, or if no component has rows.
        """
        del linalg
        assert sums.statistics is not None
        return self._estimate(sums.statistics, sums.dtype, previous.n_features, previous.theta)

    def _estimate(
        self,
        statistics: Statistics,
        dtype: np.dtype[Any],
        n_features: int,
        previous: Float64Array | None,
    ) -> ComponentParameters:
        weight = statistics.weight
        held = weight >= EMPTY_COMPONENT * float(np.finfo(dtype).eps)
        if not held.any():
            raise ValueError(
                "no component holds rows: log_density is -inf for all of them, or the sum of "
                "sample_weight next to zero"
            )
        sums = statistics.first + weight[:, np.newaxis] * statistics.centres
        finite = np.isfinite(sums).all(axis=1) | ~held
        if not finite.all():
            component = int(np.argmin(finite))
            raise ValueError(
                "sums of sufficient_statistics must be finite numbers; those of component "
                f"{component} are {sums[component]}. Numbers in X may be too large"
            )
        theta = _checked(self.maximize(sums[held], weight[held]), int(held.sum()))
        if previous is not None and theta.shape[1] != previous.shape[1]:
            raise ValueError(
                f"maximize returned {theta.shape[1]} parameters a component, and "
                f"{previous.shape[1]} before"
            )
        if not held.all():
            if previous is None:
                raise ValueError(
                    "every component needs rows to start from; component "
                    f"{int(np.argmin(held))} has none"
                )
            kept = previous.copy()
            kept[held] = theta
            theta = kept
        return ComponentParameters(self, n_features, weight / weight.sum(), theta)

    @property
    def attribute_names(self) -> tuple[str, ...]:
        """``weights_``, :attr:`attribute`, and the number of features, which they do not tell."""
        return ("weights_", self.attribute, "_n_features")

    def attributes(self, parameters: ComponentParameters, dtype: np.dtype[Any]) -> dict[str, Any]:
        """Return the fitted attributes of parameters, in float64."""
        del dtype
        # `maximize` may have returned memory of its own.
        values = (parameters.weights, parameters.theta.copy(), parameters.n_features)
        return dict(zip(self.attribute_names, values, strict=True))

    def parameters(self, attributes: Mapping[str, Any]) -> ComponentParameters:
        """Return the parameters that fitted attributes hold."""
        shape = np.shape(attributes[self.attribute])
        if len(shape) != 2 or 0 in shape:
            raise ValueError(
                f"{self.attribute} must have shape (n_components, n_parameters), at least one of "
                f"each; got shape {shape}"
            )
        weights = fitted_weights(attributes, shape[0])
        theta = fitted_array(attributes, self.attribute, shape)
        return ComponentParameters(self, attributes["_n_features"], weights, theta)

    @property
    def draws(self) -> bool:
        """Whether there is a method ``sample``."""
        return self.sample is not None

    def draw(
        self,
        parameters: ComponentParameters,
        counts: npt.NDArray[np.int64],
        random_state: np.random.RandomState,
    ) -> Float64Array:
        """Draw rows with ``sample``, of one component after another.

        Raises
        ------
        TypeError, ValueError
            If what it returns are no finite numbers of shape (n_samples, n_features).
        """
        return np.concatenate(
            [
                self._draw(parameters, k, count, random_state)
                for k, count in enumerate(counts.tolist())
                if count > 0
            ]
        )

    def _draw(
        self,
        parameters: ComponentParameters,
        component: int,
        n_samples: int,
        random_state: np.random.RandomState,
    ) -> Float64Array:
        assert self.sample is not None
        drawn = self.sample(parameters.theta[component], n_samples, random_state)
        rows = np.asarray(as_numbers(drawn, "what sample returned"), dtype=np.float64)
        wanted = (n_samples, parameters.n_features)
        if rows.shape != wanted and (*rows.shape, 1) != wanted:
            raise ValueError(
                f"sample must return an array of shape (n_samples, n_features) = {wanted}; got "
                f"shape {rows.shape}"
            )
        if not np.isfinite(rows).all():
            raise ValueError("sample must return finite numbers; got NaN or infinity")
        return rows.reshape(wanted)


def _checked(returned: Any, n_components: int) -> Float64Array:
    try:
        found = np.asarray(returned)
    except ValueError as error:
        raise ValueError(f"maximize must return an array: {error}") from error
    if found.dtype.kind not in "biuf":
        raise TypeError(f"maximize must return real numbers; got {returned!r}")
    theta = np.ascontiguousarray(found, dtype=np.float64)
    if theta.ndim != 2 or len(theta) != n_components or theta.shape[1] == 0:
        raise ValueError(
            "maximize must return an array of shape (n_components, n_parameters) with "
            f"n_components = {n_components}; got shape {np.shape(returned)}"
        )
    finite = np.isfinite(theta).all(axis=1)
    if not finite.all():
        component = int(np.argmin(finite))
        raise ValueError(
            f"maximize must return finite parameters; component {component} of {n_components} has "
            f"{theta[component]}"
        )
    return theta
