"""Information criteria as methods of mixtures that are fitted by maximum likelihood."""

from __future__ import annotations

from typing import Any

from vbfast.contract import PassResult, Request
from vbfast.estimators.fitted import FittedMixture
from vbfast.inference import criteria

__all__ = ["InformationCriteria"]


class InformationCriteria(FittedMixture):
    """Methods of mixtures whose number of free parameters is known."""

    def _n_parameters(self) -> int:
        """Return the number of free parameters."""
        form = self._fitted_parameters().log_joint().form
        number = self._fitted_family().n_free_parameters(form.n_components, form.n_features)
        assert number is not None
        return number

    def aic(self, X: Any, sample_weight: Any = None) -> float:
        """Compute the Akaike information criterion on X.

        Parameters
        ----------
        X : array-like of shape (n_samples, n_features)
        sample_weight : array-like of shape (n_samples,), optional
            Weighted rows count as ``sum(sample_weight)`` rows.

        Returns
        -------
        aic : float
            The lower the better.
        """
        return criteria.aic(self._sums(X, sample_weight), self._n_parameters())

    def bic(self, X: Any, sample_weight: Any = None) -> float:
        """Compute the Bayesian information criterion on X.

        Parameters
        ----------
        X : array-like of shape (n_samples, n_features)
        sample_weight : array-like of shape (n_samples,), optional
            As in :meth:`aic`.

        Returns
        -------
        bic : float
            The lower the better.
        """
        return criteria.bic(self._sums(X, sample_weight), self._n_parameters())

    def icl(self, X: Any, sample_weight: Any = None) -> float:
        """Compute the integrated completed likelihood on X, as a criterion.

        That is :meth:`bic` and twice the entropy of the responsibilities (Biernacki, Celeux and
        Govaert 2000, as approximated by McLachlan and Peel 2000, section 6.10.3): components that
        share their rows cost, so that it counts clusters where ``bic`` counts components.

        Parameters
        ----------
        X : array-like of shape (n_samples, n_features)
        sample_weight : array-like of shape (n_samples,), optional
            As in :meth:`aic`.

        Returns
        -------
        icl : float
            The lower the better.

        Examples
        --------
        >>> import numpy as np
        >>> import vbfast
        >>> X = np.random.default_rng(0).normal(size=(100, 1))
        >>> mixture = vbfast.GaussianMixture(1).fit(X)
        >>> mixture.icl(X) == mixture.bic(X)  # nothing to be in doubt about
        True
        """
        sums = self._sums(X, sample_weight, entropy=True)
        return criteria.icl(sums, self._n_parameters())

    def _sums(self, X: Any, sample_weight: Any, *, entropy: bool = False) -> PassResult:
        request = Request(entropy=entropy)
        return self._evaluate(self._fitted_rows(X), request, sample_weight=sample_weight)
