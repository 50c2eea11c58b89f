"""Patches of the photographs that scikit-learn ships, and the subspace that they are fitted in."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

Float64Array = npt.NDArray[np.float64]

SIDE = 8

# Where in the second photograph the part that is denoised lies: rows and columns.
HELD_OUT = (slice(150, 278), slice(250, 378))


def photographs() -> list[Float64Array]:
    """Return the two photographs in grey (luma of ITU-R BT.601), values in [0, 1]."""
    from sklearn.datasets import load_sample_images

    return [image @ [0.299, 0.587, 0.114] / 255.0 for image in load_sample_images().images]


def subspace() -> Float64Array:
    """Return an orthonormal basis of the patches of zero mean, shape (63, 64)."""
    from scipy.linalg import helmert

    return np.asarray(helmert(SIDE * SIDE), dtype=np.float64)


def windows(image: npt.NDArray[Any]) -> npt.NDArray[Any]:
    """Return every patch of an image as a view of shape (rows, columns, 8, 8)."""
    return np.lib.stride_tricks.sliding_window_view(image, (SIDE, SIDE))


def coordinates(patches: npt.NDArray[Any], basis: Float64Array) -> Float64Array:
    """Return the patches without their means, in the basis: shape (n_patches, 63)."""
    return np.asarray(patches.reshape(-1, SIDE * SIDE) @ basis.T, dtype=np.float64)


def training_positions(images: list[Float64Array], *, hold_out: bool) -> npt.NDArray[np.int64]:
    """Return (image, row, column) of every patch, without those that touch the held-out part."""
    result = []
    for number, image in enumerate(images):
        row, column = np.indices(windows(image).shape[:2]).reshape(2, -1)
        keep = np.ones(len(row), dtype=bool)
        if hold_out and number == 1:
            rows, columns = HELD_OUT
            keep = (
                (row + SIDE <= rows.start)
                | (row >= rows.stop)
                | (column + SIDE <= columns.start)
                | (column >= columns.stop)
            )
        result.append(np.column_stack([np.full(keep.sum(), number), row[keep], column[keep]]))
    return np.concatenate(result)


def training_rows(
    images: list[Float64Array], n_patches: int | None, dtype: str, seed: int
) -> npt.NDArray[Any]:
    """Return the rows of the fit.

    Parameters
    ----------
    images : list of ndarray
        From :func:`photographs`.
    n_patches : int or None
        A random subset that does not touch the held-out part, or all patches there are.
    dtype : {'float32', 'float64'}
    seed : int

    Returns
    -------
    ndarray of shape (n_patches, 63)
    """
    positions = training_positions(images, hold_out=n_patches is not None)
    if n_patches is not None:
        generator = np.random.default_rng(seed)
        positions = positions[generator.permutation(len(positions))[:n_patches]]
    basis = subspace()
    rows = np.empty((len(positions), len(basis)), dtype=dtype)
    for number, image in enumerate(images):
        chosen = positions[:, 0] == number
        _, row, column = positions[chosen].T
        rows[chosen] = coordinates(windows(image)[row, column], basis)
    return rows


def noisy_patches(n_patches: int | None, seed: int, *, noise: float = 2.55) -> npt.NDArray[Any]:
    """Return patches of the photographs with noise, float32, in grey levels from 0 to 255.

    Their means stay in, so that thousands of components find something to tell apart.

    Parameters
    ----------
    n_patches : int or None
        How many, drawn without replacement and in random order; None for all 531,720.
    seed : int
        Of the draw and of the noise.
    noise : float
        Its standard deviation, in grey levels.

    Returns
    -------
    ndarray of shape (n_patches, 64), float32
    """
    images = photographs()
    rng = np.random.default_rng(seed)
    positions = training_positions(images, hold_out=False)
    positions = positions[rng.permutation(len(positions))[:n_patches]]
    rows = np.empty((len(positions), SIDE * SIDE), np.float32)
    for number, image in enumerate(images):
        chosen = positions[:, 0] == number
        _, row, column = positions[chosen].T
        rows[chosen] = 255.0 * windows(image)[row, column].reshape(-1, SIDE * SIDE)
    rows += rng.normal(scale=noise, size=rows.shape).astype(np.float32)
    return rows
