"""Mixtures of rows that a Dask cluster holds: fits, and what fitted mixtures say of the rows.

Needs the extra ``vbfast[dask]``. The classes have the names, the parameters and the fitted
attributes of those in :mod:`vbfast`, and LightGBM's conventions beside: ``client`` is the
constructor's, ``client_`` the one in use, and ``to_local()`` the plain estimator.

Rows may be a dask array, a dask data frame, or a list of delayed chunks. They stay on the workers
that hold them. A pass is a task for each chunk, on one thread, and one for each sum of eight: the
same chunks give the same bits on any number of workers, and those of a fit in one process whose
rows are a function that yields the chunks.

Examples
--------
>>> import dask.array as da
>>> import numpy as np
>>> from distributed import Client
>>> import vbfast.dask
>>> rows = np.random.default_rng(0).normal(size=(4000, 2))
>>> rows[:2000] += 9.0
>>> with Client(processes=False, dashboard_address=":0") as client:
...     X = da.from_array(rows, chunks=(1000, 2))
...     mixture = vbfast.dask.GaussianMixture(2, random_state=0).fit(X)
...     labels = mixture.predict(X)  # lazy, as X is
...     counts = np.bincount(labels.compute())
>>> counts
array([2000, 2000])
"""

from __future__ import annotations

from vbfast.optional import needed

with needed("dask", by="vbfast.dask"):
    import dask  # noqa: F401
with needed("distributed", by="vbfast.dask"):
    import distributed  # noqa: F401

from vbfast.dask.mixtures import BayesianGaussianMixture, GaussianMixture, Mixture

__all__ = ["BayesianGaussianMixture", "GaussianMixture", "Mixture"]
