"""The cases that every benchmark uses, and the floor that they are measured against."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import numpy.typing as npt

from vbfast.contract import CovarianceType, FloatArray

__all__ = ["CASES", "Case"]

# Seconds of one exponential on one thread. Pinned: a slow exponential must not lower the bar.
_EXPONENTIAL = {np.dtype(np.float64): 0.60e-9, np.dtype(np.float32): 0.24e-9}


@dataclass(frozen=True)
class Case:
    """A mixture and the size of the data it is fitted to.

    Attributes
    ----------
    name : str
    n_samples, n_features, n_components : int
    covariance_type : {'full', 'tied', 'diag', 'spherical'}
    reg_covar : float
    """

    name: str
    n_samples: int
    n_features: int
    n_components: int
    covariance_type: CovarianceType
    reg_covar: float = 1e-6

    def smaller(self, factor: int) -> Case:
        """Return the case with fewer rows, regularised: they may be fewer than parameters."""
        n_samples = max(self.n_samples // factor, 2 * self.n_components)
        return replace(self, n_samples=n_samples, reg_covar=0.1)

    def fewer_rows(self, factor: int) -> Case:
        """Return the case with fewer rows, still so many that no covariance needs regularising."""
        for_each = 4 * self.n_features if self.covariance_type == "full" else 32
        least = min(self.n_samples, for_each * self.n_components)
        return replace(self, n_samples=max(self.n_samples // factor, least))

    def rows(self, dtype: npt.DTypeLike, spread: float = 0.7) -> FloatArray:
        """Draw the data.

        Parameters
        ----------
        dtype : float32 or float64
        spread : float
            Standard deviation of the means, whose components have unit variance. By default they
            overlap, so that posteriors are dense: the hardest data.

        Returns
        -------
        ndarray of shape (n_samples, n_features)
        """
        rng = np.random.default_rng(0)
        means = spread * rng.normal(size=(self.n_components, self.n_features))
        component = rng.integers(self.n_components, size=self.n_samples)
        rows = rng.normal(size=(self.n_samples, self.n_features))
        rows += means[component]
        return rows.astype(dtype)

    def start(self, spread: float = 0.7) -> dict[str, Any]:
        """Return keyword arguments of an explicit start, for either library's mixture."""
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

    def floor(
        self,
        peak: float,
        dtype: npt.DTypeLike,
        num_threads: int = 2,
        read_rate: float = np.inf,
    ) -> float:
        """Return the seconds that an EM iteration cannot do without.

        That is the necessary floating-point operations at the peak, and one exponential a row and
        component at a fixed 0.30 ns (float64) or 0.12 ns (float32) on two threads; or the time to
        read the rows, where that is longer.

        Parameters
        ----------
        peak : float
            Floating-point operations a second of a
            :class:`~vbfast.benchmark.timing.MatrixProduct`.
        dtype : float32 or float64
        num_threads : int
        read_rate : float
            Bytes a second of a :class:`~vbfast.benchmark.timing.Reading`. By default reading does
            not count.
        """
        pairs = self.n_samples * self.n_components
        exponentials = pairs * _EXPONENTIAL[np.dtype(dtype)] / num_threads
        computing = self.operations() / peak + exponentials
        reading = self.n_samples * self.n_features * np.dtype(dtype).itemsize / read_rate
        return max(computing, reading)

    def operations(self) -> int:
        """Return the floating-point operations that an EM iteration cannot do without."""
        D = self.n_features
        per_pair = {"full": 2 * D * D + 6 * D, "diag": 8 * D, "tied": 4 * D, "spherical": 4 * D}
        operations = self.n_samples * self.n_components * per_pair[self.covariance_type]
        if self.covariance_type == "tied":
            operations += self.n_samples * D * D
        return operations


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
