"""The log evidence of mixtures as functions of NumPy arrays, the density that EM climbs."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from vbfast.arrays.arguments import as_real
from vbfast.contract import Float64Array, FloatArray
from vbfast.mixtures.arguments import mixture_arguments
from vbfast.mixtures.function import MixtureFunction, row_outputs
from vbfast.results import MixtureEvidenceGradient

__all__ = ["mixture_log_evidence", "mixture_log_evidence_and_grad"]


def mixture_log_evidence(
    x: npt.ArrayLike,
    weights_logits: npt.ArrayLike,
    means: npt.ArrayLike,
    precisions_cholesky: npt.ArrayLike,
    covariance_type: str = "full",
) -> Any:
    r"""Log density of a Gaussian mixture, or of each of a batch of mixtures, in nats.

    .. math:: \log p(x) = \log \sum_k \pi_k \, \mathcal N(x \mid \mu_k, (P_k P_k^\top)^{-1}),
        \qquad \pi = \mathrm{softmax}(\eta)

    (Bishop 2006, eq. 9.7). The same function as :func:`vbfast.torch.mixture_log_evidence` and
    :func:`vbfast.jax.mixture_log_evidence`.

    Parameters
    ----------
    x : array_like of shape (..., n_features)
        For a batch of mixtures of shape (\*batch, ..., n_features): (batch, D) or (batch, n, D).
    weights_logits : array_like of shape (n_components,) or (\*batch, n_components)
        :math:`\eta`; -inf takes a component out, and its gradients are zero.
    means : array_like of shape (n_components, n_features) or (\*batch, ...)
    precisions_cholesky : array_like
        :math:`P`, shaped as the ``precisions_cholesky_`` of :class:`vbfast.GaussianMixture`:
        (K, D, D) for 'full', (D, D) for 'tied', (K, D) for 'diag', (K,) for 'spherical', with
        the axes of a batch before them. Of matrices only the upper triangle is read.
    covariance_type : {'full', 'tied', 'diag', 'spherical'}, default='full'

    Returns
    -------
    ndarray of shape (...) or scalar
        One number a row: float32 where all arguments are float32, otherwise float64. -inf where
        every distance to a component is beyond the largest number.

    Raises
    ------
    TypeError
        If an argument is not of real numbers.
    ValueError
        If shapes do not fit, x or a mean is not finite, all logits of a mixture are -inf or one is
        +inf or NaN, or the diagonal of P is not positive; the message names the argument.

    Notes
    -----
    The axes of a batch of parameters broadcast against each other, so that some may be shared. Few
    rows for each of a batch are evaluated together, many by passes of each mixture.

    Examples
    --------
    >>> import numpy as np
    >>> import vbfast
    >>> logits, means, factors = np.zeros(2), np.array([[-1.0], [1.0]]), np.ones(2)
    >>> vbfast.mixture_log_evidence([[0.0], [1.0]], logits, means, factors, "spherical").round(4)
    array([-1.4189, -1.4852])

    A mixture for each row, which share their factors:

    >>> means = np.array([[[-1.0], [1.0]], [[-3.0], [3.0]]])
    >>> vbfast.mixture_log_evidence([[0.0], [1.0]], logits, means, factors, "spherical").round(4)
    array([-1.4189, -3.6096])
    """
    arrays = _of_one_dtype(
        x=x, weights_logits=weights_logits, means=means, precisions_cholesky=precisions_cholesky
    )
    kind, (rows, *parameters) = mixture_arguments(covariance_type, arrays, np.broadcast_to)
    log_evidence, _ = MixtureFunction.of(kind, *parameters).value(rows, wrt_x=False)
    return log_evidence[()]


def mixture_log_evidence_and_grad(
    x: npt.ArrayLike,
    weights_logits: npt.ArrayLike,
    means: npt.ArrayLike,
    precisions_cholesky: npt.ArrayLike,
    covariance_type: str = "full",
    *,
    cotangent: npt.ArrayLike = 1.0,
    wrt_x: bool = False,
) -> tuple[Any, MixtureEvidenceGradient]:
    r"""Log density of mixtures, and the gradient of its weighted sum in all that makes them.

    The gradient is that of

    .. math:: L = \sum_n c_n \log p(x_n)

    with :math:`p` as in :func:`mixture_log_evidence`. By Fisher's identity it is a function of the
    statistics that an iteration of EM sums (Salakhutdinov, Roweis and Ghahramani 2003), so that it
    comes with the density in one pass over the rows, and in two where the :math:`c_n` differ in
    sign. The formulas are those of :class:`vbfast.MixtureEvidenceGradient` (from Petersen and
    Pedersen 2012, eq. 57, 61 and 86).

    Parameters
    ----------
    x, weights_logits, means, precisions_cholesky : array_like
    covariance_type : {'full', 'tied', 'diag', 'spherical'}, default='full'
        As of :func:`mixture_log_evidence`.
    cotangent : array_like that broadcasts to shape (...), default=1.0
        :math:`c`, of either sign: what the chain rule, or the weight of a row, multiplies its log
        density with. ``-1 / n`` makes the gradient that of the mean loss.
    wrt_x : bool, default=False
        Whether the gradient in x is wanted too.

    Returns
    -------
    log_evidence : ndarray of shape (...) or scalar
        Of each row, as :func:`mixture_log_evidence` returns it: not multiplied by the cotangent.
    gradient : MixtureEvidenceGradient
        In each argument, of its shape.

    Raises
    ------
    TypeError, ValueError
        As :func:`mixture_log_evidence`; if the cotangent is not finite or does not broadcast.

    Examples
    --------
    Gradient ascent:

    >>> import numpy as np
    >>> import vbfast
    >>> x = np.random.default_rng(0).normal(size=(500, 1)) + [[3.0], [-3.0]] * 250
    >>> logits, means, factors = np.zeros(2), np.array([[-1.0], [1.0]]), np.ones(2)
    >>> for _ in range(100):
    ...     log_evidence, gradient = vbfast.mixture_log_evidence_and_grad(
    ...         x, logits, means, factors, "spherical", cotangent=1 / len(x)
    ...     )
    ...     logits = logits + gradient.weights_logits
    ...     means = means + gradient.means
    ...     factors = factors + 0.1 * gradient.precisions_cholesky
    >>> print(means.round(1).ravel(), factors.round(1), log_evidence.mean().round(2))
    [-2.9  2.9] [1. 1.] -2.11
    """
    arrays = _of_one_dtype(
        x=x, weights_logits=weights_logits, means=means, precisions_cholesky=precisions_cholesky
    )
    kind, (rows, *parameters) = mixture_arguments(covariance_type, arrays, np.broadcast_to)
    outputs = row_outputs(rows, wrt_x=wrt_x)
    c = _cotangent(cotangent, rows.shape[:-1])
    gradients = MixtureFunction.of(kind, *parameters).pull_back(rows, c, outputs=outputs)
    in_logits, in_means, in_factors = (
        _summed_to(gradient, array.shape)
        for gradient, array in zip(gradients, arrays[1:], strict=True)
    )
    if outputs.gradient is not None:
        outputs.gradient *= c[..., np.newaxis]
    assert outputs.log_evidence is not None
    gradient = MixtureEvidenceGradient(in_logits, in_means, in_factors, outputs.gradient)
    return outputs.log_evidence[()], gradient


def _of_one_dtype(**arrays: npt.ArrayLike) -> list[FloatArray]:
    """Return real arrays in the widest of their types, float32 or float64."""
    real = [as_real(array, name) for name, array in arrays.items()]
    dtype = np.result_type(*(array.dtype for array in real))
    return [array.astype(dtype, copy=False) for array in real]


def _cotangent(cotangent: npt.ArrayLike, shape: tuple[int, ...]) -> Float64Array:
    """Return a cotangent for each row.

    Raises
    ------
    TypeError
        If it is not of real numbers.
    ValueError
        If it is not finite, or does not broadcast to the rows.
    """
    array = as_real(cotangent, "cotangent").astype(np.float64, copy=False)
    if not np.all(np.isfinite(array)):
        raise ValueError("cotangent must be finite")
    try:
        return np.broadcast_to(array, shape)
    except ValueError:
        raise ValueError(
            f"cotangent must broadcast to {shape}, one number a row of x; got {array.shape}"
        ) from None


def _summed_to(gradient: Float64Array, shape: tuple[int, ...]) -> Float64Array:
    """Sum over the axes along which an argument of a shape was broadcast."""
    new = gradient.ndim - len(shape)
    gradient = gradient.sum(axis=tuple(range(new)))
    stretched = [axis for axis, length in enumerate(shape) if length != gradient.shape[axis]]
    return np.asarray(gradient.sum(axis=tuple(stretched), keepdims=True))
