"""Denoising by the posterior mean of patches under a mixture (Zoran and Weiss 2011)."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from vbfast.benchmark.patches import SIDE, coordinates, subspace, windows
from vbfast.estimators import GaussianMixture
from vbfast.families.covariances import precision_factor

Float64Array = npt.NDArray[np.float64]


def noisy_model(model: GaussianMixture, noise: float) -> GaussianMixture:
    """Return the mixture of the patches plus white noise of standard deviation ``noise``."""
    noisy = GaussianMixture(model.n_components, covariance_type="full")
    covariances = np.asarray(model.covariances_, dtype=np.float64)
    noisy.weights_ = np.asarray(model.weights_, dtype=np.float64)
    noisy.means_ = np.asarray(model.means_, dtype=np.float64)
    noisy.covariances_ = covariances + noise**2 * np.eye(covariances.shape[-1])
    noisy.precisions_cholesky_ = precision_factor("full", noisy.covariances_)
    noisy.n_features_in_ = covariances.shape[-1]
    return noisy


def posterior_mean(model: GaussianMixture, rows: Float64Array, noise: float) -> Float64Array:
    """Return the mean of the clean rows given the noisy ones.

    Under component k it is ``mu_k + Sigma_k (Sigma_k + noise^2 I)^-1 (row - mu_k)``, the Wiener
    filter; the mixture weighs the components by their responsibilities for the noisy row.

    Parameters
    ----------
    model : GaussianMixture
        Of clean rows, full covariance.
    rows : ndarray of shape (n_rows, n_features)
    noise : float
        Standard deviation.

    Returns
    -------
    ndarray of shape (n_rows, n_features)
    """
    noisy = noisy_model(model, noise)
    resp = noisy.predict_proba(rows)
    result = np.zeros_like(rows)
    for k, (mean, covariance, factor) in enumerate(
        zip(noisy.means_, model.covariances_, noisy.precisions_cholesky_, strict=True)
    ):
        members = np.flatnonzero(resp[:, k] > 1e-6)
        wiener = factor @ factor.T @ np.asarray(covariance, dtype=np.float64)
        filtered = mean + (rows[members] - mean) @ wiener
        result[members] += resp[members, k, np.newaxis] * filtered
    return result


def denoise(model: GaussianMixture, image: Float64Array, noise: float) -> Float64Array:
    """Return the image with every patch replaced by its posterior mean, overlaps averaged.

    Parameters
    ----------
    model : GaussianMixture
        Of clean patches in :func:`vbfast.benchmark.patches.subspace`.
    image : ndarray of shape (height, width)
    noise : float
        Standard deviation of the noise, in the image's units.

    Returns
    -------
    ndarray of shape (height, width)
    """
    patches = windows(image)
    basis = subspace()
    means = patches.mean(axis=(2, 3))
    clean = posterior_mean(model, coordinates(patches, basis), noise) @ basis
    clean = clean.reshape(patches.shape) + means[:, :, np.newaxis, np.newaxis]
    total = np.zeros_like(image)
    count = np.zeros_like(image)
    height, width = means.shape
    for row in range(SIDE):
        for column in range(SIDE):
            here = (slice(row, row + height), slice(column, column + width))
            total[here] += clean[:, :, row, column]
            count[here] += 1
    return total / count


def psnr(image: Float64Array, truth: Float64Array) -> float:
    """Return the peak signal-to-noise ratio of values in [0, 1], in decibels."""
    return float(-10 * np.log10(np.mean((image - truth) ** 2)))
