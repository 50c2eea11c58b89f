"""Data sets that whole fits are timed on, and the mixtures that they are fitted with.

They come with scikit-learn, or are drawn here. All are standardised but the photographs' colours
and patches and the embeddings, whose features have one unit.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from vbfast.benchmark.patches import photographs, training_rows
from vbfast.contract import CovarianceType

__all__ = ["DATASETS", "Dataset"]

Float64Array = npt.NDArray[np.float64]
_Draw = Callable[[np.random.Generator, int], npt.NDArray[Any]]


@dataclass(frozen=True)
class Dataset:
    """Rows, and the mixture that is fitted to them.

    Attributes
    ----------
    name : str
    n_samples : int
        Rows to fit; as many as a fifth of them are held out.
    n_components : int
    covariance_type : {'full', 'tied', 'diag', 'spherical'}
    reg_covar : float
    """

    name: str
    n_samples: int
    n_components: int
    covariance_type: CovarianceType
    _draw: _Draw
    reg_covar: float = 1e-6

    def split(self, seed: int, factor: int = 1) -> tuple[npt.NDArray[Any], npt.NDArray[Any]]:
        """Return rows to fit and rows that are held out.

        Parameters
        ----------
        seed : int
            Of the draw, and of which rows are held out.
        factor : int
            How many times fewer rows are wanted.

        Returns
        -------
        fitted, held_out : ndarray of shape (n_samples, n_features), (n_samples // 5, n_features)
        """
        rng = np.random.default_rng(seed)
        n_fitted = max(self.n_samples // factor, min(self.n_samples, 8 * self.n_components))
        n_held_out = n_fitted // 5
        rows = self._draw(rng, n_fitted + n_held_out)
        rows = rows[rng.permutation(len(rows))[: n_fitted + n_held_out]]
        return np.ascontiguousarray(rows[:n_fitted]), np.ascontiguousarray(rows[n_fitted:])

    def arguments(self) -> dict[str, Any]:
        """Return what either library's mixture is constructed with; all else is its default."""
        return {
            "n_components": self.n_components,
            "covariance_type": self.covariance_type,
            "reg_covar": self.reg_covar,
        }


def _standardised(rows: Float64Array) -> Float64Array:
    deviation = rows.std(axis=0)
    return np.asarray((rows - rows.mean(axis=0)) / np.where(deviation > 0.0, deviation, 1.0))


def _table(name: str) -> _Draw:
    """Return a table that comes with scikit-learn: every row of it."""

    def draw(rng: np.random.Generator, n_rows: int) -> Float64Array:  # noqa: ARG001
        from sklearn import datasets

        rows, _ = getattr(datasets, f"load_{name}")(return_X_y=True)
        return _standardised(rows)

    return draw


def _colours(rng: np.random.Generator, n_rows: int) -> Float64Array:
    """Return colours of the photographs' pixels, spread as of a camera that rounds nothing."""
    from sklearn.datasets import load_sample_images

    pixels = np.concatenate([image.reshape(-1, 3) for image in load_sample_images().images])
    chosen = pixels[rng.choice(len(pixels), n_rows, replace=False)]
    return np.asarray((chosen + rng.uniform(size=chosen.shape)) / 256.0)


def _patches(rng: np.random.Generator, n_rows: int) -> Float64Array:
    """Return patches of the photographs, of 8 by 8 pixels without their means."""
    seed = int(rng.integers(2**31))
    return np.asarray(training_rows(photographs(), n_rows, "float64", seed))


def _histogram(rng: np.random.Generator, n_rows: int) -> Float64Array:
    """Return readings of one sensor: peaks of all widths, and a long tail."""
    peak = rng.choice(9, size=n_rows, p=np.arange(9, 0, -1) / 45)
    rows = np.linspace(0.0, 20.0, 9)[peak] + rng.normal(size=n_rows) * (0.2 + 0.15 * peak)
    tail = rng.uniform(size=n_rows) < 0.05
    rows[tail] = rng.exponential(15.0, size=int(tail.sum()))
    return _standardised(rows[:, np.newaxis])


def _speech(rng: np.random.Generator, n_rows: int) -> Float64Array:
    """Return frames like cepstra: sounds that overlap, and coefficients that fade with the order.

    Some of the variance is a speaker's and a channel's, which many frames share.
    """
    n_features, n_sounds, n_speakers = 39, 200, 400
    scale = 1.0 / np.sqrt(1.0 + np.arange(n_features) % 13)
    sounds = rng.normal(size=(n_sounds, n_features)) * scale
    speakers = 0.7 * rng.normal(size=(n_speakers, n_features)) * scale
    widths = rng.gamma(4.0, 0.25, size=(n_sounds, n_features)) * scale
    sound = rng.integers(n_sounds, size=n_rows)
    rows = sounds[sound] + speakers[rng.integers(n_speakers, size=n_rows)]
    rows += rng.standard_t(6.0, size=rows.shape) * widths[sound]
    return _standardised(rows)


def _embeddings(rng: np.random.Generator, n_rows: int) -> npt.NDArray[np.float32]:
    """Return vectors of one length, as networks make them, float32: topics of unequal sizes."""
    n_features, n_topics = 256, 60
    topics = rng.normal(size=(n_topics, n_features))
    sizes = 1.0 / np.arange(1, n_topics + 1)
    topic = rng.choice(n_topics, size=n_rows, p=sizes / sizes.sum())
    mixing = rng.normal(size=(32, n_features)) / np.sqrt(32)
    rows = 0.6 * topics[topic] + rng.normal(size=(n_rows, 32)) @ mixing
    rows += 0.5 * rng.normal(size=rows.shape)
    rows *= np.sqrt(n_features) / np.linalg.norm(rows, axis=1, keepdims=True)
    return np.asarray(rows, dtype=np.float32)


def _skewed(rng: np.random.Generator, n_rows: int) -> Float64Array:
    """Return groups with long tails to one side, correlated."""
    n_features, n_groups = 8, 6
    group = rng.integers(n_groups, size=n_rows)
    turns = rng.normal(size=(n_groups, n_features, n_features)) / np.sqrt(n_features)
    centres = 3.0 * rng.normal(size=(n_groups, n_features))
    noise = rng.gamma(1.5, 1.0, size=(n_rows, n_features))
    return _standardised(centres[group] + np.einsum("nd,nde->ne", noise, turns[group]))


def _correlated(rng: np.random.Generator, n_rows: int) -> Float64Array:
    """Return groups that all have one correlated covariance."""
    n_features, n_groups = 10, 25
    turn = rng.normal(size=(n_features, n_features))
    group = rng.integers(n_groups, size=n_rows)
    centres = 3.0 * rng.normal(size=(n_groups, n_features))
    return _standardised(centres[group] + rng.normal(size=(n_rows, n_features)) @ turn)


def _curved(rng: np.random.Generator, n_rows: int) -> Float64Array:
    """Return 300 groups that are bent, overlap and have heavy tails, of unequal sizes."""
    n_features, n_groups = 15, 300
    sizes = rng.gamma(1.0, size=n_groups)
    group = rng.choice(n_groups, size=n_rows, p=sizes / sizes.sum())
    centres = 2.0 * rng.normal(size=(n_groups, n_features))
    along, bend = rng.normal(size=(2, n_groups, n_features)) / np.sqrt(n_features)
    place = 3.0 * rng.normal(size=(n_rows, 1))
    rows = centres[group] + place * along[group] + (0.3 * place**2 - 1.0) * bend[group]
    tail = np.sqrt(5.0 / rng.chisquare(5.0, size=(n_rows, 1)))
    return _standardised(rows + 0.5 * rng.normal(size=rows.shape) * tail)


DATASETS = {
    dataset.name: dataset
    for dataset in (
        Dataset("iris", 125, 3, "full", _table("iris"), reg_covar=1e-4),
        Dataset("breast_cancer", 474, 4, "diag", _table("breast_cancer")),
        Dataset("digits", 1_497, 10, "diag", _table("digits"), reg_covar=1e-2),
        Dataset("skewed", 15_000, 12, "full", _skewed),
        Dataset("embeddings", 40_000, 32, "diag", _embeddings),
        Dataset("patches", 45_000, 32, "full", _patches),
        Dataset("curved_30", 50_000, 30, "full", _curved),
        Dataset("curved_120", 50_000, 120, "full", _curved),
        Dataset("speech", 100_000, 64, "diag", _speech),
        Dataset("correlated", 100_000, 20, "tied", _correlated),
        Dataset("colours", 205_000, 16, "full", _colours),
        Dataset("histogram", 750_000, 12, "spherical", _histogram),
    )
}
