"""Sufficient statistics of a mixture, as a value: they add up, scale, move and select."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
import numpy.typing as npt

from vbfast.contract.moment_shifts import MomentShifts, subtract_symmetric
from vbfast.contract.types import CovarianceType, Float64Array

__all__ = ["MOMENTS_OF", "Moments", "Statistics", "second_shape"]

Moments = Literal["first", "diag", "spherical", "pooled", "full"]
# Those that the global step of a covariance type needs.
MOMENTS_OF: dict[CovarianceType, Moments] = {
    "full": "full",
    "tied": "pooled",
    "diag": "diag",
    "spherical": "spherical",
}


def second_shape(moments: Moments, n_components: int, n_features: int) -> tuple[int, ...] | None:
    """Return the shape of the second moments, None where there are none."""
    return {
        "first": None,
        "diag": (n_components, n_features),
        "spherical": (n_components,),
        "pooled": (n_features, n_features),
        "full": (n_components, n_features, n_features),
    }[moments]


@dataclass(frozen=True, eq=False)
class Statistics:
    """Sufficient statistics about fixed centres, float64.

    With ``r = w_n q_nk`` and ``d = x_n - centres_k``; under a Student link ``r`` is
    ``w_n q_nk E[u_nk]`` but in ``weight`` (Peel and McLachlan 2000, eq. 20).

    Values: statistics of the same moments about the same centres add up, those of rows that weigh
    ``c`` times as much are ``c`` times these, and :meth:`about` and :meth:`select` return others.
    Sums depend on their order in the last bits, so that a fixed order gives fixed bits.

    Attributes
    ----------
    moments : {'first', 'diag', 'spherical', 'pooled', 'full'}
    centres : ndarray of shape (n_components, n_features)
    weight : ndarray of shape (n_components,)
        ``N_k = sum_n w_n q_nk``.
    first : ndarray of shape (n_components, n_features)
        ``sum_n r d``.
    second : ndarray or None
        'full': ``sum_n r d d^T``, shape (K, D, D), symmetric; 'pooled': the same summed over k,
        shape (D, D); 'diag': ``sum_n r d^2``, shape (K, D); 'spherical': its mean over the
        features, shape (K,); None for 'first'.
    scale : ndarray of shape (n_components,) or None
        ``sum_n r`` where that is not ``weight``: under a Student link.

    Examples
    --------
    >>> import numpy as np
    >>> import vbfast
    >>> one = vbfast.Statistics(
    ...     "diag", np.zeros((1, 1)), np.array([2.0]), np.array([[3.0]]), np.array([[5.0]])
    ... )
    >>> both = one + one
    >>> both == 2.0 * one
    True
    >>> both.about(np.array([[1.5]])).second
    array([[1.]])
    """

    moments: Moments
    centres: Float64Array
    weight: Float64Array
    first: Float64Array
    second: Float64Array | None
    scale: Float64Array | None = None

    @property
    def mass(self) -> Float64Array:
        """``sum_n r``, shape (n_components,): what a mean is divided by."""
        return self.weight if self.scale is None else self.scale

    def __add__(self, other: Statistics) -> Statistics:
        """Return the statistics of the rows of both.

        Raises
        ------
        ValueError
            If they are of other moments or about other centres.
        """
        if not isinstance(other, Statistics):
            return NotImplemented
        if self.moments != other.moments:
            raise ValueError(
                f"statistics of moments {self.moments!r} and {other.moments!r} do not add up"
            )
        if not np.array_equal(self.centres, other.centres):
            raise ValueError(
                "statistics about other centres do not add up: move one of them with about()"
            )
        self._check_links(other)
        return Statistics(
            self.moments,
            self.centres,
            self.weight + other.weight,
            self.first + other.first,
            None if self.second is None or other.second is None else self.second + other.second,
            None if self.scale is None or other.scale is None else self.scale + other.scale,
        )

    def __mul__(self, factor: float) -> Statistics:
        """Return the statistics of rows that weigh ``factor`` times as much."""
        with np.errstate(over="ignore", invalid="ignore"):
            weight, first, second, scale = (
                None if part is None else np.asarray(part * factor)
                for part in (self.weight, self.first, self.second, self.scale)
            )
        assert weight is not None
        assert first is not None
        return Statistics(self.moments, self.centres, weight, first, second, scale)

    __rmul__ = __mul__

    def __eq__(self, other: object) -> bool:
        """Whether all arrays are equal, to the bit."""
        if not isinstance(other, Statistics):
            return NotImplemented
        names = ("centres", "weight", "first", "second", "scale")
        return self.moments == other.moments and all(
            _equal(getattr(self, name), getattr(other, name)) for name in names
        )

    __hash__ = None  # type: ignore[assignment]

    def about(self, centres: Float64Array, linalg: MomentShifts | None = None) -> Statistics:
        """Return the statistics about other centres.

        With ``s`` the way to the new centre, ``sum r (d - s) = f - M s`` and
        ``sum r (d - s)(d - s)^T = S - f s^T - s f^T + M s s^T``, ``M`` being the mass. Second
        moments lose digits where that is much smaller than ``S``.

        Parameters
        ----------
        centres : ndarray of shape (n_components, n_features)
        linalg : MomentShifts, optional
            A backend's, for large matrices; by default NumPy's.

        Returns
        -------
        Statistics
        """
        step = np.asarray(centres - self.centres)
        second = None if self.second is None else self.second_about(step, linalg)
        first = self.first - self.mass[:, np.newaxis] * step
        return Statistics(self.moments, centres, self.weight, first, second, self.scale)

    def averaged_with(
        self, kept: float, other: Statistics, taken: float, linalg: MomentShifts | None = None
    ) -> Statistics:
        """Return ``kept * self.about(other.centres) + taken * other``.

        Parameters
        ----------
        kept : float
        other : Statistics
            Of the same moments.
        taken : float
        linalg : MomentShifts, optional
            A backend's, which goes over large matrices once.

        Raises
        ------
        ValueError
            As for a sum.
        """
        if linalg is None or not self.moments == other.moments == "full":
            return self.about(other.centres, linalg) * kept + other * taken
        assert self.second is not None
        assert other.second is not None
        step = np.asarray(other.centres - self.centres)
        second = linalg.average_moved(
            self.second, self._half_way(step), step, kept, other.second, taken
        )
        self._check_links(other)
        # With the bits of products and a sum of statistics.
        with np.errstate(over="ignore", invalid="ignore"):
            first = (self.first - self.mass[:, np.newaxis] * step) * kept + other.first * taken
            weight = self.weight * kept + other.weight * taken
            scale = None
            if self.scale is not None and other.scale is not None:
                scale = self.scale * kept + other.scale * taken
        return Statistics("full", other.centres, weight, first, second, scale)

    def _check_links(self, other: Statistics) -> None:
        if (self.scale is None) != (other.scale is None):
            raise ValueError("statistics under a Student link and others do not add up")

    def _half_way(self, step: Float64Array) -> Float64Array:
        """Return one of two halves of ``f s^T + s f^T - M s s^T``, each other's transposes.

        It is ``half s^T``.
        """
        return np.asarray(self.first - 0.5 * self.mass[:, np.newaxis] * step)

    def second_about(self, step: Float64Array, linalg: MomentShifts | None = None) -> Float64Array:
        """Return the second moments about ``centres + step``, see :meth:`about`.

        Elementwise, or summed in a fixed order: the bits must not depend on a threaded BLAS.

        Parameters
        ----------
        step : ndarray of shape (n_components, n_features)
        linalg : MomentShifts, optional

        Raises
        ------
        ValueError
            If the statistics have no second moments.
        """
        if self.second is None:
            raise ValueError(f"statistics of moments {self.moments!r} have no second moments")
        half = self._half_way(step)
        if self.moments == "full":
            subtract = subtract_symmetric if linalg is None else linalg.subtract_symmetric
            return subtract(self.second, half, step)
        if self.moments == "pooled":
            product = np.einsum("ki,kj->ij", half, step)
            return np.asarray(self.second - (product + product.T))
        moved = 2.0 * half * step
        return np.asarray(self.second - (moved if self.moments == "diag" else moved.mean(axis=1)))

    def select(self, components: npt.NDArray[Any]) -> Statistics:
        """Return the statistics of some of the components, by index or mask.

        Pooled second moments stay those of all: no component has a share of its own.

        Parameters
        ----------
        components : ndarray of int or bool
        """
        second = self.second
        if second is not None and self.moments != "pooled":
            second = second[components]
        return Statistics(
            self.moments,
            self.centres[components],
            self.weight[components],
            self.first[components],
            second,
            None if self.scale is None else self.scale[components],
        )

    def among(self, components: npt.NDArray[np.bool_], centres: Float64Array) -> Statistics:
        """Return the statistics of these components among others that no row belongs to.

        The inverse of :meth:`select`.

        Parameters
        ----------
        components : ndarray of bool, shape (n_all,)
            Where these are.
        centres : ndarray of shape (n_all, n_features)
            Of all components.
        """

        def spread(values: Float64Array | None) -> Float64Array | None:
            if values is None:
                return None
            whole = np.zeros((len(components), *values.shape[1:]))
            whole[components] = values
            return whole

        weight, first = spread(self.weight), spread(self.first)
        assert weight is not None
        assert first is not None
        second = self.second if self.moments == "pooled" else spread(self.second)
        return Statistics(self.moments, centres, weight, first, second, spread(self.scale))


def _equal(one: Float64Array | None, other: Float64Array | None) -> bool:
    if one is None or other is None:
        return one is other
    return bool(np.array_equal(one, other, equal_nan=True))
