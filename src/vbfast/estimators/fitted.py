"""What a fitted mixture says about rows: labels, responsibilities, evidence, bounds, and draws."""

from __future__ import annotations

import contextlib
import os
from abc import ABCMeta, abstractmethod
from collections.abc import Iterator
from numbers import Integral
from typing import Any, ClassVar

import numpy as np
import numpy.typing as npt
from sklearn.base import DensityMixin
from sklearn.utils import check_scalar
from sklearn.utils.metadata_routing import UNUSED
from sklearn.utils.validation import check_is_fitted

from vbfast.config.settings import config_context
from vbfast.contract import (
    Components,
    Float64Array,
    FloatArray,
    LogJoint,
    PassResult,
    Request,
    RowOutputs,
    RowSource,
)
from vbfast.estimators.model_file import save_model
from vbfast.estimators.outputs import filled, where_rows_are
from vbfast.estimators.parameters import QuicklyValidated
from vbfast.estimators.scikit_learn_names import ScikitLearnNames
from vbfast.estimators.searched import (
    found_by_walks,
    searched_evidence,
    searched_labels,
    searched_responsibilities,
)
from vbfast.estimators.validation import TranslatedErrors, as_random_state, validate_rows
from vbfast.families.family import Family
from vbfast.inference.responsibilities import log_responsibilities
from vbfast.inference.sampling import draw_rows
from vbfast.inference.terms import elbo_terms
from vbfast.inputs.weights import as_sample_weight
from vbfast.passes.runner import runner_over
from vbfast.results import ElboTerms

__all__ = ["FittedMixture"]


class FittedMixture(ScikitLearnNames, DensityMixin, QuicklyValidated, metaclass=ABCMeta):  # type: ignore[misc]
    """Base class of mixtures: their methods after the fit, each a pass over the rows.

    A subclass says of which family the mixture is; that says the rest.
    """

    # An array to be filled is the caller's: no meta-estimator hands it on.
    __metadata_request__predict: ClassVar[dict[str, Any]] = {"out": UNUSED, "exact": UNUSED}
    __metadata_request__predict_proba: ClassVar[dict[str, Any]] = {"out": UNUSED, "exact": UNUSED}
    __metadata_request__score: ClassVar[dict[str, Any]] = {"exact": UNUSED}

    random_state: Any
    backend: str | None = None
    truncation: Any = None

    weights_: FloatArray
    neighbors_: Components
    truncation_: int | None

    @abstractmethod
    def _fitted_family(self) -> Family[Any]:
        """Return the family of the fitted mixture."""

    def _fitted_attributes(self) -> dict[str, Any]:
        """Return the fitted attributes that hold the parameters: those that are there."""
        names = self._fitted_family().attribute_names
        return {name: getattr(self, name) for name in names if hasattr(self, name)}

    def _fitted_parameters(self) -> Any:
        """Return the parameters that the fitted attributes hold, computed on its backend."""
        with config_context(backend=self.backend):
            family, held = self._fitted_family(), self._fitted_attributes()
            try:
                return family.parameters(held)
            except KeyError as error:
                if error.args[0] not in family.attribute_names:
                    raise
                raise AttributeError(
                    f"{type(self).__name__} has no fitted attribute {error}: fit it again"
                ) from None

    def _fitted_log_joint(self) -> LogJoint:
        """Return the log-joint of the fitted attributes."""
        log_joint: LogJoint = self._fitted_parameters().log_joint()
        return log_joint

    def _passes_over(self, rows: RowSource) -> contextlib.AbstractContextManager[None]:
        """Run passes on the estimator's backend, and raise what they do in scikit-learn's words."""
        translated = TranslatedErrors(self, rows.dtype, rows)
        return translated if self.backend is None else _on_backend(self.backend, translated)

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
            runner = runner_over(rows, as_sample_weight(sample_weight, rows.n_samples))
            return runner.run(self._fitted_log_joint(), request, resp=resp, outputs=outputs)

    def _fitted_rows(self, X: Any) -> RowSource:
        if "weights_" not in vars(self):
            check_is_fitted(self)
        return validate_rows(self, X, reset=False)

    def _searches(self, exact: bool) -> bool:
        """Whether rows find their components by walks among learned neighbours."""
        return not exact and self.truncation is not None and hasattr(self, "neighbors_")

    def predict(
        self, X: Any, *, out: npt.NDArray[np.int64] | None = None, exact: bool = False
    ) -> npt.NDArray[np.int64]:
        """Predict the component of each row.

        Parameters
        ----------
        X : array-like of shape (n_samples, n_features)
        out : ndarray of shape (n_samples,), int64, optional
            Where the labels go, a memory map for one.
        exact : bool, default=False
            After a fit with ``truncation``, whether all components are evaluated: by default a row
            walks among the learned neighbours to the best one that it finds.

        Returns
        -------
        labels : ndarray of shape (n_samples,), int64
            The first component of highest responsibility; `out` if given.
        """
        rows = self._fitted_rows(X)
        with self._passes_over(rows):
            log_joint = self._fitted_log_joint()
            if self._searches(exact):
                return searched_labels(found_by_walks(self, rows, log_joint), rows, out)
            return filled(out, rows, log_joint, "labels", Request("hard"))

    def predict_proba(self, X: Any, *, out: FloatArray | None = None, exact: bool = False) -> Any:
        """Evaluate the responsibilities of the components for each row.

        Parameters
        ----------
        X : array-like of shape (n_samples, n_features)
        out : ndarray of shape (n_samples, n_components), optional
            Where the responsibilities go, a memory map for one; of the dtype of the result.
        exact : bool, default=False
            After a fit with ``truncation``, whether all components are evaluated: by default the
            result has the components that a row finds, and is sparse.

        Returns
        -------
        resp : ndarray, or scipy.sparse.csr_matrix, of shape (n_samples, n_components)
            `out` if given. float32 for float32 rows, else float64. Rows sum to one, also where a
            row is so far from all components that no log-density is finite: then the largest has
            all, and those that are equal to it share.
        """
        rows = self._fitted_rows(X)
        with self._passes_over(rows):
            log_joint = self._fitted_log_joint()
            if self._searches(exact):
                if out is not None:
                    raise ValueError("out has to be None for sparse responsibilities: exact=False")
                found = found_by_walks(self, rows, log_joint)
                return searched_responsibilities(found, rows, log_joint.n_components)
            return filled(out, rows, log_joint, "resp")

    def predict_log_proba(self, X: Any) -> FloatArray:
        """Evaluate the logarithms of the responsibilities, in nats.

        Parameters
        ----------
        X : array-like of shape (n_samples, n_features)

        Returns
        -------
        log_resp : ndarray of shape (n_samples, n_components)
            float32 for float32 rows, else float64. Finite also where :meth:`predict_proba` has
            rounded to zero.
        """
        return self._log_evidence_and_responsibilities(X)[1]

    def log_joint(self, X: Any, out: FloatArray | None = None) -> FloatArray:
        """Evaluate the log-joint ``log p(x_n, z_n = k)`` of each row and component, in nats.

        What the array functions take: ``vbfast.elbo(mixture.log_joint(X))`` has the terms of
        ``mixture.elbo(X)``. The array has n_samples x n_components numbers, which no other method
        but :meth:`predict_log_proba` and :meth:`predict_proba` allocates.

        Parameters
        ----------
        X : array-like of shape (n_samples, n_features)
        out : ndarray of shape (n_samples, n_components), optional
            Where the result goes, of its dtype. Unless it is in C order and does not overlap X,
            there is a temporary array of its size. If X turns out not to be finite, or the user
            interrupts, it is partly filled.

        Returns
        -------
        log_joint : ndarray of shape (n_samples, n_components)
            `out` if given. float32 for float32 rows, else float64; ``-inf`` for components of zero
            weight.

        Raises
        ------
        TypeError
            If `out` is not an array.
        ValueError
            If X has NaN or infinity or the wrong shape, or `out` has another shape or dtype or
            cannot be written to.

        Examples
        --------
        >>> import numpy as np
        >>> import vbfast
        >>> X = np.array([[-1.0], [0.0], [1.0], [9.0], [10.0], [11.0]])
        >>> mixture = vbfast.GaussianMixture(2, random_state=0).fit(X)
        >>> log_joint = mixture.log_joint(X)
        >>> log_joint.shape
        (6, 2)
        >>> bool(np.isclose(vbfast.elbo(log_joint).elbo, mixture.elbo(X).elbo))
        True
        """
        rows = self._fitted_rows(X)
        return self._log_joint(rows, self._fitted_log_joint(), out)

    def _log_joint(
        self, rows: RowSource, log_joint: LogJoint, out: FloatArray | None = None
    ) -> FloatArray:
        """Return a log-joint of every row, in ``out`` if given."""
        with self._passes_over(rows):
            return filled(out, rows, log_joint, "log_joint")

    def _log_evidence_and_responsibilities(self, X: Any) -> tuple[FloatArray, FloatArray]:
        rows = self._fitted_rows(X)
        with self._passes_over(rows):
            both = log_responsibilities(runner_over(rows), self._fitted_log_joint())
            return where_rows_are(rows, both[0]), where_rows_are(rows, both[1])

    def score_samples(
        self, X: Any, *, out: FloatArray | None = None, exact: bool = False
    ) -> FloatArray:
        """Compute the log-evidence of each row, in nats.

        Parameters
        ----------
        X : array-like of shape (n_samples, n_features)
        out : ndarray of shape (n_samples,), optional
            Where the result goes, a memory map for one; of its dtype.
        exact : bool, default=False
            After a fit with ``truncation``, whether all components are evaluated: by default the
            result is the evidence of those that a row finds, a lower bound.

        Returns
        -------
        log_prob : ndarray of shape (n_samples,)
            `out` if given. float32 for float32 rows, else float64; ``-inf`` where it overflows.
        """
        rows = self._fitted_rows(X)
        with self._passes_over(rows):
            log_joint = self._fitted_log_joint()
            if self._searches(exact):
                return searched_evidence(found_by_walks(self, rows, log_joint), rows, out)
            return filled(out, rows, log_joint, "log_evidence")

    def score(
        self,
        X: Any,
        y: Any = None,  # noqa: ARG002
        sample_weight: Any = None,
        *,
        exact: bool = False,
    ) -> float:
        """Compute the average of :meth:`score_samples` over the rows, in nats.

        Parameters
        ----------
        X : array-like of shape (n_samples, n_features)
        y : Ignored
            Not used, present for API consistency by convention.
        sample_weight : array-like of shape (n_samples,), optional
        exact : bool, default=False
            As for :meth:`score_samples`.

        Returns
        -------
        log_likelihood : float
            The weighted average, ``sum(w * log_prob) / sum(w)``.
        """
        rows = self._fitted_rows(X)
        if self._searches(exact):
            weights = as_sample_weight(sample_weight, rows.n_samples)
            evidence = self.score_samples(X).astype(np.float64)
            return float(np.average(evidence, weights=weights))
        sums = self._evaluate(rows, Request(), sample_weight=sample_weight)
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
        return elbo_terms(self._sum_terms(X, resp, sample_weight))

    def _sum_terms(self, X: Any, resp: Any, sample_weight: Any) -> PassResult:
        request = Request("posterior" if resp is None else "given", entropy=True)
        return self._evaluate(self._fitted_rows(X), request, sample_weight=sample_weight, resp=resp)

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
        TypeError, ValueError
            If ``n_samples`` is not a positive integer, or the ``sample`` function of
            custom components returns a wrong shape or values that are not finite.
        """
        check_is_fitted(self)
        check_scalar(n_samples, "n_samples", Integral, max_val=np.iinfo(np.int64).max)
        if n_samples < 1:
            raise ValueError(
                f"Invalid value for 'n_samples': {n_samples} . The sampling requires at "
                "least one sample."
            )
        rng = as_random_state(self.random_state if random_state is None else random_state)
        weights = np.asarray(self.weights_, dtype=np.float64)
        parameters = self._fitted_parameters()
        with config_context(backend=self.backend):
            return draw_rows(self._fitted_family(), parameters, weights, n_samples, rng)

    def save(self, path: str | os.PathLike[str]) -> None:
        """Write the fitted mixture to a file that :func:`vbfast.load` and ``vbfast score`` read.

        An ``.npz`` archive of plain arrays, without pickles. A file that is there already is
        replaced once the new one is on the disk, and stays as it was if that fails. Not kept are
        ``backend``, a ``random_state`` that is a generator, and an ``init_params`` that is an array
        or a function: the loaded mixture has the defaults there.

        Parameters
        ----------
        path : str or path
            Ends in ``.npz``.

        Raises
        ------
        OSError
            If the file cannot be written.
        TypeError
            If the mixture has custom components, whose functions a file of arrays cannot hold, or
            its class is derived from one of this package.
        ValueError
            If ``path`` has another ending, or the mixture could not be scored with: its weights do
            not sum to one, as may happen after ``max_iter=0``, or a number overflows or underflows
            in float32.
        """
        save_model(path, self)


@contextlib.contextmanager
def _on_backend(
    backend: str, translated: contextlib.AbstractContextManager[None]
) -> Iterator[None]:
    with translated, config_context(backend=backend):
        yield
