"""Fit a mixture to patches, print its evidence, denoise with it."""

from __future__ import annotations

import time
import warnings
from pathlib import Path

import numpy as np

from vbfast.demo.denoise import denoise, psnr
from vbfast.demo.patches import HELD_OUT, photographs, training_rows
from vbfast.estimators import GaussianMixture
from vbfast.optional import needed

NOISE = 25 / 255


def run_demo(
    *,
    n_patches: int | None = 100_000,
    n_components: int = 200,
    max_iter: int = 30,
    dtype: str = "float32",
    seed: int = 0,
    output: Path = Path("vbfast-demo.png"),
) -> tuple[float, float]:
    """Run the demonstration and print what happens.

    Parameters
    ----------
    n_patches : int or None
        Size of the subset, which leaves out the part that is denoised; ``None`` takes all 531,720
        patches, that part included.
    n_components, max_iter : int
    dtype : {'float32', 'float64'}
    seed : int
        Of the subset, the start and the noise.
    output : Path
        PNG: clean, noisy and denoised, side by side.

    Returns
    -------
    before, after : float
        Peak signal-to-noise ratios, decibels.

    Raises
    ------
    ImportError
        If Pillow is not installed (extra ``cli``).
    """
    with needed("PIL", by="the picture"):
        from PIL import Image
    from sklearn.exceptions import ConvergenceWarning

    images = photographs()
    rows = training_rows(images, n_patches, dtype, seed)
    print(f"{rows.shape[0]:,} patches of {rows.shape[1]} dimensions, {rows.dtype}")
    model = GaussianMixture(
        n_components,
        covariance_type="full",
        max_iter=max_iter,
        reg_covar=1e-6,
        random_state=seed,
        verbose=2,
        verbose_interval=1,
    )
    start = time.perf_counter()
    with warnings.catch_warnings():
        # A fixed number of iterations is enough here, and said so below.
        warnings.simplefilter("ignore", ConvergenceWarning)
        model.fit(rows)
    seconds = time.perf_counter() - start
    state = "converged" if model.converged_ else "stopped"
    print(
        f"{n_components} components, {state} after {model.n_iter_} iterations and {seconds:.1f} s: "
        f"evidence {model.lower_bound_:.3f} nats a patch"
    )

    truth = images[1][HELD_OUT]
    noisy = truth + np.random.default_rng(seed).normal(scale=NOISE, size=truth.shape)
    restored = denoise(model, noisy, NOISE)
    before, after = psnr(noisy, truth), psnr(restored, truth)
    if n_patches is None:
        print("the part denoised below is among the patches of the fit")
    print(f"PSNR {before:.2f} dB noisy, {after:.2f} dB denoised; {output}: clean, noisy, denoised")
    strip = np.clip(np.hstack([truth, noisy, restored]), 0, 1)
    Image.fromarray(np.uint8(np.round(255 * strip))).save(output, format="PNG")
    return before, after
