"""Families of mixture components: parameters, log-joint, start, global step and bound.

``Gaussian`` and ``Custom`` are ready to be fitted with :class:`vbfast.Mixture`. ``ComponentFamily``
is a base class for others, and ``Family`` the protocol that all of them keep. A family says what
its components' log-densities are by a ``LogJoint`` of the form ``Linear`` or ``Quadratic``.
"""

from __future__ import annotations

from vbfast.contract import Linear, LogJoint, Quadratic
from vbfast.families.component_family import ComponentFamily
from vbfast.families.custom import Custom
from vbfast.families.family import Family
from vbfast.families.gaussian import Gaussian

__all__ = [
    "ComponentFamily",
    "Custom",
    "Family",
    "Gaussian",
    "Linear",
    "LogJoint",
    "Quadratic",
]
