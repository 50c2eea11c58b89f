"""
Colours of a photograph
=======================

A mixture of Gaussians in the space of colours divides a photograph into regions. Its rows are the
pixels, 273,280 of them.
"""

import matplotlib.pyplot as plt
import numpy as np
from sklearn.datasets import load_sample_image

import vbfast

photograph = load_sample_image("flower.jpg")
pixels = (photograph.reshape(-1, 3) / 255.0).astype(np.float32)
mixture = vbfast.GaussianMixture(6, n_init=3, max_iter=300, random_state=0).fit(pixels)
print(f"{len(pixels):,} rows, {mixture.n_iter_} iterations")

# %%
# Every pixel gets the mean colour of its most probable component. How sure the mixture is of that,
# the entropy of the responsibilities says: it is high along borders and where colours fade into
# each other. :func:`vbfast.entropy` takes the log-joint as logits, without making probabilities of
# it.

labels = mixture.predict(pixels)
regions = mixture.means_.clip(0, 1)[labels].reshape(photograph.shape)
doubt = vbfast.entropy(logits=mixture.log_joint(pixels)).reshape(photograph.shape[:2])

figure, axes = plt.subplots(1, 3, figsize=(10, 2.8), layout="constrained")
axes[0].imshow(photograph)
axes[0].set_title("photograph")
axes[1].imshow(regions)
axes[1].set_title(f"{mixture.n_components} components")
image = axes[2].imshow(doubt, cmap="magma")
axes[2].set_title("entropy, nats")
figure.colorbar(image, ax=axes[2], shrink=0.7)
for ax in axes:
    ax.set_axis_off()
plt.show()
