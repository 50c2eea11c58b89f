"""
A drop-in swap
==============

The same program, with the mixture of scikit-learn and with that of vbfast. From the same start both
take the same iterations to the same optimum; only the time differs.
"""

import time

import matplotlib.pyplot as plt
import numpy as np
import sklearn.mixture

import vbfast

rng = np.random.default_rng(0)
centres = 2.0 * rng.normal(size=(12, 8))
X = centres[rng.integers(12, size=40_000)] + rng.normal(size=(40_000, 8))

# %%
# ``init_params="random_from_data"`` takes the same random numbers in both libraries, so that the
# same ``random_state`` is the same start. The libraries take turns, and the shorter of two times
# counts. These pages are built while other examples run: run the script by itself for the times of
# your machine.

mixtures, seconds = {}, {"scikit-learn": np.inf, "vbfast": np.inf}
for name, library in 2 * [("scikit-learn", sklearn.mixture), ("vbfast", vbfast)]:
    mixture = library.GaussianMixture(
        12, init_params="random_from_data", max_iter=300, random_state=0
    )
    began = time.perf_counter()
    mixtures[name] = mixture.fit(X)
    seconds[name] = min(seconds[name], time.perf_counter() - began)

theirs, ours = mixtures.values()
print(f"iterations: {theirs.n_iter_} and {ours.n_iter_}")
print(f"largest difference of the means: {np.abs(theirs.means_ - ours.means_).max():.1e}")
print(f"seconds: {seconds['scikit-learn']:.2f} and {seconds['vbfast']:.2f}")

# %%
# The bounds lie on each other. (That of the first iteration is far below: a component has one row.)

figure, (left, right) = plt.subplots(1, 2, figsize=(9, 3.6), layout="constrained")
iterations = range(2, ours.n_iter_ + 1)
left.plot(iterations, theirs.lower_bounds_[1:], color="silver", linewidth=6, label="scikit-learn")
left.plot(iterations, ours.lower_bounds_[1:], color="tab:blue", label="vbfast")
left.set(xlabel="iteration", ylabel="bound, nats a row")
left.legend(loc="lower right")
bars = right.barh(list(seconds), list(seconds.values()), color=["tab:gray", "tab:blue"])
right.bar_label(bars, fmt="%.2f s", padding=4)
right.set(xlabel="seconds of the fit", xlim=(0, 1.2 * seconds["scikit-learn"]))
plt.show()
