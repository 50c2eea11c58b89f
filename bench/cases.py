"""The cases that every benchmark uses, and the floor that they are measured against."""

from __future__ import annotations

import time
from dataclasses import dataclass, replace

import numpy as np


@dataclass(frozen=True)
class Case:
    """A mixture and the size of the data it is fitted to."""

    name: str
    n_samples: int
    n_features: int
    n_components: int
    covariance_type: str
    reg_covar: float = 1e-6

    def smaller(self, factor):
        """Fewer rows, regularised because they may be fewer than parameters: for smoke tests."""
        n_samples = max(self.n_samples // factor, 2 * self.n_components)
        return replace(self, n_samples=n_samples, reg_covar=0.1)

    def rows(self, dtype, spread=0.7):
        """By default overlapping components, so that posteriors are dense: the hardest data."""
        rng = np.random.default_rng(0)
        means = spread * rng.normal(size=(self.n_components, self.n_features))
        component = rng.integers(self.n_components, size=self.n_samples)
        rows = rng.normal(size=(self.n_samples, self.n_features))
        rows += means[component]
        return rows.astype(dtype)

    def start(self, spread=0.7):
        """Keyword arguments for explicit starting parameters of either library."""
        rng = np.random.default_rng(1 if spread < 1 else 0)
        K, D = self.n_components, self.n_features
        precisions = {
            "full": np.tile(np.eye(D), (K, 1, 1)),
            "tied": np.eye(D),
            "diag": np.ones((K, D)),
            "spherical": np.ones(K),
        }[self.covariance_type]
        return {
            "n_components": K,
            "covariance_type": self.covariance_type,
            "weights_init": np.full(K, 1 / K),
            "means_init": spread * rng.normal(size=(K, D)),
            "precisions_init": precisions,
            "reg_covar": self.reg_covar,
            "tol": 0.0,
        }

    def floor(self, peak, dtype):
        """Seconds: necessary operations at the peak, plus the exponentials on two threads."""
        D = self.n_features
        per_pair = {"full": 2 * D * D + 6 * D, "diag": 8 * D, "tied": 4 * D, "spherical": 4 * D}
        pairs = self.n_samples * self.n_components
        operations = pairs * per_pair[self.covariance_type]
        if self.covariance_type == "tied":
            operations += self.n_samples * 2 * D * D
        exponential = 0.30e-9 if np.dtype(dtype) == np.float64 else 0.12e-9
        return operations / peak + pairs * exponential


CASES = {
    case.name: case
    for case in (
        Case("full_2d", 1_000_000, 2, 16, "full"),
        Case("full_16", 200_000, 16, 64, "full"),
        Case("full_64", 50_000, 64, 32, "full"),
        Case("diag_32", 200_000, 32, 128, "diag"),
        Case("diag_bigK", 50_000, 64, 1024, "diag"),
        Case("tied_32", 200_000, 32, 128, "tied"),
        Case("sph_bigK", 100_000, 16, 1000, "spherical"),
        Case("full_256", 20_000, 256, 10, "full"),
    )
}


def measured_peak(dtype, size=2500, repeats=7):
    """Operations a second of a large matrix product through NumPy's BLAS: the best of some."""
    rng = np.random.default_rng(0)
    a = rng.normal(size=(size, size)).astype(dtype)
    best = np.inf
    for _ in range(repeats):
        start = time.perf_counter()
        a @ a
        best = min(best, time.perf_counter() - start)
    return 2 * size**3 / best
