"""Array functions to call inside ``@njit`` code.

The native functions of the same names in :mod:`vbfast`, to the same contract, on NumPy arrays of
float64 or float32 with any strides: :func:`logsumexp`, :func:`softmax`, :func:`log_softmax`,
:func:`entropy`, :func:`kl_divergence`, :func:`elbo` and :func:`elbo_and_grad` of a 1-d array, on
the calling thread, so that they may be called in a ``prange``; and with ``_rows`` of each row of a
2-d array, on the threads that ``num_threads`` says. Everything is in nats.

Callers may be compiled with ``cache=True``: they refer to the functions by name, and importing this
package, which a caller's module does, makes the names known before the cached code is loaded.

The functions of a 1-d array do not raise on probabilities that are no distribution, as exceptions
do not leave a parallel loop: they return NaN. Needs numba (``pip install "vbfast[numba]"``).

Examples
--------
>>> import numba
>>> import numpy as np
>>> from vbfast import numba_api
>>> @numba.njit(parallel=True)
... def evidences(log_joint):
...     out = np.empty(len(log_joint))
...     for n in numba.prange(len(log_joint)):
...         out[n] = numba_api.logsumexp(log_joint[n])
...     return out
>>> print(evidences(np.log([[0.5, 1.5], [0.25, 0.75]])).round(6) + 0.0)
[0.693147 0.      ]
>>> @numba.njit
... def gap(log_joint, q_logits):
...     return numba_api.elbo(log_joint, q_logits=q_logits).kl
>>> print(round(gap(np.log(np.array([0.25, 0.75])), np.zeros(2)), 6))
0.143841
"""

from vbfast.optional import needed

with needed("numba", by="vbfast.numba_api"):
    import numba  # noqa: F401

from vbfast.numba_api.functions import (
    ElboTerms,
    elbo,
    elbo_and_grad,
    elbo_and_grad_rows,
    elbo_rows,
    entropy,
    entropy_rows,
    kl_divergence,
    kl_divergence_rows,
    log_softmax,
    log_softmax_rows,
    logsumexp,
    logsumexp_rows,
    softmax,
    softmax_rows,
)
from vbfast.numba_api.symbols import register

__all__ = [
    "ElboTerms",
    "elbo",
    "elbo_and_grad",
    "elbo_and_grad_rows",
    "elbo_rows",
    "entropy",
    "entropy_rows",
    "kl_divergence",
    "kl_divergence_rows",
    "log_softmax",
    "log_softmax_rows",
    "logsumexp",
    "logsumexp_rows",
    "softmax",
    "softmax_rows",
]

register()

import vbfast.numba_api.overloads  # noqa: E402, F401
