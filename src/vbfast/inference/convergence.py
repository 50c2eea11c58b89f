"""When the bound has settled."""

from __future__ import annotations

import math
from collections.abc import Sequence

__all__ = ["has_settled"]

# A change of the tolerance or more is small if it is less than this part of all change so far. From
# responsibilities that are alike for all components the bound rises by a nat or less, however many
# rows there are, until the components have parted, and only then by what is in the rows. Changes on
# the way, which may get smaller first, would end the fit for being few a row.
SMALL = 0.01


def has_settled(
    bounds: Sequence[float], tol: float, threshold: float, *, previous_bound: float = -math.inf
) -> bool:
    """Return whether the last change of the bound says that the iterations have converged.

    It does if it is below ``tol``, or else below ``threshold``, no more than the change before and
    less than :data:`SMALL` of what the bound has changed by since the start: changes that grow, or
    that are most of what there was, are the way off a plateau, such as responsibilities that are
    alike for all components.

    Parameters
    ----------
    bounds : sequence of float
        Of every iteration so far, at least one.
    tol : float
        The estimator's tolerance.
    threshold : float
        What the objective makes of it, see :meth:`vbfast.families.family.Objective.threshold`.
    previous_bound : float
        The bound before the first; ``-inf`` for a new start. Iterations that go on from others have
        had their rise: any change is small beside that.
    """
    change = bounds[-1] - (bounds[-2] if len(bounds) > 1 else previous_bound)
    before = 0.0
    if len(bounds) > 1:
        before = bounds[-2] - (bounds[-3] if len(bounds) > 2 else previous_bound)
        before = before if math.isfinite(before) else 0.0
    small = previous_bound > -math.inf or abs(change) < SMALL * abs(bounds[-1] - bounds[0])
    settled = small and abs(change) <= abs(before)
    return abs(change) < tol or (settled and abs(change) < threshold)
