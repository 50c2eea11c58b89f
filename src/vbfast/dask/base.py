"""The base class of mixtures of rows on a cluster: fits, lazy results, LightGBM's conventions."""

from __future__ import annotations

import copy
import os
from typing import Any, ClassVar, Self

from distributed import Client
from sklearn.base import BaseEstimator
from sklearn.utils.validation import check_is_fitted

from vbfast.contract import RowSource
from vbfast.dask.clients import client_in_use
from vbfast.dask.collections import feature_names, is_collection
from vbfast.dask.lazily import Call, lazy_rows, lazy_score
from vbfast.dask.rows import ClusterRows
from vbfast.estimators.base import BaseMixture
from vbfast.estimators.callback import Callback

__all__ = ["ClusterMixture"]


class ClusterMixture(BaseMixture):
    """Base class of mixtures whose rows are on a cluster.

    A subclass is derived from a mixture of rows on this machine too, whose fit it has.
    """

    _of_this_machine: ClassVar[type[BaseMixture]]

    client: Client | None

    @classmethod
    def _get_param_names(cls) -> list[str]:
        return sorted([*cls._of_this_machine._get_param_names(), "client"])

    def __repr__(self, N_CHAR_MAX: int = 700) -> str:
        of_this_machine = self.to_local()
        text: str = of_this_machine.__repr__(N_CHAR_MAX)
        return text

    def __getstate__(self) -> dict[str, Any]:
        return {**super().__getstate__(), "client": None}

    def __sklearn_clone__(self) -> Self:
        cloned: Self = BaseEstimator.__sklearn_clone__(copy.copy(self))  # which has no client
        cloned.client = self.client
        return cloned

    @property
    def client_(self) -> Client:
        """The client in use: the constructor's or, without, the current one.

        Raises
        ------
        sklearn.exceptions.NotFittedError
            Before :meth:`fit`.
        ValueError
            If there is none, or it is closed.
        """
        check_is_fitted(self)
        return client_in_use(self.client)

    def _rows(self, X: Any, sample_weight: Any) -> ClusterRows:
        return ClusterRows(client_in_use(self.client), X, sample_weight)

    def _fitted_rows(self, X: Any) -> RowSource:
        check_is_fitted(self)
        return super()._fitted_rows(self._rows(X, None) if is_collection(X) else X)

    def to_local(self) -> Any:
        """Return the mixture of :mod:`vbfast` with the same parameters and fitted attributes.

        Returns
        -------
        mixture : object
            It shares their arrays.
        """
        parameters = self.get_params(deep=False)
        del parameters["client"]
        of_this_machine = self._of_this_machine(**parameters)
        for name, value in self.__getstate__().items():
            if name != "client":
                setattr(of_this_machine, name, value)
        return of_this_machine

    def save(self, path: str | os.PathLike[str]) -> None:
        """Write the mixture to a file, as that of :meth:`to_local` is written.

        Parameters
        ----------
        path : str or path
            Ends in ``.npz``.
        """
        self.to_local().save(path)

    def fit(
        self,
        X: Any,
        y: Any = None,
        sample_weight: Any = None,
        *,
        callback: Callback | None = None,
    ) -> Self:
        """Estimate the parameters from rows on the cluster.

        Chunks are computed where that is not done yet, and stay on the workers that hold them as
        long as the fit goes on. Consecutive chunks of few rows are computed as one, from 32,768
        rows on. Everything else is as in a fit on this machine: the starts, which go by a sample
        of rows that is brought here, the stopping rule, ``warm_start`` and callbacks. With
        ``truncation`` what rows keep stays on the workers; after one of eight searches it comes
        here and is sent again.

        A worker that is lost costs the chunks that it held: others compute them again, and the fit
        ends with the same bits.

        Parameters
        ----------
        X : dask array or data frame of shape (n_samples, n_features), or list of delayed chunks
            A chunk has at least one row. Futures are chunks as well.
        y : Ignored
            Not used, present for API consistency by convention.
        sample_weight : dask array or series of shape (n_samples,), or list of delayed chunks, \
optional
            Chunked as X is. An array in memory will do too. Weights are gathered here, eight bytes
            a row.
        callback : callable, optional
            As in a fit on this machine.

        Returns
        -------
        self : object
            The fitted mixture.

        Raises
        ------
        TypeError
            If X is of another kind.
        ValueError
            If there is no client, or it is closed; if chunks do not go together; and as in a fit on
            this machine. Messages name the chunk.
        RuntimeError
            If a chunk was scattered and is lost with its worker.
        """
        rows = self._rows(X, sample_weight)
        super().fit(rows, y, rows.weights, callback=callback)
        self._name_features(X)
        return self

    def fit_predict(
        self,
        X: Any,
        y: Any = None,
        sample_weight: Any = None,
        *,
        callback: Callback | None = None,
    ) -> Any:
        """Estimate the parameters from X and predict its labels, lazily.

        Parameters
        ----------
        X : dask array or data frame of shape (n_samples, n_features), or list of delayed chunks
        y : Ignored
        sample_weight : dask array or series of shape (n_samples,), or list of delayed chunks, \
optional
        callback : callable, optional
            As in :meth:`fit`.

        Returns
        -------
        labels : dask array or series of shape (n_samples,), or list of delayed chunks
            What ``fit(X).predict(X)`` returns.
        """
        return self.fit(X, y, sample_weight, callback=callback).predict(X)

    def initialize(self, X: Any, sample_weight: Any = None) -> Self:
        """Take the parameters that a fit would start from.

        Parameters
        ----------
        X : dask array or data frame of shape (n_samples, n_features), or list of delayed chunks
        sample_weight : dask array or series of shape (n_samples,), or list of delayed chunks, \
optional

        Returns
        -------
        self : object
        """
        rows = self._rows(X, sample_weight)
        super().initialize(rows, rows.weights)
        self._name_features(X)
        return self

    def partial_fit(self, X: Any, y: Any = None, sample_weight: Any = None) -> Self:
        """Learn from a batch of rows, on the cluster or in memory.

        Parameters
        ----------
        X : dask array or data frame of shape (n_samples, n_features), list of delayed chunks, \
or array-like
        y : Ignored
            Not used, present for API consistency by convention.
        sample_weight : dask array or series of shape (n_samples,), list of delayed chunks, or \
array-like, optional
            Chunked as X is.

        Returns
        -------
        self : object
        """
        if not is_collection(X):
            return super().partial_fit(X, y, sample_weight)
        rows = self._rows(X, sample_weight)
        return super().partial_fit(rows, y, rows.weights)

    def _name_features(self, X: Any) -> None:
        names = feature_names(X)
        if names is not None:
            self.feature_names_in_ = names

    def _of_rows(
        self, method: str, X: Any, out: Any, *, several: bool = False, exact: bool | None = None
    ) -> Any:
        """Return what a method says of the rows, lazily where they are a collection."""
        check_is_fitted(self)
        of_this_machine = self.to_local()
        named = {} if exact is None else {"exact": exact}
        if not is_collection(X):
            given = named if out is None else {**named, "out": out}
            return getattr(of_this_machine, method)(X, **given)
        if out is not None:
            raise ValueError("out does not go with a collection, whose result is one too")
        return lazy_rows(
            of_this_machine,
            Call(method, named),
            X,
            labels=method == "predict",
            n_columns=len(of_this_machine.weights_) if several else None,
            sparse=exact is not None and several and of_this_machine._searches(exact),
        )

    def predict(
        self,
        X: Any,
        *,
        out: Any = None,
        exact: bool = False,
    ) -> Any:
        """Predict the component of each row.

        Parameters
        ----------
        X : dask array or data frame of shape (n_samples, n_features), or list of delayed chunks
            Rows in memory have their labels at once.
        out : ndarray, optional
            For rows in memory.
        exact : bool, default=False
            After a fit with ``truncation``, whether all components are evaluated, as on this
            machine.

        Returns
        -------
        labels : dask array or series of shape (n_samples,), or list of delayed chunks, int64
            Lazy.
        """
        return self._of_rows("predict", X, out, exact=exact)

    def predict_proba(
        self,
        X: Any,
        *,
        out: Any = None,
        exact: bool = False,
    ) -> Any:
        """Evaluate the responsibilities of the components for each row.

        Parameters
        ----------
        X : dask array or data frame of shape (n_samples, n_features), or list of delayed chunks
        out : ndarray, optional
            For rows in memory.
        exact : bool, default=False
            After a fit with ``truncation``, whether all components are evaluated, as on this
            machine.

        Returns
        -------
        resp : dask array or data frame of shape (n_samples, n_components), or list of delayed \
chunks
            Lazy. Chunks are sparse after a fit with ``truncation``.
        """
        return self._of_rows("predict_proba", X, out, several=True, exact=exact)

    def predict_log_proba(self, X: Any) -> Any:
        """Evaluate the logarithms of the responsibilities, in nats.

        Parameters
        ----------
        X : dask array or data frame of shape (n_samples, n_features), or list of delayed chunks

        Returns
        -------
        log_resp : dask array or data frame of shape (n_samples, n_components), or list of delayed \
chunks
            Lazy.
        """
        return self._of_rows("predict_log_proba", X, None, several=True)

    def log_joint(self, X: Any, out: Any = None) -> Any:
        """Evaluate the log-joint of each row and component, in nats.

        Parameters
        ----------
        X : dask array or data frame of shape (n_samples, n_features), or list of delayed chunks
        out : ndarray, optional
            For rows in memory.

        Returns
        -------
        log_joint : dask array or data frame of shape (n_samples, n_components), or list of \
delayed chunks
            Lazy.
        """
        return self._of_rows("log_joint", X, out, several=True)

    def score_samples(
        self,
        X: Any,
        *,
        out: Any = None,
        exact: bool = False,
    ) -> Any:
        """Compute the log-evidence of each row, in nats.

        Parameters
        ----------
        X : dask array or data frame of shape (n_samples, n_features), or list of delayed chunks
        out : ndarray, optional
            For rows in memory.
        exact : bool, default=False
            After a fit with ``truncation``, whether all components are evaluated, as on this
            machine.

        Returns
        -------
        log_prob : dask array or series of shape (n_samples,), or list of delayed chunks
            Lazy.
        """
        return self._of_rows("score_samples", X, out, exact=exact)

    def score(
        self,
        X: Any,
        y: Any = None,
        sample_weight: Any = None,
        *,
        exact: bool = False,
    ) -> Any:
        """Compute the average of :meth:`score_samples` over the rows, in nats.

        Parameters
        ----------
        X : dask array or data frame of shape (n_samples, n_features), or list of delayed chunks
        y : Ignored
            Not used, present for API consistency by convention.
        sample_weight : dask array or series of shape (n_samples,), or list of delayed chunks, \
optional
            Chunked as X is.
        exact : bool, default=False
            After a fit with ``truncation``, whether all components are evaluated, as on this
            machine.

        Returns
        -------
        log_likelihood : dask array of shape (), or a delayed number for a list
            Lazy: ``float`` computes it.
        """
        check_is_fitted(self)
        of_this_machine = self.to_local()
        if not is_collection(X):
            return of_this_machine.score(X, y, sample_weight, exact=exact)
        return lazy_score(of_this_machine, X, sample_weight, exact=exact)
