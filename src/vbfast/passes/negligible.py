"""Components that no row can notice, which passes leave out.

The log-joint of a quadratic form is at most its offset. Where the offset lies so far below the log
evidence of every row that the component's responsibilities are below 1e-30, no sum has a digit for
them: the component is negligible. Mixtures fitted with more components than the data needs have
many.

Not every component that has lost its rows is negligible. The offset of an empty component of a
variational mixture is that of its prior, whose density is broad, and what the weight takes off
decides: about 1 / concentration nats under a Dirichlet prior, as much again for every stick after
the last occupied one of a Dirichlet process, but only about log N for an empty stick before an
occupied one. To such sticks rows in the tails do give responsibilities that no sum can do without:
up to 1e-5, altogether 1e-5 rows a stick, with 40 'full' sticks for 20,000 rows of five clusters in
eight dimensions (1e-6 with 'diag'), where rounding is of the order of 1e-16. No sharper criterion
may leave them out, and an order that has them last is another posterior than scikit-learn's.
"""

from __future__ import annotations

import math

import numpy as np
import numpy.typing as npt

from vbfast.contract import LogJoint, Quadratic

__all__ = ["MARGIN", "negligible_components", "reach_of"]

# In nats below a row's largest log-joint: exp(-69) is 1e-30.
NEGLIGIBLE = 69.0
# How far the lowest evidence may fall from one pass to the next, nats, before a pass without
# negligible components has to be repeated with them.
MARGIN = 20.0


def negligible_components(
    log_joint: LogJoint, lowest_log_evidence: float, *, margin: float = 0.0
) -> npt.NDArray[np.bool_]:
    """Return which components no row of at least the given log evidence can notice.

    Parameters
    ----------
    log_joint : LogJoint
        Of a form other than the quadratic none is negligible: it may lie above its offset.
    lowest_log_evidence : float
        Over the rows, nats; of any number of the components, but not of the negligible ones alone.
        With NaN none is negligible.
    margin : float
        By how much the evidence may be lower, nats.

    Returns
    -------
    ndarray of shape (n_components,), bool
    """
    if not isinstance(log_joint.form, Quadratic):
        return np.zeros(log_joint.n_components, bool)
    reach = reach_of(log_joint.n_components, margin=margin)
    return np.asarray(log_joint.offset < lowest_log_evidence - reach)


def reach_of(n_components: int, *, margin: float) -> float:
    """Return how far below a row's log evidence an offset is negligible, nats.

    A row's largest log-joint is at least its evidence less log K.
    """
    return NEGLIGIBLE + math.log(n_components) + margin
