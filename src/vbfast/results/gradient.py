"""Gradients of a mixture's evidence."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

__all__ = ["MixtureEvidenceGradient", "MixtureGradient"]


@dataclass(frozen=True)
class MixtureGradient:
    r"""The gradient of a Gaussian mixture's log evidence :math:`L = \sum_n w_n \log p(x_n)`.

    With the posterior :math:`q_{nk}`, :math:`r_{nk} = w_n q_{nk}`, :math:`N_k = \sum_n r_{nk}`,
    :math:`d_{nk} = x_n - \mu_k` and :math:`\Lambda_k = \Sigma_k^{-1} = P_k P_k^\top`. A row of log
    evidence :math:`-\infty` counts for nothing. The parameters' gradients are float64.

    Attributes
    ----------
    weights : ndarray of shape (n_components,)
        The unconstrained partial derivatives
        :math:`\partial L / \partial \pi_k = \sum_n r_{nk} / \pi_k
        = \sum_n w_n p(x_n \mid k) / p(x_n)`, also where :math:`\pi_k = 0`. On the simplex only
        their differences matter.
    logits : ndarray of shape (n_components,)
        :math:`\partial L / \partial \eta_k = N_k - \pi_k \sum_j N_j` for
        :math:`\pi = \mathrm{softmax}(\eta)`; they sum to zero.
    means : ndarray of shape (n_components, n_features)
        :math:`\Lambda_k \sum_n r_{nk} d_{nk}`.
    covariances : ndarray
        :math:`G_k = \frac12 \sum_n r_{nk} (\Lambda_k d_{nk} d_{nk}^\top \Lambda_k - \Lambda_k)`,
        shaped as the covariances: (K, D, D) for 'full', (D, D) for 'tied', where it is summed over
        the components, (K, D) for 'diag' and (K,) for 'spherical'. Matrices are symmetric, with
        :math:`dL = \sum_{ij} G_{ij} \, d\Sigma_{ij}`: in one number that two mirrored entries
        share the derivative is twice the entry.
    precisions_cholesky : ndarray
        :math:`\sum_n r_{nk} (P_k^{-\top} - d_{nk} d_{nk}^\top P_k)` in the upper triangle, zero
        below it; shaped as the covariances, and in the square roots of the precisions for 'diag'
        and 'spherical'.
    X : ndarray of shape (n_samples, n_features) or None
        :math:`\partial L / \partial x_n = w_n \sum_k q_{nk} \Lambda_k (\mu_k - x_n)`, in the dtype
        of the computation; None where it was not asked for.

    Examples
    --------
    >>> import numpy as np
    >>> import vbfast
    >>> X = np.array([[-1.0], [1.0], [2.0], [4.0]])
    >>> mixture = vbfast.GaussianMixture(reg_covar=0.0).fit(X)
    >>> _, gradient = mixture.log_evidence_and_grad(X)  # zero where EM converged
    >>> bool(np.allclose(gradient.means, 0.0)), bool(np.allclose(gradient.covariances, 0.0))
    (True, True)
    """

    weights: npt.NDArray[np.float64]
    logits: npt.NDArray[np.float64]
    means: npt.NDArray[np.float64]
    covariances: npt.NDArray[np.float64]
    precisions_cholesky: npt.NDArray[np.float64]
    X: npt.NDArray[np.floating[Any]] | None = None


@dataclass(frozen=True)
class MixtureEvidenceGradient:
    r"""The gradient of :math:`L = \sum_n c_n \log p(x_n)` in the arrays that make a mixture.

    As :func:`vbfast.mixture_log_evidence_and_grad` returns it. With the posterior :math:`q_{nk}`,
    :math:`r_{nk} = c_n q_{nk}`, :math:`N_k = \sum_n r_{nk}`, :math:`d_{nk} = x_n - \mu_k` and
    :math:`\Lambda_k = P_k P_k^\top`. A row of log evidence :math:`-\infty` counts for nothing.
    Each gradient has the shape of its argument: where a batch of mixtures shares one, it is summed
    over them.

    Attributes
    ----------
    weights_logits : ndarray, float64
        :math:`N_k - \pi_k \sum_j N_j`; zero for a logit of -inf.
    means : ndarray, float64
        :math:`\Lambda_k \sum_n r_{nk} d_{nk}`.
    precisions_cholesky : ndarray, float64
        :math:`\sum_n r_{nk} (P_k^{-\top} - d_{nk} d_{nk}^\top P_k)` in the upper triangle, zero
        below it; for 'diag' its diagonal, for 'spherical' its trace, for 'tied' its sum over
        :math:`k`.
    x : ndarray, of the dtype of the log evidence, or None
        :math:`c_n \sum_k q_{nk} \Lambda_k (\mu_k - x_n)`; None where it was not asked for.

    Examples
    --------
    >>> import vbfast
    >>> _, gradient = vbfast.mixture_log_evidence_and_grad(
    ...     [[1.0, 2.0]], [0.0], [[0.0, 0.0]], [1.0], "spherical", wrt_x=True
    ... )
    >>> print(gradient.means, gradient.precisions_cholesky, gradient.x)
    [[1. 2.]] [-3.] [[-1. -2.]]
    """

    weights_logits: npt.NDArray[np.float64]
    means: npt.NDArray[np.float64]
    precisions_cholesky: npt.NDArray[np.float64]
    x: npt.NDArray[np.floating[Any]] | None = None
