"""Batched triangular factors of covariance and precision matrices, and gradients in them.

The bits of a threaded LAPACK or BLAS depend on its number of threads from about 128 features on,
so the factorisations of a fit, and the products of a gradient, are native and batched over the
components; SciPy and NumPy serve the reference backend, which is written for reading.
"""

from __future__ import annotations

import numpy as np

from vbfast.engine.config import current_backend, current_num_threads
from vbfast.engine.contract import Float64Array

__all__ = [
    "NotPositiveDefiniteError",
    "gram",
    "log_det_cholesky",
    "matrix_gradients",
    "precision_cholesky",
    "ratio_norms",
    "subtract_symmetric",
    "upper_cholesky",
]


class NotPositiveDefiniteError(ValueError):
    """A matrix has no Cholesky factor. ``component`` is its index in the stack."""

    def __init__(self, component: int) -> None:
        super().__init__(f"the matrix of component {component} is not positive definite")
        self.component = component


def precision_cholesky(covariances: Float64Array) -> Float64Array:
    """Upper triangular factors of the inverses of covariance matrices.

    Parameters
    ----------
    covariances : ndarray of shape (n_components, n_features, n_features), float64
        Symmetric.

    Returns
    -------
    ndarray of shape (n_components, n_features, n_features), float64
        ``P`` with ``P @ P.T`` the inverse: the transposed inverse of the lower Cholesky factor.

    Raises
    ------
    NotPositiveDefiniteError
        If a matrix is not positive definite, or not finite.

    Examples
    --------
    >>> import numpy as np
    >>> from vbfast.families.linalg import precision_cholesky
    >>> precision_cholesky(np.array([[[4.0, 0.0], [0.0, 25.0]]]))
    array([[[0.5, 0. ],
            [0. , 0.2]]])
    """
    if current_backend() == "reference":
        return _reference_precision_cholesky(covariances)
    from vbfast import _vbfast

    factors, failed = _vbfast.precision_cholesky(
        np.ascontiguousarray(covariances), current_num_threads()
    )
    if failed >= 0:
        raise NotPositiveDefiniteError(failed)
    return factors


def _reference_precision_cholesky(covariances: Float64Array) -> Float64Array:
    from scipy.linalg import LinAlgError, cholesky, solve_triangular

    identity = np.eye(covariances.shape[-1])
    factors = np.empty_like(covariances, order="C")
    for k, covariance in enumerate(covariances):
        try:
            lower = cholesky(covariance, lower=True)
        except (LinAlgError, ValueError) as error:
            raise NotPositiveDefiniteError(k) from error
        factors[k] = solve_triangular(lower, identity, lower=True).T
    return factors


def ratio_norms(factors: Float64Array, denominators: Float64Array) -> Float64Array:
    """Squared Frobenius norms ``||B^-1 A||^2`` of upper triangular factors.

    With ``A`` and ``B`` precision factors that is ``tr((B B^T)^-1 A A^T)``, computed without either
    product, which would square the condition number.

    Parameters
    ----------
    factors : ndarray of shape (n_components, n_features, n_features), float64
        ``A``.
    denominators : ndarray of the same shape, or of shape (1, n_features, n_features), float64
        ``B``.

    Returns
    -------
    ndarray of shape (n_components,), float64

    Examples
    --------
    >>> import numpy as np
    >>> from vbfast.families.linalg import ratio_norms
    >>> ratio_norms(np.array([[[4.0, 6.0], [0.0, 9.0]]]), np.diag([2.0, 3.0])[np.newaxis])
    array([22.])
    """
    if current_backend() == "reference":
        return np.asarray(np.square(np.linalg.solve(denominators, factors)).sum(axis=(1, 2)))
    from vbfast import _vbfast

    return _vbfast.ratio_norms(
        np.ascontiguousarray(factors), np.ascontiguousarray(denominators), current_num_threads()
    )


def subtract_symmetric(matrices: Float64Array, a: Float64Array, b: Float64Array) -> Float64Array:
    """Matrices less ``a b^T + b a^T``, exactly symmetric where the matrices are.

    Parameters
    ----------
    matrices : ndarray of shape (n_components, n_features, n_features), float64
    a, b : ndarray of shape (n_components, n_features), float64

    Returns
    -------
    ndarray of shape (n_components, n_features, n_features), float64

    Examples
    --------
    >>> import numpy as np
    >>> from vbfast.families.linalg import subtract_symmetric
    >>> subtract_symmetric(np.eye(2)[np.newaxis], np.array([[1.0, 2.0]]), np.array([[0.0, 1.0]]))
    array([[[ 1., -1.],
            [-1., -3.]]])
    """
    if current_backend() == "reference":
        product = a[:, :, np.newaxis] * b[:, np.newaxis, :]
        # The products are added first: subtracted in turn they would round unsymmetrically.
        return np.asarray(matrices - (product + product.swapaxes(1, 2)))
    from vbfast import _vbfast

    return _vbfast.subtract_symmetric(
        np.ascontiguousarray(matrices),
        np.ascontiguousarray(a),
        np.ascontiguousarray(b),
        current_num_threads(),
    )


def matrix_gradients(
    weight: Float64Array, first: Float64Array, second: Float64Array, factors: Float64Array
) -> tuple[Float64Array, Float64Array, Float64Array]:
    """Gradients of Gaussian log densities in means, covariances and precision factors.

    With the weight ``N``, moments ``f`` and ``S`` about the mean and ``Lambda = P P^T`` (Petersen
    and Pedersen 2012, eq. 57, 61 and 86), of ``L = sum_n r_n log N(x_n | mu, Lambda^-1)``

        dL/dmu = Lambda f,    dL/dSigma = 1/2 (Lambda S Lambda - N Lambda),
        dL/dP = triu(N P^{-T} - S P).

    Parameters
    ----------
    weight : ndarray of shape (n_matrices,), float64
        ``N``, of all the means that share a matrix.
    first : ndarray of shape (n_matrices, n_means, n_features), float64
        ``f``, one for each mean.
    second : ndarray of shape (n_matrices, n_features, n_features), float64
        ``S``, symmetric.
    factors : ndarray of the same shape, float64
        ``P``, upper triangular.

    Returns
    -------
    means : ndarray, shaped as ``first``, float64
    covariances : ndarray, shaped as ``second``, float64
        Exactly symmetric.
    factors : ndarray, shaped as ``second``, float64
        Upper triangular.

    Examples
    --------
    >>> import numpy as np
    >>> from vbfast.families.linalg import matrix_gradients
    >>> second = np.array([[[6.0, 1.0], [1.0, 4.0]]])
    >>> means, covariances, factors = matrix_gradients(
    ...     np.array([3.0]), np.array([[[1.0, 2.0]]]), second, np.diag([1.0, 2.0])[np.newaxis]
    ... )
    >>> print(means[0])
    [[1. 8.]]
    >>> print(covariances[0])
    [[ 1.5  2. ]
     [ 2.  26. ]]
    >>> print(factors[0])
    [[-3.  -2. ]
     [ 0.  -6.5]]
    """
    if current_backend() == "reference":
        return _reference_matrix_gradients(weight, first, second, factors)
    from vbfast import _vbfast

    return _vbfast.matrix_gradients(
        np.ascontiguousarray(weight),
        np.ascontiguousarray(first),
        np.ascontiguousarray(second),
        np.ascontiguousarray(factors),
        current_num_threads(),
    )


def _reference_matrix_gradients(
    weight: Float64Array, first: Float64Array, second: Float64Array, factors: Float64Array
) -> tuple[Float64Array, Float64Array, Float64Array]:
    identity = np.eye(factors.shape[-1])
    transposed = factors.swapaxes(1, 2)
    weight = weight[:, np.newaxis, np.newaxis]
    # Before the outer products, which would cancel: of expectation zero where a covariance fits.
    excess = transposed @ second @ factors - weight * identity
    halves = 0.25 * (factors @ excess @ transposed)
    diagonal = np.diagonal(factors, axis1=1, axis2=2)[:, np.newaxis]
    return (
        first @ factors @ transposed,
        halves + halves.swapaxes(1, 2),  # symmetric to the last bit
        weight * identity / diagonal - np.triu(second @ factors),
    )


def upper_cholesky(matrices: Float64Array) -> Float64Array:
    """Upper triangular ``U`` with ``U @ U.T`` the given matrices.

    This is the precision Cholesky factor of a precision: it runs from the last row upwards, where
    the usual factor runs from the first row down. Vectorised over the matrices, one column at a
    time, in an order of summation that nothing changes.

    Parameters
    ----------
    matrices : ndarray of shape (n_components, n_features, n_features), float64
        Symmetric.

    Returns
    -------
    ndarray of shape (n_components, n_features, n_features), float64

    Raises
    ------
    NotPositiveDefiniteError
        If a matrix is not positive definite, or not finite.
    """
    upper = np.zeros_like(matrices, order="C")
    for j in reversed(range(matrices.shape[-1])):
        done = upper[:, : j + 1, j + 1 :]
        column = matrices[:, : j + 1, j] - np.einsum("kil,kl->ki", done, upper[:, j, j + 1 :])
        pivot = column[:, j]
        if not np.all(pivot > 0.0):
            raise NotPositiveDefiniteError(int(np.argmin(pivot > 0.0)))
        upper[:, : j + 1, j] = column / np.sqrt(pivot)[:, np.newaxis]
    return upper


def gram(factors: Float64Array) -> Float64Array:
    """Products ``A @ A.T`` of square matrices.

    Parameters
    ----------
    factors : ndarray of shape (..., n_features, n_features), float64

    Returns
    -------
    ndarray of shape (..., n_features, n_features), float64
    """
    return np.asarray(factors @ factors.swapaxes(-1, -2))


def log_det_cholesky(factors: Float64Array) -> Float64Array:
    """Log-determinants of triangular matrices with a positive diagonal, in nats.

    Parameters
    ----------
    factors : ndarray of shape (..., n_features, n_features), float64

    Returns
    -------
    ndarray of shape (...), float64
    """
    diagonals = factors.diagonal(axis1=-2, axis2=-1)
    return np.asarray(np.log(diagonals).sum(axis=-1))
