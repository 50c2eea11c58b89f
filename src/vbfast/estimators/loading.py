"""Mixtures from files."""

from __future__ import annotations

import os

from vbfast.estimators.bayesian import BayesianGaussianMixture
from vbfast.estimators.gaussian import GaussianMixture
from vbfast.estimators.model_file import read_model

__all__ = ["load"]

_CLASSES = {mixture.__name__: mixture for mixture in (GaussianMixture, BayesianGaussianMixture)}


def load(path: str | os.PathLike[str]) -> GaussianMixture | BayesianGaussianMixture:
    """Read a mixture that ``save``, or ``vbfast fit -o``, wrote.

    The file holds no code, and its arrays are checked as thoroughly as a start that is given to the
    constructor.

    Parameters
    ----------
    path : str or path
        Files of earlier versions are read; those of 0.1.0 have no parameters but
        ``covariance_type`` and ``weight_concentration_prior_type``, and do not say how the fit
        ended: other parameters have their defaults, and ``converged_`` and ``n_passes_`` are
        missing.

    Returns
    -------
    mixture : GaussianMixture or BayesianGaussianMixture
        Equal to the one that was saved.

    Raises
    ------
    OSError
        If the file cannot be read.
    ValueError
        If it is not an archive, is damaged, was written by a later version, lacks one of the keys,
        names an unknown class or covariance type, or has an array of the wrong shape or dtype, with
        NaN, or with impossible numbers (negative weights, say).

    Examples
    --------
    >>> import pathlib, tempfile
    >>> import numpy as np
    >>> import vbfast
    >>> X = np.random.default_rng(0).normal(size=(100, 2))
    >>> mixture = vbfast.GaussianMixture(2, random_state=0).fit(X)
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     path = pathlib.Path(folder) / "mixture.npz"
    ...     mixture.save(path)
    ...     loaded = vbfast.load(path)
    >>> loaded.score(X) == mixture.score(X)
    True
    """
    mixture: GaussianMixture | BayesianGaussianMixture = read_model(path, _CLASSES)
    return mixture
