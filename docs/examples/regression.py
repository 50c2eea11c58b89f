"""
Regression with several answers
===============================

A mixture of x and y, given x, is a mixture of y: a regression whose answer is a distribution. Where
the data have two branches it has two, and no mean that lies between them.
"""

import matplotlib.pyplot as plt
import numpy as np
from matplotlib.colors import PowerNorm

import vbfast

rng = np.random.default_rng(0)
y = rng.uniform(-1, 1, size=4000)
x = y + 0.9 * np.sin(2 * np.pi * y) / 2 + 0.06 * rng.normal(size=4000)
mixture = vbfast.GaussianMixture(12, n_init=5, max_iter=500, random_state=0)
mixture.fit(np.column_stack([x, y]))

# %%
# ``condition`` returns a fitted mixture: it has means, and a density for any y.

positions, answers = np.linspace(-1.1, 1.1, 221), np.linspace(-1.3, 1.3, 260)
density, mean = [], []
for position in positions:
    given = mixture.condition([0], [position])
    density.append(np.exp(given.score_samples(answers[:, np.newaxis])))
    mean.append(given.weights_ @ given.means_[:, 0])

figure, ax = plt.subplots(figsize=(7, 4.2), layout="constrained")
mesh = ax.pcolormesh(
    positions, answers, np.transpose(density), cmap="Blues", norm=PowerNorm(0.4, vmin=0)
)
figure.colorbar(mesh, label="p(y | x)")
ax.plot(x[::8], y[::8], "k.", markersize=1.5, label="rows")
ax.plot(positions, mean, color="tab:red", label="mean of y given x")
ax.set(xlabel="x", ylabel="y", xlim=(-1.1, 1.1), ylim=(-1.3, 1.3))
ax.legend(loc="upper left")
plt.show()
