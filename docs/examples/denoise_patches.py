r"""
Denoising with a mixture of patches
===================================

Patches of photographs have a density, and a mixture with full covariances is a good one (Zoran and
Weiss 2011). The mean of a clean patch given a noisy one is then a denoised patch. ``vbfast demo``
does the same with more components and more patches.
"""

import copy

import matplotlib.pyplot as plt
import numpy as np
from numpy.lib.stride_tricks import sliding_window_view
from sklearn.datasets import load_sample_image

import vbfast

SIDE, NOISE = 8, 25 / 255
china, flower = (
    load_sample_image(name) @ [0.299, 0.587, 0.114] / 255.0 for name in ("china.jpg", "flower.jpg")
)
truth = flower[150:278, 250:378]  # of a photograph that the mixture does not see
rng = np.random.default_rng(0)
noisy_image = truth + NOISE * rng.normal(size=truth.shape)


def centred_patches(image):
    """Return all patches of an image as rows, without their means, and the means."""
    patches = sliding_window_view(image, (SIDE, SIDE)).reshape(-1, SIDE * SIDE)
    means = patches.mean(axis=1, keepdims=True)
    return patches - means, means


clean, _ = centred_patches(china)
rows = rng.permutation(clean)[:30_000].astype(np.float32)
mixture = vbfast.GaussianMixture(40, reg_covar=1e-5, tol=1e-2, max_iter=300, random_state=0).fit(
    rows
)
print(f"{len(rows):,} patches, {mixture.n_iter_} iterations")

# %%
# A noisy patch has the same mixture with :math:`\sigma^2` added to the variances. Given it, the
# mean of the clean one under component k is that of the Wiener filter,
#
# .. math:: \mu_k + \Sigma_k (\Sigma_k + \sigma^2 I)^{-1} (x - \mu_k),
#
# and the responsibilities weigh the components.

covariances = mixture.covariances_.astype(np.float64)
noisy = copy.deepcopy(mixture)
noisy.covariances_ = covariances + NOISE**2 * np.eye(SIDE * SIDE)
noisy.precisions_cholesky_ = np.linalg.inv(np.linalg.cholesky(noisy.covariances_)).swapaxes(1, 2)
noisy.weights_, noisy.means_ = (
    array.astype(np.float64) for array in (mixture.weights_, mixture.means_)
)

patches, patch_means = centred_patches(noisy_image)
resp = noisy.predict_proba(patches)
restored = np.zeros_like(patches)
for k, (mean, covariance) in enumerate(zip(noisy.means_, covariances, strict=True)):
    members = np.flatnonzero(resp[:, k] > 1e-4)
    gain = np.linalg.solve(noisy.covariances_[k], covariance)
    restored[members] += resp[members, k, np.newaxis] * (mean + (patches[members] - mean) @ gain)
restored += patch_means

# %%
# Each pixel is in up to 64 patches, and takes their average.

total, count = np.zeros_like(truth), np.zeros_like(truth)
height, width = (n - SIDE + 1 for n in truth.shape)
for place, values in enumerate(restored.T):
    row, column = divmod(place, SIDE)
    here = (slice(row, row + height), slice(column, column + width))
    total[here] += values.reshape(height, width)
    count[here] += 1
denoised = total / count


def psnr(image):
    """Return the peak signal-to-noise ratio, decibels."""
    return -10 * np.log10(np.mean((image - truth) ** 2))


figure, axes = plt.subplots(1, 3, figsize=(9, 3.3), layout="constrained")
titles = ("clean", f"noisy, {psnr(noisy_image):.1f} dB", f"denoised, {psnr(denoised):.1f} dB")
for ax, image, title in zip(axes, (truth, noisy_image, denoised), titles, strict=True):
    ax.imshow(image, cmap="gray", vmin=0, vmax=1)
    ax.set_title(title)
    ax.set_axis_off()
plt.show()
