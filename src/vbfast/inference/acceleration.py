"""Where to go next, from where the fixed-point map has been: squared extrapolation (SQUAREM).

EM and coordinate-ascent VB iterate a map F, from parameters to the global step of a pass with
them. Close to its fixed point F is nearly linear, and steps ``f(x) = F(x) - x`` at a few points
tell where it leads. An accelerator is shown each accepted point with its image, and proposes a
point beyond; :func:`vbfast.inference.em.run_em` runs the next pass there and falls back to the
image if the bound is lower, so nothing here can lower a bound that the iterations climb.

Points are vectors of unconstrained coordinates, and steps are compared by a metric, see
:mod:`vbfast.families.gaussian_coordinates`.
"""

from __future__ import annotations

from typing import Any, Generic, Literal, Protocol, TypeVar

import numpy as np

from vbfast.contract import Float64Array, NotPositiveDefiniteError
from vbfast.families.family import Coordinates, Parameters

__all__ = ["Acceleration", "Accelerator", "Squarem", "make_accelerator"]

Acceleration = Literal["squarem"]

P = TypeVar("P", bound=Parameters)


class Accelerator(Protocol[P]):
    """Extrapolates a fixed-point map."""

    def propose(self, parameters: P, image: P) -> P | None:
        """Take note of an accepted point and its image, and say where to try next.

        ``None`` stands for the image: a plain step.
        """

    def settles(self, parameters: P, image: P) -> bool:
        """Whether the point last proposed, with its image, is as near to a fixed point as hoped.

        To be asked instead of the bound, where the iterations do not climb it.
        """

    def refused(self) -> None:
        """Hear that the last proposal led to nothing better."""

    def memory(self) -> dict[str, Any]:
        """Return what it remembers of the points that it was shown, and of its proposals."""

    def remember(self, memory: dict[str, Any]) -> None:
        """Go on as the one whose memory this is."""


class Squarem(Generic[P]):
    """Squared extrapolation (Varadhan and Roland 2008, scheme SqS3, without its third map).

    From ``x_0``, ``x_1 = F(x_0)`` and ``x_2 = F(x_1)`` it proposes

        x_0 - 2 a r + a^2 v,    r = x_1 - x_0,    v = (x_2 - x_1) - r,    a = -|r| / |v|.

    Two plain steps are ``a = -1``, and a linear contraction never asks for less. Less comes of
    steps that hardly agree, as where rows with next to hard assignments change their minds; going
    half again as far as plain steps pays there, and ``a`` is -1.5, or -1 after a refusal. ``a`` has
    a limit too, which grows when it was reached and accepted and shrinks when it was refused. Every
    further refusal in a row doubles the plain steps until the next proposal, so that where none is
    any good next to no passes are lost.

    Parameters
    ----------
    coordinates : Coordinates
    """

    ASTRAY = 1.5
    FIRST_LIMIT = 4.0
    GROWTH = 4.0

    def __init__(self, coordinates: Coordinates[P]) -> None:
        self._coordinates = coordinates
        self._before: tuple[P, P] | None = None
        self._limit = self.FIRST_LIMIT
        self._astray = self.ASTRAY
        self._length = 1.0
        self._longest = 0.0
        self._refusals = 0  # in a row
        self._waiting = 0  # plain steps until the next proposal

    @np.errstate(over="ignore", invalid="ignore")  # of steps whose squares are no numbers
    def propose(self, parameters: P, image: P) -> P | None:
        """Propose after two plain steps in a row."""
        before, self._before = self._before, (parameters, image)
        if before is None or before[1] is not parameters:
            # The point is an extrapolated one: it was accepted.
            self._astray = self.ASTRAY
            self._refusals = 0
            if self._length >= self._limit:
                self._limit *= self.GROWTH
            return None
        if self._waiting > 0:
            self._waiting -= 1
            return None
        x0 = self._coordinates.vector(before[0])
        x1 = self._coordinates.vector(parameters)
        x2 = self._coordinates.vector(image)
        metric = self._coordinates.metric(image)
        r, v = x1 - x0, (x2 - x1) - (x1 - x0)
        first, second, bend = (float(np.sqrt(metric @ step**2)) for step in (r, x2 - x1, v))
        if first == 0.0 or bend == 0.0:
            return None
        length = first / bend
        if length < 1.0:
            length = self._astray
        self._length = length = min(length, self._limit)
        if length == 1.0:
            # A plain step, after which a longer one may be tried again.
            self._astray = self.ASTRAY
            return None
        growth = max(0.0, second / first - 1.0)
        self._longest = second * (1.0 + length * growth) ** 2
        return _parameters(self._coordinates, x0 + 2.0 * length * r + length**2 * v, image)

    @np.errstate(over="ignore", invalid="ignore")
    def settles(self, parameters: P, image: P) -> bool:
        """Compare the step with the last plain one.

        Where plain steps grow by a factor, as on leaving a saddle point, so may this one: the
        proposal multiplies a growing deviation by ``(1 + |a| (factor - 1))^2``.
        """
        vector = self._coordinates.vector
        metric = self._coordinates.metric(image)
        step = vector(image) - vector(parameters)
        return float(np.sqrt(metric @ step**2)) <= self._longest

    def refused(self) -> None:
        """Go less far and, after the first time, later."""
        self._waiting = 2**self._refusals - 1
        self._refusals += 1
        self._astray = 1.0
        if self._length >= self._limit:
            self._limit = max(self.FIRST_LIMIT, self._limit / self.GROWTH)

    def memory(self) -> dict[str, Any]:
        """Return everything but the coordinates."""
        return {name: value for name, value in vars(self).items() if name != "_coordinates"}

    def remember(self, memory: dict[str, Any]) -> None:
        """Go on as the one whose memory this is."""
        vars(self).update(memory)


def make_accelerator(
    name: Acceleration | None, coordinates: Coordinates[P]
) -> Accelerator[P] | None:
    """Return a new accelerator by name; ``None`` for plain steps."""
    return None if name is None else Squarem(coordinates)


def _parameters(coordinates: Coordinates[P], vector: Float64Array, image: P) -> P | None:
    """Return parameters at coordinates, or ``None`` where there are none to be run with."""
    if not np.isfinite(vector).all():
        return None
    try:
        return coordinates.parameters(vector, image)
    except NotPositiveDefiniteError:
        return None
