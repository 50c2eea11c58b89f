"""Pictures of mixtures, as scikit-learn's displays.

Needs the extra ``vbfast[plot]``. A class method, ``from_estimator`` or one named after what it
takes, computes what is shown and draws it on ``ax``, or on a new figure; it returns the display,
which has the numbers, the artists, ``ax_`` and ``figure_``. ``plot`` draws it again elsewhere. No
settings of matplotlib are changed.

- :class:`BoundDisplay`, the trace of the bound and its terms,
- :class:`ComponentsDisplay`, components in one or two features or in a projection, and the density,
- :class:`ResponsibilitiesDisplay`, the responsibilities of rows,
- :class:`WeightsDisplay`, the weights of a Bayesian mixture and which components are active,
- :class:`SelectionDisplay`, what :func:`vbfast.select` found.

Examples
--------
>>> import numpy as np
>>> from matplotlib.figure import Figure
>>> import vbfast
>>> from vbfast.plotting import BoundDisplay
>>> X = np.random.default_rng(0).normal(size=(100, 2))
>>> mixture = vbfast.GaussianMixture(2, random_state=0).fit(X)
>>> display = BoundDisplay.from_estimator(mixture, ax=Figure().subplots())
>>> display.ax_.get_ylabel()
'bound, nats a row'
"""

from __future__ import annotations

from vbfast.plotting.bound import BoundDisplay
from vbfast.plotting.components import ComponentsDisplay
from vbfast.plotting.responsibilities import ResponsibilitiesDisplay
from vbfast.plotting.selection import SelectionDisplay
from vbfast.plotting.weights import WeightsDisplay

__all__ = [
    "BoundDisplay",
    "ComponentsDisplay",
    "ResponsibilitiesDisplay",
    "SelectionDisplay",
    "WeightsDisplay",
]
