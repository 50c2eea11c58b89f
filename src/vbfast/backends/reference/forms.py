"""The log-joint as its definition says: a form, a link, an offset; and its gradient in the rows."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from vbfast.contract import Float64Array, Linear, LogJoint, Quadratic, StudentT

__all__ = [
    "dot_products",
    "evaluate",
    "expected_scale",
    "gradient_in_rows",
    "multiply",
    "square_distances",
]


def evaluate(X: Float64Array, log_joint: LogJoint) -> Float64Array:
    """Return ``l_nk = offset_k + link_k(form_k(x_n))``, shape (n_rows, n_components)."""
    form, link = log_joint.form, log_joint.link
    with np.errstate(over="ignore", invalid="ignore"):
        if isinstance(form, Linear):
            possible = np.isfinite(log_joint.offset)
            products = np.where(possible, _multiply_rows(X, form.theta), 0.0)
            return np.asarray(log_joint.offset + products)
        assert isinstance(form, Quadratic)
        squares = square_distances(X, form)
        if isinstance(link, StudentT):
            nu = link.degrees_of_freedom
            halved = 0.5 * (nu + form.n_features)
            return np.asarray(log_joint.offset - halved * np.log1p(squares / nu))
        return np.asarray(log_joint.offset - 0.5 * squares)


def _multiply_rows(X: Float64Array, theta: Float64Array) -> Float64Array:
    """Return ``x_n . theta_k``, shape (n_rows, n_components); infinite only if that overflows."""
    products = X @ theta.T
    rows = ~np.isfinite(products).all(axis=1)  # terms overflow, or sums of some
    if rows.any():
        products[rows] = np.ldexp(*dot_products(X[rows], theta))
    return np.asarray(products)


def dot_products(
    X: Float64Array, theta: Float64Array
) -> tuple[Float64Array, npt.NDArray[np.int64]]:
    """Return ``x_n . theta_k`` as mantissas and exponents of shape (n_rows, n_components)."""
    (x, of_x), (t, of_theta) = np.frexp(X), np.frexp(theta)
    mantissas = np.empty((len(X), len(theta)))
    exponents = np.empty((len(X), len(theta)), np.int64)
    for k in range(len(theta)):
        terms, exponent = x * t[k], of_x + of_theta[k]
        largest = np.max(exponent, axis=1, keepdims=True, where=terms != 0, initial=-(2**12))
        mantissa, more = np.frexp(np.ldexp(terms, exponent - largest).sum(axis=1))
        mantissas[:, k], exponents[:, k] = mantissa, largest[:, 0] + more
    return mantissas, exponents


def square_distances(X: Float64Array, form: Quadratic) -> Float64Array:
    """Return ``||(x_n - centre_k) P_k||^2``, shape (n_rows, n_components)."""
    result = np.empty((X.shape[0], form.n_components))
    for k in range(form.n_components):
        whitened = multiply(X - form.centres[k], form.factor(k))
        square = np.sum(whitened**2, axis=1)
        # A difference that overflows may meet a zero of the factor, or an infinity.
        result[:, k] = np.where(np.isnan(square), np.inf, square)
    return result


def expected_scale(X: Float64Array, log_joint: LogJoint) -> Float64Array | None:
    """Return ``E[u_nk] = (nu_k + D) / (nu_k + d_nk^2)`` of a Student link, else None."""
    form, link = log_joint.form, log_joint.link
    if not isinstance(link, StudentT) or not isinstance(form, Quadratic):
        return None
    nu = link.degrees_of_freedom
    with np.errstate(over="ignore"):
        return np.asarray((nu + form.n_features) / (nu + square_distances(X, form)))


def multiply(rows: Float64Array, P: Float64Array) -> Float64Array:
    """Return rows times a factor ``P_k``: a matrix, its diagonal, or a number."""
    return np.asarray(rows @ P if P.ndim == 2 else rows * P)


def gradient_in_rows(X: Float64Array, q: Float64Array, log_joint: LogJoint) -> Float64Array:
    """Return ``sum_k q_nk dl_nk / dx_n``, shape (n_rows, n_features).

    Of a quadratic form that is ``P_k P_k^T (centre_k - x_n)``, times ``E[u_nk]`` under a Student
    link; of a linear one ``theta_k``.
    """
    form = log_joint.form
    if isinstance(form, Linear):
        return np.asarray(q @ form.theta)
    assert isinstance(form, Quadratic)
    scale = expected_scale(X, log_joint)
    r = q if scale is None else q * scale
    result = np.zeros_like(X)
    for k in range(form.n_components):
        rows, P = r[:, k] > 0.0, form.factor(k)
        whitened = multiply(form.centres[k] - X[rows], P)
        result[rows] += r[rows, k, np.newaxis] * multiply(whitened, P.T)
    return result
