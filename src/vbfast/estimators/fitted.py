"""What a fitted mixture says about rows: labels, responsibilities, evidence, bounds, and draws."""

from __future__ import annotations

import contextlib
from abc import ABCMeta, abstractmethod
from collections.abc import Iterator
from typing import Any

import numpy as np
import numpy.typing as npt
from sklearn.base import BaseEstimator, DensityMixin
from sklearn.utils import check_random_state
from sklearn.utils.validation import check_is_fitted

from vbfast.engine.config import config_context
from vbfast.engine.contract import (
    Float64Array,
    FloatArray,
    PassParams,
    PassResult,
    Request,
    RowOutputs,
)
from vbfast.engine.engine import run_pass
from vbfast.engine.rows import RowSource
from vbfast.engine.weights import as_sample_weight
from vbfast.estimators.validation import translated_errors, validate_rows
from vbfast.results import ElboTerms

__all__ = ["FittedMixture", "elbo_terms"]


class FittedMixture(DensityMixin, BaseEstimator, metaclass=ABCMeta):  # type: ignore[misc]
    """Base class of mixtures: their methods after the fit, each a pass over the rows.

    A subclass says what the log-joint of the fitted attributes is, and how a component is drawn
    from.
    """

    random_state: Any
    backend: str | None = None

    weights_: FloatArray

    @abstractmethod
    def _kernel_params(self) -> PassParams:
        """Return the log-joint of the fitted attributes."""

    @contextlib.contextmanager
    def _passes_over(self, rows: RowSource) -> Iterator[None]:
        """Run passes on the estimator's backend, and raise what they do in scikit-learn's words."""
        with translated_errors(self, rows), config_context(backend=self.backend):
            yield

    def _evaluate(
        self,
        rows: RowSource,
        request: Request,
        *,
        sample_weight: Any = None,
        resp: Any = None,
        outputs: RowOutputs | None = None,
    ) -> PassResult:
        """Run a pass with the fitted parameters."""
        with self._passes_over(rows):
            return run_pass(
                rows,
                self._kernel_params(),
                request,
                sample_weight=as_sample_weight(sample_weight, rows.n_samples),
                resp=resp,
                outputs=outputs,
            )

    def _fitted_rows(self, X: Any) -> RowSource:
        check_is_fitted(self)
        return validate_rows(self, X, reset=False)

    def predict(self, X: Any) -> npt.NDArray[np.int64]:
        """Predict the component of each row.

        Parameters
        ----------
        X : array-like of shape (n_samples, n_features)

        Returns
        -------
        labels : ndarray of shape (n_samples,), int64
            The first component of highest responsibility.
        """
        rows = self._fitted_rows(X)
        labels = np.empty(rows.n_samples, dtype=np.int64)
        self._evaluate(rows, Request(assignment="hard"), outputs=RowOutputs(labels=labels))
        return labels

    def predict_proba(self, X: Any) -> FloatArray:
        """Evaluate the responsibilities of the components for each row.

        Parameters
        ----------
        X : array-like of shape (n_samples, n_features)

        Returns
        -------
        resp : ndarray of shape (n_samples, n_components)
            float32 for float32 rows, else float64. Rows sum to one, also where a row is so far
            from all components that no log-density is finite: then the largest has all, and those
            that are equal to it share.
        """
        rows = self._fitted_rows(X)
        resp = np.empty((rows.n_samples, len(self.weights_)), dtype=rows.dtype)
        self._evaluate(rows, Request(), outputs=RowOutputs(resp=resp))
        return resp

    def score_samples(self, X: Any) -> FloatArray:
        """Compute the log-evidence of each row, in nats.

        Parameters
        ----------
        X : array-like of shape (n_samples, n_features)

        Returns
        -------
        log_prob : ndarray of shape (n_samples,)
            float32 for float32 rows, else float64; ``-inf`` where it overflows that.
        """
        rows = self._fitted_rows(X)
        log_evidence = np.empty(rows.n_samples, dtype=rows.dtype)
        self._evaluate(rows, Request(), outputs=RowOutputs(log_evidence=log_evidence))
        return log_evidence

    def score(
        self,
        X: Any,
        y: Any = None,  # noqa: ARG002
        sample_weight: Any = None,
    ) -> float:
        """Compute the average of :meth:`score_samples` over the rows, in nats.

        Parameters
        ----------
        X : array-like of shape (n_samples, n_features)
        y : Ignored
            Not used, present for API consistency by convention.
        sample_weight : array-like of shape (n_samples,), optional

        Returns
        -------
        log_likelihood : float
            The weighted average, ``sum(w * log_prob) / sum(w)``.
        """
        sums = self._evaluate(self._fitted_rows(X), Request(), sample_weight=sample_weight)
        return sums.log_evidence / sums.total_weight

    def elbo(self, X: Any, resp: Any = None, sample_weight: Any = None) -> ElboTerms:
        """Evaluate the evidence lower bound of given responsibilities, summed over the rows.

        Parameters
        ----------
        X : array-like of shape (n_samples, n_features)
        resp : array-like of shape (n_samples, n_components), optional
            ``q``, each row a distribution over the components; the posterior by default, which
            makes the bound tight.
        sample_weight : array-like of shape (n_samples,), optional
            A row of zero weight is skipped: its ``resp`` may be anything. Its X has to be finite.

        Returns
        -------
        ElboTerms
            In nats; ``kl`` is zero when ``resp`` is not given.

        Raises
        ------
        ValueError
            If a row of ``resp`` with positive weight is no distribution.

        Examples
        --------
        >>> import numpy as np
        >>> import vbfast
        >>> X = np.array([[-1.0], [0.0], [1.0], [9.0], [10.0], [11.0]])
        >>> mixture = vbfast.GaussianMixture(2, random_state=0).fit(X)
        >>> terms = mixture.elbo(X, resp=np.full((6, 2), 0.5))
        >>> bool(np.isclose(terms.log_evidence, terms.elbo + terms.kl))
        True
        """
        return self._elbo_terms(X, resp, sample_weight)

    def _elbo_terms(self, X: Any, resp: Any, sample_weight: Any) -> ElboTerms:
        sums = self._evaluate(
            self._fitted_rows(X),
            Request(assignment="posterior" if resp is None else "given", entropy=True),
            sample_weight=sample_weight,
            resp=resp,
        )
        return elbo_terms(sums)

    def sample(
        self, n_samples: int = 1, random_state: Any = None
    ) -> tuple[Float64Array, npt.NDArray[np.int64]]:
        """Draw rows from the fitted mixture.

        Parameters
        ----------
        n_samples : int, default=1
        random_state : int, RandomState instance or None, default=None
            ``None`` takes the estimator's own.

        Returns
        -------
        X : ndarray of shape (n_samples, n_features), float64
            Ordered by component.
        y : ndarray of shape (n_samples,), int64
            The components that the rows were drawn from.

        Raises
        ------
        ValueError
            If ``n_samples`` is not positive, or what draws components of one's own returns another
            number of rows or features.
        """
        check_is_fitted(self)
        if n_samples < 1:
            raise ValueError(
                f"Invalid value for 'n_samples': {n_samples} . The sampling requires at "
                "least one sample."
            )
        rng = check_random_state(self.random_state if random_state is None else random_state)
        weights = np.asarray(self.weights_)
        if weights.dtype == np.float32:
            # The rounded weights may sum to more than one, which multinomial refuses.
            weights = weights.astype(np.float64)
            weights /= weights.sum()
        counts = rng.multinomial(n_samples, weights)
        draws = [self._draw(k, count, rng) for k, count in enumerate(counts.tolist()) if count > 0]
        return np.concatenate(draws), np.repeat(np.arange(len(counts)), counts)

    @abstractmethod
    def _draw(self, k: int, n_samples: int, random_state: np.random.RandomState) -> Float64Array:
        """Draw rows from component ``k``, of shape (n_samples, n_features)."""


def elbo_terms(sums: PassResult) -> ElboTerms:
    """Return the terms of the bound that a pass with entropy summed up."""
    return ElboTerms(
        elbo=sums.expected_log_joint + sums.entropy,
        expected_log_joint=sums.expected_log_joint,
        entropy=sums.entropy,
        log_evidence=sums.log_evidence,
        kl=sums.kl,
    )
