"""Denoising by a mixture of patches, beside BM3D and scikit-image's non-local means.

The pictures are those that scikit-image ships, in grey, with white noise; ours denoises with the
mixture of `vbfast demo`, which is fitted once to patches of two other photographs, those of
scikit-learn. All are told the noise. Higher PSNR is better, in decibels. Seconds are those of one
picture; the fit's stand below. Without bm3d or scikit-image a column is empty.
"""

from __future__ import annotations

import importlib.util
import warnings

import measure

if __name__ == "__main__":
    measure.restart_without()

import numpy as np
from sklearn.exceptions import ConvergenceWarning

import vbfast
from vbfast.benchmark.patches import photographs, training_rows
from vbfast.benchmark.timing import seconds
from vbfast.demo.denoise import denoise, psnr

PICTURES = ("camera", "astronaut", "coins", "brick", "grass", "moon", "coffee")
REG_COVAR = 1e-6


def picture(name, quick):
    """Return a picture in grey, values in [0, 1]."""
    import skimage.color
    import skimage.data

    image = getattr(skimage.data, name)()
    grey = skimage.color.rgb2gray(image) if image.ndim == 3 else image / 255.0
    return grey[:48, :48] if quick else grey


def non_local_means(image, noise):
    """Return what scikit-image's documentation advises for noise that is known."""
    from skimage.restoration import denoise_nl_means

    return denoise_nl_means(
        image, h=0.8 * noise, sigma=noise, patch_size=5, patch_distance=6, fast_mode=True
    )


def bm3d(image, noise):
    from bm3d import bm3d

    return bm3d(image, sigma_psd=noise)


def outcome(method, image, noise, truth):
    """Return PSNR and seconds as text."""
    if method is None:
        return [measure.MISSING] * 2
    restored = []
    took = seconds(lambda: restored.append(method(image, noise)))
    return [f"{psnr(restored[0], truth):.2f}", f"{took:.2f}"]


def tables(pictures=PICTURES, *, sigma=25, components=200, patches=100_000, quick=False):
    if importlib.util.find_spec("skimage") is None:
        return ["scikit-image, which has the pictures, is not installed."]
    if quick:
        pictures, components, patches = pictures[:1], 5, 2000
    warnings.simplefilter("ignore", ConvergenceWarning)
    noise = sigma / 255
    model = vbfast.GaussianMixture(components, max_iter=200, reg_covar=REG_COVAR, random_state=0)
    rows = training_rows(photographs(), patches, "float32", 0)
    fit = seconds(lambda: model.fit(rows))
    methods = {
        "vbfast": lambda image, noise: denoise(model, image, noise),
        "BM3D": bm3d if importlib.util.find_spec("bm3d") else None,
        "non-local means": non_local_means,
    }
    lines = []
    for name in pictures:
        truth = picture(name, quick)
        noisy = truth + np.random.default_rng(0).normal(scale=noise, size=truth.shape)
        size = " x ".join(map(str, truth.shape))
        lines.append([name, size, f"{psnr(noisy, truth):.2f}",
                      *(cell for method in methods.values()
                        for cell in outcome(method, noisy, noise, truth))])  # fmt: skip
    header = ["picture", "pixels", "noisy dB",
              *(f"{name} {unit}" for name in methods for unit in ("dB", "s"))]  # fmt: skip
    below = f"The fit of {components} components to {len(rows):,} patches takes {fit:.1f} s, once."
    return [measure.Table(header, lines), below]


if __name__ == "__main__":
    measure.run_script(tables)
