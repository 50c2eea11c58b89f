"""The mixtures of rows on a cluster: each has the fit of the one that it is named after."""

from __future__ import annotations

from typing import Any

from distributed import Client

import vbfast.estimators as local
from vbfast.dask.base import ClusterMixture

__all__ = ["BayesianGaussianMixture", "GaussianMixture", "Mixture"]


class GaussianMixture(ClusterMixture, local.GaussianMixture):
    """Gaussian mixture fitted by expectation-maximization to rows on a cluster.

    Parameters
    ----------
    n_components : int, default=1
        The number of components.
    client : distributed.Client or None, default=None
        Through which the cluster is asked; ``None`` is the current one.
    **parameters : dict
        The other parameters of :class:`vbfast.GaussianMixture`.

    Attributes
    ----------
    client_ : distributed.Client
        The client in use.

    See Also
    --------
    vbfast.GaussianMixture : The same of rows on this machine, with the other attributes.

    Examples
    --------
    >>> import dask.array as da
    >>> from distributed import Client
    >>> import vbfast.dask
    >>> with Client(processes=False, dashboard_address=":0"):
    ...     X = da.random.default_rng(0).normal(size=(4000, 2), chunks=(1000, 2))
    ...     mixture = vbfast.dask.GaussianMixture(2, random_state=0).fit(X)
    ...     print(mixture.predict(X))
    dask.array<predict, shape=(4000,), dtype=int64, chunksize=(1000,), chunktype=numpy.ndarray>
    >>> type(mixture.to_local()) is vbfast.GaussianMixture
    True
    """

    _of_this_machine = local.GaussianMixture

    def __init__(
        self, n_components: int = 1, *, client: Client | None = None, **parameters: Any
    ) -> None:
        super().__init__(n_components, **parameters)
        self.client = client


class BayesianGaussianMixture(ClusterMixture, local.BayesianGaussianMixture):
    """Variational Bayesian Gaussian mixture of rows on a cluster.

    Parameters
    ----------
    n_components : int, default=1
        The number of components.
    client : distributed.Client or None, default=None
        Through which the cluster is asked; ``None`` is the current one.
    **parameters : dict
        The other parameters of :class:`vbfast.BayesianGaussianMixture`.

    Attributes
    ----------
    client_ : distributed.Client
        The client in use.

    See Also
    --------
    vbfast.BayesianGaussianMixture : The same of rows on this machine, with the other attributes.
    """

    _of_this_machine = local.BayesianGaussianMixture

    def __init__(
        self, n_components: int = 1, *, client: Client | None = None, **parameters: Any
    ) -> None:
        super().__init__(n_components, **parameters)
        self.client = client


class Mixture(ClusterMixture, local.Mixture):
    """Mixture of components of a family, of rows on a cluster.

    Parameters
    ----------
    family : vbfast.families.Family
        The components' density, its statistics, and the global step. It is sent to the workers.
    n_components : int, default=1
        The number of components.
    client : distributed.Client or None, default=None
        Through which the cluster is asked; ``None`` is the current one.
    **parameters : dict
        The other parameters of :class:`vbfast.Mixture`.

    Attributes
    ----------
    client_ : distributed.Client
        The client in use.

    See Also
    --------
    vbfast.Mixture : The same of rows on this machine, with the other attributes.
    """

    _of_this_machine = local.Mixture

    def __init__(
        self,
        family: Any,
        n_components: int = 1,
        *,
        client: Client | None = None,
        **parameters: Any,
    ) -> None:
        super().__init__(family, n_components, **parameters)
        self.client = client
