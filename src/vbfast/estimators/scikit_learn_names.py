"""The names by which code written for scikit-learn's mixtures asks for what ours have, too."""

from __future__ import annotations

from typing import Any

import numpy as np

from vbfast.contract import FloatArray

__all__ = ["ScikitLearnNames"]


class ScikitLearnNames:
    """Methods of scikit-learn's mixtures that are not public, but called."""

    def _estimate_log_prob(self: Any, X: Any) -> FloatArray:
        """Return the log-density of each row under each component; expected, if Bayesian."""
        rows = self._fitted_rows(X)
        log_density: FloatArray = self._log_joint(rows, self._fitted_parameters().log_density())
        return log_density

    def _estimate_weighted_log_prob(self: Any, X: Any) -> FloatArray:
        """Return the log-joint."""
        log_joint: FloatArray = self.log_joint(X)
        return log_joint

    def _estimate_log_prob_resp(self: Any, X: Any) -> tuple[FloatArray, FloatArray]:
        """Return the log-evidence of each row and its log-responsibilities."""
        both: tuple[FloatArray, FloatArray] = self._log_evidence_and_responsibilities(X)
        return both

    def _estimate_log_weights(self: Any) -> FloatArray:
        """Return the weights' share of the log-joint."""
        log_weights = self._fitted_parameters().log_weights
        return np.asarray(log_weights.astype(np.asarray(self.weights_).dtype))
